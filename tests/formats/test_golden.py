"""One small file (or folder) of our own for every format, and what its reader makes of it.

`data/<format>/` is a root as a user would name it; `golden/<format>.txt` lists every source of it with what it was taken
for, its issues and its traces. `ACCEPT=1 pytest tests/formats/test_golden.py` accepts a change.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from insights.corpus.formats import FORMATS, recognise
from insights.corpus.source import Source
from tests.formats.describe import describe
from tests.golden import assert_golden

HERE = Path(__file__).parent
FOLDERS = sorted(p.name for p in (HERE / "data").iterdir() if p.is_dir())


def _read(root: Path) -> str:
    said = []
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        source = Source(path, path.relative_to(root).as_posix(), root)
        found = recognise(source.head)
        if found is None:
            said.append(f"== {source.name}: not recognised\n")
            continue
        known, sure = found
        traces = list(known.read(source)) if known.role == "trace" else []
        for t in traces:
            t.finish("source")
        said.append(f"== {source.name}: {known.name}, {known.role}, {sure}\n")
        said += [f"issue {i.severity} {i.code}: {i.detail}\n" for i in source.issues]
        said += [describe(t) for t in traces]
    return "".join(said)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_reader_makes_the_same_of_its_format(name: str) -> None:
    assert_golden(HERE / "golden" / f"{name}.txt", _read(HERE / "data" / name))


@pytest.mark.parametrize("name", FOLDERS)
def test_the_format_of_a_folder_is_what_its_name_says(name: str) -> None:
    assert name in FORMATS
    assert f": {name}, trace, " in (HERE / "golden" / f"{name}.txt").read_text(encoding="utf-8")


def test_every_format_that_is_read_has_an_example() -> None:
    assert sorted(name for name, known in FORMATS.items() if known.role == "trace" and name not in FOLDERS) == []
