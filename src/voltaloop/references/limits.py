"""What a label must keep to enter the training set."""

from pydantic import BaseModel, ConfigDict, Field


class Gate(BaseModel):
    """What a label must keep to enter the training set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_force_eV_per_A: float = Field(
        default=30.0,
        gt=0,
        description="Largest force on one atom in eV/Å. Atoms in hot, strained oxides stay "
        "below about 15; above the cap the structure is broken and would bend the fit.",
    )
    min_distance_A: float = Field(
        default=1.0,
        gt=0,
        description="Shortest distance between two atoms in Å, periodic images counted. Checked "
        "before the engine runs. Choose 0.6 for molecules with hydrogen.",
    )
    max_moment_muB: float = Field(
        default=5.5,
        gt=0,
        description="Largest magnetic moment of one atom in μB. High-spin d5 (Mn2+, Fe3+) has 5.",
    )
    max_total_moment_per_metal_muB: float = Field(
        default=5.0,
        gt=0,
        description="Largest sum of the moments in μB per transition metal atom (per atom where "
        "there is none). LiNiO2 has 1, LiMnO2 4; no d shell has more than 5.",
    )
    moment_tolerance_muB_per_metal: float = Field(
        default=0.75,
        gt=0,
        description="How far the total moment per transition metal may lie above the high-spin "
        "moment of the metals' oxidation state, in μB, which follows from the lithium content. It "
        "covers the share of oxygen: CHGNet comes up to 0.6 above on strongly shaken MnO2.",
    )
    max_moment_jump_muB_per_metal: float = Field(
        default=0.5,
        gt=0,
        description="How far the total moment per transition metal may lie from the median of the "
        "labels with the same lithium content, in μB, beside five times the spread that these "
        "have. A calculation of LiNiO2 that lost its moment is 1 off.",
    )
    max_alignment_jump: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="How far |Σm|/Σ|m| of the transition metals may lie from the median of the "
        "labels of the same lithium content, beside five times the spread that they have. One "
        "spin of n turned round is 2/n off.",
    )
    max_energy_mismatch_eV_per_atom: float = Field(
        default=0.01,
        gt=0,
        description="How far the energy difference of two labels of nearly the same geometry may "
        "lie from the work of their forces and stresses, in eV per atom.",
    )
    max_energy_mismatch_share: float = Field(
        default=0.1,
        gt=0,
        description="The same as a share of that work, which is allowed in addition.",
    )
    max_energy_repeat_eV_per_atom: float = Field(
        default=0.001,
        gt=0,
        description="Largest difference in energy of two labels of the same geometry, in eV per "
        "atom.",
    )
