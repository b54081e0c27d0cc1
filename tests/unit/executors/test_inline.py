import sys
import threading

import pytest

from voltaloop.executors import InlineExecutor


def test_a_task_is_done_when_submit_returns_and_ran_in_this_thread() -> None:
    future = InlineExecutor().submit(threading.get_ident)
    assert future.done()
    assert future.result() == threading.get_ident()


def test_ctrl_c_and_exit_reach_the_caller() -> None:
    with pytest.raises(SystemExit):
        InlineExecutor().submit(sys.exit, 2)
