"""OpenAI chat messages: the shape that everything else imitates.

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function",
     "function": {"name": "search", "arguments": "{\\"q\\": 1}"}}]}, {"role": "tool", "tool_call_id": "call_1", "content": "…"}]}

Containers read: an object with `messages`; a bare list of messages; one message per line; request logs
(`request`/`response`, Batch output with `custom_id`, LiteLLM logs); JSONL of any of these. In a request log each line repeats the
history, so lines that are prefixes of a later one are folded into it and only give their usage.
Outcome keys beside `messages` (`success`, `passed`, `resolved`, `reward`, `score`, and the same inside `metadata`) are taken as the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from insights.corpus.formats import reader
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Step, Trace

ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
VERDICTS = ("success", "passed", "resolved", "is_correct", "correct", "task_success")
SCORES = ("reward", "score")


def is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("role") in ROLES
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
    role = m.get("role")
    text, parts, is_error = flatten(m.get("content"))
    stamp = timestamp(m.get("timestamp") or m.get("created_at") or m.get("ts"))
    if role in ("tool", "function"):
        flag = m.get("error", m.get("is_error"))
        failed = is_error or bool(flag)
        t.result(
            text if text or not isinstance(flag, str) else flag,
            id=m.get("tool_call_id"),
            name=m.get("name"),
            status="error" if failed else "ok" if flag is False else None,
            error_basis="flag" if failed else None,
            ts=stamp,
            parts=parts,
            src_pointer=where,
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
    for call in m.get("tool_calls") or []:
        if not isinstance(call, dict):
            t.issue("bad_tool_call", f"{where}: a tool call is {type(call).__name__}", seq=seq)
            continue
        function = call.get("function") or call.get("custom") or call
        if isinstance(function, str):
            function = {"name": function, "arguments": call.get("args") or call.get("arguments")}
        t.call(
            seq,
            function.get("name"),
            function.get("arguments", function.get("input")),
            id=call.get("id"),
            requestor=call.get("requestor") or "assistant",
        )
    legacy = m.get("function_call")
    if isinstance(legacy, dict):
        t.call(seq, legacy.get("name"), legacy.get("arguments"))


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


def timestamp(value: Any) -> datetime | None:
    """A time in UTC from ISO text or seconds, milliseconds, microseconds or nanoseconds since 1970; None where it is none."""
    if isinstance(value, str) and value:
        try:
            stamp = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return timestamp(float(value)) if value.replace(".", "", 1).isdigit() else None
        return stamp.astimezone(UTC) if stamp.tzinfo else stamp.replace(tzinfo=UTC)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        seconds = float(value)
        while seconds > 1e11:
            seconds /= 1000
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, ValueError, OSError):
            return None
    return None


def _detect(head: Head):
    first = head.first
    if first.get("object") == "chat.completion" or isinstance(first.get("choices"), list):
        return "likely"
    messages = first.get("messages")
    if isinstance(messages, list) and messages and all(is_message(m) for m in messages[:-1] or messages):
        return (
            "likely"
            if any(m.get("tool_calls") or m.get("role") == "tool" for m in messages if isinstance(m, dict))
            else "guess"
        )
    records = [r for r in head.records if not isinstance(r, list)]
    if records and all(is_message(r) for r in records[:-1] or records) and (len(records) > 1):
        return "guess"
    if any(isinstance(r, list) and r and all(is_message(m) for m in r[:-1] or r) for r in head.records[:3]):
        return "guess"
    return None


@reader("openai_chat", title="OpenAI chat messages", rank=80, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    loose: list[Any] = []
    for i, record in enumerate(source.records()):
        value = record.value
        if is_message(value):
            loose.append(value)
        elif isinstance(value, list) and value and is_message(value[0]):
            yield _trace(source, {"messages": value}, record, i)
        elif isinstance(value, dict) and (messages_of(value)):
            yield _trace(source, value, record, i)
        else:
            source.n_bad += 1
            source.issue(
                "not_a_conversation", f"record {i} holds no messages: {str(value)[:80]!r}", offset=record.offset
            )
    if loose:
        yield _trace(source, {"messages": loose}, Record(None), 0)


def messages_of(value: Mapping[str, Any]) -> list[Any]:
    """The messages of one record, the answer of a request log included."""
    for holder in (value, value.get("request"), value.get("body"), value.get("kwargs")):
        if isinstance(holder, dict) and isinstance(holder.get("messages"), list):
            return [*holder["messages"], *_answers(value)]
    return _answers(value)


def _answers(value: Mapping[str, Any]) -> list[Any]:
    response = value.get("response", value if "choices" in value else None)
    if isinstance(response, dict) and isinstance(response.get("body"), dict):
        response = response["body"]
    choices = response.get("choices") if isinstance(response, dict) else None
    return [c["message"] for c in (choices or [])[:1] if isinstance(c, dict) and isinstance(c.get("message"), dict)]


def _trace(source: Source, value: dict[str, Any], record: Record, index: int) -> Trace:
    meta = value.get("metadata") if isinstance(value.get("metadata"), dict) else {}
    both = {
        **meta,
        **{
            k: v
            for k, v in value.items()
            if k not in ("messages", "metadata", "request", "response", "tools", "kwargs", "body")
        },
    }
    own = next(
        (both[k] for k in ("trace_id", "run_id", "id", "conversation_id", "custom_id", "session_id") if both.get(k)),
        None,
    )
    t = Trace("openai_chat", str(own) if own else f"{source.name}#{index}")
    add_messages(t, messages_of(value), pointer=f"{record.pointer or ''}/messages")
    for s in t.steps[:1]:
        s.src_offset, s.src_len = record.offset, record.length
    _usage(t, value)
    apply_metadata(t, both)
    return t


def _usage(t: Trace, value: Mapping[str, Any]) -> None:
    response = value.get("response") if isinstance(value.get("response"), dict) else value
    usage = response.get("usage") if isinstance(response, dict) else None
    if not isinstance(usage, dict):
        return
    t.llm(
        response.get("id"),
        model=response.get("model"),
        input_tokens=usage.get("prompt_tokens", usage.get("input_tokens")),
        output_tokens=usage.get("completion_tokens", usage.get("output_tokens")),
        cache_read_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
        reasoning_tokens=(usage.get("completion_tokens_details") or {}).get("reasoning_tokens"),
        cost_usd=value.get("cost") if isinstance(value.get("cost"), (int, float)) else None,
        finish_reason=next(
            (c.get("finish_reason") for c in response.get("choices") or [] if isinstance(c, dict)), None
        ),
    )


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
