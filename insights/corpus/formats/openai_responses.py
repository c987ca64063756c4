"""OpenAI Responses: stored response objects, lists of items, request logs, Batch output and event streams.

    {"id": "resp_2", "object": "response", "previous_response_id": "resp_1", "model": "gpt-…", "status": "completed",
     "output": [{"type": "function_call", "call_id": "call_1", "name": "get_order", "arguments": "{\\"id\\": 7}"}],
     "usage": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 25}, "output_tokens": 40}}

- Responses that name a `previous_response_id` of the same file, and logs that repeat their input, become one conversation;
  each response is one row of `llm_calls`.
- `call_id` pairs calls and outputs; `id` is the item's own. `encrypted_content` without text is hidden reasoning.
- `status` incomplete or failed, with `incomplete_details.reason` and `error`, gives the end reason.
Tool definitions are kept once, as a blob. Dropped: deltas of a stream whose completed response is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import apply_metadata, timestamp
from insights.corpus.formats.request_log import Conversation, Request, log_of, shares
from insights.corpus.formats.response_items import CALLS, HOSTED, OUTPUTS, Items
from insights.corpus.parse import mapping, number, word
from insights.corpus.sniff import Head
from insights.corpus.source import STREAM_ABOVE, Record, Source
from insights.corpus.trace import Trace

ITEMS = CALLS | OUTPUTS | HOSTED.keys() | {"reasoning", "message"}
SPECIFIC = ITEMS - {"message", "tool_call", "tool_result", "function_result"}
ENDED = {"completed": "completed", "failed": "error", "cancelled": "user_abort", "incomplete": "limit_tokens"}
LEFT_OUT = ("output", "input", "tools", "usage", "request", "response", "metadata", "instructions", "text", "reasoning")


def _is_item(value: Any) -> bool:
    if not isinstance(value, dict) or word(value.get("type")) not in ITEMS or "payload" in value:
        return False
    if value["type"] == "message":
        content = value.get("content")
        kinds = {p.get("type") for p in content if isinstance(p, dict)} if isinstance(content, list) else set()
        return bool(kinds & {"input_text", "output_text", "refusal", "input_image"})
    if value["type"] == "reasoning":
        return isinstance(value.get("summary"), list)
    return value["type"] in SPECIFIC and ("call_id" in value or "id" in value)


def _response_of(value: dict[str, Any]) -> dict[str, Any]:
    for held in (value, mapping(value.get("response")), mapping(mapping(value.get("response")).get("body"))):
        if held.get("object") == "response" or (isinstance(held.get("output"), list) and "status" in held):
            return held
    return {}


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if str(first.get("type", "")).startswith("response.") or head.text.lstrip().startswith("event: response."):
        return "certain"
    if _response_of(first).get("object") == "response":
        return "certain"
    lists = [first.get("input"), mapping(first.get("request")).get("input"), mapping(first.get("body")).get("input")]
    lists += [head.records, *[r for r in head.records[:2] if isinstance(r, list)]]
    for items in lists:
        if isinstance(items, list) and any(_is_item(i) for i in items):
            return "likely"
    return None


def _shares(source: Source) -> dict[str, Any]:
    """A file with one response goes on where another names it, or repeats its input."""
    if source.head.is_jsonl or source.head.size > STREAM_ABOVE or not isinstance(source.head.doc, dict):
        return {}
    value = source.document()
    response = _response_of(value)
    ids = (
        response.get("id"),
        response.get("previous_response_id"),
        mapping(value.get("request")).get("previous_response_id"),
    )
    keys = [*(f"response:{id}" for id in ids if id), *shares(source, _request(value, Record(value), 0, {}))]
    return dict.fromkeys(keys, number(response.get("created_at")) or 0) if response else {}


@reader("openai_responses", title="OpenAI Responses", rank=60, detect=_detect, shares=_shares)
def read(source: Source) -> Iterator[Trace]:
    log, stream, known = log_of(source), Stream(), dict[str, list[Any]]()
    loose: list[Any] = []
    for index, record in enumerate(source.joined(_records)):
        value = record.value
        items = value if isinstance(value, list) else [value]
        if stream.take(value):
            value = stream.done
            if value is None:
                continue
        elif all(_is_item(i) or (isinstance(i, dict) and "role" in i) for i in items):
            if value is items:
                log.add(Request(items, [], {}, record, index))
            else:
                loose += items
            continue
        if not isinstance(value, dict) or not (_response_of(value) or "input" in value or "request" in value):
            source.n_bad += 1
            source.issue("not_a_response", f"a record is no response: {str(value)[:80]!r}", offset=record.offset)
            continue
        for conversation in log.add(_request(value, record, index, known)):
            yield _trace(source, conversation)
    if stream.open:
        source.truncated = True
        source.issue("stream_cut_off", "the event stream ends before response.completed")
        log.add(_request(stream.so_far(), Record(None), 0, known))
    if loose:
        log.add(Request(loose, [], {}, Record(None)))
    if log.n_folded:
        source.issue("history_folded", "lines that continue an earlier conversation", severity="info", n=log.n_folded)
    for conversation in log.rest():
        yield _trace(source, conversation)


def _records(source: Source) -> Iterator[Record]:
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


def _request(value: dict[str, Any], record: Record, index: int, known: dict[str, list[Any]]) -> Request:
    response = _response_of(value)
    request = next((value[k] for k in ("request", "body", "params") if isinstance(value.get(k), dict)), value)
    given = request.get("input", response.get("input"))
    items = given if isinstance(given, list) else [{"role": "user", "content": given}] if isinstance(given, str) else []
    before = known.get(str(response.get("previous_response_id") or request.get("previous_response_id")))
    lead = request.get("instructions") or response.get("instructions")
    if before is not None:
        items = [*before, *items]
    elif isinstance(lead, str) and lead:
        items = [{"role": "system", "content": lead}, *items]
    output = response.get("output")
    answer = output if isinstance(output, list) else []
    if isinstance(response.get("id"), str):
        known[response["id"]] = [*items, *answer]
    return Request(items, answer, value, record, index)


def _trace(source: Source, conversation: Conversation) -> Trace:
    last = conversation.value
    response = _response_of(last)
    both = {**mapping(last.get("metadata")), **mapping(response.get("metadata"))}
    both |= {k: v for k, v in last.items() if k not in LEFT_OUT and isinstance(v, (str, int, float, bool))}
    named = mapping(response.get("conversation")).get("id")
    first = _response_of(conversation.calls[0][1].value).get("id")
    own = both.get("trace_id") or named or both.get("custom_id") or first
    t = Trace("openai_responses", str(own) if own else f"{source.name}#{conversation.index}", provider="openai")
    items, record = Items(t), conversation.record
    calls = dict(conversation.calls)
    ends: dict[int, tuple[Request, int]] = {}
    for i, value in enumerate(conversation.messages):
        _end(t, items, ends.pop(i, None))
        if i in calls:
            items.close()
            ends[i + len(calls[i].answer)] = (calls[i], len(t.steps))
        items.here = {"src_pointer": f"{record.pointer or ''}/{i}"}
        if isinstance(value, dict) and not items.item(value):
            t.step("system", orjson.dumps(value, default=str).decode(), kind="log", origin="unknown", **items.here)
    items.close()
    for left in [
        *ends.values(),
        *([(calls[len(conversation.messages)], len(t.steps))] if len(conversation.messages) in calls else []),
    ]:
        _end(t, items, left)
    if t.steps:
        t.steps[0].src_offset, t.steps[0].src_len = record.offset, record.length
    apply_metadata(t, both)
    t.started_at = timestamp(_response_of(conversation.calls[0][1].value).get("created_at")) or t.started_at
    t.ended_at = timestamp(response.get("completed_at")) or t.ended_at
    return t


def _end(t: Trace, items: Items, call: tuple[Request, int] | None) -> None:
    """Close a model call: its row, and its id on the steps it made."""
    if call is None:
        return
    items.close()
    request, start = call
    response = _response_of(request.value)
    if not response:
        return
    usage, error = mapping(response.get("usage")), mapping(response.get("error"))
    status = str(response.get("status"))
    own = response.get("id")
    t.offer(response.get("tools") or mapping(request.value.get("request")).get("tools") or None)
    name = t.llm(
        own if isinstance(own, str) and not any(c["llm_call_id"] == own for c in t.llm_calls) else None,
        first_seq=start if start < len(t.steps) else None,
        model=response.get("model"),
        provider="openai",
        started_at=timestamp(response.get("created_at")),
        ended_at=timestamp(response.get("completed_at")),
        input_tokens=usage.get("input_tokens"),
        cache_read_tokens=mapping(usage.get("input_tokens_details")).get("cached_tokens"),
        output_tokens=usage.get("output_tokens"),
        reasoning_tokens=mapping(usage.get("output_tokens_details")).get("reasoning_tokens"),
        finish_reason=status,
        native_finish_reason=status,
        status="error" if status == "failed" else "ok",
        error_type=error.get("code"),
        error_message=error.get("message"),
    )
    for step in t.steps[start:]:
        step.llm_call_id = name
        step.ts = step.ts or timestamp(response.get("completed_at") or response.get("created_at"))
    for made in t.calls:
        if made.call_seq is not None and made.call_seq >= start:
            made.llm_call_id = name
    why = mapping(response.get("incomplete_details")).get("reason")
    t.native_end_reason = why or status
    t.end_reason = "refused" if why == "content_filter" else ENDED.get(status, "unknown")
    if error:
        t.error_type, t.error_message = error.get("code"), error.get("message")


class Stream:
    """Streamed events of responses; `done` is the response that the last event completed."""

    def __init__(self) -> None:
        self.open: dict[str, Any] = {}
        self.done: dict[str, Any] | None = None
        self._items: dict[int, dict[str, Any]] = {}

    def take(self, event: Any) -> bool:
        """Whether the value was a stream event."""
        kind = event.get("type") if isinstance(event, dict) else None
        self.done = None
        if not isinstance(kind, str) or not kind.startswith("response."):
            return False
        response = mapping(event.get("response"))
        if kind in ("response.completed", "response.failed", "response.incomplete"):
            self.done, self.open, self._items = response, {}, {}
        elif response:
            self.open = response
        elif isinstance(event.get("item"), dict):
            self._items[event.get("output_index") or 0] = event["item"]
        elif kind in ("response.output_text.delta", "response.function_call_arguments.delta"):
            self._delta(event, kind)
        return True

    def _delta(self, event: dict[str, Any], kind: str) -> None:
        item = self._items.setdefault(event.get("output_index") or 0, {"type": "message", "role": "assistant"})
        key = "arguments" if "arguments" in kind else "_text"
        item[key] = str(item.get(key) or "") + str(event.get("delta") or "")

    def so_far(self) -> dict[str, Any]:
        """The response as far as its events told it."""
        output = [dict(item) for _, item in sorted(self._items.items())]
        for item in output:
            text = item.pop("_text", None)
            if text and not item.get("content"):
                item["content"] = [{"type": "output_text", "text": text}]
        return {**self.open, "object": "response", "output": output}
