"""The steps around each citation, so that a quotation can be opened where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from insights.records import Report
from insights.report.escape import shortened
from primitives.secrets import unsecret

if TYPE_CHECKING:
    from primitives.corpus import Corpus

AROUND = 2  # steps before and after the cited one
STEP_CHARS = 700  # of a neighbouring step, text and tool calls together
CITED_CHARS = 1600  # of the cited step, around the quotation
FETCHED_CHARS = 200_000  # of a step's text; a quotation further in is shown without its surroundings

STEPS = f"""
WITH wanted AS (SELECT DISTINCT unnest($ids::VARCHAR[]) AS trace_id, unnest($seqs::INTEGER[]) AS cited),
near AS (
  SELECT s.trace_id, s.seq, any_value(coalesce(s.role, s.kind)) AS role, any_value(left(s.text, {FETCHED_CHARS})) AS text
  FROM steps s JOIN wanted w ON s.trace_id = w.trace_id AND s.seq BETWEEN w.cited - {AROUND} AND w.cited + {AROUND}
  GROUP BY 1, 2),
calls AS (
  SELECT c.trace_id, c.call_seq AS seq,
    string_agg(c.name || '(' || left(coalesce(c.args_text, ''), {FETCHED_CHARS}) || ')', chr(10) ORDER BY c.call_index) AS calls
  FROM tool_calls c JOIN near n ON n.trace_id = c.trace_id AND n.seq = c.call_seq GROUP BY 1, 2)
SELECT n.trace_id, n.seq, n.role, n.text, c.calls FROM near n LEFT JOIN calls c USING (trace_id, seq) ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class ShownStep:
    seq: int
    role: str
    text: str
    cited: bool


def around_citations(report: Report, corpus: Corpus) -> dict[tuple[str, int], list[ShownStep]]:
    """(trace_id, seq) of each citation -> the cited step and up to two steps on either side, cut to be read."""
    quotes = {(c.trace_id, c.seq): c.quote for f in report.findings for c in f.citations}
    if not quotes:
        return {}
    rows = corpus.con.execute(STEPS, {"ids": [t for t, _ in quotes], "seqs": [s for _, s in quotes]}).fetchall()
    steps = {(trace_id, seq): (role or "", unsecret(_whole(text, calls))) for trace_id, seq, role, text, calls in rows}
    return {key: _window(key, quote, steps) for key, quote in quotes.items()}


def _whole(text: str | None, calls: str | None) -> str:
    return "\n".join(part for part in (text, calls) if part)


def _window(key: tuple[str, int], quote: str, steps: dict[tuple[str, int], tuple[str, str]]) -> list[ShownStep]:
    trace_id, cited = key
    shown = []
    for seq in range(cited - AROUND, cited + AROUND + 1):
        if (trace_id, seq) in steps:
            role, text = steps[trace_id, seq]
            cut = _around(text, quote) if seq == cited else shortened(text, STEP_CHARS)
            shown.append(ShownStep(seq, role, cut, seq == cited))
    return shown


def _around(text: str, quote: str) -> str:
    """A window on `text` with the quotation in it."""
    at = text.find(quote)
    if len(text) <= CITED_CHARS or at < 0:
        return shortened(text, CITED_CHARS)
    spare = max(0, CITED_CHARS - len(quote)) // 2
    start, end = max(0, at - spare), min(len(text), at + len(quote) + spare)
    return f"{'… ' if start else ''}{text[start:end]}{' …' if end < len(text) else ''}"
