"""Where the remaining lithium sits: the symmetry-distinct arrangements at a lithium content."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import spglib
from scipy.spatial import KDTree

from voltaloop.core import LITHIUM, FloatArray, Frame, IntArray, StructureError
from voltaloop.crystals.composition import formula, formula_units

ENUMERATION_LIMIT = 50_000
"""Arrangements up to which all are looked at; beyond, distinct ones are drawn at random."""

DRAWS_PER_ORDERING = 200
"""Random draws after which a sample stays smaller than asked for."""

CONTENT_TOLERANCE = 0.01
"""Lithium atoms by which x times the formula units may miss a whole number, so that the 0.333 of
a campaign file means one third."""

Sites = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ordering:
    """One arrangement of lithium and vacancies.

    frame: the crystal with its remaining lithium, sites unrelaxed, moments those of the full one;
    x: lithium per formula unit; vacancies: indices, in the full structure, of the lithium atoms
    taken out; multiplicity: how many arrangements are equivalent to this one by symmetry, or None
    when the orderings are a random sample.
    """

    frame: Frame
    x: float
    vacancies: Sites
    multiplicity: int | None


def orderings(
    full: Frame, x: float, *, limit: int, seed: int, symprec: float = 1e-2
) -> list[Ordering]:
    """The symmetry-distinct Li/vacancy arrangements of ``full`` at lithium content ``x``.

    Two arrangements are the same when a symmetry operation of the lithiated supercell (found with
    tolerance ``symprec`` in Å, pure translations included, moments ignored) maps one onto the
    other. Up to :data:`ENUMERATION_LIMIT` arrangements all are looked at: every distinct one is
    given if there are no more than ``limit``, else a random choice of ``limit`` of them, all
    equally likely. Beyond that, up to ``limit`` distinct ones are drawn; an arrangement is then
    found with a probability in proportion to its multiplicity, so highly symmetric orderings are
    rare among them. The result depends on the arguments only, and is sorted by vacancies.

    Raises StructureError when ``x`` cannot be reached in this supercell, with those that can.
    """
    if limit < 1:
        raise ValueError(f"limit: expected at least 1 ordering, got {limit}")
    lithium = np.flatnonzero(full.numbers == LITHIUM)
    n_vacancies = len(lithium) - _lithium_atoms(full, x)
    maps = site_permutations(full, symprec=symprec)
    rng = np.random.default_rng(seed)
    found: dict[Sites, int | None]
    if comb(len(lithium), n_vacancies) <= ENUMERATION_LIMIT:
        found = _choice(dict(distinct_arrangements(maps, n_vacancies)), limit, rng)
    else:
        found = dict.fromkeys(_sample(maps, n_vacancies, limit, rng))
    return [
        _ordering(full, tuple(int(lithium[k]) for k in sites), multiplicity)
        for sites, multiplicity in sorted(found.items())
    ]


def reachable_contents(full: Frame) -> list[float]:
    """Every lithium content x that taking lithium out of this structure can reach, ascending."""
    units = formula_units(full)
    return [n / units for n in range(full.n_lithium + 1)]


def site_permutations(full: Frame, *, symprec: float = 1e-2) -> IntArray:
    """How the symmetry operations of a structure move its lithium sites.

    Returns (n_distinct, n_lithium): row g sends lithium site k (counted among the lithium atoms)
    to ``row[k]``; rows are unique and form a group.

    Raises StructureError when no symmetry can be found at this tolerance.
    """
    fractional: FloatArray = full.to_atoms().get_scaled_positions()
    rotations, translations = _operations(full, fractional, symprec)
    sites = fractional[full.numbers == LITHIUM]
    if len(sites) == 0:
        return np.zeros((1, 0), dtype=np.int64)
    images = np.einsum("gij,kj->gki", rotations, sites) + translations[:, None, :]
    _, maps = KDTree(_into_unit_cell(sites), boxsize=1.0).query(_into_unit_cell(images))
    if not np.array_equal(np.sort(maps, axis=1), np.tile(np.arange(len(sites)), (len(maps), 1))):
        raise StructureError(
            f"The symmetry found for {formula(full)} within {symprec:g} Å does not map its lithium "
            "sites onto each other one by one. Expected a smaller symprec, or a structure whose "
            "atoms are nearer to their ideal places."
        )
    return np.unique(np.asarray(maps, dtype=np.int64), axis=0)


def orbit(maps: IntArray, sites: Sites) -> set[Sites]:
    """Every arrangement equivalent to the vacancies on ``sites``; maps: (n, n_lithium)."""
    images = np.sort(maps[:, list(sites)], axis=1)
    return set(map(tuple, images.tolist()))


def canonical(maps: IntArray, sites: Sites) -> Sites:
    """The same for all equivalent arrangements: the lexicographically first of their orbit."""
    return min(orbit(maps, sites))


def distinct_arrangements(maps: IntArray, n_vacancies: int) -> Iterator[tuple[Sites, int]]:
    """Every distinct choice of vacancies in canonical form, with the size of its orbit."""
    seen: set[Sites] = set()
    for sites in combinations(range(maps.shape[1]), n_vacancies):
        if sites not in seen:
            equivalent = orbit(maps, sites)
            seen |= equivalent
            yield sites, len(equivalent)


def _lithium_atoms(full: Frame, x: float) -> int:
    """How many lithium atoms make the content x."""
    units = formula_units(full)
    wanted = x * units
    nearest = round(wanted)
    if 0 <= nearest <= full.n_lithium and abs(wanted - nearest) <= CONTENT_TOLERANCE:
        return nearest
    reachable = ", ".join(f"{content:.4g}" for content in reachable_contents(full))
    raise StructureError(
        f"Lithium content x = {x:g} cannot be reached in {formula(full)}: {units} formula units "
        f"would hold {wanted:.4g} lithium atoms, expected a whole number from 0 to "
        f"{full.n_lithium}. Reachable here: {reachable}. "
        "Choose one of these, or a larger supercell for finer steps."
    )


def _choice(
    found: dict[Sites, int], limit: int, rng: np.random.Generator
) -> dict[Sites, int | None]:
    if len(found) <= limit:
        return dict(found)
    every = list(found)
    return {every[k]: found[every[k]] for k in rng.choice(len(every), size=limit, replace=False)}


def _sample(
    maps: IntArray, n_vacancies: int, limit: int, rng: np.random.Generator
) -> dict[Sites, None]:
    """Up to ``limit`` distinct arrangements in the order in which they were drawn."""
    found: dict[Sites, None] = {}
    for _ in range(DRAWS_PER_ORDERING * limit):
        drawn = rng.choice(maps.shape[1], size=n_vacancies, replace=False)
        found[canonical(maps, tuple(drawn.tolist()))] = None
        if len(found) == limit:
            break
    return found


def _ordering(full: Frame, vacancies: Sites, multiplicity: int | None) -> Ordering:
    kept = np.ones(len(full), dtype=bool)
    kept[list(vacancies)] = False
    frame = Frame(
        numbers=full.numbers[kept],
        positions=full.positions[kept],
        cell=full.cell,
        magmoms=None if full.magmoms is None else full.magmoms[kept],
    )
    return Ordering(
        frame=frame,
        x=frame.n_lithium / formula_units(full),
        vacancies=vacancies,
        multiplicity=multiplicity,
    )


def _operations(
    full: Frame, fractional: FloatArray, symprec: float
) -> tuple[FloatArray, FloatArray]:
    """Rotations (n, 3, 3) and translations (n, 3) in fractional coordinates of the given cell."""
    with warnings.catch_warnings():
        # spglib 2.7 and 2.8 announce their new error handling on every call.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            symmetry = spglib.get_symmetry_dataset(
                (full.cell, fractional, full.numbers), symprec=symprec
            )
        except Exception as err:
            raise StructureError(_no_symmetry(full, symprec)) from err
    if symmetry is None:
        raise StructureError(_no_symmetry(full, symprec))
    return np.asarray(symmetry.rotations, dtype=np.float64), np.asarray(symmetry.translations)


def _no_symmetry(full: Frame, symprec: float) -> str:
    return (
        f"spglib finds no symmetry of {formula(full)} within symprec = {symprec:g} Å. Expected a "
        "crystal whose atoms are further apart than that; try a smaller symprec."
    )


def _into_unit_cell(fractional: FloatArray) -> FloatArray:
    """Into [0, 1): the remainder of a tiny negative number rounds to 1 itself."""
    wrapped = fractional % 1.0
    wrapped[wrapped >= 1.0] = 0.0
    return wrapped
