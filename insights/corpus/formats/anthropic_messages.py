"""Anthropic Messages: lists of messages with content blocks, request logs, stored responses, and event streams.

    {"system": "…", "messages": [{"role": "user", "content": "Where is order 7?"}, {"role": "assistant", "content": [
     {"type": "tool_use", "id": "toolu_1", "name": "get_order", "input": {"id": 7}}]}, {"role": "user", "content": [
     {"type": "tool_result", "tool_use_id": "toolu_1", "content": "not found", "is_error": true}]}]}

- A user message made of tool_result blocks is a tool step; what else it says is a user step of its own.
- `usage.input_tokens` excludes the cache (added here); in a stream the last `message_delta` has the output tokens.
- Logs that repeat the history are folded (see request_log). `system` of the request is the first step.
- Batch results ({custom_id, result}) give one trace each; a failed one its error.
Tool definitions are kept once, as a blob. Dropped: signatures, cache marks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import SCORES, VERDICTS, apply_metadata, flatten, timestamp
from insights.corpus.formats.request_log import Conversation, Request, log_of, name_of, shares
from insights.corpus.parse import mapping, word
from insights.corpus.sniff import Head
from insights.corpus.source import STREAM_ABOVE, Record, Source
from insights.corpus.trace import Trace

BLOCKS = {"tool_use", "tool_result", "thinking", "redacted_thinking", "server_tool_use", "web_search_tool_result"}
CALLS = ("tool_use", "server_tool_use", "mcp_tool_use", "tool_call")
STOPPED = {"end_turn": "completed", "stop_sequence": "completed", "refusal": "refused", "max_tokens": "limit_tokens"}
LEFT_OUT = ("messages", "system", "tools", "request", "response", "result", "metadata", "content", "usage", "params")


def block_parts(content: Any) -> tuple[str | None, str | None, bool | None, list[Any], Any]:
    """(text, reasoning, whether reasoning is hidden, tool_use blocks, other parts) of an assistant's content."""
    if not isinstance(content, list):
        return flatten(content)[0], None, None, [], None
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    rest: list[Any] = []
    hidden: bool | None = None
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if isinstance(block, str):
            texts.append(block)
        elif kind in ("thinking", "redacted_thinking"):
            said = block.get("thinking") or block.get("text")
            hidden = hidden or not said or None
            thoughts += [said] if isinstance(said, str) and said else []
        elif kind in CALLS:
            calls.append(block)
        elif isinstance(block, dict) and isinstance(block.get("text"), str):
            texts.append(block["text"])
            if block.get("citations"):
                rest.append({"citations": block["citations"]})
        else:
            rest.append(block)
    return "\n\n".join(t for t in texts if t) or None, "\n\n".join(thoughts) or None, hidden, calls, rest or None


