import pytest

from voltaloop.executors.dask.pool import DaskPool
from voltaloop.executors.settings import DaskSettings


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (DaskSettings(), "Dask on a cluster of this machine: up to 1 task at a time"),
        (
            DaskSettings(scheduler="tcp://node1:8786", workers=8),
            "Dask on tcp://node1:8786: up to 8 tasks at a time",
        ),
    ],
)
def test_a_dask_pool_describes_itself(settings: DaskSettings, line: str) -> None:
    pool = DaskPool(settings)
    assert (pool.describe(), pool.capacity, pool.executes()) == (line, settings.workers, [])
