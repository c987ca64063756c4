"""tau2-bench (and tau3) results: runs of a customer-service agent against a simulated user, with checks.

    {"timestamp": "…", "info": {"agent_info": {"llm": "m1"}, "user_info": {…}, "environment_info": {"domain_name": "retail"}},
     "tasks": [{"id": "7", "evaluation_criteria": {…}}], "simulations": [{"id": "s-1", "task_id": "7", "trial": 0,
     "termination_reason": "user_stop", "agent_cost": 0.1, "user_cost": 0.02, "reward_info": {"reward": 1.0, …}, "messages": […]}]}

Newer runs are folders: `results.json` without simulations beside `simulations/<id>.json`; each of those is a trace
that takes its task and models from `results.json`. Voice runs hold `ticks` of 200 ms in place of messages; the text of
adjacent ticks of one speaker is joined into one step.

Outcome: `reward_info.reward` (1 = success; null reward_info = no verdict), its parts as annotations, each check of the
grader as a row of `expected` with `met`. Errors: the flag `error` of a tool message, text where the flag is missing.
The simulated user is a model too and may call tools (`requestor: "user"`): its tokens and cost never count as the
agent's; they are in `llm_calls` with agent `user_simulator` and in the metadata.
Dropped: `raw_data` (the provider's reply once more) but for its model, cached tokens and thinking; audio settings.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus import blobs, parse
from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import add_messages, timestamp
from insights.corpus.formats.tau2_reference import add_reference, mixed_up, own_task_id, task_of
from insights.corpus.parse import mapping, mappings, sequence
from insights.corpus.sniff import Head
from insights.corpus.source import STREAM_ABOVE, Record, Source
from insights.corpus.trace import Step, Trace, as_name, as_text

END_REASONS = {
    "user_stop": "completed",
    "agent_stop": "completed",
    "max_steps": "limit_steps",
    "timeout": "limit_time",
    "too_many_errors": "error",
    "agent_error": "error",
    "user_error": "error",
    "infrastructure_error": "error",
    "unexpected_error": "error",
}
LONG_TASK_ID = 48  # unit: characters; telecom task ids run to hundreds, the id of the run is shorter
ATTRIBUTE = re.compile(r"\[(?:([A-Za-z_]+):)?([^\[\]|]{1,60})\]")


def _is_results(first: Mapping[str, Any]) -> bool:
    info = first.get("info")
    return isinstance(info, dict) and bool({"environment_info", "agent_info"} & info.keys()) and "traj" not in first


def _holds_simulations(head: Head) -> bool:
    """Whether the key stands anywhere in the file: it follows a long `tasks`, so beyond the head it is searched."""
    if head.size <= len(head.head):
        return bool(head.first.get("simulations"))
    with head.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(b'"simulations"') >= 0


def _is_simulation(value: Any) -> bool:
    return isinstance(value, dict) and {"task_id", "termination_reason"} <= value.keys() and "is_resolved" not in value


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if _is_simulation(first.get("simulation_run")) or (_is_simulation(first) and {"trial", "seed"} & first.keys()):
        return "likely"
    if _is_results(first) and _holds_simulations(head):
        return "certain"
    return None


def _detect_index(head: Head) -> Confidence | None:
    first = head.first
    if _is_results(first) and "simulations" not in first and not _holds_simulations(head):
        return "certain"
    return "likely" if {"model_name", "submitting_organization", "results"} <= first.keys() else None


mark("tau2_index", title="tau2-bench results without the runs", rank=19, role="sidecar", detect=_detect_index)


@reader("tau2_bench", title="tau2-bench results", rank=20, detect=_detect, single=True)
def read(source: Source) -> Iterator[Trace]:
    first = source.head.first
    if _is_results(first):
        header, cohort = source.header("simulations"), source.stem
        tasks = _by_id(header)
        mixed = mixed_up((record.value for record in source.records("simulations")), tasks)
        for record in source.records("simulations"):
            run = record.value
            if not isinstance(run, dict) or "task_id" not in run:
                source.n_bad += 1
                source.issue("not_a_run", f"{record.pointer} has no task_id")
                continue
            yield from source.attempt(record, _trace, run, header, tasks, cohort, record, mixed)
        return
    for record in source.records():
        value = record.value
        if not isinstance(value, dict):
            source.n_bad += 1
            source.issue("not_a_run", f"{record.pointer} is {type(value).__name__}")
        elif isinstance(value.get("simulation_run"), dict):
            inner = Record(value["simulation_run"], pointer="/simulation_run")
            tasks = _by_id({"tasks": [value.get("task")]})
            yield from source.attempt(inner, _trace, inner.value, {}, tasks, source.stem, inner)
        else:
            header = _index_of(source)
            cohort = source.path.parent.parent.name if header else source.stem
            yield from source.attempt(record, _trace, value, header, _by_id(header), cohort, record)


def _by_id(header: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(t.get("id")): t for t in mappings(header.get("tasks"))}


def _index_of(source: Source) -> dict[str, Any]:
    """results.json of the folder that this simulation file belongs to, or {}."""
    path = source.sibling("..", "results.json")
    if path is None or path.stat().st_size > STREAM_ABOVE:
        return {}
    try:
        value = parse.loads(path.read_bytes())[0]
    except parse.Unparseable as error:
        source.issue("bad_sidecar", f"{path.name} beside the simulations is not JSON: {error}")
        return {}
    return value if isinstance(value, dict) else {}


def _trace(
    run: dict[str, Any],
    header: Mapping[str, Any],
    tasks: Mapping[str, Mapping[str, Any]],
    cohort: str,
    record: Record,
    mixed: bool = False,
) -> Trace:
    info = mapping(header.get("info"))
    agent, user = mapping(info.get("agent_info")), mapping(info.get("user_info"))
    environment = mapping(info.get("environment_info"))
    task_id, trial = str(run.get("task_id")), run.get("trial")
    short = task_id if len(task_id) <= LONG_TASK_ID or not run.get("id") else str(run["id"])
    t = Trace("tau2_bench", f"{cohort}/{short}/{trial}", task_id=task_id, trial=trial, framework="tau2-bench")
    t.native_id = str(run.get("id") or t.native_id)
    t.dataset = environment.get("domain_name") or cohort
    t.agent, t.model = agent.get("implementation"), agent.get("llm")
    t.slice("cohort", cohort, "path")
    t.slice("domain", environment.get("domain_name"))
    t.slice("user_model", user.get("llm"))
    if guidelines := as_text(user.get("global_simulation_guidelines")):
        t.extra["user_guidelines"] = f"blob:{blobs.keep(guidelines, 'text/markdown', t.blobs)}"
    for name, value in ATTRIBUTE.findall(task_id):
        t.slice(name.lower() or "issue", value, "id")
    _messages(t, run, record)
    _usage(t, run, user.get("llm"))
    _outcome(t, run)
    task = task_of(run, tasks, mixed)
    own_task_id(t, task, mixed)
    add_reference(t, mapping(run.get("reward_info")), mapping(mapping(task).get("evaluation_criteria")))
    _texts(t, run, task or {}, environment)
    return t


def _messages(t: Trace, run: dict[str, Any], record: Record) -> None:
    messages: list[Any] = []
    for m in sequence(run.get("messages")):
        messages.extend(m["tool_messages"] if isinstance(m, dict) and "tool_messages" in m else [m])
    messages = [_plain(m) if isinstance(m, dict) else m for m in messages] or _spoken(sequence(run.get("ticks")))
    steps = add_messages(t, messages, pointer=f"{record.pointer or ''}/messages")
    for s, m in zip(steps, messages, strict=True):
        if not isinstance(m, dict):
            continue
        if s.role == "user":
            s.origin = "simulated_user"
        if s.role in ("user", "assistant"):
            _model_call(t, s, m)
            if m.get("errors"):
                s.extra = {"errors": m["errors"]}


def _plain(m: dict[str, Any]) -> dict[str, Any]:
    """A tau2 message as a chat message: a tool message names its call in `id`."""
    if m.get("role") == "tool":
        return {**m, "tool_call_id": m.get("id")}
    return {**m, "reasoning_content": m.get("reasoning") or _thinking(m.get("raw_data"))}


def _thinking(raw: Any) -> str | None:
    """What the model thought, out of the provider's raw reply in its several shapes."""
    if not isinstance(raw, dict):
        return None
    choices = raw.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else raw
    inner = choice.get("message")
    message = inner if isinstance(inner, dict) else raw
    blocks = mappings(message.get("thinking_blocks")) or mappings(raw.get("thinking_blocks"))
    texts = [b["thinking"] for b in blocks if isinstance(b, dict) and isinstance(b.get("thinking"), str)]
    return "\n".join(texts) or message.get("reasoning_content") or None


