from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from voltaloop.core import Frame, Label, ReferenceFailure
from voltaloop.references import Gate, moment_per_metal, moments_jump
from voltaloop.references.moments import check_moments

GATE = Gate()


def frame_of(formula: str) -> Frame:
    atoms = Atoms(formula, cell=[20, 20, 20], pbc=True)
    atoms.positions[:, 0] = 3.0 * np.arange(len(atoms))
    return Frame.from_atoms(atoms)


def label_of(frame: Frame, total: float | None = None, **moments: float) -> Label:
    """Moments by element; the total as an engine may tell it."""
    symbols = frame.to_atoms().get_chemical_symbols()
    return Label(
        energy=0.0,
        forces=np.zeros((len(frame), 3)),
        magmoms=[moments.get(symbol, 0.0) for symbol in symbols],
        details={} if total is None else {"total_magmom_muB": total},
    )


def refused(match: str):
    return pytest.raises(ReferenceFailure, match=f"^moments_insane: .*{match}")


@pytest.mark.parametrize(
    ("formula", "moments"),
    [
        # Moments as CHGNet gives them: magnitudes, those of oxygen among them.
        ("LiNiO2", {"Ni": 1.85, "O": 0.1}),
        ("NiO2", {"Ni": 1.7, "O": 0.45}),
        ("MnO2", {"Mn": 3.5, "O": 0.33}),
        ("LiMnO2", {"Mn": 3.7, "O": 0.03}),
        ("LiCoO2", {"Co": 3.0, "O": 0.03}),
        ("TiO2", {"Ti": 0.15, "O": 0.17}),
        # As GPAW gives them: oxygen against nickel.
        ("NiO2", {"Ni": 0.89, "O": -0.27}),
    ],
)
def test_moments_of_real_labels_pass(formula, moments):
    frame = frame_of(formula)
    check_moments(frame, label_of(frame, **moments), GATE)


def test_what_is_sane_depends_on_the_lithium_content():
    high_spin = {"Ni": 4.0, "O": 0.2}
    empty, full = frame_of("NiO2"), frame_of("LiNiO2")
    check_moments(empty, label_of(empty, **high_spin), GATE)
    with refused(
        r"total moment of 4 μB per metal atom in the mean oxidation state 3; high spin gives "
        r"3 μB, allowed is 0\.75 μB more \(moment_tolerance_muB_per_metal\)"
    ):
        check_moments(full, label_of(full, **high_spin), GATE)
    check_moments(full, label_of(full, **high_spin), Gate(moment_tolerance_muB_per_metal=1.5))


def test_a_frame_without_an_oxidation_state_has_the_fixed_caps_alone():
    nickel = frame_of("Ni2")
    check_moments(nickel, label_of(nickel, Ni=4.9), GATE)
    with refused(r"total moment of 5\.2 μB per metal atom, allowed is up to 5 μB"):
        check_moments(nickel, label_of(nickel, Ni=5.2), GATE)


def test_closed_shells_do_not_count_as_metals():
    frame = frame_of("Li4Ni3ZnO8")
    assert moment_per_metal(frame, label_of(frame, Ni=1.0)) == pytest.approx(1.0)


def test_the_total_of_the_engine_counts_where_it_gives_one():
    frame = frame_of("Li2Ni2O4")
    label = label_of(frame, total=-2.0, Ni=-0.8, O=-0.05)
    assert moment_per_metal(frame, label) == pytest.approx(-1.0)
    assert moment_per_metal(frame, replace(label, details={})) == pytest.approx(-0.9)
    # Without spin an engine gives no moments of atoms, but its total is known to be nothing.
    assert moment_per_metal(frame, replace(label, magmoms=None)) == pytest.approx(-1.0)


def test_there_is_no_moment_per_metal_without_moments_or_metal():
    oxide, lithium = frame_of("LiNiO2"), frame_of("Li2")
    assert moment_per_metal(oxide, replace(label_of(oxide), magmoms=None)) is None
    assert moment_per_metal(lithium, label_of(lithium)) is None


def test_a_calculation_that_lost_its_moment_jumps():
    peers = [0.98, 1.0, -1.0, 1.0, 0.97]
    assert moments_jump(-0.99, peers, 0.5) is None
    found = moments_jump(0.0, peers, 0.5)
    assert found is not None
    assert "total moment of 0 μB" in found
    assert "median of 5 labels of this lithium content is 1 μB" in found
    assert "0.5 of max_moment_jump_muB_per_metal" in found


def test_a_few_bad_peers_do_not_hide_a_jump_nor_make_one():
    peers = [1.0, 0.99, 1.01, 1.0, 0.98, 0.0, 3.0]
    assert moments_jump(1.0, peers, 0.5) is None
    assert moments_jump(0.0, peers, 0.5) is not None


def test_moments_that_vary_from_frame_to_frame_do_not_jump():
    peers = np.random.default_rng(4).uniform(0.3, 2.1, size=60)
    assert all(moments_jump(value, list(peers), 0.5) is None for value in (0.24, 1.2, 2.6))


def test_three_peers_say_nothing():
    assert moments_jump(9.0, [1.0, 1.0, 1.0], 0.5) is None
    assert moments_jump(9.0, [1.0, 1.0, 1.0, 1.0], 0.5) is not None
