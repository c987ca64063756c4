"""What docs/commands.md and the README say of commands and of Python is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

import insights
from insights.cli import load

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = typer.main.get_command(load()).commands  # type: ignore[attr-defined]
ERRS = "SELECT trace_id, call_seq AS seq, error_message AS quote FROM tool_calls"
PAGES = ("README.md", "docs/commands.md", "docs/detectors.md", "docs/findings.md", "docs/models.md", "docs/agents.md")


def options(name: str) -> set[str]:
    return {o for p in COMMANDS[name].params for o in (*p.opts, *p.secondary_opts) if o.startswith("-")} | {
        "--help",
        "-h",
    }


def shown() -> list[tuple[str, str]]:
    """(where, words) of every `insights COMMAND …` in code of the pages and in help texts."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        code = re.findall(r"`(insights [^`\n]+)`", text)
        code += [line for block in re.findall(r"```(?:sh|bash)\n(.*?)```", text, re.S) for line in block.splitlines()]
        found += [(page, line) for line in code]
    for name, command in COMMANDS.items():
        found += [(name, line.split("   ")[0]) for line in (command.help or "").splitlines()]
    return [(where, m[1]) for where, line in found if (m := re.search(r"(?:^|\| |/)\s*(insights .*)", line))]


def test_options_that_are_shown_exist() -> None:
    assert len(shown()) > 60
    for where, line in shown():
        words = shlex.split(line.replace("[", " ").replace("]", " "), comments=True)
        if len(words) < 2 or words[1] not in COMMANDS:
            assert len(words) < 2 or words[1] in ("COMMAND", "--help"), f"{where}: {line}"
            continue
        given = {w.partition("=")[0] for w in words[2:] if re.match(r"--?[a-zA-Z]", w)}
        assert given <= options(words[1]), f"{where}: {line}"


def test_the_python_of_the_page_runs(corpus: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(code.replace("week.corpus", str(corpus)), {})
    out = capsys.readouterr().out
    assert "F1 confirmed" in out and ERRS in out and "success" in out
    assert insights.load(finished) == insights.load(str(finished / "findings.json")) == insights.load(corpus)
