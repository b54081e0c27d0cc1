"""What a campaign remembers: the event log, the artifacts, and who holds the folder."""

from voltaloop.store.artifacts import ArtifactStore
from voltaloop.store.events import SCHEMA_VERSION, EventLog
from voltaloop.store.lock import CampaignLock, Holder

__all__ = [
    "SCHEMA_VERSION",
    "ArtifactStore",
    "CampaignLock",
    "EventLog",
    "Holder",
]
