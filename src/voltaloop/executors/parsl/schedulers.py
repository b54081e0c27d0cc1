"""Who starts and ends blocks: this machine, Flux, or a scheduler that Parsl has a provider for."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from voltaloop.executors.parsl.process import PARENT
from voltaloop.executors.parsl.settings import ParslSettings

logger = logging.getLogger(__name__)

COMMAND_LIMIT_S = 60
KILL_AFTER_S = 3.0


class SchedulerError(RuntimeError):
    """A scheduler refused a job or could not be asked; the text is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """running: it has nodes; ended: in the scheduler's words how, None while it has not."""

    running: bool = False
    ended: str | None = None


class Scheduler(Protocol):
    """Starts and ends jobs. Everything it raises is a :class:`SchedulerError` or OSError."""

    def submit(self, command: str, name: str) -> str:
        """The id of a new job that runs ``command`` on each of its nodes."""

    def states(self, jobs: list[str]) -> dict[str, JobState]:
        """The state of each job, as far as it is known."""

    def cancel(self, jobs: list[str]) -> None:
        """End the jobs, wherever they are."""


def build_scheduler(settings: ParslSettings, scripts: Path) -> Scheduler:
    """The scheduler of the settings, with its job scripts and their output in ``scripts``."""
    if settings.provider == "local":
        return LocalScheduler(settings, scripts)
    if settings.provider == "flux":
        return FluxScheduler(settings, scripts)
    return ParslScheduler(settings, scripts)


def initial_lines(settings: ParslSettings) -> list[str]:
    """What a job runs first: find this Python, unless the user's own lines find another."""
    lines = [f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"]
    if path := os.environ.get("PYTHONPATH"):
        lines.append(f"export PYTHONPATH={shlex.quote(path)}")
    return [*lines, f"cd {shlex.quote(str(Path.cwd()))}", *settings.worker_init]


class LocalScheduler:
    """Blocks are process groups of this machine, which end with this process.

    Each job belongs to the thread that submitted it: the kernel ends it with that thread.
    """

    def __init__(self, settings: ParslSettings, scripts: Path) -> None:
        self._lines = initial_lines(settings)
        self._scripts = scripts
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, command: str, name: str) -> str:
        script = self._scripts / f"{name}.sh"
        script.write_text("\n".join([*self._lines, f"exec {command}", ""]), encoding="utf-8")
        with (
            script.with_suffix(".stdout").open("wb") as stdout,
            script.with_suffix(".stderr").open("wb") as stderr,
        ):
            process = subprocess.Popen(  # noqa: S603 - worker_init is the user's own
                ["/bin/bash", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, PARENT: str(os.getpid())},
                process_group=0,
            )
        self._processes[str(process.pid)] = process
        return str(process.pid)

    def states(self, jobs: list[str]) -> dict[str, JobState]:
        codes = {job: self._processes[job].poll() for job in jobs if job in self._processes}
        return {
            job: JobState(running=True) if code is None else JobState(ended=f"exit code {code}")
            for job, code in codes.items()
        }

    def cancel(self, jobs: list[str]) -> None:
        ending = [self._processes.pop(job) for job in jobs if job in self._processes]
        for process in ending:
            _signal_group(process.pid, signal.SIGTERM)
        until = time.monotonic() + KILL_AFTER_S
        for process in ending:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(until - time.monotonic(), 0.0))
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody is left in it
        os.killpg(group, number)


class FluxScheduler:
    """Blocks are batch jobs of the Flux instance that this process runs in."""

    def __init__(self, settings: ParslSettings, scripts: Path) -> None:
        self._settings = settings
        self._scripts = scripts

    def submit(self, command: str, name: str) -> str:
        script = self._scripts / f"{name}.sh"
        lines = ["#!/bin/bash", *self._settings.scheduler_options]
        lines += [*initial_lines(self._settings), self._on_each_node(command), ""]
        script.write_text("\n".join(lines), encoding="utf-8")
        outputs = [
            f"--output={script.with_suffix('.stdout')}",
            f"--error={script.with_suffix('.stderr')}",
        ]
        return _run(["flux", "batch", *self._options(name), *outputs, str(script)]).strip()

    def states(self, jobs: list[str]) -> dict[str, JobState]:
        if not jobs:
            return {}
        listed = _run(["flux", "jobs", "-n", "-o", "{id.f58} {status}", *jobs])
        pairs = dict(line.split()[:2] for line in listed.splitlines() if len(line.split()) > 1)
        return {job: _flux_state(pairs[job]) for job in jobs if job in pairs}

    def cancel(self, jobs: list[str]) -> None:
        for job in jobs:  # one by one: of several, one that has ended makes it refuse all
            with suppress(SchedulerError):
                _run(["flux", "cancel", job])

    def _options(self, name: str) -> list[str]:
        wanted = self._settings
        options = [
            f"--nodes={wanted.nodes}",
            f"--nslots={wanted.nodes}",
            f"--cores-per-slot={wanted.cores_per_node}",
            f"--time-limit={wanted.walltime_s}s",
            f"--job-name={name}",
        ]
        if wanted.queue is not None:
            options.append(f"--queue={wanted.queue}")
        if wanted.account is not None:
            options.append(f"--bank={wanted.account}")
        if wanted.exclusive:
            options.append("--exclusive")
        return options

    def _on_each_node(self, command: str) -> str:
        if self._settings.nodes == 1:
            return f"exec {command}"
        nodes, cores = self._settings.nodes, self._settings.cores_per_node
        return f"flux run --nodes={nodes} --ntasks={nodes} --cores-per-task={cores} {command}"


