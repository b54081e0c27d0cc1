"""Members of a committee differ by what they do not learn from: example i belongs to block i mod n,
and member k leaves out block k, on which its held-out errors are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from voltaloop.core import Frame, Label
from voltaloop.core.training import Example

T = TypeVar("T")
Evaluator = Callable[[Frame], Label]
"""A single model: energy in eV, forces in eV/Å, stress in eV/Å3 or None."""


def check_examples(examples: Sequence[Example], members: int, engine: str) -> None:
    """Raise ValueError where no committee can be trained on the examples."""
    if len(examples) < members:
        raise ValueError(
            f"The potential '{engine}' needs at least one labelled frame for each of its {members} "
            f"members, got {len(examples)}"
        )
    broken = [example.key for example in examples if not example.label.is_finite()]
    if broken:
        raise ValueError(
            f"The potential '{engine}' cannot be fitted: the labels of {len(broken)} examples are "
            f"not finite numbers, the first is {broken[0]}. Remove them."
        )


def learned_by(examples: Sequence[T], member: int, members: int) -> list[T]:
    """What a member learns from; a committee of one learns from everything."""
    return [e for i, e in enumerate(examples) if members == 1 or i % members != member]


def held_out_from(examples: Sequence[T], member: int, members: int) -> list[T]:
    """What it does not learn from."""
    return [e for i, e in enumerate(examples) if members > 1 and i % members == member]


def root_mean_squares(evaluate: Evaluator, examples: Sequence[Example]) -> dict[str, float]:
    """Errors of one model: "energy" (eV/atom), "force" (eV/Å), with stresses "stress" (eV/Å3)."""
    return _summary([_errors(evaluate, example) for example in examples])


def held_out_errors(
    evaluators: Sequence[Evaluator], examples: Sequence[Example]
) -> dict[str, float]:
    """The same of every example under the member that has not learned from it."""
    members = len(evaluators)
    return _summary([_errors(evaluators[i % members], e) for i, e in enumerate(examples)])


def _errors(evaluate: Evaluator, example: Example) -> dict[str, list[float]]:
    got, truth = evaluate(example.frame), example.label
    errors = {
        "energy": [(got.energy - truth.energy) / len(example.frame)],
        "force": (got.forces - truth.forces).ravel().tolist(),
    }
    if got.stress is not None and truth.stress is not None:
        errors["stress"] = (got.stress - truth.stress).tolist()
    return errors


def _summary(errors: Sequence[Mapping[str, list[float]]]) -> dict[str, float]:
    pooled: dict[str, list[float]] = {}
    for one in errors:
        for quantity, values in one.items():
            pooled.setdefault(quantity, []).extend(values)
    return {q: float(np.sqrt(np.mean(np.square(values)))) for q, values in pooled.items()}
