"""SWE-agent trajectories (`.traj`, 0.x and 1.x).

    {"environment": "swe_main", "trajectory": [{"action": "open a.py", "observation": "[File: a.py (3 lines total)]",
     "response": "Let me look.\\n```\\nopen a.py\\n```", "thought": "Let me look.", "state": "{…}"}], "history": [{"role": "user",
     "content": "…", "agent": "primary", "is_demo": true}], "info": {"exit_status": "submitted", "submission": "diff …",
     "model_stats": {"instance_cost": 1.1, "tokens_sent": 9, "tokens_received": 1, "api_calls": 1}}}

The prompts come from `history`, the run from `trajectory` (from `history` alone where there is no trajectory). One item of
the trajectory is a step of the assistant with one call, named by the command's first word, and its result.
Outcome: never in the file ("submitted" is how it ended); report, results and prediction beside it are joined
(swe_outcomes). The task is the file's stem. Demonstrations (`is_demo`) are kept as copied steps off the path.
Tool errors: text only, so what the tools themselves say on refusing ("Your proposed edit has introduced new syntax
error") or a timeout, besides text that opens like an error. The last call before an exit has no result of its own.
Dropped: `messages`/`query` of every step (the whole prompt again), `replay_config` (configuration, may hold keys) but for
the model's name, `edited_files*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from insights.corpus.formats import Confidence, reader, swe_outcomes
from insights.corpus.formats.chat import add_messages, flatten
from insights.corpus.parse import mapping, sequence
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

EXITS = {
    "submitted": "completed",
    "exit_cost": "limit_cost",
    "exit_context": "limit_tokens",
    "exit_total_execution_time": "limit_time",
    "exit_command_timeout": "limit_time",
    "exit_format": "error",
    "exit_error": "error",
    "exit_api": "error",
    "exit_environment_error": "error",
    "exit_forfeit": "refused",
}
REFUSALS = (
    "Your proposed edit has introduced new syntax error",
    "EXECUTION TIMED OUT",
    "Your command was not executed",
)
COMMAND = re.compile(r"\s*([A-Za-z_.][\w.+/-]*)")


def _detect(head: Head) -> Confidence | None:
    first = head.first
    steps, history = first.get("trajectory"), first.get("history")
    item = steps[0] if isinstance(steps, list) and steps else None
    if isinstance(item, dict) and {"action", "observation", "response"} <= item.keys():
        return "certain"
    if isinstance(history, list) and history and isinstance(history[0], dict) and "question" not in first:
        item = history[0]
        if "agent" in item and ("message_type" in item or "is_demo" in item or head.name.endswith(".traj")):
            return "likely"
    return None


@reader("swe_agent", title="SWE-agent trajectories", rank=20, detect=_detect, single=True)
def read(source: Source) -> Iterator[Trace]:
    run = source.document()
    if not isinstance(run, dict):
        return
    instance = source.path.name.removesuffix(".json").removesuffix(".traj") if not source.member else source.stem
    folder = swe_outcomes.run_name(source, instance)
    t = Trace("swe_agent", f"{folder}/{instance}" if folder else instance, task_id=instance, framework="swe-agent")
    t.slice("repository", swe_outcomes.repository(instance), "id")
    t.slice("cohort", folder, "path")
    trajectory, history = sequence(run.get("trajectory")), sequence(run.get("history"))
    _prompts(t, history, whole=not trajectory)
    for i, item in enumerate(trajectory):
        _item(t, item, f"/trajectory/{i}")
    info = mapping(run.get("info"))
    _info(t, info)
    t.model = _model(run.get("replay_config"))
    t.agent_version = info.get("swe_agent_version")
    if run.get("environment") not in (None, instance):
        t.metadata["environment"] = run["environment"]
    swe_outcomes.join(t, source, instance, folder)
    yield t


def _prompts(t: Trace, history: list[Any], *, whole: bool) -> None:
    """The messages before the first answer, demonstrations marked; with `whole`, all of them."""
    for i, m in enumerate(history):
        if not isinstance(m, Mapping):
            t.issue("not_a_message", f"/history/{i} is {type(m).__name__}")
            continue
        where, demo = f"/history/{i}", bool(m.get("is_demo") or m.get("message_type") == "demonstration")
        if demo:
            text = flatten(m.get("content"))[0]
            t.step(m.get("role"), text, origin="copied", on_path=False, src_pointer=where, extra={"demo": True})
        elif m.get("role") == "assistant" and not whole:
            return
        elif m.get("role") in ("system", "user") and not (whole and t.calls):
            origin = "harness" if m.get("role") == "system" or t.input_text else "human"
            seq = t.step(m.get("role"), flatten(m.get("content"))[0], origin=origin, src_pointer=where)
            if m.get("role") == "user" and t.input_text is None:
                t.input_text = t.steps[seq].text
        else:
            _history_entry(t, m, where)


def _history_entry(t: Trace, m: Mapping[str, Any], where: str) -> None:
    """An entry of a file that has no `trajectory`: an action, or the observation that answers it."""
    if m.get("role") == "assistant" and not m.get("tool_calls") and m.get("action"):
        seq = t.step("assistant", flatten(m.get("content"))[0], origin="model", src_pointer=where)
        _call(t, seq, str(m["action"]), None)
    elif m.get("role") == "user":
        _result(t, flatten(m.get("content"))[0], None, where)
    else:
        ids = sequence(m.get("tool_call_ids"))
        add_messages(t, [{**m, "tool_call_id": ids[0]} if ids else m])
        t.steps[-1].src_pointer = where


def _item(t: Trace, item: Any, where: str) -> None:
    if not isinstance(item, Mapping):
        t.issue("not_a_step", f"{where} is {type(item).__name__}")
        return
    action = str(item.get("action") or "")
    text = item.get("response") or item.get("thought")
    if action.startswith("exit_") or action in ("early_exit", "skip"):
        t.step("assistant", text, origin="harness", src_pointer=where, extra={"action": action})
        if item.get("observation"):
            t.step("environment", item["observation"], kind="log", origin="harness", src_pointer=where)
        return
    calls = sequence(item.get("tool_calls"))
    seq = t.step("assistant", text, origin="model", src_pointer=where, reasoning=_reasoning(item))
    if not action and not calls:
        if item.get("observation"):
            t.step("user", item["observation"], origin="harness", src_pointer=where)
        return
    id = calls[0].get("id") if calls and isinstance(calls[0], dict) else None
    _call(t, seq, action, id)
    _result(t, item.get("observation"), id, where, item.get("execution_time"))


def _reasoning(item: Mapping[str, Any]) -> str | None:
    blocks = sequence(item.get("thinking_blocks"))
    return "\n".join(str(b.get("thinking") or "") for b in blocks if isinstance(b, dict)) or None


def _call(t: Trace, seq: int, action: str, id: str | None) -> None:
    named = COMMAND.match(action)
    t.call(seq, named[1].rsplit("/", 1)[-1] if named else "bash", {"command": action}, id=id)


def _result(t: Trace, text: Any, id: str | None, where: str, seconds: Any = None) -> None:
    refused = isinstance(text, str) and any(r in text for r in REFUSALS)
    t.result(
        text,
        id=id,
        status="error" if refused else None,
        error_basis="text" if refused else None,
        src_pointer=where,
        call_columns={"duration_ms": seconds * 1000} if isinstance(seconds, (int, float)) else None,
    )


def _info(t: Trace, info: Mapping[str, Any]) -> None:
    native = info.get("exit_status")
    t.native_end_reason = native
    if isinstance(native, str):
        inner = re.search(r"\((\w+)\)", native)
        t.end_reason = EXITS.get(inner[1] if inner else native, "unknown")
        if t.end_reason == "error":
            t.error_type = inner[1] if inner else native
    submission = info.get("submission")
    if submission:
        t.final_output = submission
    t.metadata["submitted_patch"] = bool(submission and str(submission).strip())
    stats = mapping(info.get("model_stats"))
    if stats.get("api_calls") or stats.get("tokens_sent"):
        t.n_llm_calls, t.usage_basis = stats.get("api_calls"), "reported_total"
        t.input_tokens, t.output_tokens = stats.get("tokens_sent"), stats.get("tokens_received")
        t.cost_usd, t.cost_basis = stats.get("instance_cost"), "reported"
    if info.get("review"):
        t.extra["review"] = info["review"]


def _model(config: Any) -> str | None:
    if isinstance(config, str):
        try:
            config = orjson.loads(config)
        except orjson.JSONDecodeError:
            return None
    agent = config.get("agent") if isinstance(config, dict) else None
    model = agent.get("model") if isinstance(agent, dict) else None
    return model.get("name") if isinstance(model, dict) else None
