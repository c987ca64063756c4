"""The README's tables are the registries'. `ACCEPT=1 pytest tests/test_readme.py` writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from insights.cli import load
from insights.corpus.formats import FORMATS
from primitives.catalogue import table

README = Path(__file__).resolve().parent.parent / "README.md"


def commands() -> str:
    group = typer.main.get_command(load())
    rows = [f"| `insights {name}` | {c.get_short_help_str(200)} |" for name, c in group.commands.items()]  # type: ignore[attr-defined]
    return "\n".join(["| command | what it does |", "|---|---|", *rows])


def formats() -> str:
    rows = [f"| {f.title} | `{f.name}` |" for f in sorted(FORMATS.values(), key=lambda f: f.title.lower()) if f.role == "trace"]
    return "\n".join(["| format | name for `--format` |", "|---|---|", *rows])


def verbs() -> str:
    return "\n".join(["| verb | what it does |", "|---|---|", *(f"| `{name}` | {line} |" for name, line in table())])


@pytest.mark.parametrize("name, render", [("commands", commands), ("formats", formats), ("verbs", verbs)])
def test_table_is_generated(name: str, render: Callable[[], str]) -> None:
    text = README.read_text(encoding="utf-8")
    block = f"<!-- {name} -->\n{render()}\n<!-- /{name} -->"
    if os.environ.get("ACCEPT") == "1":
        text = re.sub(rf"<!-- {name} -->.*?<!-- /{name} -->", lambda _: block, text, flags=re.S)
        README.write_text(text, encoding="utf-8")
    assert block in text, f"the table of {name} is out of date: ACCEPT=1 pytest tests/test_readme.py"


def test_cited_paths_exist() -> None:
    root = README.parent
    for guide in ("README.md", "AGENTS.md"):
        text = (root / guide).read_text(encoding="utf-8")
        for path in re.findall(r"`((?:docs|insights|primitives|tests|agents|benchmarks|configs)/[\w./-]+)`", text):
            assert (root / path).exists(), f"{guide} names {path}, which is not there"
