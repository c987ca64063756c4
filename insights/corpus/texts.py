"""The texts of a source as they stand in the file, all of them or a sample spread over it, whatever its kind.

A small file is taken whole. Of a larger one what begins in evenly spaced windows is taken: JSON is read there from the first
key on, by its quotes alone, so that neither the size of the document nor that of its strings matters; such a text is named
by its key, where a whole document gives the path. Parquet and SQLite give rows, an Inspect archive the heads of members.
"""

from __future__ import annotations

import mmap
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from insights.corpus import parse, tables
from insights.corpus.formats.python_repr import literal
from insights.corpus.parse import is_text
from insights.corpus.sniff import TABLE
from insights.corpus.source import Source

WINDOW = 16_384  # unit: bytes of a large file in which texts begin that are looked for
LONGEST = 16 << 20  # unit: bytes of a string; the rest of a window is passed over behind a longer one
DEEPEST = 64  # unit: levels of values within values
ROWS = 64  # of a table, read at each of its places
KEY = re.compile(rb'(?<=[{,])\s*"[\w.:/$@ -]{1,80}"\s*:')
STRING = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.S)
FIELD = re.compile(r'\b\w+="([^"\\]*(?:\\.[^"\\]*)*)"')  # of a line of a log: key="value"
WRITTEN = ("{'", "[{", "['", "ro")  # how Python's str() of a mapping, a list or a message begins
COLON = re.compile(rb"\s*:")
MARKS = re.compile(r"^(?:\s*\d+(?:→|\t)|[#>*\-\s]+|\[?\w[\w ()-]{0,30}\]?:\s+)+")  # of transcripts and `cat -n`


