import time
from pathlib import Path

import pytest

from voltaloop.executors import TaskOutOfMemory, TaskTimeout
from voltaloop.executors.catalogue import PoolWork
from voltaloop.executors.local_pool import LocalPool
from voltaloop.executors.settings import LocalSettings

PATIENCE_S = 60.0


@pytest.mark.parametrize(
    ("workers", "line"), [(1, "1 process on this machine"), (2, "2 processes on this machine")]
)
def test_a_pool_of_this_machine_describes_itself(workers: int, line: str) -> None:
    pool = LocalPool(LocalSettings(workers=workers))
    pool.check_installed()
    assert (pool.describe(), pool.capacity, pool.executes()) == (line, workers, [])


@pytest.mark.parametrize(
    ("setting", "error"),
    [({"task_limit": "0.5s"}, TaskTimeout), ({"memory_GB": 0.001}, TaskOutOfMemory)],
)
def test_its_settings_reach_the_workers(
    tmp_path: Path, setting: dict[str, object], error: type[Exception]
) -> None:
    pool = LocalPool(LocalSettings.model_validate(setting))
    with pool.start(PoolWork(name="label", folder=tmp_path / "logs")) as executor:
        failure = executor.submit(time.sleep, 1000).exception(PATIENCE_S)
    assert isinstance(failure, error)
    assert "'label'" in str(failure)
    assert not (tmp_path / "logs").exists()


def test_the_work_reaches_the_workers(tmp_path: Path) -> None:
    work = PoolWork(name="train", folder=tmp_path, preload="tabnanny", grace_s=PATIENCE_S)
    with LocalPool(LocalSettings()).start(work) as executor:
        loaded = executor.submit(eval, "'tabnanny' in __import__('sys').modules")
    assert loaded.result(0) is True
