"""Calls and their endings as bytes: what lies between caller and worker need not open them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from voltaloop.executors.errors import RemoteTraceback


def seal(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> bytes:
    """The call as bytes. Raises what pickling raises, which an argument's own methods may be."""
    return pickle.dumps((fn, args, kwargs), pickle.HIGHEST_PROTOCOL)


def failure(error: Exception, traceback_text: str = "") -> bytes:
    """The ending of a call that failed, with its traceback where it has one."""
    return pickle.dumps((False, (error, traceback_text)), pickle.HIGHEST_PROTOCOL)


def settle(future: Future[Any], ending: bytes) -> None:
    """Put how a sealed call ended into its future: the result, or the error with its traceback."""
    try:
        ok, content = pickle.loads(ending)  # noqa: S301 - from our own worker
    except Exception as error:  # noqa: BLE001 - a result's own __setstate__ may raise anything
        future.set_exception(error)
        return
    if ok:
        future.set_result(content)
        return
    failed, text = content
    if text:
        failed.__cause__ = RemoteTraceback(text)
    future.set_exception(failed)
