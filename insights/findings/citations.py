"""Citations: checked verbatim against the step they name, and chosen from a predicate's matches where none were given.

A quotation holds when it stands, character for character, in the step's text or reasoning, or in the name, arguments
or result of a call made there. One that does not match is counted as failed and never shown as support. One that holds
`[masked: …]` (from a report, or from a model that saw masked text) holds when it stands in the step masked alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from insights.findings.predicate import Match
from insights.records import Citation
from primitives.secrets import MASK, mask

if TYPE_CHECKING:
    from primitives.corpus import Corpus

QUOTE_CHARS = 240  # unit: characters; long enough to judge a sentence, short enough to read six
MIN_QUOTE_CHARS = 3
SUPPORTS, COUNTERS = 4, 2


def verify(corpus: Corpus, citations: Iterable[Citation]) -> list[Citation]:
    """The same citations with `verified` set by looking each up."""
    return [replace(c, verified=_stands(corpus, c)) for c in citations]


def _stands(corpus: Corpus, citation: Citation) -> bool:
    quote = citation.quote.strip()
    if len(quote) < MIN_QUOTE_CHARS:
        return False
    row = corpus.con.execute(
        """SELECT EXISTS (SELECT 1 FROM steps WHERE trace_id = $t AND seq = $s
             AND (contains(text, $q) OR contains(reasoning, $q)))
        OR EXISTS (SELECT 1 FROM tool_calls WHERE trace_id = $t AND call_seq = $s
             AND (contains(args_text, $q) OR contains(name, $q)))""",
        {"t": citation.trace_id, "s": citation.seq, "q": quote},
    ).fetchall()
    return bool(row[0][0]) or (MASK in quote and _stands_masked(corpus, citation.trace_id, citation.seq, quote))


def _stands_masked(corpus: Corpus, trace_id: str, seq: int, quote: str) -> bool:
    """Whether the quotation is of the masked step; it may begin or end where a secret was cut, so its ends need not be whole."""
    return any(quote in mask(text)[0] for text in texts_of(corpus, trace_id, seq))


def texts_of(corpus: Corpus, trace_id: str, seq: int) -> list[str]:
    """What may be quoted of a step: its text and reasoning, and the arguments and results of the calls made there."""
    rows = corpus.con.execute(
        "SELECT unnest([text, reasoning]) AS said FROM steps WHERE trace_id = $t AND seq = $s UNION ALL "
        "SELECT unnest([args_text, result_text, name]) FROM tool_calls WHERE trace_id = $t AND call_seq = $s",
        {"t": trace_id, "s": seq},
    ).fetchall()
    return [said for (said,) in rows if said]


def choose(corpus: Corpus, matches: Sequence[Match], role: Literal["support", "counter"], most: int) -> list[Citation]:
    """Up to `most` citations of matches, one a trace and as many tasks as can be; without a quote the step's opening.

    A match without seq is cited at the trace's last step that says something.
    """
    found: list[Citation] = []
    for match in _spread(corpus, matches, most * 3):
        seq, quote = match.seq, match.quote
        if seq is None or not quote:
            seq, quote = _opening(corpus, match.trace_id, seq)
        if seq is None or not quote:
            continue
        found.append(Citation(match.trace_id, seq, cut(quote), role))
        if len(found) == most:
            break
    return found


def _spread(corpus: Corpus, matches: Sequence[Match], most: int) -> list[Match]:
    """The first match of each trace, traces of tasks not cited yet first."""
    first: dict[str, Match] = {}
    for m in matches:
        kept = first.get(m.trace_id)
        if kept is None or (kept.quote is None and m.quote is not None):
            first[m.trace_id] = m
    if not first:
        return []
    rows = corpus.con.execute(
        "SELECT trace_id, row_number() OVER (PARTITION BY coalesce(task_id, trace_id) ORDER BY trace_id) AS nth "
        "FROM traces WHERE trace_id IN (SELECT unnest($ids::VARCHAR[])) ORDER BY nth, md5(trace_id) LIMIT $most",
        {"ids": list(first), "most": most},
    ).fetchall()
    return [first[trace_id] for trace_id, _ in rows]


def _opening(corpus: Corpus, trace_id: str, seq: int | None) -> tuple[int | None, str | None]:
    """(seq, text) of the step named, of the nearest step that says something where it is silent, or of the agent's last word."""
    row = corpus.con.execute(
        """SELECT seq, coalesce(nullif(trim(text), ''), (SELECT args_text FROM tool_calls c WHERE c.trace_id = s.trace_id
                  AND c.call_seq = s.seq ORDER BY call_index LIMIT 1)) AS said
           FROM steps s WHERE trace_id = $t AND said IS NOT NULL AND ($s IS NOT NULL OR role = 'assistant')
           ORDER BY abs(seq - coalesce($s, 1000000000)), seq DESC LIMIT 1""",
        {"t": trace_id, "s": seq},
    ).fetchall()
    return (row[0][0], row[0][1]) if row else (seq, None)


def cut(quote: str, most: int = QUOTE_CHARS) -> str:
    """The quote, or its verbatim opening up to a sentence or word end within `most` characters."""
    quote = quote.strip()
    if len(quote) <= most:
        return quote
    head = quote[:most]
    ends = [m.end() for m in re.finditer(r"[.!?](?=\s)|\n", head) if m.end() > most // 3]
    return head[: ends[-1]].rstrip() if ends else head.rsplit(" ", 1)[0] if " " in head[most // 2 :] else head
