"""Detectors or rules over every trace of a corpus, with memory bounded by the chunk and not by the corpus."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from primitives.detectors.event import Signal, events_of
from primitives.detectors.scan import Scan

if TYPE_CHECKING:
    import duckdb

    from primitives.detectors.rules import Rule

CHUNK_STEPS = 40_000
CHUNK_CHARS = 48_000_000  # of text of steps; calls hold about as much again
_STEP = "seq kind role origin agent text on_path segment".split()
_CALL = "call_seq result_seq requestor name args_text args_error status tool_call_key result_truncated".split()


def scan_corpus(con: duckdb.DuckDBPyConnection, rules: Sequence[Rule] | None = None) -> Iterator[tuple[str, Signal]]:
    """(trace_id, signal) for every signal: of all detectors, or of `rules` alone where they are given.

    `con` sees the tables traces, steps and tool_calls. Traces are read in chunks of consecutive rows.
    """
    for chunk in _chunks(con):
        yield from _scan_chunk(con, chunk, rules)


def _chunks(con: duckdb.DuckDBPyConnection) -> Iterator[list[tuple[Any, ...]]]:
    """Lists of (trace_id, end_reason, success, first and last row in steps, first and last row in tool_calls)."""
    rows = con.execute(
        """SELECT t.trace_id, t.end_reason, t.success, s.low, s.high, c.low, c.high,
            coalesce(s.n, 0), coalesce(s.chars, 0)
        FROM traces t
        LEFT JOIN (SELECT trace_id, min(rowid) AS low, max(rowid) AS high, count(*) AS n, sum(text_len)::BIGINT AS chars
            FROM steps GROUP BY ALL) s USING (trace_id)
        LEFT JOIN (SELECT trace_id, min(rowid) AS low, max(rowid) AS high
            FROM tool_calls GROUP BY ALL) c USING (trace_id)
        ORDER BY s.low NULLS LAST, t.trace_id"""
    ).fetchall()
    chunk: list[tuple[Any, ...]] = []
    steps = chars = 0
    for *row, n, length in rows:
        if chunk and (steps + n > CHUNK_STEPS or chars + length > CHUNK_CHARS):
            yield chunk
            chunk, steps, chars = [], 0, 0
        chunk.append(tuple(row))
        steps, chars = steps + n, chars + length
    if chunk:
        yield chunk


def _scan_chunk(
    con: duckdb.DuckDBPyConnection, chunk: list[tuple[Any, ...]], rules: Sequence[Rule] | None
) -> Iterator[tuple[str, Signal]]:
    steps = _rows(con, "steps", _STEP, [(low, high) for *_, low, high, _, _ in chunk], "seq")
    calls = _rows(con, "tool_calls", _CALL, [(low, high) for *_, low, high in chunk], "call_seq, call_index")
    for trace_id, end_reason, success, *_ in chunk:
        trace = SimpleNamespace(
            steps=steps.get(trace_id, ()), calls=calls.get(trace_id, ()), end_reason=end_reason, success=success
        )
        scan = Scan(rules=rules)
        for event in events_of(trace):
            for signal in scan.step(event):
                yield trace_id, signal


def _rows(
    con: duckdb.DuckDBPyConnection, table: str, columns: list[str], ranges: list[tuple[Any, Any]], order: str
) -> dict[str, list[Any]]:
    """Rows of a table between the lowest and the highest place of the chunk's traces, as objects by trace."""
    found = [r for r in ranges if r[0] is not None]
    by_trace: dict[str, list[Any]] = defaultdict(list)
    if not found:
        return by_trace
    extra = (
        ", hash(args) AS args, CASE WHEN result_seq IS NULL THEN result_text END AS result_text"
        if table == "tool_calls"
        else ""
    )
    names = [*columns, "args", "result_text"] if extra else columns
    wanted = ", ".join(columns) + extra
    sql = f"SELECT trace_id, {wanted} FROM {table} WHERE rowid BETWEEN ? AND ? ORDER BY trace_id, {order}"
    for trace_id, *values in con.execute(sql, [min(r[0] for r in found), max(r[1] for r in found)]).fetchall():
        by_trace[trace_id].append(SimpleNamespace(**dict(zip(names, values, strict=True))))
    return by_trace
