"""Whole campaigns: the file a user writes, the policy that decides, the run to an answer.

Names are imported when they are first used: a worker process needs the Doers alone, and should not
wait for the database and the plots.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voltaloop.campaigns.exporting import FORMATS, export_labels
    from voltaloop.campaigns.file import CampaignFile, parse_campaign, read_campaign_file
    from voltaloop.campaigns.folder import CampaignFolder
    from voltaloop.campaigns.history import campaign_history
    from voltaloop.campaigns.minds import new_mind
    from voltaloop.campaigns.quarantine import decide, quarantined
    from voltaloop.campaigns.running import Ending, check, notice, run_campaign
    from voltaloop.campaigns.template import campaign_template

_HOMES = {
    "FORMATS": "exporting",
    "export_labels": "exporting",
    "CampaignFile": "file",
    "parse_campaign": "file",
    "read_campaign_file": "file",
    "CampaignFolder": "folder",
    "campaign_history": "history",
    "Ending": "running",
    "check": "running",
    "new_mind": "minds",
    "notice": "running",
    "decide": "quarantine",
    "quarantined": "quarantine",
    "run_campaign": "running",
    "campaign_template": "template",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "FORMATS",
    "CampaignFile",
    "CampaignFolder",
    "Ending",
    "campaign_history",
    "campaign_template",
    "check",
    "decide",
    "export_labels",
    "new_mind",
    "notice",
    "parse_campaign",
    "quarantined",
    "read_campaign_file",
    "run_campaign",
]
