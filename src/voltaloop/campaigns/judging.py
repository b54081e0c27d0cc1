"""Labels that look right by themselves, and wrong beside the others."""

from __future__ import annotations

from collections.abc import Sequence

from voltaloop.campaigns.state import Labelled
from voltaloop.core import MEV
from voltaloop.references import Gate, alignment_jump, moments_jump


def verdict(one: Labelled, known: Sequence[Labelled], gate: Gate) -> tuple[str, str] | None:
    """(reason, detail) why a label is to be taken back; None where it fits.

    ``known``: all labels of the campaign; compared are those of the same lithium content.
    """
    if one.by_person:
        return None
    peers = [other for other in known if other.x == one.x and other is not one]
    if (energies := _other_energy(one, peers, gate.max_energy_repeat_eV_per_atom)) is not None:
        return "energy_inconsistent", energies
    jump = _jump(one, peers, gate)
    return None if jump is None else ("moments_jumped", jump)


def _other_energy(one: Labelled, peers: Sequence[Labelled], allowed: float) -> str | None:
    for peer in peers:
        difference = one.energy_per_atom - peer.energy_per_atom
        if peer.frame == one.frame and abs(difference) > allowed:
            return (
                f"the same geometry was labelled before with another energy: now "
                f"{difference * MEV:+.1f} meV/atom, allowed is up to {allowed * MEV:g} "
                "(max_energy_repeat_eV_per_atom)"
            )
    return None


def _jump(one: Labelled, peers: Sequence[Labelled], gate: Gate) -> str | None:
    """A moment, or an order of the spins, that other labels of this content do not have."""
    if one.moment_per_metal is not None:
        moments = [peer.moment_per_metal for peer in peers if peer.moment_per_metal is not None]
        jump = moments_jump(one.moment_per_metal, moments, gate.max_moment_jump_muB_per_metal)
        if jump is not None:
            return jump
    if one.spin_alignment is not None:
        aligned = [peer.spin_alignment for peer in peers if peer.spin_alignment is not None]
        return alignment_jump(one.spin_alignment, aligned, gate.max_alignment_jump)
    return None
