"""What a campaign remembers: the event log, the artifacts, and who holds the folder."""

from voltaloop.store.artifacts import ArtifactStore, find_names
from voltaloop.store.events import EventLog
from voltaloop.store.lock import CampaignLock, Holder
from voltaloop.store.tables import SCHEMA_VERSION

__all__ = [
    "SCHEMA_VERSION",
    "ArtifactStore",
    "CampaignLock",
    "EventLog",
    "Holder",
    "find_names",
]
