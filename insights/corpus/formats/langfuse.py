"""Langfuse: exported traces with their observations and scores.

    {"trace": {"id": "t1", "name": "support", "sessionId": "s1", "input": "\\"…\\"", "scores": []}, "observations": [{"id": "o1",
     "traceId": "t1", "parentObservationId": null, "type": "GENERATION", "name": "chat", "startTime": "2026-03-01T10:00:00Z",
     "model": "m", "input": "[{\\"role\\": \\"user\\", …}]", "output": "…", "level": "ERROR", "usageDetails": {"input": 9, "output": 2}}]}

Containers: the download of one trace, with `trace`, with `observations` and `scores`, or as the API gives it (one, a list, or one a
line); exports of the tables observations or traces as JSON, JSONL, CSV or Parquet (of the latter, traces without observations are
io_only). Rows of the folders `traces` and `scores` beside `observations`, as blob exports have them, are joined.
Payloads are JSON in text, often twice, in the shape of the framework; OpenTelemetry attributes kept in the metadata are used where
they tell messages apart. Times are UTC. `usageDetails.input` leaves cached tokens out: they are added. Errors: level ERROR.
Outcome: a yes-or-no score of the whole trace named for correctness; other scores are annotations. Dropped: prices, prompt versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.csv_rows import csv_rows, header
from insights.corpus.formats.otel_attributes import KINDS, fill
from insights.corpus.formats.otlp import parquet_rows
from insights.corpus.formats.payload import decoded
from insights.corpus.formats.span_steps import build
from insights.corpus.formats.spans import CALLED, Gather, Span, score, trace_ids
from insights.corpus.parse import mapping, mappings, number, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_name, as_text

TYPES = {"SPAN", "GENERATION", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EMBEDDING", "EVALUATOR", "GUARDRAIL"}
BASIS = {"ANNOTATION": "human", "EVAL": "judge", "API": "heuristic"}
SNAKE = {
    "trace_id": "traceId", "parent_observation_id": "parentObservationId", "start_time": "startTime", "end_time": "endTime",
    "session_id": "sessionId", "user_id": "userId", "usage_details": "usageDetails", "cost_details": "costDetails",
    "total_cost": "totalCost", "status_message": "statusMessage", "model_parameters": "modelParameters",
    "completion_start_time": "completionStartTime", "observation_id": "observationId", "data_type": "dataType",
    "string_value": "stringValue", "provided_model_name": "model",
}  # fmt: skip


def _is_observation(row: Mapping[str, Any]) -> bool:
    row = _camel(row)
    known = word(row.get("type")) in TYPES or "parentObservationId" in row
    return "traceId" in row and "startTime" in row and known


def _is_trace(row: Mapping[str, Any]) -> bool:
    own = {"sessionId", "userId", "session_id", "user_id", "bookmarked", "environment", "release"} & row.keys()
    return "id" in row and "timestamp" in row and len(own) > 1 and "name" in row and "traceId" not in row


def _is_score(row: Mapping[str, Any]) -> bool:
    row = _camel(row)
    return "traceId" in row and "dataType" in row and bool({"value", "stringValue"} & row.keys())


def _holds(row: Mapping[str, Any]) -> bool:
    """Whether a record is a trace with its observations."""
    seen = row.get("observations")
    if not isinstance(seen, list):
        return False
    if isinstance(row.get("trace"), dict) or "scores" in row or _is_trace(row):
        return not mappings(seen) or _is_observation(mappings(seen)[0]) or "traceId" in mappings(seen)[0]
    return bool(mappings(seen)) and _is_observation(mappings(seen)[0])


def _detect(head: Head) -> Confidence | None:
    columns = dict.fromkeys(header(head))
    if columns:
        return (
            "likely"
            if (_is_observation(columns) and "id" in columns) or (_is_trace(columns) and "input" in columns)
            else None
        )
    first = head.first
    if _holds(first):
        return "certain"
    trace = mapping(first.get("trace"))
    if "projectId" in trace and "timestamp" in trace:  # the observations lie beyond the head
        return "certain"
    if _is_observation(first) or (_is_trace(first) and {"input", "output"} & first.keys()):
        return "likely"
    return None


def _detect_scores(head: Head) -> Confidence | None:
    columns = dict.fromkeys(header(head))
    return "likely" if _is_score(columns or head.first) else None


def _detect_messages(head: Head) -> Confidence | None:
    rows = [v for v in list(head.first.values())[:3] if isinstance(v, dict)]
    sides = [v for row in rows for k, v in row.items() if k in ("input", "output")]
    told = sides and all("success" in mapping(v) for v in sides) and all(r.keys() <= {"input", "output"} for r in rows)
    return "certain" if told else None


mark("langfuse_messages", title="Langfuse's own reading of a trace", rank=27, role="other", detect=_detect_messages)
mark("langfuse_scores", title="Langfuse scores", rank=27, role="sidecar", detect=_detect_scores)


def _shares(source: Source) -> dict[str, Any]:
    """A table of observations goes on in other files; the download of a trace is whole."""
    if _holds(source.head.first):
        return {}
    if header(source.head) and source.head.magic is None:
        ids = {as_name(_camel(mapping(r.value)).get("traceId")) for r in _rows(source)}
        return {f"langfuse:{id}": 0 for id in ids if id}
    return {f"langfuse:{id}": 0 for id in trace_ids(source, "trace_id", "traceId")}


@reader("langfuse", title="Langfuse traces and observations", rank=26, detect=_detect, shares=_shares)
def read(source: Source) -> Iterator[Trace]:
    gather = Gather()
    loose: dict[str, dict[str, Any]] = {}
    for record in source.joined(_rows):
        row = mapping(record.value)
        if isinstance(row.get("observations"), list):
            yield from source.attempt(record, _whole, row, record)
        elif _is_observation(row):
            row = _camel(row)
            own = as_name(row.get("traceId"))
            if own is not None:
                gather.add(own, {**row, "_offset": record.offset, "_length": record.length})
        elif _is_trace(row):
            loose[str(row["id"])] = row
        else:
            source.n_bad += 1
            source.issue("not_an_observation", f"a record is no observation: {str(row)[:80]!r}", offset=record.offset)
    traces, scores = _beside(source)
    for id, rows in gather.groups():
        head = loose.pop(id, None) or traces.get(id, {})
        yield _trace(id, head, rows, scores.get(id, []))
    if loose and _twin(source, "traces", "observations") is not None:
        source.issue(
            "joined_elsewhere", "traces are joined where their observations are read", severity="info", n=len(loose)
        )
        loose = {}
    for id, row in loose.items():
        yield _trace(id, row, [], scores.get(id, []))


def _rows(source: Source) -> Iterator[Record]:
    head = source.head
    if head.magic == "parquet":
        yield from parquet_rows(source)
    elif header(head):
        yield from csv_rows(source)
    else:
        yield from source.records()


def _twin(source: Source, this: str, other: str) -> Path | None:
    """The file of another table of the same export: a folder beside this one's, or a name beside this."""
    if source.member is not None:
        return None
    name = source.path.name
    if source.path.parent.name == this:
        return source.sibling("..", other, name)
    return source.sibling(name.replace(this, other)) if this in name else None


