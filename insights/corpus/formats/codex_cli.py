"""Codex CLI: rollouts under ~/.codex/sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl, and `codex exec --json`.

    {"timestamp": "2026-02-03T10:00:05Z", "type": "response_item", "payload": {"type": "function_call", "name": "shell",
     "arguments": "{\\"command\\": [\\"pytest\\"]}", "call_id": "call_1"}}

- Content comes from `response_item`; `event_msg` repeats it and gives exit codes, durations, usage, interrupts, errors and
  the end of turns. Files without items (exec output, early versions) are read from their events.
- One `token_count` closes one model call: `last_token_usage`, unless the totals did not change. The total of
  `codex exec --json` is cumulative. Input tokens include the cache already.
- The first session_meta names the trace. Forks and sub-agents may replay their parent's lines (a second session_meta, a
  turn id from before the session, or a time before it): those steps have origin "copied", their usage is not counted.
- `thread_rolled_back` marks the turns taken back `on_path` false; `turn_aborted` is kind "interrupt" and cancels open calls.
- Older shapes: bare items after `{"id", "timestamp", "instructions"}`; `{"timestamp", "role", "content"}` lines;
  `{"id", "msg"}` events.
Dropped and counted in one issue: world state, settings, rate limits, snapshots. Reasoning is mostly encrypted; no cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.codex_events import Rollout
from insights.corpus.formats.codex_exec import Exec
from insights.corpus.parse import mapping, word
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace

LINES = {"session_meta", "turn_context", "response_item", "event_msg", "compacted", "world_state"}
EXEC = {
    "thread.started",
    "turn.started",
    "turn.completed",
    "turn.failed",
    "item.started",
    "item.completed",
    "item.updated",
}
BURST = 1.0  # unit: seconds after the first line within which lines of a fork without turn ids are its parent's


def _detect(head: Head) -> Confidence | None:
    lines = [v for v in head.records if isinstance(v, dict)]
    if any(word(v.get("type")) in LINES and isinstance(v.get("payload"), dict) for v in lines):
        return "certain"
    if sum(word(v.get("type")) in EXEC for v in lines) >= 2 or any(v.get("type") == "thread.started" for v in lines):
        return "certain"
    if any(isinstance(v.get("msg"), dict) and "type" in v["msg"] and "id" in v for v in lines):
        return "likely"
    first = head.first
    if {"id", "timestamp"} <= first.keys() and "instructions" in first and "type" not in first:
        return "certain"
    bare = [v for v in lines if v.get("type") in ("tool_call", "function_call") and "function" in v]
    if bare and any("role" in v and ("timestamp" in v or "created_at" in v) for v in lines):
        return "likely"
    dated = [v for v in lines if v.get("role") in ("user", "assistant") and isinstance(v.get("timestamp"), str)]
    if (
        head.is_jsonl
        and dated
        and len(dated) == len(lines)
        and isinstance(dated[0].get("model"), str)
        and len(dated[0]) <= 4
    ):
        return "guess"
    return None


mark(
    "codex_index",
    title="Codex history or session index",
    rank=10,
    role="other",
    detect=lambda head: (
        "certain"
        if {"session_id", "ts", "text"} == head.first.keys() or {"id", "thread_name", "updated_at"} == head.first.keys()
        else None
    ),
)


@reader("codex_cli", title="Codex CLI sessions", rank=20, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    records = [r for r in source.records() if _is_object(source, r)]
    if any(word(r.value.get("type")) in EXEC for r in records[:50]):
        for thread in _threads(records):
            yield from _read(source, thread, is_exec=True)
    else:
        yield from _read(source, records)


def _is_object(source: Source, record: Record) -> bool:
    if isinstance(record.value, dict):
        return True
    source.n_bad += 1
    source.issue("not_a_line", f"a line is {type(record.value).__name__}, not an object", offset=record.offset)
    return False


def _threads(records: list[Record]) -> list[list[Record]]:
    threads: list[list[Record]] = []
    for record in records:
        if not threads or record.value.get("type") == "thread.started":
            threads.append([])
        threads[-1].append(record)
    return threads


def _read(source: Source, records: list[Record], *, is_exec: bool = False) -> Iterator[Trace]:
    if not records:
        source.issue("no_conversation", "no line is an object", severity="info")
        return
    meta = _meta(records)
    t = Trace("codex_cli", _own_id(source, meta, records))
    rollout = Exec(t, by_events=True) if is_exec else Rollout(t, by_events=not _has_items(records))
    _describe(t, meta)
    _place(rollout, records, _Replay(meta, records[0]))
    rollout.finish(running=source.truncated)
    if rollout.dropped:
        _report(source, rollout.dropped)
    if t.steps or t.llm_calls:
        yield t
    else:
        source.issue("no_conversation", f"session {t.native_id} has no messages", severity="info")


def _report(source: Source, dropped: Counter[str]) -> None:
    told = ", ".join(f"{kind} {n}" for kind, n in dropped.most_common())
    source.issue("no_step", f"lines outside the conversation: {told}", severity="info", n=dropped.total())


def _place(rollout: Rollout, records: list[Record], replay: _Replay) -> None:
    for i, record in enumerate(records):
        value = record.value
        rollout.at(
            timestamp(value.get("timestamp") or value.get("created_at")), record, copied=replay.is_copy(value, i)
        )
        payload = value.get("payload")
        kind = str(value.get("type"))
        if isinstance(payload, dict):
            rollout.line(kind, payload)
        elif isinstance(rollout, Exec):
            rollout.exec_line(kind, value)
        elif isinstance(value.get("msg"), dict):
            rollout.line("event_msg", value["msg"])
        elif not (i == 0 and "instructions" in value):
            rollout.bare(value)


class _Replay:
    """Tells the lines a fork or sub-agent copied from its parent from its own."""

    def __init__(self, meta: dict[str, Any], first: Record) -> None:
        self._own = meta.get("id")
        self._start = _time_of(str(meta.get("id"))) or timestamp(meta.get("timestamp"))
        self._opened = timestamp(first.value.get("timestamp"))
        self._copying = bool(meta.get("forked_from_id")) and not meta.get("history_base")
        self._possible = self._copying or "subagent" in mapping(meta.get("source"))

    def is_copy(self, value: dict[str, Any], index: int) -> bool:
        payload = mapping(value.get("payload"))
        if index and value.get("type") == "session_meta" and payload.get("id") != self._own:
            self._copying = self._possible = True
            return True
        if not self._possible:
            return False
        turn = _time_of(str(_turn(payload) or ""))
        if turn is not None and self._start is not None:
            self._copying = turn < self._start
        elif self._copying and index:
            stamp = timestamp(value.get("timestamp"))
            if stamp is not None and self._opened is not None and self._start is not None:
                self._copying = stamp < self._start or (stamp - self._opened).total_seconds() < BURST
        return self._copying and index > 0


def _turn(payload: dict[str, Any]) -> Any:
    for key in ("internal_chat_message_metadata_passthrough", "metadata"):
        if isinstance(payload.get(key), dict) and payload[key].get("turn_id"):
            return payload[key]["turn_id"]
    return payload.get("turn_id")


def _time_of(uuid: str) -> datetime | None:
    """When a version 7 UUID was made; None for any other id."""
    if len(uuid) == 36 and uuid[14] == "7" and uuid[8] == "-":
        try:
            return timestamp(int(uuid[:8] + uuid[9:13], 16) / 1000)
        except ValueError:
            return None
    return None


def _meta(records: list[Record]) -> dict[str, Any]:
    for record in records[:5]:
        value = record.value
        if value.get("type") == "session_meta":
            payload = mapping(value.get("payload"))
            return mapping(payload.get("meta")) | payload
        if value.get("type") == "thread.started":
            return {"id": value.get("thread_id")}
    first = records[0].value
    return first if "id" in first and "type" not in first and "msg" not in first else {}


def _own_id(source: Source, meta: dict[str, Any], records: list[Record]) -> str:
    if isinstance(meta.get("id"), str) and meta["id"]:
        return str(meta["id"])
    return PurePosixPath(source.name).with_suffix("").as_posix()


def _has_items(records: list[Record]) -> bool:
    for record in records:
        payload = record.value.get("payload")
        item = payload if record.value.get("type") == "response_item" and isinstance(payload, dict) else record.value
        if item is record.value and "payload" in item:
            continue
        if (item.get("type") in ("message", None) and "role" in item) or item.get("type") in (
            "function_call",
            "tool_call",
        ):
            return True
    return False


def _describe(t: Trace, meta: dict[str, Any]) -> None:
    t.session_id = t.native_id
    t.agent, t.framework = "codex", "codex"
    t.agent_version = meta.get("cli_version")
    t.provider = meta.get("model_provider")
    t.started_at = timestamp(meta.get("timestamp"))
    source = meta.get("source")
    spawned = source.get("subagent") if isinstance(source, dict) else None
    thread = mapping(mapping(spawned).get("thread_spawn"))
    parent = meta.get("parent_thread_id") or thread.get("parent_thread_id")
    if spawned is not None or parent:
        t.relation = "subagent"
        t.agent = (
            meta.get("agent_role") or thread.get("agent_role") or (spawned if isinstance(spawned, str) else "codex")
        )
        t.metadata["agent_nickname"] = meta.get("agent_nickname") or thread.get("agent_nickname")
    elif meta.get("forked_from_id"):
        t.relation, parent = "fork", meta["forked_from_id"]
    if isinstance(parent, str):
        t.parent_trace_id = t.root_trace_id = f"codex_cli:{parent}"
    git = mapping(meta.get("git"))
    said = {
        "cwd": meta.get("cwd"),
        "git_branch": git.get("branch"),
        "git_commit": git.get("commit_hash"),
        "originator": meta.get("originator"),
        "source": source if isinstance(source, str) else "subagent" if spawned is not None else None,
        "version": meta.get("cli_version"),
        **t.metadata,
    }
    t.metadata = {k: v for k, v in said.items() if v}
    for name in ("git_branch", "version", "originator", "source"):
        t.slice(name, t.metadata.get(name))
    t.slice("project", PurePosixPath(str(meta.get("cwd") or "").replace("\\", "/")).name or None)
    if t.relation == "subagent":
        t.slice("agent", t.agent, "column")
    instructions = meta.get("base_instructions") or meta.get("instructions")
    text = instructions.get("text") if isinstance(instructions, dict) else instructions
    if isinstance(text, str) and text:
        t.step("system", text, origin="harness", ts=t.started_at)
