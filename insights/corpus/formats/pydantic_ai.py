"""Pydantic AI message histories (`all_messages_json`).

    [{"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "Where is W1?", "timestamp": "…"}], "run_id": "r1"},
     {"kind": "response", "parts": [{"part_kind": "tool-call", "tool_name": "f", "args": "{}", "tool_call_id": "c1"}], "usage":
      {"input_tokens": 9, "output_tokens": 2}, "model_name": "m", "timestamp": "…"}]

A file (or line) is one trace; `run_id`s in it are turns of one conversation. Errors: a `retry-prompt` part answers its call with
an error (flag); `outcome: "denied"` or "failed" of a tool return too. Input tokens include cached ones. Outcome: none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import flatten, timestamp
from insights.corpus.parse import mapping, mappings
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace


def _is_message(m: Any) -> bool:
    parts = m.get("parts") if isinstance(m, dict) and m.get("kind") in ("request", "response") else None
    return isinstance(parts, list) and (not parts or (isinstance(parts[0], dict) and "part_kind" in parts[0]))


def _messages(value: Any) -> list[Any] | None:
    found = value.get("messages") if isinstance(value, dict) else value
    return found if isinstance(found, list) and found and _is_message(found[0]) else None


def _detect(head: Head) -> Confidence | None:
    return "certain" if _is_message(head.first) or any(_messages(r) for r in head.records[:2]) else None


@reader("pydantic_ai", title="Pydantic AI messages", rank=30, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    loose: list[Any] = []
    for i, record in enumerate(source.records()):
        messages = _messages(record.value)
        if messages is not None:
            yield _trace(source.label if not i else f"{source.label}#{i}", messages)
        elif _is_message(record.value):
            loose.append(record.value)
        else:
            source.n_bad += 1
            source.issue("not_a_message", f"record {i} is no Pydantic AI message", offset=record.offset)
    if loose:
        yield _trace(source.label, loose)


def _trace(native: str, messages: list[Any]) -> Trace:
    t = Trace("pydantic_ai", native, framework="pydantic-ai")
    for i, m in enumerate(messages):
        if not _is_message(m):
            t.issue("not_a_message", f"/{i} is no Pydantic AI message")
        elif m["kind"] == "request":
            for j, part in enumerate(mappings(m["parts"])):
                _request_part(t, part, f"/{i}/parts/{j}")
        else:
            _response(t, m, f"/{i}")
    first = next((m for m in messages if isinstance(m, dict)), {})
    t.session_id = first.get("conversation_id")
    return t


def _request_part(t: Trace, part: Mapping[str, Any], where: str) -> None:
    kind = part.get("part_kind")
    place: dict[str, Any] = {"ts": timestamp(part.get("timestamp")), "src_pointer": where}
    text, parts, _ = flatten(part.get("content"))
    if kind == "system-prompt":
        t.step("system", text, origin="harness", **place)
    elif kind == "user-prompt":
        t.step("user", text, origin="human", parts=parts, **place)
    elif kind in ("tool-return", "retry-prompt", "builtin-tool-return") and (
        part.get("tool_name") or part.get("tool_call_id")
    ):
        outcome = part.get("outcome")
        denied = outcome == "denied"
        failed = kind == "retry-prompt" or outcome in ("failed", "error")
        shown = text if text is not None else part.get("content")
        t.result(
            shown,
            id=part.get("tool_call_id"),
            name=part.get("tool_name"),
            status="denied" if denied else "error" if failed else "ok",
            error_basis="flag" if failed else None,
            **place,
        )
    elif kind == "retry-prompt":
        t.step("user", text, kind="error", origin="harness", is_error=True, **place)
    else:
        t.step("user", text, origin="harness", parts=parts, extra={"part_kind": kind}, **place)


def _response(t: Trace, m: Mapping[str, Any], where: str) -> None:
    parts = mappings(m["parts"])
    texts = [str(p.get("content")) for p in parts if p.get("part_kind") == "text" and p.get("content")]
    thoughts = [str(p.get("content")) for p in parts if p.get("part_kind") == "thinking" and p.get("content")]
    seq = t.step(
        "assistant",
        "\n".join(texts) or None,
        origin="model",
        reasoning="\n".join(thoughts) or None,
        ts=timestamp(m.get("timestamp")),
        src_pointer=where,
    )
    usage = mapping(m.get("usage"))
    t.steps[seq].llm_call_id = t.llm(
        first_seq=seq,
        model=m.get("model_name"),
        provider=m.get("provider_name"),
        ended_at=t.steps[seq].ts,
        input_tokens=usage.get("input_tokens", usage.get("request_tokens")),
        output_tokens=usage.get("output_tokens", usage.get("response_tokens")),
        cache_read_tokens=usage.get("cache_read_tokens"),
        cache_write_tokens=usage.get("cache_write_tokens"),
        finish_reason=m.get("finish_reason"),
    )
    for p in parts:
        if p.get("part_kind") in ("tool-call", "builtin-tool-call"):
            own = "provider" if str(p["part_kind"]).startswith("builtin") else "assistant"
            t.call(seq, p.get("tool_name"), p.get("args"), id=p.get("tool_call_id"), requestor=own)
        elif p.get("part_kind") == "builtin-tool-return":
            t.result(p.get("content"), id=p.get("tool_call_id"), name=p.get("tool_name"), status="ok")
