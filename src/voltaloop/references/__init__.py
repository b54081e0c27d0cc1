"""The engines that label frames, and the gate that refuses a bad label."""

from voltaloop.references.catalogue import REFERENCES, Engine, build_reference
from voltaloop.references.gate import Gate, check_frame, check_label, label_frame

__all__ = [
    "REFERENCES",
    "Engine",
    "Gate",
    "build_reference",
    "check_frame",
    "check_label",
    "label_frame",
]
