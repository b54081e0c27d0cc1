"""A search for good options: trials, the Pareto front, the best, and sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from voltaloop.report.formats import MISSING, duration, plural, significant


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A setting and its held-out errors.

    number: from 0, None for the setting that the file already has; values: what was searched, by
    dotted name; train_s, train_cpu_s: seconds for all its trainings and their scoring; failed: why
    there are no errors.
    """

    number: int | None
    values: Mapping[str, Any]
    energy_rmse_meV_per_atom: float = float("nan")
    force_rmse_eV_per_A: float = float("nan")
    stress_rmse_GPa: float | None = None
    train_s: float | None = None
    train_cpu_s: float | None = None
    failed: str = ""

    @classmethod
    def of(cls, number: int | None, values: Mapping[str, Any], found: Mapping[str, Any]) -> Trial:
        """From what a worker told."""
        return cls(
            number=number,
            values=values,
            energy_rmse_meV_per_atom=found["energy_rmse_meV_per_atom"],
            force_rmse_eV_per_A=found["force_rmse_eV_per_A"],
            stress_rmse_GPa=found.get("stress_rmse_GPa"),
            train_s=found.get("train_s"),
            train_cpu_s=found.get("train_cpu_s"),
        )

    @property
    def name(self) -> str:
        return "as the file has it" if self.number is None else str(self.number + 1)

    @property
    def product(self) -> float:
        """Of the two errors: what the best setting has the smallest of."""
        return self.energy_rmse_meV_per_atom * self.force_rmse_eV_per_A

    def to_json(self) -> dict[str, Any]:
        """Errors of a failed trial are None."""
        data = asdict(self)
        if self.failed:
            data |= {"energy_rmse_meV_per_atom": None, "force_rmse_eV_per_A": None}
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """Errors on the test frames, which no trial saw; failed: why there are none."""

    energy_rmse_meV_per_atom: float | None = None
    force_rmse_eV_per_A: float | None = None
    stress_rmse_GPa: float | None = None
    failed: str = ""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Examined:
        names = ("energy_rmse_meV_per_atom", "force_rmse_eV_per_A", "stress_rmse_GPa")
        return cls(**{name: found[name] for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """All that ``voltaloop tune`` found.

    fixed: options of the potential in the file; labels, test, scoring: in words; present: the
    setting as the file has it; examined: "present" and "best" on the test frames.
    """

    name: str
    seed: int
    engine: str
    fixed: Mapping[str, Any]
    labels: str
    test: str
    scoring: str
    sampler: str
    present: Trial
    trials: Sequence[Trial]
    best: Trial | None
    examined: Mapping[str, Examined]
    versions: Mapping[str, str]
    text: str

    @property
    def candidates(self) -> list[Trial]:
        """What gave errors, the present setting first."""
        return [trial for trial in (self.present, *self.trials) if not trial.failed]

    def to_json(self) -> dict[str, Any]:
        """Everything, and the Pareto front."""
        data = asdict(self)
        return data | {
            "present": self.present.to_json(),
            "trials": [trial.to_json() for trial in self.trials],
            "best": None if self.best is None else self.best.to_json(),
            "front": [trial.to_json() for trial in pareto_front(self.candidates)],
        }


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The smallest product of the two held-out errors, the rule that pod itself chooses by."""
    return min((one for one in trials if not one.failed), key=lambda one: one.product, default=None)


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that no other beats in both errors, by rising energy error."""
    front: list[Trial] = []
    known = [one for one in trials if not one.failed]
    for one in sorted(known, key=lambda t: (t.energy_rmse_meV_per_atom, t.force_rmse_eV_per_A)):
        if not front or one.force_rmse_eV_per_A < front[-1].force_rmse_eV_per_A:
            front.append(one)
    return front


def setting(values: Mapping[str, Any]) -> str:
    """``basis.rcut 4.5, members 8``"""
    if not values:
        return "as the file has it"
    return ", ".join(f"{name} {option(value)}" for name, value in values.items())


def option(value: Any) -> str:
    """A value as YAML would have it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


TRIAL_HEADERS = ("trial", "energy (meV/atom)", "force (eV/Å)", "stress (GPa)", "CPU", "setting")


def trial_row(trial: Trial) -> tuple[str, ...]:
    """Text for :data:`TRIAL_HEADERS`."""
    if trial.failed:
        return (trial.name, *[MISSING] * 4, f"{setting(trial.values)}: {trial.failed}")
    return (
        trial.name,
        significant(trial.energy_rmse_meV_per_atom),
        significant(trial.force_rmse_eV_per_A),
        significant(trial.stress_rmse_GPa),
        duration(trial.train_cpu_s),
        setting(trial.values),
    )


def front_rows(tuning: Tuning) -> list[tuple[str, ...]]:
    """The Pareto front; the best is marked."""
    rows = []
    for trial in pareto_front(tuning.candidates):
        name, *rest = trial_row(trial)
        rows.append((f"{name} ★" if trial is tuning.best else name, *rest))
    return rows


RESULT_HEADERS = (
    "setting",
    "held out: energy (meV/atom)",
    "force (eV/Å)",
    "test: energy (meV/atom)",
    "force (eV/Å)",
    "stress (GPa)",
)


def result_rows(tuning: Tuning) -> list[tuple[str, ...]]:
    """The present setting and the best one, on the frames of the search and on the test."""
    rows = [("as the file has it", tuning.present, tuning.examined.get("present"))]
    if tuning.best is not None:
        rows.append((f"best: {setting(tuning.best.values)}", tuning.best, tuning.examined["best"]))
    return [
        (
            name,
            significant(trial.energy_rmse_meV_per_atom),
            significant(trial.force_rmse_eV_per_A),
            *(
                significant(None if found is None else getattr(found, quantity))
                for quantity in (
                    "energy_rmse_meV_per_atom",
                    "force_rmse_eV_per_A",
                    "stress_rmse_GPa",
                )
            ),
        )
        for name, trial, found in rows
    ]


def tuning_sentence(tuning: Tuning) -> str:
    """What the search brought on frames that it never saw."""
    tried = plural(len(tuning.trials), "setting")
    if tuning.best is None:
        return f"None of {tried} worked."
    present, best = tuning.examined.get("present"), tuning.examined["best"]
    if tuning.best.number is None:
        return f"None of {tried} is better than the one in the file."
    if best.failed:
        return f"The best of {tried} failed when it was trained on all frames: {best.failed}"
    said = (
        f"The best of {tried} has {significant(best.force_rmse_eV_per_A)} eV/Å and "
        f"{significant(best.energy_rmse_meV_per_atom)} meV/atom on test frames that the search "
        "never saw"
    )
    if present is None or present.failed:
        return f"{said}; the one in the file failed."
    return (
        f"{said}; the one in the file has {significant(present.force_rmse_eV_per_A)} eV/Å and "
        f"{significant(present.energy_rmse_meV_per_atom)} meV/atom."
    )


def best_lines(tuning: Tuning) -> list[str]:
    """What the best setting is, how it was chosen and how good it is."""
    if tuning.best is None:
        return []
    failed = sum(bool(trial.failed) for trial in tuning.trials)
    rule = (
        f"The smallest product of held-out energy and force error of "
        f"{plural(len(tuning.trials), 'trial')} ({failed} failed) and the present setting, "
        f"{tuning.scoring}."
    )
    return [rule, tuning_sentence(tuning)]
