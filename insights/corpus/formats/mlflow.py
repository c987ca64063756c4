"""MLflow traces, versions 2 and 3.

    {"info": {"trace_id": "tr-1", "state": "OK", "request_time": "…", "trace_metadata": {"mlflow.trace.session": "s1"}, "assessments":
     [{"assessment_name": "correctness", "feedback": {"value": true}}]}, "data": {"spans": [{"span_id": "…base64…", "name": "chat",
     "start_time_unix_nano": 1, "attributes": {"mlflow.spanType": "\\"CHAT_MODEL\\"", "mlflow.spanInputs": "{…}"}}]}}

Also the `trace` column of search_traces and Databricks inference tables (`response`), as JSON, JSONL or Parquet. Every attribute
is JSON in text, words too. Inputs and outputs of a span hold the framework's payload; `mlflow.chat.messages` is used where they
do not. Times are nanoseconds or UTC. Errors: status ERROR. Token sums of the trace are not added to those of its calls. Outcome: a
yes-or-no assessment of the whole trace named for correctness; others are annotations, expectations are references. Dropped: previews
(they are cut) and tool definitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.otel_attributes import KINDS
from insights.corpus.formats.otlp import parquet_rows
from insights.corpus.formats.otlp_values import hex_id
from insights.corpus.formats.payload import decoded, messages
from insights.corpus.formats.span_steps import build
from insights.corpus.formats.spans import Span, score
from insights.corpus.parse import mapping, mappings, number, word
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name, as_text

BASIS = {"HUMAN": "human", "LLM_JUDGE": "judge", "AI_JUDGE": "judge", "CODE": "heuristic"}
TEXTUAL = {"mlflow.spanInputs", "mlflow.spanOutputs", "mlflow.chat.messages", "mlflow.chat.tools"}


def _held(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The trace of a record: itself, its column `trace`, or what an inference table answers."""
    response = (
        mapping(decoded(row.get("response"))) if "databricks_output" in str(row.get("response"))[:100_000] else {}
    )
    for held in (row, decoded(row.get("trace")), mapping(response.get("databricks_output")).get("trace")):
        if isinstance(mapping(held).get("info"), dict) and isinstance(mapping(held).get("data"), dict):
            return mapping(held)
    return None


def _detect(head: Head) -> Confidence | None:
    if head.magic == "parquet":
        import pyarrow.parquet as pq

        try:
            names = set(pq.read_schema(head.path).names)
        except (OSError, ValueError):
            return None
        return (
            "likely" if {"trace", "trace_id"} <= names and names & {"request_preview", "assessments", "spans"} else None
        )
    held = _held(head.first)
    if held is None:
        return None
    info = held["info"]
    ids = {"trace_id", "request_id"} & info.keys()
    if "mlflow." in head.text or {"trace_metadata", "request_metadata"} & info.keys():
        return "certain" if ids else "likely"
    return "likely" if ids and isinstance(held["data"].get("spans"), list) else None