def _flux_state(status: str) -> JobState:
    if status in ("COMPLETED", "FAILED", "CANCELED", "TIMEOUT"):
        return JobState(ended=status)
    return JobState(running=status == "RUNNING")


class ParslScheduler:
    """A scheduler that Parsl has a provider for: Slurm, PBS or LSF."""

    def __init__(self, settings: ParslSettings, scripts: Path) -> None:
        self._words = _LastWords()
        with self._words:
            self._provider = _PROVIDERS[settings.provider](settings)
        self._provider.script_dir = str(scripts)
        self._provider.execute_wait = _Forgiving(
            self._provider.execute_wait, *_FORGOTTEN[settings.provider]
        )

    def submit(self, command: str, name: str) -> str:
        with self._words:
            job = self._asked(self._provider.submit, command, 1, name)
        if not job:
            raise SchedulerError(self._words.text or "the scheduler gave the job no id")
        return str(job)

    def states(self, jobs: list[str]) -> dict[str, JobState]:
        known = [job for job in jobs if job in self._provider.resources]
        states = self._asked(self._provider.status, known)
        return {job: _parsl_state(state) for job, state in zip(known, states, strict=True)}

    def cancel(self, jobs: list[str]) -> None:
        """Jobs that have ended already are no error; the provider is not asked for them again."""
        known = [job for job in jobs if job in self._provider.resources]
        try:
            if known and not all(self._asked(self._provider.cancel, known)):
                logger.warning("Jobs %s could not be cancelled, or had ended.", ", ".join(known))
        finally:
            for job in known:
                del self._provider.resources[job]

    def _asked(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            said = getattr(error, "stderr", None)  # of Parsl's SubmitException
            raise SchedulerError((said or str(error) or repr(error)).strip()) from error


def _parsl_state(status: Any) -> JobState:
    if status.terminal:
        code = "" if status.exit_code is None else f", exit code {status.exit_code}"
        return JobState(ended=f"{status.status_name}{code}")
    return JobState(running=status.status_name == "RUNNING")


class _LastWords(logging.Handler):
    """Keeps what Parsl's LSF provider says only to its log: why a job was refused."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()

    def __enter__(self) -> None:
        self.text = ""
        logging.getLogger("parsl.providers").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("parsl.providers").removeHandler(self)


class _Forgiving:
    """Runs a provider's commands; jobs that the scheduler has forgotten are jobs that ended.

    Parsl's providers take the refusal of one forgotten job for no answer about any job, and would
    wait for ever.
    """

    def __init__(self, execute_wait: Any, complaint: str, nothing: str) -> None:
        self._execute_wait, self._complaint, self._nothing = execute_wait, complaint, nothing

    def __call__(self, command: str, timeout: int | None = None) -> tuple[int, str, str]:
        code, stdout, stderr = self._execute_wait(command, timeout)
        if code != 0 and self._complaint in stderr:
            return 0, stdout or self._nothing, stderr
        return code, stdout, stderr


_FORGOTTEN = {
    "slurm": ("Invalid job id", ""),
    "pbs": ("Unknown Job", "{}"),
    "lsf": ("is not found", ""),
}
"""Provider → (what its scheduler says of a job it has forgotten, its answer without any job)."""


def _common(settings: ParslSettings) -> dict[str, Any]:
    return {
        "nodes_per_block": settings.nodes,
        "init_blocks": 0,
        "min_blocks": settings.min_blocks,
        "max_blocks": settings.max_blocks,
        "walltime": settings.walltime_text,
        "scheduler_options": "\n".join(settings.scheduler_options),
        "worker_init": "\n".join(initial_lines(settings)),
        "cmd_timeout": COMMAND_LIMIT_S,
    }


def _slurm(settings: ParslSettings) -> Any:
    from parsl.launchers import SimpleLauncher, SrunLauncher
    from parsl.providers import SlurmProvider

    several = SrunLauncher(debug=False, overrides=f"--cpus-per-task={settings.cores_per_node}")
    return SlurmProvider(
        **_common(settings),
        partition=settings.partition,
        account=settings.account,
        qos=settings.qos,
        exclusive=settings.exclusive,
        cores_per_node=settings.cores_per_node,
        mem_per_node=settings.memory_per_node_GB,
        launcher=SimpleLauncher() if settings.nodes == 1 else several,
    )


def _pbs(settings: ParslSettings) -> Any:
    from parsl.launchers import MpiExecLauncher, SimpleLauncher
    from parsl.providers import PBSProProvider

    memory = settings.memory_per_node_GB
    return PBSProProvider(
        **_common(settings),
        queue=settings.queue,
        account=settings.account,
        cpus_per_node=settings.cores_per_node,
        select_options="" if memory is None else f"mem={memory}gb",
        launcher=SimpleLauncher() if settings.nodes == 1 else MpiExecLauncher(debug=False),
    )


def _lsf(settings: ParslSettings) -> Any:
    from parsl.launchers import SimpleLauncher
    from parsl.providers import LSFProvider

    return LSFProvider(
        **_common(settings),
        queue=settings.queue,
        project=settings.account,
        request_by_nodes=False,
        cores_per_block=settings.cores_per_node,
        cores_per_node=settings.cores_per_node,
        bsub_redirection=True,
        launcher=SimpleLauncher(),
    )


_PROVIDERS = {"slurm": _slurm, "pbs": _pbs, "lsf": _lsf}


def _run(arguments: list[str]) -> str:
    """What a command prints. Raises SchedulerError with what it says when it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - a scheduler's own command
            arguments, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SchedulerError(f"'{arguments[0]}' gave no answer in {COMMAND_LIMIT_S} s") from error
    if done.returncode != 0:
        raise SchedulerError(done.stderr.strip() or f"exit code {done.returncode}")
    return done.stdout
