"""Opik (Comet): exported traces with their spans.

    {"trace": {"id": "t1", "name": "agent", "start_time": "…Z", "input": {…}, "output": {…}, "thread_id": "th1", "usage": {…},
     "feedback_scores": [{"name": "correct", "value": 1.0, "source": "sdk"}]}, "spans": [{"id": "s1", "trace_id": "t1",
     "parent_span_id": null, "type": "llm", "input": {…}, "output": {…}, "model": "m", "usage": {…}, "error_info": {…}}]}

One document a trace, a list, or one a line. The trace itself is the span that holds the others; its usage and cost are their sums
and not added. Times are UTC. Errors: `error_info`. Outcome: a feedback score of 0 or 1 of the trace named for correctness; other
scores are annotations. Dropped: guardrail checks but as spans; the CSV form of the export is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.mlflow import usage
from insights.corpus.formats.otel_attributes import KINDS
from insights.corpus.formats.payload import decoded
from insights.corpus.formats.span_steps import build
from insights.corpus.formats.spans import Span, score
from insights.corpus.parse import mapping, mappings, number, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name, as_text

BASIS = {"sdk": "heuristic", "online_scoring": "judge", "ui": "human"}


def _holds(row: Mapping[str, Any]) -> bool:
    trace = mapping(row.get("trace"))
    known = {"start_time", "feedback_scores", "thread_id", "project_id", "span_count"} & trace.keys()
    return "id" in trace and bool(known) and isinstance(row.get("spans"), list)


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if _holds(first):
        return "certain"
    trace = mapping(first.get("trace"))
    return "likely" if {"id", "start_time", "feedback_scores"} <= trace.keys() else None


@reader("opik", title="Opik traces", rank=21, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    for record in source.records():
        row = mapping(record.value)
        if not mapping(row.get("trace")):
            source.n_bad += 1
            source.issue("not_a_trace", f"a record is no trace: {str(row)[:80]!r}", offset=record.offset)
        else:
            place = {"offset": record.offset, "length": record.length}
            yield from source.attempt(record, _trace, row, place, record.pointer or "")


def _trace(row: Mapping[str, Any], place: dict[str, Any], pointer: str) -> Trace:
    head = mapping(row["trace"])
    id = as_name(head.get("id")) or pointer or "trace"
    t = Trace("opik", id, session_id=as_name(head.get("thread_id")))
    meta = mapping(decoded(head.get("metadata")))
    t.metadata.update({k: v for k, v in meta.items() if isinstance(v, (str, int, float, bool)) and len(str(v)) < 500})
    t.task_id = as_name(t.metadata.pop("task_id", None))
    if row.get("project_name") or head.get("project_id"):
        t.metadata["project"] = as_name(row.get("project_name") or head.get("project_id"))
    t.tags = [str(x) for x in sequence(head.get("tags"))]
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
        for f in mappings(holder.get("feedback_scores")):
            score(t, f.get("name"), f.get("value"), whole=at is None, label=as_name(f.get("category_name")), span_id=at,
                  seq=seqs.get(at) if at else None, explanation=as_text(f.get("reason")),
                  basis=BASIS.get(word(f.get("source"))), annotator=as_name(f.get("last_updated_by")))  # fmt: skip
    return t


def _span(s: Mapping[str, Any], place: dict[str, Any]) -> Span:
    native = word(s.get("type"))
    kind = {"general": "chain", "trace": "chain"}.get(native, KINDS.get(native, "chain"))
    error = mapping(s.get("error_info"))
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
        usage=usage(mapping(s.get("usage"))),
        cost=number(s.get("total_estimated_cost")),
        attributes={**mapping(decoded(s.get("metadata"))), **({"error_info": error} if error else {})},
        **place,
    )
