"""How much of a source's text reached the corpus: the strings of a sample of its records against those of its traces.

Text is a string with white space in it (ids, times and names are not); JSON in text counts by the strings inside. A string is
placed where a trace holds it, whole or inside a longer one. Only JSON sources are measured, and of each at most SAMPLE bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from insights.corpus import parse
from insights.corpus.source import Source

if TYPE_CHECKING:
    from insights.corpus.trace import Trace

SAMPLE = 1 << 20  # unit: bytes of a source whose strings are looked for
HELD = 4 << 20  # unit: characters of the traces kept to look inside
ENOUGH = 0.99  # share of the text below which the paths that were left out are told
SHORTEST = 12  # unit: characters; below it a string is taken for a name
TOLD = 20  # paths told of one source
SEARCHED = 300  # strings that are looked for inside longer ones
DEEPEST = 64  # unit: levels of values within values
SOURCES = 200  # sources measured in one ingest
TRACE_TEXTS = ("input_text", "final_output", "error_message", "metadata", "extra", "llm_calls", "spans", "annotations",
               "expected", "tags")  # fmt: skip
STEP_TEXTS = ("text", "reasoning", "parts", "extra")
CALL_TEXTS = ("args", "args_text", "result_text", "result", "error_message", "extra")


@dataclass(frozen=True, slots=True)
class Loss:
    """`share` of the characters of text that traces hold; `missing` are (path, strings, characters), most first."""

    share: float
    missing: list[tuple[str, int, int]]


def spaced(sources: list[Source], most: int = SOURCES) -> list[Source]:
    """At most `most` of the sources, evenly over the list."""
    step = max(1, -(-len(sources) // most))
    return sources[::step]


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
        text = value.strip()
        if len(text) >= SHORTEST and any(c.isspace() for c in text):
            yield path, text
    elif isinstance(value, dict) and depth < DEEPEST:
        for key, inner in value.items():
            yield from strings(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, (list, tuple)) and depth < DEEPEST:
        for inner in value:
            yield from strings(inner, f"{path}[]", depth + 1)


class Watch:
    """Looks at the traces of a source as they go by."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._wanted: dict[str, list[str]] = {}
        self._total = 0
        for record in _sample(source):
            for path, text in strings(record):
                self._total += len(text)
                self._wanted.setdefault(text, []).append(path)
        self._held: list[str] = []
        self._chars = 0

    def over(self, traces: Iterator[Trace]) -> Iterator[Trace]:
        for trace in traces:
            if self._wanted:
                self._take(trace)
            yield trace

    def _take(self, trace: Trace) -> None:
        values = [getattr(trace, name, None) for name in TRACE_TEXTS]
        values += [getattr(s, name) for s in trace.steps for name in STEP_TEXTS]
        values += [getattr(c, name) for c in trace.calls for name in CALL_TEXTS]
        for value in values:
            for _, text in strings(value) if value else ():
                self._wanted.pop(text, None)
                if self._chars < HELD:
                    self._held.append(text)
                    self._chars += len(text)

    @property
    def left(self) -> set[str]:
        """The texts no trace was found to hold."""
        return set(self._wanted)

    def loss(self) -> Loss | None:
        """None where the source held no text that could be looked for."""
        if not self._total:
            return None
        left = sorted(self._wanted, key=len, reverse=True)
        whole = "\n".join(self._held) if left else ""
        for text in left[:SEARCHED]:
            if text in whole:
                del self._wanted[text]
        missing: Counter[str] = Counter()
        times: Counter[str] = Counter()
        for text, paths in self._wanted.items():
            for path in paths:
                missing[path] += len(text)
                times[path] += 1
        share = 1 - sum(missing.values()) / self._total
        return Loss(share, [(path, times[path], n) for path, n in missing.most_common()])

    def tell(self) -> float | None:
        """The share; paths that were left out become issues of the source."""
        found = self.loss()
        if found is None:
            return None
        for path, n, chars in found.missing[:TOLD] if found.share < ENOUGH else ():
            self._source.issue("unmapped", f"{path}: {chars:,} characters are in no trace", severity="info", n=n)
        return found.share


def _sample(source: Source) -> Iterator[Any]:
    """The first records of a JSON source, or its whole document, as far as SAMPLE goes."""
    head = source.head
    if head.magic is not None:
        return
    with source.path.open("rb") as file:
        data = file.read(SAMPLE + 1)
    if head.is_jsonl:
        lines = data.split(b"\n")
        for line in lines if len(data) <= SAMPLE else lines[:-1]:
            try:
                yield parse.loads(line.strip())[0] if line.strip() else None
            except parse.Unparseable:
                continue  # told by the reader
    elif len(data) <= SAMPLE and isinstance(head.doc, (dict, list)):
        try:
            yield parse.loads(data)[0]
        except parse.Unparseable:
            return
