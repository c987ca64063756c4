"""Braintrust: project logs and experiments, one span a row.

    {"id": "r2", "_xact_id": "1000192656880881099", "span_id": "s2", "root_span_id": "r1", "span_parents": ["r1"], "span_attributes":
     {"name": "Chat Completion", "type": "llm"}, "input": […], "output": […], "expected": null, "error": null, "scores": {"Factuality": 1},
     "metadata": {"model": "gpt-4o"}, "metrics": {"start": 1772359201.0, "end": 1772359203.0, "prompt_tokens": 50}}

Rows as JSONL, a list, below `events` or `objects`, or Parquet. Of a row written several times the one with the highest `_xact_id`
counts. Times are epoch seconds. Errors: `error`. Outcome: a score of 0 or 1 of the root named for correctness; other scores are
annotations; `expected` is the reference. Dropped: context, origin but for the id of the data set's row, facets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.otel_attributes import KINDS
from insights.corpus.formats.otlp import parquet_rows
from insights.corpus.formats.payload import decoded
from insights.corpus.formats.span_steps import build
from insights.corpus.formats.spans import Gather, Span, score, trace_ids
from insights.corpus.parse import mapping, number, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_name, as_text

TYPES = {"task": "chain", "function": "chain", "eval": "chain", "score": "evaluator", "automation": "other"}
LISTS = ("events", "objects", "rows", "data")


def _is_span(row: Mapping[str, Any]) -> bool:
    return (
        "root_span_id" in row
        and "span_id" in row
        and bool({"_xact_id", "span_attributes", "span_parents"} & row.keys())
    )


def _list(head: Head) -> str | None:
    first = head.first
    return next(
        (k for k in LISTS if isinstance(first.get(k), list) and first[k] and _is_span(mapping(first[k][0]))), None
    )


def _detect(head: Head) -> Confidence | None:
    if head.magic == "parquet":
        import pyarrow.parquet as pq

        try:
            return "certain" if _is_span(dict.fromkeys(pq.read_schema(head.path).names)) else None
        except (OSError, ValueError):
            return None
    return "certain" if _is_span(head.first) or _list(head) else None


def _shares(source: Source) -> dict[str, Any]:
    return {f"braintrust:{id}": 0 for id in trace_ids(source, "root_span_id")}


@reader("braintrust", title="Braintrust logs and experiments", rank=21, detect=_detect, shares=_shares)
def read(source: Source) -> Iterator[Trace]:
    gather = Gather()
    for record in source.joined(_rows):
        row = mapping(record.value)
        root = as_name(row.get("root_span_id"))
        if root is None:
            source.n_bad += 1
            source.issue("not_a_span", f"a record is no span: {str(row)[:80]!r}", offset=record.offset)
        else:
            gather.add(root, {**row, "_at": [record.offset, record.length, record.pointer]})
    for root, rows in gather.groups():
        yield _trace(root, sorted((mapping(r) for r in rows), key=lambda r: _version(r.get("_xact_id"))))


def _rows(source: Source) -> Iterator[Record]:
    yield from parquet_rows(source) if source.head.magic == "parquet" else source.records(_list(source.head))


def _version(value: Any) -> int:
    return int(value) if isinstance(value, (int, str)) and str(value).isdecimal() else 0


def _trace(id: str, rows: list[dict[str, Any]]) -> Trace:
    t = Trace("braintrust", id)
    latest = list({as_name(r.get("id")) or as_name(r.get("span_id")): r for r in rows}.values())
    if len(latest) < len(rows):
        t.issue(
            "repeated_row", "rows written again; the last version counts", severity="info", n=len(rows) - len(latest)
        )
    root = next((r for r in latest if r.get("is_root") is True or as_name(r.get("span_id")) == id), {})
    meta = mapping(decoded(root.get("metadata")))
    t.metadata.update({k: v for k, v in meta.items() if isinstance(v, (str, int, float, bool)) and len(str(v)) < 500})
    t.task_id = as_name(t.metadata.pop("task_id", None) or mapping(decoded(root.get("origin"))).get("id"))
    t.session_id = as_name(meta.get("session_id") or meta.get("thread_id") or meta.get("conversation_id"))
    for name, key in (("project", "project_id"), ("experiment", "experiment_id")):
        if root.get(key):
            t.metadata[name] = as_name(root[key])
    t.slice("name", as_name(mapping(decoded(root.get("span_attributes"))).get("name")))
    t.tags = [str(x) for x in sequence(decoded(root.get("tags")))]
    if root.get("expected") not in (None, ""):
        t.expect("answer", value=as_text(root["expected"]))
    build(t, [_span(r) for r in latest])
    seqs = {s.span_id: s.seq for s in t.steps if s.span_id}
    for r in latest:
        at = as_name(r.get("span_id"))
        for name, value in mapping(decoded(r.get("scores"))).items():
            if number(value) is not None or isinstance(value, bool):
                score(t, name, value, whole=r is root, span_id=at, seq=seqs.get(at) if at else None)
    return t


def _span(row: Mapping[str, Any]) -> Span:
    told, metrics = mapping(decoded(row.get("span_attributes"))), mapping(decoded(row.get("metrics")))
    meta = mapping(decoded(row.get("metadata")))
    native = word(told.get("type"))
    kind = TYPES.get(native, KINDS.get(native, "chain"))
    parents = sequence(decoded(row.get("span_parents")))
    error = decoded(row.get("error"))
    text = as_text(mapping(error).get("message") or error or None)
    first = number(metrics.get("time_to_first_token"))
    at = row.get("_at")
    offset, length, pointer = at if isinstance(at, list) and len(at) == 3 else (None, None, None)
    named = {
        "input_tokens": "prompt_tokens",
        "output_tokens": "completion_tokens",
        "cache_read_tokens": "prompt_cached_tokens",
        "cache_write_tokens": "prompt_cache_creation_tokens",
        "reasoning_tokens": "completion_reasoning_tokens",
    }
    counts = {k: number(metrics.get(v)) for k, v in named.items()}
    return Span(
        id=as_name(row.get("span_id")) or as_name(row.get("id")) or str(pointer or offset),
        parent=as_name(parents[0]) if parents else None,
        name=as_name(told.get("name")) or "",
        kind=kind,
        native_kind=native,
        convention="braintrust",
        start=timestamp(metrics.get("start") or row.get("created")),
        end=timestamp(metrics.get("end")),
        failed=True if text else None,
        error=text,
        error_type=as_name(mapping(error).get("name")),
        input=decoded(row.get("input")),
        output=decoded(row.get("output")),
        tool=as_name(told.get("name")) if kind == "tool" else None,
        model=as_name(meta.get("model")),
        model_requested=as_name(meta.get("model")),
        provider=as_name(meta.get("provider")),
        usage={k: int(v) for k, v in counts.items() if v is not None},
        cost=number(metrics.get("estimated_cost")) if kind == "llm" else None,
        ttft_ms=first * 1000 if first is not None else None,
        attributes=meta,
        offset=offset,
        length=length,
        pointer=pointer,
    )
