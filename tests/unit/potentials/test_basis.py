import pytest
from ase.build import bulk
from pydantic import ValidationError

from voltaloop.core import Frame
from voltaloop.potentials.pod import BASES, PodBasis, PodSettings, design_rows
from voltaloop.potentials.pod.basis import MAX_ANGULAR_DEGREE, coefficient_file
from voltaloop.testing.potentials import MODEL_SPECIES, model_crystal


def columns_of_lammps(basis: PodBasis, frame: Frame, species: tuple[str, ...]) -> int:
    return len(design_rows(frame, basis, species, stress=False).energy)


@pytest.mark.parametrize(("name", "size"), [("small", 507), ("medium", 867), ("large", 1563)])
def test_the_named_bases_have_as_many_coefficients_as_lammps_says(name: str, size: int) -> None:
    assert BASES[name].size(3) == size
    assert columns_of_lammps(BASES[name], model_crystal(), MODEL_SPECIES) == size


@pytest.mark.parametrize("degree", range(MAX_ANGULAR_DEGREE + 1))
def test_every_angular_degree_has_as_many_coefficients_as_lammps_says(degree: int) -> None:
    basis = PodBasis(
        twobody=4, threebody=3, threebody_degree=degree, fourbody=2, fourbody_degree=degree
    )
    assert columns_of_lammps(basis, model_crystal(), MODEL_SPECIES) == basis.size(3)


@pytest.mark.parametrize("species", [("Ni",), ("O", "Ni"), ("Li", "Ni", "Co", "O")])
def test_every_number_of_species_has_as_many_coefficients_as_lammps_says(
    species: tuple[str, ...],
) -> None:
    frame = Frame.from_atoms(bulk("Ni", cubic=True))
    assert columns_of_lammps(BASES["medium"], frame, species) == BASES["medium"].size(len(species))


def test_three_body_descriptors_can_be_left_out() -> None:
    basis = PodBasis(twobody=5, threebody=0, threebody_degree=0, fourbody=0, fourbody_degree=0)
    assert columns_of_lammps(basis, model_crystal(), MODEL_SPECIES) == basis.size(3) == 48


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rin": 4.5, "rcut": 4.5}, r"rin \(4.5 Å\) must be below rcut \(4.5 Å\)"),
        ({"twobody": 4, "threebody": 5}, "twobody >= threebody >= fourbody"),
        ({"threebody": 3, "fourbody": 4}, "twobody >= threebody >= fourbody"),
        ({"threebody_degree": 2, "fourbody_degree": 3}, "must not exceed threebody_degree"),
        ({"threebody_degree": 7}, "less than or equal to 6"),
        ({"rcut": -1.0}, "greater than 1"),
        ({"cutoff": 5.0}, "cutoff\n  Extra inputs are not permitted"),
    ],
)
def test_a_basis_that_cannot_be_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PodBasis.model_validate(options)


def test_settings_take_a_named_basis_or_its_keys() -> None:
    assert PodSettings().chosen_basis == BASES["medium"]
    own = PodSettings.model_validate({"members": 3, "basis": {"rcut": 5.0}})
    assert own.chosen_basis == PodBasis(rcut=5.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"members": 2}, "greater than or equal to 3"), ({"basis": "huge"}, "small.*medium.*large")],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PodSettings.model_validate(options)


def test_every_key_of_the_basis_is_documented() -> None:
    silent = [name for name, field in PodBasis.model_fields.items() if not field.description]
    assert silent == []


def test_a_coefficient_file_keeps_every_digit() -> None:
    coefficients = [1 / 3, -2e-17, 0.0, 12345.678901234567]
    head, *lines = coefficient_file(coefficients).splitlines()
    assert head == "model_coefficients: 4 0 0"
    assert [float(line) for line in lines] == coefficients
