"""TRAIL: OpenTelemetry traces of agents with the errors that annotators located in them.

    {"trace": "{\\"trace_id\\": \\"t1\\", \\"spans\\": [{\\"span_id\\": \\"a\\", \\"span_name\\": \\"main\\", \\"span_attributes\\": {…},
     \\"duration\\": \\"PT2S\\", \\"child_spans\\": […]}]}", "labels": "{\\"errors\\": [{\\"category\\": \\"…\\", \\"location\\": \\"a\\",
     \\"evidence\\": \\"…\\", \\"description\\": \\"…\\", \\"impact\\": \\"LOW\\"}], \\"scores\\": [{\\"reliability_score\\": 3}]}"}

Trace and labels are JSON in strings (objects are read too). Every span is a row of `spans`, children nested in
`child_spans`. Spans of kind LLM become steps: messages not shown before, then the answer; TOOL spans become calls with
their results. Each error is an annotation of kind `failure` at its span and, where the span has one, its step; scores are
annotations. Errors of spans: status_code "Error". Numbers stand as text. Outcome: none (scores are opinions).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import orjson

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.parse import mapping, mappings, sequence
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

MESSAGE = re.compile(r"llm\.(input|output)_messages\.(\d+)\.message\.(role|content)$")
DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?$")
KINDS = {
    "AGENT": "agent",
    "LLM": "llm",
    "TOOL": "tool",
    "CHAIN": "chain",
    "RETRIEVER": "retriever",
    "EMBEDDING": "embedding",
}


def _inner(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return mapping(value)


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if {"trace", "labels"} <= first.keys() and "child_spans" in str(first["trace"])[:20_000]:
        return "certain"
    spans = first.get("spans")
    return "likely" if isinstance(spans, list) and spans and "child_spans" in mapping(spans[0]) else None


@reader("trail", title="TRAIL annotated traces", rank=12, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    for i, record in enumerate(source.records()):
        row = mapping(record.value)
        trace = _inner(row.get("trace")) or row
        spans = trace.get("spans")
        if not isinstance(spans, list):
            source.n_bad += 1
            source.issue("no_spans", f"record {i} holds no spans", offset=record.offset)
            continue
        t = Trace("trail", str(trace.get("trace_id") or f"{source.label}#{i}"))
        shown: list[tuple[str, str]] = []
        for span in spans:
            _span(t, mapping(span), 0, shown)
        _labels(t, _inner(row.get("labels")))
        yield t


def _span(t: Trace, s: dict[str, Any], depth: int, shown: list[tuple[str, str]]) -> None:
    attributes = mapping(s.get("span_attributes"))
    native = str(attributes.get("openinference.span.kind") or s.get("span_kind") or "")
    start, failed = timestamp(s.get("timestamp")), str(s.get("status_code")) == "Error"
    span_id = str(s.get("span_id"))
    t.spans.append(
        {
            "span_id": span_id,
            "parent_span_id": s.get("parent_span_id"),
            "otel_trace_id": s.get("trace_id"),
            "name": s.get("span_name"),
            "kind": KINDS.get(native, "other"),
            "native_kind": native,
            "convention": "openinference",
            "started_at": start,
            "ended_at": _end(start, s.get("duration")),
            "status": "error" if failed else "ok",
            "error_message": s.get("status_message") or None,
            "input_text": attributes.get("input.value"),
            "output_text": attributes.get("output.value"),
            "attributes": attributes,
            "depth": depth,
        }
    )
    if native == "LLM":
        _llm(t, s, attributes, span_id, start, shown)
    elif native == "TOOL":
        _tool(t, s, attributes, span_id, start, failed)
    for child in sequence(s.get("child_spans")):
        _span(t, mapping(child), depth + 1, shown)


def _end(start: datetime | None, duration: Any) -> datetime | None:
    found = DURATION.match(duration) if isinstance(duration, str) else None
    if start is None or found is None:
        return None
    hours, minutes, seconds = (float(g or 0) for g in found.groups())
    return start + timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _llm(
    t: Trace,
    s: dict[str, Any],
    attributes: dict[str, Any],
    span_id: str,
    start: datetime | None,
    shown: list[tuple[str, str]],
) -> None:
    given = _messages(attributes, "input")
    known = 0
    while known < min(len(given), len(shown)) and given[known] == shown[known]:
        known += 1
    for role, text in given[known:]:
        if (role, text) not in shown:
            origin = {"assistant": "model", "user": "human"}.get(role, "harness")
            t.step(role, text, origin=origin, span_id=span_id, ts=start)
    answers = _messages(attributes, "output") or [("assistant", attributes.get("output.value") or "")]
    seqs = [t.step(role, text, origin="model", span_id=span_id, ts=start) for role, text in answers]
    shown[:] = [*given, *answers]
    t.steps[seqs[0]].llm_call_id = t.llm(
        first_seq=seqs[0],
        span_id=span_id,
        model=attributes.get("llm.model_name"),
        input_tokens=_number(attributes.get("llm.token_count.prompt")),
        output_tokens=_number(attributes.get("llm.token_count.completion")),
        started_at=start,
        ended_at=_end(start, s.get("duration")),
    )


def _messages(attributes: dict[str, Any], side: str) -> list[tuple[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for key, value in attributes.items():
        m = MESSAGE.match(key)
        if m and m[1] == side:
            found.setdefault(int(m[2]), {})[m[3]] = str(value)
    return [(v.get("role") or "assistant", v.get("content") or "") for _, v in sorted(found.items())]


def _number(value: Any) -> int | None:
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def _tool(
    t: Trace, s: dict[str, Any], attributes: dict[str, Any], span_id: str, start: datetime | None, failed: bool
) -> None:
    seq = next((x.seq for x in reversed(t.steps) if x.role == "assistant"), None)
    seq = t.step("assistant", None, origin="model", span_id=span_id) if seq is None else seq
    name = attributes.get("tool.name") or s.get("span_name")
    t.call(seq, name, attributes.get("tool.parameters") or attributes.get("input.value"), id=span_id, span_id=span_id)
    t.result(
        attributes.get("output.value") or s.get("status_message"),
        id=span_id,
        status="error" if failed else "ok",
        error_basis="span_status" if failed else None,
        span_id=span_id,
        ts=start,
    )


def _labels(t: Trace, labels: dict[str, Any]) -> None:
    at = {x.span_id: x.seq for x in t.steps if x.span_id}  # the last step of a span is its answer
    for error in mappings(labels.get("errors")):
        error = mapping(error)
        location = error.get("location")
        t.annotate(
            "failure",
            str(error.get("category")),
            span_id=location,
            seq=at.get(location),
            label=error.get("impact"),
            explanation=error.get("description"),
            passed=False,
            basis="human",
            extra={"evidence": error["evidence"]} if error.get("evidence") else None,
        )
    for scores in sequence(labels.get("scores")):
        for name, value in mapping(scores).items():
            if isinstance(value, (int, float)):
                said = mapping(scores).get(name.replace("_score", "_reasoning"))
                t.annotate(
                    "score",
                    name,
                    value=float(value),
                    explanation=said if isinstance(said, str) else None,
                    basis="human",
                )
