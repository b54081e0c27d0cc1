import pytest
from pydantic import BaseModel, ValidationError

from voltaloop.executors.settings import DaskSettings, LocalSettings, PoolSettings


def test_a_pool_that_is_told_nothing_runs_one_task_of_one_thread_for_six_hours() -> None:
    settings = LocalSettings()
    assert (settings.workers, settings.threads, settings.task_limit) == (1, 1, 21600.0)
    assert settings.memory_GB is None
    assert DaskSettings().scheduler is None


def test_a_time_limit_says_its_unit() -> None:
    assert PoolSettings(task_limit="30m").task_limit == 1800.0
    with pytest.raises(ValidationError, match="unit s, m, h or d"):
        PoolSettings(task_limit=1800)


@pytest.mark.parametrize(
    ("key", "value"),
    [("workers", 0), ("threads", 0), ("memory_GB", 0), ("memory_GB", float("inf")), ("worker", 2)],
)
def test_senseless_settings_and_unknown_keys_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValidationError, match=key):
        LocalSettings.model_validate({key: value})


@pytest.mark.parametrize("model", [PoolSettings, LocalSettings, DaskSettings])
def test_every_option_is_documented(model: type[BaseModel]) -> None:
    assert all(field.description for field in model.model_fields.values())
