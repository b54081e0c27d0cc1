"""tblite: semi-empirical quantum mechanics (xTB), quick, at the gamma point only.

GFN1-xTB: https://doi.org/10.1021/acs.jctc.7b00118, GFN2-xTB: https://doi.org/10.1021/acs.jctc.8b01176.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from voltaloop.core import Frame, Label, ReferenceFailure, Rung, StorageError, require
from voltaloop.references.failures import end_of, failure_of
from voltaloop.references.labelling import check_packages, label_from_calculator


class TbliteSettings(BaseModel):
    """Options of the reference ``tblite``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["GFN1-xTB", "GFN2-xTB", "IPEA1-xTB"] = Field(
        default="GFN1-xTB",
        description="Hamiltonian; dispersion is part of it. GFN1 for oxides, GFN2 for molecules.",
    )
    electronic_temperature_K: float = Field(
        default=300.0, gt=0, description="Temperature of the Fermi distribution in K."
    )
    accuracy: float = Field(
        default=1.0,
        gt=0,
        description="Scale of every numerical threshold; smaller is tighter and slower.",
    )
    max_iterations: int = Field(
        default=500, ge=1, description="Self-consistency steps before the frame is given up."
    )
    mixer_damping: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the new charges that is mixed in; less is steadier. Default: that "
        "of tblite itself, 0.4.",
    )
    initial_guess: Literal["sad", "eeq"] = Field(
        default="sad",
        description="Charges to start from: sad, of neutral atoms; eeq, of balanced "
        "electronegativities, nearer to the answer for salts.",
    )
    charge: int = Field(default=0, description="Charge of the cell in elementary charges.")
    multiplicity: int | None = Field(
        default=None,
        ge=1,
        description="Spin multiplicity 2S+1; default: the lowest the electron count allows. The "
        "moments of a frame are not used: without spin polarisation they would only fix S.",
    )


@dataclass(frozen=True, slots=True)
class Tblite:
    """xTB as a reference: energy, forces and stress, no moments.

    Gamma point only, so energies are not extensive: compare frames of one supercell only.
    """

    Settings: ClassVar[type[TbliteSettings]] = TbliteSettings
    LADDER: ClassVar[tuple[Rung, ...]] = (
        Rung(
            name="charges mixed more gently, up to 2000 iterations",
            reasons=("not_converged",),
            options={"mixer_damping": 0.1, "max_iterations": 2000},
        ),
        Rung(
            name="balanced charges to start from, mixed more gently, up to 2000 iterations",
            reasons=("not_converged",),
            options={"initial_guess": "eeq", "mixer_damping": 0.1, "max_iterations": 2000},
        ),
    )

    settings: TbliteSettings

    def check_installed(self) -> None:
        check_packages(["tblite"], extra="tblite")

    def executes(self) -> list[str]:
        """Nothing: the settings name no code."""
        return []

    def label(self, frame: Frame) -> Label:
        tblite = require("tblite.ase", extra="tblite")
        # A fresh calculator: a kept one starts from the last frame's charges, and the label would
        # depend on what was labelled before.
        calculator = tblite.TBLite(
            method=self.settings.method,
            electronic_temperature=self.settings.electronic_temperature_K,
            accuracy=self.settings.accuracy,
            max_iterations=self.settings.max_iterations,
            guess=self.settings.initial_guess,
            **self._damping(),
            charge=self.settings.charge,
            multiplicity=self.settings.multiplicity,
            verbosity=0,
        )
        try:
            label = label_from_calculator(calculator, replace(frame, magmoms=None))
        except Exception as err:
            raise _failure(err, self.settings.max_iterations) from err
        return replace(label, details={"method": self.settings.method})

    def _damping(self) -> dict[str, float]:
        damping = self.settings.mixer_damping
        return {} if damping is None else {"mixer_damping": damping}


def _failure(err: Exception, max_iterations: int) -> ReferenceFailure | StorageError:
    text = f"{err} {err.__cause__ or err.__context__ or ''}".strip()
    if "not converge" in text.lower():
        return ReferenceFailure(
            "not_converged",
            f"after {max_iterations} iterations: {text}",
            files={"tblite.txt": end_of(text)},
        )
    return failure_of(err)
