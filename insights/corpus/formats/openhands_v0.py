"""Events of OpenHands V0 (read by `openhands`): actions and observations of agent, user and environment.

    {"id": 5, "timestamp": "2025-01-20T20:29:35.04", "source": "agent", "action": "run", "args": {"command": "ls", "thought": "Look."},
     "tool_call_metadata": {"function_name": "execute_bash", "tool_call_id": "t1", "model_response": {"id": "r1", "usage": {…}}}}
    {"id": 6, "timestamp": "…", "source": "agent", "cause": 5, "observation": "run", "content": "a.py", "extras": {"metadata": {"exit_code": 0}}}

Early files have neither ids nor `args`/`extras`, the fields stand in the event itself. An observation answers the action
named by `cause` or by its tool call id. Exit code -1 means that the command still runs: status unknown.
Parallel calls share a model response and count as one model call. Timestamps are naive local time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from insights.corpus.formats.chat import flatten, timestamp
from insights.corpus.parse import mapping, mappings
from insights.corpus.trace import Trace, as_name

SPEECH = ("message", "finish", "reject")
STATES = ("change_agent_state", "recall", "condensation_request", "pause", "resume", "null")
ENDS = {
    "finished": "completed",
    "stopped": "user_abort",
    "paused": "user_abort",
    "user_rejected": "user_abort",
    "rejected": "refused",
    "error": "error",
    "rate_limited": "error",
    "running": "still_running",
}
PLUMBING = (
    "thought",
    "wait_for_response",
    "image_urls",
    "images_urls",
    "is_confirmed",
    "confirmation_state",
    "keep_prompt",
)
ENVELOPE = (
    "id",
    "timestamp",
    "source",
    "message",
    "cause",
    "action",
    "observation",
    "tool_call_metadata",
    "llm_metrics",
    "content",
)


def add_events(t: Trace, events: list[Any], pointer: str = "") -> None:
    responses: set[str] = set()
    pairs = events and all(isinstance(e, list) for e in events)
    flat = [e for pair in events for e in pair] if pairs else events
    for i, e in enumerate(flat):
        where = f"{pointer}/{i // 2}/{i % 2}" if pairs else f"{pointer}/{i}"
        if not isinstance(e, Mapping):
            t.issue("not_an_event", f"{where} is {type(e).__name__}")
        elif e.get("observation") is not None:
            _observation(t, e, where)
        else:
            _action(t, e, where, responses)


def _action(t: Trace, e: Mapping[str, Any], where: str, responses: set[str]) -> None:
    action, source = str(e.get("action")), e.get("source")
    args = e["args"] if isinstance(e.get("args"), Mapping) else {k: v for k, v in e.items() if k not in ENVELOPE}
    place: dict[str, Any] = {"ts": timestamp(e.get("timestamp")), "native_id": _id(e), "src_pointer": where}
    first = not any(s.role in ("user", "assistant") for s in t.steps)
    if action == "system":
        t.offer(args.get("tools") or None)
        t.step("system", args.get("content"), origin="harness", **place)
    elif action == "condensation":
        t.step("system", args.get("summary") or e.get("message"), kind="compaction", origin="harness", **place)
    elif action in STATES:
        t.step("environment", e.get("message"), kind="state", origin="harness", extra={"action": action}, **place)
        if action == "change_agent_state":
            _state(t, args.get("agent_state"))
    elif source == "user" or (source is None and first and action == "message"):
        t.step("user", args.get("content", e.get("content")) or e.get("message"), origin="human", **place)
    else:
        _agent(t, action, e, args, place, responses)


def _agent(
    t: Trace, action: str, e: Mapping[str, Any], args: Mapping[str, Any], place: dict[str, Any], responses: set[str]
) -> None:
    metadata = mapping(e.get("tool_call_metadata"))
    response = mapping(metadata.get("model_response"))
    if action in SPEECH:
        spoken = (args.get(k) for k in ("content", "final_thought", "thought", "reason"))
        text = next((x for x in spoken if x), None) or e.get("content") or e.get("message")
        claimed = args.get("task_completed")
        extra = {"action": action} if action != "message" else None
        seq = t.step("assistant", text, origin="model", extra=extra, **place)
        if action == "finish":
            t.end_reason, t.native_end_reason = "completed", "finish"
            if claimed is not None:
                t.metadata["claimed_completed"] = str(claimed)
    else:
        seq = t.step("assistant", args.get("thought") or None, origin="model", **place)
        written = _written(response, metadata.get("tool_call_id"))
        plain = {k: v for k, v in args.items() if k not in PLUMBING}
        name = metadata.get("function_name") or action
        t.call(seq, name, plain if written is None else written, id=metadata.get("tool_call_id") or _id(e))
    _model_call(t, seq, response, e.get("llm_metrics"), responses)


def _written(response: Mapping[str, Any], id: str | None) -> Any:
    """The arguments as the model wrote them, where the response is kept."""
    for choice in mappings(response.get("choices")):
        for call in mappings(mapping(choice.get("message")).get("tool_calls")):
            if call.get("id") == id:
                return mapping(call.get("function")).get("arguments")
    return None


def _model_call(t: Trace, seq: int, response: Mapping[str, Any], metrics: Any, responses: set[str]) -> None:
    id = as_name(response.get("id"))
    if id:
        t.steps[seq].llm_call_id = id
        for c in t.calls[-1:]:
            if c.call_seq == seq:
                c.llm_call_id = id
    if not id or id in responses:
        return
    responses.add(id)
    usage = mapping(response.get("usage"))
    t.llm(
        id,
        first_seq=seq,
        model=response.get("model"),
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        cache_read_tokens=mapping(usage.get("prompt_tokens_details")).get("cached_tokens"),
    )
    if isinstance(metrics, Mapping):
        add_metrics(t, metrics)


def add_metrics(t: Trace, metrics: Mapping[str, Any]) -> None:
    """Totals so far (they accumulate): the last ones win over the sum of the calls."""
    total = mapping(metrics.get("accumulated_token_usage"))
    if total.get("prompt_tokens") or total.get("completion_tokens"):
        t.usage_basis = "reported_total"
        t.input_tokens, t.output_tokens = total.get("prompt_tokens"), total.get("completion_tokens")
        t.cache_read_tokens, t.cache_write_tokens = total.get("cache_read_tokens"), total.get("cache_write_tokens")
    cost = metrics.get("accumulated_cost")
    if cost:
        t.cost_usd, t.cost_basis = cost, "reported"


def _observation(t: Trace, e: Mapping[str, Any], where: str) -> None:
    kind = str(e.get("observation"))
    extras = e["extras"] if isinstance(e.get("extras"), Mapping) else {k: v for k, v in e.items() if k not in ENVELOPE}
    text = flatten(e.get("content"))[0] or ""
    place: dict[str, Any] = {"ts": timestamp(e.get("timestamp")), "native_id": _id(e), "src_pointer": where}
    if kind == "agent_state_changed":
        t.step("environment", extras.get("agent_state"), kind="state", origin="harness", **place)
        _state(t, extras.get("agent_state"))
        return
    if kind in ("null", "recall", "user_rejected") or not t.calls:
        label = "interrupt" if kind == "user_rejected" else "error" if kind == "error" else "state"
        if kind != "null":
            told = [str(k["content"]) for k in mappings(extras.get("microagent_knowledge")) if k.get("content")]
            text = "\n\n".join(filter(None, (text, extras.get("repo_instructions"), *told)))
            t.step("environment", text or e.get("message"), kind=label, origin="harness", **place)
        return
    metadata = mapping(e.get("tool_call_metadata"))
    id = metadata.get("tool_call_id") or (str(e["cause"]) if e.get("cause") is not None else None)
    if kind == "error" and not any(c.result_seq is None for c in t.calls):
        t.step("environment", text, kind="error", origin="harness", is_error=True, **place)
        return
    code = mapping(extras.get("metadata")).get("exit_code", extras.get("exit_code"))
    flagged = kind == "error" or bool(extras.get("error"))
    status = "error" if flagged else "unknown" if code == -1 else None
    known = id is not None and any(c.native_id == id for c in t.calls)
    t.result(
        text,
        id=id if known else None,
        status=status,
        error_basis="flag" if flagged else None,
        exit_code=code,
        **place,
    )


def _id(e: Mapping[str, Any]) -> str | None:
    return None if e.get("id") is None else str(e["id"])


def _state(t: Trace, state: Any) -> None:
    """The last state of the agent is how the run ended."""
    if isinstance(state, str):
        t.end_reason, t.native_end_reason = ENDS.get(state, "unknown"), state
