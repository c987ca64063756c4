"""OpenTelemetry spans of agents, in OTLP JSON and the flat forms that tools export.

    {"resourceSpans": [{"resource": {"attributes": […]}, "scopeSpans": [{"scope": {"name": "…"}, "spans": [{"traceId": "5b8e…",
     "spanId": "eee1…", "parentSpanId": "", "name": "chat gpt-4.1", "startTimeUnixNano": "1772359202000000000",
     "attributes": [{"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4.1"}}], "status": {"code": 2}}]}]}]}
    {"traceId": "…", "spans": […]}                                  one trace a line
    {"trace_id": "…", "span_id": "…", "attributes": {…}}            one span a line
    {"context": {"trace_id": "0x…"}, "parent_id": "0x…", …}         SDK console and to_json, Phoenix REST (below `data`)
    {"context.trace_id": "…", "attributes.llm.model_name": "…"}     Phoenix DataFrame, as JSONL or Parquet

Also Tempo's `batches` and the older `instrumentationLibrarySpans`. One format a vocabulary, one reader: otel_genai (with Claude
Code's own spans), openinference, traceloop. A trace is an OTel trace; conversation and session ids are `session_id`. Spans of a
trace may stand on lines far apart. Times are UTC. Errors: status ERROR or an exception event. Outcome: only scores named for
one (`gen_ai.evaluation.result`, `annotations.*`). Tool definitions are kept once, as a blob. Dropped: links, trace
state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.otel_attributes import SESSION, at, fill, first, leaf
from insights.corpus.formats.otlp_values import attributes, get, hex_id, is_logs, log_records, time_of
from insights.corpus.formats.payload import decoded
from insights.corpus.formats.span_steps import build
from insights.corpus.formats.spans import Gather, Span, score, trace_ids
from insights.corpus.parse import mapping, mappings, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_name, as_text

FLAVOURS = (  # the first whose keys occur in the head names the format
    ("otel_genai", re.compile(r"com\.anthropic\.claude_code")),
    ("openinference", re.compile(r"openinference\.|llm\.input_messages|llm\.model_name|llm\.token_count")),
    ("traceloop", re.compile(r"traceloop\.|gen_ai\.(?:prompt|completion)\.\d")),
    ("otel_genai", re.compile(r"gen_ai[._]|claude_code|ai\.operationId|mlflow\.span|langfuse\.|gcp\.vertex\.agent")),
)
ENVELOPES = ("resourceSpans", "resource_spans", "batches")
COLUMNS = {"context.trace_id", "context.span_id"}
ROW_GROUP = 2_000  # unit: rows of a Parquet file held at a time


def _shape(record: Any) -> str | None:
    """Which form a record has: envelope, spans, span, logs; None where it is none of them."""
    row = mapping(record)
    if is_logs(row) and not any(isinstance(row.get(k), list) for k in ENVELOPES):
        return "logs"
    if any(isinstance(row.get(k), list) for k in ENVELOPES):
        return "envelope"
    if isinstance(row.get("spans"), list) and ("traceId" in row or "trace_id" in row) and "data" not in row:
        spans = mappings(row["spans"])
        return (
            "spans"
            if not spans or ({"spanId", "span_id"} & spans[0].keys() and "child_spans" not in spans[0])
            else None
        )
    if {"traceId", "spanId"} <= row.keys() or row.keys() >= COLUMNS:
        return "span"
    context = mapping(row.get("context"))
    if {"trace_id", "span_id"} <= context.keys() and "name" in row:
        return "span"
    flat = {"trace_id", "span_id", "attributes"} <= row.keys() and "span_attributes" not in row
    return "span" if flat else None


def _records(head: Head) -> list[Any]:
    held = head.first.get("data")
    if isinstance(held, list) and held and "info" not in head.first:
        return held
    return head.records


def _columns(head: Head) -> list[str]:
    """Names of the columns of a Parquet file; [] for anything else."""
    if head.magic != "parquet":
        return []
    import pyarrow.parquet as pq

    try:
        return [str(n) for n in pq.read_schema(head.path).names]
    except (OSError, ValueError):
        return []


def _flavour(head: Head) -> str | None:
    columns = _columns(head)
    if columns:
        text = " ".join(columns) if set(columns) >= COLUMNS else ""
        return next((n for n, found in FLAVOURS if found.search(text)), "openinference" if text else None)
    if head.magic or not any(_shape(r) for r in _records(head)[:3]):
        return None
    text = head.text
    return next((name for name, found in FLAVOURS if found.search(text)), "otel_genai" if _is_envelope(head) else None)


def _is_envelope(head: Head) -> bool:
    return any(_shape(r) == "envelope" for r in head.records[:3])


def _as(name: str) -> Any:
    def detect(head: Head) -> Confidence | None:
        if _flavour(head) != name:
            return None
        return "certain" if _is_envelope(head) or head.magic == "parquet" else "likely"

    return detect


def _shares(source: Source) -> dict[str, Any]:
    ids = {hex_id(id) for id in trace_ids(source, "context.trace_id")}
    return {
        f"otel:{id}": [name for name, _ in FLAVOURS].index(_flavour(source.head) or "otel_genai") for id in ids if id
    }


@reader("otel_genai", title="OpenTelemetry GenAI spans (OTLP JSON)", rank=24, detect=_as("otel_genai"), shares=_shares)
def read_gen_ai(source: Source) -> Iterator[Trace]:
    yield from _read(source, "otel_genai")


@reader("openinference", title="OpenInference and Phoenix spans", rank=22, detect=_as("openinference"), shares=_shares)
def read_openinference(source: Source) -> Iterator[Trace]:
    yield from _read(source, "openinference")


@reader("traceloop", title="Traceloop (OpenLLMetry) spans", rank=23, detect=_as("traceloop"), shares=_shares)
def read_traceloop(source: Source) -> Iterator[Trace]:
    yield from _read(source, "traceloop")


def _read(source: Source, format: str) -> Iterator[Trace]:
    gather = Gather()
    for record in source.joined(_rows):
        placed = _shape(record.value) == "logs"
        for name, row in _logs(source, record) if placed else ():
            gather.add(name, row)
        for raw in _spans(record.value):
            own = get(raw, "traceId", "trace_id", "context.trace_id") or mapping(raw.get("context")).get("trace_id")
            trace = hex_id(own)
            if trace is not None:
                placed = True
                gather.add(
                    trace, {"span": raw, "offset": record.offset, "length": record.length, "pointer": record.pointer}
                )
        if not placed:
            source.n_bad += 1
            source.issue(
                "not_a_span",
                f"a record holds no span with a trace id: {str(record.value)[:80]!r}",
                offset=record.offset,
            )
    for trace, rows in gather.groups():
        yield _trace(format, trace, rows)


def _logs(source: Source, record: Record) -> Iterator[tuple[str, dict[str, Any]]]:
    """Log records about model calls, each with its trace, or its conversation where it has none."""
    n = 0
    for log in log_records(record.value):
        if not log["name"].startswith("gen_ai."):
            n += 1
            continue
        told = log["attributes"]
        trace = log["trace"] or as_name(told.get("gen_ai.conversation.id") or told.get("session.id")) or source.name
        yield trace, {"log": log, "offset": record.offset, "length": record.length, "pointer": record.pointer}
    if n:
        source.issue("no_step", "log records that tell of no model call", severity="info", offset=record.offset, n=n)


def _rows(source: Source) -> Iterator[Record]:
    head = source.head
    if head.magic == "parquet":
        yield from parquet_rows(source)
    elif _is_envelope(head) and not head.is_jsonl and isinstance(head.doc, dict) and head.inside is None:
        key = next((k for k in ENVELOPES if k in head.first), None)
        for record in source.records(key):
            yield Record({"resourceSpans": [record.value]}, record.offset, record.length, record.pointer)
    elif isinstance(head.first.get("data"), list) and not head.is_jsonl and head.inside is None:
        yield from source.records("data")
    else:
        yield from source.records()


def parquet_rows(source: Source) -> Iterator[Record]:
    """The rows of a Parquet file as objects without their NULLs, a few thousand at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(source.path) as file:
        at = 0
        for batch in file.iter_batches(batch_size=ROW_GROUP):
            for row in batch.to_pylist():
                source.n_records += 1
                yield Record({k: v for k, v in row.items() if v is not None}, pointer=f"/{at}")
                at += 1


