"""The command line: one file per command."""

from voltaloop.cli.app import main

__all__ = ["main"]
