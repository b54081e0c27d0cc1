"""Where the commands print."""

import sys

from rich.console import Console


def console(*, quiet: bool = False) -> Console:
    """For results; ``quiet`` drops colours and nothing else."""
    return Console(no_color=quiet or None, highlight=False)


def error_console() -> Console:
    """For errors and progress."""
    return Console(stderr=True, highlight=False)


def is_interactive(*, quiet: bool) -> bool:
    """Whether progress bars make sense here."""
    return sys.stderr.isatty() and not quiet
