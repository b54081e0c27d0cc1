"""A campaign on LiNiO2 as it could have gone, for tests of the report. All numbers are invented."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from voltaloop.report import (
    AuditRecord,
    CampaignHistory,
    CurveRecord,
    ExplorationRecord,
    LabelRecord,
    RefusalRecord,
    TaskRecord,
    TrainingRound,
)

CONTENTS = (1.0, 0.75, 0.5, 0.25, 0.0)
N_ATOMS = 16
START = 25
BATCH = 8
ROUNDS = 13
ROUND_S = 19.0

CAMPAIGN_TEXT = """\
name: lno
material:
  structure: LiNiO2
  supercell: [2, 2, 1]
  lithium: [1.0, 0.75, 0.5, 0.25, 0.0]
reference: {engine: chgnet, dispersion: d3bj}   # stands in for DFT
potential: {engine: pod, members: 8}
explore: {engine: lammps, ensemble: npt, temperature: [300, 900], pressure_GPa: 0, steps: 4000}
select: {batch: 8, random_share: 0.15}
audit: {labels: 20}
stop: {labels: 150, volume_change_percent: 0.5, voltage_V: 0.05, wall_time: 10m}
resources: {explore: 1, label: 1, train: 1}
"""


def full_history() -> CampaignHistory:
    """A finished campaign."""
    rng = np.random.default_rng(7)
    audit = _audit(np.random.default_rng(11))
    return CampaignHistory(
        name="lno",
        campaign_text=CAMPAIGN_TEXT,
        answer=answer(audit),
        versions={"voltaloop": "0.1.0", "lammps": "2025.7.22", "chgnet": "0.4.2", "python": "3.11"},
        seed=1,
        n_atoms=N_ATOMS,
        formula="LiNiO2",
        state="finished",
        labels=_labels(rng),
        rounds=_rounds(rng),
        curves=_curves(),
        tasks=_tasks(rng),
        explorations=_explorations(rng),
        audit=audit,
        refusals=_refusals(),
        notes=(),
    )


def running_history() -> CampaignHistory:
    """The same campaign after four rounds."""
    whole = full_history()
    now = START + 4 * ROUND_S + 8
    started = [t for t in whole.tasks if t.started_s is not None and t.started_s <= now]
    tasks = [
        t
        if t.ended_s is not None and t.ended_s <= now
        else replace(t, ended_s=None, outcome="running", cpu_s=None)
        for t in started
    ]
    return replace(
        whole,
        answer=None,
        state="running",
        labels=[label for label in whole.labels if label.time_s <= now],
        rounds=[fitted for fitted in whole.rounds if fitted.time_s <= now],
        tasks=tasks,
        explorations=[run for run in whole.explorations if run.time_s <= now],
        audit=(),
        refusals=[refusal for refusal in whole.refusals if refusal.time_s <= now],
    )


def newborn_history() -> CampaignHistory:
    """A campaign that has written its first event and nothing more."""
    return CampaignHistory(
        name="lno",
        campaign_text=CAMPAIGN_TEXT,
        answer=None,
        versions={},
        seed=1,
        n_atoms=N_ATOMS,
        formula="LiNiO2",
        state="running",
    )


def answer(audit: Sequence[AuditRecord] = ()) -> dict[str, Any]:
    """The content of answer.json; with an audit its errors are those of the audit."""
    energy = [a.predicted_energy_eV_per_atom - a.reference_energy_eV_per_atom for a in audit]
    rmse = 1000 * float(np.sqrt(np.mean(np.square(energy)))) if audit else 3.6
    forces = [np.subtract(a.predicted_forces, a.reference_forces) for a in audit]
    force_rmse = float(np.sqrt(np.mean(np.concatenate(forces) ** 2))) if audit else 0.101
    return {
        "campaign": "lno",
        "reference": "chgnet + d3bj",
        "potential": "pod",
        "x": [1.0, 0.75, 0.5, 0.25, 0.0],
        "volume_A3_per_fu": [33.14, 33.02, 32.71, 32.05, 30.79],
        "volume_err": [0.06, 0.09, 0.08, 0.14, 0.11],
        "a_A": [2.871, 2.852, 2.836, 2.823, 2.815],
        "a_err": [0.003, 0.004, 0.004, 0.006, 0.005],
        "c_A": [13.93, 14.06, 14.09, 13.93, 13.46],
        "c_err": [0.03, 0.05, 0.04, 0.08, 0.07],
        "reference_volume_A3_per_fu": [33.10, None, 32.66, None, 30.82],
        "voltage_steps": [
            {"x_from": 1.0, "x_to": 0.75, "voltage_V": 3.11, "err": 0.03},
            {"x_from": 0.75, "x_to": 0.5, "voltage_V": 3.42, "err": 0.02},
            {"x_from": 0.5, "x_to": 0.25, "voltage_V": 3.71, "err": 0.03},
            {"x_from": 0.25, "x_to": 0.0, "voltage_V": 3.97, "err": 0.05},
        ],
        "average_voltage_V": 3.5525,
        "average_voltage_err": 0.018,
        "reference_average_voltage_V": 3.5361,
        "volume_change_percent": -7.09,
        "volume_change_err": 0.31,
        "reference_volume_change_percent": -6.89,
        "labels": 129,
        "labels_random": 17,
        "labels_refused": 3,
        "heldout_energy_rmse_meV_per_atom": rmse,
        "heldout_force_rmse_eV_per_A": force_rmse,
        "coverage95_energy": 0.95,
        "coverage95_force": 0.948,
        "coverage95_energy_raw": 0.2,
        "coverage95_force_raw": 0.141,
        "wall_s": 318.0,
        "stopped_because": "volume change and voltage settled within 0.5 % and 0.05 V",
        "hull": _hull(),
    }


def _hull() -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    points = []
    for x in CONTENTS:
        lowest = -20.15 - 5.61 * x - 0.9 * x * (1 - x)
        points.append({"x": x, "energy_eV_per_fu": lowest, "on_hull": True})
        for extra in rng.uniform(0.02, 0.16, size=4 if 0 < x < 1 else 0):
            points.append({"x": x, "energy_eV_per_fu": lowest + float(extra), "on_hull": False})
    return points


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _noise(generation: int) -> float:
    """How wrong the committee is after so many rounds, relative to the end."""
    return 1 + 7 * float(np.exp(-generation / 2.5))


def _energy(x: float) -> float:
    return -5.05 - 0.62 * x


def _labels(rng: np.random.Generator) -> list[LabelRecord]:
    starting = [
        LabelRecord(
            index=i,
            frame=_digest(f"start {i}"),
            origin="start",
            x=CONTENTS[i % 5],
            temperature_K=None,
            time_s=0.9 * (i + 1),
            cost_s=float(rng.normal(0.62, 0.05)),
            energy_eV_per_atom=_energy(CONTENTS[i % 5]) + float(rng.normal(0, 0.03)),
            reason="rattled and strained ordering",
        )
        for i in range(START)
    ]
    selected = [_selected(rng, START + i) for i in range(BATCH * ROUNDS)]
    return starting + selected


def _selected(rng: np.random.Generator, index: int) -> LabelRecord:
    generation = (index - START) // BATCH
    noise = _noise(generation)
    x = CONTENTS[int(rng.integers(5))]
    origin = "random" if rng.random() < 0.15 else "uncertain"
    force_sigma = 0.11 * noise * float(rng.lognormal(0.3 if origin == "uncertain" else -0.35, 0.35))
    energy_sigma = 0.0034 * noise * float(rng.lognormal(0, 0.3))
    reason = (
        f"σ {force_sigma:.2f} eV/Å in the trust band, farthest of 41 candidates"
        if origin == "uncertain"
        else "random share"
    )
    return LabelRecord(
        index=index,
        frame=_digest(f"selected {index}"),
        origin=origin,
        x=x,
        temperature_K=float(rng.integers(300, 900)),
        time_s=START + ROUND_S * generation + 4 + 1.4 * ((index - START) % BATCH),
        cost_s=float(rng.normal(0.65, 0.06)),
        energy_eV_per_atom=_energy(x) + float(rng.normal(0, 0.03)),
        generation=generation,
        energy_error_eV_per_atom=float(rng.normal(0, energy_sigma)),
        energy_sigma=energy_sigma,
        energy_t_width=energy_sigma * 0.6,
        force_rmse=0.45 * force_sigma * float(rng.lognormal(0, 0.2)),
        force_sigma_max=force_sigma,
        reason=reason,
    )


def _rounds(rng: np.random.Generator) -> list[TrainingRound]:
    return [_round(rng, generation) for generation in range(ROUNDS + 1)]


def _round(rng: np.random.Generator, generation: int) -> TrainingRound:
    noise = _noise(generation)
    scored = generation * 2
    return TrainingRound(
        generation=generation,
        time_s=START + ROUND_S * generation + 2,
        n_labels=START + BATCH * generation,
        heldout_energy_rmse_meV_per_atom=3.4 * noise * float(rng.lognormal(0, 0.07)),
        heldout_force_rmse_eV_per_A=0.098 * noise**0.6 * float(rng.lognormal(0, 0.04)),
        heldout_stress_rmse_GPa=0.5 * noise**0.6,
        weights={"energy": 100.0, "force": 1.0, "stress": 10.0},
        ridge=1e-7,
        cost_s=2.1 + 0.1 * generation,
        coverage_energy_raw=round(0.2 * scored) / scored if scored else None,
        coverage_energy=round(min(1.0, 0.8 + 0.02 * generation) * scored) / scored
        if scored
        else None,
        coverage_force_raw=float(rng.normal(0.15, 0.01)) if scored else None,
        coverage_force=0.96 - 0.1 * float(np.exp(-generation / 2)) if scored else None,
        n_scored=scored or None,
        lower_trust=0.10 + 0.25 * float(np.exp(-generation / 3)),
        upper_trust=0.45 + 1.2 * float(np.exp(-generation / 3)),
        volume_change_percent=-7.1 + 0.35 * noise * float(rng.normal(0, 0.5)),
        volume_change_err=0.3 * noise,
        average_voltage_V=3.55 + 0.02 * noise * float(rng.normal(0, 0.6)),
        average_voltage_err=0.018 * noise,
    )


def _tasks(rng: np.random.Generator) -> list[TaskRecord]:
    tasks = [_task("label", "label_frame", 0.9 * i + 0.1, 0.75, f"start {i}") for i in range(START)]
    for generation in range(ROUNDS + 1):
        begin = START + ROUND_S * generation
        tasks.append(_task("train", "fit_committee", begin, 2.0, f"generation {generation}"))
        for i in range(4):
            length = float(rng.uniform(2.5, 4.3))
            tasks.append(_task("explore", "run_md", begin + 2.2 + 4.4 * i, length, f"MD {i}"))
        for i in range(BATCH):
            cost = float(rng.normal(0.9, 0.1))
            tasks.append(_task("label", "label_frame", begin + 3 + 1.4 * i, cost, f"frame {i}"))
    tasks.append(_task("label", "relax_reference", 297.0, 18.0, "reference's own answer"))
    tasks.append(_task("explore", "relax_members", 297.0, 20.0, "answer"))
    for at in (42.5, 137.5, 213.5):
        tasks.append(replace(_task("label", "label_frame", at, 0.5, "refused"), outcome="failed"))
    return tasks


def _task(pool: str, function: str, start: float, length: float, title: str) -> TaskRecord:
    return TaskRecord(
        id=_digest(f"{pool}{function}{start}{title}"),
        pool=pool,
        function=function,
        submitted_s=start - 0.1,
        started_s=start,
        ended_s=start + length,
        outcome="done",
        cpu_s=0.93 * length,
        title=title,
    )


def _explorations(rng: np.random.Generator) -> list[ExplorationRecord]:
    runs = []
    for i in range(4 * (ROUNDS + 1)):
        generation = i // 4
        ends_early = rng.random() < 0.15 + 0.8 * np.exp(-generation / 4)
        steps = int(rng.integers(4, 30)) * 100 if ends_early else 4000
        outcome = "completed"
        if ends_early:
            outcome = str(
                rng.choice(["uncertain", "atoms_too_close", "cell_ran_away"], p=[0.85, 0.1, 0.05])
            )
        at = np.arange(0, steps + 1, 100)
        growth = (0.5 + 1.2 * (at / max(steps, 1)) ** 3) if ends_early else np.full(len(at), 0.5)
        sigma = 0.14 * _noise(generation) ** 0.8 * growth * rng.lognormal(0, 0.12, size=len(at))
        runs.append(
            ExplorationRecord(
                time_s=START + ROUND_S * generation + 6.0 + 4.4 * (i % 4),
                x=CONTENTS[i % 5],
                ensemble="npt",
                temperature_from_K=300.0,
                temperature_to_K=900.0,
                steps=steps,
                steps_planned=4000,
                outcome=outcome,  # type: ignore[arg-type]
                generation=generation,
                max_force_sigma=sigma.tolist(),
                sigma_steps=at.tolist(),
            )
        )
    return runs


def _audit(rng: np.random.Generator) -> list[AuditRecord]:
    records = []
    for i in range(20):
        x = CONTENTS[i % 5]
        n_atoms = N_ATOMS - round(4 * (1 - x))
        energy = _energy(x) + float(rng.normal(0, 0.025))
        energy_sigma = 0.0036 * float(rng.lognormal(0, 0.35))
        forces = rng.normal(0, 0.9, size=3 * n_atoms)
        sigma = 0.1 * rng.lognormal(-0.1, 0.45, size=3 * n_atoms)
        stress = rng.normal(0, 5, size=6)
        records.append(
            AuditRecord(
                x=x,
                temperature_K=float(rng.integers(300, 900)),
                n_atoms=n_atoms,
                reference_energy_eV_per_atom=energy,
                predicted_energy_eV_per_atom=energy + float(rng.normal(0, energy_sigma)),
                energy_sigma=energy_sigma,
                energy_t_width=0.6 * energy_sigma,
                reference_forces=forces.tolist(),
                predicted_forces=(forces + rng.normal(0, sigma)).tolist(),
                force_sigma=sigma.tolist(),
                reference_stress=stress.tolist(),
                predicted_stress=(stress + rng.normal(0, 0.5, size=6)).tolist(),
                species=["Li"] * (n_atoms - 12) + ["Ni"] * 4 + ["O"] * 8,
            )
        )
    return records


def _curves() -> list[CurveRecord]:
    """Four members of a network over 200 epochs; the first epoch has no held-out error yet."""
    rng = np.random.default_rng(17)
    epochs = np.arange(0, 200, 5)
    fall = 0.05 + np.exp(-epochs / 40)

    def noisy(level: float, first: float | None) -> list[float | None]:
        values = (level * fall * rng.lognormal(0, 0.08, len(epochs))).tolist()
        return [first, *values[1:]] if first is None else values

    return [
        CurveRecord(
            member=member,
            axis="epoch",
            columns={
                "axis": epochs.tolist(),
                "loss": noisy(10.0, 0.0),
                "held_out_loss": noisy(13.0, None),
                "held_out_energy": noisy(0.05, None),
                "held_out_force": noisy(0.8, None),
                "held_out_stress": noisy(0.01, None),
            },
        )
        for member in range(4)
    ]


def _refusals() -> list[RefusalRecord]:
    return [
        RefusalRecord(
            time_s=43.0,
            frame=_digest("bad 1"),
            reason="atoms_too_close",
            detail="O-O distance 0.91 Å is under the limit of 1.10 Å",
        ),
        RefusalRecord(
            time_s=138.0,
            frame=_digest("bad 2"),
            reason="force_too_large",
            detail="31.2 eV/Å is over the cap of 25 eV/Å",
        ),
        RefusalRecord(
            time_s=214.0,
            frame=_digest("bad 3"),
            reason="force_too_large",
            detail="27.0 eV/Å is over the cap of 25 eV/Å",
        ),
    ]
