"""Options of the potential ``gap``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from ase.data import atomic_numbers
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

Uncertainty = Literal["committee", "variance"]

_WORD = re.compile(r"[A-Za-z0-9_.:+-]+")
_OURS = frozenset(
    {
        "at_file",
        "atoms_filename",
        "config_file",
        "default_kernel_regularisation",
        "default_sigma",
        "do_copy_at_file",
        "do_copy_atoms_file",
        "dryrun",
        "e0",
        "energy_parameter_name",
        "force_parameter_name",
        "gap",
        "gap_file",
        "gp_file",
        "mpi_print_all",
        "parameter_name_prefix",
        "rnd_seed",
        "sparse_jitter",
        "sparse_separate_file",
        "sparsify_only_no_fit",
        "verbosity",
        "virial_parameter_name",
    }
)
"""Options of gap_fit that voltaloop sets itself."""

_OURS_SOAP = frozenset(
    {
        "Z",
        "add_species",
        "atom_gaussian_width",
        "atom_sigma",
        "covariance_type",
        "cutoff",
        "cutoff_transition_width",
        "delta",
        "l_max",
        "n_Z",
        "n_max",
        "n_sparse",
        "n_species",
        "nu_R",
        "nu_S",
        "sparse_method",
        "species_Z",
        "zeta",
    }
)
"""Options of a SOAP that voltaloop sets itself."""


def _simple_words(options: dict[str, str]) -> dict[str, str]:
    for key, value in options.items():
        if not (_WORD.fullmatch(key) and _WORD.fullmatch(value)):
            raise ValueError(
                f"expected one word for one word, of letters, digits and _ . : + -, for example "
                f"{{condition_number_norm: I}}, got {{{key}: {value}}}"
            )
    return options


def _as_text(options: Any) -> Any:
    """What YAML reads as a number, true or false, in the spelling of gap_fit."""
    if not isinstance(options, dict):
        return options
    spelled = {True: "T", False: "F"}
    return {
        key: spelled[v] if isinstance(v, bool) else str(v) if isinstance(v, int | float) else v
        for key, v in options.items()
    }


Extra = Annotated[dict[str, str], BeforeValidator(_as_text), AfterValidator(_simple_words)]
"""Further options of gap_fit, each one word."""


class Soap(BaseModel):
    """One smooth overlap of atomic positions: a kernel of environments within a cutoff.

    SOAP: https://doi.org/10.1103/PhysRevB.87.184115, its compression by ``nu_R`` and ``nu_S``:
    https://doi.org/10.1038/s41524-022-00847-y.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cutoff: float = Field(default=4.0, gt=0, le=20, description="radius of the environment in Å")
    cutoff_transition_width: float = Field(
        default=1.0, gt=0, description="width in Å over which neighbours fade out below the cutoff"
    )
    n_max: int = Field(default=6, ge=1, le=20, description="radial basis functions")
    l_max: int = Field(default=4, ge=0, le=15, description="highest angular momentum")
    atom_sigma: float = Field(
        default=0.5, gt=0, description="width in Å of the Gaussian that stands for an atom"
    )
    zeta: int = Field(default=4, ge=1, le=12, description="power of the kernel: sharper if larger")
    delta: float = Field(
        default=0.5, gt=0, description="size in eV of an atom's energy that it explains"
    )
    sparse: int = Field(
        default=200, ge=1, description="sparse points (representative environments) per species"
    )
    nu_R: Literal[0, 1, 2] = Field(
        default=1,
        description="neighbour densities, of the two that are multiplied, that keep their radial "
        "resolution; 2 with nu_S 2 is the full power spectrum, several times larger",
    )
    nu_S: Literal[0, 1, 2] = Field(
        default=1, description="neighbour densities, of the two, that tell species apart"
    )
    sparse_method: Literal["cur_points", "random", "covariance", "kmeans"] = Field(
        default="cur_points", description="how gap_fit chooses the sparse points"
    )
    extra: Extra = Field(
        default_factory=dict,
        description="further options of gap_fit's soap, for example {central_weight: 1.0}",
    )

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, value: dict[str, str]) -> dict[str, str]:
        return _without(value, _OURS_SOAP)

    @model_validator(mode="after")
    def _fades_within_the_cutoff(self) -> Self:
        if self.cutoff_transition_width >= self.cutoff:
            raise ValueError(
                f"cutoff_transition_width: expected less than the cutoff of {self.cutoff:g} Å, got "
                f"{self.cutoff_transition_width:g}"
            )
        return self


def _several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


class GapSettings(BaseModel):
    """Options of the potential ``gap``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    members: int = Field(
        default=4,
        ge=1,
        le=64,
        description="members of the committee; one alone learns from all frames and has no spread",
    )
    uncertainty: Uncertainty = Field(
        default="committee",
        description="what tells the error of a force: committee, the spread of the members; "
        "variance, the Gaussian process's own variance of each atom's energy",
    )
    sigma_energy: float = Field(
        default=0.002, gt=0, description="expected error of the energies in eV/atom"
    )
    sigma_force: float = Field(
        default=0.05, gt=0, description="expected error of the forces in eV/Å"
    )
    sigma_virial: float = Field(
        default=0.02, gt=0, description="expected error of the virials in eV/atom"
    )
    cutoff_2b: float = Field(default=4.5, gt=0, le=20, description="range of the pairs in Å")
    sparse_2b: int = Field(
        default=25, ge=0, description="sparse points of every pair of species; 0: no pair terms"
    )
    delta_2b: float = Field(
        default=3.0, gt=0, description="size in eV of a pair's energy that the pair terms explain"
    )
    theta_2b: float = Field(
        default=0.5, gt=0, description="length in Å over which a pair's energy varies"
    )
    soap: Annotated[tuple[Soap, ...], BeforeValidator(_several)] = Field(
        default=(Soap(),),
        min_length=1,
        description="the SOAP kernel, or a list of several with different cutoffs",
    )
    e0: dict[str, float] | None = Field(
        default=None,
        description="energies of isolated atoms in eV by element; default: the smallest energies "
        "per atom that explain the labels' compositions",
    )
    sparse_jitter: float = Field(
        default=1e-8, gt=0, description="added to the diagonal of the sparse covariance"
    )
    extra: Extra = Field(
        default_factory=dict,
        description="further options of gap_fit's command line, one word each, for example "
        "{sigma_per_atom: T}",
    )

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, value: dict[str, str]) -> dict[str, str]:
        return _without(value, _OURS)

    @field_validator("e0")
    @classmethod
    def _of_elements(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        unknown = [symbol for symbol in value or () if symbol not in atomic_numbers]
        if unknown:
            raise ValueError(f"expected chemical symbols, got {', '.join(unknown)}")
        return value


def _without(options: dict[str, str], ours: frozenset[str]) -> dict[str, str]:
    taken = sorted(set(options) & ours)
    if taken:
        raise ValueError(
            f"{', '.join(taken)}: set by voltaloop or by a setting of its own; take it out of extra"
        )
    return options
