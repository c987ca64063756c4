"""One file (or archive member) of traces, as its reader sees it: records with their place, and a book of issues."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from insights.corpus import parse, tables
from insights.corpus.sniff import EACH, TABLE, Head, look, named

T = TypeVar("T")
SUFFIXES = re.compile(r"(?:\.(?:jsonl?|ndjson|traj|eval|md|txt|log|csv|ya?ml|html|parquet|arrow|gz|zst|zip))+$", re.I)
READ_BYTES = 1 << 20  # unit: bytes read at a time of a file of lines, which are often longer than Python's 8 kB
REPAIRS = {
    "invalid_utf8": "bytes that are not UTF-8 were replaced by U+FFFD",
    "text_sanitised": "what cannot be stored was replaced: NUL and half surrogates by U+FFFD, NaN and infinities by NULL",
    "double_encoded": "JSON inside a JSON string was read as JSON",
}
STREAM_ABOVE = 48 << 20  # unit: bytes; a single JSON document larger than this is streamed, not held whole


@dataclass(frozen=True, slots=True)
class Issue:
    """Something lost, repaired or odd, with its place. `severity` is info, warning or error."""

    code: str
    severity: str
    detail: str
    offset: int | None = None
    trace_id: str | None = None
    seq: int | None = None
    n: int = 1


@dataclass(frozen=True, slots=True)
class Record:
    """A parsed JSON value and its place: bytes `offset`..`offset+length` in line formats, else a JSON `pointer`."""

    value: Any
    offset: int | None = None
    length: int | None = None
    pointer: str | None = None


@dataclass
class Source:
    """`path` holds the bytes; `uri` and `member` name them for people; `root` is the folder nothing may leave."""

    path: Path
    uri: str
    root: Path
    member: str | None = None
    issues: list[Issue] = field(default_factory=list)
    n_records: int = 0
    n_bad: int = 0
    truncated: bool = False
    measured: int = 0  # unit: bytes of it whose text is looked for in its traces (see loss)
    fields: Mapping[str, str] = field(default_factory=dict)  # what the user said (`--map`): role=author, text=body …
    also: tuple[Source, ...] = ()  # files that go on with this one's traces and are read with it (see joining)

    @cached_property
    def head(self) -> Head:
        return look(self.path, self.name)

    @property
    def name(self) -> str:
        """Path below the root, with forward slashes; the member's name inside an archive."""
        if self.member:
            return self.member
        try:
            return self.path.relative_to(self.root).as_posix()
        except ValueError:
            return self.path.name

    @property
    def stem(self) -> str:
        """The file's name without what only says its type: `qwen2.5-7b.json` is `qwen2.5-7b`."""
        return SUFFIXES.sub("", Path(self.name).name) or Path(self.name).name

    @property
    def label(self) -> str:
        """`stem` with the folders below the root: an id for the trace of a file that gives none."""
        return (Path(self.name).parent / self.stem).as_posix()

    @cached_property
    def source_id(self) -> str:
        """The same for one file however its path is written."""
        is_file = self.uri != "-" and "://" not in self.uri
        place = os.path.realpath(self.uri) if is_file else self.uri
        return hashlib.sha1(f"{place}\0{self.member or ''}".encode(errors="surrogateescape")).hexdigest()

    def issue(
        self, code: str, detail: str, *, severity: str = "warning", offset: int | None = None, n: int = 1
    ) -> None:
        self.issues.append(Issue(code, severity, detail[:500], offset, n=n))

    def attempt(self, record: Record, build: Callable[..., T], *args: Any, **named: Any) -> Iterator[T]:
        """What `build(*args)` makes of the record; nothing and an issue where it is not what its format says.

        For files of many traces: one malformed record must not cost those behind it.
        """
        try:
            made = build(*args, **named)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            self.n_bad += 1
            place = record.pointer or f"byte {record.offset}"
            self.issue(
                "bad_record", f"{place}: {type(error).__name__}: {error}", severity="error", offset=record.offset
            )
        else:
            yield made

    def document(self) -> Any:
        """The whole file as one JSON value; None (and an issue) where it is not one."""
        data = self._bytes()
        try:
            value, repair = parse.loads(data)
        except parse.Unparseable as error:
            self.n_bad += 1
            self.issue(
                "unparseable",
                f"not one JSON document: {error} at character {error.at}",
                severity="error",
                offset=error.at,
            )
            return None
        if repair:
            self._repaired(repair)
        self._check_keys(data, value)
        self.n_records += 1
        return value

    def records(self, key: str | None = None) -> Iterator[Record]:
        """Every record, whatever the container: lines, concatenated values, items of a list, or the one document.

        `key` names the list to walk inside a document (`records("simulations")`); without it a top-level list is walked
        and any other document is one record. Documents above STREAM_ABOVE bytes are streamed.
        """
        inside = self.head.inside if key is None else None
        if inside == TABLE:
            for i, row in enumerate(tables.rows(self.path, self.head.magic)):
                self.n_records += 1
                yield Record(row, pointer=f"/{i}")
        elif inside == EACH:
            for name, value in (self.document() or {}).items():
                yield Record(named(name, value), pointer=f"/{name}")
        elif inside:
            yield from self.records(inside)
        elif self.head.is_jsonl and key is None:
            yield from self._lines()
        elif self.head.size > STREAM_ABOVE and (key or isinstance(self.head.doc, list)):
            yield from self._streamed(key)
        else:
            yield from self._held(key)

    @property
    def members(self) -> tuple[Source, ...]:
        return (self, *self.also)

    def joined(self, read: Callable[[Source], Iterable[Record]]) -> Iterator[Record]:
        """The records of this file and of those read with it, which bear the name of their file in `pointer`."""
        yield from read(self)
        for other in self.also:
            for record in read(other):
                at = record.pointer if record.offset is None else f"@{record.offset}"
                yield Record(record.value, pointer=f"{other.name}{at or ''}")

    def header(self, *without: str) -> dict[str, Any]:
        """The top-level keys of a document except the (long) ones named, without holding those."""
        if self.head.size <= STREAM_ABOVE:
            value = self._whole
            return {k: v for k, v in value.items() if k not in without} if isinstance(value, dict) else {}
        import ijson

        found: dict[str, Any] = {}
        with self.path.open("rb") as file:
            builder, current, skipping = None, "", False
            for prefix, event, value in ijson.parse(file, use_float=True):
                if prefix == "" and event == "map_key":
                    if builder is not None:
                        found[current] = builder.value
                    current, skipping = value, value in without
                    builder = None if skipping else ijson.common.ObjectBuilder()
                elif prefix == "" and event == "end_map":
                    if builder is not None:
                        found[current] = builder.value
                elif builder is not None:
                    builder.event(event, value)
        return found

    def sibling(self, *parts: str) -> Path | None:
        """A file beside this one, or None where there is none or the path would leave the root."""
        path = self.path.parent.joinpath(*parts)
        try:
            resolved = path.resolve(strict=True)
        except OSError:
            return None
        return path if resolved.is_relative_to(self.root.resolve()) else None

    @cached_property
    def _whole(self) -> Any:
        return self.document()

    def _bytes(self) -> bytes:
        return self.head.head if self.head.size == len(self.head.head) else self.path.read_bytes()

    def _check_keys(self, data: bytes, value: Any) -> None:
        """Tell of keys that stand twice in an object: the last value counts, the others are lost."""
        repeated = parse.repeated_keys(data, value)
        if repeated:
            self.issue("duplicate_keys", f"keys told twice in one object, the last counts: {', '.join(repeated[:10])}")

    def _repaired(self, code: str, offset: int | None = None) -> None:
        severity = "info" if code == "double_encoded" else "warning"
        self.issue(code, REPAIRS.get(code, "was repaired on reading"), severity=severity, offset=offset)

    def _lines(self) -> Iterator[Record]:
        bad: tuple[int, bytes, str] | None = None
        with self.path.open("rb", buffering=READ_BYTES) as file:
            for offset, line in parse.lines(file):
                if bad is not None:
                    self._bad_line(*bad)
                    bad = None
                try:
                    value, repair = parse.loads(line)
                    if isinstance(value, str) and value[:1] in "{[":
                        value, repair = parse.loads(value.encode())[0], "double_encoded"
                except parse.Unparseable as error:
                    bad = (offset, line, str(error))
                    continue
                if repair:
                    self._repaired(repair, offset)
                if isinstance(value, list):
                    for i, item in enumerate(value):
                        self.n_records += 1
                        yield Record(item, offset, len(line), f"/{i}")
                    continue
                self.n_records += 1
                yield Record(value, offset, len(line))
        if bad is not None:
            offset, line, reason = bad
            if line[:1] in (b"{", b"["):
                self.truncated = True
                self.n_bad += 1
                self.issue(
                    "truncated_last_line", f"the last line breaks off after {len(line)} bytes: {reason}", offset=offset
                )
            else:
                self._bad_line(offset, line, reason)

    def _bad_line(self, offset: int, line: bytes, reason: str) -> None:
        self.n_bad += 1
        shown = parse.decode(line[:80])[0]
        self.issue("bad_line", f"{reason}: {shown!r}", offset=offset)

    def _held(self, key: str | None) -> Iterator[Record]:
        data = self._bytes()
        try:
            value, repair = parse.loads(data)
        except parse.Unparseable as error:
            yield from self._concatenated(data, error)
            return
        if repair:
            self._repaired(repair)
        self._check_keys(data, value)
        items = value.get(key) if key and isinstance(value, dict) else value
        base = f"/{key}" if key else ""
        if isinstance(items, list):
            for i, item in enumerate(items):
                self.n_records += 1
                yield Record(item, pointer=f"{base}/{i}")
        elif items is not None:
            self.n_records += 1
            yield Record(items, pointer=base)

    def _concatenated(self, data: bytes, error: parse.Unparseable) -> Iterator[Record]:
        text, repair = parse.decode(data)
        if repair:
            self._repaired(repair)
        try:
            for start, end, value in parse.concatenated(text):
                self.n_records += 1
                yield Record(value, start, end - start)
        except parse.Unparseable as stopped:
            self.n_bad += 1
            self.truncated = True
            self.issue(
                "unparseable",
                f"{stopped} at character {stopped.at}; what stands before it was read",
                severity="error",
                offset=stopped.at,
            )

    def _streamed(self, key: str | None) -> Iterator[Record]:
        import ijson

        prefix = f"{key}.item" if key else "item"
        base = f"/{key}" if key else ""
        with self.path.open("rb") as file:
            try:
                for i, item in enumerate(ijson.items(file, prefix, use_float=True)):
                    self.n_records += 1
                    yield Record(parse.clean(item), pointer=f"{base}/{i}")
            except ijson.JSONError as error:
                self.n_bad += 1
                self.truncated = True
                self.issue("unparseable", f"{error}; the items before it were read", severity="error")
