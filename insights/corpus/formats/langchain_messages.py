"""LangChain messages and LangGraph states.

    {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "AIMessage"], "kwargs": {"content": "", "type": "ai",
     "tool_calls": [{"name": "f", "args": {"q": 1}, "id": "c1"}], "usage_metadata": {"input_tokens": 9, "output_tokens": 2}}}   dumps
    {"type": "ai", "data": {"content": "…", "response_metadata": {"model_name": "m"}}}                                   messages_to_dict
    {"values": {"messages": [{"type": "human", "content": "…"}]}, "next": [], "checkpoint": {"thread_id": "t1"}}            a state

Read as a list, one message per line, or inside `messages` of an object or state. Errors: `status: "error"` of a tool message.
Input tokens include cached ones. A checkpoint history (several states of one thread) gives one trace: the longest.
Outcome: only explicit keys beside the messages, as in OpenAI chat. `invalid_tool_calls` become calls whose arguments
could not be read. Dropped: `response_metadata` but for model and finish reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import apply_metadata, flatten, timestamp
from insights.corpus.parse import mapping, mappings
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name, as_text

TYPES = {
    "human": "user",
    "HumanMessageChunk": "user",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "function": "tool",
    "chat": "user",
}


def plain(value: Any) -> dict[str, Any] | None:
    """The fields of a message in any of its three shapes; None where it is no message."""
    if not isinstance(value, dict):
        return None
    if value.get("lc") == 1:
        kwargs = value.get("kwargs")
        name = str(value["id"][-1]) if isinstance(value.get("id"), list) and value["id"] else ""
        if not isinstance(kwargs, dict) or "content" not in kwargs:
            return None
        return {"type": name.removesuffix("Chunk").removesuffix("Message").lower(), **kwargs}
    if not isinstance(value.get("type"), str) or value["type"] not in TYPES:
        return None
    if isinstance(value.get("data"), dict) and "content" in value["data"]:
        return {**value["data"], "type": value["type"]}
    return value if "content" in value and "role" not in value else None


def _messages(value: Any) -> list[Any] | None:
    """The messages of a record: a list, an object with `messages`, a LangGraph state."""
    if isinstance(value, list):
        return value if value and plain(value[0]) is not None else None
    if not isinstance(value, dict):
        return None
    for holder in (value.get("values"), value.get("channel_values"), value, value.get("output"), value.get("kwargs")):
        found = holder.get("messages") if isinstance(holder, dict) else None
        if isinstance(found, list) and found and plain(found[0]) is not None:
            return found
    return None


def _detect(head: Head) -> Confidence | None:
    if any(_messages(r) is not None for r in head.records[:3]):
        return "likely"
    messages = [r for r in head.records if isinstance(r, dict)]
    found = [plain(m) for m in messages[:5]]
    if not found or any(m is None for m in found[:2]):
        return None
    return "likely" if messages[0].get("lc") == 1 or "data" in messages[0] or len(found) > 1 else "guess"


@reader("langchain", title="LangChain messages and LangGraph states", rank=60, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    loose: list[Any] = []
    longest: dict[str, Trace] = {}
    for i, record in enumerate(source.records()):
        value = record.value
        messages = _messages(value)
        if messages is not None:
            t = _trace(source, value if isinstance(value, dict) else {}, messages, i, record.pointer or "")
            if t.session_id is None:
                yield t
            elif t.session_id not in longest or len(t.steps) >= len(longest[t.session_id].steps):
                longest[t.session_id] = t
        elif plain(value) is not None:
            loose.append(value)
        else:
            source.n_bad += 1
            source.issue("not_a_message", f"record {i} is no message: {str(value)[:80]!r}", offset=record.offset)
    yield from longest.values()
    if loose:
        yield _trace(source, {}, loose, 0, "")


def _trace(source: Source, state: dict[str, Any], messages: list[Any], index: int, pointer: str) -> Trace:
    checkpoint = state.get("checkpoint") or mapping(state.get("config")).get("configurable") or {}
    thread = as_name(checkpoint.get("thread_id")) if isinstance(checkpoint, dict) else None
    own = thread or state.get("run_id") or state.get("id")
    native = str(own) if isinstance(own, str) else source.label if not index else f"{source.label}#{index}"
    t = Trace("langchain", native, framework="langchain", session_id=thread)
    for i, value in enumerate(messages):
        add_message(t, value, f"{pointer}/messages/{i}" if state else f"{pointer}/{i}")
    if thread:
        t.framework = "langgraph"
        t.ended_at = timestamp(state.get("created_at"))
        if state.get("next"):
            t.end_reason, t.native_end_reason = "still_running", f"next: {as_text(state['next'])}"
        elif state.get("next") is not None:
            t.end_reason, t.native_end_reason = "completed", "no next node"
    else:
        apply_metadata(t, {k: v for k, v in state.items() if k not in ("messages", "values", "output", "kwargs")})
    return t


def add_message(t: Trace, value: Any, where: str) -> None:
    m = plain(value)
    if m is None:
        t.step(None, value, kind="log", src_pointer=where)
        t.issue("not_a_message", f"{where} is no LangChain message")
        return
    role = TYPES.get(str(m.get("type")), str(m.get("role") or "user"))
    text, parts, _ = flatten(m.get("content"))
    if role == "tool":
        failed = m.get("status") == "error"
        t.result(
            text,
            id=m.get("tool_call_id"),
            name=m.get("name"),
            status="error" if failed else "ok" if m.get("status") == "success" else None,
            error_basis="flag" if failed else None,
            parts=parts,
            native_id=m.get("id"),
            src_pointer=where,
        )
        return
    extra = mapping(m.get("additional_kwargs"))
    parts = [
        p for p in parts or [] if not (isinstance(p, dict) and p.get("type") in ("tool_use", "thinking", "reasoning"))
    ]
    seq = t.step(
        role,
        text,
        origin={"assistant": "model", "user": "human"}.get(role, "harness"),
        agent=m.get("name") if role == "assistant" else None,
        reasoning=extra.get("reasoning_content") or _thinking(m.get("content")),
        parts=parts or None,
        native_id=m.get("id"),
        src_pointer=where,
    )
    _calls(t, seq, m, extra)
    _model_call(t, seq, m)


def _thinking(content: Any) -> str | None:
    blocks = content if isinstance(content, list) else []
    texts = [str(b["thinking"]) for b in blocks if isinstance(b, dict) and isinstance(b.get("thinking"), str)]
    return "\n".join(texts) or None


def _calls(t: Trace, seq: int, m: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    for call in mappings(m.get("tool_calls")):
        t.call(seq, call.get("name"), call.get("args"), id=call.get("id"))
    for call in mappings(m.get("invalid_tool_calls")):
        reason = str(call.get("error") or "arguments could not be parsed")[:200]
        t.call(seq, call.get("name"), call.get("args") or "", id=call.get("id"), args_error=reason)
    if not t.steps[seq].n_tool_calls:
        for call in mappings(extra.get("tool_calls")):
            function = mapping(call.get("function"))
            t.call(seq, function.get("name"), function.get("arguments"), id=call.get("id"))


def _model_call(t: Trace, seq: int, m: Mapping[str, Any]) -> None:
    usage, response = mapping(m.get("usage_metadata")), mapping(m.get("response_metadata"))
    model = response.get("model_name") or response.get("model")
    if t.steps[seq].role != "assistant" or not (usage or model):
        return
    detail, out = mapping(usage.get("input_token_details")), mapping(usage.get("output_token_details"))
    t.steps[seq].llm_call_id = t.llm(
        first_seq=seq,
        model=model,
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        cache_read_tokens=detail.get("cache_read"),
        cache_write_tokens=detail.get("cache_creation"),
        reasoning_tokens=out.get("reasoning"),
        native_finish_reason=response.get("finish_reason") or response.get("stop_reason"),
    )
