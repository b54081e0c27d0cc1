"""A bench whose measurements run in this process, or are made up."""

import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from voltaloop.campaigns.measuring import measure
from voltaloop.campaigns.study_file import StudyResources
from voltaloop.campaigns.studying import Bench, Request

sys.path.append(str(Path(__file__).parents[2] / "support"))

Measure = Callable[[str, str, Mapping[str, Any]], dict[str, Any]]


class InlineBench(Bench):
    """``asked``: the requests that had to be run."""

    def __init__(self, folder: Path, measured: Measure = measure) -> None:
        super().__init__(folder, StudyResources(), ExitStack())
        folder.mkdir(exist_ok=True)
        self.asked: list[Request] = []
        self._measure = measured

    def _submit(self, request: Request) -> Future[dict[str, Any]]:
        self.asked.append(request)
        future: Future[dict[str, Any]] = Future()
        before = tempfile.tempdir
        try:
            root = str(self.store.root)
            future.set_result(self._measure(root, request.function, request.inputs))
        except Exception as err:  # noqa: BLE001 - as a worker would tell it
            future.set_exception(err)
        finally:
            tempfile.tempdir = before
        return future
