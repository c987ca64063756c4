"""From the lines of Claude Code (and those that write its skeleton) to steps, calls and model calls of one trace."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from insights.corpus.formats.anthropic_messages import anthropic_usage, block_parts
from insights.corpus.formats.chat import flatten, timestamp
from insights.corpus.formats.claude_tree import INTERRUPTED, Entry
from insights.corpus.formats.claude_words import (
    HARNESS,
    attached,
    beside,
    by_origin,
    joined,
    response_of,
    spoken,
    status_of,
    texts_of,
)
from insights.corpus.parse import mapping, mappings, number, word
from insights.corpus.trace import Trace

CLEARED = re.compile(r"\s*(?:<command-message>[^<]*</command-message>\s*)?<command-name>/?clear</command-name>")
CONTINUED = re.compile(r"\s*This session is being continued from a previous conversation")
REASON = re.compile(
    r"(?:the user said:|following reason for the rejection:|provided the following feedback:)\s*(.+)", re.I | re.S
)
PROVIDERS = {"claude_code": "anthropic"}
STOPPED = {
    "end_turn": "completed",
    "stop_sequence": "completed",
    "refusal": "refused",
    "max_tokens": "limit_tokens",
    "model_context_window_exceeded": "limit_tokens",
}
RESULTS = {
    "success": "completed",
    "error_max_turns": "limit_steps",
    "error_max_budget_usd": "limit_cost",
    "error_during_execution": "error",
}


class Builder:
    """Adds lines to `trace`. `children` maps a sub-agent's id, `prompts` its prompt, to the call that started it."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.children: dict[str, str] = {}
        self.prompts: dict[str, str] = {}
        self._assistant: dict[str, int] = {}  # message id -> seq
        self._llm: dict[str, dict[str, Any]] = {}
        self._before: datetime | None = None
        self._ended = ""
        self._here: dict[str, Any] = {}

    def add(self, entries: list[Entry]) -> None:
        for entry in entries:
            value = entry.value
            stamp = timestamp(value.get("timestamp"))
            self._here = {"ts": stamp, "src_offset": entry.offset, "src_len": entry.length, "on_path": entry.on_path}
            if isinstance(value.get("uuid"), str):
                self._here["native_id"] = value["uuid"]
            start = len(self.trace.steps)
            self._describe(value)
            self._line(value, entry)
            if entry.copied:
                for step in self.trace.steps[start:]:
                    step.origin = "copied"
            self._before = stamp or self._before

    def _line(self, value: dict[str, Any], entry: Entry) -> None:
        kind = value.get("type")
        message = value.get("message")
        if kind == "assistant" and isinstance(message, dict):
            self._answer(value, message, entry)
        elif kind == "user" and isinstance(message, (dict, str)):
            self._user(value, message if isinstance(message, dict) else {"content": message})
        elif kind == "system":
            self._system(value)
        elif kind == "attachment":
            self._attachment(value)
        elif kind == "tool_use":
            self.trace.call(
                self.trace.step("assistant", origin="model", **self._here), value.get("name"), value.get("input")
            )
        elif kind == "tool_result":
            self.trace.result(value.get("output", value.get("content")), name=value.get("name"), **self._here)
        elif kind not in ("user", "assistant"):
            self.trace.step("environment", None, kind="log", origin="harness", **self._here)
        else:
            self.trace.issue("no_message", f"a {kind} line without a message: {str(message)[:80]!r}")

    def _describe(self, value: dict[str, Any]) -> None:
        t = self.trace
        for key in ("cwd", "gitBranch", "version", "entrypoint", "model", "permissionMode", "output_style"):
            if isinstance(value.get(key), str) and value[key]:
                t.metadata[{"gitBranch": "git_branch", "permissionMode": "permission_mode"}.get(key, key)] = value[key]
        if isinstance(value.get("slug"), str):
            t.metadata.setdefault("slug", value["slug"])

    def _answer(self, value: dict[str, Any], message: dict[str, Any], entry: Entry) -> None:
        t = self.trace
        model = message.get("model")
        text, thought, hidden, calls, parts = block_parts(message.get("content"))
        if value.get("isApiErrorMessage") or model == "<synthetic>":
            failed = bool(value.get("isApiErrorMessage")) or str(text).startswith("API Error")
            kind = "error" if failed else "log"
            t.step("assistant", text, kind=kind, origin="harness", is_error=failed or None, **self._here)
            self._ended = "error" if failed else self._ended
            return
        own = message.get("id") if isinstance(message.get("id"), str) else None
        seq = self._assistant.get(own) if own else None
        if seq is None or t.steps[seq].on_path != entry.on_path:
            seq = t.step(
                "assistant", text, reasoning=thought, reasoning_hidden=hidden, origin="model", parts=parts, **self._here
            )
            if own:
                self._assistant[own] = seq
        else:
            self._extend(seq, text, thought, hidden, parts, entry)
        if not entry.copied:
            self._model_call(value, message, own or f"call-{seq}", seq)
        for block in calls:
            self._call(seq, block)
        self._ended = str(message.get("stop_reason") or ("" if calls else "text"))

    def _extend(
        self, seq: int, text: str | None, thought: str | None, hidden: bool | None, parts: Any, entry: Entry
    ) -> None:
        step = self.trace.steps[seq]
        step.text = joined(step.text, text)
        step.reasoning = joined(step.reasoning, thought)
        step.reasoning_hidden = step.reasoning_hidden or hidden
        if parts:
            step.parts = [*(step.parts or []), *(p for p in parts if p not in (step.parts or []))] or None
        if entry.offset is not None and step.src_offset is not None and entry.length is not None:
            if 0 <= entry.offset - (step.src_offset + (step.src_len or 0)) <= 2:
                step.src_len = entry.offset + entry.length - step.src_offset
            else:
                step.extra = {**(step.extra or {}), "also_at": [*(step.extra or {}).get("also_at", []), entry.offset]}

    def _call(self, seq: int, block: dict[str, Any]) -> None:
        t = self.trace
        own = block.get("id") if isinstance(block.get("id"), str) else None
        if own and any(c.native_id == own for c in t.calls[-40:]):
            return
        provider = block.get("type") in ("server_tool_use", "mcp_tool_use")
        key = t.call(seq, block.get("name"), block.get("input"), id=own, started_at=self._here["ts"])
        if provider:
            t.calls[-1].requestor = "provider"
        prompt = (block.get("input") or {}).get("prompt") if isinstance(block.get("input"), dict) else None
        if isinstance(prompt, str):
            self.prompts[prompt.strip()] = key

    def _model_call(self, value: dict[str, Any], message: dict[str, Any], own: str, seq: int) -> None:
        usage = anthropic_usage(message.get("usage"))
        known = self._llm.get(own)
        if known is None:
            name = self.trace.llm(
                own, first_seq=seq, started_at=self._before, provider=PROVIDERS.get(self.trace.format), status="ok"
            )
            known = self._llm[own] = self.trace.llm_calls[-1]
            self.trace.steps[seq].llm_call_id = name
        elif self.trace.steps[seq].llm_call_id is None:
            self.trace.steps[seq].llm_call_id = own
        for key, n in usage.items():
            if n is not None:
                known[key] = max(n, known.get(key) or 0)
        known["model"] = word(message.get("model")) or known.get("model")
        known["native_finish_reason"] = known["finish_reason"] = message.get("stop_reason") or known.get(
            "finish_reason"
        )
        known["ended_at"] = self._here["ts"] or known.get("ended_at")
        if value.get("requestId"):
            known["extra"] = {"request_id": value["requestId"]}

    def _user(self, value: dict[str, Any], message: dict[str, Any]) -> None:
        content = message.get("content")
        if content is None:
            self.trace.step("user", None, kind="log", origin="unknown", extra={"line": _short(value)}, **self._here)
            self.trace.issue(
                "no_content", f"a user line without content: {sorted(message)}", seq=len(self.trace.steps) - 1
            )
            return
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        spoken: list[Any] = []
        for block in blocks:
            if isinstance(block, dict) and str(block.get("type", "")).endswith("tool_result"):
                self._result(value, block)
            elif block != "" and block is not None:
                spoken.append(block)
        for origin, group in by_origin(spoken, value):
            if origin == "human" and self.trace.relation == "subagent":
                origin = "model"  # the parent agent wrote the prompt
            text, parts, _ = flatten(group)
            if text is not None or parts:
                self._say(text, origin, parts, value)

    def _say(self, text: str | None, origin: str, parts: Any, value: dict[str, Any]) -> None:
        t = self.trace
        said = text or ""
        if INTERRUPTED.match(said):
            t.step("user", text, kind="interrupt", origin="human", **self._here)
            self._ended = "interrupt"
            return
        if value.get("isCompactSummary") or CONTINUED.match(said):
            before = t.steps[-1] if t.steps else None
            kind = "message" if before is not None and before.kind == "compaction" else "compaction"
            t.step("user", text, kind=kind, origin="harness", **self._here)
            return
        if CLEARED.match(said):
            t.step("user", text, kind="state", origin="harness", extra={"event": "clear"}, **self._here)
            t.next_segment()
            return
        t.step("user", text, origin=origin, parts=parts, **self._here)
        self._ended = "" if origin == "human" else self._ended

    def _result(self, value: dict[str, Any], block: dict[str, Any]) -> None:
        t = self.trace
        text, parts, _ = flatten(block.get("content"))
        if text is None and isinstance(block.get("text"), str):
            text = block["text"]
        if text is None and parts:
            text, parts = response_of(block.get("content"), parts)
        told = mapping(value.get("toolUseResult"))
        own = block.get("tool_use_id") if isinstance(block.get("tool_use_id"), str) else None
        status, basis, code = status_of(text or "", block, told, value)
        seq = t.result(text, id=own, status=status, error_basis=basis, exit_code=code, parts=parts, **self._here)
        call = next((c for c in reversed(t.calls) if c.result_seq == seq), None)
        if call is None:
            more = beside(value.get("toolUseResult"), text or "", t.blobs)
            t.steps[seq].extra = {"toolUseResult": more} if more is not None else None
            return
        call.result = beside(value.get("toolUseResult"), texts_of([text, call.args]), t.blobs)
        call.ended_at = self._here["ts"]
        took = told.get("totalDurationMs", told.get("durationMs"))
        if isinstance(took, (int, float)):
            call.duration_ms = float(took)
        elif call.started_at and call.ended_at:
            call.duration_ms = (call.ended_at - call.started_at).total_seconds() * 1000
        if status in ("denied", "cancelled"):
            call.error_type = str(value.get("toolDenialKind") or "")[:80] or status
            said = REASON.search(text or "")
            if said:
                t.annotate("feedback", "tool_use_rejected", seq=seq, tool_call_key=call.tool_call_key,
                           explanation=said[1].strip()[:4000], annotator="user", basis="human")  # fmt: skip
        agent = told.get("agentId")
        if isinstance(agent, str):
            self.children[agent] = call.tool_call_key
            call.child_trace_id = f"claude_code:{t.session_id}/{agent}"

    def _system(self, value: dict[str, Any]) -> None:
        t, kind = self.trace, value.get("subtype")
        text = value.get("content") if isinstance(value.get("content"), str) else None
        if kind in ("compact_boundary", "microcompact_boundary"):
            extra = {k: value[k] for k in ("compactMetadata", "microcompactMetadata", "trigger") if value.get(k)}
            step = "compaction" if kind == "compact_boundary" else "log"
            t.step("system", text, kind=step, origin="harness", extra=extra or None, **self._here)
        elif kind in ("api_error", "error", "api_refusal", "model_refusal_fallback"):
            self._api_error(value, kind, text)
        elif kind == "turn_duration" and isinstance(value.get("durationMs"), (int, float)):
            t.metadata["active_s"] = round(t.metadata.get("active_s", 0) + value["durationMs"] / 1000, 3)
        elif kind == "init":
            t.extra["tools"] = value.get("tools")
        else:
            t.step("system", text, kind="log", origin="harness", extra={"subtype": kind}, **self._here)

    def _api_error(self, value: dict[str, Any], kind: str, text: str | None) -> None:
        t = self.trace
        error = mapping(value.get("error"))
        texts = (text or error.get("formatted") or error.get("message"), value.get("apiRefusalExplanation"))
        said = "\n".join(str(x) for x in texts if x) or kind
        status = error.get("status") or error.get("type")
        seq = t.step("system", said, kind="error", origin="harness", is_error=True,
                     extra={"subtype": kind, "status": status}, **self._here)  # fmt: skip
        t.llm(f"error-{seq}", first_seq=seq, started_at=self._before, ended_at=self._here["ts"], provider=PROVIDERS.get(self.trace.format),
              status="error", error_type=str(status or kind), error_message=str(said)[:500],
              attempt=value.get("retryAttempt") if isinstance(value.get("retryAttempt"), int) else None)  # fmt: skip
        self._ended = "refusal" if "refusal" in kind else "error"

    def _attachment(self, value: dict[str, Any]) -> None:
        held = mapping(value.get("attachment"))
        kind = str(held.get("type"))
        if kind == "queued_command":
            text, parts, _ = flatten(held.get("prompt"))
            person = held.get("commandMode") in (None, "prompt") and not held.get("isMeta") and not value.get("isMeta")
            origin = "human" if person and not HARNESS.match(text or "") and spoken(held) else "harness"
            self._say(text, origin, parts, {})
            return
        text = attached(held)
        failed = kind in ("hook_blocking_error", "hook_non_blocking_error", "hook_error_during_execution")
        self.trace.step("environment", text, kind="error" if failed else "log", origin="harness",
                        is_error=failed or None, extra={"attachment": kind}, **self._here)  # fmt: skip

    def close(self, *, running: bool = False) -> None:
        """Fill what the whole conversation says: agent, version, slices, how it ended."""
        t, said = self.trace, self.trace.metadata
        brand = t.format.replace("_", "-")
        t.agent = t.agent or brand
        t.agent_version = said.get("version")
        t.framework, t.provider = brand, PROVIDERS.get(t.format)
        t.input_text = next(
            (s.text for s in t.steps if s.role == "user" and s.origin in ("human", "model") and s.text), None
        )
        t.slice("project", PurePosixPath(str(said.get("cwd", "")).replace("\\", "/")).name or None)
        t.slice("git_branch", said.get("git_branch"))
        t.slice("version", said.get("version"))
        t.slice("permission_mode", said.get("permission_mode"))
        t.slice("entrypoint", said.get("entrypoint"))
        if t.relation == "subagent":
            t.slice("agent", t.agent, "column")
        t.native_end_reason = self._ended or None
        pending = any(c.result_seq is None for c in t.calls)
        if self._ended == "interrupt":
            t.end_reason = "user_abort"
        elif running:
            t.end_reason = "still_running"
        elif self._ended in ("error", "refusal"):
            t.end_reason = "error" if self._ended == "error" else "refused"
        elif not pending:
            t.end_reason = "completed" if self._ended == "text" else STOPPED.get(self._ended, "unknown")
        if t.end_reason == "error":
            t.error_message = next((s.text for s in reversed(t.steps) if s.kind == "error"), None)
            t.error_type = "api_error"

    def report(self, results: list[dict[str, Any]]) -> None:
        """Take over what the result lines of stream-json report; the last one speaks for the run."""
        t, last = self.trace, results[-1]
        cost = last.get("total_cost_usd")
        if isinstance(cost, (int, float)):
            t.cost_usd, t.cost_basis = float(cost), "reported"
        t.native_end_reason = str(last.get("subtype"))
        failed = last.get("is_error") and last.get("subtype") == "success"
        t.end_reason = "error" if failed else RESULTS.get(str(last.get("subtype")), "unknown")
        if isinstance(last.get("duration_ms"), (int, float)):
            t.duration_s = sum(number(r.get("duration_ms")) or 0 for r in results) / 1000
        usage = anthropic_usage(last.get("usage"))
        if len(results) == 1 and usage.get("output_tokens") is not None:
            t.usage_basis = "reported_total"
            for key, n in usage.items():
                setattr(t, key, n)
        if isinstance(last.get("result"), str):
            t.final_output = last["result"]
        t.metadata["num_turns"] = sum(number(r.get("num_turns")) or 0 for r in results)
        t.extra["model_usage"] = last.get("modelUsage")
        denied = {str(d.get("tool_use_id")) for r in results for d in mappings(r.get("permission_denials"))}
        for call in t.calls:
            if call.native_id in denied:
                call.status, call.error_basis = "denied", "flag"


def _short(value: dict[str, Any]) -> dict[str, Any]:
    return {k: str(v)[:300] for k, v in value.items()}
