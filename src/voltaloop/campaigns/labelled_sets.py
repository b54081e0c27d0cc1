"""Labelled frames from campaigns and files, checked before anything learns from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voltaloop.campaigns.study_file import LabelsSection, resolved
from voltaloop.core import Frame, Label, LabelledSetError
from voltaloop.core.training import Example

if TYPE_CHECKING:
    from ase import Atoms

MARGIN_A = 12.0
"""Å between a molecule and its image in a box of our own: no engine here sees so far."""

Pair = tuple[Frame, Label]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSet:
    """Different labelled frames.

    source: where they are from, for people; doubles: frames that were in it more than once, of
    which the first is kept; boxed: frames without a cell that were put into a box.
    """

    source: str
    examples: tuple[Example, ...]
    doubles: int
    boxed: int

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols by atomic number."""
        from ase.data import chemical_symbols

        found = {int(z) for example in self.examples for z in example.frame.numbers}
        return tuple(chemical_symbols[z] for z in sorted(found))

    @property
    def with_stress(self) -> int:
        return sum(example.label.stress is not None for example in self.examples)

    def describe(self) -> str:
        """One line."""
        sizes = sorted({len(example.frame) for example in self.examples})
        atoms = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        told = [
            f"{len(self.examples)} labelled frames of {'-'.join(self.species)}, {atoms} atoms each "
            f"({self.with_stress} with stress), from {self.source}"
        ]
        if self.doubles:
            told.append(f"{self.doubles} left out that were in it twice")
        if self.boxed:
            told.append(f"{self.boxed} without a cell put into a box")
        return "; ".join(told)


def read_labels(section: LabelsSection, base: Path, key: str = "labels") -> LabelledSet:
    """The set of a section; ``base``: what its paths are relative to; ``key``: for errors.

    Raises LabelledSetError where it cannot be used, CampaignFolderError for a campaign folder.
    """
    reader = _Reader(section, key)
    pairs = list(reader.pairs(list(resolved(section.places, base))))
    source = ", ".join(section.places)
    if section.source == "campaign":
        source += {"training": "", "audit": " (audit)", "all": " (with its audit)"}[section.origins]
    if not pairs:
        raise LabelledSetError(f"{key}: {source} holds no labelled frames.")
    examples = {
        frame.digest: Example(key=frame.digest, frame=frame, label=label)
        for frame, label in reversed(pairs)
    }
    return LabelledSet(
        source=source,
        examples=tuple(reversed(examples.values())),
        doubles=len(pairs) - len(examples),
        boxed=reader.boxed,
    )


def check_same_species(training: LabelledSet, test: LabelledSet) -> None:
    """Raise LabelledSetError where the test has species that nothing can be learned of."""
    strange = [symbol for symbol in test.species if symbol not in training.species]
    if strange:
        raise LabelledSetError(
            f"The test set {test.source} has {', '.join(strange)}, which the labels of "
            f"{training.source} ({', '.join(training.species)}) do not. Test on the same elements."
        )


def without(labels: LabelledSet, test: LabelledSet) -> LabelledSet:
    """The labels whose frames are not in the test set."""
    tested = {example.key for example in test.examples}
    kept = tuple(example for example in labels.examples if example.key not in tested)
    if not kept:
        raise LabelledSetError(
            f"All frames of {labels.source} are in the test set {test.source}, too."
        )
    return LabelledSet(
        source=labels.source, examples=kept, doubles=labels.doubles, boxed=labels.boxed
    )


