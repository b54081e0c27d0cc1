"""Schedulers as far as they can be tested without one: what is written and which words are read.

Small scripts stand in for the commands of PBS, LSF and Flux. They run the job script at once, as a
process, and answer in the words of the documentation of the real ones.
"""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from voltaloop.executors.parsl.schedulers import (
    FluxScheduler,
    JobState,
    LocalScheduler,
    Scheduler,
    SchedulerError,
    build_scheduler,
)
from voltaloop.executors.parsl.settings import ParslSettings

PATIENCE_S = 20.0

RUNS = 'runs() { grep -qs "^State:.[^Z]" "/proc/$1/status"; }'

QSUB = """
[ "$2" = nowhere ] && { echo "qsub: Unknown queue" >&2; exit 170; }
for script; do true; done
bash "$script" >/dev/null 2>&1 & echo $! >>"$JOBS"; echo "$!.server"
"""
QSTAT = """
shift 4; code=0; entries=
for job; do
  pid=${job%.server}
  grep -qx "$pid" "$JOBS" || { echo "qstat: Unknown Job Id $job" >&2; code=153; continue; }
  state=F; runs "$pid" && state=R
  entries="$entries${entries:+,}\\"$job\\": {\\"job_state\\": \\"$state\\"}"
done
[ -n "$entries" ] && echo "{\\"Jobs\\": {$entries}}"
exit $code
"""
QDEL = 'for job; do kill "${job%.server}" 2>/dev/null; done; true'

BSUB = """
script=$(mktemp "$JOBS.XXXX"); cat >"$script"
grep -q "#BSUB -q nowhere" "$script" && { echo "nowhere: No such queue." >&2; exit 255; }
bash "$script" >/dev/null 2>&1 & echo $! >>"$JOBS"
echo "Job <$!> is submitted to queue <batch>."
"""
BJOBS = """
shift 3; code=0
for pid; do
  grep -qx "$pid" "$JOBS" || { echo "Job <$pid> is not found" >&2; code=255; continue; }
  state=EXIT; runs "$pid" && state=RUN
  echo "$pid $state"
done
exit $code
"""
BKILL = 'for job; do kill "$job" 2>/dev/null; done; true'

FLUX = """
command=$1; shift
case $command in
  batch)
    case "$*" in *--queue=nowhere*) echo "flux-batch: ERROR: Invalid queue" >&2; exit 1;; esac
    echo "$*" >>"$JOBS.options"
    for script; do true; done
    bash "$script" >/dev/null 2>&1 & echo $! >>"$JOBS"; echo "f$!" ;;
  jobs)
    shift 3
    for job; do
      grep -qx "${job#f}" "$JOBS" || { echo "flux-jobs: ERROR: JobID $job unknown" >&2; continue; }
      status=COMPLETED; runs "${job#f}" && status=RUNNING
      echo "$job $status"
    done ;;
  cancel) kill "${1#f}" ;;
esac
"""

COMMANDS = {
    "pbs": {"qsub": QSUB, "qstat": QSTAT, "qdel": QDEL},
    "lsf": {"bsub": BSUB, "bjobs": BJOBS, "bkill": BKILL},
    "flux": {"flux": FLUX},
}


def settings(provider: str, **values: Any) -> ParslSettings:
    if provider != "local":
        values = {"walltime": "1h", **values}
    return ParslSettings.model_validate({"provider": provider, **values})


def becomes_true(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


@pytest.fixture
def scheduler_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Scheduler, Path]]:
    def make(provider: str, **values: Any) -> tuple[Scheduler, Path]:
        if provider in ("pbs", "lsf"):
            pytest.importorskip("parsl")
        programs, scripts = tmp_path / "bin", tmp_path / "scripts"
        programs.mkdir()
        scripts.mkdir()
        for name, text in COMMANDS.get(provider, {}).items():
            (programs / name).write_text(f"#!/bin/bash\n{RUNS}\n{text}")
            (programs / name).chmod(stat.S_IRWXU)
        (tmp_path / "jobs").touch()
        monkeypatch.setenv("JOBS", str(tmp_path / "jobs"))
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        return build_scheduler(settings(provider, **values), scripts), scripts

    return make


def living_of_group(group: int) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE and group_of(process.pid) == group
    ]


def group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def state(scheduler: Scheduler, job: str) -> JobState:
    return scheduler.states([job])[job]


@pytest.mark.parametrize("provider", ["local", "pbs", "lsf", "flux"])
def test_a_job_runs_the_users_lines_then_the_command_until_it_is_cancelled(
    scheduler_of: Callable[..., tuple[Scheduler, Path]], provider: str, tmp_path: Path
) -> None:
    scheduler, _ = scheduler_of(provider, worker_init=["export WORD='two  words'"])
    said = tmp_path / "said"
    job = scheduler.submit(f"bash -c 'echo \"$WORD\" >{said}; sleep 600'", "voltaloop-label-0")
    assert becomes_true(lambda: said.exists() and said.read_text() == "two  words\n")
    assert state(scheduler, job) == JobState(running=True)
    sleeping = psutil.Process(int(job.strip("f").removesuffix(".server")))
    scheduler.cancel([job])
    psutil.wait_procs([sleeping], timeout=PATIENCE_S)
    assert not sleeping.is_running() or sleeping.status() == psutil.STATUS_ZOMBIE
    assert scheduler.states([job]).get(job, JobState(ended="forgotten")).ended is not None
    scheduler.cancel([job])


