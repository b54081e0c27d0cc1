"""The POD basis: which descriptors, and how many."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FOURBODY_ANGULAR_COUNTS = (1, 2, 4, 7, 11, 16, 23)
"""Number of four-body angular functions for angular degree 0, 1, 2 ... (LAMMPS ML-POD)."""

MAX_ANGULAR_DEGREE = len(FOURBODY_ANGULAR_COUNTS) - 1


class PodBasis(BaseModel):
    """Proper orthogonal descriptors (Nguyen & Rohskopf, doi 10.1016/j.jcp.2023.112030)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rcut: float = Field(default=4.5, gt=1.0, le=12.0, description="outer cutoff in Å")
    rin: float = Field(
        default=0.8, gt=0.0, description="inner cutoff in Å; below it the basis is constant"
    )
    bessel_degree: int = Field(default=4, ge=1, le=10, description="degree of the Bessel functions")
    inverse_degree: int = Field(default=8, ge=1, le=20, description="degree of the inverse powers")
    twobody: int = Field(default=8, ge=1, le=20, description="radial functions, two-body")
    threebody: int = Field(default=6, ge=0, le=20, description="radial functions, three-body")
    threebody_degree: int = Field(
        default=5, ge=0, le=MAX_ANGULAR_DEGREE, description="angular degree, three-body"
    )
    fourbody: int = Field(
        default=4, ge=0, le=20, description="radial functions, four-body (0: none)"
    )
    fourbody_degree: int = Field(
        default=3, ge=0, le=MAX_ANGULAR_DEGREE, description="angular degree, four-body"
    )

    @model_validator(mode="after")
    def _each_order_within_the_lower_one(self) -> PodBasis:
        if self.rin >= self.rcut:
            raise ValueError(f"rin ({self.rin} Å) must be below rcut ({self.rcut} Å)")
        if self.threebody > self.twobody or self.fourbody > self.threebody:
            raise ValueError("radial functions must not increase: twobody >= threebody >= fourbody")
        if self.fourbody and self.fourbody_degree > self.threebody_degree:
            raise ValueError("fourbody_degree must not exceed threebody_degree")
        return self

    def per_species(self, n_species: int) -> int:
        """Number of descriptors of one central atom, without the one-body constant."""
        pairs = n_species * (n_species + 1) // 2
        triples = n_species * (n_species + 1) * (n_species + 2) // 6
        return (
            self.twobody * n_species
            + self.threebody * (self.threebody_degree + 1) * pairs
            + self.fourbody * FOURBODY_ANGULAR_COUNTS[self.fourbody_degree] * triples
        )

    def size(self, n_species: int) -> int:
        """Number of linear coefficients of the potential."""
        return n_species * (1 + self.per_species(n_species))

    def parameter_file(self, species: tuple[str, ...]) -> str:
        """The text of the LAMMPS POD parameter file."""
        return "\n".join(
            [
                f"species {' '.join(species)}",
                "pbc 1 1 1",
                f"rin {self.rin}",
                f"rcut {self.rcut}",
                f"bessel_polynomial_degree {self.bessel_degree}",
                f"inverse_polynomial_degree {self.inverse_degree}",
                "onebody 1",
                f"twobody_number_radial_basis_functions {self.twobody}",
                f"threebody_number_radial_basis_functions {self.threebody}",
                f"threebody_angular_degree {self.threebody_degree}",
                f"fourbody_number_radial_basis_functions {self.fourbody}",
                f"fourbody_angular_degree {self.fourbody_degree}",
                "",
            ]
        )


def coefficient_file(coefficients: list[float]) -> str:
    """The text of the LAMMPS POD coefficient file."""
    lines = [f"model_coefficients: {len(coefficients)} 0 0", *(f"{c:.17g}" for c in coefficients)]
    return "\n".join(lines) + "\n"


BASES: dict[str, PodBasis] = {
    "small": PodBasis(twobody=6, threebody=5, threebody_degree=4, fourbody=0, fourbody_degree=0),
    "medium": PodBasis(twobody=6, threebody=5, threebody_degree=4, fourbody=3, fourbody_degree=2),
    "large": PodBasis(),
}
"""Named basis sizes: 507, 867 and 1563 coefficients for three species."""

BasisName = Literal["small", "medium", "large"]
