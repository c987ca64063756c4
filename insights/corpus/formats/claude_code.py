"""Claude Code sessions: ~/.claude/projects/<folder>/<sessionId>.jsonl, sub-agents, and `claude -p --output-format stream-json`.

    {"type": "assistant", "uuid": "b2", "parentUuid": "a1", "sessionId": "5f0c…", "timestamp": "2026-01-05T09:00:02Z",
     "cwd": "/srv/shop", "gitBranch": "main", "version": "2.1.80", "message": {"id": "msg_1", "model": "claude-…",
     "content": [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}], "usage": {…}}}

- Lines are a tree by uuid/parentUuid. In each tree the last message decides the path; lines beside it are branches the
  person rewound (`on_path` false). `logicalParentUuid` (over a compaction) is not an edge. Parallel calls and results
  fan out and are put back by message id and tool_use_id.
- One line per content block repeats message id and usage: one step and one row of `llm_calls`, usage by maximum.
- `input_tokens` excludes the cache in the source and includes it here.
- Sub-agents (subagents/agent-*.jsonl, flat agent-*.jsonl, inline isSidechain, `agent_progress` where no such file
  exists, `parent_tool_use_id` in stream-json) are traces of their own. `child_trace_id` of the call points to them.
- Lines that carry another session's id, whose file lies beside this one, are history copied on resume: origin
  "copied", no usage.
- Harness text in user lines has origin "harness"; "[Request interrupted by user]" is kind "interrupt"; refused
  permissions give status "denied", and what the person said to it becomes feedback.
- Cost, turns and the way it ended are reported only by the `result` line of stream-json.
Dropped and counted in one issue: titles, snapshots, modes, queue operations, hook and bash progress.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import orjson

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.claude_steps import Builder
from insights.corpus.formats.claude_tree import Entry, ordered
from insights.corpus.formats.claude_words import is_silent
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

CHAIN = {"user", "assistant", "system", "attachment", "progress"}
AGENT_FILE = re.compile(r"agent-([A-Za-z0-9_-]+)\.jsonl$")
STILL_WRITTEN = 600  # unit: seconds since the last change within which a broken last line means a live session
BARE = {"tool_use", "tool_result", "result"}  # lines of other versions and of stream-json that carry content
TITLES = {"summary": "summary", "custom-title": "customTitle", "ai-title": "aiTitle", "agent-name": "agentName"}


@dataclass
class Session:
    """The lines of one conversation: the main chain, its sub-agents, and what belongs to the session as a whole."""

    id: str
    brand: str
    main: list[Entry] = field(default_factory=list)
    agents: dict[str, list[Entry]] = field(default_factory=dict)
    calls: dict[str, str] = field(default_factory=dict)  # sub-agent -> tool call that started it
    result: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    copied_from: str | None = None


def _is_line(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    if kind in ("user", "assistant"):
        message = value.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        return content is not None and ("sessionId" in value or "session_id" in value or "timestamp" in value)
    if kind == "summary":
        return "leafUuid" in value
    if kind == "system":
        return "subtype" in value and ("sessionId" in value or "session_id" in value or "uuid" in value)
    return kind == "result" and "num_turns" in value and "session_id" in value


def _detect(head: Head) -> Confidence | None:
    lines = [v for v in head.records if isinstance(v, dict)]
    hits = [v for v in lines if _is_line(v)]
    if not hits or any(_is_foreign(v) for v in hits):
        return None
    if any("sessionId" in v and ("uuid" in v or "parentUuid" in v) for v in hits):
        return "certain"
    if any("session_id" in v or "leafUuid" in v for v in hits) or len(hits) >= 2:
        return "likely"
    return "guess"


def _detect_iflow(head: Head) -> Confidence | None:
    """iFlow writes Claude Code's skeleton with message ids of its own; its parent links are no tree."""
    messages = [v.get("message") for v in head.records if _is_line(v)]
    own = any(isinstance(m, dict) and re.match(r"response-\d{10,}", str(m.get("id"))) for m in messages)
    return "certain" if own else None


def _is_foreign(value: dict[str, Any]) -> bool:
    """Qwen Code writes the same skeleton around Gemini's `parts`; Cursor writes `role` beside `message`."""
    message = value.get("message")
    return isinstance(message, dict) and "parts" in message and "content" not in message


