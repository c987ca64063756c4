"""Golden files: what a human reads, kept beside its test. `ACCEPT=1 pytest tests/report tests/cli` accepts every change."""

from __future__ import annotations

import os
from pathlib import Path


def assert_golden(path: Path, text: str) -> None:
    """`text` is what the file at `path` holds; with ACCEPT=1 in the environment it becomes so."""
    if os.environ.get("ACCEPT") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{path} does not exist yet: run with ACCEPT=1 and read it"
    assert text == path.read_text(encoding="utf-8"), f"{path} differs: read the change, then run with ACCEPT=1"
