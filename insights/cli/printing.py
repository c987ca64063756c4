"""Data on stdout: tables for reading, and JSON, CSV and Markdown for programs and documents.

What a trace holds is hostile: for reading it goes through `safe`, so that no control or hidden character reaches a
terminal; JSON escapes control characters itself, CSV is the text as it is but for formulas. Secrets are masked in every style.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from insights.report.escape import cell as markdown_cell
from insights.report.escape import unsecret
from insights.report.escape import visible as safe

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of one
CELL_CHARS = 200  # of one cell of a table for reading; json and csv give the whole text


def say(text: str) -> None:
    """A remark for the person at the terminal; never data."""
    print(safe(text), file=sys.stderr)


def plain(value: Any) -> Any:
    """A value of DuckDB, pandas or numpy as JSON can hold it: times as ISO 8601, NaN as null, bytes as hex."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return None if value != value else value.isoformat()  # pandas' NaT is a datetime that equals nothing
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return str(value)


def print_json(value: Any) -> None:
    print(json.dumps(unsecret(plain(value)), ensure_ascii=False, indent=2))


def print_rows(names: Sequence[str], rows: Iterable[Sequence[Any]], style: str) -> None:
    """Rows in one of the styles pretty, json, md, csv; json, md and csv are written as the rows come."""
    columns = _distinct(names)
    if style == "json":
        _write_json(columns, rows)
    elif style == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([for_spreadsheet(_cell(unsecret(plain(v)))) for v in row] for row in rows)
    elif style == "md":
        print("| " + " | ".join(markdown_cell(c) for c in columns) + " |")
        print("|" + " --- |" * len(columns))
        for row in rows:
            print("| " + " | ".join(markdown_cell(_cell(v)) for v in row) + " |")
    else:
        _print_table(columns, rows)


def _distinct(names: Sequence[str]) -> list[str]:
    """Column names made distinct, so that no column of a JSON object hides another."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        n = seen.get(name, 0)
        seen[name] = n + 1
        out.append(f"{name}_{n}" if n else name)
    return out


def _write_json(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    lines = (json.dumps(unsecret(dict(zip(columns, map(plain, row), strict=True))), ensure_ascii=False) for row in rows)
    first = next(lines, None)
    if first is None:
        print("[]")
        return
    sys.stdout.write("[\n" + first)
    for line in lines:
        sys.stdout.write(",\n" + line)
    sys.stdout.write("\n]\n")


def _cell(value: Any) -> str:
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def for_spreadsheet(text: str) -> str:
    """The text with an apostrophe before what a spreadsheet would run as a formula; numbers stay numbers."""
    if not text.startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [list(row) for row in rows]
    for i, name in enumerate(columns):
        numeric = all(
            v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in (r[i] for r in shown)
        )
        table.add_column(Text(name), justify="right" if numeric and shown else "left", overflow="fold")
    for row in shown:
        table.add_row(*(Text(_readable(v)) for v in row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _natural_width(columns, shown))
    console.print(table)


def _readable(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:,.4g}"
    text = " ".join(safe(_cell(value)).split())
    return text if len(text) <= CELL_CHARS else f"{text[: CELL_CHARS - 1]}…"


def _natural_width(columns: Sequence[str], rows: list[list[Any]]) -> int:
    """Wide enough that a pipe or a file gets one line a row."""
    widths = [max([len(name), *(len(_readable(row[i])) for row in rows)]) for i, name in enumerate(columns)]
    return sum(widths) + 2 * len(widths) + 1


def batches(cursor: Any, size: int = 2000) -> Iterator[tuple[Any, ...]]:
    """The rows of a DuckDB result without holding all of them."""
    while chunk := cursor.fetchmany(size):
        yield from chunk
