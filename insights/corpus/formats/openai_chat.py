"""OpenAI chat messages: the shape that everything else imitates.

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function",
     "function": {"name": "search", "arguments": "{\\"q\\": 1}"}}]}, {"role": "tool", "tool_call_id": "call_1", "content": "…"}]}

- Containers read: an object with `messages`; a bare list; one message per line (grouped by conversation id where they have
  one); request logs (`request`/`response`, LiteLLM, Batch output with `custom_id`); stored completions; streamed chunks, also
  as `data:` lines; JSONL of any of these.
- Lines of a log that repeat the history are folded (see request_log), each giving one row of `llm_calls`. A line with an
  outcome or an id of its own is a trace of its own.
- `arguments` may be invalid, empty or encoded twice; ids may repeat: calls and results pair in order.
- Outcome keys beside `messages` (`success`, `passed`, `resolved`, `reward`, `score`, also inside `metadata`) are the verdict.
Tool definitions are kept once, as a blob. Dropped: log probabilities, choices after the first (counted).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import (
    ROLES,
    SCORES,
    VERDICTS,
    add_messages,
    apply_metadata,
    flatten,
    is_message,
    timestamp,
)
from insights.corpus.formats.payload import decoded
from insights.corpus.formats.request_log import NAMES, Conversation, Request, log_of, name_of, shares
from insights.corpus.parse import mapping, mappings, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import STREAM_ABOVE, Record, Source
from insights.corpus.trace import Trace

__all__ = ["add_messages", "apply_metadata", "flatten", "is_message", "timestamp"]

HOLDERS = ("request", "body", "kwargs", "data", "input", "params")
LEFT_OUT = ("messages", "metadata", "response", "tools", "choices", "usage", *HOLDERS)
SAID = ("response", "completion", "answer", "output")  # keys of an answer that is bare text beside `messages`
STOPPED = {"stop": "completed", "length": "limit_tokens", "content_filter": "refused"}


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if str(first.get("object", "")).startswith("chat.completion") or isinstance(first.get("choices"), list):
        return "likely"
    if head.text.lstrip().startswith("data: {") and '"choices"' in head.text[:4000]:
        return "likely"
    if isinstance(mapping(first.get("response")).get("choices"), list) or _is_batch(first):
        return "likely"
    for record in [r for r in head.records[:20] if isinstance(r, dict)]:
        for holder in (record, *(mapping(record.get(k)) for k in HOLDERS)):
            messages: Any = _list(holder.get("messages"))
            if _are_messages(messages, cut=head.size > len(head.head)):
                used = any(m.get("tool_calls") or m.get("role") == "tool" for m in messages if isinstance(m, dict))
                return "likely" if used else "guess"
    records = [r for r in head.records if not isinstance(r, list) and not _is_bookkeeping(r)]
    if len(records) > 1 and all(is_message(r) for r in records[:-1]):
        return "guess"
    if any(isinstance(r, list) and len(r) > 1 and all(is_message(m) for m in r[:-1]) for r in head.records[:3]):
        return "guess"
    return None


def _list(value: Any) -> list[Any]:
    """A list of messages, also where a table holds it as JSON in text."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        value = decoded(value)
    return value if isinstance(value, list) else []


def _are_messages(messages: Any, *, cut: bool) -> bool:
    """Whether a list holds messages; the last may be anything, and half a message where the head is cut off."""
    if not isinstance(messages, list) or not messages:
        return False
    if cut and len(messages) == 1:
        return isinstance(messages[0], dict) and word(messages[0].get("role")) in ROLES
    return all(is_message(m) for m in messages[:-1] or messages)


def _is_batch(value: Mapping[str, Any]) -> bool:
    return "custom_id" in value and "response" in value and "error" in value


def _is_bookkeeping(value: Any) -> bool:
    """Lines such as {"role": "_checkpoint"} that Kimi's and others' context files hold between messages."""
    return isinstance(value, dict) and str(value.get("role", "")).startswith("_")