def _beside(source: Source) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Rows of the tables `traces` and `scores` of the same export, by trace."""
    traces: dict[str, Any] = {}
    scores: dict[str, list[Any]] = {}
    for table in ("traces", "scores"):
        path = _twin(source, "observations", table)
        if path is None:
            continue
        for record in _rows(Source(path, str(path), source.root)):
            row = _camel(mapping(record.value))
            if table == "traces" and row.get("id"):
                traces[str(row["id"])] = row
            elif table == "scores" and row.get("traceId"):
                scores.setdefault(str(row["traceId"]), []).append(row)
    return traces, scores


def _camel(row: Mapping[str, Any]) -> dict[str, Any]:
    return {SNAKE.get(k, k): v for k, v in row.items()}


def _whole(row: dict[str, Any], record: Record) -> Trace:
    head = _camel(mapping(row.get("trace")) or {k: v for k, v in row.items() if k != "observations"})
    rows = [_camel(o) for o in mappings(row["observations"])]
    for i, o in enumerate(rows):
        o["_pointer"] = f"{record.pointer or ''}/observations/{i}"
        o["_offset"], o["_length"] = record.offset, record.length
    own = head.get("id") or next((o["traceId"] for o in rows if o.get("traceId")), None)
    scores = mappings(head.get("scores")) or mappings(row.get("scores"))
    return _trace(as_name(own) or f"{record.pointer or record.offset or 0}", head, rows, [_camel(s) for s in scores])


def _trace(id: str, head: Mapping[str, Any], rows: list[Any], scores: list[Any]) -> Trace:
    t = Trace("langfuse", id, session_id=as_name(head.get("sessionId")))
    t.started_at = timestamp(head.get("timestamp"))
    t.agent_version = as_name(head.get("release") or head.get("version"))
    t.tags = [str(x) for x in sequence(decoded(head.get("tags")))]
    for name, key in (("name", "name"), ("user", "userId"), ("environment", "environment")):
        if head.get(key):
            t.metadata[name] = as_name(head[key])
    t.slice("name", head.get("name"))
    meta = mapping(decoded(head.get("metadata")))
    t.metadata.update({k: v for k, v in meta.items() if isinstance(v, (str, int, float, bool)) and len(str(v)) < 500})
    spans = [s for s in (_span(mapping(row)) for row in rows) if s is not None]
    if not spans and (head.get("input") or head.get("output")):
        spans = [Span(id, name=as_name(head.get("name")) or "trace", kind="chain", convention="langfuse",
                      start=t.started_at, input=head.get("input"), output=head.get("output"))]  # fmt: skip
        t.issue("no_observations", "the trace has no observations: only its input and output", severity="info")
    build(t, spans)
    if spans and all(s.input is None and s.output is None for s in spans) and len(spans) > 1:
        t.issue("no_text", "the export leaves inputs and outputs out (Langfuse does so above 349 observations)")
    head.get("totalCost")
    if t.cost_usd is None and not any(c.get("cost_usd") for c in t.llm_calls):
        t.cost_usd = number(head.get("totalCost")) or None
    seqs = {s.span_id: s.seq for s in t.steps if s.span_id}
    for s in mappings(scores):
        _score(t, s, seqs)
    return t


def _span(o: Mapping[str, Any]) -> Span | None:
    id = as_name(o.get("id"))
    if id is None:
        return None
    native = word(o.get("type")).upper()
    span = Span(
        id=id,
        parent=as_name(o.get("parentObservationId")),
        name=as_name(o.get("name")) or "",
        start=timestamp(o.get("startTime")),
        end=timestamp(o.get("endTime")),
        offset=o.get("_offset"),
        length=o.get("_length"),
        pointer=o.get("_pointer"),
    )
    meta = mapping(decoded(o.get("metadata")))
    attributes = mapping(decoded(meta.get("attributes")))
    if attributes:
        fill(span, attributes, [])
    stated = KINDS.get(native.lower(), "other")
    if not (native in ("SPAN", "") and span.kind in ("tool", "agent", "retriever")):
        span.kind = stated
    if span.kind == "chain" and CALLED.match(span.name) and o.get("input") and o.get("output"):
        span.kind, span.tool = "tool", CALLED.sub("", span.name)
    if span.kind != "llm":
        span.given = span.said = None
    span.native_kind, span.convention = native, "langfuse"
    span.input = o["input"] if o.get("input") not in (None, "") else span.input
    span.output = o["output"] if o.get("output") not in (None, "") else span.output
    span.tool = span.tool or (span.name if span.kind == "tool" else None)
    span.failed = True if o.get("level") == "ERROR" else span.failed
    span.error = as_text(o.get("statusMessage") or None) or span.error
    span.model, span.model_requested = as_name(o.get("model")) or span.model, span.model_requested
    span.tools = decoded(o.get("toolDefinitions")) or span.tools
    span.usage = usage(o) or span.usage
    costs = mapping(decoded(o.get("costDetails")))
    span.cost = next((c for c in (number(o.get("totalCost")), number(o.get("calculatedTotalCost")), number(costs.get("total")))
                      if c), None)  # fmt: skip
    first = timestamp(o.get("completionStartTime"))
    span.ttft_ms = (first - span.start).total_seconds() * 1000 if first and span.start else None
    span.params = mapping(decoded(o.get("modelParameters"))) or span.params
    span.attributes = {k: v for k, v in meta.items() if k != "attributes"} | span.attributes
    return span


def usage(o: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of `llm_calls`. Langfuse counts each kind of input apart; where the total says so, `input` holds them all."""
    told = mapping(decoded(o.get("usageDetails"))) or mapping(decoded(o.get("usage")))
    counts = {str(k): v for k, v in ((k, number(v)) for k, v in told.items()) if v is not None}
    read = sum(v for k, v in counts.items() if "cache" in k and "creation" not in k and "write" not in k)
    write = sum(v for k, v in counts.items() if "cache" in k and ("creation" in k or "write" in k))
    into = counts.get("input", counts.get("promptTokens", number(o.get("promptTokens"))))
    out = counts.get("output", counts.get("completionTokens", number(o.get("completionTokens"))))
    if into is None and out is None:
        return {}
    reasoning = next((v for k, v in counts.items() if "reasoning" in k), None)
    total = counts.get("total")
    apart = total is None or total > (into or 0) + (out or 0)
    other = sum(v for k, v in counts.items() if k.startswith("input_") and "cache" not in k)
    found = {"input_tokens": (into or 0) + (read + write + other if apart else 0), "output_tokens": out}
    if apart and reasoning and out is not None and "output_reasoning" in str(list(counts)):
        found["output_tokens"] = out + reasoning
    named = {"cache_read_tokens": read or None, "cache_write_tokens": write or None, "reasoning_tokens": reasoning}
    return {k: int(v) for k, v in {**found, **named}.items() if v is not None}


def _score(t: Trace, s: Mapping[str, Any], seqs: Mapping[str | None, int]) -> None:
    at = as_name(s.get("observationId"))
    value: Any = s.get("value")
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = value.lower()
    label = as_name(s.get("stringValue"))
    label = label if label is not None or not isinstance(value, str) else value
    basis = BASIS.get(word(s.get("source")))
    score(t, s.get("name"), value, whole=at is None, label=label, explanation=as_text(s.get("comment")),
          span_id=at, seq=seqs.get(at) if at else None, basis=basis,
          annotator=as_name(s.get("authorUserId")))  # fmt: skip
