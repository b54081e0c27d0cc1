"""Whether the magnetic moments of a label make sense."""

from collections.abc import Sequence

import numpy as np

from voltaloop.core import FloatArray, Frame, Label, ReferenceFailure
from voltaloop.references.limits import Gate
from voltaloop.references.oxidation import (
    MAGNETIC_METALS,
    largest_moment_per_metal,
    oxidation_state,
)

TOTAL_MOMENT = "total_magmom_muB"
"""Where an engine puts the total moment of the cell among the details of its label."""

FEWEST_PEERS = 4
"""Fewer labels than these do not tell which total moment is the usual one."""

SMALLEST_MOMENT = 0.3
"""μB per metal; the order of smaller moments is a matter of chance."""

SPREADS = 5.0
"""Standard deviations (from the median absolute deviation) of peers that are no jump."""


def total_moment(label: Label) -> float | None:
    """Signed total moment of the cell in μB: the engine's own where it gives one, else the sum of
    the atoms' moments, which misses what lies between the atoms. None without moments."""
    total = label.details.get(TOTAL_MOMENT)
    if isinstance(total, int | float):
        return float(total)
    return None if label.magmoms is None else float(label.magmoms.sum())


def moment_per_metal(frame: Frame, label: Label) -> float | None:
    """Signed total moment in μB per open-shell transition metal; None without moments or metal."""
    metals = _count_metals(frame)
    total = total_moment(label)
    return None if total is None or metals == 0 else total / metals


def spin_alignment(frame: Frame, label: Label) -> float | None:
    """|Σm|/Σ|m| over the open-shell transition metals: 1 where all spins are parallel, 1 − 2/n
    where one of n equal ones is turned round, 0 for an antiferromagnet.

    None without moments, and where their mean size is below ``SMALLEST_MOMENT``.
    """
    if label.magmoms is None or _count_metals(frame) == 0:
        return None
    moments = label.magmoms[np.isin(frame.numbers, MAGNETIC_METALS)]
    size = float(np.abs(moments).sum())
    if size < SMALLEST_MOMENT * len(moments):
        return None
    return abs(float(moments.sum())) / size


def moments_jump(value: float, peers: Sequence[float], tolerance: float) -> str | None:
    """Why a total moment per metal is out of line with labels of the same lithium content, or None.

    value, peers, tolerance: in μB per metal. Signs are ignored, because turning every spin round
    changes no energy. The peers' median and median absolute deviation are used, so that a few bad
    ones among them do no harm; with fewer than ``FEWEST_PEERS`` nothing is said.
    """
    found = _out_of_line(abs(value), np.abs(peers), tolerance)
    if found is None:
        return None
    usual, allowed = found
    return (
        f"total moment of {abs(value):.3g} μB per metal atom, where the median of {len(peers)} "
        f"labels of this lithium content is {usual:.3g} μB; allowed is a difference of "
        f"{allowed:.2g} μB ({tolerance:g} of max_moment_jump_muB_per_metal and "
        f"{SPREADS:g} times their spread)"
    )


def alignment_jump(value: float, peers: Sequence[float], tolerance: float) -> str | None:
    """The same for :func:`spin_alignment`, which sees a few spins turned round among many."""
    found = _out_of_line(value, np.asarray(peers), tolerance)
    if found is None:
        return None
    usual, allowed = found
    return (
        f"spins of the metal atoms are aligned to {value:.2f} (1: all parallel), where the median "
        f"of {len(peers)} labels of this lithium content is {usual:.2f}; allowed is a difference "
        f"of {allowed:.2g} ({tolerance:g} of max_alignment_jump and {SPREADS:g} times their spread)"
    )


def _out_of_line(value: float, peers: FloatArray, tolerance: float) -> tuple[float, float] | None:
    """(median, allowed difference) of the peers where the value differs by more, else None."""
    if len(peers) < FEWEST_PEERS:
        return None
    usual = float(np.median(peers))
    spread = 1.4826 * float(np.median(np.abs(peers - usual)))
    allowed = tolerance + SPREADS * spread
    return None if abs(value - usual) <= allowed else (usual, allowed)


def check_moments(frame: Frame, label: Label, gate: Gate) -> None:
    """Refuse moments no atom, no d shell, or no shell of this oxidation state can have."""
    _check_atoms(label, gate)
    total = total_moment(label)
    if total is not None:
        _check_total(frame, abs(total), gate)
        _check_oxidation_state(frame, label, abs(total), gate)


def _check_atoms(label: Label, gate: Gate) -> None:
    if label.magmoms is None:
        return
    atom = int(np.argmax(np.abs(label.magmoms)))
    if abs(label.magmoms[atom]) > gate.max_moment_muB:
        raise ReferenceFailure(
            "moments_insane",
            f"{label.magmoms[atom]:.3g} μB on atom {atom}, "
            f"allowed is up to {gate.max_moment_muB:g} μB (max_moment_muB)",
        )


def _check_total(frame: Frame, total: float, gate: Gate) -> None:
    per_metal = total / (_count_metals(frame) or len(frame))
    if per_metal > gate.max_total_moment_per_metal_muB:
        raise ReferenceFailure(
            "moments_insane",
            f"total moment of {per_metal:.3g} μB per metal atom, allowed is up to "
            f"{gate.max_total_moment_per_metal_muB:g} μB (max_total_moment_per_metal_muB)",
        )


def _check_oxidation_state(frame: Frame, label: Label, total: float, gate: Gate) -> None:
    largest = largest_moment_per_metal(frame.numbers)
    if largest is None:
        return
    # Engines that give magnitudes only (CHGNet) count oxygen's moments where they should subtract
    # them, so the metals' own sum may speak for a label too.
    of_metals = _moment_of_metals(frame, label)
    smaller = total if of_metals is None else min(total, of_metals)
    per_metal = smaller / _count_metals(frame)
    if per_metal > largest + gate.moment_tolerance_muB_per_metal:
        raise ReferenceFailure(
            "moments_insane",
            f"total moment of {per_metal:.3g} μB per metal atom in the mean oxidation state "
            f"{oxidation_state(frame.numbers):.3g}; high spin gives {largest:.3g} μB, allowed is "
            f"{gate.moment_tolerance_muB_per_metal:g} μB more (moment_tolerance_muB_per_metal)",
        )


def _moment_of_metals(frame: Frame, label: Label) -> float | None:
    if label.magmoms is None:
        return None
    return abs(float(label.magmoms[np.isin(frame.numbers, MAGNETIC_METALS)].sum()))


def _count_metals(frame: Frame) -> int:
    return int(np.isin(frame.numbers, MAGNETIC_METALS).sum())
