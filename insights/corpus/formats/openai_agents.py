"""OpenAI Agents SDK: exported traces (spans, one a line) and saved run states.

    {"object": "trace", "id": "trace_1", "workflow_name": "Support", "group_id": "chat-1", "metadata": {"task_id": "t1"}}
    {"object": "trace.span", "id": "span_2", "trace_id": "trace_1", "parent_id": "span_1", "started_at": "…", "ended_at": "…",
     "span_data": {"type": "function", "name": "get_order", "input": "{}", "output": null}, "error": {"message": "…", "data": {…}}}
    {"$schemaVersion": "1.9", "current_agent": {"name": "a"}, "original_input": "Hi", "generated_items": [{"type":
     "tool_call_item", "agent": {"name": "a"}, "raw_item": {"type": "function_call", "call_id": "c1", …}}], "model_responses": […]}

In a trace the spans in order of time become the steps: generations (their input once, their output), function calls with
their results, handoffs, guardrails. `response` spans hold only an id and usage: such a trace has no text (fidelity io_only).
Errors: `error` of a span (flag). In a state the generated items are the steps; an approval still asked for leaves its call
pending and the run still running. Outcome: none in either, but explicit keys in the trace's metadata.
Dropped: tool definitions and the repeated `last_model_response`, `session_items` of a state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import add_messages, apply_metadata, flatten, timestamp
from insights.corpus.formats.response_items import Items
from insights.corpus.parse import mapping, sequence
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name

KINDS = {
    "agent": "agent",
    "generation": "llm",
    "response": "llm",
    "function": "tool",
    "mcp_tools": "tool",
    "guardrail": "guardrail",
    "handoff": "other",
    "task": "workflow",
    "turn": "chain",
}


def _is_state(first: Mapping[str, Any]) -> bool:
    return "$schemaVersion" in first and bool({"current_agent", "generated_items", "current_turn"} & first.keys())


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if first.get("object") in ("trace", "trace.span") or _is_state(first):
        return "certain"
    data = first.get("data")
    return (
        "likely"
        if isinstance(data, list) and data and mapping(data[0]).get("object") in ("trace", "trace.span")
        else None
    )


@reader("openai_agents", title="OpenAI Agents SDK traces and run states", rank=12, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    traces: dict[str, dict[str, Any]] = {}
    spans: dict[str, list[dict[str, Any]]] = {}
    batched = isinstance(source.head.first.get("data"), list)
    for i, record in enumerate(source.records("data" if batched else None)):
        value = mapping(record.value)
        if _is_state(value):
            yield _state(value, source.label if not i else f"{source.label}#{i}")
        elif value.get("object") == "trace":
            traces[str(value.get("id"))] = value
        elif value.get("object") == "trace.span":
            spans.setdefault(str(value.get("trace_id")), []).append(value)
        else:
            source.n_bad += 1
            source.issue("not_a_span", f"record {i} is neither a trace nor a span", offset=record.offset)
    for id in dict.fromkeys([*traces, *spans]):
        yield _trace(id, traces.get(id, {}), spans.get(id, []))


def _trace(id: str, head: Mapping[str, Any], spans: list[dict[str, Any]]) -> Trace:
    t = Trace("openai_agents", id, framework="openai-agents", session_id=head.get("group_id"))
    metadata = mapping(head.get("metadata"))
    apply_metadata(t, metadata)
    t.slice("workflow", head.get("workflow_name"))
    t.metadata.update({"workflow": head["workflow_name"]} if isinstance(head.get("workflow_name"), str) else {})
    agents = {
        str(s["id"]): mapping(s.get("span_data")).get("name") for s in spans if s.get("id") and _kind(s) == "agent"
    }
    parents = {str(s.get("id")): s.get("parent_id") for s in spans}
    starts = [x for x in (timestamp(s.get("started_at")) for s in spans) if x]
    ends = [x for x in (timestamp(s.get("ended_at")) for s in spans) if x]
    t.started_at, t.ended_at = min(starts, default=None), max(ends, default=None)
    history: list[Any] = []
    for s in sorted(spans, key=lambda s: str(s.get("started_at") or "")):
        owner = s.get("parent_id")
        while owner is not None and str(owner) not in agents:
            owner = parents.get(str(owner))
        history = _span(t, s, agents.get(str(owner)), history)
    t.agent = next(iter(agents.values()), None)
    if not any(s.text for s in t.steps):
        t.fidelity = "io_only" if t.calls else "metadata_only"
    return t


def _kind(span: Mapping[str, Any]) -> str:
    return str(mapping(span.get("span_data")).get("type"))


def _span(t: Trace, s: Mapping[str, Any], agent: str | None, history: list[Any]) -> list[Any]:
    """Add one span and the steps it stands for; returns the messages that the trace has shown so far."""
    data, error, kind = mapping(s.get("span_data")), mapping(s.get("error")), _kind(s)
    t.spans.append(
        {
            "span_id": str(s.get("id")),
            "parent_span_id": s.get("parent_id"),
            "name": data.get("name") or kind,
            "kind": KINDS.get(kind, "other"),
            "native_kind": kind,
            "convention": "openai_agents",
            "started_at": timestamp(s.get("started_at")),
            "ended_at": timestamp(s.get("ended_at")),
            "status": "error" if error else "ok",
            "error_message": error.get("message"),
            "attributes": {k: v for k, v in data.items() if k not in ("input", "output", "type")},
        }
    )
    place: dict[str, Any] = {"ts": timestamp(s.get("started_at")), "span_id": str(s.get("id"))}
    if kind == "generation":
        history = _generation(t, data, agent, place, history)
    elif kind == "response":
        seq = t.step("assistant", None, origin="model", agent=agent, **place)
        _usage(t, seq, data, agent, data.get("response_id"))
    elif kind == "function":
        _function(t, s, data, error, agent, place)
    elif kind == "handoff":
        said = {"from": data.get("from_agent"), "to": data.get("to_agent")}
        t.step("assistant", None, kind="handoff", origin="model", agent=data.get("from_agent"), extra=said, **place)
    elif kind == "guardrail":
        triggered = bool(data.get("triggered"))
        extra = {"guardrail": data.get("name"), "triggered": triggered}
        t.step("environment", None, kind="error" if triggered else "state", origin="harness", extra=extra, **place)
    elif error:
        t.step("environment", error.get("message"), kind="error", origin="harness", is_error=True, **place)
    return history


def _generation(
    t: Trace, data: Mapping[str, Any], agent: str | None, place: dict[str, Any], history: list[Any]
) -> list[Any]:
    """New messages of the prompt, then the answer; what earlier generations have shown is not repeated."""
    given = data["input"] if isinstance(data.get("input"), list) else []
    known = len(history) if given[: len(history)] == history else 0
    new = given[known:] if known or not history else [m for m in given if m not in history]
    answered = {c.native_id for c in t.calls if c.result_seq is not None}
    add_messages(t, [m for m in new if "tool_call_id" not in mapping(m) or as_name(m["tool_call_id"]) not in answered])
    output = data["output"] if isinstance(data.get("output"), list) else []
    steps = add_messages(t, [{"role": "assistant", **m} if isinstance(m, dict) else m for m in output])
    for s in steps:
        s.agent, s.ts, s.span_id = agent, place["ts"], place["span_id"]
    if steps:
        _usage(t, steps[0].seq, data, agent, None)
    return [*given, *output]


def _usage(t: Trace, seq: int, data: Mapping[str, Any], agent: str | None, id: Any) -> None:
    usage = mapping(data.get("usage"))
    t.steps[seq].llm_call_id = t.llm(
        str(id) if id else None,
        first_seq=seq,
        span_id=t.steps[seq].span_id,
        agent=agent,
        model=data.get("model"),
        input_tokens=usage.get("input_tokens", usage.get("prompt_tokens")),
        output_tokens=usage.get("output_tokens", usage.get("completion_tokens")),
        cache_read_tokens=mapping(usage.get("input_tokens_details")).get("cached_tokens"),
        reasoning_tokens=mapping(usage.get("output_tokens_details")).get("reasoning_tokens"),
    )


def _function(
    t: Trace, s: Mapping[str, Any], data: Mapping[str, Any], error: Mapping[str, Any], agent: Any, place: dict[str, Any]
) -> None:
    waiting = next((c for c in t.calls if c.result_seq is None and c.name == data.get("name")), None)
    if waiting is None:
        seq = next((x.seq for x in reversed(t.steps) if x.role == "assistant" and x.agent == agent), None)
        seq = t.step("assistant", None, origin="model", agent=agent, ts=place["ts"]) if seq is None else seq
        t.call(seq, data.get("name"), data.get("input"))
        waiting = t.calls[-1]
    detail = mapping(error.get("data")).get("error")
    said = f"{error.get('message')}: {detail}" if detail else error.get("message")
    t.result(
        data.get("output") if data.get("output") is not None else said,
        id=waiting.native_id,
        name=waiting.name,
        status="error" if error else "ok",
        error_basis="flag" if error else None,
        call_columns={
            "span_id": place["span_id"],
            "started_at": timestamp(s.get("started_at")),
            "ended_at": timestamp(s.get("ended_at")),
            "requestor": "assistant",
        },
        **place,
    )


def _state(value: dict[str, Any], native: str) -> Trace:
    own = mapping(value.get("trace"))
    t = Trace("openai_agents", str(own.get("id") or own.get("trace_id") or native), framework="openai-agents")
    t.agent, t.session_id = mapping(value.get("current_agent")).get("name"), value.get("conversation_id")
    t.metadata["schema_version"] = value.get("$schemaVersion")
    asked = value.get("original_input")
    items = Items(t)
    for item in asked if isinstance(asked, list) else [{"role": "user", "content": asked}] if asked else []:
        items.item(item) if isinstance(item, dict) else t.issue("unknown_item", f"input {str(item)[:80]!r}")
    waiting = [_item(t, items, entry, i) for i, entry in enumerate(sequence(value.get("generated_items")))]
    items.close()
    for response in sequence(value.get("model_responses")):
        usage = mapping(mapping(response).get("usage"))
        if usage.get("input_tokens") or usage.get("output_tokens"):
            t.llm(
                mapping(response).get("response_id"),
                agent=t.agent,
                input_tokens=usage.get("input_tokens"),
                output_tokens=usage.get("output_tokens"),
                cache_read_tokens=_first(usage.get("input_tokens_details")).get("cached_tokens"),
                reasoning_tokens=_first(usage.get("output_tokens_details")).get("reasoning_tokens"),
            )
    if any(waiting) and any(c.result_seq is None for c in t.calls):
        t.end_reason, t.native_end_reason = "still_running", "waits for approval"
    return t


def _first(value: Any) -> dict[str, Any]:
    return mapping(value[0]) if isinstance(value, list) and value else mapping(value)


def _item(t: Trace, items: Items, entry: Any, index: int) -> bool:
    """Place one generated item; True where it asks for an approval."""
    entry = mapping(entry)
    kind, raw = str(entry.get("type")), mapping(entry.get("raw_item"))
    items.here = {"src_pointer": f"/generated_items/{index}"}
    agent = mapping(entry.get("agent")).get("name")
    if kind == "tool_approval_item":
        if as_name(raw.get("call_id")) not in {c.native_id for c in t.calls}:
            items.item(raw)
        return True
    start = len(t.steps)
    if raw.get("type") == "program":
        seq = t.step("assistant", None, origin="model", **items.here)
        t.call(seq, "program", {"code": raw.get("code")}, id=raw.get("call_id"))
    elif "handoff" in kind and raw.get("type") not in ("function_call", "function_call_output"):
        t.step("assistant", flatten(raw.get("content"))[0], kind="handoff", origin="model", **items.here)
    elif not items.item(raw):
        t.issue("unknown_item", f"/generated_items/{index} is a {raw.get('type') or kind}", severity="info")
        t.step("assistant", raw, kind="log", origin="harness", **items.here)
    for s in t.steps[start:]:
        s.agent = agent if s.role == "assistant" else s.agent
    return False