class _Reader:
    """Reads one section, counting what it had to change."""

    def __init__(self, section: LabelsSection, key: str) -> None:
        self._section, self._key = section, key
        self.boxed = 0

    def pairs(self, paths: Sequence[Path]) -> Iterator[Pair]:
        for path in paths:
            if not path.exists():
                raise LabelledSetError(f"{self._key}.{self._section.source}: there is no {path}.")
            readers = {
                "campaign": self._campaign,
                "extxyz": self._extxyz,
                "ase_db": self._ase_db,
                "deepmd": self._deepmd,
            }
            for index, (frame, label) in enumerate(readers[self._section.source](path)):
                self._refuse_broken(frame, label, f"{path}, frame {index}")
                yield frame, label

    def _campaign(self, path: Path) -> Iterator[Pair]:
        from voltaloop.campaigns.folder import CampaignFolder
        from voltaloop.campaigns.minds import state_of

        folder = CampaignFolder(path)
        state = state_of(folder)
        wanted = {"training": state.labels, "audit": state.audit}
        kinds = list(wanted) if self._section.origins == "all" else [self._section.origins]
        store = folder.artifacts
        for one in (one for kind in kinds for one in wanted[kind]):
            yield (
                Frame.from_json(store.get_json(one.frame)),
                Label.from_json(store.get_json(one.label)),
            )

    def _extxyz(self, path: Path) -> Iterator[Pair]:
        import ase.io

        try:
            images = ase.io.read(path, index=":", format="extxyz")
        except Exception as err:
            raise self._unreadable(path, "an extended XYZ file", err) from err
        yield from self._all_of(images, path)

    def _ase_db(self, path: Path) -> Iterator[Pair]:
        import ase.db

        try:
            with ase.db.connect(path, type="db") as database:
                images = [row.toatoms(add_additional_information=True) for row in database.select()]
        except Exception as err:
            raise self._unreadable(path, "an ASE database", err) from err
        yield from self._all_of(images, path)

    def _deepmd(self, path: Path) -> Iterator[Pair]:
        from voltaloop.core.deepmd_npy import read_deepmd

        yield from read_deepmd(path)

    def _unreadable(self, path: Path, what: str, err: Exception) -> LabelledSetError:
        return LabelledSetError(
            f"{self._key}.{self._section.source}: {path} cannot be read as {what}: "
            f"{type(err).__name__}: {err}"
        )

    def _all_of(self, images: Iterable[Atoms], path: Path) -> Iterator[Pair]:
        for index, atoms in enumerate(images):
            where = f"{path}, frame {index}"
            frame, boxed = self._framed(atoms, where)
            label = self._label(atoms, where, with_stress=not boxed)
            self.boxed += boxed
            yield frame, label

    def _label(self, atoms: Atoms, where: str, *, with_stress: bool) -> Label:
        section = self._section
        found = _values_of(atoms)
        energy = self._required(found, section.energy, "energy", where)
        forces = self._required(found, section.forces, "forces", where)
        stress = found.get(section.stress) if with_stress and section.stress else None
        try:
            return Label(
                energy=energy, forces=forces, stress=None if stress is None else _voigt(stress)
            )
        except (ValueError, TypeError) as err:
            raise LabelledSetError(f"{where}: the label cannot be used: {err}.") from err

    def _required(self, found: Mapping[str, Any], name: str, key: str, where: str) -> Any:
        if name not in found:
            known = ", ".join(sorted(found)) or "none"
            raise LabelledSetError(
                f"{where}: there is no '{name}'. Its keys: {known}. Say which one holds the {key} "
                f"with {self._key}.{key}."
            )
        return found[name]

    def _framed(self, atoms: Atoms, where: str) -> tuple[Frame, bool]:
        """The frame, and whether it had to be put into a box."""
        if atoms.pbc.any() and atoms.cell.rank == 3:
            return Frame.from_atoms(atoms), False
        if atoms.pbc.any():
            raise LabelledSetError(
                f"{where}: the cell is periodic but has no volume. Give it three vectors."
            )
        edge, extent = self._section.box_A, float(np.ptp(atoms.positions, axis=0).max())
        if extent + MARGIN_A > edge:
            raise LabelledSetError(
                f"{where}: the molecule is {extent:.1f} Å across and would meet its image in a box "
                f"of {edge:g} Å. Set {self._key}.box_A to {extent + 2 * MARGIN_A:.0f} or more."
            )
        boxed = atoms.copy()
        boxed.set_cell([edge, edge, edge])
        return Frame.from_atoms(boxed), True

    def _refuse_broken(self, frame: Frame, label: Label, where: str) -> None:
        if not (np.isfinite(frame.positions).all() and np.isfinite(frame.cell).all()):
            raise LabelledSetError(f"{where}: positions or cell are not finite numbers.")
        if not label.is_finite():
            raise LabelledSetError(f"{where}: the label is not finite numbers. Remove the frame.")
        if len(label.forces) != len(frame):
            raise LabelledSetError(
                f"{where}: {len(frame)} atoms, but forces of {len(label.forces)}."
            )


def _values_of(atoms: Atoms) -> dict[str, Any]:
    """What a frame may have as a label: results that ASE knows, other keys, arrays of atoms."""
    structure = ("numbers", "positions", "initial_magmoms", "tags", "momenta", "masses")
    arrays = {name: values for name, values in atoms.arrays.items() if name not in structure}
    info = dict(atoms.info)
    info.update(info.pop("key_value_pairs", {}))
    info.update(info.pop("data", {}))
    return {**arrays, **info, **(atoms.calc.results if atoms.calc is not None else {})}


def _voigt(stress: Any) -> Any:
    """(6,) of (6,), (9,) or (3, 3)."""
    values = np.asarray(stress, dtype=float)
    if values.size == 9:
        return values.reshape(9)[[0, 4, 8, 5, 2, 1]]
    return values
