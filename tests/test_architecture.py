"""Imports run along the data flow drawn in docs/design.md, never back."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GROUND = ("errors", "records", "config")
STAGES = ("corpus", "kernel", "models", "findings", "diagnose", "report", "demo", "watch", "cli")


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names of everything the file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", modules("primitives"), ids=lambda p: str(p.relative_to(ROOT)))
def test_primitives_know_nothing_of_insights(path: Path) -> None:
    assert not {n for n in imported(path) if n == "insights" or n.startswith("insights.")}


@pytest.mark.parametrize("path", modules("insights"), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_along_the_flow(path: Path) -> None:
    parts = path.relative_to(ROOT / "insights").parts
    stage = parts[0].removesuffix(".py")
    used = {n.split(".")[1] for n in imported(path) if n.startswith("insights.")} - {"__version__"}
    if stage in GROUND:
        allowed = set(GROUND)
    elif stage in STAGES:
        allowed = {*GROUND, *STAGES[: STAGES.index(stage) + 1]}
    else:
        allowed = {*GROUND, *STAGES}
    assert used <= allowed, f"{path} imports {sorted(used - allowed)}, which come later in the flow"


def test_every_stage_of_the_flow_exists() -> None:
    folders = {p.name for p in (ROOT / "insights").iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert folders == set(STAGES)


def test_agents_hold_no_python() -> None:
    assert {p.suffix for p in (ROOT / "agents").rglob("*") if p.is_file()} == {".md"}


def test_importing_insights_is_cheap() -> None:
    heavy = "pandas duckdb pyarrow scipy sklearn anthropic openai numpy jupyter_client rich".split()
    code = f"import sys, insights; print([m for m in {heavy!r} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_command_line_starts_without_heavy_libraries() -> None:
    heavy = "pandas duckdb pyarrow scipy sklearn anthropic openai numpy jupyter_client".split()
    code = f"import sys; from insights.cli import load; load(); print([m for m in {heavy!r} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert shown.stdout.strip() == "[]"
