from itertools import combinations
from math import comb

import numpy as np
import pytest

from voltaloop.core import LITHIUM, Frame, IntArray, StructureError
from voltaloop.crystals import load_structure, minimum_distance, orderings, supercell
from voltaloop.crystals.orderings import (
    ENUMERATION_LIMIT,
    canonical,
    distinct_arrangements,
    reachable_contents,
    site_permutations,
)

CELLS = [(2, 2, 1), (2, 2, 2), (3, 3, 1), (3, 2, 1), (4, 3, 1)]


def cell(repeats: tuple[int, int, int] = (2, 2, 1), name: str = "LiNiO2") -> Frame:
    return supercell(load_structure(name), repeats)


def every_content(full: Frame) -> list[float]:
    return reachable_contents(full)


def orbits_by_burnside(maps: IntArray, n_vacancies: int) -> int:
    """Mean number of arrangements that a permutation leaves alone, from its cycle lengths alone."""
    fixed = 0
    for row in maps:
        polynomial = np.array([1], dtype=object)
        unseen = set(range(len(row)))
        while unseen:
            start = site = unseen.pop()
            length = 1
            while (site := int(row[site])) != start:
                unseen.discard(site)
                length += 1
            factor = np.zeros(length + 1, dtype=object)
            factor[0] = factor[length] = 1
            polynomial = np.convolve(polynomial, factor)
        fixed += polynomial[n_vacancies]
    count, rest = divmod(fixed, len(maps))
    assert rest == 0
    return int(count)


@pytest.mark.parametrize("repeats", CELLS)
def test_multiplicities_add_up_to_all_arrangements(repeats: tuple[int, int, int]) -> None:
    full = cell(repeats)
    n = full.n_lithium
    for x in every_content(full):
        found = orderings(full, x, limit=10_000, seed=0)
        assert sum(one.multiplicity or 0 for one in found) == comb(n, round(x * n))


@pytest.mark.parametrize("repeats", CELLS)
def test_the_number_of_orderings_is_that_of_burnsides_lemma(
    repeats: tuple[int, int, int],
) -> None:
    full = cell(repeats)
    maps = site_permutations(full)
    for x in every_content(full):
        n_vacancies = full.n_lithium - round(x * full.n_lithium)
        found = orderings(full, x, limit=10_000, seed=0)
        assert len(found) == orbits_by_burnside(maps, n_vacancies)


@pytest.mark.parametrize("repeats", CELLS)
def test_the_site_permutations_form_a_group(repeats: tuple[int, int, int]) -> None:
    maps = site_permutations(cell(repeats))
    group = set(map(tuple, maps.tolist()))
    assert tuple(range(maps.shape[1])) in group
    assert all(tuple(first[second].tolist()) in group for first in maps for second in maps)


@pytest.mark.parametrize("repeats", CELLS)
def test_pure_translations_make_all_lithium_sites_of_a_prototype_equivalent(
    repeats: tuple[int, int, int],
) -> None:
    maps = site_permutations(cell(repeats))
    assert set(maps[:, 0].tolist()) == set(range(maps.shape[1]))


def test_two_by_two_layer_has_one_ordering_per_quarter_and_two_at_a_half() -> None:
    found = {
        x: [one.multiplicity for one in orderings(cell(), x, limit=100, seed=0)]
        for x in (1.0, 0.75, 0.5, 0.25, 0.0)
    }
    assert found == {1.0: [1], 0.75: [4], 0.5: [4, 2], 0.25: [4], 0.0: [1]}


def test_equivalent_arrangements_have_the_same_canonical_form() -> None:
    maps = site_permutations(cell((2, 2, 2)))
    for sites in combinations(range(maps.shape[1]), 3):
        wanted = canonical(maps, sites)
        assert {canonical(maps, tuple(sorted(row[list(sites)].tolist()))) for row in maps} == {
            wanted
        }
        assert canonical(maps, wanted) == wanted