def anthropic_usage(usage: Any) -> dict[str, int | None]:
    """Usage columns with the cache counted as input; {} where there is none."""
    if not isinstance(usage, dict):
        return {}
    plain, read, write = (
        n if isinstance(n := usage.get(k), int) else None
        for k in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    return {
        "input_tokens": None if plain is None else plain + (read or 0) + (write or 0),
        "cache_read_tokens": read,
        "cache_write_tokens": write,
        "output_tokens": usage.get("output_tokens") if isinstance(usage.get("output_tokens"), int) else None,
        "reasoning_tokens": mapping(usage.get("output_tokens_details")).get("thinking_tokens"),
    }


def add_anthropic(t: Trace, message: dict[str, Any], where: dict[str, Any]) -> int | None:
    """Append one message; `where` holds step columns. Returns the seq of its message step, None if it is only results."""
    role, content = message.get("role"), message.get("content")
    if role == "assistant":
        text, thought, hidden, calls, parts = block_parts(content)
        results = [p for p in parts or () if _is_result(p)]
        rest = [p for p in parts or () if not _is_result(p)] or None
        columns: dict[str, Any] = {
            "origin": "model",
            "reasoning": thought,
            "reasoning_hidden": hidden,
            "parts": rest,
            **where,
        }
        seq = t.step("assistant", text, **columns)
        for block in calls:
            provider = block.get("type") in ("server_tool_use", "mcp_tool_use")
            t.call(seq, block.get("name"), block.get("input"), id=block.get("id"), started_at=where.get("ts"),
                   requestor="provider" if provider else "assistant")  # fmt: skip
        for answer in results:
            add_result(t, answer, where)
        return seq
    blocks: list[Any] = content if isinstance(content, list) else [content]
    for block in blocks:
        if _is_result(block):
            add_result(t, block, where)
    said = [b for b in blocks if not _is_result(b) and b is not None]
    if not said:
        return None
    text, parts, _ = flatten(said if isinstance(content, list) else content)
    columns = {"origin": "human" if role == "user" else "harness", "parts": parts, **where}
    return t.step(role, text, **columns)


def _is_result(block: Any) -> bool:
    kind = str(block.get("type", "")) if isinstance(block, dict) else ""
    return kind.endswith(("tool_result", "tool-result"))


def add_result(t: Trace, block: dict[str, Any], where: dict[str, Any]) -> int:
    """Append one tool_result block; an id that no call has falls back to the oldest open call without an id."""
    text, parts, _ = flatten(block.get("content"))
    if text is None and parts:
        text, parts = orjson.dumps(parts if len(parts) > 1 else parts[0], default=str).decode(), None
    own = block.get("tool_use_id")
    if not any(c.native_id == own for c in t.calls):
        own = None
    flagged = bool(block.get("is_error")) or '"error_code"' in (text or "")[:200]
    columns = {k: v for k, v in where.items() if k != "native_id"}
    return t.result(text, id=own, name=block.get("name"), status="error" if flagged else "ok" if "is_error" in block else None,
                    error_basis="flag" if flagged else None, parts=parts, call_columns={"ended_at": where.get("ts")},
                    **columns)  # fmt: skip


def has_blocks(messages: Any) -> bool:
    """Whether a list of messages has content blocks that only Anthropic's API has."""
    return isinstance(messages, list) and any(
        isinstance(b, dict) and word(b.get("type")) in BLOCKS
        for m in messages
        if isinstance(m, dict) and isinstance(m.get("content"), list)
        for b in m["content"]
    )


def _is_response(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "message" and ("stop_reason" in value or "usage" in value)


def _detect(head: Head) -> Confidence | None:
    if head.text.lstrip().startswith(("event: message_start", 'data: {"type":"message_start"')):
        return "certain"
    first = head.first
    if first.get("type") == "message_start" and "message" in first:
        return "certain"
    request = mapping(first.get("request")) or mapping(first.get("params"))
    if _is_response(first) or _is_response(first.get("response")) or "message" in mapping(first.get("result")):
        return "certain" if "role" in first or "response" in first or "custom_id" in first else None
    for messages in (first.get("messages"), request.get("messages"), mapping(first.get("body")).get("messages")):
        if has_blocks(messages):
            return "likely"
    if has_blocks([r for r in head.records if isinstance(r, dict) and r.get("role") in ("user", "assistant")]):
        return "likely"
    return "likely" if any(isinstance(r, list) and has_blocks(r) for r in head.records[:3]) else None


def _shares(source: Source) -> dict[str, Any]:
    """A log of requests with a file each goes on in other files."""
    if source.head.is_jsonl or source.head.size > STREAM_ABOVE or not isinstance(source.head.doc, dict):
        return {}
    value = source.document()
    return {} if _has_verdict(value) or "role" in value else shares(source, _request(value, Record(value), 0))


@reader("anthropic_messages", title="Anthropic messages", rank=70, detect=_detect, shares=_shares)
def read(source: Source) -> Iterator[Trace]:
    log, events = log_of(source), Stream()
    loose: dict[str, list[Any]] = {}
    for index, record in enumerate(source.joined(_values)):
        value, request = record.value, None
        if isinstance(value, list) and value and isinstance(value[0], dict):
            request = Request(value, [], {}, record, index)
        elif not isinstance(value, dict):
            source.n_bad += 1
            source.issue("not_a_message", f"a record is {type(value).__name__}, not an object", offset=record.offset)
        elif events.take(value):
            if events.done is not None:
                request = Request([], [events.done], {"response": events.done}, record, index)
        elif value.get("role") in ("user", "assistant", "system") and not _is_response(value):
            apart = str(record.offset) if record.pointer and record.offset is not None else ""  # a line that is a list
            loose.setdefault(name_of(value) + apart, []).append(value)
        else:
            request = _request(value, record, index)
        for conversation in log.add(request, apart=_has_verdict(request.value)) if request else ():
            yield _trace(source, conversation)
    last = [Request(messages, [], {}, Record(None), i) for i, messages in enumerate(loose.values())]
    if events.open is not None:
        source.truncated = True
        source.issue("stream_cut_off", "the event stream ends before message_stop")
        last.append(Request([], [events.finish()], {"response": events.finish()}, Record(None)))
    for request in last:
        for conversation in log.add(request):
            yield _trace(source, conversation)
    if log.n_folded:
        source.issue("history_folded", "lines that repeat an earlier conversation", severity="info", n=log.n_folded)
    for conversation in log.rest():
        yield _trace(source, conversation)


def _has_verdict(value: dict[str, Any]) -> bool:
    return any(k in h for h in (value, mapping(value.get("metadata"))) for k in (*VERDICTS, *SCORES))


def _values(source: Source) -> Iterator[Record]:
    if not source.head.text.lstrip().startswith(("event:", "data:")):
        yield from source.records()
        return
    offset = 0
    with source.path.open("rb") as file:
        for line in file:
            if line.startswith(b"data:") and line[5:].strip() not in (b"", b"[DONE]"):
                try:
                    source.n_records += 1
                    yield Record(orjson.loads(line[5:]), offset, len(line))
                except orjson.JSONDecodeError as error:
                    source.n_bad += 1
                    source.issue("bad_line", f"{error}: {line[:80]!r}", offset=offset)
            offset += len(line)


def _request(value: dict[str, Any], record: Record, index: int) -> Request:
    request = next((value[k] for k in ("request", "params", "body", "kwargs") if isinstance(value.get(k), dict)), value)
    result = mapping(value.get("result"))
    response = value if _is_response(value) else value.get("response") or result.get("message")
    messages = request.get("messages") if isinstance(request.get("messages"), list) else []
    system = flatten(request.get("system"))[0]
    lead = [{"role": "system", "content": system}] if system else []
    answer = [response] if isinstance(response, dict) and "content" in response else []
    return Request([*lead, *(messages or [])], answer, value, record, index)


def _trace(source: Source, conversation: Conversation) -> Trace:
    value = conversation.value
    both = {**mapping(value.get("metadata")), **{k: v for k, v in value.items() if k not in LEFT_OUT}}
    names = ("trace_id", "run_id", "conversation_id", "session_id", "custom_id", "id")
    own = next((both[k] for k in names if both.get(k)), None)
    t = Trace("anthropic_messages", str(own) if own else f"{source.name}#{conversation.index}", provider="anthropic")
    starts: dict[int, int] = {}
    for i, message in enumerate(conversation.messages):
        where: dict[str, Any] = {"src_pointer": f"{conversation.record.pointer or ''}/messages/{i}"}
        if isinstance(message, dict):
            where["ts"] = timestamp(message.get("timestamp") or message.get("created_at"))
            seq = add_anthropic(t, message, where)
            starts[i] = len(t.steps) - 1 if seq is None else seq
    if t.steps:
        t.steps[0].src_offset, t.steps[0].src_len = conversation.record.offset, conversation.record.length
    for at, request in conversation.calls:
        _model_call(t, request, starts.get(at) if request.answer else None)
    if not t.llm_calls:
        t.offer(_offered(value))
    apply_metadata(t, both)
    return t


def _offered(value: dict[str, Any]) -> Any:
    """The definitions of a request's tools."""
    holders = (value, *(mapping(value.get(k)) for k in ("request", "params", "body", "kwargs")))
    return next((h["tools"] for h in holders if h.get("tools")), None)


def _model_call(t: Trace, request: Request, seq: int | None) -> None:
    value = request.value
    response = request.answer[0] if request.answer else value
    failed = mapping(value.get("error")) or mapping(mapping(value.get("result")).get("error"))
    if not request.answer and not failed and not value.get("usage"):
        return
    stop = response.get("stop_reason") if request.answer else None
    failed = mapping(failed.get("error")) or failed
    t.offer(_offered(value))
    name = t.llm(
        response.get("id") if not any(c["llm_call_id"] == response.get("id") for c in t.llm_calls) else None,
        first_seq=seq,
        model=response.get("model"),
        model_requested=mapping(value.get("request")).get("model"),
        provider="anthropic",
        finish_reason=stop,
        native_finish_reason=stop,
        status="error" if failed else "ok",
        error_type=failed.get("type"),
        error_message=failed.get("message"),
        **anthropic_usage(response.get("usage")),
    )
    if seq is not None:
        t.steps[seq].llm_call_id = name
        for call in t.calls:
            if call.call_seq == seq:
                call.llm_call_id = name
    t.end_reason = "error" if failed else STOPPED.get(str(stop), "unknown")
    t.native_end_reason = stop
    if failed:
        t.error_type, t.error_message = failed.get("type"), failed.get("message")


class Stream:
    """Puts the events of streamed messages together; `done` is the message that the last event completed."""

    def __init__(self) -> None:
        self.open: dict[str, Any] | None = None
        self.done: dict[str, Any] | None = None
        self._json: dict[int, list[str]] = {}

    def take(self, event: dict[str, Any]) -> bool:
        """Whether the value was a stream event."""
        kind, self.done = event.get("type"), None
        if kind == "message_start" and isinstance(event.get("message"), dict):
            self.open, self._json = {**event["message"], "content": []}, {}
        elif self.open is not None and kind == "content_block_start":
            self.open["content"].append({**mapping(event.get("content_block"))})
        elif self.open is not None and kind == "content_block_delta" and self.open["content"]:
            self._delta(event, mapping(event.get("delta")))
        elif self.open is not None and kind == "message_delta":
            self.open.update(mapping(event.get("delta")))
            self.open["usage"] = {**mapping(self.open.get("usage")), **mapping(event.get("usage"))}
        elif self.open is not None and kind == "message_stop":
            self.done, self.open = self.finish(), None
        else:
            return kind in ("ping", "content_block_stop", "message_stop")
        return True

    def _delta(self, event: dict[str, Any], delta: dict[str, Any]) -> None:
        assert self.open is not None
        content = self.open["content"]
        index = event.get("index") if isinstance(event.get("index"), int) else len(content) - 1
        at = min(index or 0, len(content) - 1)
        for key in ("text", "thinking", "signature"):
            if isinstance(delta.get(key), str):
                content[at][key] = content[at].get(key, "") + delta[key]
        if isinstance(delta.get("partial_json"), str):
            self._json.setdefault(at, []).append(delta["partial_json"])

    def finish(self) -> dict[str, Any]:
        message = self.open or {}
        for at, pieces in self._json.items():
            message["content"][at]["input"] = "".join(pieces)
        return message
