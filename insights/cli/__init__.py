"""The command line: one file per group of commands, heavy libraries imported inside the commands.

A group is a module of this package that decorates its functions with `@app.command()`; name it in GROUPS, in
the order in which help lists it. A command prints data on stdout and progress on stderr, raises InsightsError
for what a user can mend and `typer.Exit(status)` for a status other than 0:

    0 done      1 failed, or the gate did not pass      2 usage      3 inconclusive      130 interrupted
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from contextvars import copy_context

import typer

from insights import __version__
from insights.errors import InsightsError

GROUPS = ("ask", "demo", "ingest", "label", "read", "run", "detect", "doctor")
DUCKDB_INTERRUPTED = "Query interrupted"  # a RuntimeError: what Ctrl-C becomes while DuckDB works

app = typer.Typer(
    name="insights",
    help="Diagnose AI agents from their traces: what fails, how often, where to see it, and what to change.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"insights {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def load() -> typer.Typer:
    """The application with every group of commands registered."""
    for group in GROUPS:
        importlib.import_module(f"insights.cli.{group}")
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Errors that a user can mend are one line on stderr."""
    try:
        copy_context().run(_invoke, list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except typer.Exit as exit:
        return exit.exit_code
    except BrokenPipeError:
        # The reader of our output has had enough; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except Exception as error:
        return _interrupted() if str(error) == DUCKDB_INTERRUPTED else _fail(error)
    return 0


def _interrupted() -> int:
    print("insights: interrupted", file=sys.stderr)
    return 130


def _invoke(arguments: list[str]) -> None:
    """Run one command in a context of its own: what an option sets holds for that command."""
    command = typer.main.get_command(load())
    with command.make_context("insights", arguments) as context:
        command.invoke(context)


def _fail(error: Exception) -> int:
    """Say what went wrong in one line and give the exit status; a defect of ours is raised again with its traceback."""
    if isinstance(error, typer.TyperException):
        show = getattr(error, "show", None)
        if show:
            show()
        else:
            print(f"insights: {error.message}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, InsightsError):
        message, status = str(error), error.exit_status
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        message, status = f"the disk is full{_at(error)} (free some space and run the same command again)", 1
    elif isinstance(error, OSError) and error.filename:
        message, status = f"{error.strerror or error}{_at(error)}", 1
    elif type(error).__module__.startswith("primitives."):
        message, status = str(error), 1
    else:
        raise error
    from insights.report.escape import visible

    print(visible(f"insights: {message}"), file=sys.stderr)
    return status


def _at(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ""
