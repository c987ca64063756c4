"""Events of the OpenHands V1 SDK (read by `openhands`): one JSON object an event, its type in `kind`.

    {"id": "e1", "timestamp": "2026-02-05T11:24:47", "source": "agent", "thought": [{"type": "text", "text": "Run it."}],
     "action": {"command": "pytest", "kind": "TerminalAction"}, "tool_name": "terminal", "tool_call_id": "c1", "tool_call":
     {"id": "c1", "name": "terminal", "arguments": "{…}"}, "llm_response_id": "r1", "kind": "ActionEvent"}
    {"id": "e2", "source": "environment", "tool_call_id": "c1", "observation": {"content": [{"type": "text", "text": "1 failed"}],
     "is_error": false, "exit_code": 1}, "action_id": "e1", "kind": "ObservationEvent"}

Events are a tree where they carry `parent_id`: what lies not between the root and the leaf is kept, off the path.
Errors: `is_error`, then the exit code (-1: still running, status unknown); AgentErrorEvent answers its call with an error;
a UserRejectObservation with status denied. Condensation opens a new segment. Usage stands only in base_state.json.
Dropped: tool definitions, token ids, completion logs (their files are read as chats of their own).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from insights.corpus.formats.chat import flatten, timestamp
from insights.corpus.parse import mapping, mappings, number, sequence
from insights.corpus.trace import Trace, as_name

ROOT = "__root__"
STATE_KINDS = ("ConversationStateUpdateEvent", "TokenEvent", "CondensationRequest", "LLMCompletionLogEvent")
ENDS = {
    "finished": "completed",
    "error": "error",
    "stuck": "error",
    "running": "still_running",
    "waiting_for_confirmation": "still_running",
    "paused": "user_abort",
}


def is_event(value: Any) -> bool:
    kind = value.get("kind") if isinstance(value, Mapping) else None
    return isinstance(kind, str) and (kind.endswith(("Event", "Observation")) or kind.startswith("Condensation"))


def add_events(t: Trace, events: list[Any], pointer: str = "", leaf: str | None = None) -> None:
    seqs: dict[str, int] = {}
    for i, e in enumerate(events):
        where = f"{pointer}/{i}"
        if not isinstance(e, Mapping):
            t.issue("not_an_event", f"{where} is {type(e).__name__}")
            continue
        start = len(t.steps)
        _event(t, e, where)
        for s in t.steps[start:]:
            s.native_id, s.ts = as_name(e.get("id")), timestamp(e.get("timestamp"))
            s.parent_seq = seqs.get(as_name(e.get("parent_id")) or "")
            seqs[s.native_id or ""] = s.seq
    _mark_path(t, as_name(leaf), seqs)


def _mark_path(t: Trace, leaf: str | None, seqs: Mapping[str, int]) -> None:
    """Steps that are no ancestors of the leaf are off the path; without parents or a leaf all are on it."""
    if leaf is None or leaf not in seqs or not any(s.parent_seq is not None for s in t.steps):
        return
    path: set[int] = set()
    at: int | None = seqs[leaf]
    while at is not None and at not in path:
        path.add(at)
        at = t.steps[at].parent_seq
    for s in t.steps:
        s.on_path = s.seq in path


def _event(t: Trace, e: Mapping[str, Any], where: str) -> None:
    kind = str(e.get("kind"))
    if kind == "MessageEvent":
        _message(t, e, where)
    elif kind == "ActionEvent":
        _action(t, e, where)
    elif kind in ("ObservationEvent", "AgentErrorEvent", "UserRejectObservation"):
        _result(t, kind, e, where)
    elif kind in ("SystemPromptEvent", "SystemPromptUpdateEvent"):
        extra = {"reason": e["reason"]} if e.get("reason") else None
        t.step("system", flatten(e.get("system_prompt"))[0], origin="harness", src_pointer=where, extra=extra)
    elif kind in ("Condensation", "CondensationSummaryEvent"):
        extra = {"forgotten": len(sequence(e.get("forgotten_event_ids")))}
        t.step("system", e.get("summary"), kind="compaction", origin="harness", src_pointer=where, extra=extra)
    elif kind == "PauseEvent":
        t.step("user", None, kind="interrupt", origin="human", src_pointer=where)
    elif kind == "ConversationErrorEvent":
        t.step("environment", e.get("detail"), kind="error", origin="harness", is_error=True, src_pointer=where)
        t.error_type, t.error_message = e.get("code"), str(e.get("detail") or "")[:2000]
    else:
        if kind not in STATE_KINDS:
            t.issue("unknown_event", f"{where} is a {kind}", severity="info")
        t.step("environment", None, kind="state", origin="harness", src_pointer=where, extra={"kind": kind})


def _message(t: Trace, e: Mapping[str, Any], where: str) -> None:
    m = mapping(e.get("llm_message"))
    role = m.get("role") or ("user" if e.get("source") == "user" else "assistant")
    text, parts, _ = flatten(m.get("content"))
    origin = "human" if e.get("source") == "user" else "model" if role == "assistant" else "harness"
    t.step(role, text, origin=origin, parts=parts, src_pointer=where, llm_call_id=as_name(e.get("llm_response_id")))
    t.steps[-1].reasoning = _thinking({**e, **m})


def _thinking(e: Mapping[str, Any]) -> str | None:
    blocks = [b.get("thinking") for b in mappings(e.get("thinking_blocks"))]
    return e.get("reasoning_content") or "\n".join(str(b) for b in blocks if b) or None


def _action(t: Trace, e: Mapping[str, Any], where: str) -> None:
    action, call = mapping(e.get("action")), mapping(e.get("tool_call"))
    seq = t.step(
        "assistant",
        flatten(e.get("thought"))[0] or None,
        origin="model",
        reasoning=_thinking(e),
        llm_call_id=as_name(e.get("llm_response_id")),
        src_pointer=where,
    )
    written = call.get("arguments")
    t.call(
        seq,
        e.get("tool_name") or call.get("name"),
        {k: v for k, v in action.items() if k != "kind"} if written is None else written,
        id=e.get("tool_call_id"),
        extra={k: e[k] for k in ("security_risk", "summary") if e.get(k)} or None,
    )
    if e.get("tool_name") == "finish" and action.get("message"):
        t.final_output = action["message"]


def _result(t: Trace, kind: str, e: Mapping[str, Any], where: str) -> None:
    seen = mapping(e.get("observation"))
    code = seen.get("exit_code", mapping(seen.get("metadata")).get("exit_code"))
    text, parts, _ = flatten(seen.get("content"))
    if kind == "AgentErrorEvent":
        text, status, basis = e.get("error"), "error", "flag"
    elif kind == "UserRejectObservation":
        text, status, basis = e.get("rejection_reason"), "denied", None
    elif seen.get("is_error"):
        status, basis = "error", "flag"
    elif code not in (None, 0, -1):
        status, basis = "error", "exit_code"
    else:
        status, basis = "unknown" if code == -1 else "ok", None
    t.result(
        text,
        id=e.get("tool_call_id"),
        name=e.get("tool_name"),
        status=status,
        error_basis=basis,
        exit_code=code,
        parts=parts,
        src_pointer=where,
    )


def add_state(t: Trace, state: Mapping[str, Any]) -> None:
    """Model, end and usage out of base_state.json."""
    agent = mapping(state.get("agent"))
    t.model, t.agent = mapping(agent.get("llm")).get("model"), agent.get("kind")
    t.native_end_reason = state.get("execution_status")
    t.end_reason = ENDS.get(str(t.native_end_reason), "unknown")
    if t.native_end_reason == "stuck":
        t.error_type = "stuck"
    if state.get("max_iterations") is not None:
        t.metadata["max_iterations"] = state["max_iterations"]
    first: dict[str, int] = {}
    for s in t.steps:
        if s.llm_call_id:
            first.setdefault(s.llm_call_id, s.seq)
    used: set[str] = set()
    cost = 0.0
    for name, metrics in mapping(mapping(state.get("stats")).get("usage_to_metrics")).items():
        metrics = mapping(metrics)
        cost += number(metrics.get("accumulated_cost")) or 0.0
        spent, usages = mappings(metrics.get("costs")), mappings(metrics.get("token_usages"))
        for i, usage in enumerate(usages):
            id = as_name(usage.get("response_id")) or ""
            t.llm(
                id if id and id not in used else None,
                first_seq=first.get(id),
                agent=str(name),
                model=usage.get("model"),
                input_tokens=usage.get("prompt_tokens"),
                output_tokens=usage.get("completion_tokens"),
                cache_read_tokens=usage.get("cache_read_tokens"),
                cache_write_tokens=usage.get("cache_write_tokens"),
                reasoning_tokens=usage.get("reasoning_tokens"),
                cost_usd=spent[i].get("cost") if len(spent) == len(usages) else None,
            )
            used.add(id)
    if state.get("stats"):
        t.cost_usd, t.cost_basis = cost, "reported"
