"""Where a text can be cut: JSON between items, Markdown at headings, code at definitions, prose at paragraphs.

`split` is lossless: its pieces, joined, are the text. Each format has levels of cuts from strong to weak; a piece that is
too large at one level is cut at the next, and only at the end in the middle of a word.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Literal

Format = Literal["json", "diff", "markdown", "code", "text"]
Count = Callable[[str], int]

JSON_DEPTHS = 4  # levels of nesting at which JSON is cut between items; below that its text is cut as prose
HEAD_CHARS = 4_000  # unit: characters a format is told from
FENCE = re.compile(r"(?m)^[ \t]*(```|~~~)")
HEADING = re.compile(r"(?m)^#{1,6} \S")
DEFINITION = re.compile(
    r"(?m)^(?:@\w|(?:async )?def \w|class \w|import \w|from [\w.]+ import |func(?:tion)? \w|(?:pub )?fn \w|#include|package \w"
    r"|(?:public|private|protected|static|export|const|interface|impl|struct) \w)"
)
PROSE = (r"\n[ \t]*\n+", r"\n", r"(?<=[.!?;。])\s+", r"\s+")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{},]', re.S)


def format_of(text: str) -> Format:
    """What a text looks like, from its beginning and end."""
    head = text[:HEAD_CHARS].lstrip()
    if head[:1] in ("{", "[") and text.rstrip()[-1:] in ("}", "]") and (len(head) < 2 or '"' in head or "," in head):
        return "json"
    if re.search(r"(?m)^(?:diff --git |@@ -\d)", head):
        return "diff"
    if len(HEADING.findall(head)) >= 2 or len(FENCE.findall(head)) >= 2:
        return "markdown"
    if len(DEFINITION.findall(head)) >= 2:
        return "code"
    return "text"


def split(text: str, limit: int, count: Count, *, first: int | None = None) -> list[tuple[int, int]]:
    """(start, end) of consecutive pieces of at most `limit` tokens, the first of at most `first`; they cover the text."""
    levels = _levels(text, format_of(text))
    room = limit if first is None else max(min(first, limit), 1)
    pieces: list[tuple[int, int]] = []
    begin, used = 0, 0
    for start, size in _atoms(text, 0, len(text), levels, room, count):
        if used + size > room and start > begin:
            pieces.append((begin, start))
            begin, used, room = start, 0, limit
        used += size
    return [*pieces, (begin, len(text))] if text else []


def _atoms(
    text: str, start: int, end: int, levels: list[list[int]], limit: int, count: Count
) -> Iterator[tuple[int, int]]:
    """(start, tokens) of segments that fit the limit, each cut at the strongest level that makes it fit."""
    size = count(text[start:end])
    if size <= limit or end - start <= 1:
        yield start, size
        return
    cuts = levels[0][bisect_right(levels[0], start) : bisect_left(levels[0], end)] if levels else [(start + end) // 2]
    for a, b in pairwise([start, *cuts, end]):
        yield from _atoms(text, a, b, levels[1:], limit, count)


def _levels(text: str, kind: Format) -> list[list[int]]:
    """Positions to cut at, from strong to weak, each level sorted."""
    prose = [[m.end() for m in re.finditer(pattern, text)] for pattern in PROSE]
    if kind == "json":
        return [*_json_levels(text), *prose]
    if kind == "diff":
        return [_starts(r"(?m)^diff --git ", text), _starts(r"(?m)^@@ ", text), *prose]
    if kind == "code":
        return [_starts(r"(?m)^(?=\S)" + DEFINITION.pattern.removeprefix("(?m)^"), text), *prose]
    if kind == "markdown":
        fences = [m.start() for m in FENCE.finditer(text)]
        outside = [
            [at for at in cuts if bisect_right(fences, at) % 2 == 0]
            for cuts in (_starts(r"(?m)^#{1,2} ", text), _starts(r"(?m)^#{3,6} ", text), prose[0])
        ]
        blocks = [at if i % 2 == 0 else text.find("\n", at) + 1 or len(text) for i, at in enumerate(fences)]
        return [*outside[:2], sorted({*outside[2], *blocks}), *prose]
    return prose


def _starts(pattern: str, text: str) -> list[int]:
    return [m.start() for m in re.finditer(pattern, text)]


def _json_levels(text: str) -> list[list[int]]:
    """Positions after the commas at depth 1, 2, … of JSON (valid or not), outside of strings."""
    levels: list[list[int]] = [[] for _ in range(JSON_DEPTHS)]
    depth = 0
    for m in _TOKEN.finditer(text):
        mark = m.group()
        if mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
        elif mark == "," and 1 <= depth <= JSON_DEPTHS:
            end = m.end()
            while end < len(text) and text[end] in " \t\r\n":
                end += 1
            levels[depth - 1].append(end)
    return levels
