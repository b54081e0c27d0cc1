"""Calculations that every rung of the ladder failed on: for a person to look at and decide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voltaloop.campaigns.cases import Case
from voltaloop.campaigns.folder import CampaignFolder
from voltaloop.campaigns.minds import state_of
from voltaloop.campaigns.requests import What, ask, whole_id
from voltaloop.campaigns.state import CampaignState, accepted_label
from voltaloop.core import CampaignFolderError
from voltaloop.store import ArtifactStore


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedCase:
    """One calculation in quarantine.

    tries: (what was tried, reason, detail) of each; files: what the engines wrote, the latest try
    last; acceptable: there is a label that a person may accept.
    """

    id: str
    title: str
    role: str
    reason: str
    detail: str
    tries: tuple[tuple[str, str, str], ...]
    files: tuple[tuple[str, Path], ...]
    acceptable: bool


def quarantined(folder: CampaignFolder) -> list[QuarantinedCase]:
    """What lies in quarantine now, oldest first."""
    return [_shown(case, folder.artifacts) for case in state_of(folder).cases.quarantine]


def decide(folder: CampaignFolder, what: What, start_of_id: str) -> str:
    """Ask the campaign to retry a calculation or to accept its label; the whole id.

    Raises CampaignFolderError for an id that is not in quarantine, for a label that is not there,
    and when the campaign has its answer already.
    """
    state = state_of(folder)
    _refuse_when_answered(state, folder)
    known = {case.id: case for case in state.cases.quarantine}
    name = whole_id(start_of_id, list(known))
    if what == "accept" and accepted_label(known[name]) is None:
        last = known[name].last
        raise CampaignFolderError(
            f"{name[:8]} has no label to accept: it ended with {last.reason}. "
            f"Only a finite label that the gate refused can be accepted; --retry {name[:8]} "
            "computes it again."
        )
    ask(folder, what, name)
    return name


def _refuse_when_answered(state: CampaignState, folder: CampaignFolder) -> None:
    if state.answer is not None:
        raise CampaignFolderError(
            f"The campaign in {folder.root} has its answer; nothing is computed any more. Run its "
            "file with another --out to begin anew."
        )


def _shown(case: Case, store: ArtifactStore) -> QuarantinedCase:
    return QuarantinedCase(
        id=case.id,
        title=case.task.title,
        role=case.role,
        reason=case.last.reason,
        detail=case.last.detail,
        tries=tuple((one.rung or "as asked", one.reason, one.detail) for one in case.tries),
        files=tuple(
            (name, store.root / artifact[:2] / artifact)
            for one in case.tries
            for name, artifact in one.files.items()
        ),
        acceptable=accepted_label(case) is not None,
    )
