"""What a file looks like from outside: its head, its tail, and the first JSON values as far as they go."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from insights.corpus import parse, tables

HEAD_BYTES = 65_536  # unit: bytes; enough for the structural keys of every known format
TAIL_BYTES = 8_192
CLOSES = {b"{": b"}", b"[": b"]", b'"': b'"'}
LONGEST_LINE = 64 << 20  # unit: bytes; a longer first line is taken for a document
MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "parquet",
    b"SQLite format 3\x00": "sqlite",
    b"ARROW1": "arrow",
    b"\xff\xff\xff\xff": "arrow",
    b"\x80\x04": "pickle",
    b"\x80\x05": "pickle",
    b"\x80\x02": "pickle",
    b"\x80\x03": "pickle",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x93NUMPY": "numpy",
    b"GIF8": "image",
    b"\x7fELF": "program",
    b"version https://git-lfs": "lfs_pointer",
    b"\x89PNG": "image",
    b"\xff\xd8\xff": "image",
    b"%PDF": "pdf",
}


EACH, TABLE = "*", "#"
MOST_LISTS = 3  # in a document that is taken for a wrapper around one of them


def named(name: str, value: Any) -> Any:
    """A record that stands under its id in a document, with that id."""
    held = {"messages": value} if isinstance(value, list) else value
    return {"id": name, **held} if isinstance(held, dict) else held


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


@dataclass
class Head:
    """`path` is where the bytes are; `name` is the file's name as the user knows it, with forward slashes."""

    path: Path
    name: str
    size: int
    head: bytes
    tail: bytes
    magic: str | None = field(default=None)
    inside: str | None = None  # where the records stand: the key of a list in the document, EACH of its values, a TABLE

    @cached_property
    def text(self) -> str:
        return parse.decode(self.head)[0]

    @cached_property
    def tail_text(self) -> str:
        return parse.decode(self.tail)[0]

    @cached_property
    def lines(self) -> list[Any]:
        """Parsed values of the first complete lines where at least half of those that open like JSON are JSON; else [].

        A pretty-printed document has lines such as `[]` too, but most of its lines are no values.
        """
        rows = self.head.split(b"\n")
        whole = rows if self.size <= len(self.head) else rows[:-1]
        values, broken, first_broken = [], 0, False
        for i, row in enumerate([r.strip().removeprefix(b"\xef\xbb\xbf") for r in whole if r.strip()][:60]):
            if row[-1:] != CLOSES.get(row[:1]):  # most lines of a pretty-printed document: not worth a parser
                opens = row[:1] in (b"{", b"[")
                broken += opens
                first_broken = first_broken or (opens and i == 0)
                continue
            try:
                value = parse.loads(row)[0]
                if isinstance(value, str):  # a line that holds JSON in a JSON string
                    value = parse.loads(value.encode())[0]
            except parse.Unparseable:
                opens = row[:1] in (b"{", b"[")
                broken += opens
                first_broken = first_broken or (opens and i == 0)
                continue
            if isinstance(value, (dict, list)):
                values.append(value)
        return values if len(values) >= broken + first_broken else []

    @cached_property
    def doc(self) -> Any:
        """The first JSON value of the file as far as the head goes; None where the file is not JSON."""
        if self.magic or self.head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
            return None
        if self.size <= len(self.head):
            try:
                return parse.loads(self.head)[0]
            except parse.Unparseable:
                pass
        return parse.prefix(self.head.removeprefix(b"\xef\xbb\xbf"))

    @cached_property
    def is_jsonl(self) -> bool:
        """JSON values on lines of their own: two or more, or the first line and more after it, or the only one of a *.jsonl."""
        if len(self.lines) > 1:
            return True
        if len(self.lines) == 1:
            rows = [r.strip() for r in self.head.split(b"\n") if r.strip()]
            goes_on = len(rows) > 1 and rows[0].removeprefix(b"\xef\xbb\xbf")[:1] in (b"{", b"[", b'"')
            return goes_on or self.name.endswith((".jsonl", ".ndjson"))
        return self._first_line_is_huge

    @cached_property
    def _first_line_is_huge(self) -> bool:
        """Whether the head is the beginning of one long line that is a JSON value and is not the whole file."""
        if self.magic or self.size <= len(self.head) or b"\n" in self.head.strip():
            return False
        with self.path.open("rb") as file:
            line = file.readline(LONGEST_LINE)
            more = file.read(4096).strip()
        if not line.endswith(b"\n") or not more:
            return False
        bare = line.strip().removeprefix(b"\xef\xbb\xbf")
        if more[:1] in CLOSES and bare[-1:] == CLOSES.get(bare[:1]):
            return True  # it may yet be nested too deeply to be read, which must not cost the lines behind it
        try:
            parse.loads(bare)
        except parse.Unparseable:
            return False
        return True

    @cached_property
    def records(self) -> list[Any]:
        """The first records whatever the container: lines (and items of lines that are lists), items, or the document."""
        if self.inside == TABLE:
            return tables.first_rows(self.path, self.magic)
        if self.inside == EACH:
            return [named(k, v) for k, v in self.doc.items()]
        if self.inside:
            return list(self.doc[self.inside])
        if self.is_jsonl and self.lines:
            return [item for line in self.lines for item in (line if isinstance(line, list) else [line])]
        if isinstance(self.doc, list):
            return self.doc
        return [] if self.doc is None else [self.doc]

    @cached_property
    def first(self) -> dict[str, Any]:
        """The first record that is an object, or {}."""
        return next((r for r in self.records if isinstance(r, dict)), {})

    def containers(self) -> list[str]:
        """Where else the records may stand: lists inside the document, its values, the rows of a table."""
        if self.magic == "parquet" or (self.magic is None and tables.is_csv(self.name, self.text)):
            return [TABLE]
        doc = None if self.is_jsonl else self.doc
        if not isinstance(doc, dict) or "role" in doc:
            return []
        lists = [k for k, v in doc.items() if isinstance(v, list) and v and isinstance(v[0], (dict, list))]
        alike = all(isinstance(v, dict) for v in doc.values()) or all(_is_list(v) for v in doc.values())
        return [*([EACH] if alike and len(doc) > 1 else []), *(lists if len(lists) <= MOST_LISTS else [])]

    def look_inside(self, where: str | None) -> None:
        """Take the records from there."""
        self.inside = where
        for name in ("records", "first"):
            self.__dict__.pop(name, None)

    def tail_has(self, *keys: str) -> bool:
        """Whether each `"key"` stands in the head or the tail of the file."""
        return all(f'"{k}"'.encode() in self.tail or f'"{k}"'.encode() in self.head for k in keys)


def look(path: Path, name: str) -> Head:
    """Read head and tail of a file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = tail = file.read(HEAD_BYTES)
        if size > len(head):
            file.seek(size - TAIL_BYTES, os.SEEK_SET)
            tail = file.read(TAIL_BYTES)
    tail = tail[-TAIL_BYTES:]
    magic = next((kind for start, kind in MAGIC.items() if head.startswith(start)), None)
    if magic is None and head[257:262] == b"ustar":
        magic = "tar"
    return Head(path, name, size, head, tail, magic)
