"""What detectors read and what they write: one event of a run, one signal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from primitives.secrets import mask

KINDS = (
    "system",  # instructions: system or developer message
    "user",  # a message of the person or the simulated user
    "assistant",  # a message of the agent; its calls follow as events of their own, with the same seq
    "call",  # the agent calls a tool
    "result",  # what that call returned; carries the call's name, arguments and key
    "user_call",  # the (simulated) user calls a tool of its own
    "user_result",
    "note",  # harness text between turns: state, log, hand-off, reminder
    "interrupt",
    "compaction",
    "reset",  # the context was cleared on purpose: a new conversation in the same trace
    "end",
)
DETAIL_CHARS = 300


@dataclass(slots=True)
class Event:
    """One thing that happened. `status` of a result: ok | error | denied | cancelled | unknown.

    `args_hash` is equal for equal arguments within one process. `end_reason` and `success` are set on "end" only,
    `success` None where the corpus holds no verdict.
    """

    seq: int
    kind: str
    role: str | None = None
    origin: str | None = None
    agent: str | None = None
    text: str | None = None
    name: str | None = None
    args_text: str | None = None
    args_hash: int = 0
    status: str | None = None
    key: str | None = None
    truncated: bool = False
    end_reason: str | None = None
    success: bool | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """A detector fired at step `seq` on a pattern that began at `start_seq` and held `n` repetitions or items."""

    seq: int
    start_seq: int
    detector: str
    severity: str
    n: int
    detail: str


_MESSAGE_KINDS = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_NOT_THE_USER = ("harness", "copied", "tool")


def events_of(trace: Any) -> Iterator[Event]:
    """The events of a trace in order, an "end" last.

    `trace` has `steps` and `calls` (objects with the columns of those tables), `end_reason` and `success`. Steps off
    the path (`on_path` false) and calls without a place are left out.
    """
    calls: dict[int, list[Any]] = {}
    answers: dict[int, Any] = {}
    for call in trace.calls:
        if call.call_seq is not None:
            calls.setdefault(call.call_seq, []).append(call)
        if call.result_seq is not None:
            answers[call.result_seq] = call
    seq, segment, cleared = 0, 0, False
    for step in trace.steps:
        if step.on_path is False:
            continue
        seq = step.seq
        if step.segment != segment:
            if cleared and step.segment is not None:
                yield Event(seq, "reset")
            segment = step.segment
        cleared = step.kind != "compaction"
        call = answers.get(seq)
        if call is not None:
            yield result_event(seq, call, step.text, step.agent)
        else:
            yield step_event(step)
        for made in calls.get(seq, ()):
            yield call_event(seq, made, step.agent)
            if made.result_seq is None and made.result_text is not None:
                yield result_event(seq, made, made.result_text, step.agent)
    yield Event(seq, "end", end_reason=trace.end_reason, success=trace.success)


def step_event(step: Any) -> Event:
    """The event of a step that answers no call."""
    kind = step.kind
    if kind == "message":
        kind = _MESSAGE_KINDS.get(step.role, "note")
        if kind == "user" and step.origin in _NOT_THE_USER:
            kind = "note"
    elif kind not in ("interrupt", "compaction"):
        kind = "note"
    return Event(step.seq, kind, step.role, step.origin, step.agent, step.text)


def call_event(seq: int, call: Any, agent: str | None) -> Event:
    return Event(
        seq,
        "user_call" if call.requestor == "user" else "call",
        "assistant",
        call.requestor,
        agent,
        call.args_error,
        call.name,
        call.args_text,
        _hash(call.args, call.args_text),
        call.status,
        call.tool_call_key,
    )


def result_event(seq: int, call: Any, text: str | None, agent: str | None) -> Event:
    return Event(
        seq,
        "user_result" if call.requestor == "user" else "result",
        "tool",
        "tool",
        agent,
        text,
        call.name,
        call.args_text,
        _hash(call.args, call.args_text),
        call.status,
        call.tool_call_key,
        bool(call.result_truncated),
    )


def _hash(args: Any, text: str | None) -> int:
    """Equal for equal arguments, whatever their order and spacing."""
    if not isinstance(args, dict | list):
        return hash(text if args is None else args)
    try:
        return hash(orjson.dumps(args, option=orjson.OPT_SORT_KEYS))
    except (TypeError, orjson.JSONEncodeError):  # numbers beyond 64 bits, keys that are no text
        return hash(text)


def masked(detail: str) -> str:
    """At most DETAIL_CHARS of a text, secrets masked (see `primitives.secrets`)."""
    return mask(detail[: 4 * DETAIL_CHARS])[0][:DETAIL_CHARS]


def line(text: str | None, chars: int = 120) -> str:
    """The beginning of a text as one line."""
    head = " ".join(mask((text or "")[: 4 * chars])[0].split())  # before the cut, which may part a secret from its name
    return head if len(head) <= chars else head[: chars - 1] + "…"
