"""What people ask of a campaign while it runs, or between two runs.

A request is a small file in the campaign folder. The one process that writes the event log takes
it up, within a second where it is running, and deletes it once it stands in the log.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from voltaloop.campaigns.folder import CampaignFolder, write_json
from voltaloop.core import CampaignFolderError, Event

logger = logging.getLogger(__name__)

What = Literal["retry", "accept"]
SHORTEST_ID = 4


def ask(folder: CampaignFolder, what: What, case: str) -> None:
    """Leave a request about a quarantined case, in place of an earlier one that waits still.

    ``case``: its whole id. Raises CampaignFolderError or StorageError where it cannot be written.
    """
    try:
        folder.requests_path.mkdir(exist_ok=True)
    except OSError as err:
        raise CampaignFolderError(
            f"The request cannot be written into {folder.requests_path}: {err.strerror}. Expected "
            "a folder in which you may write."
        ) from err
    earlier = [data["request"] for _, data in open_requests(folder) if data["case"] == case]
    write_json(_place(folder, uuid.uuid4().hex), {"what": what, "case": case})
    for name in earlier:
        _place(folder, name).unlink(missing_ok=True)


def open_requests(folder: CampaignFolder) -> list[tuple[str, dict[str, Any]]]:
    """("asked", data) of every request that no run has taken up, oldest first."""
    files = sorted(folder.requests_path.glob("[0-9a-f]*.json"), key=_age)
    requests = [(file.stem, _content(file)) for file in files]
    return [("asked", {"request": name, **data}) for name, data in requests if data is not None]


def _place(folder: CampaignFolder, request: str) -> Path:
    return folder.requests_path / f"{request}.json"


def _age(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:  # replaced by a later request meanwhile
        return 0


def _content(file: Path) -> dict[str, str] | None:
    """A file that no request is in must not end a campaign: it is put aside."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data["what"] not in get_args(What) or not isinstance(data["case"], str):
            raise ValueError(f"{data['what']!r} of {data['case']!r}")
        return {"what": data["what"], "case": data["case"]}
    except FileNotFoundError:  # replaced by a later request meanwhile
        return None
    except (OSError, ValueError, KeyError, TypeError) as err:
        aside = file.rename(file.with_suffix(".unreadable"))
        logger.warning(
            "The request %s cannot be read (%s): expected what `voltaloop quarantine` writes. "
            "Ask again.",
            aside,
            err,
        )
        return None


def settle(folder: CampaignFolder, events: Iterable[Event]) -> None:
    """Delete the requests that stand in the log."""
    for event in events:
        if event.kind == "asked":
            _place(folder, event.data["request"]).unlink(missing_ok=True)


def whole_id(start: str, known: Sequence[str]) -> str:
    """The one id that begins so. Raises CampaignFolderError when none or several do."""
    found = [one for one in known if one.startswith(start.lower())]
    if len(start) >= SHORTEST_ID and len(found) == 1:
        return found[0]
    problem = (
        f"is too short: give at least {SHORTEST_ID} digits"
        if len(start) < SHORTEST_ID
        else f"fits {len(found)} of the {len(known)} calculations in quarantine"
    )
    raise CampaignFolderError(f"The id {start!r} {problem}. `voltaloop quarantine DIR` lists them.")
