"""Tables as records: CSV with a line of names, Parquet. A cell that is JSON in text counts by its value."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from insights.corpus import parse

FIRST = 60  # rows looked at
ROWS = 256  # rows of a Parquet file held at a time
LONGEST_CELL = 1 << 28  # unit: characters of one CSV cell
SEPARATORS = {".csv": ",", ".tsv": "\t"}


def is_csv(name: str, text: str) -> bool:
    """Whether a file is a table of several columns, by its name and first line."""
    separator = SEPARATORS.get(Path(name).suffix.lower())
    return separator is not None and separator in text.split("\n", 1)[0]


def first_rows(path: Path, magic: str | None) -> list[dict[str, Any]]:
    try:
        return list(islice(rows(path, magic), FIRST))
    except (OSError, ValueError, csv.Error):
        return []


def rows(path: Path, magic: str | None) -> Iterator[dict[str, Any]]:
    """The rows as objects without their empty cells."""
    if magic == "parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS):
                yield from (_row(row) for row in batch.to_pylist())
        return
    csv.field_size_limit(LONGEST_CELL)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = (line.replace("\0", "\ufffd") for line in file)
        separator = SEPARATORS.get(path.suffix.lower(), ",")
        yield from (_row(row) for row in csv.DictReader(lines, restkey="_rest", delimiter=separator))


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {k: _value(v) for k, v in row.items() if v is not None and v != ""}


def _value(cell: Any) -> Any:
    if not isinstance(cell, str) or cell[:1] not in ("{", "["):
        return cell
    try:
        return parse.loads(cell.encode("utf-8", "replace"))[0]
    except parse.Unparseable:
        return cell
