"""LlamaIndex chat stores and message lists.

    {"store": {"user1": [{"role": "user", "blocks": [{"block_type": "text", "text": "Where is W1?"}], "additional_kwargs": {}},
     {"role": "assistant", "blocks": [{"block_type": "tool_call", "tool_call_id": "c1", "tool_name": "f", "tool_kwargs": {}}]},
     {"role": "tool", "blocks": […], "additional_kwargs": {"tool_call_id": "c1"}}]}, "class_name": "SimpleChatStore"}

Each key of a store is a trace (a conversation). A call may stand both in the blocks and in `additional_kwargs.tool_calls`: it is
counted once. Errors: text only, no usage, no times. Outcome: none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.parse import mapping, mappings
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name


def _is_message(m: Any) -> bool:
    return isinstance(m, dict) and "role" in m and isinstance(m.get("blocks"), list)


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if isinstance(first.get("store"), dict) and (
        first.get("class_name") == "SimpleChatStore" or _any_message(first["store"])
    ):
        return "certain"
    return "likely" if _is_message(first) else None


def _any_message(store: Mapping[str, Any]) -> bool:
    return any(isinstance(v, list) and v and _is_message(v[0]) for v in store.values())


@reader("llamaindex", title="LlamaIndex chat stores", rank=30, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    loose: list[Any] = []
    for i, record in enumerate(source.records()):
        value = record.value
        if isinstance(value, dict) and isinstance(value.get("store"), dict):
            for key, messages in value["store"].items():
                t = Trace("llamaindex", f"{source.label}/{key}", framework="llamaindex", session_id=str(key))
                _add(t, messages if isinstance(messages, list) else [messages], f"/store/{key}")
                yield t
        elif _is_message(value):
            loose.append(value)
        else:
            source.n_bad += 1
            source.issue("not_a_message", f"record {i} is no LlamaIndex message", offset=record.offset)
    if loose:
        t = Trace("llamaindex", source.label, framework="llamaindex")
        _add(t, loose, "")
        yield t


def _add(t: Trace, messages: list[Any], pointer: str) -> None:
    for i, m in enumerate(messages):
        if not isinstance(m, Mapping):
            t.issue("not_a_message", f"{pointer}/{i} is {type(m).__name__}")
            continue
        _message(t, m, f"{pointer}/{i}")


def _message(t: Trace, m: Mapping[str, Any], where: str) -> None:
    blocks = mappings(m.get("blocks"))
    extra = mapping(m.get("additional_kwargs"))
    text = "\n".join(str(b["text"]) for b in blocks if b.get("block_type") == "text" and b.get("text")) or m.get(
        "content"
    )
    role = str(m.get("role") or "user")
    role = "assistant" if role in ("model", "chatbot") else role
    if role in ("tool", "function"):
        t.result(text, id=extra.get("tool_call_id"), name=extra.get("name"), src_pointer=where)
        return
    thoughts = [str(b.get("content") or "") for b in blocks if b.get("block_type") == "thinking"]
    rest = [b for b in blocks if b.get("block_type") not in ("text", "thinking", "tool_call")]
    seq = t.step(
        role,
        text,
        origin={"assistant": "model", "user": "human"}.get(role, "harness"),
        reasoning="\n".join(thoughts) or None,
        parts=rest or None,
        src_pointer=where,
    )
    for b in blocks:
        if b.get("block_type") == "tool_call":
            t.call(seq, b.get("tool_name"), b.get("tool_kwargs"), id=b.get("tool_call_id"))
    seen = {c.native_id for c in t.calls if c.call_seq == seq}
    for call in mappings(extra.get("tool_calls")):
        function = mapping(call.get("function")) if isinstance(call, Mapping) else {}
        if function and as_name(call.get("id")) not in seen:
            t.call(seq, function.get("name"), function.get("arguments"), id=call.get("id"))