def _spoken(ticks: list[Any]) -> list[dict[str, Any]]:
    """Messages of a voice run: adjacent ticks of one speaker joined; tool calls and results in their place."""
    messages: list[dict[str, Any]] = []
    for tick in ticks:
        if not isinstance(tick, dict):
            continue
        for side in ("user", "agent"):
            chunk = mapping(tick.get(f"{side}_chunk"))
            role = "user" if side == "user" else "assistant"
            if text := as_text(chunk.get("content")):
                if messages and messages[-1]["role"] == role and not messages[-1].get("tool_calls"):
                    messages[-1]["content"] += text
                else:
                    messages.append({"role": role, "content": text, "timestamp": tick.get("timestamp")})
            calls = tick.get(f"{side}_tool_calls") or chunk.get("tool_calls")
            if calls:
                messages.append(
                    {"role": role, "content": None, "tool_calls": calls, "timestamp": tick.get("timestamp")}
                )
            messages.extend(_plain(r) for r in mappings(tick.get(f"{side}_tool_results")))
    return messages


def _model_call(t: Trace, s: Step, m: Mapping[str, Any]) -> None:
    usage, cost = m.get("usage"), m.get("cost")
    if not isinstance(usage, dict) and not cost:
        return
    usage = usage if isinstance(usage, dict) else {}
    raw = m["raw_data"] if isinstance(m.get("raw_data"), dict) else {}
    reported = raw["usage"] if isinstance(raw.get("usage"), dict) else {}
    detail = mapping(reported.get("prompt_tokens_details"))
    s.llm_call_id = t.llm(
        first_seq=s.seq,
        agent="user_simulator" if s.role == "user" else t.agent,
        model=raw.get("model") or (t.model if s.role == "assistant" else None),
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        cache_read_tokens=detail.get("cached_tokens"),
        cost_usd=cost,
        finish_reason=raw.get("finish_reason"),
    )
    for c in t.calls[-s.n_tool_calls :] if s.n_tool_calls else ():
        if c.call_seq == s.seq:
            c.llm_call_id = s.llm_call_id


