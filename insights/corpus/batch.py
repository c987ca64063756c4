"""Finished traces to Arrow tables, in batches bounded by the characters of text they hold.

A batch may hold the traces of many small files or a part of those of a large one; `done` names the sources that ended
in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from insights.corpus.arrays import array
from insights.corpus.columns import TABLES, arrow_schema
from insights.corpus.source import Issue
from insights.corpus.trace import Trace, as_json

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_CHARS = 8_000_000  # unit: characters of step text; bounds memory while keeping tables large
STEP_CHARS = 500  # what a step costs beside its text
JSON_COLUMNS = {t: {c for c, kind in columns.items() if kind == "JSON"} for t, columns in TABLES.items()}
LISTS = ("llm_calls", "spans", "annotations", "expected")  # tables whose rows are mappings
SEARCHED_FOR_SECRETS = {
    "traces": ("metadata", "extra"),
    "steps": ("text", "reasoning", "parts", "extra"),
    "tool_calls": ("args_text", "result_text", "extra"),
    "spans": ("input_text", "output_text", "attributes", "events"),
}


@dataclass
class Done:
    """The end of one source: its row for `sources` and its issues."""

    source_row: dict[str, Any]
    issues: list[Issue] = field(default_factory=list)
    n_traces: int = 0


@dataclass
class Batch:
    """Arrow tables by name, (trace_id, fingerprint, source_id) of the traces inside, the sources that ended."""

    tables: dict[str, pa.Table]
    heads: list[tuple[str, str, str]]
    done: list[Done]


class Builder:
    """Takes traces and ended sources; gives batches. The ids within one batch are distinct."""

    def __init__(self) -> None:
        self._held: list[tuple[Trace, Sequence[Any]]] = []
        self._ids: set[str] = set()
        self._done: list[Done] = []
        self._chars = 0

    def read(self, traces: Iterable[Trace], source_id: str, done: Done | None = None) -> Iterator[Batch]:
        """Finish each trace and run the detectors over it; give what is full."""
        from primitives.detectors import scan_trace

        seen: Counter[str] = Counter()
        for trace in traces:
            _distinct(trace, seen)
            if trace.trace_id in self._ids:
                yield self.take()
            trace.finish(source_id)
            if trace.slices:  # the table is chosen from these when all traces are known
                trace.extra = {**trace.extra, "slices": trace.slices}
            self._held.append((trace, scan_trace(trace)))
            self._ids.add(trace.trace_id)
            if done is not None:
                done.n_traces += 1
            self._chars += sum(s.text_len for s in trace.steps) + STEP_CHARS * len(trace.steps)
            self._chars += sum(blob[2] for blob in trace.blobs.values())
            if self._chars >= BATCH_CHARS:
                yield self.take()

    def end(self, done: Done) -> None:
        """A source is at its end."""
        self._done.append(done)
        self._chars += STEP_CHARS

    def take(self) -> Batch:
        """All that is held."""
        held, done = self._held, self._done
        tables = _tables(held, done)
        heads = [(t.trace_id, t.fingerprint, t.source_id) for t, _ in held]
        self._held, self._ids, self._done, self._chars = [], set(), [], 0
        return Batch(tables, heads, done)


def _distinct(trace: Trace, seen: Counter[str]) -> None:
    seen[trace.trace_id] += 1
    if (n := seen[trace.trace_id]) > 1:
        trace.issue("repeated_id", f"{trace.trace_id} occurs {n} times in one source", severity="info")
        trace.trace_id = f"{trace.trace_id}#{n}"


def _tables(held: list[tuple[Trace, Sequence[Any]]], done: list[Done]) -> dict[str, pa.Table]:
    traces = [t for t, _ in held]
    issues = [issue_row(t.source_id, i) for t in traces for i in t.issues]
    issues += [issue_row(d.source_row["source_id"], i) for d in done for i in d.issues]
    rows: dict[str, list[Sequence[Any]]] = {
        "blobs": list({own: blob for t in traces for own, blob in t.blobs.items()}.values()),
        "sources": [tuple(d.source_row.get(column) for column in TABLES["sources"]) for d in done],
    }
    of_signal = attrgetter(*list(TABLES["signals"])[1:])
    rows["signals"] = [(t.trace_id, *of_signal(signal)) for t, signals in held for signal in signals]
    for table in LISTS:
        names = list(TABLES[table])[1:]
        rows[table] = [(t.trace_id, *map(row.get, names)) for t in traces for row in getattr(t, table)]
    found = {
        "traces": _columns("traces", [t.trace_id for t in traces], traces),
        "steps": _columns("steps", [t.trace_id for t in traces for _ in t.steps], [s for t in traces for s in t.steps]),
        "tool_calls": _columns(
            "tool_calls", [t.trace_id for t in traces for _ in t.calls], [c for t in traces for c in t.calls]
        ),
        **{name: to_arrow(name, table) for name, table in rows.items()},
    }
    of_source = {t.trace_id: t.source_id for t in traces}
    issues += [issue_row(of_source[str(i.trace_id)], i) for i in _secrets(found)]
    found["ingest_issues"] = to_arrow("ingest_issues", issues)
    return {name: table for name, table in found.items() if table.num_rows}


def _secrets(tables: dict[str, pa.Table]) -> Iterator[Issue]:
    """What looks like a secret, counted by trace, kind and column; never its value."""
    from primitives.secrets import count, suspects

    for name, columns in SEARCHED_FOR_SECRETS.items():
        table, found = tables[name], Counter[tuple[str, str, str]]()
        for column in columns:
            texts = _own_results(table) if column == "result_text" else table[column]
            for row in suspects(texts):
                trace_id = table["trace_id"][row].as_py()
                for kind, n in count(table[column][row].as_py()).items():
                    found[trace_id, kind, column] += n
        for (trace_id, kind, column), n in found.items():
            yield Issue("secret", "info", f"{kind} in {name}.{column}", trace_id=trace_id, n=n)


def _own_results(calls: pa.Table) -> pa.ChunkedArray:
    """The results that are not the text of a step as well."""
    import pyarrow as pa
    import pyarrow.compute as pc

    none = pa.nulls(len(calls), pa.string())
    return pc.if_else(pc.is_null(calls["result_seq"]), calls["result_text"], none)


def issue_row(source_id: str, issue: Issue) -> tuple[Any, ...]:
    return (source_id, issue.trace_id, issue.seq, issue.offset, issue.code, issue.severity, issue.n, issue.detail)


def _columns(table: str, owners: list[str], things: list[Any]) -> pa.Table:
    """Objects whose attributes are the columns of a table, as an Arrow table. `owners`: the trace_id of each."""
    import pyarrow as pa

    schema = arrow_schema(table)
    said = set().union(*map(vars, things))  # of the others every object has what its class has, mostly None
    names = [name for name in schema.names if name in said]
    rows = map(attrgetter(*names), things) if names else ()  # object after object: each comes into the cache once
    columns: dict[str, Sequence[Any]] = dict(zip(names, zip(*rows, strict=True), strict=True))
    columns["trace_id"] = owners
    arrays = []
    for of in schema:
        values = columns.get(of.name) or [getattr(type(one), of.name) for one in things]
        arrays.append(_array(values, of, of.name in JSON_COLUMNS[table]))
    return pa.Table.from_arrays(arrays, schema=schema)


def to_arrow(table: str, rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Rows in the column order of the DDL as an Arrow table; what a type cannot hold is cleaned or becomes NULL."""
    import pyarrow as pa

    schema = arrow_schema(table)
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)  # empty_table() would import pandas
    arrays = [_array(v, of, of.name in JSON_COLUMNS[table]) for of, v in zip(schema, columns, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: Sequence[Any], of: pa.Field, is_json: bool) -> pa.Array:
    return array([as_json(v) for v in values] if is_json else values, of.type)
