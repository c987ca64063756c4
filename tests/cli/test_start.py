"""How the command starts, ends and fails."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from insights import cli
from insights.errors import InsightsError, UsageError

HEAVY = "pandas duckdb numpy scipy sklearn pyarrow anthropic openai nbformat jinja2 pydantic".split()
COMMANDS = typer.main.get_command(cli.load()).commands  # type: ignore[attr-defined]
GROUP = sys.executable, "-m", "insights"


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys; from insights.cli import main; main(['--help']); print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_is_quick() -> None:
    """0.3 s of the processor, so that a busy machine does not matter; the best of three."""
    assert min(_processor_seconds() for _ in range(3)) < 0.3


def _processor_seconds() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*GROUP, "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_shows_an_example(name: str, run) -> None:
    result = run(name, "--help")
    assert result.status == 0
    assert f"insights {name}" in result.out.split("\n", 1)[1]


def test_version(run) -> None:
    assert run("--version").out == f"insights {cli.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["sql", "only-one"], 2, "Missing argument"),
        (["info", "/nowhere"], 1, "/nowhere is no corpus: there is no traces.duckdb in it (make one: insights ingest"),
        (
            ["report", "/nowhere"],
            1,
            "/nowhere is neither a run nor a corpus (a run is a folder with findings.json in it)",
        ),
        (["compare", "/a", "/b"], 1, "/a is neither a run nor a corpus"),
    ],
)
def test_mistakes_are_told_on_stderr(run, arguments: list[str], status: int, says: str) -> None:
    result = run(*arguments)
    assert (result.status, result.out) == (status, "") and says in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (InsightsError("the thing at place", "do this"), 1, "insights: the thing at place (do this)\n"),
        (UsageError("not so"), 2, "insights: not so\n"),
        (KeyboardInterrupt(), 130, "insights: interrupted\n"),
        (RuntimeError("Query interrupted"), 130, "insights: interrupted\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/y"),
            1,
            "insights: the disk is full: /x/y (free some space",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 1, "insights: Permission denied: /x/y\n"),
        (typer.Exit(3), 3, ""),
    ],
)
def test_errors_become_a_line_and_a_status(run, monkeypatch, error: BaseException, status: int, says: str) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setitem(cli._fail.__globals__, "load", lambda: fail())
    result = run("info", "x")
    assert result.status == status and result.err.startswith(says) and result.err.count("\n") <= 1


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(cli, "load", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info", "x"])


def test_a_reader_that_leaves_early_is_no_error(corpus: Path) -> None:
    query = "SELECT repeat('x', 1000) FROM range(5000)"
    with subprocess.Popen(
        [*GROUP, "sql", str(corpus), query, "--format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_a_full_disk_on_stdout_is_told() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run([*GROUP, "doctor"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "the disk is full" in done.stderr and "Traceback" not in done.stderr


def test_output_that_is_no_terminal_has_no_colour(corpus: Path) -> None:
    environment = {**os.environ, "FORCE_COLOR": "", "NO_COLOR": "1"}
    done = subprocess.run(
        [*GROUP, "sql", str(corpus), "SELECT 1 AS a"], capture_output=True, text=True, check=True, env=environment
    )
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_documented(name: str) -> None:
    assert f"`insights {name}" in (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
