"""Rows of CSV files as records, for the formats whose exports come as CSV or Parquet too."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source

LONGEST_CELL = 1 << 28  # unit: characters of one CSV cell
COMMAS = 4  # in the first line of a file that is taken for CSV


def header(head: Head) -> list[str]:
    """The columns of a CSV or Parquet file; [] for other files."""
    if head.magic == "parquet":
        import pyarrow.parquet as pq

        try:
            return [str(n) for n in pq.read_schema(head.path).names]
        except (OSError, ValueError):
            return []
    first = head.text.split("\n", 1)[0]
    if head.magic or first[:1] in ("{", "[") or first.count(",") < COMMAS:
        return []
    return next(csv.reader([first]), [])


def csv_rows(source: Source) -> Iterator[Record]:
    """The rows as objects without their empty cells."""
    csv.field_size_limit(LONGEST_CELL)
    with source.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        for i, row in enumerate(csv.DictReader((line.replace("\0", "\ufffd") for line in file), restkey="_rest")):
            source.n_records += 1
            yield Record({k: v for k, v in row.items() if v != ""}, pointer=f"/{i}")
