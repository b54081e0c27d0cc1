import numpy as np
import pytest
from clusters import EDGE, cluster

from voltaloop.molecules import at_density, density, molecules_of, scaled


def test_a_water_in_a_cube_of_30_cubic_angstrom_has_the_density_of_water() -> None:
    frame = cluster(["H2O"], seed=1)
    assert density(frame) * EDGE**3 / 29.915 == pytest.approx(1.0, abs=2e-4)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.3])
def test_scaling_moves_molecules_and_deforms_none(factor: float) -> None:
    frame = cluster(["H2O", "CH3OH", "H2O"], seed=2)
    before = molecules_of(frame)
    other = scaled(frame, before, factor)
    np.testing.assert_allclose(other.cell, factor * frame.cell)
    for old, new in zip(before, molecules_of(other), strict=True):
        np.testing.assert_allclose(
            new.positions - new.centre_of_mass, old.positions - old.centre_of_mass, atol=1e-12
        )
        np.testing.assert_allclose(new.centre_of_mass, factor * old.centre_of_mass)
    assert density(other) == pytest.approx(density(frame) / factor**3)


def test_a_molecule_across_the_boundary_is_scaled_as_a_whole() -> None:
    frame = cluster(["CH3OH"], seed=3)
    (molecule,) = molecules_of(frame)
    wrapped = (frame.positions - molecule.centre_of_mass) % EDGE
    moved = type(frame)(numbers=frame.numbers, positions=wrapped, cell=frame.cell)
    (after,) = molecules_of(scaled(moved, molecules_of(moved), 1.2))
    shape = after.positions - after.centre_of_mass
    np.testing.assert_allclose(shape, molecule.positions - molecule.centre_of_mass, atol=1e-10)


def test_a_density_is_reached_exactly() -> None:
    frame = cluster(["H2O", "CH3OH"], seed=4)
    assert density(at_density(frame, molecules_of(frame), 0.02)) == pytest.approx(0.02)


def test_what_is_not_positive_is_refused() -> None:
    frame = cluster(["H2O"], seed=5)
    with pytest.raises(ValueError, match="above 0, got 0"):
        scaled(frame, molecules_of(frame), 0)
    with pytest.raises(ValueError, match="g/cm3 above 0, got -1"):
        at_density(frame, molecules_of(frame), -1)