def test_enumerated_arrangements_are_their_own_canonical_form() -> None:
    maps = site_permutations(cell((3, 2, 1)))
    found = [sites for sites, _ in distinct_arrangements(maps, 3)]
    assert found == [canonical(maps, sites) for sites in found]
    assert len(set(found)) == len(found)


def lithium_pair_distances(frame: Frame) -> list[float]:
    lithium = frame.to_atoms()[frame.numbers == LITHIUM].repeat((2, 2, 2))
    return sorted(np.round(lithium.get_all_distances(mic=True).ravel(), 4).tolist())


def test_equivalent_arrangements_have_the_same_lithium_distances() -> None:
    full = cell((2, 2, 2))
    lithium = np.flatnonzero(full.numbers == LITHIUM)
    maps = site_permutations(full)

    def distances(sites: tuple[int, ...]) -> list[float]:
        kept = np.delete(np.arange(len(full)), lithium[list(sites)])
        return lithium_pair_distances(
            Frame(numbers=full.numbers[kept], positions=full.positions[kept], cell=full.cell)
        )

    for sites, _ in distinct_arrangements(maps, 4):
        wanted = distances(sites)
        for row in maps[::7]:
            assert distances(tuple(row[list(sites)].tolist())) == pytest.approx(wanted, abs=1e-3)


def test_an_ordering_is_the_full_crystal_without_its_vacancies() -> None:
    full = cell(name="LiMnO2")
    for one in orderings(full, 0.5, limit=10, seed=0):
        assert all(full.numbers[site] == LITHIUM for site in one.vacancies)
        kept = [k for k in range(len(full)) if k not in one.vacancies]
        assert np.array_equal(one.frame.positions, full.positions[kept])
        assert one.frame.magmoms is not None
        assert one.frame.magmoms.sum() == 16.0
        assert (one.x, one.frame.n_lithium) == (0.5, 2)
        assert minimum_distance(one.frame) == pytest.approx(minimum_distance(full))


def test_moments_do_not_break_the_symmetry() -> None:
    full = cell()
    alternating = np.where(full.numbers == 28, np.cumsum(full.numbers == 28) % 2 * 2.0 - 1.0, 0.0)
    magnetic = Frame(
        numbers=full.numbers, positions=full.positions, cell=full.cell, magmoms=alternating
    )
    assert np.array_equal(site_permutations(full), site_permutations(magnetic))


def test_a_substituted_metal_lowers_the_symmetry() -> None:
    full = cell((2, 2, 2))
    numbers = full.numbers.copy()
    numbers[np.flatnonzero(numbers == 28)[0]] = 27
    mixed = Frame(numbers=numbers, positions=full.positions, cell=full.cell)
    pure = orderings(full, 0.75, limit=1000, seed=0)
    found = orderings(mixed, 0.75, limit=1000, seed=0)
    assert len(found) > len(pure)
    assert sum(one.multiplicity or 0 for one in found) == comb(8, 2)


def test_a_crystal_without_symmetry_has_every_arrangement() -> None:
    full = cell()
    noise = np.random.default_rng(0).normal(0.0, 0.1, (len(full), 3))
    crooked = Frame(numbers=full.numbers, positions=full.positions + noise, cell=full.cell)
    assert len(orderings(crooked, 0.5, limit=100, seed=0)) == comb(4, 2)


def test_symmetry_is_found_within_the_given_tolerance() -> None:
    full = cell()
    noise = np.random.default_rng(0).uniform(-1e-3, 1e-3, (len(full), 3))
    nearly = Frame(numbers=full.numbers, positions=full.positions + noise, cell=full.cell)
    assert np.array_equal(site_permutations(nearly), site_permutations(full))
    assert len(site_permutations(nearly, symprec=1e-5)) == 1


