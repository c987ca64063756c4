"""GitHub Copilot CLI: ~/.copilot/session-state/<id>/events.jsonl, one event a line.

    {"type": "assistant.message", "data": {"content": "", "toolRequests": [{"toolCallId": "c1", "name": "bash",
     "arguments": {"command": "ls"}}], "model": "gpt-…", "outputTokens": 12}, "id": "e7", "timestamp": "…", "parentId": "e6"}

- A tool call is told up to three times (toolRequests, tool.execution_start, tool.execution_complete): one row, by id; a
  start without a request makes the call.
- Lines with `parentToolCallId` belong to a sub-agent: a trace of its own, called by that tool call.
- Usage is reported once, at session.shutdown (`modelMetrics` or `tokenDetails`); input includes the cache there. Messages
  only give output tokens.
- `abort` is an interrupt; `session.truncation` and `session.compaction_complete` start a new segment.
Dropped and counted: hooks, turn marks, routing, usage checkpoints. Reasoning is mostly opaque.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.parse import mapping, mappings
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_text

EVENT = re.compile(r"(?:session|user|assistant|tool|hook|subagent|system|skill|permission|abort)(?:\.\w+)*$")
DENIED = re.compile(r"denied|rejected|not permitted|permission", re.I)


def _detect(head: Head) -> Confidence | None:
    lines = [v for v in head.records if isinstance(v, dict)]
    hits = [v for v in lines if isinstance(v.get("data"), dict) and EVENT.match(str(v.get("type"))) and "id" in v]
    if any(v["type"] == "session.start" and "sessionId" in v["data"] for v in hits):
        return "certain"
    return "likely" if len(hits) >= 2 and len(hits) >= len(lines) / 2 and "." in str(hits[0]["type"]) else None


@reader("copilot_cli", title="Copilot CLI sessions", rank=22, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    session = Session(source)
    for record in source.records():
        value = record.value
        if isinstance(value, dict) and isinstance(value.get("data"), dict):
            session.event(str(value.get("type")), value["data"], value, record)
        else:
            source.n_bad += 1
            source.issue("not_a_line", f"a line holds no event: {str(value)[:80]!r}", offset=record.offset)
    yield from session.finish()


class Session:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.main = Trace("copilot_cli", source.stem, agent="copilot-cli", framework="copilot-cli", provider="github")
        self.agents: dict[str, Trace] = {}
        self.dropped: Counter[str] = Counter()
        self.model: str | None = None
        self._started: dict[str, tuple[Trace, dict[str, Any], dict[str, Any]]] = {}
        self._thoughts: list[str] = []

    def event(self, kind: str, data: dict[str, Any], value: dict[str, Any], record: Record) -> None:
        where: dict[str, Any] = {
            "ts": timestamp(value.get("timestamp")),
            "src_offset": record.offset,
            "src_len": record.length,
            "native_id": value.get("id"),
        }
        parent = data.get("parentToolCallId")
        t = self._agent(parent) if isinstance(parent, str) else self.main
        if kind == "user.message":
            origin = "model" if t is not self.main or data.get("parentAgentTaskId") else "human"
            t.step("user", data.get("content"), origin=origin, parts=data.get("attachments") or None, **where)
        elif kind == "assistant.message":
            self._answer(t, data, where)
        elif kind == "assistant.reasoning" and isinstance(data.get("content"), str):
            self._thoughts.append(data["content"])
        elif kind == "tool.execution_start":
            self._start(t, data, where)
        elif kind == "tool.execution_complete":
            self._complete(t, data, where)
        elif kind in ("session.start", "session.resume"):
            self._describe(data)
        elif kind == "abort" or kind.startswith("abort."):
            t.step("user", as_text(data.get("reason")), kind="interrupt", origin="human", **where)
        elif kind in ("session.truncation", "session.compaction_complete"):
            t.step("system", data.get("summaryContent"), kind="compaction", origin="harness", extra=data, **where)
        elif kind in ("session.error", "model.call_failure") or kind.endswith((".error", ".failed")):
            t.step("system", data.get("message") or as_text(data.get("error")), kind="error", origin="harness",
                   is_error=True, extra={"type": data.get("errorType") or kind}, **where)  # fmt: skip
        elif kind in ("system.message", "system.notification"):
            t.step("system", data.get("content"), origin="harness", **where)
        else:
            self._other(kind, data, where)

    def _other(self, kind: str, data: dict[str, Any], where: dict[str, Any]) -> None:
        if kind == "subagent.started" and isinstance(data.get("toolCallId"), str):
            self._agent(data["toolCallId"]).agent = data.get("agentName")
        elif kind == "session.model_change":
            self.model = data.get("newModel")
        elif kind == "session.shutdown":
            self._shutdown(data)
        elif kind == "session.info" and data.get("message"):
            self.main.step("system", data["message"], kind="log", origin="harness", **where)
        else:
            self.dropped[kind] += 1

    def _describe(self, data: dict[str, Any]) -> None:
        t = self.main
        if isinstance(data.get("sessionId"), str):
            t.native_id, t.session_id = data["sessionId"], data["sessionId"]
            t.trace_id = f"copilot_cli:{data['sessionId']}"
        t.agent_version = data.get("copilotVersion") or t.agent_version
        self.model = data.get("selectedModel") or self.model
        held = mapping(data.get("context"))
        names = {"cwd": "cwd", "branch": "git_branch", "repository": "repository", "headCommit": "git_commit"}
        t.metadata.update({name: held[key] for key, name in names.items() if held.get(key)})
        if held.get("cwd"):
            t.slice("project", PurePosixPath(str(held["cwd"]).replace("\\", "/")).name)
        t.slice("git_branch", held.get("branch"))
        t.slice("version", t.agent_version)

    def _agent(self, call: str) -> Trace:
        if call not in self.agents:
            t = Trace(
                "copilot_cli", f"{self.main.native_id}/{call}", relation="subagent", session_id=self.main.session_id
            )
            t.parent_trace_id = t.root_trace_id = self.main.trace_id
            t.parent_tool_call_key, t.framework = call, "copilot-cli"
            self.agents[call] = t
        return self.agents[call]

    def _answer(self, t: Trace, data: dict[str, Any], where: dict[str, Any]) -> None:
        thought = data.get("reasoningText") or "\n\n".join(self._thoughts) or None
        self._thoughts.clear()
        hidden = bool(data.get("reasoningOpaque") or data.get("encryptedContent")) and not thought
        seq = t.step("assistant", data.get("content"), reasoning=thought, reasoning_hidden=hidden or None,
                     origin="model", **where)  # fmt: skip
        model = data.get("model") or (self.model if t is self.main else None)
        t.steps[seq].llm_call_id = t.llm(
            data.get("apiCallId") if not any(c["llm_call_id"] == data.get("apiCallId") for c in t.llm_calls) else None,
            first_seq=seq, model=model, provider="github", output_tokens=data.get("outputTokens"),
            started_at=t.steps[seq - 1].ts if seq else None, ended_at=where["ts"], status="ok")  # fmt: skip
        for held in mappings(data.get("toolRequests")):
            _, _, begun = self._started.pop(str(held.get("toolCallId")), (t, {}, where))
            t.call(seq, held.get("name"), held.get("arguments"), id=held.get("toolCallId"), started_at=begun["ts"])

    def _known(self, t: Trace, own: Any) -> Any:
        return next((c for c in reversed(t.calls[-60:]) if c.native_id == own and own), None)

    def _start(self, t: Trace, data: dict[str, Any], where: dict[str, Any]) -> None:
        call = self._known(t, data.get("toolCallId"))
        if call is None:
            self._started[str(data.get("toolCallId"))] = (t, data, where)
        else:
            call.started_at = where["ts"]

    def _make(self, own: str) -> None:
        """The call of a start that no message requested."""
        t, data, where = self._started.pop(own)
        seq = t.step("assistant", None, origin="model", **where)
        t.call(seq, data.get("toolName"), data.get("arguments"), id=data.get("toolCallId"), started_at=where["ts"])

    def _complete(self, t: Trace, data: dict[str, Any], where: dict[str, Any]) -> None:
        if str(data.get("toolCallId")) in self._started:
            self._make(str(data["toolCallId"]))
        held, error = mapping(data.get("result")), data.get("error")
        text = held.get("content") if held else as_text(data.get("result"))
        told = mapping(error).get("message") if isinstance(error, dict) else error
        success = data.get("success")
        status = None if success is None else "ok" if success else "error"
        if success is False and (mapping(error).get("code") in ("denied", "rejected") or DENIED.match(str(told or ""))):
            status = "denied"
        seq = t.result(text or as_text(told), id=data.get("toolCallId"), status=status,
                       error_basis="flag" if status in ("error", "denied") else None, **where)  # fmt: skip
        call = next((c for c in reversed(t.calls) if c.result_seq == seq), None)
        if call is None:
            return
        call.ended_at = where["ts"]
        took = mapping(mapping(data.get("toolTelemetry")).get("metrics")).get("durationMs")
        if isinstance(took, (int, float)):
            call.duration_ms = float(took)
        elif call.started_at and call.ended_at:
            call.duration_ms = (call.ended_at - call.started_at).total_seconds() * 1000
        if data.get("toolCallId") in self.agents:
            call.child_trace_id = self.agents[data["toolCallId"]].trace_id

    def _shutdown(self, data: dict[str, Any]) -> None:
        t = self.main
        sums: Counter[str] = Counter()
        for metrics in mapping(data.get("modelMetrics")).values():
            sums.update({k: v for k, v in mapping(mapping(metrics).get("usage")).items() if isinstance(v, int)})
        names = {
            "inputTokens": "input",
            "outputTokens": "output",
            "cacheReadTokens": "cache_read",
            "cacheWriteTokens": "cache_write",
        }
        if not sums:
            details = mapping(data.get("tokenDetails"))
            for key, name in names.items():
                n = mapping(details.get(name)).get("tokenCount")
                if isinstance(n, int):
                    sums[key] = n
            sums["inputTokens"] += (sums["cacheReadTokens"] + sums["cacheWriteTokens"]) if sums else 0
        if sums:
            t.usage_basis = "reported_total"
            for key, name in names.items():
                setattr(t, f"{name}_tokens", sums.get(key))
        t.metadata["premium_requests"] = data.get("totalPremiumRequests")
        t.native_end_reason = data.get("shutdownType")
        self.dropped.pop("session.shutdown", None)

    def finish(self) -> Iterator[Trace]:
        for own in list(self._started):
            self._make(own)
        if self.dropped:
            told = ", ".join(f"{kind} {n}" for kind, n in self.dropped.most_common())
            self.source.issue(
                "no_step", f"lines outside the conversation: {told}", severity="info", n=self.dropped.total()
            )
        for t in (self.main, *self.agents.values()):
            if not t.steps:
                continue
            last = next((s for s in reversed(t.steps) if s.kind not in ("log", "compaction")), None)
            if last is not None and last.kind == "interrupt":
                t.end_reason = "user_abort"
            elif last is not None and last.kind == "error":
                t.end_reason, t.error_message = "error", last.text
            elif last is not None and last.role == "assistant" and not last.n_tool_calls:
                t.end_reason = "completed"
            yield t