def _shares(source: Source) -> dict[str, Any]:
    """A log of requests with a file each goes on in other files."""
    if source.head.is_jsonl or source.head.size > STREAM_ABOVE or not isinstance(source.head.doc, dict):
        return {}
    value = source.document()
    request = _request(value, Record(value), 0)
    return {} if request is None or _has_verdict(request.value) else shares(source, request)


@reader("openai_chat", title="OpenAI chat messages", rank=80, detect=_detect, shares=_shares)
def read(source: Source) -> Iterator[Trace]:
    log, chunks = log_of(source), Chunks()
    loose: dict[str, list[tuple[Any, Record]]] = {}
    n_marks = 0
    for index, record in enumerate(source.joined(_records)):
        value = record.value
        if is_message(value):
            apart = str(record.offset) if record.pointer and record.offset is not None else ""  # a line that is a list
            loose.setdefault(name_of(value) + apart, []).append((value, record))
        elif _is_bookkeeping(value):
            n_marks += 1
        elif loose and isinstance(value, dict) and isinstance(value.get("role"), str) and "content" in value:
            loose.setdefault(name_of(value), []).append((value, record))  # of a role of its own: error, critic …
        elif isinstance(value, dict) and value.get("object") == "chat.completion.chunk":
            chunks.take(value, record)
        elif (request := _request(value, record, index)) is not None:
            for conversation in log.add(request, apart=_has_verdict(request.value)):
                yield conversation_trace(source, conversation)
        else:
            source.n_bad += 1
            what = f"a record holds no messages: {str(value)[:80]!r}"
            source.issue("not_a_conversation", what, offset=record.offset)
    for request in (*chunks.requests(), *_loose(loose)):
        for conversation in log.add(request):
            yield conversation_trace(source, conversation)
    if n_marks:
        source.issue("no_step", "lines outside the conversation", severity="info", n=n_marks)
    if log.n_folded:
        source.issue("history_folded", "lines that repeat an earlier conversation", severity="info", n=log.n_folded)
    for conversation in log.rest():
        yield conversation_trace(source, conversation)


def _loose(messages: dict[str, list[tuple[Any, Record]]]) -> Iterator[Request]:
    """Messages that stood one by one, a request for each conversation they name."""
    for index, (name, rows) in enumerate(messages.items()):
        first = rows[0][0]
        own = {k: first[k] for k in NAMES if name and k in first}
        yield Request([m for m, _ in rows], [], own, rows[0][1], index)


def _records(source: Source) -> Iterator[Record]:
    if not source.head.text.lstrip().startswith("data: {"):
        yield from source.records()
        return
    offset = 0
    with source.path.open("rb") as file:
        for line in file:
            body = line[5:].strip() if line.startswith(b"data:") else b""
            if body not in (b"", b"[DONE]"):
                try:
                    source.n_records += 1
                    yield Record(orjson.loads(body), offset, len(line))
                except orjson.JSONDecodeError as error:
                    source.n_bad += 1
                    source.issue("bad_line", f"{error}: {line[:80]!r}", offset=offset)
            offset += len(line)


def _has_verdict(value: dict[str, Any]) -> bool:
    meta = mapping(value.get("metadata"))
    return any(key in holder for holder in (value, meta) for key in (*VERDICTS, *SCORES))


def _request(value: Any, record: Record, index: int) -> Request | None:
    """The messages of one record and the answer it got; None where it holds neither."""
    if isinstance(value, list):
        return Request(value, [], {}, record, index) if value and is_message(value[0]) else None
    if not isinstance(value, dict):
        return None
    holders = (value, *(mapping(value.get(k)) for k in HOLDERS))
    messages: list[Any] = next((m for m in (_list(h.get("messages")) for h in holders) if m), [])
    answer = _answer(_response(value))
    said = _said(value, messages) if not answer else None
    answer = [{"role": "assistant", "content": value[said]}] if said else answer
    if not messages and not answer and not (_is_batch(value) and value.get("error")):
        return None
    return Request(messages, answer, value, record, index)


