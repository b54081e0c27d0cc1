"""Whole campaigns: the file a user writes, the policy that decides, the run to an answer."""

from voltaloop.campaigns.exporting import FORMATS, export_labels
from voltaloop.campaigns.file import CampaignFile, parse_campaign, read_campaign_file
from voltaloop.campaigns.folder import CampaignFolder
from voltaloop.campaigns.history import campaign_history
from voltaloop.campaigns.running import Ending, check, new_mind, run_campaign
from voltaloop.campaigns.template import campaign_template

__all__ = [
    "FORMATS",
    "CampaignFile",
    "CampaignFolder",
    "Ending",
    "campaign_history",
    "campaign_template",
    "check",
    "export_labels",
    "new_mind",
    "parse_campaign",
    "read_campaign_file",
    "run_campaign",
]
