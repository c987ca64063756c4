"""The lines of one Codex session to steps, calls and model calls: items by their content, events by what only they tell."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from typing import Any

from insights.corpus.formats.response_items import Items
from insights.corpus.parse import mapping, number
from insights.corpus.source import Record
from insights.corpus.trace import Trace

HARNESS = re.compile(
    r"\s*(?:<(?:environment_context|user_instructions|ENVIRONMENT_CONTEXT|permissions|turn_aborted|user_shell_command|"
    r"subagent_notification|skill|apps_instructions|collaboration_mode|personality|model_switch|realtime_conversation)\b|"
    r"# AGENTS\.md instructions|# Instructions\b|Warning: (?:The maximum|apply_patch))"
)
ABORTED = re.compile(r"\s*<turn_aborted>")
SPAWNED = re.compile(r'\s*\{\s*"agent_id"\s*:\s*"([^"]+)"')
INPUTS = {"input_tokens": "input_tokens", "cache_read_tokens": "cached_input_tokens", "cache_write_tokens": "cache_write_input_tokens",
          "output_tokens": "output_tokens", "reasoning_tokens": "reasoning_output_tokens"}  # fmt: skip


class Rollout(Items):
    """`by_events`: the file has no items, so messages and calls are taken from its events."""

    def __init__(self, trace: Trace, *, by_events: bool) -> None:
        super().__init__(trace)
        self.by_events = by_events
        self.dropped: Counter[str] = Counter()
        self.settings: dict[str, Any] = {}
        self.copied = False
        self._since = len(trace.steps)  # first step of the model call that is still open
        self._total: Any = None
        self._ends: dict[str, dict[str, Any]] = {}  # call id -> what its end event said
        self._ended = ""
        self._active = 0.0
        self._compacted = False

    def at(self, stamp: datetime | None, record: Record, *, copied: bool) -> None:
        """Where and when the next line is."""
        if self.copied and not copied:
            self.close()
            self._since = len(self.trace.steps)
        self.copied = copied
        self.here = {"ts": stamp, "src_offset": record.offset, "src_len": record.length}
        if record.pointer:
            self.here["src_pointer"] = record.pointer
        if copied:
            self.here["origin"] = "copied"

    def origin(self, role: str, text: str) -> str:
        if role == "user" and self.trace.relation == "subagent" and not HARNESS.match(text):
            return "model"  # the parent agent wrote the prompt
        if role == "user" and HARNESS.match(text):
            return "harness"
        return super().origin(role, text)

    def line(self, kind: str, payload: dict[str, Any]) -> None:
        if kind == "response_item":
            self._item(payload)
        elif kind == "event_msg":
            self._event(str(payload.get("type")), payload)
        elif kind == "turn_context":
            self._context(payload)
        elif kind == "compacted":
            self._compaction(payload)
        elif kind != "session_meta":
            self.dropped[kind] += 1

    def bare(self, value: dict[str, Any]) -> None:
        """Lines of versions before payloads: items, or messages with a time."""
        if isinstance(value.get("model"), str):
            self.settings["model"] = value["model"]
        kind = value.get("type")
        if kind == "error":
            self._error(value)
        elif kind in (None, "message") and "prompt" in value and "role" not in value:
            self.say("user", str(value["prompt"]))
        elif value.get("record_type") or not self.item(value):
            self.dropped[str(kind or value.get("record_type"))] += 1
        elif value.get("role") == "user":
            self._ended = ""

    def _item(self, payload: dict[str, Any]) -> None:
        kind = payload.get("type")
        if kind == "ghost_snapshot" or not self.item(payload):
            self.dropped[f"response_item {kind}"] += 1
            return
        if payload.get("role") == "user" and self.trace.steps and self.trace.steps[-1].origin != "harness":
            self._ended = ""
        elif ABORTED.match(self.trace.steps[-1].text or "") if self.trace.steps else False:
            self._interrupt("aborted", told=True)
        for call in self.trace.calls[-20:] if self._ends else ():
            if call.result_seq is not None and call.native_id in self._ends:
                self._apply(call, self._ends.pop(call.native_id))

    def result(self, text: str | None, id: Any, *args: Any, **columns: Any) -> int:
        seq = super().result(text, id, *args, **columns)
        call = next((c for c in reversed(self.trace.calls) if c.result_seq == seq), None)
        found = SPAWNED.match(text or "") if call is not None and call.name == "spawn_agent" else None
        if call is not None and found:
            call.child_trace_id = f"codex_cli:{found[1]}"
        return seq

    def _context(self, payload: dict[str, Any]) -> None:
        for key in ("model", "effort", "approval_policy"):
            if isinstance(payload.get(key), str):
                self.settings[key] = payload[key]
        sandbox = mapping(payload.get("sandbox_policy"))
        mode = sandbox.get("mode") or sandbox.get("type")
        if isinstance(mode, str):
            self.settings["sandbox"] = mode
        if isinstance(payload.get("cwd"), str):
            self.trace.metadata.setdefault("cwd", payload["cwd"])

    def _compaction(self, payload: dict[str, Any]) -> None:
        self.close()
        replaced = payload.get("replacement_history")
        extra = {"replacement_items": len(replaced)} if isinstance(replaced, list) else None
        last = self.trace.steps[-1] if self.trace.steps else None
        if last is not None and last.kind == "compaction" and not last.text:  # told by its event already
            last.text, last.extra = payload.get("message"), extra
            return
        columns = {"origin": "harness", **self.here}
        self.trace.step("system", payload.get("message"), kind="compaction", extra=extra, **columns)
        self._compacted = True

    def _event(self, kind: str, payload: dict[str, Any]) -> None:
        kind = kind.removeprefix("codex/event/").replace("turn.", "turn_")
        if kind in ("user_message", "agent_message", "agent_reasoning", "agent_reasoning_raw_content"):
            self._told(kind, payload)
        elif kind == "token_count":
            self._usage(payload)
        elif kind in ("task_complete", "turn_complete", "turn_completed"):
            self._turn_end(payload)
        elif kind == "turn_aborted":
            self._interrupt(str(payload.get("reason") or "interrupted"))
        elif kind in ("error", "stream_error", "turn_failed"):
            self._error(payload, retried=kind == "stream_error")
        elif kind.endswith("_begin") and self.by_events and isinstance(payload.get("call_id"), str):
            self._begin(kind, payload)
        elif kind.endswith(("_end", "_response")) and isinstance(payload.get("call_id"), str):
            self._call_end(kind, payload)
        elif kind == "guardian_assessment" and payload.get("status") in ("denied", "rejected"):
            self._ends.setdefault(str(payload.get("target_item_id")), {})["denied"] = True
        elif kind == "context_compacted":
            if not self._compacted:
                self._compaction({})
            self._compacted = False
        elif kind == "thread_rolled_back":
            self._roll_back(payload.get("num_turns"))
        elif kind in ("entered_review_mode", "exited_review_mode"):
            text = payload.get("user_facing_hint") or mapping(payload.get("review_output")).get("overall_explanation")
            self.trace.step("system", text, kind="state", extra={"event": kind}, **{"origin": "harness", **self.here})
        elif kind == "thread_name_updated":
            self.trace.metadata["title"] = payload.get("thread_name")
        else:
            self.dropped[f"event {kind}"] += 1

    def _told(self, kind: str, payload: dict[str, Any]) -> None:
        text = payload.get("message") or payload.get("text")
        if kind.startswith("agent_reasoning"):
            self.think(text if isinstance(text, str) else None)
        elif self.by_events and kind == "user_message":
            self.close()
            self.say("user", text)
            self._ended = ""
        elif self.by_events:
            self._assistant(text if isinstance(text, str) else None)

    def _usage(self, payload: dict[str, Any]) -> None:
        info = mapping(payload.get("info")) or (payload if "input_tokens" in payload else {})
        last, total = mapping(info.get("last_token_usage")), info.get("total_token_usage")
        if not last and "input_tokens" in info:
            last = info
        if not last and "prompt" in info:  # before 0.51
            last = {"input_tokens": info["prompt"], "output_tokens": info.get("completion")}
        if not last or (total is not None and total == self._total):
            return
        self._total = total if total is not None else self._total
        self._model_call({column: last.get(key) for column, key in INPUTS.items()})

    def _model_call(self, usage: dict[str, Any]) -> None:
        self.close()
        t = self.trace
        mine = [s for s in t.steps[self._since :] if s.role == "assistant" and s.kind == "message"]
        if not self.copied:
            name = t.llm(
                first_seq=mine[0].seq if mine else None,
                model=self.settings.get("model"),
                provider=t.provider,
                ended_at=mine[-1].ts if mine else self.here.get("ts"),
                started_at=t.steps[mine[0].seq - 1].ts if mine and mine[0].seq else None,
                status="ok",
                **usage,
            )
            for step in mine:
                step.llm_call_id = name
            for call in reversed(t.calls):
                if call.call_seq is None or call.call_seq < self._since:
                    break
                call.llm_call_id = name
        self._since = len(t.steps)

    def _turn_end(self, payload: dict[str, Any]) -> None:
        self.close()
        usage = payload.get("usage")
        if isinstance(usage, dict) and self._total is None:
            self._model_call({column: usage.get(key) for column, key in INPUTS.items()})
        if not self.copied:
            took = payload.get("duration_ms")
            self._active += took / 1000 if isinstance(took, (int, float)) else 0
        self._ended = "turn_complete"

    def _interrupt(self, reason: str, *, told: bool = False) -> None:
        self.close()
        t = self.trace
        if told:  # the same interrupt as a message to the model
            if not any(s.kind == "interrupt" for s in t.steps[-4:]):
                t.steps[-1].kind = "interrupt"
                t.steps[-1].origin = self.here.get("origin", "human")
            self._ended = "interrupted"
            return
        human = reason in ("interrupted", "replaced", "aborted")
        columns = {"origin": "human" if human else "harness", **self.here}
        if not any(s.kind == "interrupt" for s in t.steps[-2:]):
            t.step("user", f"turn aborted: {reason}", kind="interrupt", extra={"reason": reason}, **columns)
        for call in t.calls:
            if call.result_seq is None and call.status is None:
                call.status, call.error_type, call.ended_at = "cancelled", reason, self.here.get("ts")
        self._ended = "interrupted" if human else reason

    def _error(self, payload: dict[str, Any], *, retried: bool = False) -> None:
        self.close()
        error = payload.get("error")
        text = payload.get("message") or payload.get("text") or mapping(error).get("message") or error
        kind = payload.get("codex_error_info") or mapping(error).get("kind")
        name = kind if isinstance(kind, str) else next(iter(kind), None) if isinstance(kind, dict) else None
        columns = {"origin": "harness", **self.here}
        self.trace.step("system", text, kind="error", is_error=True, extra={"type": name} if name else None, **columns)
        if not retried:
            self._ended = "error"
            self.trace.error_type = name or "error"

    def _begin(self, kind: str, payload: dict[str, Any]) -> None:
        held = mapping(payload.get("invocation"))
        name = held.get("tool") or {"exec_command_begin": "shell", "patch_apply_begin": "apply_patch"}.get(kind, kind)
        args = held.get("arguments") or {
            k: payload[k] for k in ("command", "changes", "query", "cwd") if payload.get(k)
        }
        self._call({"name": name, "arguments": args, "call_id": payload["call_id"]})

    def _call_end(self, kind: str, payload: dict[str, Any]) -> None:
        own = payload["call_id"]
        call = next((c for c in reversed(self.trace.calls) if c.native_id == own), None)
        if payload.get("new_thread_id") and call is not None:
            call.child_trace_id = f"codex_cli:{payload['new_thread_id']}"
        if call is not None and call.result_seq is None and self.by_events:
            outcome = payload.get("result")
            text = payload.get("aggregated_output") or payload.get("stdout") or payload.get("stderr") or outcome
            self.close()
            self.result(text if isinstance(text, str) else None if text is None else str(text), own)
        if call is not None and call.result_seq is not None:
            self._apply(call, payload)
        elif kind.startswith(("exec_command", "patch_apply", "mcp_tool_call", "dynamic_tool_call")):
            self._ends[own] = payload
        if call is None:
            self.dropped[f"event {kind}"] += 1

    def _apply(self, call: Any, end: dict[str, Any]) -> None:
        """What the end event says of a call that has its result: exit code, failure, duration."""
        took = end.get("duration")
        if isinstance(took, dict):
            call.duration_ms = (number(took.get("secs")) or 0) * 1000 + (number(took.get("nanos")) or 0) / 1e6
        code = end.get("exit_code")
        result = mapping(end.get("result"))
        failed = end.get("success") is False or "Err" in result or mapping(result.get("Ok")).get("isError") is True
        if isinstance(code, int):
            call.exit_code = code
        if end.get("denied") or end.get("status") == "declined":
            call.status, call.error_basis, call.error_type = "denied", "flag", "denied"
        elif call.status in ("ok", "error") and (isinstance(code, int) or failed):
            bad = failed or bool(code)
            call.status = "error" if bad else "ok"
            call.error_basis = None if not bad else "flag" if failed else "exit_code"
            call.error_message = (call.result_text or "")[:500] if bad else None
            self.trace.steps[call.result_seq].is_error = bad

    def _roll_back(self, turns: Any) -> None:
        self.close()
        t = self.trace
        asked = [s.seq for s in t.steps if s.role == "user" and s.origin in ("human", "model") and s.on_path]
        n = turns if isinstance(turns, int) and turns > 0 else 1
        start = asked[-n] if len(asked) >= n else 0
        for step in t.steps[start:]:
            step.on_path = False
        t.step(
            "user",
            f"rolled back {n} turn(s)",
            kind="state",
            extra={"event": "rollback"},
            **{"origin": "human", **self.here},
        )

    def finish(self, *, running: bool) -> None:
        self.close()
        t = self.trace
        for call in t.calls:
            if call.native_id in self._ends and call.result_seq is None:
                code = self._ends[call.native_id].get("exit_code")
                call.exit_code = code if isinstance(code, int) else None
        for name in ("effort", "approval_policy", "sandbox"):
            if self.settings.get(name):
                t.metadata[name] = self.settings[name]
                t.slice(name, self.settings[name])
        if self._active:
            t.metadata["active_s"] = round(self._active, 3)
        if self._total is not None and self._compacted:
            t.extra["total_token_usage"] = self._total
        t.model = t.model or self.settings.get("model")
        asked = (s.text for s in t.steps if s.role == "user" and s.origin in ("human", "model") and s.text)
        t.input_text = next(asked, None)
        t.native_end_reason = self._ended or None
        last = next((s for s in reversed(t.steps) if s.kind != "log"), None)
        if self._ended == "interrupted":
            t.end_reason = "user_abort"
        elif self._ended == "error":
            t.end_reason = "error"
            t.error_message = next((s.text for s in reversed(t.steps) if s.kind == "error"), None)
        elif self._ended == "turn_complete" or (
            last is not None and last.role == "assistant" and last.text and not last.n_tool_calls and not running
        ):
            t.end_reason = "completed"
        if t.end_reason != "error":
            t.error_type = None
