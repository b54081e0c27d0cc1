"""Several potentials on one labelled set: rows, their means over splits, and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import fmean, stdev
from typing import Any, Literal

from voltaloop.report.formats import (
    MISSING,
    duration,
    fixed,
    percent,
    plural,
    significant,
    with_error,
)

Outcome = Literal["finished", "failed", "not installed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One potential trained on one part of one split and examined on the rest.

    Times in s of wall and CPU; coverages: shares of true errors inside the 95 % interval, raw and
    calibrated; md_atoms: of the frame that the speed was measured with; reason: why there is
    nothing; notes: what was found besides. What could not be measured is None.
    """

    potential: str
    engine: str
    split: int
    n_train: int
    n_test: int
    outcome: Outcome
    reason: str = ""
    energy_rmse_meV_per_atom: float | None = None
    force_rmse_eV_per_A: float | None = None
    stress_rmse_GPa: float | None = None
    train_s: float | None = None
    train_cpu_s: float | None = None
    retrain_s: float | None = None
    retrain_cpu_s: float | None = None
    examine_s: float | None = None
    atom_steps_per_s: float | None = None
    atom_steps_per_cpu_s: float | None = None
    md_atoms: int | None = None
    coverage_energy_raw: float | None = None
    coverage_energy: float | None = None
    coverage_force_raw: float | None = None
    coverage_force: float | None = None
    peak_memory_GB: float | None = None
    members: int | None = None
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, found: Mapping[str, Any], **known: Any) -> ComparedRun:
        """A finished run from what its worker told."""
        names = {field.name for field in fields(cls)}
        told = {name: value for name, value in found.items() if name in names}
        return cls(**known, outcome="finished", **told)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedEngine:
    """A potential of the comparison: its name, engine and options; notice: terms of its licence."""

    name: str
    engine: str
    options: Mapping[str, Any]
    notice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that ``voltaloop compare`` found.

    labels, test: the sets in words; retrain_frames: how many came new when training went on;
    versions: of packages and the machine; text: the file.
    """

    name: str
    seed: int
    labels: str
    test: str
    splits: int
    retrain_frames: int
    engines: Sequence[ComparedEngine]
    runs: Sequence[ComparedRun]
    versions: Mapping[str, str]
    text: str

    def to_json(self) -> dict[str, Any]:
        """Everything, and the means over splits."""
        return {**asdict(self), "means": [mean.to_json() for mean in means(self)]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean over splits, and their standard deviation where there are several."""

    mean: float
    err: float | None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread | None:
        known = [value for value in values if value is not None]
        if not known:
            return None
        return cls(mean=fmean(known), err=stdev(known) if len(known) > 1 else None)