def _said(value: Mapping[str, Any], messages: list[Any]) -> str | None:
    """The key of an answer that stands as bare text beside the messages it answers; a text beside an answer is a reference."""
    if not messages or mapping(messages[-1]).get("role") == "assistant":
        return None
    return next((k for k in SAID if isinstance(value.get(k), str) and value[k]), None)


def _response(value: Mapping[str, Any]) -> dict[str, Any]:
    response = value if isinstance(value.get("choices"), list) else mapping(value.get("response"))
    return mapping(response.get("body")) or mapping(response)


def _answer(response: Mapping[str, Any]) -> list[Any]:
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = mapping(first).get("message")
    return [message] if isinstance(message, dict) else []


def conversation_trace(source: Source, conversation: Conversation, format: str = "openai_chat") -> Trace:
    """The trace of a conversation whose requests are in OpenAI's shape."""
    value, record = conversation.value, conversation.record
    said = conversation.calls[-1][1].answer and _said(value, conversation.calls[-1][1].messages)
    left = {*LEFT_OUT, *([said] if said else [])} - (
        {"response"} if said != "response" and isinstance(value.get("response"), str) else set()
    )
    both = {**mapping(value.get("metadata")), **{k: v for k, v in value.items() if k not in left}}
    both = {**{k: v for k, v in mapping(value.get("request")).items() if k == "model"}, **both}
    names = ("trace_id", "run_id", "conversation_id", "session_id", "custom_id", "id", "thread_id")
    own = next((both[k] for k in names if both.get(k) and isinstance(both[k], (str, int))), None)
    t = Trace(format, str(own) if own else f"{source.name}#{conversation.index}")
    steps = add_messages(t, conversation.messages, pointer=f"{record.pointer or ''}/messages")
    if steps:
        steps[0].src_offset, steps[0].src_len = record.offset, record.length
    for at, request in conversation.calls:
        answered = next((s for s in steps if s.src_pointer == f"{record.pointer or ''}/messages/{at}"), None)
        _model_call(t, request, answered.seq if answered is not None and request.answer else None)
    if not t.llm_calls:
        t.offer(_offered(value))
    if any(c.get("cost_usd") is not None for c in t.llm_calls):
        both.pop("cost", None)  # of one call, and counted there
    apply_metadata(t, both)
    first = conversation.calls[0][1].value
    t.started_at = _time(first) or t.started_at
    took = [s.duration_ms for s in steps if s.duration_ms]
    if t.duration_s is None and took:
        t.duration_s = sum(took) / 1000
    if len(conversation.calls) > 1:
        t.ended_at = t.ended_at or _time(value)
    n_more = sum(max(0, len(sequence(_response(r.value).get("choices"))) - 1) for _, r in conversation.calls)
    if n_more:
        t.issue("choices_left_out", "answers after the first of a request", severity="info", n=n_more)
    return t


def _time(value: Mapping[str, Any]) -> Any:
    keys = ("timestamp", "created_at", "start_time", "started_at", "created", "time")
    return timestamp(next((h[k] for h in (value, _response(value)) for k in keys if h.get(k)), None))


def _offered(value: Mapping[str, Any]) -> Any:
    """The definitions of a request's tools."""
    for holder in (value, *(mapping(value.get(k)) for k in HOLDERS)):
        found = holder.get("tools") or holder.get("functions")
        if isinstance(found, list) and found:
            return found
    return None