@pytest.mark.parametrize("provider", ["local", "pbs", "lsf", "flux"])
def test_a_job_that_ends_by_itself_has_ended(
    scheduler_of: Callable[..., tuple[Scheduler, Path]], provider: str
) -> None:
    scheduler, _ = scheduler_of(provider)
    job = scheduler.submit("true", "voltaloop-label-0")
    assert becomes_true(lambda: state(scheduler, job).ended is not None)


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("pbs", "qsub: Unknown queue"),
        ("lsf", "nowhere: No such queue."),
        ("flux", "flux-batch: ERROR: Invalid queue"),
    ],
)
def test_a_refused_job_is_told_in_the_schedulers_own_words(
    scheduler_of: Callable[..., tuple[Scheduler, Path]], provider: str, words: str
) -> None:
    scheduler, _ = scheduler_of(provider, queue="nowhere")
    with pytest.raises(SchedulerError) as caught:
        scheduler.submit("true", "voltaloop-label-0")
    assert words in str(caught.value)


@pytest.mark.parametrize("provider", ["pbs", "lsf"])
def test_a_job_that_the_scheduler_has_forgotten_has_ended(
    scheduler_of: Callable[..., tuple[Scheduler, Path]], provider: str, tmp_path: Path
) -> None:
    scheduler, _ = scheduler_of(provider)
    job = scheduler.submit("true", "voltaloop-label-0")
    (tmp_path / "jobs").write_text("")
    assert state(scheduler, job).ended is not None


def test_a_pbs_script_asks_for_what_the_settings_say(
    scheduler_of: Callable[..., tuple[Scheduler, Path]],
) -> None:
    scheduler, scripts = scheduler_of(
        "pbs",
        walltime="90m",
        threads=4,
        workers_per_node=2,
        memory_per_node_GB=16,
        scheduler_options=["#PBS -l place=excl"],
    )
    scheduler.submit("true", "voltaloop-label-0")
    (script,) = (path for path in scripts.iterdir() if "std" not in path.suffix)
    lines = script.read_text().splitlines()
    assert "#PBS -l select=1:ncpus=8:mem=16gb" in lines
    assert "#PBS -l walltime=01:30:00" in lines
    assert "#PBS -l place=excl" in lines


def test_an_lsf_script_asks_for_what_the_settings_say(
    scheduler_of: Callable[..., tuple[Scheduler, Path]],
) -> None:
    scheduler, scripts = scheduler_of(
        "lsf", walltime="90m", workers_per_node=2, queue="batch", account="proj"
    )
    scheduler.submit("true", "voltaloop-label-0")
    (script,) = (path for path in scripts.iterdir() if path.suffix == ".submit")
    lines = script.read_text().splitlines()
    assert "#BSUB -W 90" in lines
    assert "#BSUB -n 2" in lines
    assert '#BSUB -R "span[ptile=2]"' in lines
    assert {"#BSUB -q batch", "#BSUB -P proj"} <= set(lines)


def test_a_flux_job_asks_for_what_the_settings_say(
    scheduler_of: Callable[..., tuple[Scheduler, Path]], tmp_path: Path
) -> None:
    scheduler, scripts = scheduler_of(
        "flux",
        walltime="90m",
        nodes=2,
        workers_per_node=2,
        threads=4,
        queue="batch",
        account="bank",
        exclusive=True,
        scheduler_options=["#FLUX: --setattr=system.x=1"],
    )
    assert isinstance(scheduler, FluxScheduler)
    scheduler.submit("true", "voltaloop-label-0")
    options = (tmp_path / "jobs.options").read_text().split()
    assert {"--nodes=2", "--nslots=2", "--cores-per-slot=8", "--time-limit=5400s"} <= set(options)
    assert {"--queue=batch", "--bank=bank", "--exclusive"} <= set(options)
    lines = (scripts / "voltaloop-label-0.sh").read_text().splitlines()
    assert lines[1] == "#FLUX: --setattr=system.x=1"
    assert lines[-1] == "flux run --nodes=2 --ntasks=2 --cores-per-task=8 true"


def test_a_local_job_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    scheduler = LocalScheduler(settings("local"), tmp_path)
    ready = tmp_path / "ready"
    stubborn = f"bash -c \"trap '' TERM; touch {ready}; while :; do sleep 0.1; done\""
    job = scheduler.submit(stubborn, "voltaloop-label-0")
    assert becomes_true(ready.exists)
    scheduler.cancel([job])
    assert becomes_true(lambda: not living_of_group(int(job)))


def test_a_missing_command_is_told_as_the_system_tells_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FileNotFoundError, match="flux"):
        FluxScheduler(settings("flux"), tmp_path).submit("true", "voltaloop-label-0")
