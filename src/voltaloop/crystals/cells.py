"""Which cell a crystal is written in: supercells and compact lattice vectors."""

import numpy as np
from ase.geometry import wrap_positions
from ase.geometry.minkowski_reduction import minkowski_reduce

from voltaloop.core import FloatArray, Frame, StructureError
from voltaloop.crystals.layers import layer_normal


def supercell(frame: Frame, repeats: tuple[int, int, int]) -> Frame:
    """The frame repeated along its own three vectors, in :func:`compact` form.

    The vectors of a built-in prototype are two within the layers and one to the next layer, so
    ``(2, 2, 1)`` is 2 × 2 within one layer: 16 atoms, 4 of them lithium. A file's vectors are
    taken as they stand. The primitive rhombohedral cell of an O3 oxide (three vectors of 5.0 Å
    at 33°) repeated ``(2, 2, 1)`` spans the very same crystal, and compact form makes it the
    same well-shaped 5.8 × 5.8 × 5.0 Å cell. Moments are repeated too.

    Raises StructureError unless the repeats are three whole numbers of at least 1.
    """
    if len(repeats) != 3 or any(n != int(n) or n < 1 for n in repeats):
        raise StructureError(
            f"Expected three whole numbers of at least 1 as supercell, got {list(repeats)}; "
            "for example [2, 2, 1]."
        )
    return compact(Frame.from_atoms(frame.to_atoms().repeat([int(n) for n in repeats])))


def compact(frame: Frame) -> Frame:
    """The same crystal, unrotated, in the cell with the shortest lattice vectors.

    The lattice is Minkowski-reduced (doi:10.1145/1597036.1597050), which gives the periodic cell
    with the most room between images and the least skew for molecular dynamics. The vectors are
    right-handed and in ascending length, but in a layered host the one that leads across the
    layers comes last; atoms keep their order and are wrapped into the cell.
    """
    reduced, _ = minkowski_reduce(frame.cell)
    cell = _across_layers_last(reduced, layer_normal(frame))
    if np.linalg.det(cell) < 0:
        cell = -cell
    return Frame(
        numbers=frame.numbers,
        positions=wrap_positions(frame.positions, cell, eps=1e-6),
        cell=cell,
        magmoms=frame.magmoms,
    )


def _across_layers_last(cell: FloatArray, normal: FloatArray | None) -> FloatArray:
    """The vectors of ``cell`` with the one nearest to the layer normal moved to the end."""
    if normal is None:
        return cell
    cosines = np.abs(cell @ normal) / np.linalg.norm(cell, axis=1)
    across = int(np.argmax(cosines))
    ordered: FloatArray = cell[[k for k in range(3) if k != across] + [across]]
    return ordered
