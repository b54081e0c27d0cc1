from collections.abc import Iterator
from pathlib import Path

import pytest
from small_campaign import end_all, finished_campaign


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    base = tmp_path_factory.getbasetemp()
    return finished_campaign((base if worker_id == "master" else base.parent) / "finished")


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    yield
    end_all()
