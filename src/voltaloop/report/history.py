"""What the report knows of a campaign: plain records, filled by the room that reads the event log.

Times are seconds since the start of the campaign; σ is one calibrated standard deviation; a
t-width is the full width 2·t(0.975, n−1)·s/√n of the raw 95 % interval of the committee mean;
errors are predicted minus reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

CampaignState = Literal["running", "finished", "paused", "failed"]
LabelOrigin = Literal["start", "relaxed", "uncertain", "random"]
ExplorationOutcome = Literal[
    "completed",
    "uncertain",
    "atoms_too_close",
    "cell_ran_away",
    "temperature_exploded",
    "crashed",
]


def _same_length(owner: str, expected: int, **lists: Sequence[Any] | None) -> None:
    for name, values in lists.items():
        if values is not None and len(values) != expected:
            raise ValueError(f"{owner}.{name}: expected {expected} numbers, got {len(values)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRecord:
    """One accepted label.

    frame: hash of the structure; generation: of the committee that predicted the frame before the
    label entered training (None for starting labels); energies in eV/atom, force_rmse and
    force_sigma_max in eV/Å, the latter as it was when the frame was selected; reason: why selected.
    """

    index: int
    frame: str
    origin: LabelOrigin
    x: float
    temperature_K: float | None
    time_s: float
    cost_s: float
    energy_eV_per_atom: float
    generation: int | None = None
    energy_error_eV_per_atom: float | None = None
    energy_sigma: float | None = None
    energy_t_width: float | None = None
    force_rmse: float | None = None
    force_sigma_max: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRound:
    """One fit of the committee and what was known after it.

    The held-out errors are those of the blocks a member did not see. The coverages are running
    ones: labels scored with the committee as it was before they entered training, n_scored labels
    so far. lower_trust and upper_trust in eV/Å on the calibrated scale.
    """

    generation: int
    time_s: float
    n_labels: int
    heldout_energy_rmse_meV_per_atom: float
    heldout_force_rmse_eV_per_A: float
    heldout_stress_rmse_GPa: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    ridge: float | None = None
    cost_s: float = 0.0
    coverage_energy_raw: float | None = None
    coverage_energy: float | None = None
    coverage_force_raw: float | None = None
    coverage_force: float | None = None
    n_scored: int | None = None
    lower_trust: float | None = None
    upper_trust: float | None = None
    volume_change_percent: float | None = None
    volume_change_err: float | None = None
    average_voltage_V: float | None = None
    average_voltage_err: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveRecord:
    """How one member of the latest committee learned.

    axis: what columns["axis"] counts (step, epoch, try, fit); the other columns, of the same
    length: loss, energy (eV/atom), force (eV/Å), stress (eV/Å3) as root mean square errors on what
    the member learned from, and with held_out_ before them on what it did not.
    """

    member: int
    axis: str
    columns: Mapping[str, Sequence[float | None]]

    def __post_init__(self) -> None:
        _same_length("CurveRecord", len(self.columns["axis"]), **self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """One Doer's run in a pool; started_s is None while it waits, ended_s None while it runs.

    outcome: "done", "failed", "running", "waiting" or the pool's own word for an ending.
    """

    id: str
    pool: str
    function: str
    submitted_s: float
    started_s: float | None = None
    ended_s: float | None = None
    outcome: str = "running"
    cpu_s: float | None = None
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorationRecord:
    """One trajectory and how it ended.

    max_force_sigma: largest calibrated σ of a force in eV/Å at the steps of sigma_steps (thinned).
    """

    time_s: float
    x: float
    ensemble: str
    temperature_from_K: float
    temperature_to_K: float
    steps: int
    steps_planned: int
    outcome: ExplorationOutcome
    generation: int
    max_force_sigma: Sequence[float] = ()
    sigma_steps: Sequence[int] = ()

    def __post_init__(self) -> None:
        _same_length(
            "ExplorationRecord", len(self.sigma_steps), max_force_sigma=self.max_force_sigma
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One audit frame, labelled and never trained on.

    Energies, energy_sigma and energy_t_width in eV/atom; forces, force_sigma and force_t_width:
    (3 n_atoms,) in eV/Å, atom by atom, x y z; stresses: (6,) in GPa or None; species: chemical
    symbol of each atom, empty where it is not known.
    """

    x: float
    temperature_K: float
    n_atoms: int
    reference_energy_eV_per_atom: float
    predicted_energy_eV_per_atom: float
    energy_sigma: float
    energy_t_width: float
    reference_forces: Sequence[float]
    predicted_forces: Sequence[float]
    force_sigma: Sequence[float]
    force_t_width: Sequence[float] | None = None
    reference_stress: Sequence[float] | None = None
    predicted_stress: Sequence[float] | None = None
    species: Sequence[str] = ()

    def __post_init__(self) -> None:
        _same_length("AuditRecord", self.n_atoms, species=self.species or None)
        _same_length(
            "AuditRecord",
            3 * self.n_atoms,
            reference_forces=self.reference_forces,
            predicted_forces=self.predicted_forces,
            force_sigma=self.force_sigma,
            force_t_width=self.force_t_width,
        )
        _same_length(
            "AuditRecord",
            6,
            reference_stress=self.reference_stress,
            predicted_stress=self.predicted_stress,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalRecord:
    """A label that the reference could not give or the gate refused.

    title: of the calculation; tried: the rung of the ladder, empty for the engine's own options;
    fate: what became of the calculation in the end.
    """

    time_s: float
    frame: str
    reason: str
    detail: str = ""
    title: str = ""
    tried: str = ""
    fate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignHistory:
    """Everything the report, the status and the web page show of one campaign.

    campaign_text: the YAML as the user gave it; answer: the content of answer.json, or None while
    there is none; formula: per formula unit at full lithium, such as LiNiO2; n_atoms: of the
    explored cell.
    """

    name: str
    campaign_text: str
    answer: Mapping[str, Any] | None
    versions: Mapping[str, str]
    seed: int
    n_atoms: int
    formula: str
    state: CampaignState
    labels: Sequence[LabelRecord] = ()
    rounds: Sequence[TrainingRound] = ()
    curves: Sequence[CurveRecord] = ()
    tasks: Sequence[TaskRecord] = ()
    explorations: Sequence[ExplorationRecord] = ()
    audit: Sequence[AuditRecord] = ()
    refusals: Sequence[RefusalRecord] = ()
    notes: Sequence[str] = ()

    @property
    def elapsed_s(self) -> float:
        """The latest moment that the records know of."""
        moments = [
            0.0,
            *(label.time_s for label in self.labels),
            *(fitted.time_s for fitted in self.rounds),
            *(run.time_s for run in self.explorations),
            *(refusal.time_s for refusal in self.refusals),
        ]
        for task in self.tasks:
            moments += [
                t for t in (task.submitted_s, task.started_s, task.ended_s) if t is not None
            ]
        if self.answer is not None and self.answer.get("wall_s") is not None:
            moments.append(float(self.answer["wall_s"]))
        return max(moments)