mark(
    "claude_agent_meta",
    title="Claude Code sub-agent description",
    rank=10,
    role="part",
    detect=lambda head: "certain" if head.name.endswith(".meta.json") and "agentType" in head.first else None,
)
mark(
    "claude_history",
    title="Claude Code prompt history",
    rank=10,
    role="other",
    detect=lambda head: "certain" if {"display", "pastedContents", "project"} <= head.first.keys() else None,
)


@reader("claude_code", title="Claude Code sessions", rank=20, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    for session in _sessions(source, "claude_code").values():
        yield from _traces(source, session)


@reader("iflow", title="iFlow CLI sessions", rank=19, detect=_detect_iflow)
def read_iflow(source: Source) -> Iterator[Trace]:
    for session in _sessions(source, "iflow").values():
        yield from _traces(source, session)


def _sessions(source: Source, brand: str) -> dict[str, Session]:
    sessions: dict[str, Session] = {}
    dropped: Counter[str] = Counter()
    alone = bool(AGENT_FILE.search(source.name) and source.head.first.get("isSidechain"))
    quoted = f'"{source.stem}"'.encode()
    own_file = alone or quoted in source.head.tail or quoted in source.head.head
    current = source.stem if own_file and not alone else ""
    for record in source.records():
        value = record.value
        if not isinstance(value, dict):
            source.n_bad += 1
            source.issue("not_a_line", f"a line is {type(value).__name__}, not an object", offset=record.offset)
            continue
        own = value.get("sessionId") or value.get("session_id")
        if isinstance(own, str) and own and not (own_file and current):
            current = own
        session = sessions.setdefault(current, Session(current or source.stem, brand))
        entry = Entry(value, record.offset, record.length)
        if own and own != current and own_file and not alone and source.sibling(f"{own}.jsonl"):
            entry.copied, session.copied_from = True, str(own)
        if not _place(source, session, entry, alone):
            dropped[str(value.get("type"))] += 1
    if dropped:
        told = ", ".join(f"{kind} {n}" for kind, n in dropped.most_common())
        source.issue("no_step", f"lines outside the conversation: {told}", severity="info", n=dropped.total())
    if "" in sessions and len(sessions) > 1:  # lines before the first that names its session
        first = next(s for name, s in sessions.items() if name)
        first.main[:0] = sessions.pop("").main
    return sessions


def _place(source: Source, session: Session, entry: Entry, alone: bool) -> bool:
    """Put a line where it belongs; False where it is no part of a conversation."""
    value = entry.value
    kind = value.get("type")
    if isinstance(kind, str) and kind in TITLES:
        if value.get(TITLES[kind]):
            session.metadata.setdefault("title" if kind != "agent-name" else "agent_name", value[TITLES[kind]])
        return True
    if kind == "pr-link":
        session.metadata["pr"] = value.get("prUrl")
        return True
    if kind == "permission-mode":
        session.metadata.setdefault("permission_mode", value.get("permissionMode"))
        return True
    if kind == "result" and "num_turns" in value:
        session.result.append(value)
        return True
    if kind == "progress":
        return _place_progress(source, session, entry)
    if str(kind) not in CHAIN | BARE or kind == "result" or is_silent(value):
        return False
    call = value.get("parent_tool_use_id")
    if isinstance(call, str):
        session.agents.setdefault(call, []).append(entry)
        session.calls[call] = call
    elif value.get("isSidechain") and not alone:
        session.agents.setdefault(str(value.get("agentId") or ""), []).append(entry)
    else:
        session.main.append(entry)
    return True


def _place_progress(source: Source, session: Session, entry: Entry) -> bool:
    """Messages of a sub-agent that are told only through progress lines."""
    data = entry.value.get("data")
    if not isinstance(data, dict) or data.get("type") != "agent_progress" or not isinstance(data.get("message"), dict):
        return False
    agent = str(data.get("agentId") or entry.value.get("parentToolUseID") or "")
    if _agent_file(source, agent):
        return False
    inner = {**data["message"], "isSidechain": True, "agentId": agent, "sessionId": session.id}
    session.agents.setdefault(agent, []).append(Entry(inner, entry.offset, entry.length))
    if isinstance(entry.value.get("parentToolUseID"), str):
        session.calls.setdefault(agent, entry.value["parentToolUseID"])
    return True


def _agent_file(source: Source, agent: str) -> bool:
    name = f"agent-{agent}.jsonl"
    return bool(source.sibling(source.stem, "subagents", name) or source.sibling(name))


def _traces(source: Source, session: Session) -> Iterator[Trace]:
    if not session.main and not session.agents:
        source.issue("no_conversation", f"session {session.id} has titles or settings only", severity="info")
        return
    groups = [(agent, entries) for agent, lines in session.agents.items() for entries in _threads(agent, lines)]
    named = [(agent or f"sidechain-{i}", entries) for i, (agent, entries) in enumerate(groups, 1)]
    started: dict[str, str | None] = {}
    if session.main:
        builder = _build(source, session, _main_trace(source, session), session.main)
        for agent, entries in named:
            started[agent] = (
                session.calls.get(agent) or builder.children.get(agent) or builder.prompts.get(_prompt(entries))
            )
            for call in builder.trace.calls:
                if call.tool_call_key == started[agent]:
                    call.child_trace_id = f"{session.brand}:{session.id}/{agent}"
        yield builder.trace
    for agent, entries in named:
        t = Trace(session.brand, f"{session.id}/{agent}", session_id=session.id, relation="subagent")
        t.parent_trace_id = t.root_trace_id = f"{session.brand}:{session.id}"
        t.parent_tool_call_key = started.get(agent) or session.calls.get(agent)
        yield _build(source, session, t, entries).trace


def _build(source: Source, session: Session, t: Trace, entries: list[Entry]) -> Builder:
    kept = ordered(entries, tree=session.brand != "iflow")
    if len(kept) < len(entries):
        source.issue("repeated_line", "lines told twice under one uuid", severity="info", n=len(entries) - len(kept))
    builder = Builder(t)
    builder.add(kept)
    builder.close(running=source.truncated and time.time() - source.path.stat().st_mtime < STILL_WRITTEN)
    for key, value in session.metadata.items():
        if isinstance(value, str):
            t.metadata.setdefault(key, value)
    if session.result and t.parent_trace_id is None:
        builder.report(session.result)
    return builder


def _threads(agent: str, entries: list[Entry]) -> list[list[Entry]]:
    """Inline side chains without an agent id: one thread per root."""
    if agent:
        return [entries]
    threads: dict[str, list[Entry]] = {}
    of: dict[str, str] = {}
    for entry in entries:
        uuid, parent = str(entry.value.get("uuid")), str(entry.value.get("parentUuid"))
        of[uuid] = of.get(parent, uuid)
        threads.setdefault(of[uuid], []).append(entry)
    return list(threads.values())


def _prompt(entries: list[Entry]) -> str:
    message = entries[0].value.get("message") if entries else None
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        content = next((b.get("text") for b in content if isinstance(b, dict) and b.get("text")), None)
    return content.strip() if isinstance(content, str) else ""


def _main_trace(source: Source, session: Session) -> Trace:
    first = session.main[0].value
    in_name = AGENT_FILE.search(source.name)
    if not in_name or not first.get("isSidechain"):
        t = Trace(session.brand, session.id, session_id=session.id)
        if session.copied_from:
            t.relation, t.parent_trace_id = "continuation", f"claude_code:{session.copied_from}"
        return t
    name = str(first.get("agentId") or in_name[1])
    folders = (*source.path.parts[:-1], *PurePosixPath(source.name).parts[:-1])
    parent = "" if session.id.startswith("agent-") else session.id
    if "subagents" in folders[1:]:
        parent = folders[len(folders) - folders[::-1].index("subagents") - 2]
    t = Trace("claude_code", f"{parent}/{name}".lstrip("/"), session_id=parent or None, relation="subagent")
    if parent:
        t.parent_trace_id = t.root_trace_id = f"claude_code:{parent}"
    meta = _agent_meta(source)
    if meta.get("parentAgentId"):
        t.parent_trace_id = f"claude_code:{parent}/{meta['parentAgentId']}"
    t.parent_tool_call_key = meta.get("toolUseId")
    t.agent = meta.get("agentType") or first.get("attributionAgent")
    if meta.get("description"):
        t.metadata["description"] = meta["description"]
    return t


def _agent_meta(source: Source) -> dict[str, Any]:
    path = source.sibling(source.path.name.removesuffix(".jsonl") + ".meta.json")
    if path is None or path.stat().st_size > 1 << 20:
        return {}
    try:
        value = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        source.issue("bad_sidecar", f"{path.name}: {error}")
        return {}
    return value if isinstance(value, dict) else {}