def _usage(t: Trace, run: Mapping[str, Any], user_model: str | None) -> None:
    """Totals of the agent alone; those of the simulated user go to the metadata."""
    own = [c for c in t.llm_calls if c["agent"] != "user_simulator"]
    other = [c for c in t.llm_calls if c["agent"] == "user_simulator"]
    t.n_llm_calls = len(own) or None
    t.models = [t.model] if t.model else list(dict.fromkeys(c["model"] for c in own if c["model"]))
    t.usage_basis = "calls" if own else "none"
    for name in ("input_tokens", "output_tokens", "cache_read_tokens"):
        setattr(t, name, _sum(c[name] for c in own))
    cost = run.get("agent_cost")
    t.cost_usd = cost if cost is not None else _sum(c["cost_usd"] for c in own)
    t.cost_basis = "none" if t.cost_usd is None else "reported"
    user_cost = run.get("user_cost")
    simulated = {
        "user_model": user_model,
        "user_cost_usd": user_cost if user_cost is not None else _sum(c["cost_usd"] for c in other),
        "user_input_tokens": _sum(c["input_tokens"] for c in other),
        "user_output_tokens": _sum(c["output_tokens"] for c in other),
    }
    t.metadata.update({k: v for k, v in simulated.items() if v is not None})


def _sum(values: Any) -> Any:
    known = [v for v in values if v is not None]
    return sum(known) if known else None


def _outcome(t: Trace, run: Mapping[str, Any]) -> None:
    t.started_at, t.ended_at = timestamp(run.get("start_time")), timestamp(run.get("end_time"))
    t.duration_s, t.time_basis = (
        run.get("duration"),
        "naive_as_utc" if t.started_at or any(s.ts for s in t.steps) else None,
    )
    reason = as_name(run.get("termination_reason"))
    t.native_end_reason, t.end_reason = reason, END_REASONS.get(reason or "", "unknown")
    graded = run.get("reward_info")
    if t.end_reason == "error":
        t.error_type, t.error_message = reason, mapping(mapping(graded).get("info")).get("note")
    if not isinstance(graded, dict):
        return
    reward = graded.get("reward")
    if isinstance(reward, (int, float)):
        t.score, t.score_name, t.success = float(reward), "reward", reward >= 1 - 1e-6
    for name, value in mapping(graded.get("reward_breakdown")).items():
        t.annotate("score", str(name), value=value, passed=bool(value), basis="ground_truth")
    match = mapping(graded.get("db_check")).get("db_match")
    if isinstance(match, bool):
        t.annotate("score", "db_match", value=float(match), passed=bool(match), basis="ground_truth")
    if graded.get("reward_basis"):
        t.metadata["reward_basis"] = "+".join(map(str, sequence(graded["reward_basis"])))
    if graded.get("info"):
        t.extra["graded_by"] = graded["info"]
    for key in ("review", "hallucination_check", "user_only_review"):
        if run.get(key):
            t.extra[key] = run[key]


def _texts(t: Trace, run: Mapping[str, Any], task: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
    scenario = task.get("user_scenario")
    if scenario:
        t.extra["user_scenario"] = scenario
    if task.get("ticket"):
        t.extra["ticket"] = task["ticket"]
    purpose = mapping(task.get("description")).get("purpose")
    if purpose:
        t.metadata["purpose"] = purpose
    if notes := mapping(task.get("description")).get("notes"):
        t.metadata["notes"] = notes
    policy = run.get("policy") or environment.get("policy")
    if policy:
        t.extra["policy"] = policy