def _spans(value: Any) -> Iterator[dict[str, Any]]:
    """The spans of a record, each with the resource and scope it stands in."""
    shape = _shape(value)
    if shape == "span":
        yield value
    elif shape == "spans":
        for s in mappings(value["spans"]):
            yield {"traceId": value.get("traceId") or value.get("trace_id"), **s}
    elif shape == "envelope":
        for r in (r for k in ENVELOPES for r in mappings(value.get(k))):
            scopes = (
                s for k in ("scopeSpans", "scope_spans", "instrumentationLibrarySpans") for s in mappings(r.get(k))
            )
            for s in scopes:
                scope = s.get("scope") or s.get("instrumentationLibrary")
                for span in mappings(s.get("spans")):
                    yield {"resource": r.get("resource"), "scope": scope, **span}


def _span(row: Mapping[str, Any]) -> tuple[Span, Any, dict[str, Any]] | None:
    """(span, tree of its attributes, attributes of its resource); None where it has no id."""
    raw = mapping(row.get("span"))
    context = mapping(raw.get("context"))
    id = hex_id(get(raw, "spanId", "span_id", "context.span_id") or context.get("span_id"))
    if id is None:
        return None
    flat = attributes(raw.get("attributes"))
    flat |= {k.removeprefix("attributes."): v for k, v in raw.items() if k.startswith("attributes.")}
    kind = raw.get("span_kind")
    if isinstance(kind, str) and kind.isupper() and "openinference.span.kind" not in flat and "SPAN_KIND" not in kind:
        flat["openinference.span.kind"] = kind
    held = raw.get("events")
    events = [
        {**e, "attributes": attributes(e.get("attributes"))}
        for e in mappings(decoded(held) if isinstance(held, str) else held)
    ]
    status = raw.get("status")
    code = get(mapping(status), "code", "status_code") if isinstance(status, dict) else get(raw, "status_code")
    said = str(code).rsplit("_", 1)[-1].rsplit(".", 1)[-1].upper()
    span = Span(
        id=id,
        parent=hex_id(get(raw, "parentSpanId", "parent_span_id", "parent_id")),
        name=as_name(raw.get("name")) or "",
        start=timestamp(time_of(get(raw, "startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime"))),
        end=timestamp(time_of(get(raw, "endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime"))),
        failed=True if said in ("2", "ERROR") else False if said in ("1", "OK") else None,
        error=as_text(
            mapping(status).get("message") or mapping(status).get("description") or raw.get("status_message") or None
        ),
        events=events,
        offset=row.get("offset"),
        length=row.get("length"),
        pointer=row.get("pointer"),
    )
    tree = fill(span, flat, events)
    return span, tree, attributes(mapping(raw.get("resource")).get("attributes"))


