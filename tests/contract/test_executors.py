"""Every executor keeps the contract; one class per executor."""

from concurrent.futures import Executor

from voltaloop.executors import InlineExecutor, LocalProcesses
from voltaloop.testing.executors import ExecutorContract


class TestLocalProcesses(ExecutorContract):
    def make_executor(
        self,
        *,
        task_timeout_s: float | None = None,
        memory_limit_GB: float | None = None,
        grace_s: float = 5.0,
    ) -> Executor:
        return LocalProcesses(
            workers=2,
            threads=self.threads,
            task_timeout_s=task_timeout_s,
            memory_limit_GB=memory_limit_GB,
            grace_s=grace_s,
        )


class TestLocalProcessesFreshForEachTask(ExecutorContract):
    def make_executor(
        self,
        *,
        task_timeout_s: float | None = None,
        memory_limit_GB: float | None = None,
        grace_s: float = 5.0,
    ) -> Executor:
        return LocalProcesses(
            workers=2,
            threads=self.threads,
            task_timeout_s=task_timeout_s,
            memory_limit_GB=memory_limit_GB,
            grace_s=grace_s,
            fresh_process_per_task=True,
        )


class TestInline(ExecutorContract):
    # Everything happens in the caller's own process, at once.
    separate_processes = False
    survives_crash = False
    limits_time = False
    limits_memory = False
    pins_threads = False
    bounds_shutdown = False

    def make_executor(
        self,
        *,
        task_timeout_s: float | None = None,  # noqa: ARG002 - cannot be limited here
        memory_limit_GB: float | None = None,  # noqa: ARG002 - cannot be limited here
        grace_s: float = 5.0,  # noqa: ARG002 - nothing is ever running at shutdown
    ) -> Executor:
        return InlineExecutor()