def _model_call(t: Trace, request: Request, seq: int | None) -> None:
    value, response = request.value, _response(request.value)
    t.offer(_offered(value))
    usage = mapping(response.get("usage")) or mapping(value.get("usage"))
    error = value.get("error") or response.get("error")
    if error and not request.answer:
        _failed(t, error)
    if not usage and not request.answer:
        return
    cost = next((c for c in (value.get("cost"), mapping(response.get("_hidden_params")).get("response_cost"),
                             usage.get("cost")) if isinstance(c, (int, float))), None)  # fmt: skip
    finish = next((c.get("finish_reason") for c in mappings(response.get("choices"))), None)
    started = _time(value)
    latency = next((float(value[k]) * m for k, m in (("latency_sec", 1000.0), ("latency_ms", 1.0)) if
                    isinstance(value.get(k), (int, float))), None)  # fmt: skip
    own = response.get("id")
    name = t.llm(
        own if isinstance(own, str) and not any(c["llm_call_id"] == own for c in t.llm_calls) else None,
        first_seq=seq,
        model=response.get("model") or mapping(value.get("request")).get("model"),
        model_requested=mapping(value.get("request")).get("model"),
        started_at=started,
        input_tokens=usage.get("prompt_tokens", usage.get("input_tokens")),
        output_tokens=usage.get("completion_tokens", usage.get("output_tokens")),
        cache_read_tokens=mapping(usage.get("prompt_tokens_details")).get("cached_tokens"),
        cache_write_tokens=usage.get("cache_creation_input_tokens"),
        reasoning_tokens=mapping(usage.get("completion_tokens_details")).get("reasoning_tokens"),
        cost_usd=cost,
        finish_reason=finish,
        native_finish_reason=finish,
        status="ok",
        extra={"latency_ms": latency} if latency is not None else None,
    )
    if seq is not None:
        t.steps[seq].llm_call_id, t.steps[seq].ts = name, t.steps[seq].ts or started
        t.steps[seq].duration_ms = latency
        for call in t.calls:
            if call.call_seq == seq:
                call.llm_call_id = name
    t.native_end_reason = finish
    t.end_reason = STOPPED.get(str(finish), "unknown")


def _failed(t: Trace, error: Any) -> None:
    held = mapping(error)
    text = held.get("message") or (error if isinstance(error, str) else str(error))
    t.step("system", text, kind="error", origin="harness", is_error=True)
    t.end_reason, t.error_type, t.error_message = (
        "error",
        str(held.get("code") or held.get("type") or "error"),
        str(text)[:2000],
    )


class Chunks:
    """Puts streamed completions together again, by their id; usage comes in a last chunk without choices."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[dict[str, Any], Record]] = {}

    def take(self, chunk: dict[str, Any], record: Record) -> None:
        own = str(chunk.get("id"))
        if own not in self._open:
            empty: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": {}}
            held = {"id": own, "model": chunk.get("model"), "created": chunk.get("created"), "message": empty}
            self._open[own] = (held, record)
        held, _ = self._open[own]
        held["usage"] = chunk.get("usage") or held.get("usage")
        for choice in sequence(chunk.get("choices"))[:1]:
            self._delta(held["message"], mapping(mapping(choice).get("delta")))
            held["finish_reason"] = mapping(choice).get("finish_reason") or held.get("finish_reason")

    def _delta(self, message: dict[str, Any], delta: dict[str, Any]) -> None:
        for key in ("content", "reasoning_content", "reasoning", "refusal"):
            if isinstance(delta.get(key), str):
                message[key] = (message.get(key) or "") + delta[key]
        for part in mappings(delta.get("tool_calls")):
            piece, function = mapping(part), mapping(mapping(part).get("function"))
            at = str(piece.get("index", len(message["tool_calls"])))
            call = message["tool_calls"].setdefault(at, {"id": None, "function": {"name": "", "arguments": ""}})
            call["id"] = call["id"] or piece.get("id")
            call["function"]["name"] += word(function.get("name"))
            call["function"]["arguments"] += word(function.get("arguments"))

    def requests(self) -> Iterator[Request]:
        for held, record in self._open.values():
            message = {**held["message"], "tool_calls": list(held["message"]["tool_calls"].values())}
            choice = {"message": message, "finish_reason": held.get("finish_reason")}
            response = {**{k: held[k] for k in ("id", "model", "created", "usage")}, "choices": [choice]}
            yield Request([], [message], {"id": held["id"], "response": response}, record)
