"""mini-swe-agent trajectories: v2 (`.traj.json`, tool calls), v1 (fenced commands), and the bare message list before.

    {"info": {"model_stats": {"instance_cost": 0.1, "api_calls": 2}, "config": {"model": {"model_name": "m"}}, "mini_version":
     "2.2", "exit_status": "Submitted", "submission": "diff …"}, "messages": [{"role": "assistant", "content": "", "tool_calls":
     […], "extra": {"response": {…usage…}, "cost": 0.05, "timestamp": 1.7e9}}, {"role": "tool", "tool_call_id": "c1",
     "content": "<returncode>1</returncode>…", "extra": {"returncode": 1, "raw_output": "…"}}, {"role": "exit", …}],
     "trajectory_format": "mini-swe-agent-1.1", "instance_id": "org__repo-1"}

Outcome: reports and predictions beside it (swe_outcomes); "Submitted" is only how it ended. A command failed when its
`returncode` (or `<returncode>` in the text) is not 0: status error, basis exit_code. The `exit` message is a log step.
Pitfalls: the last command before an exit has no result and stays pending; in v1 a user message without <returncode> after
an answer is the harness refusing the format; with the Responses API an answer has `output` items and no role.
`raw_output` is in `result` where the agent was shown less of it.
Dropped: `extra.response` but for model, usage and finish reason, the configuration but for model, image, limits and templates
(it may hold keys), tracebacks beyond 20,000 characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader, swe_outcomes
from insights.corpus.formats.chat import add_messages, flatten, timestamp
from insights.corpus.parse import mapping, mappings, number, sequence
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Step, Trace, as_name

RETURN_CODE = re.compile(r"\s*(?:<exception>.*?</exception>\s*)?<returncode>(-?\d+)</returncode>", re.S)
FENCED = re.compile(r"```(?:bash|sh|mswea_bash_command)\s*\n(.*?)\n?```", re.S)
EXITS = {"Submitted": "completed", "TimeExceeded": "limit_time", "ContextWindowExceededError": "limit_tokens"}


def _detect(head: Head) -> Confidence | None:
    first = head.first
    info = first.get("info")
    if isinstance(info, dict) and ("mini_version" in info or "agent_type" in mapping(info.get("config"))):
        return "certain"
    if "messages" in first and head.tail_has("trajectory_format") and b"mini-swe-agent" in head.tail:
        return "certain"
    doc = head.doc
    if isinstance(doc, list) and any(_is_observation(m) for m in doc[:12]):
        return "likely"
    return None


def _is_observation(m: Any) -> bool:
    content = m.get("content") if isinstance(m, dict) and m.get("role") == "user" else None
    return isinstance(content, str) and RETURN_CODE.match(content) is not None


@reader("mini_swe_agent", title="mini-swe-agent trajectories", rank=20, detect=_detect, single=True)
def read(source: Source) -> Iterator[Trace]:
    run = source.document()
    if run is None:
        return
    run = {"messages": run} if isinstance(run, list) else run
    info = mapping(run.get("info"))
    name = (source.member or source.path.name).rsplit("/", 1)[-1]
    instance = str(run.get("instance_id") or name.removesuffix(".json").removesuffix(".traj"))
    folder = swe_outcomes.run_name(source, instance)
    t = Trace("mini_swe_agent", f"{folder}/{instance}" if folder else instance, task_id=instance)
    t.framework, t.agent, t.agent_version = "mini-swe-agent", "mini-swe-agent", info.get("mini_version")
    t.slice("repository", swe_outcomes.repository(instance), "id")
    t.slice("cohort", folder, "path")
    config = mapping(info.get("config"))
    t.model = mapping(config.get("model")).get("model_name")
    segments = sequence(run.get("segments"))
    for i, segment in enumerate(segments):
        _messages(t, sequence(segment.get("messages")) if isinstance(segment, dict) else segment, f"/segments/{i}")
        t.step("system", "context was cut", kind="compaction", origin="harness")
    _messages(t, sequence(run.get("messages")), "/messages")
    _end(t, info, config)
    swe_outcomes.join(t, source, instance, folder)
    yield t


def _messages(t: Trace, messages: list[Any], pointer: str) -> None:
    for i, m in enumerate(messages):
        where = f"{pointer}/{i}"
        if not isinstance(m, Mapping):
            t.issue("not_a_message", f"{where} is {type(m).__name__}")
        elif m.get("role") == "exit":
            t.step("environment", m.get("content"), kind="log", origin="harness", src_pointer=where)
        elif m.get("object") == "response":
            _response(t, m, where)
        elif m.get("role") == "tool" or m.get("type") == "function_call_output":
            _result(t, m, where)
        elif m.get("role") == "user":
            _user(t, m, where)
        else:
            _answer(t, m, where)


def _extra(m: Mapping[str, Any]) -> Mapping[str, Any]:
    extra = m.get("extra")
    return extra if isinstance(extra, Mapping) else {}


def _answer(t: Trace, m: Mapping[str, Any], where: str) -> None:
    extra = _extra(m)
    s = add_messages(t, [{**m, "timestamp": extra.get("timestamp")}])[0]
    s.src_pointer = where
    if s.role != "assistant":
        return
    if not s.n_tool_calls:
        commands = [a.get("command") for a in mappings(extra.get("actions"))]
        for command in commands or FENCED.findall(s.text or "")[:1]:
            t.call(s.seq, "bash", {"command": command})
    response = extra.get("response")
    if isinstance(response, Mapping):
        _model_call(t, s, response, extra.get("cost"))


def _response(t: Trace, m: Mapping[str, Any], where: str) -> None:
    """An answer as the Responses API gives it: output items, no role."""
    items = mappings(m.get("output"))
    texts = [flatten(i.get("content"))[0] for i in items if i.get("type") == "message"]
    thoughts = [
        str(p.get("text") or "") for i in items if i.get("type") == "reasoning" for p in mappings(i.get("summary"))
    ]
    seq = t.step(
        "assistant",
        "\n".join(x for x in texts if x) or None,
        origin="model",
        reasoning="\n".join(thoughts) or None,
        ts=timestamp(_extra(m).get("timestamp")),
        src_pointer=where,
    )
    for item in items:
        if item.get("type") == "function_call":
            t.call(seq, item.get("name"), item.get("arguments"), id=item.get("call_id"))
    _model_call(t, t.steps[seq], m, _extra(m).get("cost"))


def _model_call(t: Trace, s: Step, response: Mapping[str, Any], cost: Any) -> None:
    usage = mapping(response.get("usage"))
    detail = mapping(usage.get("prompt_tokens_details")) or mapping(usage.get("input_tokens_details"))
    thought = mapping(usage.get("completion_tokens_details")) or mapping(usage.get("output_tokens_details"))
    choices = response.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    s.llm_call_id = t.llm(
        first_seq=s.seq,
        model=response.get("model"),
        ended_at=s.ts,
        input_tokens=usage.get("prompt_tokens", usage.get("input_tokens")),
        output_tokens=usage.get("completion_tokens", usage.get("output_tokens")),
        cache_read_tokens=detail.get("cached_tokens"),
        reasoning_tokens=thought.get("reasoning_tokens"),
        cost_usd=cost,
        native_finish_reason=choice.get("finish_reason"),
    )
    for c in t.calls[-s.n_tool_calls :] if s.n_tool_calls else ():
        c.llm_call_id = s.llm_call_id


def _result(t: Trace, m: Mapping[str, Any], where: str) -> None:
    extra = _extra(m)
    text = flatten(m.get("content", m.get("output")))[0]
    code = extra.get("returncode")
    found = RETURN_CODE.match(text or "") if code is None else None
    raw = extra.get("raw_output")
    columns = {
        "error_type": extra.get("exception_type") or None,
        "result": {"raw_output": raw} if isinstance(raw, str) and raw.strip() not in (text or "") else None,
    }
    t.result(
        text,
        id=m.get("tool_call_id") or m.get("call_id"),
        exit_code=code if code is not None else int(found[1]) if found else None,
        ts=timestamp(extra.get("timestamp")),
        call_columns={name: value for name, value in columns.items() if value},
        src_pointer=where,
    )


def _user(t: Trace, m: Mapping[str, Any], where: str) -> None:
    text = flatten(m.get("content"))[0] or ""
    if RETURN_CODE.match(text) or "returncode" in _extra(m):
        _result(t, m, where)
        return
    first = not any(s.role in ("user", "assistant") for s in t.steps)
    t.step(
        "user",
        text,
        origin="human" if first else "harness",
        ts=timestamp(_extra(m).get("timestamp")),
        src_pointer=where,
    )


def _end(t: Trace, info: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    agent, stats = mapping(config.get("agent")), mapping(info.get("model_stats"))
    status = as_name(info.get("exit_status"))
    t.native_end_reason = status
    if status == "LimitsExceeded":
        limit, spent = number(agent.get("cost_limit")) or 0, number(stats.get("instance_cost")) or 0
        t.end_reason = "limit_cost" if limit and spent >= limit else "limit_steps"
    elif status:
        t.end_reason = EXITS.get(status, "error")
    if t.end_reason == "error":
        t.error_type, t.error_message = status, str(info.get("exception_str") or "")[:2000] or None
        if info.get("traceback"):
            t.extra["traceback"] = str(info["traceback"])[-20_000:]
    t.final_output = info.get("submission") or None
    t.time_basis = "epoch_s" if any(s.ts for s in t.steps) else None
    t.n_llm_calls, t.cost_usd = stats.get("api_calls"), stats.get("instance_cost")
    t.cost_basis = "none" if t.cost_usd is None else "reported"
    for key in ("step_limit", "cost_limit"):
        if agent.get(key) is not None:
            t.metadata[key] = agent[key]
    templates = {k: v for k, v in mapping(config.get("model")).items() if k.endswith("_template")}
    if templates:
        t.extra["templates"] = templates
    if mapping(config.get("environment")).get("image"):
        t.metadata["image"] = config["environment"]["image"]
