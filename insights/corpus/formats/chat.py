"""Messages as OpenAI's chat API writes them, and the metadata around them: what many formats share.

`add_messages` turns a list of messages into steps and calls; `apply_metadata` places well-known keys of a record into
columns of the trace; `flatten` and `timestamp` read content and times in every shape met so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from insights.corpus.parse import number, sequence, word
from insights.corpus.trace import Step, Trace, as_text

ARGUMENTS = ("arguments", "args", "input", "parameters")
ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
ALIASES = {
    "human": "user",
    "customer": "user",
    "ai": "assistant",
    "bot": "assistant",
    "agent": "assistant",
    "model": "assistant",
}
ERRORS = {"error", "exception"}
OUTCOMES = (
    "outcome",
    "verdict",
    "evaluation",
    "eval",
    "grading",
    "grade",
    "result",
    "scores",
)  # objects or words of a verdict
PASSED = {"success", "successful", "succeeded", "pass", "passed", "resolved", "solved", "correct"}
NOT_PASSED = {"failure", "fail", "failed", "unresolved", "unsolved", "incorrect", "unsuccessful"}
VERDICTS = ("success", "passed", "resolved", "is_correct", "correct", "task_success")
SCORES = ("reward", "score")


def is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("role"), str)
        and value["role"] in ROLES
        and bool({"content", "tool_calls", "function_call"} & value.keys())
    )


def add_messages(t: Trace, messages: list[Any], *, pointer: str = "") -> list[Step]:
    """Append chat messages to a trace; returns the steps added, in order."""
    start = len(t.steps)
    for i, m in enumerate(messages):
        where = f"{pointer}/{i}"
        if not isinstance(m, dict):
            t.step("user" if i == 0 else None, m, kind="log", src_pointer=where)
            t.issue("not_a_message", f"{where} is {type(m).__name__}")
            continue
        _add_message(t, m, where)
    return t.steps[start:]


def _add_message(t: Trace, m: Mapping[str, Any], where: str) -> None:
    said = word(m.get("role")).lower()
    role = said if said in ROLES else ALIASES.get(said, m.get("role"))
    text, parts, is_error = flatten(m.get("content"))
    stamp = timestamp(m.get("timestamp") or m.get("created_at") or m.get("ts"))
    if role in ("tool", "function"):
        flag = m.get("error", m.get("is_error"))
        failed = is_error or bool(flag)
        t.result(
            text if text or not isinstance(flag, str) else flag,
            id=m.get("tool_call_id", m.get("toolCallId")),
            name=m.get("name", m.get("toolName")),
            status="error" if failed else "ok" if flag is False else None,
            error_basis="flag" if failed else None,
            ts=stamp,
            parts=parts,
            src_pointer=where,
        )
        return
    if said in ERRORS:
        t.step(
            "environment", text, kind="error", origin="harness", is_error=True, ts=stamp, parts=parts, src_pointer=where
        )
        return
    seq = t.step(
        role,
        text if text is not None else m.get("refusal"),
        ts=stamp,
        reasoning=m.get("reasoning_content") or (m.get("reasoning") if isinstance(m.get("reasoning"), str) else None),
        agent=m.get("name") if role == "assistant" else None,
        origin="model"
        if role == "assistant"
        else "harness"
        if role in ("system", "developer")
        else "human"
        if role == "user"
        else None,
        parts=parts,
        src_pointer=where,
    )
    for call in sequence(m.get("tool_calls", m.get("toolCalls"))):
        if isinstance(call, dict):
            _add_call(t, seq, call, where, stamp)
        else:
            t.issue("bad_tool_call", f"{where}: a tool call is {type(call).__name__}", seq=seq)
    legacy = m.get("function_call")
    if isinstance(legacy, dict):
        t.call(seq, legacy.get("name"), legacy.get("arguments"))


def _add_call(t: Trace, seq: int, call: Mapping[str, Any], where: str, stamp: datetime | None) -> None:
    """A call, with its result where home-made logs tell that within it."""
    function = call.get("function") or call.get("custom") or call
    if not isinstance(function, dict):
        function = {**call, "name": function}
    args = next((function[k] for k in ARGUMENTS if function.get(k) is not None), None)
    name, id = function.get("name", function.get("tool")), call.get("id", call.get("toolCallId"))
    t.call(seq, name, args, id=id, requestor=call.get("requestor") or "assistant")
    told = next((call[k] for k in ("result", "output", "response") if call.get(k) is not None), None)
    error = call.get("error")
    if told is None and not error:
        return
    text, parts, _ = flatten(told if isinstance(told, (str, list)) else as_text(told))
    failed = bool(error) or call.get("is_error") is True
    t.result(text if text else as_text(error) if isinstance(error, str) else text, id=id, name=name, ts=stamp, parts=parts,
             status="error" if failed else None, error_basis="flag" if failed else None, src_pointer=where)  # fmt: skip


def flatten(content: Any) -> tuple[str | None, Any, bool]:
    """(text, parts that are not text, whether a part says it is an error) of a message's content."""
    if content is None or isinstance(content, str):
        return content, None, False
    if isinstance(content, list):
        texts = [
            p if isinstance(p, str) else p["text"]
            for p in content
            if isinstance(p, str) or (isinstance(p, dict) and isinstance(p.get("text"), str))
        ]
        rest = [
            p
            for p in content
            if not isinstance(p, str) and not (isinstance(p, dict) and isinstance(p.get("text"), str))
        ]
        return (
            "\n".join(texts) if texts else None,
            rest or None,
            any(isinstance(p, dict) and p.get("is_error") for p in content),
        )
    if isinstance(content, dict) and isinstance(content.get("text"), str):
        return content["text"], None, False
    return None, [content], False


