"""Telemetry of the openclaw-telemetry plugin: what an OpenClaw gateway saw, one event a line.

    {"type": "tool.start", "sessionKey": "agent:main:main", "toolName": "exec", "params": {"command": "ls"}, "ts": 1772831323758}

- One trace a session key; keys with `:subagent:` are sub-agents, their parent is not named.
- agent.start is told twice, the second time with its history; message.sending repeats message.out: both are counted, not read.
- A prompt that came in as message.in is the person's; other prompts are the runtime's.
- Tool events have no text, only success and duration: fidelity io_only. Where agent.start or agent.end gives the session's
  `messages` (as in OpenClaw's own sessions), the longest of these is the conversation, and the events after it follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.openclaw import add_message
from insights.corpus.parse import mapping, mappings, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_text

EVENTS = {
    "agent.start",
    "agent.end",
    "tool.start",
    "tool.end",
    "message.in",
    "message.out",
    "message.sending",
    "llm.usage",
}


def _detect_telemetry(head: Head) -> Confidence | None:
    lines = [v for v in head.records if isinstance(v, dict)]
    keyed = any("sessionKey" in v or "channel" in v for v in lines)
    return "likely" if keyed and sum(word(v.get("type")) in EVENTS for v in lines) >= 2 else None


@reader("openclaw_telemetry", title="OpenClaw telemetry", rank=23, detect=_detect_telemetry)
def read_telemetry(source: Source) -> Iterator[Trace]:
    traces: dict[str, Trace] = {}
    histories: dict[str, tuple[list[Any], dict[str, Any]]] = {}
    waiting: list[tuple[dict[str, Any], dict[str, Any]]] = []
    dropped: Counter[str] = Counter()
    for record in source.records():
        value = mapping(record.value)
        where: dict[str, Any] = {
            "ts": timestamp(value.get("ts") or value.get("timestamp")),
            "src_offset": record.offset,
            "src_len": record.length,
        }
        key, kind = value.get("sessionKey"), value.get("type")
        if kind == "message.in":
            waiting.append((value, where))
        elif isinstance(key, str):
            if key not in traces:
                traces[key] = _telemetry_trace(key)
            told = mappings(value.get("messages"))
            if len(told) >= len(histories.get(key, ((), {}))[0]) and {"user", "assistant"} <= {
                word(m.get("role")) for m in told
            }:
                histories[key] = told, where
            if not _telemetry(traces[key], value, where, waiting):
                dropped[str(kind)] += 1
        elif kind == "message.out" and traces:
            main = next((t for k, t in traces.items() if ":subagent:" not in k), next(iter(traces.values())))
            main.step("assistant", value.get("content"), origin="model", **where)
        else:
            dropped[str(kind)] += 1
    if dropped:
        kinds = ", ".join(f"{kind} {n}" for kind, n in dropped.most_common())
        source.issue("no_step", f"events that repeat another: {kinds}", severity="info", n=dropped.total())
    for left, where in waiting:
        source.issue(
            "no_session", f"a message no session took: {str(left.get('content'))[:80]!r}", offset=where["src_offset"]
        )
    for key, t in traces.items():
        if t.steps or key in histories:
            yield _in_full(t, *histories[key]) if key in histories else t


def _in_full(events: Trace, history: list[Any], where: dict[str, Any]) -> Trace:
    """The conversation as its messages tell it, and after it what only events tell."""
    t = _telemetry_trace(events.native_id)
    t.fidelity = None
    for i, message in enumerate(history):
        place = {**where, "ts": timestamp(message.get("timestamp")), "src_pointer": f"/messages/{i}", "on_path": True}
        add_message(t, message, place)
    last = max((s.ts for s in t.steps if s.ts), default=None)
    told = "\n".join(s.text for s in t.steps if s.text)
    for s in events.steps:
        place = {"ts": s.ts, "src_offset": s.src_offset, "src_len": s.src_len}
        calls = [
            c for c in events.calls if c.call_seq == s.seq and last is not None and s.ts is not None and s.ts > last
        ]
        if (s.kind == "message" and s.text and s.text not in told) or calls:
            seq = t.step(s.role, s.text, origin=s.origin, **place)
            for c in calls:
                t.call(seq, c.name, c.args, started_at=c.started_at)
                if c.result_seq is not None:
                    t.result(c.result_text, name=c.name, status=c.status, error_basis=c.error_basis, **place)
    t.relation, t.extra = t.relation or events.relation, {**events.extra, **t.extra}
    t.end_reason, t.error_message = events.end_reason or t.end_reason, events.error_message or t.error_message
    return t


def _telemetry_trace(key: str) -> Trace:
    t = Trace("openclaw", key, session_id=key, agent="openclaw", framework="openclaw", fidelity="io_only")
    if ":subagent:" in key:
        t.relation = "subagent"
    return t


def _telemetry(t: Trace, value: dict[str, Any], where: dict[str, Any], waiting: list[Any]) -> bool:
    kind, prompt = value.get("type"), value.get("prompt")
    if kind == "agent.start":
        if any(s.text == prompt and s.role == "user" for s in t.steps[-3:]):
            return False  # told twice, the second time with its history
        said = next((w for w in waiting if w[0].get("content") == prompt), None)
        if said is not None:
            waiting.remove(said)
            where = {**where, "ts": where["ts"] or timestamp(said[0].get("timestamp"))}
        origin = "human" if said is not None else "model" if t.relation == "subagent" else "harness"
        t.step("user", prompt, origin=origin, **where)
    elif kind == "tool.start":
        seq = t.step("assistant", None, origin="model", **where)
        t.call(seq, value.get("toolName"), value.get("params"), started_at=where["ts"])
    elif kind == "tool.end":
        ok, told = value.get("success") is not False, value.get("error")
        columns = {"duration_ms": value.get("durationMs"), "ended_at": where["ts"]}
        t.result(as_text(told or value.get("result")), name=value.get("toolName"), status="ok" if ok else "error",
                 error_basis=None if ok else "flag", call_columns=columns, **where)  # fmt: skip
    elif kind == "agent.end":
        _telemetry_end(t, value, where)
    else:
        return False
    return True


def _telemetry_end(t: Trace, value: dict[str, Any], where: dict[str, Any]) -> None:
    last = next((m for m in reversed(sequence(value.get("messages"))) if mapping(m).get("role") == "assistant"), None)
    content = mapping(last).get("content")
    blocks = [mapping(b) for b in content] if isinstance(content, list) else []
    text = "\n\n".join(str(b["text"]) for b in blocks if b.get("type") == "text") or None
    if text:
        t.step("assistant", text, origin="model", **where)
    ok = value.get("success") is not False
    files = {as_text(f.get("filename")): as_text(f.get("content")) for f in mappings(value.get("markdown"))}
    if files:
        t.extra["workspace"] = files  # what the agent was told of itself, as it stood last
    t.end_reason, t.error_message = ("completed", None) if ok else ("error", as_text(value.get("error")))
