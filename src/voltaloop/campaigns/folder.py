"""The campaign folder: what lies where."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voltaloop.campaigns.file import CampaignFile, parse_campaign
from voltaloop.core import CampaignFolderError
from voltaloop.store import ArtifactStore, CampaignLock, EventLog
from voltaloop.store.trouble import file_trouble


@dataclass(frozen=True, slots=True)
class CampaignFolder:
    """A folder with campaign.yaml, events.sqlite (unless the log lies in a database), folder.id,
    artifacts/, requests/, answer.json and report.html."""

    root: Path

    @property
    def campaign_path(self) -> Path:
        return self.root / "campaign.yaml"

    @property
    def log_path(self) -> Path:
        return self.root / "events.sqlite"

    @property
    def requests_path(self) -> Path:
        """What a person asked of the campaign and no run has taken up yet."""
        return self.root / "requests"

    @property
    def pools_path(self) -> Path:
        """Where executors keep logs of their own."""
        return self.root / "pools"

    @property
    def answer_path(self) -> Path:
        return self.root / "answer.json"

    @property
    def report_path(self) -> Path:
        return self.root / "report.html"

    @property
    def artifacts(self) -> ArtifactStore:
        return ArtifactStore(self.root / "artifacts")

    def campaign(self) -> tuple[CampaignFile, str]:
        """The campaign that this folder belongs to, and its text."""
        if not self.campaign_path.is_file():
            raise self._no_campaign()
        text = self.campaign_path.read_text(encoding="utf-8")
        campaign = parse_campaign(text, str(self.campaign_path))
        if campaign.store.url is None and not self.log_path.is_file():
            raise self._no_campaign()
        return campaign, text

    def _no_campaign(self) -> CampaignFolderError:
        return CampaignFolderError(
            f"{self.root} is no campaign folder: expected campaign.yaml and events.sqlite in "
            "it. Start a campaign with: voltaloop run FILE"
        )

    def refuse_other_campaign(self, text: str) -> None:
        """Raise unless the folder is new, empty, or was made from this very campaign text."""
        if self.campaign_path.is_file():
            if self.campaign_path.read_text(encoding="utf-8") != text:
                raise CampaignFolderError(
                    f"{self.root} holds another campaign, or an earlier version of this one: its "
                    "campaign.yaml differs. Use another folder with --out, or another name."
                )
            return
        if self.root.exists() and (not self.root.is_dir() or self._holds_other_files()):
            raise CampaignFolderError(
                f"{self.root} is not empty and no campaign folder. Use another one with --out."
            )

    def _holds_other_files(self) -> bool:
        """More than what a run leaves that was killed before it wrote campaign.yaml."""
        own = {"lock", temporary_of(self.campaign_path).name}
        return any(path.name not in own for path in self.root.iterdir())

    @contextmanager
    def held(self, campaign: CampaignFile, text: str) -> Iterator[EventLog]:
        """The event log for writing, with the folder locked and campaign.yaml in place.

        Raises CampaignFolderError where the folder is not ours to use, StorageError where its disk
        does not take what has to be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise CampaignFolderError(
                f"The campaign folder {self.root} cannot be made: {err.strerror}. "
                "Name another one with --out."
            ) from err
        with ExitStack() as stack:
            try:
                stack.enter_context(CampaignLock(self.root))
                self.artifacts.remove_leftovers()
            except OSError as err:
                raise file_trouble(f"take the campaign folder {self.root}", err) from err
            if campaign.store.url is None:
                self._lay_down(text)
            log = stack.enter_context(self._open_log(campaign))
            if campaign.store.url is not None:
                self._refuse_log_of_another_folder(campaign, log)
                self._lay_down(text)
            yield log

    def _lay_down(self, text: str) -> None:
        if not self.campaign_path.exists():
            write_text(self.campaign_path, text)

    def identity(self) -> str:
        """The folder's own random id, which the log's first event repeats; made when missing."""
        if not self._identity_path.is_file():
            write_text(self._identity_path, f"{uuid.uuid4().hex}\n")
        return self._identity_path.read_text(encoding="utf-8").strip()

    @property
    def _identity_path(self) -> Path:
        return self.root / "folder.id"

    def _refuse_log_of_another_folder(self, campaign: CampaignFile, log: EventLog) -> None:
        """In a database two campaigns of one name share a schema, but not their artifacts.

        Logs from before folders had an id pass.
        """
        first = next(iter(log.read()), None)
        owner = None if first is None else first.data.get("folder")
        if owner is None or (self._identity_path.is_file() and self.identity() == owner):
            return
        raise CampaignFolderError(
            f"The schema {_schema(campaign)} of the database holds a campaign that was begun in "
            f"another folder than {self.root}: the one whose {self._identity_path.name} says "
            f"{owner}. Go on in that folder (--out), or give this campaign another name or "
            "store.schema. If that folder is lost, so are its artifacts: drop the schema first."
        )

    def read_log(self) -> EventLog:
        """The event log for reading, also while the campaign runs."""
        campaign, _ = self.campaign()
        return self._open_log(campaign, read_only=True)

    def _open_log(self, campaign: CampaignFile, *, read_only: bool = False) -> EventLog:
        url = campaign.store.url
        if url is None:
            return EventLog.open(self.log_path, read_only=read_only)
        return EventLog.open(
            _from_environment(url) if url.startswith("$") else url,
            read_only=read_only,
            campaign=_schema(campaign),
        )


def _schema(campaign: CampaignFile) -> str:
    return campaign.store.db_schema or default_schema(campaign.name)


def default_schema(name: str) -> str:
    """The PostgreSQL schema of a campaign that names none."""
    return f"voltaloop_{re.sub('[^a-z0-9]', '_', name.lower())}"[:63]


def _from_environment(reference: str) -> str:
    """The URL that ``$NAME`` stands for; its value is never part of an error."""
    name = reference.removeprefix("$")
    if not os.environ.get(name):
        raise CampaignFolderError(
            f"store.url is {reference}, but the environment variable {name} is not set. Set it to "
            "postgresql://USER:PASSWORD@HOST/DATABASE."
        )
    return os.environ[name]


def temporary_of(path: Path) -> Path:
    """Where a file is written before it takes its name."""
    return path.with_name(f".{path.name}.tmp")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises StorageError when it cannot be written."""
    temporary = temporary_of(path)
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as err:
        raise file_trouble(f"write {path}", err) from err


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")