def _trace(format: str, id: str, rows: list[Any]) -> Trace:
    t = Trace(format, id)
    spans: list[Span] = []
    for row in _with_logs(rows):
        made = _span(mapping(row))
        if made is None:
            t.issue("no_span_id", "a span without an id was left out")
            continue
        span, tree, resource = made
        spans.append(span)
        _about(t, span, tree, resource)
    build(t, spans)
    seqs = {s.span_id: s.seq for s in t.steps if s.span_id}
    for span in spans:
        _scores(t, span, seqs)
    return t


def _with_logs(rows: list[Any]) -> list[dict[str, Any]]:
    """The spans of a trace with its log records as their events; records whose span is not there make one."""
    spans = [mapping(r) for r in rows if "span" in mapping(r)]
    logs = sorted((r for r in map(mapping, rows) if "log" in r), key=lambda r: str(r["log"]["time"] or ""))
    of = {hex_id(get(r["span"], "spanId", "span_id")): r for r in spans}
    for row in logs:
        log = row["log"]
        whole = log["name"] == "gen_ai.client.inference.operation.details"
        own = log["span"] or (f"log-{len(spans)}" if whole or not spans else hex_id(get(spans[-1]["span"], "spanId")))
        if own not in of:
            told = {k: v for k, v in log["attributes"].items() if whole or not isinstance(v, (dict, list))}
            span = {"spanId": own, "name": "chat", "startTimeUnixNano": log["time"], "endTimeUnixNano": log["time"],
                    "attributes": {"gen_ai.operation.name": "chat", **told}, "resource": {"attributes": log["resource"]}}  # fmt: skip
            of[own] = {**row, "span": span}
            spans.append(of[own])
        span = of[own]["span"]
        event = {
            "name": log["name"],
            "timeUnixNano": log["time"],
            "attributes": {"body": log["body"], **log["attributes"]},
        }
        span["events"] = [*mappings(decoded(span.get("events"))), event]
        span.setdefault("endTimeUnixNano", log["time"])
    return spans


def _about(t: Trace, span: Span, tree: Any, resource: Mapping[str, Any]) -> None:
    t.session_id = t.session_id or as_name(first(tree, SESSION))
    service = as_name(resource.get("service.name"))
    if service and "service" not in t.metadata:
        t.metadata["service"] = service
        t.slice("service", service)
    if resource:
        t.extra.setdefault("resource", dict(resource))
    t.agent_version = t.agent_version or as_name(resource.get("service.version"))
    for name, paths in {"user": ("user.id", "enduser.id", "traceloop.association.properties.user_id"),
                        "workflow": ("gen_ai.workflow.name", "traceloop.workflow.name", "agent.workflow.name")}.items():  # fmt: skip
        value = first(tree, paths)
        if value and name not in t.metadata:
            t.metadata[name] = as_name(value)
    if span.parent is None:
        meta = mapping(decoded(leaf(tree, "metadata"))) or mapping(at(tree, "metadata"))
        t.metadata.update({k: v for k, v in meta.items() if isinstance(v, (str, int, float, bool)) and k})
        tags = decoded(at(tree, "tag.tags"))
        t.tags = [str(x) for x in sequence(tags)] or t.tags


def _scores(t: Trace, span: Span, seqs: Mapping[str, int]) -> None:
    place: dict[str, Any] = {"span_id": span.id, "seq": seqs.get(span.id)}
    for e in span.events:
        a = mapping(e.get("attributes"))
        if word(e.get("name")) == "gen_ai.evaluation.result":
            value, label = a.get("gen_ai.evaluation.score.value"), as_name(a.get("gen_ai.evaluation.score.label"))
            why = as_text(a.get("gen_ai.evaluation.explanation"))
            score(t, a.get("gen_ai.evaluation.name"), value, whole=span.parent is None, label=label, explanation=why,
                  basis="judge", **place)  # fmt: skip
    for key, value in span.attributes.items():
        kind, _, rest = key.partition(".")
        if kind in ("annotations", "evaluations") and rest.endswith((".score", ".label")) and value is not None:
            name, _, part = rest.rpartition(".")
            given = value if part == "score" else None
            score(t, name, given, whole=span.parent is None, label=as_name(value) if part == "label" else None, **place)