LATEST = 1e20  # unit: nanoseconds since 1970; no time is later


def timestamp(value: Any) -> datetime | None:
    """A time in UTC from ISO text or seconds, milliseconds, microseconds or nanoseconds since 1970; None where it is none."""
    if isinstance(value, str) and value:
        try:
            stamp = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return timestamp(float(value)) if value.replace(".", "", 1).isdigit() else _written_out(value)
        try:
            return stamp.astimezone(UTC) if stamp.tzinfo else stamp.replace(tzinfo=UTC)
        except OverflowError:  # an hour before the year 1 or after the year 9999
            return stamp.replace(tzinfo=UTC)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < LATEST:
        seconds = float(value)
        while seconds > 1e11:
            seconds /= 1000
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, ValueError, OSError):
            return None
    return None


def _written_out(text: str) -> datetime | None:
    """A time as `2025/06/15 13:06:40`, `2025-06-15 13:06:40 UTC` or in the words of mails and HTTP."""
    bare = text.strip().removesuffix(" UTC").removesuffix(" GMT")
    if bare[:4].isdigit() and bare[4:5] in ("/", "."):
        bare = bare[:10].replace(bare[4], "-") + bare[10:]
    try:
        stamp = datetime.fromisoformat(bare) if bare[:4].isdigit() else parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return stamp.astimezone(UTC) if stamp.tzinfo else stamp.replace(tzinfo=UTC)


def _verdict(t: Trace, rest: dict[str, Any]) -> None:
    """The verdict and the score that stand in an object or a word of their own: `outcome`, `evaluation` …"""
    for key in OUTCOMES:
        held = rest.get(key)
        told = held.lower() in PASSED if isinstance(held, str) and held.lower() in PASSED | NOT_PASSED else None
        if isinstance(held, dict):
            told = next((held[k] for k in VERDICTS if isinstance(held.get(k), bool)), None)
            score = next((held[k] for k in SCORES if number(held.get(k)) is not None), None)
            if t.score is None and score is not None:
                t.score, t.score_name = float(score), key
        if t.success is None and told is not None and (isinstance(held, dict) or key in OUTCOMES[:2]):
            t.success, t.score_name = told, t.score_name or key


def apply_metadata(t: Trace, both: Mapping[str, Any]) -> None:
    """Place well-known keys of a record's metadata into columns; keep the rest as metadata."""
    rest = dict(both)
    for key in VERDICTS:
        if isinstance(rest.get(key), (bool, int)) and rest[key] in (0, 1) and t.success is None:
            t.success = bool(rest.pop(key))
            t.score_name = key
    for key in SCORES:
        if t.score is None and isinstance(rest.get(key), (int, float)) and not isinstance(rest.get(key), bool):
            t.score, t.score_name = float(rest.pop(key)), key
            if t.success is None and key == "reward" and t.score in (0.0, 1.0):
                t.success = t.score == 1.0
    _verdict(t, rest)
    for column, keys in {
        "task_id": ("task_id", "task", "problem_id", "instance_id", "question_id"),
        "model": ("model", "model_name"),
        "agent": ("agent", "agent_name"),
        "agent_version": ("agent_version", "version", "release"),
        "session_id": ("session_id", "thread_id", "conversation_id"),
        "dataset": ("dataset", "benchmark", "suite"),
        "split": ("split",),
        "end_reason": ("end_reason",),
        "native_end_reason": ("termination_reason", "stop_reason", "finish_reason", "exit_status"),
    }.items():
        for key in keys:
            if getattr(t, column) is None and isinstance(rest.get(key), (str, int)):
                setattr(t, column, str(rest.pop(key)))
    for key in ("trial", "epoch", "attempt", "repeat"):
        if t.trial is None and isinstance(rest.get(key), int):
            t.trial = rest.pop(key)
    t.started_at = timestamp(
        next((rest[k] for k in ("started_at", "timestamp", "created_at", "start_time", "created") if rest.get(k)), None)
    )
    t.ended_at = timestamp(
        next((rest[k] for k in ("ended_at", "end_time", "completed_at", "finished_at") if rest.get(k)), None)
    )
    for column, keys in {
        "cost_usd": ("cost_usd", "total_cost", "cost"),
        "duration_s": ("duration_s", "duration", "latency_s"),
    }.items():
        for key in keys:
            if (
                getattr(t, column) is None
                and isinstance(rest.get(key), (int, float))
                and not isinstance(rest.get(key), bool)
            ):
                setattr(t, column, float(rest[key]))
    t.metadata.update({k: v for k, v in rest.items() if isinstance(v, (str, int, float, bool)) and len(str(v)) <= 2000})
    t.extra.update({k: v for k, v in rest.items() if isinstance(v, (dict, list)) and v})
