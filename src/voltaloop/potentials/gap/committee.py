"""Several Gaussian approximation potentials, evaluated by QUIP."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from voltaloop.core import FloatArray, Frame, Label
from voltaloop.core.lammps import check_frame
from voltaloop.core.registry import require
from voltaloop.potentials.blocks import Evaluator
from voltaloop.potentials.gap.model import mean_model, write_model
from voltaloop.potentials.models import Model, ModelCommittee

VARIANCE_FLOOR = 1e-12
"""eV². Rounding may leave a variance of zero or less at a sparse point."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GapCommittee(ModelCommittee):
    """A committee of Gaussian approximation potentials.

    Its mean is one model with the sparse points of all members, about as fast as one of them.
    """

    def open(self, model: Model) -> Evaluator:
        return GapModel.read(model)

    @cached_property
    def mean(self) -> Evaluator:
        """The mean of all members, ready."""
        if len(self.models) == 1:
            return self.evaluators[0]
        return self.open(mean_model(self.models))

    def mean_label(self, frame: Frame) -> Label:
        check_frame(frame, self.species)
        return self.mean(frame)

    def _labels(self, frame: Frame) -> list[Label]:
        return [self.mean_label(frame)] if self.averaging else super()._labels(frame)

    def own_force_s(self, frame: Frame) -> FloatArray | None:
        """(n_atoms,) in eV/Å with ``uncertainty: variance``: the square root of the members' mean
        variance of each atom's energy, divided by 1 Å.

        It says where the model is unsure; how large the error of a force is there, only the
        calibration tells.
        """
        if self.meta["uncertainty"] != "variance":
            return None
        variances = [evaluate.variances(frame) for evaluate in self.evaluators]  # type: ignore[attr-defined]  # opened above
        own: FloatArray = np.sqrt(np.maximum(np.mean(variances, axis=0), VARIANCE_FLOOR))
        return own


@dataclass(frozen=True, slots=True)
class GapModel:
    """One model in QUIP, ready."""

    calculator: Any

    @classmethod
    def read(cls, model: Model) -> GapModel:
        """QUIP reads the files once, so that they can go afterwards."""
        potential = require("quippy.potential", extra="gap").Potential
        with TemporaryDirectory(prefix="voltaloop-gap-") as scratch:
            path = write_model(model, Path(scratch))
            return cls(potential("IP GAP", param_filename=str(path)))

    def __call__(self, frame: Frame) -> Label:
        results = self._calculated(frame, ["energy", "forces", "stress"]).results
        return Label(energy=results["energy"], forces=results["forces"], stress=results["stress"])

    def variances(self, frame: Frame) -> FloatArray:
        """(n_atoms,) in eV²: the variance of each atom's energy."""
        done = self._calculated(frame, ["energy"], calc_args="local_gap_variance")
        variances: FloatArray = done.extra_results["atoms"]["local_gap_variance"]
        return variances

    def _calculated(self, frame: Frame, properties: list[str], **options: str) -> Any:
        """The calculator after a calculation of these properties and no others."""
        self.calculator.set_default_properties([])
        self.calculator.reset()
        self.calculator.calculate(frame.to_atoms(), properties, **options)
        return self.calculator
