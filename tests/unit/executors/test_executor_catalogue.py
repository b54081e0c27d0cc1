from pathlib import Path

import pytest

from voltaloop.core import UnknownBackendError
from voltaloop.executors import Limits
from voltaloop.executors.catalogue import EXECUTORS, PoolWork, limits_of
from voltaloop.executors.settings import PoolSettings


@pytest.mark.parametrize("name", sorted(EXECUTORS.builtin))
def test_every_pool_is_built_and_described_without_its_package_or_a_process(name: str) -> None:
    pool_type = EXECUTORS.load(name)
    assert issubclass(pool_type.Settings, PoolSettings)
    pool = pool_type(pool_type.Settings())
    assert pool.capacity >= 1
    assert pool.describe()
    assert "\n" not in pool.describe()
    assert isinstance(pool.executes(), list)


def test_an_unknown_executor_is_told_with_the_nearest_name() -> None:
    with pytest.raises(UnknownBackendError, match=r"executor 'parls'\. Did you mean 'parsl'\?"):
        EXECUTORS.load("parls")


def test_the_limits_of_a_task_come_from_the_settings_and_the_work() -> None:
    settings = PoolSettings(threads=4, task_limit="1m", memory_GB=2.0)
    work = PoolWork(name="label", folder=Path("x"), preload="json", fresh_process_per_task=True)
    assert limits_of(settings, work) == Limits(
        threads=4,
        task_limit_s=60.0,
        memory_limit_GB=2.0,
        fresh_process_per_task=True,
        preload="json",
        name="label",
    )