QUANTITIES = tuple(
    field.name for field in fields(ComparedRun) if field.type in ("float | None", "int | None")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A potential at one size: finished runs of all, and the mean of every quantity."""

    potential: str
    n_train: int
    finished: int
    runs: int
    reason: str
    values: Mapping[str, Spread]

    def of(self, quantity: str) -> float | None:
        found = self.values.get(quantity)
        return None if found is None else found.mean

    def to_json(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("potential", "n_train", "finished", "runs")}
        return {
            **own,
            **{name: spread.mean for name, spread in self.values.items()},
            **{f"{name}_err": spread.err for name, spread in self.values.items() if spread.err},
        }


def means(comparison: Comparison) -> list[Mean]:
    """One for each potential and size, potentials in their order, sizes rising."""
    found = []
    for engine in comparison.engines:
        own = [run for run in comparison.runs if run.potential == engine.name]
        for size in sorted({run.n_train for run in own}):
            found.append(_mean(engine.name, size, [run for run in own if run.n_train == size]))
    return found


def _mean(potential: str, size: int, runs: Sequence[ComparedRun]) -> Mean:
    spreads = {name: Spread.of([getattr(run, name) for run in runs]) for name in QUANTITIES}
    failed = [run for run in runs if run.outcome != "finished"]
    return Mean(
        potential=potential,
        n_train=size,
        finished=len(runs) - len(failed),
        runs=len(runs),
        reason=f"{failed[0].outcome}: {failed[0].reason}" if failed else "",
        values={name: spread for name, spread in spreads.items() if spread is not None},
    )


HEADERS = (
    "potential",
    "frames",
    "energy (meV/atom)",
    "force (eV/Å)",
    "stress (GPa)",
    "training (CPU)",
    "retraining (CPU)",
    "atom-steps/s (CPU)",
    "95 % covers energy",
    "95 % covers forces",
    "memory (GB)",
)


def comparison_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Text for :data:`HEADERS`, one row for each potential and size."""
    return [_row(mean) for mean in means(comparison)]


def _row(mean: Mean) -> tuple[str, ...]:
    if not mean.finished:
        outcome = mean.reason.partition(":")[0]
        return (mean.potential, str(mean.n_train), outcome, *[MISSING] * (len(HEADERS) - 3))
    name = mean.potential if mean.finished == mean.runs else f"{mean.potential} *"
    return (
        name,
        str(mean.n_train),
        _with_spread(mean, "energy_rmse_meV_per_atom"),
        _with_spread(mean, "force_rmse_eV_per_A"),
        _with_spread(mean, "stress_rmse_GPa"),
        _wall_and_cpu(mean, "train"),
        _wall_and_cpu(mean, "retrain"),
        _speeds(mean),
        _coverages(mean, "energy"),
        _coverages(mean, "force"),
        significant(mean.of("peak_memory_GB"), 2),
    )


def _with_spread(mean: Mean, quantity: str) -> str:
    found = mean.values.get(quantity)
    if found is None:
        return MISSING
    return significant(found.mean) if not found.err else with_error(found.mean, found.err, 3)


def _wall_and_cpu(mean: Mean, what: str) -> str:
    """``1 min 04 s (58.1 s)``"""
    wall, cpu = mean.of(f"{what}_s"), mean.of(f"{what}_cpu_s")
    return MISSING if wall is None else f"{duration(wall)} ({duration(cpu)})"


def _speeds(mean: Mean) -> str:
    """``5 200 (6 300)``: in a second of wall and of CPU time."""
    wall, cpu = mean.of("atom_steps_per_s"), mean.of("atom_steps_per_cpu_s")
    return significant(wall) + (f" ({significant(cpu)})" if cpu is not None else "")


def _coverages(mean: Mean, quantity: str) -> str:
    """``18 → 94 %``: raw and calibrated."""
    raw, calibrated = mean.of(f"coverage_{quantity}_raw"), mean.of(f"coverage_{quantity}")
    if raw is None:
        return MISSING
    return f"{fixed(100 * raw, 0)} → {percent(calibrated)}"


def failures(comparison: Comparison) -> list[str]:
    """Why runs gave nothing, each reason once."""
    found: dict[tuple[str, str], list[ComparedRun]] = {}
    for run in comparison.runs:
        if run.outcome != "finished":
            found.setdefault((run.potential, f"{run.outcome}: {run.reason}"), []).append(run)
    return [
        f"{potential} {reason}" + _where(runs, comparison)
        for (potential, reason), runs in found.items()
    ]


def _where(runs: Sequence[ComparedRun], comparison: Comparison) -> str:
    """Which of its runs, where it is not all of them."""
    own = [run for run in comparison.runs if run.potential == runs[0].potential]
    if len(runs) == len(own):
        return ""
    sizes = ", ".join(str(size) for size in sorted({run.n_train for run in runs}))
    return f" ({plural(len(runs), 'run')} of {len(own)}, with {sizes} frames)"


def notes(comparison: Comparison) -> list[str]:
    """What was found besides."""
    return [
        f"{run.potential}, {run.n_train} frames, split {run.split + 1}: {text}"
        for run in comparison.runs
        for text in run.notes
    ]


def largest_common_size(comparison: Comparison) -> int | None:
    """The most frames that every potential that works at all was trained on."""
    done = [mean for mean in means(comparison) if mean.finished]
    sizes = [
        {mean.n_train for mean in done if mean.potential == name}
        for name in {mean.potential for mean in done}
    ]
    return max(set.intersection(*sizes), default=None) if sizes else None


def comparison_sentence(comparison: Comparison) -> str:
    """Who is best at what, with the most frames that all were trained on."""
    size = largest_common_size(comparison)
    if size is None:
        return "No potential could be measured."
    at = [mean for mean in means(comparison) if mean.n_train == size and mean.finished]
    force, energy = _least(at, "force_rmse_eV_per_A"), _least(at, "energy_rmse_meV_per_atom")
    forces = f"{significant(force.of('force_rmse_eV_per_A'))} eV/Å"
    energies = f"{significant(energy.of('energy_rmse_meV_per_atom'))} meV/atom"
    trained = f"Trained on {plural(size, 'frame')}, {force.potential} has"
    if len(at) == 1:
        return f"{trained} a force error of {forces} and an energy error of {energies}."
    if force is energy:
        best = f"the smallest errors, {forces} and {energies}."
    else:
        best = (
            f"the smallest force error, {forces}, and {energy.potential} the smallest energy "
            f"error, {energies}."
        )
    return f"{trained} {best}{_cheapest(at)}"


def _cheapest(at: Sequence[Mean]) -> str:
    """Whose retraining takes the least CPU, and whose MD is the fastest, where it was measured."""
    said = []
    if any(mean.of("retrain_cpu_s") is not None for mean in at):
        cheap = _least(at, "retrain_cpu_s")
        cost = duration(cheap.of("retrain_cpu_s"))
        said.append(f"{cheap.potential} is the cheapest to retrain ({cost} of CPU)")
    if any(mean.of("atom_steps_per_s") is not None for mean in at):
        fast = max(at, key=lambda mean: mean.of("atom_steps_per_s") or 0.0)
        speed = significant(fast.of("atom_steps_per_s"))
        said.append(f"{fast.potential} is the fastest in MD ({speed} atom-steps/s)")
    return f" {'; '.join(said)}." if said else ""


def _least(at: Sequence[Mean], quantity: str) -> Mean:
    def value(mean: Mean) -> float:
        found = mean.of(quantity)
        return float("inf") if found is None else found

    return min(at, key=value)


MEANING = (
    "Errors are root mean squares of the committee mean on frames that were never trained on. "
    "Training is from nothing; retraining goes on from that committee with {new} more frames, as a "
    "campaign does after every batch; wall time, in brackets CPU time. Atom-steps/s: molecular "
    "dynamics with the committee mean, as a campaign explores, in a second of wall time and of "
    "CPU time. 95 % covers: share of true errors "
    "inside the 95 % interval, raw (Student-t of the members, or the model's own) → calibrated "
    "(fitted on one half of the test frames, counted on the other; – where they are too few). "
    "Memory: largest resident memory of the process with its programs."
)


def meaning(comparison: Comparison) -> str:
    """What the columns are."""
    text = MEANING.format(new=comparison.retrain_frames)
    if comparison.splits > 1:
        text += f" ± is the standard deviation over {comparison.splits} splits."
    return text


def comparison_markdown(comparison: Comparison) -> str:
    """A table for documents, with what it needs to be understood."""
    lines = [
        f"Labels: {comparison.labels}. Test: {comparison.test}.",
        "",
        _markdown_row(HEADERS),
        _markdown_row(["---", *["---:"] * (len(HEADERS) - 1)]),
        *(_markdown_row(row) for row in comparison_rows(comparison)),
        "",
        meaning(comparison),
    ]
    told = [*failures(comparison), *notes(comparison)]
    lines += ["", *(f"- {_one_line(text)}" for text in told)] if told else []
    lines += ["", ", ".join(f"{name} {value}" for name, value in comparison.versions.items()) + "."]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_one_line(cell).replace("|", "\\|") for cell in cells) + " |"


def _one_line(text: str) -> str:
    return " ".join(text.split(" ")).replace("\n", " ")