@pytest.mark.parametrize("shift", [[0.0, 0.0, 0.0], [0.3, -1.7, 2.2]])
def test_the_orderings_do_not_depend_on_the_origin(shift: list[float]) -> None:
    full = cell((2, 2, 2))
    moved = Frame(numbers=full.numbers, positions=full.positions + shift, cell=full.cell)
    assert [one.vacancies for one in orderings(moved, 0.5, limit=100, seed=0)] == [
        one.vacancies for one in orderings(full, 0.5, limit=100, seed=0)
    ]


def test_more_orderings_than_the_limit_are_chosen_by_the_seed() -> None:
    full = cell((4, 3, 1))
    every = {one.vacancies for one in orderings(full, 0.5, limit=10_000, seed=0)}
    chosen = [one.vacancies for one in orderings(full, 0.5, limit=5, seed=3)]
    assert len(every) > 5
    assert len(set(chosen)) == 5
    assert every.issuperset(chosen)
    assert chosen == [one.vacancies for one in orderings(full, 0.5, limit=5, seed=3)]
    others = {tuple(o.vacancies for o in orderings(full, 0.5, limit=5, seed=s)) for s in range(5)}
    assert len(others) > 1


def test_too_many_arrangements_are_sampled_distinct_and_the_same_each_time() -> None:
    full = cell((4, 4, 2))
    assert comb(full.n_lithium, 16) > ENUMERATION_LIMIT
    found = orderings(full, 0.5, limit=12, seed=5)
    maps = site_permutations(full)
    site_of = {int(atom): k for k, atom in enumerate(np.flatnonzero(full.numbers == LITHIUM))}
    forms = {canonical(maps, tuple(site_of[v] for v in one.vacancies)) for one in found}
    assert len(forms) == 12
    assert {one.multiplicity for one in found} == {None}
    again = orderings(full, 0.5, limit=12, seed=5)
    assert [one.frame.digest for one in again] == [one.frame.digest for one in found]
    assert [one.vacancies for one in orderings(full, 0.5, limit=12, seed=6)] != [
        one.vacancies for one in found
    ]


def test_the_largest_enumeration_is_complete() -> None:
    full = cell((4, 4, 1))
    found = orderings(full, 0.5, limit=10_000, seed=0)
    assert sum(one.multiplicity or 0 for one in found) == comb(16, 8)
    assert len(found) == orbits_by_burnside(site_permutations(full), 8)


def test_a_rounded_third_is_a_third() -> None:
    (one,) = orderings(cell((3, 1, 1)), 0.333, limit=10, seed=0)
    assert one.x == pytest.approx(1 / 3)


@pytest.mark.parametrize("x", [0.6, -0.25, 1.25, 0.1])
def test_an_unreachable_content_is_refused_with_the_reachable_ones(x: float) -> None:
    with pytest.raises(StructureError) as caught:
        orderings(cell(), x, limit=10, seed=0)
    assert f"x = {x:g} cannot be reached in" in str(caught.value)
    assert "Reachable here: 0, 0.25, 0.5, 0.75, 1." in str(caught.value)


def test_contents_above_one_are_reachable_where_there_is_that_much_lithium() -> None:
    full = cell((2, 1, 1))
    numbers = full.numbers.copy()
    metal = np.flatnonzero(numbers == 28)
    numbers[metal[0]] = LITHIUM
    rich = Frame(numbers=numbers, positions=full.positions, cell=full.cell)
    assert reachable_contents(rich) == [0.0, 1.0, 2.0, 3.0]
    assert len(orderings(rich, 3.0, limit=10, seed=0)) == 1


def test_at_least_one_ordering_must_be_asked_for() -> None:
    with pytest.raises(ValueError, match="at least 1 ordering"):
        orderings(cell(), 0.5, limit=0, seed=0)


def test_atoms_on_top_of_each_other_have_no_symmetry() -> None:
    full = cell()
    collapsed = Frame(numbers=full.numbers, positions=np.zeros_like(full.positions), cell=full.cell)
    with pytest.raises(StructureError, match="spglib finds no symmetry of"):
        site_permutations(collapsed)
