"""The engines that label frames, and the gate that refuses a bad label."""

from voltaloop.references.catalogue import REFERENCES, Engine, build_reference
from voltaloop.references.failures import scratch_folder
from voltaloop.references.gate import KeepsFiles, check_frame, check_label, label_frame
from voltaloop.references.limits import Gate
from voltaloop.references.moments import (
    alignment_jump,
    moment_per_metal,
    moments_jump,
    spin_alignment,
)
from voltaloop.references.steps import check_step

__all__ = [
    "REFERENCES",
    "Engine",
    "Gate",
    "KeepsFiles",
    "alignment_jump",
    "build_reference",
    "check_frame",
    "check_label",
    "check_step",
    "label_frame",
    "moment_per_metal",
    "moments_jump",
    "scratch_folder",
    "spin_alignment",
]
