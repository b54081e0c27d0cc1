"""The program ``voltaloop``: commands are found here, and errors become exit codes."""

from __future__ import annotations

import errno
import logging
import sys
from typing import Annotated, NoReturn

import typer

from voltaloop.cli import (
    check,
    compare,
    export,
    init,
    plot,
    quarantine,
    report,
    run,
    schema,
    status,
    tune,
    validate,
)
from voltaloop.cli.output import error_console

EXIT_BAD_INPUT = 2

DISK_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
"""What keeps a report or an export from being written and is no defect of the program."""

app = typer.Typer(
    name="voltaloop",
    help="Closed-loop discovery of battery materials, unattended, to answers with error bars.\n\n"
    "Start with: voltaloop init NAME, then voltaloop run NAME.yaml.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("init")(init.init)
app.command("validate")(validate.validate)
app.command("check")(check.check)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("compare")(compare.compare)
app.command("tune")(tune.tune)
app.command("quarantine")(quarantine.quarantine)
app.command("report")(report.report)
app.command("plot")(plot.plot)
app.command("export")(export.export)
app.command("schema")(schema.schema)


def _print_version(wanted: bool) -> None:
    if wanted:
        from voltaloop import __version__

        typer.echo(f"voltaloop {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


def main() -> None:
    """Run the program; an error meant for the user is one clear text and exit code 2."""
    from voltaloop.core.errors import VoltaloopError

    try:
        app()
    except VoltaloopError as err:
        _refuse(str(err))
    except OSError as err:
        if err.errno not in DISK_TROUBLE:
            raise
        _refuse(f"{err.strerror}: {err.filename or 'the disk that was written to'}")


def _refuse(text: str) -> NoReturn:
    error_console().print(f"[bold red]Error:[/] {_escaped(text)}", soft_wrap=True)
    sys.exit(EXIT_BAD_INPUT)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
