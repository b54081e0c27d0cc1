import errno
import os
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from puppet import Puppet, campaign_text

from voltaloop.campaigns import CampaignFolder, Ending, parse_campaign, run_campaign, running
from voltaloop.campaigns.pools import Workers
from voltaloop.core import ArtifactError, CampaignFolderError, StorageError, Task
from voltaloop.executors import WorkerDied
from voltaloop.store import CampaignLock, EventLog

TEXT = campaign_text()


def run(root: Path) -> Ending:
    return run_campaign(parse_campaign(TEXT, "f"), TEXT, root.parent, CampaignFolder(root))


def test_a_pool_that_cannot_be_started_pauses_the_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def unreachable(*_: Any) -> Iterator[Any]:
        raise BrokenExecutor("The pool 'label' cannot be started: nobody answers")
        yield

    monkeypatch.setattr(running, "started_pools", unreachable)
    ending = run(tmp_path / "campaign")
    assert (ending.state, ending.answer) == ("paused", None)
    assert ending.reason == "The pool 'label' cannot be started: nobody answers"
    assert CampaignLock.holder(tmp_path / "campaign") is None


def test_a_disk_too_full_for_the_lock_pauses_the_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    ending = run(tmp_path / "campaign")
    assert ending.state == "paused"
    assert ending.reason.startswith(f"Cannot take the campaign folder {tmp_path / 'campaign'}: No ")
    assert "Make room on that disk" in ending.reason


def test_a_disk_too_full_for_the_report_pauses_the_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    finished(tmp_path / "campaign")
    monkeypatch.setattr(running, "write_report", full)
    ending = run(tmp_path / "campaign")
    assert ending.state == "paused"
    assert "report.html: No space left on device" in ending.reason


def finished(root: Path) -> Puppet:
    puppet = Puppet(root).open()
    puppet.run()
    puppet.write()
    return puppet


def test_a_finished_campaign_needs_no_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path / "campaign")
    monkeypatch.setattr(running, "started_pools", None)
    assert run(tmp_path / "campaign").state == "finished"
    assert (tmp_path / "campaign" / "answer.json").is_file()


class NeverDone(Workers):
    def __init__(self) -> None:
        pass

    def submit(self, _: Task) -> Future[Any]:
        return Future()


def test_a_stop_request_does_not_wait_for_a_repair(tmp_path: Path) -> None:
    puppet = Puppet(tmp_path / "campaign").open()
    folder, stop = puppet.write(), running._Stop(running.ignore)
    with folder.held(puppet.campaign, TEXT) as log:
        session = running._Session(
            puppet.campaign,
            tmp_path,
            folder,
            log,
            watch=running.ignore,
            tell=running.ignore,
            stop=stop,
        )
        stop.asked = True
        begun = time.monotonic()
        with pytest.raises(running._StopAskedError):
            session._again(NeverDone(), puppet.under_way("label")[0])
        assert time.monotonic() - begun < 5


def test_a_repair_whose_worker_dies_is_told_with_what_it_was_for(tmp_path: Path) -> None:
    task = Puppet(tmp_path / "campaign").open().under_way("label")[0]
    future: Future[Any] = Future()
    future.set_exception(WorkerDied("label", 7, -9))
    with pytest.raises(ArtifactError) as caught:
        running._made_again(task, future)
    text = str(caught.value)
    assert f"Artifacts of '{task.title}' are damaged, and making them again failed with" in text
    assert "WorkerDied: A worker of pool 'label' (pid 7) died" in text
    assert "run the campaign again, or restore the files from a copy" in text


@pytest.mark.parametrize("error", [StorageError("full"), BrokenExecutor("gone")])
def test_a_repair_that_the_disk_or_the_pool_kept_from_ending_is_not_held_against_it(
    tmp_path: Path, error: Exception
) -> None:
    future: Future[Any] = Future()
    future.set_exception(error)
    with pytest.raises(type(error), match=str(error)):
        running._made_again(Puppet(tmp_path / "campaign").open().under_way("label")[0], future)


# -- a log in a database, which two folders may reach ----------------------------------------------


class Shared:
    """One log for all folders, as a schema in a database is."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.text = campaign_text(store={"url": "postgresql://me@host/db"})
        self.campaign = parse_campaign(self.text, "f")
        monkeypatch.setattr(
            CampaignFolder, "_open_log", lambda *_, **more: EventLog.open(path, **more)
        )

    def begin(self, folder: CampaignFolder) -> None:
        with folder.held(self.campaign, self.text) as log:
            if log.count() == 0:
                log.append([("opened", {"folder": folder.identity()})], 1.0)


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shared:
    return Shared(tmp_path / "shared.sqlite", monkeypatch)


def test_a_folder_has_one_id_for_ever(tmp_path: Path) -> None:
    names = [CampaignFolder(tmp_path).identity() for _ in range(2)]
    (tmp_path / "other").mkdir()
    names.append(CampaignFolder(tmp_path / "other").identity())
    assert names[0] == names[1] != names[2]
    assert (tmp_path / "folder.id").read_text() == f"{names[0]}\n"


def test_the_folder_in_which_a_campaign_began_goes_on_with_it_also_when_moved(
    tmp_path: Path, shared: Shared
) -> None:
    shared.begin(CampaignFolder(tmp_path / "a"))
    shared.begin(CampaignFolder(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "moved")
    shared.begin(CampaignFolder(tmp_path / "moved"))


def test_another_folder_is_refused_and_stays_free_for_another_campaign(
    tmp_path: Path, shared: Shared
) -> None:
    shared.begin(CampaignFolder(tmp_path / "a"))
    other = CampaignFolder(tmp_path / "b")
    with pytest.raises(CampaignFolderError) as caught:
        shared.begin(other)
    text = str(caught.value)
    assert "The schema voltaloop_puppet of the database holds a campaign that was begun in" in text
    assert CampaignFolder(tmp_path / "a").identity() in text
    assert "another name or store.schema" in text
    assert not other.campaign_path.exists()
    other.refuse_other_campaign("name: another")


def test_a_log_without_a_folder_passes(tmp_path: Path, shared: Shared) -> None:
    with EventLog.open(tmp_path / "shared.sqlite") as log:
        log.append([("opened", {"formula": "LiNiO2"})], 1.0)
    shared.begin(CampaignFolder(tmp_path / "a"))
