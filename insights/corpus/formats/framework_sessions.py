"""Sessions and event streams that agent frameworks keep.

    google_adk       {"id", "appName", "userId", "events": [{"author", "invocationId", "timestamp", "content": {"role", "parts"}, "usageMetadata"}]}
    strands          session_<id>/agents/agent_<id>/messages/message_<n>.json  {"message": {Bedrock message}, "message_id": 0, "created_at"};
                     the agent's first file reads the others
    langgraph_events {"event": "on_chat_model_end", "run_id", "parent_ids", "metadata": {"thread_id", "langgraph_node"}, "data": {"input",
                     "output"}}                        what `astream_events` gives, one a line; start, stream and end of a run are one
    openai_threads   {"object": "list", "data": [{"object": "thread.message", "thread_id", "role", "content": [{"text": {"value"}}]}]}

ADK's authors that are not "user" are agents; cached tokens are part of the prompt, thoughts are added to the output. Times are UTC.
Dropped: state changes, stream pieces whose end is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import add_messages, timestamp
from insights.corpus.formats.otel_attributes import KINDS
from insights.corpus.formats.payload import decoded, messages
from insights.corpus.formats.span_steps import build
from insights.corpus.formats.spans import Gather, Span
from insights.corpus.parse import mapping, mappings, number, word
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name, as_text

NUMBERED = re.compile(r"message_(\d+)\.json$")
RUN = re.compile(r"on_(?P<kind>chat_model|llm|tool|chain|retriever|prompt|parser)_(?P<when>start|stream|end|error)$")


def _get(row: Mapping[str, Any], *names: str) -> Any:
    """ADK writes its keys in camel case or, dumped by Python, in snake case."""
    return next((row[n] for n in names if row.get(n) is not None), None)


def _is_event(row: Mapping[str, Any]) -> bool:
    named = bool({"invocationId", "invocation_id"} & row.keys()) and "author" in row
    return named and ("content" in row or "actions" in row)


def _detect_adk(head: Head) -> Confidence | None:
    events = mappings(head.first.get("events"))
    if events and _is_event(events[0]):
        return "certain"
    return "likely" if _is_event(head.first) else None


@reader("google_adk", title="Google ADK sessions", rank=18, detect=_detect_adk)
def read_adk(source: Source) -> Iterator[Trace]:
    loose: list[Any] = []
    n = 0
    for record in source.records():
        row = mapping(record.value)
        if _is_event(row):
            loose.append(row)
        else:
            n += 1
            yield from source.attempt(record, _adk, row, as_name(row.get("id")) or f"{source.label}#{n}")
    if loose:
        yield _adk({"events": loose}, source.label)


def _adk(session: Mapping[str, Any], own: str) -> Trace:
    t = Trace("google_adk", own, session_id=own, framework="google-adk")
    for name, keys in (("app", ("appName", "app_name")), ("user", ("userId", "user_id"))):
        value = as_name(_get(session, *keys))
        t.metadata.update({name: value} if value else {})
    t.agent = as_name(_get(session, "appName", "app_name"))
    for i, event in enumerate(mappings(session.get("events"))):
        _adk_event(t, event, f"/events/{i}")
    return t


def _adk_event(t: Trace, event: Mapping[str, Any], where: str) -> None:
    author, stamp = as_name(event.get("author")), timestamp(event.get("timestamp"))
    content = mapping(event.get("content"))
    first = len(t.steps)
    told = (
        messages({**content, "role": content.get("role") or ("user" if author == "user" else "model")})
        if content.get("parts")
        else []
    )
    add_messages(t, told, pointer=where)
    for step in t.steps[first:]:
        step.ts, step.agent, step.native_id = stamp, author if author != "user" else None, as_name(event.get("id"))
    said = next((s for s in t.steps[first:] if s.role == "assistant"), None)
    usage = mapping(_get(event, "usageMetadata", "usage_metadata"))
    if said is not None and usage:
        out = number(_get(usage, "candidatesTokenCount", "candidates_token_count"))
        thought = number(_get(usage, "thoughtsTokenCount", "thoughts_token_count"))
        said.llm_call_id = t.llm(
            as_name(event.get("id")), first_seq=said.seq, agent=author, started_at=stamp, reasoning_tokens=thought,
            model=_get(event, "modelVersion", "model_version"), input_tokens=_get(usage, "promptTokenCount", "prompt_token_count"),
            output_tokens=None if out is None else out + (thought or 0),
            cache_read_tokens=_get(usage, "cachedContentTokenCount", "cached_content_token_count"),
            native_finish_reason=as_name(_get(event, "finishReason", "finish_reason")))  # fmt: skip
    actions = mapping(event.get("actions"))
    target = as_name(_get(actions, "transferToAgent", "transfer_to_agent"))
    if target:
        t.step(
            "assistant",
            f"transfer to {target}",
            kind="handoff",
            origin="harness",
            agent=author,
            ts=stamp,
            src_pointer=where,
        )
    code = as_name(_get(event, "errorCode", "error_code"))
    if code:
        text = as_text(_get(event, "errorMessage", "error_message")) or code
        t.step("environment", text, kind="error", origin="harness", is_error=True, ts=stamp, src_pointer=where)
        t.error_type, t.error_message = code, text


def _detect_strands(head: Head) -> Confidence | None:
    row = head.first
    return (
        "certain"
        if {"message", "message_id", "created_at"} <= row.keys() and "role" in mapping(row.get("message"))
        else None
    )


def _is_first(head: Head) -> bool:
    """Whether no message of the same agent has a lower number."""
    own = NUMBERED.search(head.path.name)
    if own is None or own[1] == "0" or head.path.with_name("message_0.json").exists():
        return own is None or own[1] == "0"
    others = [int(m[1]) for p in head.path.parent.glob("message_*.json") if (m := NUMBERED.search(p.name))]
    return int(own[1]) <= min(others, default=0)


mark("strands_message", title="Strands message that its agent's first file reads", rank=18, role="part",
     detect=lambda head: _detect_strands(head) if not _is_first(head) else None)  # fmt: skip
mark("strands_session", title="Strands session or agent description", rank=18, role="part",
     detect=lambda head: "likely" if {"session_type", "conversation_manager_state"} & head.first.keys() and
     {"session_id", "agent_id"} & head.first.keys() else None)  # fmt: skip


@reader(
    "strands",
    title="Strands Agents sessions",
    rank=17,
    detect=lambda head: _detect_strands(head) if _is_first(head) else None,
)
def read_strands(source: Source) -> Iterator[Trace]:
    parts = PurePosixPath(source.name).parts
    session = next((p.removeprefix("session_") for p in parts if p.startswith("session_")), None)
    agent = next((p.removeprefix("agent_") for p in parts if p.startswith("agent_")), None)
    own = "/".join(x for x in (session, agent) if x) or source.label
    t = Trace("strands", own, session_id=session, agent=agent, framework="strands")
    files = {int(m[1]): p for p in source.path.parent.glob("message_*.json") if (m := NUMBERED.search(p.name))}
    paths = [files[n] for n in sorted(files)] if source.path in files.values() else [source.path]
    for path in paths:
        inside = source.sibling(path.name)
        row = mapping(Source(path, str(path), source.root).document()) if inside is not None else {}
        first = len(t.steps)
        add_messages(t, messages(row.get("message")), pointer=path.name)
        for step in t.steps[first:]:
            step.ts = timestamp(row.get("created_at"))
    yield t


def _detect_events(head: Head) -> Confidence | None:
    rows = [r for r in head.records[:4] if isinstance(r, dict)]
    return (
        "certain"
        if rows and all(RUN.match(word(r.get("event"))) and {"run_id", "data"} <= r.keys() for r in rows)
        else None
    )


@reader(
    "langgraph_events", title="LangChain and LangGraph event streams (astream_events)", rank=18, detect=_detect_events
)
def read_events(source: Source) -> Iterator[Trace]:
    gather = Gather()
    root: dict[str, str | None] = {}
    for record in source.records():
        row = mapping(record.value)
        if not RUN.match(word(row.get("event"))) or "run_id" not in row:
            source.n_bad += 1
            source.issue("not_an_event", f"a record is no event: {str(row)[:80]!r}", offset=record.offset)
            continue
        above = [as_name(x) for x in row["parent_ids"]] if isinstance(row.get("parent_ids"), list) else []
        own = as_name(row["run_id"]) or ""
        root.setdefault(own, above[0] if above else own)
        gather.add(root[own] or own, {**row, "_at": [record.offset, record.length, record.pointer]})
    for own, rows in gather.groups():
        yield _stream(own, [mapping(r) for r in rows])


def _stream(own: str, rows: list[dict[str, Any]]) -> Trace:
    t = Trace("langgraph_events", own, framework="langgraph")
    spans: dict[str, Span] = {}
    pieces: dict[str, list[str]] = {}
    for i, row in enumerate(rows):
        found = RUN.match(word(row["event"]))
        meta, data = mapping(row.get("metadata")), mapping(row.get("data"))
        t.session_id = t.session_id or as_name(meta.get("thread_id"))
        id = str(row["run_id"])
        s = spans.get(id)
        if s is None:
            above = row["parent_ids"] if isinstance(row.get("parent_ids"), list) else []
            kind = KINDS.get((found["kind"] if found else "").replace("prompt", "parser"), "chain")
            s = spans[id] = Span(
                id, as_name(above[-1]) if above else None, as_name(row.get("name")) or "", kind, convention="langchain"
            )
            s.start, s.attributes = (
                _step_time(row, i),
                {k: v for k, v in meta.items() if isinstance(v, (str, int, float, bool))},
            )
            s.model, s.tool = as_name(meta.get("ls_model_name")), as_name(row.get("name")) if kind == "tool" else None
            s.offset, s.length, s.pointer = row["_at"]
        s.input = data["input"] if data.get("input") is not None else s.input
        when = found["when"] if found else ""
        if when == "stream":
            pieces.setdefault(id, []).append(as_text(mapping(data.get("chunk")).get("content") or "") or "")
        s.end = _step_time(row, i) if when in ("end", "error") else s.end
        if when == "error":
            s.failed, s.error = True, as_text(data.get("error"))
        elif when == "end":
            _ended(s, data)
    for id, said in pieces.items():
        if spans[id].output is None and spans[id].kind == "llm" and "".join(said):
            spans[id].output = "".join(said)
    build(t, list(spans.values()))
    if not any(timestamp(row.get("timestamp") or row.get("ts")) for row in rows):
        _untimed(t)
    return t


def _step_time(row: Mapping[str, Any], place: int) -> Any:
    """Events bear no times: their order in the stream is their order, and `_untimed` takes these away again."""
    return timestamp(row.get("timestamp") or row.get("ts")) or timestamp(1 + place / 1000)


def _untimed(t: Trace) -> None:
    t.started_at = t.ended_at = t.duration_s = None
    for step in t.steps:
        step.ts = step.duration_ms = None
    for call in t.calls:
        call.started_at = call.ended_at = call.duration_ms = None
    for row in (*t.llm_calls, *t.spans):
        row["started_at"] = row["ended_at"] = None


def _ended(s: Span, data: Mapping[str, Any]) -> None:
    s.output = data.get("output")
    held = mapping(s.output)
    held = mapping(held.get("kwargs")) or held
    if s.kind == "tool":
        s.call_id = as_name(held.get("tool_call_id"))
        s.failed = True if held.get("status") == "error" else s.failed
    usage = mapping(held.get("usage_metadata"))
    counts = {"input_tokens": number(usage.get("input_tokens")), "output_tokens": number(usage.get("output_tokens")),
              "cache_read_tokens": number(mapping(usage.get("input_token_details")).get("cache_read"))}  # fmt: skip
    s.usage = {k: int(v) for k, v in counts.items() if v is not None}
    s.model = as_name(mapping(held.get("response_metadata")).get("model_name")) or s.model


def _detect_threads(head: Head) -> Confidence | None:
    rows = [head.first, *mappings(head.first.get("data"))[:1]]
    return "certain" if any(r.get("object") in ("thread.message", "thread.run.step") for r in rows) else None


@reader("openai_threads", title="OpenAI Assistants threads", rank=18, detect=_detect_threads, single=True)
def read_threads(source: Source) -> Iterator[Trace]:
    held: dict[str, list[tuple[Any, int, dict[str, Any], str]]] = {}
    key = "data" if isinstance(source.head.first.get("data"), list) and not source.head.is_jsonl else None
    for i, record in enumerate(source.records(key)):
        row = mapping(record.value)
        own = as_name(row.get("thread_id")) or source.label
        held.setdefault(own, []).append((number(row.get("created_at")) or 0, i, row, record.pointer or ""))
    for own, listed in held.items():
        t = Trace("openai_threads", own, session_id=own, framework="openai-assistants")
        for _, _, row, where in sorted(listed, key=lambda x: (x[0], x[1] if listed[0][0] <= listed[-1][0] else -x[1])):
            _thread_row(t, row, where)
        if t.steps:
            yield t


def _thread_row(t: Trace, row: Mapping[str, Any], where: str) -> None:
    first = len(t.steps)
    if row.get("object") == "thread.message":
        content = [{"type": "text", "text": as_text(mapping(b.get("text")).get("value") or b.get("text"))} if "text" in b else b
                   for b in mappings(row.get("content"))]  # fmt: skip
        add_messages(t, [{"role": row.get("role"), "content": content}], pointer=where)
    for call in mappings(mapping(row.get("step_details")).get("tool_calls")):
        kind = word(call.get("type"))
        inner = mapping(call.get(kind))
        name = as_name(inner.get("name")) or kind
        seq = t.step("assistant", None, origin="model", src_pointer=where)
        args = decoded(inner.get("arguments", inner.get("input")))
        t.call(seq, name, args if isinstance(args, (dict, str)) else inner, id=as_name(call.get("id")))
        out = inner.get("output", inner.get("outputs"))
        if out is not None:
            t.result(as_text(out), id=as_name(call.get("id")))
    for step in t.steps[first:]:
        step.ts, step.native_id = timestamp(row.get("created_at")), as_name(row.get("id"))
    usage = mapping(row.get("usage"))
    if usage:
        t.llm(as_name(row.get("id")), first_seq=first if len(t.steps) > first else None, input_tokens=usage.get("prompt_tokens"),
              output_tokens=usage.get("completion_tokens"))  # fmt: skip
    failed = mapping(row.get("last_error"))
    if failed:
        t.step(
            "environment",
            as_text(failed.get("message")),
            kind="error",
            origin="harness",
            is_error=True,
            src_pointer=where,
        )
