"""Nouns and contracts that every room shares."""

from voltaloop.core.errors import (
    FAILURE_REASONS,
    ArtifactError,
    CampaignFileError,
    CampaignFolderError,
    FailureReason,
    LabelledSetError,
    MissingDependencyError,
    ReferenceFailure,
    StorageError,
    StructureError,
    UnknownBackendError,
    VoltaloopError,
    did_you_mean,
)
from voltaloop.core.events import Event, Task
from voltaloop.core.frame import FloatArray, Frame, IntArray, Label
from voltaloop.core.hashing import canonical_json, digest_of
from voltaloop.core.ladder import Rung
from voltaloop.core.registry import Registry, import_object, require
from voltaloop.core.units import EV_PER_A3_IN_GPA, LITHIUM, MEV

__all__ = [
    "EV_PER_A3_IN_GPA",
    "FAILURE_REASONS",
    "LITHIUM",
    "MEV",
    "ArtifactError",
    "CampaignFileError",
    "CampaignFolderError",
    "Event",
    "FailureReason",
    "FloatArray",
    "Frame",
    "IntArray",
    "Label",
    "LabelledSetError",
    "MissingDependencyError",
    "ReferenceFailure",
    "Registry",
    "Rung",
    "StorageError",
    "StructureError",
    "Task",
    "UnknownBackendError",
    "VoltaloopError",
    "canonical_json",
    "did_you_mean",
    "digest_of",
    "import_object",
    "require",
]
