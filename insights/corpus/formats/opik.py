"""Opik (Comet): exported traces with their spans.

    {"trace": {"id": "t1", "name": "agent", "start_time": "…Z", "input": {…}, "output": {…}, "thread_id": "th1", "usage": {…},
     "feedback_scores": [{"name": "correct", "value": 1.0, "source": "sdk"}]}, "spans": [{"id": "s1", "trace_id": "t1",
     "parent_span_id": null, "type": "llm", "input": {…}, "output": {…}, "model": "m", "usage": {…}, "error_info": {…}}]}

    trace_id,trace_name,trace_input,…,span_id,span_type,span_parent_span_id,span_input,…        the CSV form: a row a span

One document a trace, a list, or one a line; lists of the SDK's `search_traces` and `search_spans` (joined where both are there); CSV
of the command line and of the page (traces alone: io_only). The trace itself is the span that holds the others; its usage and cost are their sums
and not added. Times are UTC. Errors: `error_info`. Outcome: a feedback score of 0 or 1 of the trace named for correctness; other
scores are annotations. Dropped: guardrail checks but as spans.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.csv_rows import csv_rows, header
from insights.corpus.formats.mlflow import usage
from insights.corpus.formats.otel_attributes import KINDS
from insights.corpus.formats.payload import decoded
from insights.corpus.formats.span_steps import build
from insights.corpus.formats.spans import Gather, Span, score, trace_ids
from insights.corpus.parse import mapping, mappings, number, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_name, as_text

BASIS = {"sdk": "heuristic", "online_scoring": "judge", "ui": "human"}


def _holds(row: Mapping[str, Any]) -> bool:
    trace = mapping(row.get("trace"))
    known = {"start_time", "feedback_scores", "thread_id", "project_id", "span_count"} & trace.keys()
    return "id" in trace and bool(known) and isinstance(row.get("spans"), list)


def _is_trace(row: Mapping[str, Any]) -> bool:
    """Whether a row is a trace alone, as the SDK's searches and the page's CSV give it."""
    known = {
        "feedback_scores",
        "span_count",
        "llm_span_count",
        "guardrails_validations",
        "total_estimated_cost",
    } & row.keys()
    return {"id", "name", "start_time", "input"} <= row.keys() and len(known) > 1 and "trace_id" not in row


def _is_span(row: Mapping[str, Any]) -> bool:
    typed = word(row.get("type")) in ("general", "tool", "llm", "guardrail")
    return typed and {"id", "trace_id", "parent_span_id", "start_time"} <= row.keys()


def _detect(head: Head) -> Confidence | None:
    columns = header(head)
    if columns:
        both = {"trace_id", "span_id", "span_type"} <= set(columns) and any(c.startswith("trace_") for c in columns)
        return "certain" if both else "likely" if _is_trace(dict.fromkeys(columns)) else None
    first = head.first
    if _holds(first):
        return "certain"
    trace = mapping(first.get("trace"))
    if {"id", "start_time", "feedback_scores"} <= trace.keys() or _is_span(first) or _is_trace(first):
        return "likely"
    return None


def _shares(source: Source) -> dict[str, Any]:
    """Lists of traces and of spans stand in files of their own; a row of the first names its trace as `id`."""
    if header(source.head) or _holds(source.head.first):
        return {}
    if _is_trace(source.head.first):
        return {f"opik:{mapping(r.value).get('id')}": 0 for r in source.records()}
    return {f"opik:{id}": 1 for id in trace_ids(source)}


def _rows(source: Source) -> Iterator[Record]:
    yield from csv_rows(source) if header(source.head) else source.records()


@reader("opik", title="Opik traces", rank=21, detect=_detect, shares=_shares)
def read(source: Source) -> Iterator[Trace]:
    gather = Gather()
    for record in source.joined(_rows):
        row = mapping(record.value)
        place = {"offset": record.offset, "length": record.length}
        if mapping(row.get("trace")):
            yield from source.attempt(record, _trace, row, place, record.pointer or "")
            continue
        own = as_name(row.get("trace_id")) or (as_name(row.get("id")) if _is_trace(row) else None)
        if own is None:
            source.n_bad += 1
            source.issue("not_a_trace", f"a record is no trace: {str(row)[:80]!r}", offset=record.offset)
        else:
            gather.add(own, {**row, "_at": [record.offset, record.length, record.pointer]})
    for own, rows in gather.groups():
        yield _joined(own, [mapping(r) for r in rows])


def _joined(own: str, rows: list[dict[str, Any]]) -> Trace:
    """A trace whose spans stand in rows of their own; the columns of a CSV bear the names of both."""
    head: dict[str, Any] = {"id": own}
    spans: dict[str, dict[str, Any]] = {}
    for row in rows:
        if _is_trace(row):
            head.update(row)
        elif _is_span(row):
            spans[str(row["id"])] = row
        else:
            head.update({k.removeprefix("trace_"): decoded(v) for k, v in row.items() if k.startswith("trace_")})
            span = {k.removeprefix("span_"): decoded(v) for k, v in row.items() if k.startswith("span_")}
            if span.get("id"):
                spans[str(span["id"])] = span
    at = rows[0].get("_at")
    offset, length, pointer = at if isinstance(at, list) and len(at) == 3 else (None, None, None)
    t = _trace({"trace": head, "spans": list(spans.values())}, {"offset": offset, "length": length}, pointer or "")
    if not spans:
        t.issue("no_spans", "the trace has no spans here: only its input and output", severity="info")
    return t


def _trace(row: Mapping[str, Any], place: dict[str, Any], pointer: str) -> Trace:
    head = mapping(row["trace"])
    id = as_name(head.get("id")) or pointer or "trace"
    t = Trace("opik", id, session_id=as_name(head.get("thread_id")))
    meta = mapping(decoded(head.get("metadata")))
    t.metadata.update({k: v for k, v in meta.items() if isinstance(v, (str, int, float, bool)) and len(str(v)) < 500})
    t.task_id = as_name(t.metadata.pop("task_id", None))
    if row.get("project_name") or head.get("project_id"):
        t.metadata["project"] = as_name(row.get("project_name") or head.get("project_id"))
    t.tags = [str(x) for x in sequence(decoded(head.get("tags")))]
    t.slice("name", as_name(head.get("name")))
    whole = _span({**head, "type": "trace"}, {**place, "pointer": f"{pointer}/trace"})
    whole.id, whole.parent = id, None
    spans = [whole]
    for i, s in enumerate(mappings(row.get("spans"))):
        span = _span(s, {**place, "pointer": f"{pointer}/spans/{i}"})
        span.parent = span.parent or id
        spans.append(span)
    build(t, spans)
    seqs = {s.span_id: s.seq for s in t.steps if s.span_id}
    for holder, at in [(head, None), *((s, as_name(s.get("id"))) for s in mappings(row.get("spans")))]:
        for f in mappings(decoded(holder.get("feedback_scores"))):
            score(t, f.get("name"), f.get("value"), whole=at is None, label=as_name(f.get("category_name")), span_id=at,
                  seq=seqs.get(at) if at else None, explanation=as_text(f.get("reason")),
                  basis=BASIS.get(word(f.get("source"))), annotator=as_name(f.get("last_updated_by")))  # fmt: skip
    return t


def _number(value: Any) -> float | None:
    """A number, also from a cell of a CSV."""
    try:
        return float(value) if isinstance(value, str) else number(value)
    except ValueError:
        return None


def _span(s: Mapping[str, Any], place: dict[str, Any]) -> Span:
    native = word(s.get("type"))
    kind = {"general": "chain", "trace": "chain"}.get(native, KINDS.get(native, "chain"))
    error = mapping(decoded(s.get("error_info")))
    return Span(
        id=as_name(s.get("id")) or str(place["pointer"]),
        parent=as_name(s.get("parent_span_id")),
        name=as_name(s.get("name")) or "",
        kind=kind,
        native_kind=native,
        convention="opik",
        start=timestamp(s.get("start_time")),
        end=timestamp(s.get("end_time")),
        failed=True if error else None,
        error=as_text(error.get("message") or error.get("traceback")),
        error_type=as_name(error.get("exception_type")),
        input=decoded(s.get("input")),
        output=decoded(s.get("output")),
        tool=as_name(s.get("name")) if kind == "tool" else None,
        model=as_name(s.get("model")),
        model_requested=as_name(s.get("model")),
        provider=as_name(s.get("provider")),
        usage=usage(mapping(decoded(s.get("usage")))),
        cost=_number(s.get("total_estimated_cost")),
        attributes={**mapping(decoded(s.get("metadata"))), **({"error_info": error} if error else {})},
        **place,
    )
