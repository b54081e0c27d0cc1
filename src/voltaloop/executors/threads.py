"""How many threads the numerical libraries of a process may start."""

import os

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Read once by the libraries, when they load; setting them later has no effect."""


def thread_environment(threads: int) -> dict[str, str]:
    """Environment variables that hold the numerical libraries to ``threads`` threads.

    Raises ValueError unless ``threads`` is a positive whole number.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads: expected a whole number of 1 or more, got {threads!r}.")
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def pin_threads(threads: int) -> None:
    """Hold this process to ``threads`` threads. Call it before numpy or torch is imported."""
    os.environ.update(thread_environment(threads))
