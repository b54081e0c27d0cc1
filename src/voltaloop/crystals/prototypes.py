"""Crystals known by name: layered O3 oxides, and the lithium metal that voltages refer to."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ase.build import bulk
from ase.spacegroup import crystal

from voltaloop.core import Frame
from voltaloop.crystals.cells import compact
from voltaloop.crystals.composition import initial_moments

LITHIUM_METAL_A = 3.44
"""Lattice parameter in Å of bcc lithium from which a relaxation starts: that of PBE to two
decimals (Haas, Tran and Blaha, doi:10.1103/PhysRevB.79.085104)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prototype:
    """An ideal O3 layered oxide: R-3m, hexagonal axes, metal on 3a, lithium on 3b, oxygen on 6c.

    a, c: lattice parameters in Å; z_oxygen: height of oxygen in units of c with the metal at the
    origin; source: where the figures come from.
    """

    formula: str
    metal: str
    a: float
    c: float
    z_oxygen: float
    source: str

    def frame(self) -> Frame:
        """The primitive cell of 4 atoms (Li, M, O, O) with its initial moments.

        Two lattice vectors of length a lie within the layers (the xy plane), the third leads to
        the next layer; z is across the layers.
        """
        atoms = crystal(
            ["Li", self.metal, "O"],
            [(0, 0, 0.5), (0, 0, 0), (0, 0, self.z_oxygen)],
            spacegroup=166,
            cellpar=[self.a, self.a, self.c, 90, 90, 120],
            primitive_cell=True,
        )
        atoms.set_initial_magnetic_moments(initial_moments(atoms.numbers))
        return compact(Frame.from_atoms(atoms))


PROTOTYPES: Mapping[str, Prototype] = MappingProxyType(
    {
        prototype.formula: prototype
        for prototype in (
            Prototype(
                formula="LiCoO2",
                metal="Co",
                a=2.8166,
                c=14.052,
                z_oxygen=0.2605,
                source="Orman and Wiseman, doi:10.1107/S0108270184002833",
            ),
            Prototype(
                formula="LiMnO2",
                metal="Mn",
                a=2.970,
                c=14.527,
                z_oxygen=0.2570,
                source="O3 idealisation that keeps the area per metal, the layer spacing and the "
                "oxygen height of monoclinic LiMnO2 (C2/m), whose Jahn-Teller distortion it "
                "averages out: Armstrong and Bruce, doi:10.1038/381499a0",
            ),
            Prototype(
                formula="LiNiO2",
                metal="Ni",
                a=2.878,
                c=14.19,
                z_oxygen=0.2585,
                source="Hirano et al., doi:10.1016/0167-2738(95)00005-Q",
            ),
        )
    }
)
"""Built-in structures by formula."""


def lithium_metal() -> Frame:
    """bcc lithium in its primitive cell of one atom, a = :data:`LITHIUM_METAL_A`, unrelaxed."""
    return Frame.from_atoms(bulk("Li", "bcc", a=LITHIUM_METAL_A))
