import numpy as np
import pytest

from voltaloop.crystals import PROTOTYPES, lithium_metal, load_structure, minimum_distance
from voltaloop.crystals.composition import counts


@pytest.mark.parametrize("name", sorted(PROTOTYPES))
def test_a_prototype_is_one_formula_unit_of_its_compound(name: str) -> None:
    prototype = PROTOTYPES[name]
    frame = prototype.frame()
    assert counts(frame) == {"Li": 1, prototype.metal: 1, "O": 2}
    assert frame.volume == pytest.approx(np.sqrt(3) / 2 * prototype.a**2 * prototype.c / 3)
    assert "doi:" in prototype.source


@pytest.mark.parametrize(
    ("name", "metal_oxygen", "lithium_oxygen"),
    [("LiNiO2", 1.97, 2.11), ("LiCoO2", 1.92, 2.09), ("LiMnO2", 2.04, 2.15)],
)
def test_metal_and_lithium_sit_in_octahedra_of_the_known_size(
    name: str, metal_oxygen: float, lithium_oxygen: float
) -> None:
    atoms = load_structure(name).to_atoms().repeat((3, 3, 3))
    oxygen = np.flatnonzero(atoms.numbers == 8)
    for number, length in (
        (3, lithium_oxygen),
        (PROTOTYPES[name].frame().numbers[1], metal_oxygen),
    ):
        centre = int(np.flatnonzero(atoms.numbers == number)[0])
        six = np.sort(atoms.get_distances(centre, oxygen, mic=True))[:7]
        assert six[:6] == pytest.approx(length, abs=0.02)
        assert six[6] > 3.0


def test_the_layers_lie_in_the_plane_of_the_first_two_vectors() -> None:
    cell = PROTOTYPES["LiNiO2"].frame().cell
    assert np.linalg.norm(cell[:2], axis=1) == pytest.approx(2.878)
    assert cell[:2, 2] == pytest.approx(0.0, abs=1e-12)
    assert abs(cell[2, 2]) == pytest.approx(14.19 / 3)


def test_prototypes_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PROTOTYPES["LiFeO2"] = PROTOTYPES["LiNiO2"]  # type: ignore[index]


def test_lithium_metal_is_bcc_with_one_atom() -> None:
    metal = lithium_metal()
    assert len(metal) == metal.n_lithium == 1
    assert metal.volume == pytest.approx(3.44**3 / 2)
    assert minimum_distance(metal) == pytest.approx(3.44 * np.sqrt(3) / 2)
    assert metal.magmoms is None