@reader("mlflow", title="MLflow traces", rank=20, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    records = parquet_rows(source) if source.head.magic == "parquet" else source.records()
    for record in records:
        held = _held(mapping(record.value))
        if held is None:
            source.n_bad += 1
            source.issue(
                "not_a_trace", f"a record is no MLflow trace: {str(record.value)[:80]!r}", offset=record.offset
            )
        else:
            place = {"offset": record.offset, "length": record.length, "pointer": record.pointer}
            yield from source.attempt(record, _trace, held, place, source.label)


def _trace(held: Mapping[str, Any], place: dict[str, Any], label: str) -> Trace:
    info = mapping(held.get("info"))
    rows = mappings(mapping(held.get("data")).get("spans"))
    own = as_name(info.get("trace_id") or info.get("request_id")) or label
    t = Trace("mlflow", own)
    meta = {**mapping(info.get("request_metadata")), **mapping(info.get("trace_metadata"))}
    tags = mapping(info.get("tags"))
    t.session_id = as_name(meta.get("mlflow.trace.session"))
    for name, value in (("name", tags.get("mlflow.traceName")), ("user", meta.get("mlflow.trace.user")),
                        ("experiment", info.get("experiment_id"))):  # fmt: skip
        if value:
            t.metadata[name] = as_name(value)
    plain = {
        k: v for k, v in {**tags, **meta}.items() if not k.startswith("mlflow.") and isinstance(v, (str, int, float))
    }
    t.metadata.update({k: v for k, v in plain.items() if len(str(v)) < 500})
    t.slice("name", tags.get("mlflow.traceName"))
    t.started_at = timestamp(info.get("request_time") or info.get("timestamp_ms"))
    took = number(info.get("execution_duration_ms", info.get("execution_time_ms")))
    t.duration_s = took / 1000 if took is not None else None
    if word(info.get("state") or info.get("status")) == "IN_PROGRESS":
        t.end_reason = "still_running"
    spans = [_span(row, {**place, "pointer": f"{place['pointer'] or ''}/data/spans/{i}"}) for i, row in enumerate(rows)]
    for root in (s for s in spans if s.parent is None):
        root.usage = root.usage or usage(mapping(decoded(meta.get("mlflow.trace.tokenUsage"))))
    build(t, spans)
    _assessments(t, info)
    return t


def _span(row: Mapping[str, Any], place: dict[str, Any]) -> Span:
    context = mapping(row.get("context"))
    flat = {str(k): _value(v) for k, v in mapping(row.get("attributes")).items()}
    native = word(flat.get("mlflow.spanType"))
    status = mapping(row.get("status"))
    code = word(status.get("code") or row.get("status_code")).rsplit("_", 1)[-1]
    events = mappings(row.get("events"))
    raised = next((mapping(e.get("attributes")) for e in events if e.get("name") == "exception"), {})
    inputs, outputs = flat.get("mlflow.spanInputs"), flat.get("mlflow.spanOutputs")
    told = decoded(flat.get("mlflow.chat.messages"))
    kind = KINDS.get(native.lower(), "other")
    span = Span(
        id=hex_id(row.get("span_id") or context.get("span_id")) or str(place["pointer"]),
        parent=hex_id(row.get("parent_span_id") or row.get("parent_id")),
        name=as_name(row.get("name")) or "",
        kind=kind,
        native_kind=native,
        convention="mlflow",
        start=timestamp(row.get("start_time_unix_nano") or row.get("start_time") or row.get("start_time_ns")),
        end=timestamp(row.get("end_time_unix_nano") or row.get("end_time") or row.get("end_time_ns")),
        failed=True if code == "ERROR" else False if code == "OK" else None,
        error=as_text(status.get("message") or row.get("status_message") or raised.get("exception.message") or None),
        error_type=as_name(raised.get("exception.type")),
        input=inputs,
        output=outputs,
        tool=as_name(row.get("name")) if kind == "tool" else None,
        model=as_name(flat.get("mlflow.llm.model") or mapping(outputs).get("model") or mapping(inputs).get("model")),
        model_requested=as_name(mapping(inputs).get("model")),
        provider=as_name(flat.get("mlflow.llm.provider")),
        cost=number(mapping(flat.get("mlflow.llm.cost")).get("total_cost")),
        usage=usage(mapping(flat.get("mlflow.chat.tokenUsage")) or mapping(mapping(outputs).get("usage"))),
        attributes={k: v for k, v in flat.items() if k not in TEXTUAL},
        events=events,
        **place,
    )
    if kind == "llm" and isinstance(told, list) and told and not mapping(inputs).get("messages"):
        shown = messages(told)
        answer = shown[-1:] if shown and shown[-1].get("role") == "assistant" else []
        span.given, span.said = shown[: len(shown) - len(answer)], answer or None
    return span


def _value(text: Any) -> Any:
    """The value an attribute holds: JSON in text, words, numbers and null too."""
    if isinstance(text, str) and text in ("null", "true", "false"):
        return {"null": None, "true": True, "false": False}[text]
    return decoded(text)


def usage(told: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of `llm_calls` from token counts under OpenAI's or MLflow's names."""
    found = {
        "input_tokens": told.get("input_tokens", told.get("prompt_tokens")),
        "output_tokens": told.get("output_tokens", told.get("completion_tokens")),
        "cache_read_tokens": mapping(told.get("prompt_tokens_details")).get(
            "cached_tokens", told.get("cache_read_input_tokens")
        ),
        "cache_write_tokens": told.get("cache_creation_input_tokens"),
        "reasoning_tokens": mapping(told.get("completion_tokens_details")).get("reasoning_tokens"),
    }
    counts = {k: int(n) for k, n in ((k, number(v)) for k, v in found.items()) if n is not None}
    total = number(told.get("total_tokens"))
    cached = counts.get("cache_read_tokens", 0) + counts.get("cache_write_tokens", 0)
    both = counts.get("input_tokens", 0) + counts.get("output_tokens", 0)
    apart = "input_tokens" in told and cached and ("total_tokens" not in told or (total or 0) > both)
    if (
        apart and "input_tokens" in counts and "prompt_tokens_details" not in told
    ):  # Anthropic's counts leave the cache out
        counts["input_tokens"] += cached
    return counts


def _assessments(t: Trace, info: Mapping[str, Any]) -> None:
    seqs = {s.span_id: s.seq for s in t.steps if s.span_id}
    for a in mappings(info.get("assessments")):
        name = as_name(a.get("assessment_name") or a.get("name")) or "assessment"
        expected = mapping(a.get("expectation"))
        if expected:
            t.expect("answer", name=name, value=as_text(expected.get("value")))
            continue
        value = mapping(a.get("feedback")).get("value")
        at = hex_id(a.get("span_id"))
        value = {"yes": True, "no": False}.get(value.lower(), value) if isinstance(value, str) else value
        score(t, name, value, whole=at is None, label=value if isinstance(value, str) else None, span_id=at,
              seq=seqs.get(at) if at else None, explanation=as_text(a.get("rationale")),
              basis=BASIS.get(word(mapping(a.get("source")).get("source_type"))))  # fmt: skip
