"""Every searchable text of a corpus as one SQL relation, its numbering, and filters over it.

A passage is one field of one step: `text` (what was said), `reasoning`, `args` (a call's arguments, at the step that
called) or `result` (what the tool gave back, at the step that holds it). Offsets count characters of that field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.cohort import CohortNotUnderstood, resolve

if TYPE_CHECKING:
    from primitives.corpus import Corpus

FIELDS = ("text", "result", "args", "reasoning")

PASSAGES = """
SELECT trace_id, seq, 'text' AS field, role, NULL::VARCHAR AS tool, text FROM steps
WHERE kind <> 'tool_result' AND text <> ''
UNION ALL
SELECT s.trace_id, s.seq, 'result', s.role, c.name, s.text FROM steps s
LEFT JOIN (SELECT trace_id, result_seq, any_value(name) AS name FROM tool_calls WHERE result_seq IS NOT NULL GROUP BY 1, 2)
c ON c.trace_id = s.trace_id AND c.result_seq = s.seq WHERE s.kind = 'tool_result' AND s.text <> ''
UNION ALL
SELECT trace_id, call_seq, 'args', 'assistant', name, args_text FROM tool_calls
WHERE call_seq IS NOT NULL AND args_text NOT IN ('', '{}')
UNION ALL
SELECT trace_id, coalesce(result_seq, call_seq), 'result', 'tool', name, result_text FROM tool_calls
WHERE result_seq IS NULL AND call_seq IS NOT NULL AND result_text <> ''
UNION ALL
SELECT trace_id, seq, 'reasoning', role, NULL, reasoning FROM steps WHERE reasoning <> ''
"""

# A step's number in the whole corpus is base + seq; a passage's key is that times four plus its field.
# Of a passage p and its trace's base b: its place in the index, and its text with what tells equal texts apart.
KEY = f"(b.base + p.seq) * 4 + list_position({list(FIELDS)}, p.field) - 1"
TEXT_HASH = "hash(p.text, p.field, coalesce(p.role, ''), coalesce(p.tool, ''))"
BASES = """
SELECT trace_id, (sum(n) OVER (ORDER BY trace_id) - n)::BIGINT AS base
FROM (SELECT trace_id, max(seq) + 1 AS n FROM steps GROUP BY trace_id)
"""
STAMP = """
SELECT concat_ws('-', version(), count(*), coalesce(sum(n_steps), 0), bit_xor(hash(concat_ws(' ', trace_id, fingerprint)))) FROM traces
"""


def allowed(corpus: Corpus, where: str | None, population: Any) -> str | None:
    """SQL of the (trace_id, seq) that pass both filters, seq NULL where whole traces pass; None without a filter.

    `where` is a condition over the columns of `traces` and `steps` (t and s where a name is in both). Raises
    CohortNotUnderstood with DuckDB's message when it does not bind.
    """
    if where is None:
        return None if population is None else f"SELECT trace_id, NULL AS seq FROM ({resolve(corpus, population)})"
    within = "" if population is None else f" AND t.trace_id IN ({resolve(corpus, population)})"
    of_traces = f"SELECT t.trace_id, NULL AS seq FROM traces t WHERE (\n{where}\n){within}"
    of_steps = (
        f"SELECT s.trace_id, s.seq FROM steps s JOIN traces t ON s.trace_id = t.trace_id WHERE (\n{where}\n){within}"
    )
    for sql in (of_traces, of_steps):
        error = _unbound(corpus, sql)
        if error is None:
            return sql
    raise CohortNotUnderstood(f"where={where[:200]!r} is no condition over traces (t) and steps (s): {error}")


def _unbound(corpus: Corpus, sql: str) -> str | None:
    """Why a statement cannot run, None when it can."""
    import duckdb

    try:
        corpus.con.execute(f"EXPLAIN {sql}").fetchall()
    except duckdb.Error as error:
        return str(error)[:500]
    return None


def is_of_steps(sql: str) -> bool:
    return sql.startswith("SELECT s.trace_id")
