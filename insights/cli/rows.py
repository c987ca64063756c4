"""Rows of a file that says something of traces: CSV or TSV, JSON, JSON lines or Parquet, also packed (.gz, .zst)."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

from insights.errors import UsageError

KINDS = "CSV, TSV, JSON, JSON lines or Parquet"


def rows_of(file: Path, key: str) -> list[dict[str, Any]]:
    """The rows; `key` names the column of the keys of a JSON object such as {"task-1": true, "task-2": {"passed": false}}.

    Raises UsageError where the file cannot be read or holds no rows.
    """
    try:
        data = _unpacked(file)
    except (OSError, EOFError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}", f"give a {KINDS} file") from error
    rows = _parquet(data, file) if data[:4] == b"PAR1" else _text(data, file, key)
    if not rows:
        raise UsageError(f"{file} holds no rows", f"give a {KINDS} file with a row for each trace")
    return rows


def _unpacked(file: Path) -> bytes:
    data = file.read_bytes()
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    return data


def _parquet(data: bytes, file: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_table(pa.BufferReader(data)).to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{file} is no Parquet that can be read: {error}", "write it again") from error


def _text(data: bytes, file: Path, key: str) -> list[dict[str, Any]]:
    coding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(coding)
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} cannot be read: {error}", f"give a {KINDS} file in UTF-8") from error
    if text.lstrip()[:1] in ("{", "["):
        return _json(text, file, key)
    first = text.partition("\n")[0]
    mark = max("\t;,", key=first.count) if any(m in first for m in "\t;,") else ","
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=mark))
    except csv.Error as error:
        raise UsageError(f"{file} is no CSV: {error}", f"give a {KINDS} file") from error
    for i, row in enumerate(rows, 2):
        if None in row:
            raise UsageError(
                f"{file}: row {i} has more cells than the first line has names", "quote cells with commas in them"
            )
    return [{str(name).strip(): value for name, value in row.items()} for row in rows]


def _json(text: str, file: Path, key: str) -> list[dict[str, Any]]:
    try:
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            if error.msg != "Extra data":
                raise
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is no JSON of objects: {error}", f"give a {KINDS} file") from error
    if isinstance(value, dict):
        value = _listed(value, key)
    wrong = next((row for row in value if not isinstance(row, dict)), None)
    if wrong is not None:
        raise UsageError(f"{file} is no JSON of objects: it holds {str(wrong)[:80]!r}", f"give a {KINDS} file")
    return list(value)


def _listed(value: dict[str, Any], key: str) -> list[Any]:
    """The rows of an object: itself, the one list of objects in it, or what it says of each of its keys."""
    if key in value:
        return [value]
    lists = [v for v in value.values() if isinstance(v, list) and v and all(isinstance(row, dict) for row in v)]
    if len(lists) == 1:
        return list(lists[0])
    if all(isinstance(v, dict) for v in value.values()):
        return [{key: name, **row} for name, row in value.items()]
    if all(isinstance(v, bool) for v in value.values()):
        return [{key: name, "success": passed} for name, passed in value.items()]
    if all(isinstance(v, int | float) for v in value.values()):
        return [{key: name, "score": score} for name, score in value.items()]
    return [value]
