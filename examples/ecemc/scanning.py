"""The liquid at other densities, its molecules rigid: where would it like to be?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from electrolyte import Sample
from evaluation import Tick
from fitting import Fit
from reference import METHOD, periodic_label
from scipy.interpolate import CubicSpline
from shelf import Shelf, Step

from voltaloop.core import MEV, FloatArray, Frame
from voltaloop.molecules import at_density

DENSITIES = (0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3)
"""g/cm3. Between them the liquids of the data have 1.01 (EMC) to 1.24 (7:3 EC:EMC)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """densities: (n,) g/cm3; energies: (n,) eV for each molecule, from the first density on."""

    densities: FloatArray
    energies: FloatArray

    @property
    def lowest(self) -> float | None:
        """The density in g/cm3 of least energy, or None where that is at an end of the scan."""
        curve = CubicSpline(self.densities, self.energies)
        fine = np.linspace(self.densities[0], self.densities[-1], 2001)
        best = int(np.argmin(curve(fine)))
        return float(fine[best]) if 0 < best < len(fine) - 1 else None


def scan_by(fit: Fit, liquid: Sample, shelf: Shelf, tick: Tick) -> Scan:
    """The mean of the committee."""
    mean = fit.committee.averaged()
    return _scan(
        liquid, lambda f: float(mean.predict(f).energy[0]), {"fit": fit.digest}, shelf, tick
    )


def scan_by_reference(liquid: Sample, shelf: Shelf, tick: Tick) -> Scan:
    """GFN2-xTB at the gamma point."""
    return _scan(liquid, lambda f: periodic_label(f).energy, {"reference": METHOD}, shelf, tick)


def difference(got: Scan, expected: Scan) -> float:
    """Root mean square in meV for each molecule, both curves shifted to a mean of zero."""
    apart = (got.energies - got.energies.mean()) - (expected.energies - expected.energies.mean())
    return float(np.sqrt(np.mean(apart**2))) * MEV


def _scan(
    liquid: Sample,
    energy_of: Callable[[Frame], float],
    by: Mapping[str, object],
    shelf: Shelf,
    tick: Tick,
) -> Scan:
    energies = []
    for target in DENSITIES:
        frame = at_density(liquid.frame, liquid.molecules, target)
        what = {"step": "scan-1", **by, "frame": frame.digest}
        energies.append(float(shelf.once(what, _step(energy_of, frame)).facts["energy"]))
        tick()
    per_molecule = np.array(energies) / len(liquid.molecules)
    return Scan(densities=np.array(DENSITIES), energies=per_molecule - per_molecule[0])


def _step(energy_of: Callable[[Frame], float], frame: Frame) -> Callable[[], Step]:
    return lambda: Step(facts={"energy": energy_of(frame)}, arrays={})
