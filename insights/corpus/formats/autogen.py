"""AutoGen 0.4 and later (AgentChat): the messages of a team or agent run.

    {"messages": [{"source": "shop", "type": "ToolCallRequestEvent", "content": [{"id": "c1", "name": "f", "arguments": "{}"}],
     "models_usage": {"prompt_tokens": 9, "completion_tokens": 2}, "created_at": "2026-03-01T10:00:01Z"}, {"source": "shop", "type":
     "ToolCallExecutionEvent", "content": [{"call_id": "c1", "content": "…", "is_error": true}]}], "stop_reason": "…"}

Errors: `is_error` of a result. A source named `user` (or whose name says so) is a person. A ToolCallSummaryMessage repeats the
results for the model and is kept as a log step. Outcome: none; `stop_reason` is how the run ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import flatten, timestamp
from insights.corpus.parse import mappings
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

PEOPLE = ("user", "user_proxy", "human")
KINDS = ("Message", "Event")


def _is_message(m: Any) -> bool:
    return (
        isinstance(m, dict)
        and {"source", "type", "content"} <= m.keys()
        and isinstance(m["type"], str)
        and m["type"].endswith(KINDS)
        and ("models_usage" in m or "created_at" in m)
    )


def _messages(value: Any) -> list[Any] | None:
    found = value.get("messages") if isinstance(value, dict) else value
    return found if isinstance(found, list) and found and _is_message(found[0]) else None


def _detect(head: Head) -> Confidence | None:
    if any(_messages(r) is not None for r in head.records[:3]) or _is_message(head.first):
        return "certain"
    return None


@reader("autogen", title="AutoGen AgentChat messages", rank=30, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    loose: list[Any] = []
    for i, record in enumerate(source.records()):
        messages = _messages(record.value)
        if messages is not None:
            stop = record.value.get("stop_reason") if isinstance(record.value, dict) else None
            yield _trace(source.label if not i else f"{source.label}#{i}", messages, stop)
        elif isinstance(record.value, dict) and "type" in record.value:
            loose.append(record.value)
        else:
            source.n_bad += 1
            source.issue("not_a_message", f"record {i} is no AutoGen message", offset=record.offset)
    if loose:
        yield _trace(source.label, loose, None)


def _trace(native: str, messages: list[Any], stop: Any) -> Trace:
    t = Trace("autogen", native, framework="autogen")
    for i, m in enumerate(messages):
        if isinstance(m, Mapping):
            _message(t, m, f"/messages/{i}")
        else:
            t.issue("not_a_message", f"/messages/{i} is {type(m).__name__}")
    if stop:
        t.native_end_reason = str(stop)
        lowered = str(stop).lower()
        t.end_reason = "limit_steps" if "maximum" in lowered else "limit_time" if "timeout" in lowered else "completed"
        t.end_reason = "user_abort" if "cancel" in lowered or "external termination" in lowered else t.end_reason
    return t


def _message(t: Trace, m: Mapping[str, Any], where: str) -> None:
    kind, source = str(m.get("type")), str(m.get("source"))
    place: dict[str, Any] = {"ts": timestamp(m.get("created_at")), "native_id": m.get("id"), "src_pointer": where}
    content = m.get("content")
    if kind == "ToolCallExecutionEvent" and isinstance(content, list):
        for r in mappings(content):
            failed = r.get("is_error")
            t.result(
                r.get("content"),
                id=r.get("call_id"),
                name=r.get("name"),
                status=None if failed is None else "error" if failed else "ok",
                error_basis="flag" if failed else None,
                **place,
            )
        return
    human = source.lower() in PEOPLE
    calls = content if kind == "ToolCallRequestEvent" and isinstance(content, list) else []
    text, parts, _ = (None, None, False) if calls else flatten(content)
    seq = t.step(
        "user" if human else "assistant",
        None if kind == "ThoughtEvent" else text,
        kind="log" if kind == "ToolCallSummaryMessage" else "handoff" if kind == "HandoffMessage" else "message",
        agent=None if human else source,
        origin="human" if human else "model",
        reasoning=text if kind == "ThoughtEvent" else None,
        parts=parts,
        extra={"type": kind},
        **place,
    )
    for call in mappings(calls):
        t.call(seq, call.get("name"), call.get("arguments"), id=call.get("id"))
    usage = m.get("models_usage")
    if isinstance(usage, Mapping):
        t.steps[seq].llm_call_id = t.llm(
            first_seq=seq,
            agent=source,
            input_tokens=usage.get("prompt_tokens"),
            output_tokens=usage.get("completion_tokens"),
        )
