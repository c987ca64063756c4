"""One OpenCode session to a trace: its messages and parts, wherever they were stored."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from insights.corpus.formats.chat import timestamp
from insights.corpus.parse import mapping
from insights.corpus.trace import Trace, as_text

DENIED = re.compile(
    r"(?:The )?user (?:rejected|has specified a rule which prevents)|permission (?:was )?(?:rejected|denied)", re.I
)
Message = tuple[dict[str, Any], list[dict[str, Any]], str | None]  # info, parts, where it stands


def trace_of(info: dict[str, Any], messages: list[Message]) -> Trace:
    own = str(info.get("id") or "session")
    t = Trace("opencode", own, session_id=own, framework="opencode", agent_version=info.get("version"))
    if info.get("parentID"):
        t.relation = "subagent"
        t.parent_trace_id = t.root_trace_id = f"opencode:{info['parentID']}"
    reverted = mapping(info.get("revert")).get("messageID")
    on_path = True
    for message, parts, where in messages:
        on_path = on_path and message.get("id") != reverted
        add = _user if message.get("role") == "user" else _assistant
        add(t, message, [p for p in parts if isinstance(p, dict)], {"src_pointer": where, "on_path": on_path})
    _describe(t, info, messages)
    return t


def _describe(t: Trace, info: dict[str, Any], messages: list[Message]) -> None:
    infos = [m for m, _, _ in messages]
    t.agent = next((str(m["agent"]) for m in infos if isinstance(m.get("agent"), str)), "opencode")
    t.provider = next((c["provider"] for c in t.llm_calls if c.get("provider")), None)
    t.started_at = timestamp(mapping(info.get("time")).get("created"))
    t.time_basis = "epoch_ms" if t.started_at else None
    t.metadata = {k: info[k] for k in ("title", "directory", "slug", "projectID") if isinstance(info.get(k), str)}
    t.slice("project", PurePosixPath(str(info.get("directory") or "").replace("\\", "/")).name or None)
    t.slice("version", info.get("version"))
    t.slice("agent", t.agent, "column")
    last = next((s for s in reversed(t.steps) if s.kind != "log" and s.on_path), None)
    if last is not None and last.kind == "interrupt":
        t.end_reason = "user_abort"
    elif last is not None and last.kind == "error":
        t.end_reason, t.error_message, t.error_type = "error", last.text, mapping(last.extra).get("name")
    elif last is not None and last.role == "assistant" and not any(c.result_seq is None for c in t.calls):
        t.end_reason = "completed"
    t.native_end_reason = next((m["finish"] for m in reversed(infos) if isinstance(m.get("finish"), str)), None)


def _user(t: Trace, info: dict[str, Any], parts: list[dict[str, Any]], where: dict[str, Any]) -> None:
    stamp = timestamp(mapping(info.get("time")).get("created"))
    human = "model" if t.relation == "subagent" else "human"
    rest = [p for p in parts if p.get("type") in ("file", "agent", "subtask")] or None
    said = False
    for part in parts:
        if part.get("type") == "text":
            origin = "harness" if part.get("synthetic") or part.get("ignored") else human
            t.step("user", part.get("text"), origin=origin, ts=stamp, parts=rest, native_id=info.get("id"), **where)
            rest, said = None, True
        elif part.get("type") == "compaction":
            _compaction(t, part, stamp, where)
    if not said and (rest or not parts):
        body = mapping(info.get("summary")).get("body")
        t.step("user", body, origin=human, ts=stamp, parts=rest, native_id=info.get("id"), **where)


def _compaction(t: Trace, part: dict[str, Any], stamp: Any, where: dict[str, Any]) -> None:
    extra = {k: part[k] for k in ("auto", "overflow") if k in part}
    t.step("system", None, kind="compaction", origin="harness", ts=stamp, extra=extra or None, **where)


def _assistant(t: Trace, info: dict[str, Any], parts: list[dict[str, Any]], where: dict[str, Any]) -> None:
    time = mapping(info.get("time"))
    stamp, ended = timestamp(time.get("created")), timestamp(time.get("completed"))
    who = info.get("agent") if isinstance(info.get("agent"), str) else info.get("mode")
    columns = {"origin": "model", "agent": who, "native_id": info.get("id"), **where}
    finishes = [p for p in parts if p.get("type") == "step-finish"]
    per_step = len(finishes) > 1  # earlier versions put several model calls into one message
    seq = -1
    for part in parts:
        kind, text = part.get("type"), part.get("text")
        began = timestamp(mapping(part.get("time")).get("start")) or stamp
        if kind == "text" and part.get("synthetic"):
            t.step("user", text, origin="harness", ts=began, **where)
        elif kind in ("text", "reasoning", "tool", "file"):
            if seq < 0 or (kind != "tool" and t.steps[seq].n_tool_calls):
                first = seq < 0
                seq = t.step("assistant", None, ts=stamp if first else began, **columns)
                if first and not per_step:
                    _model_call(t, info, parts, seq, stamp, ended)
            _into(t, seq, part, began, where)
        elif kind == "step-finish" and per_step and seq >= 0:
            told = {"tokens": part.get("tokens"), "cost": part.get("cost"), "finish": part.get("reason")}
            _model_call(t, {**info, **told}, [part], seq, t.steps[seq].ts, None)
            seq = -1
        elif kind == "compaction":
            _compaction(t, part, stamp, where)
        elif kind == "patch":
            t.step("environment", as_text(part.get("files")), kind="log", origin="harness", ts=began, **where)
        elif kind == "retry":
            _error(t, mapping(part.get("error")), began, where)
    if not any(p.get("type") in ("text", "tool", "reasoning", "file") for p in parts):
        seq = t.step("assistant", None, ts=stamp, **columns)
        _model_call(t, info, parts, seq, stamp, ended)
    if info.get("error"):
        _error(t, mapping(info["error"]), ended or stamp, where)


def _into(t: Trace, seq: int, part: dict[str, Any], began: Any, where: dict[str, Any]) -> None:
    """Put a part into the assistant step it belongs to."""
    step, text = t.steps[seq], as_text(part.get("text"))
    if part["type"] == "tool":
        _tool(t, seq, part, began, where)
    elif part["type"] == "file":
        step.parts = [*(step.parts or []), part]
    elif part["type"] == "reasoning":
        step.reasoning = "\n\n".join(filter(None, (step.reasoning, text))) or None
    else:
        step.text = "\n\n".join(filter(None, (step.text, text))) or None


def _model_call(t: Trace, info: dict[str, Any], parts: list[dict[str, Any]], seq: int, stamp: Any, ended: Any) -> None:
    tokens = mapping(info.get("tokens"))
    cache = mapping(tokens.get("cache"))
    n = {
        k: v
        for k, v in {**tokens, "read": cache.get("read"), "write": cache.get("write")}.items()
        if isinstance(v, (int, float))
    }
    cost = info.get("cost")
    if not isinstance(cost, (int, float)):
        finishes = [p.get("cost") for p in parts if p.get("type") == "step-finish"]
        usd = [mapping(c).get("usd", c) for c in finishes]
        cost = (
            sum(c for c in usd if isinstance(c, (int, float)))
            if any(isinstance(c, (int, float)) for c in usd)
            else None
        )
    model = mapping(info.get("model"))
    failed = mapping(info.get("error"))
    aborted = failed.get("name") == "MessageAbortedError"
    t.steps[seq].llm_call_id = t.llm(
        first_seq=seq,
        model=info.get("modelID") or model.get("modelID"),
        provider=info.get("providerID") or model.get("providerID"),
        started_at=stamp,
        ended_at=ended,
        input_tokens=n["input"] + n.get("read", 0) + n.get("write", 0) if "input" in n else None,
        cache_read_tokens=n.get("read"),
        cache_write_tokens=n.get("write"),
        output_tokens=n["output"] + n.get("reasoning", 0) if "output" in n else None,
        reasoning_tokens=n.get("reasoning"),
        cost_usd=cost,
        finish_reason=info.get("finish"),
        native_finish_reason=info.get("finish"),
        status="error" if failed and not aborted else "cancelled" if aborted else "ok",
        error_type=failed.get("name"),
    )


def _tool(t: Trace, seq: int, part: dict[str, Any], stamp: Any, where: dict[str, Any]) -> None:
    state = mapping(part.get("state"))
    time, meta = mapping(state.get("time")), mapping(state.get("metadata"))
    began, ended = timestamp(time.get("start")) or stamp, timestamp(time.get("end"))
    name = str(part.get("tool"))
    t.call(seq, name, state.get("input"), id=part.get("callID"), started_at=began)
    status = state.get("status")
    if status in ("pending", "running"):
        return
    text = as_text(state.get("error")) if status == "error" else as_text(state.get("output"))
    code = meta.get("exit") if isinstance(meta.get("exit"), int) else None
    verdict, basis = ("ok", None) if not code else ("error", "exit_code")
    if status == "error" or name == "invalid":
        verdict, basis = ("denied" if DENIED.search((text or "")[:300]) else "error"), "flag"
        if re.match(r"\s*Tool execution aborted", text or ""):
            verdict = "cancelled"
    columns: dict[str, Any] = {"ended_at": ended}
    if began and ended:
        columns["duration_ms"] = (ended - began).total_seconds() * 1000
    child = meta.get("sessionId") or meta.get("sessionID")
    if isinstance(child, str):
        columns["child_trace_id"] = f"opencode:{child}"
    t.result(text, id=part.get("callID"), status=verdict, error_basis=basis, exit_code=code,
             call_columns=columns, ts=ended or began, **where)  # fmt: skip


def _error(t: Trace, error: dict[str, Any], stamp: Any, where: dict[str, Any]) -> None:
    name = str(error.get("name") or "error")
    said = mapping(error.get("data")).get("message") or error.get("message") or name
    if name == "MessageAbortedError":
        t.step("user", said, kind="interrupt", origin="human", ts=stamp, **where)
    else:
        t.step(
            "system",
            as_text(said),
            kind="error",
            origin="harness",
            is_error=True,
            ts=stamp,
            extra={"name": name},
            **where,
        )
