"""D3(BJ) dispersion, which PBE-like engines lack and layered oxides need.

D3: https://doi.org/10.1063/1.3382344, Becke-Johnson damping: https://doi.org/10.1002/jcc.21759.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from voltaloop.core import Frame, Label, require
from voltaloop.references.labelling import add_labels, check_packages, label_from_calculator

BOHR_A = 0.52917721
"""1 Bohr in Å."""

CN_CUTOFF_A = 40 * BOHR_A
"""Where D3 stops counting coordination, as its authors chose."""

SWITCH_A = 10 * BOHR_A
"""Width over which pairs fade out before the cutoff. Without it shells of neighbours drop out under
strain, and the stress is off by 2e-5 eV/Å3 from the derivative of the energy."""


class DispersionSettings(BaseModel):
    """The two options about dispersion that every reference with a D3 term has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dispersion: Literal["d3bj"] | None = Field(
        default="d3bj",
        description="Dispersion added to the engine: d3bj, or none. Without it the NiO2 layers of "
        "an empty cathode drift apart and the volume change has the wrong sign.",
    )
    dispersion_cutoff_A: float = Field(
        default=31.75,
        ge=10,
        description="Distance in Å beyond which pairs carry no dispersion. 31.75 (60 Bohr) takes "
        "10 ms for 16 atoms; 15.9 takes 4 ms less and shifts the energy by 3 meV/atom.",
    )

    @field_validator("dispersion", mode="before")
    @classmethod
    def _none_is_null(cls, value: object) -> object:
        return None if value == "none" else value


def check_dispersion(settings: DispersionSettings, *, extra: str) -> None:
    """Raise MissingDependencyError when the settings ask for D3 and it is not installed."""
    if settings.dispersion is not None:
        check_packages(["dftd3"], extra=extra)


def with_dispersion(
    label: Label, frame: Frame, settings: DispersionSettings, *, functional: str, extra: str
) -> Label:
    """The label plus the D3 term of the frame, or the label itself where none is asked for."""
    if settings.dispersion is None:
        return label
    term = dispersion_label(
        frame, functional=functional, cutoff_A=settings.dispersion_cutoff_A, extra=extra
    )
    return add_labels(label, term)


def dispersion_label(frame: Frame, *, functional: str, cutoff_A: float, extra: str) -> Label:
    """Energy, forces and stress of the two-body D3(BJ) term with the functional's parameters."""
    dftd3 = require("dftd3.ase", extra=extra)
    # A fresh calculator costs nothing measurable and shares no state between threads.
    calculator = dftd3.DFTD3(
        method=functional,
        damping="d3bj",
        realspace_cutoff={
            "disp2": cutoff_A,
            "width2": SWITCH_A,
            "cn": min(cutoff_A, CN_CUTOFF_A),
        },
    )
    label = label_from_calculator(calculator, frame)
    return Label(
        energy=label.energy,
        forces=label.forces,
        stress=label.stress,
        details={"dispersion": f"D3(BJ) {functional}", "dispersion_energy_eV": label.energy},
    )
