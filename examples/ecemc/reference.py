"""GFN2-xTB as in the data: molecules without periodic images, the liquid with them."""

from __future__ import annotations

from voltaloop.core import Frame, Label, require

METHOD = "GFN2-xTB"


def free_label(frame: Frame) -> Label:
    """Energy in eV and forces in eV/Å of a cluster that has the world to itself.

    The reference ``tblite`` labels periodic frames: for these clusters it takes three times as long
    and differs by up to 1e-3 eV.
    """
    return _label(frame, periodic=False)


def periodic_label(frame: Frame) -> Label:
    """The same of a periodic frame, at the gamma point."""
    return _label(frame, periodic=True)


def _label(frame: Frame, *, periodic: bool) -> Label:
    atoms = frame.to_atoms()
    atoms.pbc = periodic
    atoms.calc = require("tblite.ase", extra="tblite").TBLite(method=METHOD, verbosity=0)
    return Label(energy=atoms.get_potential_energy(), forces=atoms.get_forces())
