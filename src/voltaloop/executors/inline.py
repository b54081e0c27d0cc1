"""Runs every task in the calling thread."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class InlineExecutor(Executor):
    """Runs a task in the calling thread, on submit: a deterministic order for tests and debugging.

    A task that crashes or hangs takes the caller with it.
    """

    def __init__(self) -> None:
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future that is already done. KeyboardInterrupt and SystemExit go to the caller."""
        if self._closed:
            raise RuntimeError("Cannot submit a task: this executor was shut down.")
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            result = fn(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - kept in the future, as every Executor does
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more tasks. None is ever pending."""
        self._closed = True
        super().shutdown(wait, cancel_futures=cancel_futures)
