"""Rattled and strained copies of an ordering: the first frames a potential learns from."""

import numpy as np

from voltaloop.core import FloatArray, Frame, StructureError
from voltaloop.crystals.composition import formula
from voltaloop.crystals.distances import find_overlap
from voltaloop.crystals.layers import layer_normal

INTERLAYER_FACTOR = 2.0
"""Standard deviation of the extra strain across the layers, in units of ``strain``."""

MAX_VOLUME_CHANGE = 0.15
"""Largest relative change of volume kept; layered oxides move by less than a tenth in use."""

MAX_STRAIN = 0.25
"""Largest principal strain kept: a crystal pulled or pressed further is another phase."""

TRIES_PER_FRAME = 50
"""Draws before a rattle or strain counts as too large."""


def starting_frames(
    ordering_frame: Frame, *, count: int, rattle: float, strain: float, seed: int
) -> list[Frame]:
    """``count`` copies of a frame, each strained at random and then rattled.

    rattle: standard deviation in Å of the Gaussian displacement of every coordinate.
    strain: standard deviation of the six components of a symmetric strain tensor. A layered
    host gets an extra strain across its layers with :data:`INTERLAYER_FACTOR` times that standard
    deviation, because the interlayer spacing is what moves most when lithium leaves. Together the
    volume then changes by √7 · strain (one standard deviation): 5 % at strain = 0.02 and 8 % at
    0.03, so that 0.02 to 0.03 covers the ±8 % of a layered oxide between full and empty.

    Draws with overlapping atoms, a volume change beyond :data:`MAX_VOLUME_CHANGE` or a principal
    strain beyond :data:`MAX_STRAIN` are redrawn, which trims these widths a little (5.3 and 6.7 %
    measured on LiNiO2). Frame k depends on the seed and k alone, so a larger count starts with
    the same frames; give each ordering its own seed. Moments are kept.

    Raises StructureError when :data:`TRIES_PER_FRAME` draws in a row are refused.
    """
    if count < 0 or rattle < 0 or strain < 0:
        raise ValueError(
            "count, rattle and strain: expected numbers of at least 0, "
            f"got {count}, {rattle} and {strain}"
        )
    normal = layer_normal(ordering_frame)
    return [
        _first_usable(ordering_frame, normal, rattle, strain, np.random.default_rng([seed, k]))
        for k in range(count)
    ]


def _first_usable(
    frame: Frame,
    normal: FloatArray | None,
    rattle: float,
    strain: float,
    rng: np.random.Generator,
) -> Frame:
    for _ in range(TRIES_PER_FRAME):
        tensor = _random_strain(normal, strain, rng)
        drawn = _rattled(_strained(frame, tensor), rattle, rng)
        if _is_moderate(tensor) and find_overlap(drawn) is None:
            return drawn
    raise StructureError(
        f"{TRIES_PER_FRAME} random copies of {formula(frame)} in a row had overlapping atoms, a "
        f"volume change beyond {MAX_VOLUME_CHANGE:.0%} or a principal strain beyond "
        f"{MAX_STRAIN:.0%}, with rattle = {rattle:g} Å and "
        f"strain = {strain:g}. Expected smaller ones: 0.05 to 0.2 Å and 0.01 to 0.03 are usual."
    )


def _random_strain(
    normal: FloatArray | None, strain: float, rng: np.random.Generator
) -> FloatArray:
    """A symmetric strain tensor (3, 3)."""
    tensor = np.zeros((3, 3))
    upper = np.triu_indices(3)
    tensor[upper] = rng.normal(0.0, strain, size=6)
    tensor = tensor + np.triu(tensor, k=1).T
    if normal is not None:
        tensor = tensor + rng.normal(0.0, INTERLAYER_FACTOR * strain) * np.outer(normal, normal)
    return tensor


def _is_moderate(tensor: FloatArray) -> bool:
    """Whether a strain keeps the crystal recognisable: bounded stretch and change of volume."""
    principal = np.linalg.eigvalsh(tensor)
    change = float(np.prod(1.0 + principal)) - 1.0
    return float(np.abs(principal).max()) <= MAX_STRAIN and abs(change) <= MAX_VOLUME_CHANGE


def _strained(frame: Frame, tensor: FloatArray) -> Frame:
    """Cell and atoms under the deformation 1 + ε."""
    deformation = np.eye(3) + tensor
    return Frame(
        numbers=frame.numbers,
        positions=frame.positions @ deformation,
        cell=frame.cell @ deformation,
        magmoms=frame.magmoms,
    )


def _rattled(frame: Frame, rattle: float, rng: np.random.Generator) -> Frame:
    return Frame(
        numbers=frame.numbers,
        positions=frame.positions + rng.normal(0.0, rattle, size=(len(frame), 3)),
        cell=frame.cell,
        magmoms=frame.magmoms,
    )
