"""A campaign's mind, new or as its log left it."""

from __future__ import annotations

from collections.abc import Iterable

from voltaloop.campaigns.file import CampaignFile, capacity
from voltaloop.campaigns.folder import CampaignFolder
from voltaloop.campaigns.policy import PotentialPolicy
from voltaloop.campaigns.state import CampaignState
from voltaloop.core import Event
from voltaloop.thinker import Mind


def new_mind(campaign: CampaignFile, folder: CampaignFolder) -> Mind:
    """A mind for the campaign that knows nothing yet."""
    return Mind(PotentialPolicy(campaign, folder.artifacts), capacity(campaign.resources))


def folded_mind(campaign: CampaignFile, folder: CampaignFolder, events: Iterable[Event]) -> Mind:
    """A mind that knows what the events tell."""
    mind = new_mind(campaign, folder)
    for event in events:
        mind.fold(event)
    return mind


def policy_of(mind: Mind) -> PotentialPolicy:
    policy = mind.policy
    assert isinstance(policy, PotentialPolicy)  # noqa: S101 - made by new_mind
    return policy


def state_of(folder: CampaignFolder) -> CampaignState:
    """What the campaign of a folder knows at this moment."""
    campaign, _ = folder.campaign()
    with folder.read_log() as log:
        return policy_of(folded_mind(campaign, folder, log.read())).state
