"""Sources promise objects and deliver anything: no reader may raise because a value is not what its key says.

Every value in the small files of `data/` is replaced, one at a time, by values of other kinds, and the file read again.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from insights.corpus.batch import Builder
from insights.corpus.formats import recognise
from insights.corpus.formats.chat import timestamp
from insights.corpus.source import Source

DATA = Path(__file__).parent / "data"
WRONG: tuple[Any, ...] = (None, True, -3, "no such thing", ["x", 1, None], {"x": 1})
FILES = sorted(p for p in DATA.rglob("*") if p.suffix in (".json", ".jsonl", ".traj", ".pred"))


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*at, key)
        yield from _places(inner, (*at, key))


def _with(value: Any, place: tuple[Any, ...], wrong: Any) -> Any:
    changed = copy.deepcopy(value)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = wrong
    return changed


def _read_all(root: Path) -> None:
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        source = Source(path, path.relative_to(root).as_posix(), root)
        found = recognise(source.head)
        if found is not None and found[0].role == "trace":
            list(Builder().read(found[0].read(source), source.source_id))


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.relative_to(DATA).as_posix())
def test_no_reader_raises_on_a_value_of_another_kind(file: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(DATA / file.relative_to(DATA).parts[0], root)
    target = root / file.relative_to(DATA / file.relative_to(DATA).parts[0])
    lines = file.suffix == ".jsonl"
    text = file.read_text(encoding="utf-8")
    value = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    for i, place in enumerate(_places(value)):
        changed = _with(value, place, WRONG[i % len(WRONG)])
        target.write_text("\n".join(map(json.dumps, changed)) if lines else json.dumps(changed), encoding="utf-8")
        try:
            _read_all(root)
        except Exception as error:
            raise AssertionError(f"{place} = {WRONG[i % len(WRONG)]!r} made a reader raise {error!r}") from error


def test_times_that_no_calendar_has_are_no_times() -> None:
    for value in (1e300, 10**399, "9" * 400, -1, True, "0000-00-00", "2026-02-30T25:61:61"):
        assert timestamp(value) is None
    assert timestamp("0001-01-01T00:00:00+05:00") == datetime(1, 1, 1, tzinfo=UTC)
    assert timestamp("9999-12-31T23:59:59-05:00") == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