@dataclass
class Sample:
    """(path, text) pairs, and the share of the source, by bytes or rows, in which they were looked for."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    share: float = 1.0
    by_line: bool = False  # the texts are lines


def sample(source: Source, most: int) -> Sample:
    """The texts of at most about `most` bytes of a source; none where its kind is not known."""
    head = source.head
    if head.inside == TABLE and head.magic is None:
        return _csv_sample(source.path, head.size, most)
    if head.magic in TABLES:
        return TABLES[head.magic](source.path, most)
    if head.magic is not None:
        return Sample()
    is_json = head.is_jsonl or isinstance(head.doc, (dict, list))
    if not is_json:
        return Sample(list(_lines(source.path, head.size, most)), min(1.0, most / max(head.size, 1)), by_line=True)
    if head.size <= most and (values := _whole(source)) is not None:
        return Sample([pair for value in values for pair in strings(value)])
    return _windows(source.path, head.size, most)


def strings(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """(path with [] for list items, text) of every text in a value, also in JSON that stands in a string."""
    if isinstance(value, str):
        if value[:1] in ("{", "[", '"') and depth < DEEPEST:
            try:
                inner = parse.loads(value.encode("utf-8", "replace"))[0]
            except parse.Unparseable:
                inner = None
            if isinstance(inner, (dict, list, str)) and inner != value:
                yield from strings(inner, path, depth + 1)
                return
        if value[:2] in WRITTEN and depth < DEEPEST and (written := literal(value)) is not None:
            yield from strings(written, path, depth + 1)
            return
        text = value.strip()
        if is_text(text):
            yield path, text
    elif isinstance(value, dict) and depth < DEEPEST:
        for key, inner in value.items():
            yield from strings(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, (list, tuple)) and depth < DEEPEST:
        for inner in value:
            yield from strings(inner, f"{path}[]", depth + 1)


def lines(text: str) -> Iterator[str]:
    """The lines of a text without the marks of a transcript."""
    for line in text.splitlines():
        bare = MARKS.sub("", line).strip()
        if is_text(bare):
            yield bare


def _csv_sample(path: Path, size: int, most: int) -> Sample:
    """The texts of the first rows of a CSV file."""
    found, seen = Sample(), 0
    for row in tables.rows(path, None):
        found.texts.extend(strings(row))
        seen += sum(len(str(v)) + 1 for v in row.values())
        if seen > most:
            found.share = min(1.0, most / size)
            break
    return found


def _whole(source: Source) -> list[Any] | None:
    """Every value of a JSON file; None where it is not read at one go."""
    data = source.path.read_bytes()
    if not source.head.is_jsonl:
        try:
            return [parse.loads(data)[0]]
        except parse.Unparseable:
            return None
    values = []
    for line in data.split(b"\n"):
        try:
            values.append(parse.loads(line.strip())[0] if line.strip() else None)
        except parse.Unparseable:
            continue  # told by the reader
    return values


def _starts(size: int, most: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the windows."""
    n = max(1, min(most, size) // WINDOW)
    yield from ((size * i // n, min(size * i // n + WINDOW, size)) for i in range(n))


def _windows(path: Path, size: int, most: int) -> Sample:
    found = Sample(share=min(1.0, most / size))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 0
        for start, end in _starts(size, most):
            for key, text, ended in _from_first_key(data, max(at, start), end):
                found.texts.extend(strings(text, key))
                at = ended  # of a long string in a later window
    return found


def _from_first_key(data: Any, start: int, end: int) -> Iterator[tuple[str, str, int]]:
    """(key, string, where it ends) of the strings that begin between `start` and `end`, from the first key on."""
    first = KEY.search(data, max(start - 1, 0), end)
    at, key = (first.start() if first else end), ""
    while at < end:
        quote = data.find(b'"', at, end)
        match = STRING.match(data, quote, min(quote + LONGEST, len(data))) if quote >= 0 else None
        if match is None:
            return
        at = match.end()
        try:
            text = orjson.loads(match[0])
        except orjson.JSONDecodeError:
            continue
        if COLON.match(data, at, at + 32):
            key = text
        else:
            yield f"… {key}", text, at


def _lines(path: Path, size: int, most: int) -> Iterator[tuple[str, str]]:
    """(nothing, line) of a text, or of windows on it without the lines they cut."""
    with path.open("rb") as file:
        for start, end in [(0, size)] if size <= most else _starts(size, most):
            file.seek(start)
            data = file.read(end - start)
            if start:
                data = data.partition(b"\n")[2]
            if end < size:
                data = data.rpartition(b"\n")[0]
            for line in lines(parse.decode(data)[0]):
                quoted = FIELD.findall(line)
                yield from strings(quoted if len(quoted) > 1 else line)


def _parquet(path: Path, most: int) -> Sample:
    import pyarrow.parquet as pq

    found, rows, size = Sample(), 0, 0
    with pq.ParquetFile(path) as file:
        groups, total = file.num_row_groups, file.metadata.num_rows
        for i in _spread(groups, 16):
            for batch in file.iter_batches(ROWS, row_groups=[i]):
                rows, size = rows + batch.num_rows, size + batch.nbytes
                for row in batch.to_pylist():
                    found.texts.extend(strings(row))
                if size > most or groups > 1:
                    break
            if size > most:
                break
    found.share = rows / total if total else 1.0
    return found


def _sqlite(path: Path, most: int) -> Sample:
    """Rows of every table; a database that another program holds is left alone."""
    found, read, total = Sample(), 0, 0
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as con:
            tables = [name for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                quoted = table.replace('"', '""')
                n = con.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()[0]
                step = max(1, n * len(tables) * 1000 // max(most, 1))  # a row is taken for a kilobyte
                rows = con.execute(f'SELECT * FROM (SELECT *, row_number() OVER () AS nth_ FROM "{quoted}") WHERE nth_ % ? = 0', (step,))  # fmt: skip
                names = [column[0] for column in rows.description]
                for row in rows:
                    read += 1
                    found.texts.extend(strings(dict(zip(names, row, strict=True)), table))
                total += n
    except sqlite3.Error:
        return Sample()
    found.share = read / total if total else 1.0
    return found


def _archive(path: Path, most: int) -> Sample:
    """The heads of members of an Inspect archive."""
    from insights.corpus.formats.inspect_archive import Unreadable, members, opened

    inside = [m for m in members(path)[0] if m.name.endswith(".json")]
    if any(m.name.startswith("samples/") for m in inside):  # what else is there tells the same again, shortened
        inside = [m for m in inside if m.name.startswith("samples/") or m.name == "header.json"]
    found, read, total = Sample(), 0, sum(m.size for m in inside)
    chosen = [inside[i] for i in _spread(len(inside), max(1, most // WINDOW))]
    for member in chosen:
        try:
            with opened(path, member) as stream:
                data = stream.read(max(most // len(chosen), WINDOW))
        except Unreadable:
            continue  # told by the reader
        read += len(data)
        for key, text, _ in _from_first_key(data, 0, len(data)):
            found.texts.extend(strings(text, f"{member.name.partition('/')[0]} {key}"))
    found.share = min(1.0, read / total) if total else 1.0
    return found


def _spread(n: int, most: int) -> list[int]:
    """At most `most` of the numbers below n, evenly."""
    return list(range(0, n, max(1, -(-n // most))))


TABLES = {"parquet": _parquet, "sqlite": _sqlite, "zip": _archive}
