"""smolagents memory: the steps of an agent as `agent.memory.get_full_steps()` or a replay dumps them.

    [{"task": "Where is W1?"}, {"step_number": 1, "timing": {"start_time": 1.7e9, "end_time": 1.7e9, "duration": 2.0}, "tool_calls":
      [{"id": "c1", "type": "function", "function": {"name": "python_interpreter", "arguments": "f('W1')"}}], "error": {"type":
      "AgentExecutionError", "message": "KeyError"}, "model_output": "Thought: look", "observations": null, "token_usage":
      {"input_tokens": 9, "output_tokens": 2}, "is_final_answer": false}]

Errors: `error` of the step (flag), which is the result of its call. Final: `is_final_answer` with `action_output`. A run that
ends on AgentMaxStepsError hit the step limit. Outcome: none. Dropped: `model_input_messages` (the whole prompt again, per step).
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


def _is_step(m: Any) -> bool:
    return isinstance(m, dict) and "step_number" in m and bool({"timing", "model_output", "observations"} & m.keys())


def _steps(value: Any) -> list[Any] | None:
    found = value.get("steps", value.get("memory")) if isinstance(value, dict) else value
    return found if isinstance(found, list) and any(_is_step(m) for m in found[:4]) else None


def _detect(head: Head) -> Confidence | None:
    if any(_is_step(m) for m in head.records[:4]) or any(_steps(r) for r in head.records[:2]):
        return "certain"
    return None


@reader("smolagents", title="smolagents memory", rank=30, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    loose: list[Any] = []
    for i, record in enumerate(source.records()):
        steps = _steps(record.value)
        if steps is not None:
            yield _trace(source.label if not i else f"{source.label}#{i}", steps)
        elif isinstance(record.value, dict):
            loose.append(record.value)
        else:
            source.n_bad += 1
            source.issue("not_a_step", f"record {i} is {type(record.value).__name__}", offset=record.offset)
    if loose:
        yield _trace(source.label, loose)


def _trace(native: str, steps: list[Any]) -> Trace:
    t = Trace("smolagents", native, framework="smolagents", time_basis="epoch_s")
    for i, m in enumerate(steps):
        if not isinstance(m, Mapping):
            t.issue("not_a_step", f"/{i} is {type(m).__name__}")
        elif "task" in m:
            t.step("user", m["task"], origin="human", src_pointer=f"/{i}")
        elif "system_prompt" in m:
            t.step("system", m["system_prompt"], origin="harness", src_pointer=f"/{i}")
        elif "plan" in m:
            t.step("assistant", m["plan"], origin="model", src_pointer=f"/{i}", extra={"plan": True})
        else:
            _action(t, m, f"/{i}")
    if not any(s.ts for s in t.steps):
        t.time_basis = None
    return t


def _action(t: Trace, m: Mapping[str, Any], where: str) -> None:
    timing = mapping(m.get("timing"))
    text = m.get("model_output")
    text = flatten(text)[0] if not isinstance(text, str) else text
    seconds = timing.get("duration")
    seq = t.step(
        "assistant",
        text,
        origin="model",
        ts=timestamp(timing.get("start_time")),
        duration_ms=seconds * 1000 if isinstance(seconds, (int, float)) else None,
        native_id=str(m.get("step_number")),
        src_pointer=where,
    )
    usage = mapping(m.get("token_usage"))
    if usage:
        t.steps[seq].llm_call_id = t.llm(
            first_seq=seq, input_tokens=usage.get("input_tokens"), output_tokens=usage.get("output_tokens")
        )
    calls = mappings(m.get("tool_calls"))
    for call in calls:
        function = mapping(call.get("function")) or call
        args = function.get("arguments")
        code = isinstance(args, str) and function.get("name") == "python_interpreter"
        t.call(seq, function.get("name"), {"code": args} if code else args, id=call.get("id"))
    _outcome(t, m, calls, seq, timestamp(timing.get("end_time")), where)


def _outcome(t: Trace, m: Mapping[str, Any], calls: list[Any], seq: int, at: Any, where: str) -> None:
    error = mapping(m.get("error"))
    message = f"{error.get('type')}: {error.get('message')}" if error else None
    seen = "\n".join(str(x) for x in (m.get("observations"), message) if x)
    if calls:
        for call in calls:
            t.result(
                seen or None,
                id=call.get("id"),
                status="error" if error else "ok",
                error_basis="flag" if error else None,
                call_columns={"error_type": error.get("type")} if error else None,
                ts=at,
                src_pointer=where,
            )
    elif seen:
        label = "error" if error else "log"
        t.step("environment", seen, kind=label, origin="harness", is_error=bool(error), ts=at, src_pointer=where)
    if error.get("type") == "AgentMaxStepsError":
        t.end_reason, t.native_end_reason = "limit_steps", error["type"]
    if m.get("is_final_answer"):
        t.end_reason, t.native_end_reason = "completed", "final_answer"
        answer = m.get("action_output")
        t.final_output = answer if isinstance(answer, str) or answer is None else str(answer)
