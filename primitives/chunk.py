"""One trace cut into chunks for a model's context: by format, within a token budget, nothing lost."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from primitives.read import find_trace
from primitives.registry import verb
from primitives.splitting import format_of, split
from primitives.sql import Bounded

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

LEAST_TOKENS = 20
COLUMNS = ("trace_id", "chunk", "seq", "role", "field", "tool_call_key", "start", "end", "format", "tokens", "text")


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of one text of a step: `text` is characters `start` to `end` of that field."""

    chunk: int
    seq: int
    role: str
    field: str
    tool_call_key: str | None
    start: int
    end: int
    format: str
    tokens: int
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """One whole text of a step."""

    seq: int
    role: str
    field: str
    tool_call_key: str | None
    text: str
    tokens: int


@verb
def chunk(
    corpus: Corpus, trace_id: str, *, budget: int = 800, start: int = 0, end: int | None = None, max_chunks: int = 200
) -> pd.DataFrame:
    """Cut one trace into chunks within a token budget, at the structure of its texts; nothing is lost or reordered.

    trace_id: as in `read`. start, end: the steps cut, `end` not included.
    budget: tokens of one chunk, at least 20 (see primitives.tokens for how they are counted). Whole steps are packed
        together; a call stays with its results as long as they fit; a text too large is cut (JSON between items, Markdown
        at headings and code blocks, code at definitions, diffs at hunks, prose at paragraphs, sentences, words).
    max_chunks: chunks returned at most; a warning says from which step to go on.

    Columns: trace_id, chunk (from 0), seq, role, field (reasoning, text, args, result), tool_call_key, start, end
        (characters of that field), format (json, diff, markdown, code, text), tokens, text. One row per piece: the rows of
        a chunk in order are its content, the pieces of a field in order are that field.
    Raises TraceNotFound, ValueError for a budget below 20.

    >>> chunk(traces.trace_id[0], budget=200)
    """
    import pandas as pd

    trace_id = find_trace(corpus, trace_id)
    rows = []
    for piece in pieces(corpus, trace_id, budget=budget, start=start, end=end):
        if piece.chunk >= max_chunks:
            warnings.warn(
                f"chunk: {max_chunks} chunks given, step {piece.seq} and those after it are missing (start={piece.seq})",
                Bounded,
                stacklevel=2,
            )
            break
        rows.append(
            (trace_id, piece.chunk, piece.seq, piece.role, piece.field, piece.tool_call_key, piece.start, piece.end,
             piece.format, piece.tokens, piece.text)
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def pieces(
    corpus: Corpus, trace_id: str, *, budget: int = 800, start: int = 0, end: int | None = None
) -> Iterator[Piece]:
    """The pieces of a trace in order, numbered by chunk."""
    return packed(texts(corpus, trace_id, start, end), budget)


def packed(whole: Iterable[Text], budget: int) -> Iterator[Piece]:
    """Texts in the order of a trace as pieces numbered by chunk. Raises ValueError for a budget below LEAST_TOKENS."""
    if budget < LEAST_TOKENS:
        raise ValueError(f"a budget of {budget} tokens is too small to cut a trace into; the least is {LEAST_TOKENS}")
    number, used = 0, 0
    for unit in _units(whole, budget):
        size = sum(t.tokens for t in unit)
        if used and used + size > budget:
            number, used = number + 1, 0
        for text in unit:
            for a, b, tokens in _cut(text, budget, budget - used):
                if used and used + tokens > budget:
                    number, used = number + 1, 0
                part = text.text[a:b]
                used += tokens
                yield Piece(
                    number,
                    text.seq,
                    text.role,
                    text.field,
                    text.tool_call_key,
                    a,
                    b,
                    format_of(text.text),
                    tokens,
                    part,
                )


def _cut(text: Text, budget: int, room: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, tokens) of the parts of a text, the first small enough for the room that is left."""
    from primitives.tokens import count_tokens

    if text.tokens <= budget:
        yield 0, len(text.text), text.tokens
        return
    first = room if room >= max(LEAST_TOKENS, budget // 4) else budget
    for a, b in split(text.text, budget, count_tokens, first=first):
        yield a, b, count_tokens(text.text[a:b])


def _units(whole: Iterable[Text], budget: int) -> Iterator[list[Text]]:
    """Texts that belong together: what a message says and calls, with the results; less when that does not fit."""
    unit: list[Text] = []
    for _, step in groupby(whole, key=lambda t: t.seq):
        found = list(step)
        if unit and found[0].field != "result":
            yield from _smaller(unit, budget)
            unit = []
        unit.extend(found)
    if unit:
        yield from _smaller(unit, budget)


def _smaller(unit: list[Text], budget: int) -> Iterator[list[Text]]:
    """The unit if it fits, else what was said, then what was called with its results."""
    if sum(t.tokens for t in unit) <= budget:
        yield unit
        return
    said = [t for t in unit if t.field in ("reasoning", "text")]
    acted = [t for t in unit if t.field in ("args", "result")]
    if said:
        yield said
    if acted:
        yield acted


def texts(corpus: Corpus, trace_id: str, start: int = 0, end: int | None = None) -> Iterator[Text]:
    """The texts of a trace in order: of each step its reasoning, its text, then each call with a result that has no step."""
    from primitives.tokens import count_tokens

    rows = corpus.con.execute(
        """
        WITH shown AS (SELECT seq, kind, role, text, reasoning, tool_call_key FROM steps
            WHERE trace_id = $id AND seq >= $start AND seq < $end)
        SELECT seq, role, field, key, body FROM (
            SELECT seq, role, 'reasoning' AS field, NULL AS key, reasoning AS body, 0 AS place, 0 AS idx FROM shown
            UNION ALL SELECT seq, role, CASE WHEN kind = 'tool_result' THEN 'result' ELSE 'text' END, tool_call_key, text,
                1, 0 FROM shown
            UNION ALL SELECT s.seq, s.role, 'args', c.tool_call_key, c.args_text, 2, c.call_index FROM shown s
                JOIN tool_calls c ON c.trace_id = $id AND c.call_seq = s.seq
            UNION ALL SELECT s.seq, 'tool', 'result', c.tool_call_key, c.result_text, 3, c.call_index FROM shown s
                JOIN tool_calls c ON c.trace_id = $id AND c.call_seq = s.seq AND c.result_seq IS NULL)
        WHERE body <> '' ORDER BY seq, place, idx, key""",
        {"id": trace_id, "start": start, "end": 2**31 - 1 if end is None else end},
    ).fetchall()
    for seq, role, field, key, body in rows:
        yield Text(seq, role or "", field, key, body, count_tokens(body))
