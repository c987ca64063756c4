"""Finished traces to Arrow tables, in batches bounded by the characters of text they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from insights.corpus.columns import TABLES, arrow_schema
from insights.corpus.parse import clean
from insights.corpus.source import Issue
from insights.corpus.trace import Trace, as_json

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_CHARS = 24_000_000  # unit: characters of step text; bounds memory while keeping inserts large
JSON_COLUMNS = {t: {c for c, kind in columns.items() if kind == "JSON"} for t, columns in TABLES.items()}

_step = attrgetter(*list(TABLES["steps"])[1:])
_call = attrgetter(*list(TABLES["tool_calls"])[1:])
_trace = attrgetter(*TABLES["traces"])
_signal = attrgetter(*list(TABLES["signals"])[1:])


class Batch:
    """Arrow tables by name, and the (trace_id, fingerprint) of the traces inside."""

    def __init__(self, tables: dict[str, pa.Table], heads: list[tuple[str, str]]) -> None:
        self.tables = tables
        self.heads = heads


def batches(traces: Iterable[Trace], source_id: str, detect: Callable[[Trace], Sequence[Any]]) -> Iterator[Batch]:
    """Finish each trace, run the detectors over it, and give tables of about BATCH_CHARS of text."""
    held: list[tuple[Trace, Sequence[Any]]] = []
    chars = 0
    seen: dict[str, int] = {}
    for trace in traces:
        _distinct(trace, seen)
        trace.finish(source_id)
        held.append((trace, detect(trace)))
        chars += sum(s.text_len for s in trace.steps) + 500 * len(trace.steps) + sum(b[2] for b in trace.blobs.values())
        if chars >= BATCH_CHARS:
            yield _tables(held)
            held, chars = [], 0
    if held:
        yield _tables(held)


def _distinct(trace: Trace, seen: dict[str, int]) -> None:
    n = seen.get(trace.trace_id, 0) + 1
    seen[trace.trace_id] = n
    if n > 1:
        trace.issue("repeated_id", f"{trace.trace_id} occurs {n} times in one source", severity="info")
        trace.trace_id = f"{trace.trace_id}#{n}"


def _tables(held: list[tuple[Trace, Sequence[Any]]]) -> Batch:
    rows: dict[str, list[Sequence[Any]]] = {
        "traces": [_trace(t) for t, _ in held],
        "steps": [(t.trace_id, *_step(s)) for t, _ in held for s in t.steps],
        "tool_calls": [(t.trace_id, *_call(c)) for t, _ in held for c in t.calls],
        "slices": [(t.trace_id, name, *value) for t, _ in held for name, value in t.slices.items()],
        "signals": [(t.trace_id, *_signal(signal)) for t, signals in held for signal in signals],
        "ingest_issues": [issue_row(t.source_id, i) for t, _ in held for i in t.issues],
        "blobs": list({own: blob for t, _ in held for own, blob in t.blobs.items()}.values()),
    }
    for table, of in (
        ("llm_calls", lambda t: t.llm_calls),
        ("spans", lambda t: t.spans),
        ("annotations", lambda t: t.annotations),
        ("expected", lambda t: t.expected),
    ):
        names = list(TABLES[table])[1:]
        rows[table] = [(t.trace_id, *map(row.get, names)) for t, _ in held for row in of(t)]
    return Batch(
        {name: to_arrow(name, table) for name, table in rows.items() if table},
        [(t.trace_id, t.fingerprint) for t, _ in held],
    )


def issue_row(source_id: str, issue: Issue) -> tuple[Any, ...]:
    return (source_id, issue.trace_id, issue.seq, issue.offset, issue.code, issue.severity, issue.n, issue.detail)


def to_arrow(table: str, rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Rows in the column order of the DDL as an Arrow table; what a type cannot hold is cleaned or becomes NULL."""
    import pyarrow as pa

    schema = arrow_schema(table)
    arrays = []
    for field, values in zip(schema, zip(*rows, strict=True), strict=True):
        column: Sequence[Any] = values
        if field.name in JSON_COLUMNS[table]:
            column = [as_json(v) for v in values]
        try:
            arrays.append(pa.array(column, field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, OverflowError):
            arrays.append(pa.array([_coerce(v, field.type) for v in column], field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _coerce(value: Any, kind: pa.DataType) -> Any:
    import pyarrow as pa

    value = clean(value)
    if value is None:
        return None
    if pa.types.is_string(kind):
        return value if isinstance(value, str) else as_json(value) or str(value)
    try:
        return pa.scalar(value, kind).as_py()
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        pass
    try:
        if pa.types.is_integer(kind):
            return pa.scalar(int(float(value)), kind).as_py()
        if pa.types.is_floating(kind):
            return float(value)
    except (TypeError, ValueError, OverflowError, pa.ArrowInvalid):
        pass
    return None
