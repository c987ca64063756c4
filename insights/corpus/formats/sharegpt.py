"""ShareGPT conversations and their relatives (training data and chat collections).

    [{"id": "x_0", "conversations": [{"from": "human", "value": "Where is W1?"}, {"from": "function_call", "value":
      "{\\"name\\": \\"f\\", \\"arguments\\": {}}"}, {"from": "observation", "value": "shipped"}, {"from": "gpt", "value": "Shipped."}],
      "system": "…", "tools": "[…]"}]
    {"conversation_id": "c1", "model": "m", "conversation": [{"role": "user", "content": "hi"}], "language": "English"}

Speakers: human/user, gpt/assistant/model, system, function_call/tool_call, observation/tool. Hermes tags inside a value
(`<think>`, `<tool_call>`, `<tool_response>`) become reasoning, calls and results; the text keeps what stands outside of them.
No times, no usage; errors are text only. Outcome: explicit keys of the record only. Dropped: `tools` (definitions).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import orjson

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import add_messages, apply_metadata
from insights.corpus.parse import mapping
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace

SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "system": "system",
    "function_call": "call",
    "tool_call": "call",
    "observation": "tool",
    "tool": "tool",
    "function-response": "tool",
    "function_response": "tool",
}
LISTS = ("conversations", "conversation", "items")
THINK = re.compile(r"<think>(.*?)</think>\s*", re.S)
CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>\s*", re.S)
RESPONSE = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>", re.S)
MAX_LITERAL = 100_000  # unit: characters; longer single-quoted JSON is left as text


def _turns(value: Any) -> list[Any] | None:
    for key in LISTS:
        turns = mapping(value).get(key)
        if not isinstance(turns, list) or not turns:
            continue
        first = turns[0]
        if isinstance(first, dict) and ({"from", "value"} <= first.keys() or {"from", "text"} <= first.keys()):
            return turns
        if isinstance(first, dict) and {"role", "content"} <= first.keys():
            return turns
    return None


def _detect(head: Head) -> Confidence | None:
    turns = _turns(head.first)
    if turns is None:
        return None
    return "certain" if "from" in turns[0] else "likely"


@reader("sharegpt", title="ShareGPT conversations", rank=50, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    for i, record in enumerate(source.records()):
        turns = _turns(record.value)
        if turns is None:
            source.n_bad += 1
            source.issue("not_a_conversation", f"record {i} holds no turns", offset=record.offset)
            continue
        yield from source.attempt(record, _trace, source, record, turns, i)


def _trace(source: Source, record: Record, turns: list[Any], index: int) -> Trace:
    value = record.value
    own = next((value[k] for k in ("id", "conversation_id", "conversation_hash") if value.get(k)), None)
    t = Trace("sharegpt", f"{source.label}/{own}" if own else f"{source.label}#{index}")
    if isinstance(value.get("system"), str) and value["system"]:
        t.step("system", value["system"], origin="harness")
    for i, turn in enumerate(turns):
        where = f"{record.pointer or ''}/conversations/{i}"
        if not isinstance(turn, dict):
            t.issue("not_a_turn", f"{where} is {type(turn).__name__}")
        elif "from" in turn:
            _turn(t, turn, where)
        else:
            add_messages(t, [turn])
            t.steps[-1].src_pointer = where
    for s in t.steps[:1]:
        s.src_offset, s.src_len = record.offset, record.length
    apply_metadata(t, {k: v for k, v in value.items() if k not in (*LISTS, "system", "tools", "id")})
    return t


def _turn(t: Trace, turn: dict[str, Any], where: str) -> None:
    text = turn.get("value", turn.get("text"))
    text = text if isinstance(text, str) else "" if text is None else str(text)
    role = SPEAKERS.get(str(turn["from"]).lower())
    if role is None:
        t.issue("unknown_speaker", f"{where} is from {turn['from']!r}", severity="info")
    if role == "tool" or RESPONSE.search(text):
        for answer in RESPONSE.findall(text) or [text]:
            t.result(answer, src_pointer=where)
        return
    thoughts, calls = THINK.findall(text), CALL.findall(text)
    shown = CALL.sub("", THINK.sub("", text)).strip() if thoughts or calls else text
    speaker = "assistant" if role == "call" else role or "user"
    seq = t.step(
        speaker,
        None if role == "call" else shown,
        origin={"assistant": "model", "user": "human"}.get(speaker, "harness"),
        reasoning="\n".join(x.strip() for x in thoughts) or None,
        src_pointer=where,
    )
    for written in [text] if role == "call" else calls:
        _call(t, seq, written)


def _call(t: Trace, seq: int, written: str) -> None:
    value = _read(written)
    for call in value if isinstance(value, list) else [value]:
        if isinstance(call, dict):
            t.call(seq, call.get("name"), call.get("arguments", call.get("parameters")))
        else:
            t.call(seq, None, written, args_error="the call is no JSON object")


def _read(written: str) -> Any:
    """JSON, or the Python literal that careless exports write instead; None where it is neither."""
    try:
        return orjson.loads(written)
    except orjson.JSONDecodeError:
        pass
    try:
        return ast.literal_eval(written) if len(written) <= MAX_LITERAL else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
