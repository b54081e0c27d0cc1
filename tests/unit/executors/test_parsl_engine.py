import logging
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("parsl")

from parsl.executors.high_throughput.errors import ManagerLost
from parsl.executors.high_throughput.errors import WorkerLost as ParslWorkerLost
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD

from voltaloop.executors import Limits, RemoteError, WorkerLost, failure_text
from voltaloop.executors.parsl import engine as engine_module
from voltaloop.executors.parsl.engine import Engine
from voltaloop.executors.parsl.settings import ParslSettings

SLURM = {"provider": "slurm", "walltime": "2h"}


def engine(folder: Path, **settings: Any) -> Engine:
    wanted = ParslSettings.model_validate(settings)
    return Engine(settings=wanted, limits=Limits(name="label"), folder=folder)


def test_a_node_that_went_silent_lost_its_task(tmp_path: Path) -> None:
    error = engine(tmp_path, heartbeat_limit="90s").translated(ManagerLost(b"abc", "node17"))
    assert isinstance(error, WorkerLost)
    assert str(error) == (
        "Pool 'label' lost what ran this task: nothing was heard from its node node17 for 90 s, "
        "so its allocation has ended or the node is down. Nothing is wrong with the task: run it "
        "again."
    )


def test_a_dead_worker_of_parsl_lost_its_task(tmp_path: Path) -> None:
    error = engine(tmp_path).translated(ParslWorkerLost(0, "node17"))
    assert isinstance(error, WorkerLost)
    assert "Parsl's own worker died on node node17" in str(error)


def test_an_unknown_error_of_parsl_arrives_under_its_name_and_with_its_traceback(
    tmp_path: Path,
) -> None:
    try:
        raise ModuleNotFoundError("No module named 'voltaloop'")
    except ModuleNotFoundError as raised:
        error = engine(tmp_path).translated(raised)
    assert isinstance(error, RemoteError)
    assert str(error) == "ModuleNotFoundError: No module named 'voltaloop'"
    assert "raise ModuleNotFoundError" in failure_text(error)


def test_the_launch_command_is_parsls_with_our_manager_and_quoted_paths() -> None:
    command = engine_module._launch_command(DEFAULT_LAUNCH_CMD)
    assert command.startswith("python3 -P -m voltaloop.executors.parsl.process manager {debug} ")
    assert "--cert_dir '{cert_dir}' --logdir='{logdir}' " in command
    with pytest.raises(RuntimeError, match=r"'pool\.sh'.* pip install 'voltaloop\[parsl\]'"):
        engine_module._launch_command("pool.sh -a {addresses}")


def test_nodes_are_told_one_address_or_all_that_are_not_of_this_machine_alone() -> None:
    def addresses(**settings: Any) -> list[str]:
        return engine_module._addresses(ParslSettings.model_validate(settings))

    assert addresses() == ["127.0.0.1"]
    assert addresses(**SLURM, address="10.1.2.3") == ["10.1.2.3"]
    found = addresses(**SLURM)
    assert found == ["127.0.0.1"] or not any(a.startswith("127.") for a in found)


def test_a_block_drains_before_its_walltime_ends() -> None:
    def drain_period(**settings: Any) -> int | None:
        return engine_module._drain_period(ParslSettings.model_validate(settings))

    assert drain_period(**SLURM) is None
    assert drain_period(**SLURM, drain="30m") == 5400


def test_messages_of_parsl_go_to_a_file_and_not_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    carrier = engine(tmp_path)
    logging.getLogger("parsl.executors").warning("Too many heartbeats missed")
    carrier.close()
    logging.getLogger("parsl.executors").warning("Nobody listens any more")
    assert capfd.readouterr() == ("", "")
    log = (tmp_path / "parsl.log").read_text()
    assert "Too many heartbeats missed" in log
    assert "Nobody" not in log
