import os
import subprocess
import sys

import pytest

from voltaloop.executors import THREAD_VARIABLES, pin_threads, thread_environment


def test_every_known_library_is_limited() -> None:
    assert thread_environment(2) == dict.fromkeys(THREAD_VARIABLES, "2")


def test_pinning_sets_the_environment_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "unset")
    pin_threads(3)
    assert {os.environ[name] for name in THREAD_VARIABLES} == {"3"}


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_a_senseless_number_of_threads_is_refused(threads: object) -> None:
    with pytest.raises(ValueError, match="threads: expected a whole number of 1 or more, got"):
        thread_environment(threads)


def test_importing_the_executors_loads_nothing_heavy() -> None:
    program = "import sys, voltaloop.executors; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"numpy", "torch", "ase", "pydantic", "sqlalchemy"} & set(loaded) == set()
    assert [name for name in loaded if name.startswith("voltaloop.core")] == []
