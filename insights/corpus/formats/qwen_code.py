"""Qwen Code sessions: Claude Code's skeleton (uuid, parentUuid, sessionId) around Gemini's `parts`.

    {"uuid": "b2", "parentUuid": "a1", "sessionId": "019f…", "timestamp": "…", "type": "assistant", "cwd": "/srv/shop",
     "version": "0.21.1", "model": "qwen-…", "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 4},
     "message": {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "read_file", "args": {…}}}]}}

- `system` lines with subtype rewind end a branch: the path is read from the last message up, what stands beside it is
  `on_path` false. One uuid may come in several lines (thought, then answer): each is a step.
- A `thought` part is reasoning. Output excludes thoughts (added here); the prompt includes what was cached.
- `tool_result` lines carry the functionResponse; `toolCallResult.status` or error is the flag.
- `mid_turn_user_message` is the person speaking while the agent works; chat_compression is a compaction.
Dropped and counted: telemetry, titles, snapshots, slash commands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.claude_tree import Entry, ordered
from insights.corpus.formats.gemini_cli import NOT_ALLOWED, add_parts
from insights.corpus.parse import mapping
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace


def _detect(head: Head) -> Confidence | None:
    for value in head.records:
        held = mapping(mapping(value).get("message"))
        if "parts" in held and "sessionId" in value and "uuid" in value:
            return "certain"
    return None


@reader("qwen_code", title="Qwen Code sessions", rank=19, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    sessions: dict[str, list[Entry]] = {}
    for record in source.records():
        if isinstance(record.value, dict):
            own = str(record.value.get("sessionId") or source.stem)
            sessions.setdefault(own, []).append(Entry(record.value, record.offset, record.length))
        else:
            source.n_bad += 1
            source.issue("not_a_line", f"a line is {type(record.value).__name__}, not an object", offset=record.offset)
    for own, entries in sessions.items():
        t = Trace("qwen_code", own, session_id=own, agent="qwen-code", framework="qwen-code")
        dropped: Counter[str] = Counter()
        for entry in ordered(entries):
            if not _line(t, entry):
                dropped[str(entry.value.get("subtype") or entry.value.get("type"))] += 1
        if dropped:
            told = ", ".join(f"{kind} {n}" for kind, n in dropped.most_common())
            source.issue("no_step", f"lines outside the conversation: {told}", severity="info", n=dropped.total())
        _close(t)
        if t.steps:
            yield t


def _line(t: Trace, entry: Entry) -> bool:
    value = entry.value
    kind, subtype = value.get("type"), value.get("subtype")
    parts = mapping(value.get("message")).get("parts")
    where: dict[str, Any] = {
        "ts": timestamp(value.get("timestamp")),
        "src_offset": entry.offset,
        "src_len": entry.length,
        "native_id": value.get("uuid"),
        "on_path": entry.on_path,
    }
    for key, name in (("cwd", "cwd"), ("gitBranch", "git_branch"), ("version", "version")):
        if isinstance(value.get(key), str):
            t.metadata[name] = value[key]
    if kind == "system" and subtype in ("chat_compression", "compaction"):
        info = mapping(value.get("systemPayload"))
        t.step("system", info.get("summary"), kind="compaction", origin="harness", **where)
        return True
    if not isinstance(parts, list):
        return False
    seq = add_parts(t, "assistant" if kind == "assistant" else "user", parts, where)
    if kind == "assistant" and seq is not None:
        _model_call(t, value, seq)
    if kind == "tool_result":
        _flag(t, mapping(value.get("toolCallResult")))
    return True


def _model_call(t: Trace, value: dict[str, Any], seq: int) -> None:
    usage = {k: n for k, n in mapping(value.get("usageMetadata")).items() if isinstance(n, int)}
    if not usage and not value.get("model"):
        return
    thoughts, said = usage.get("thoughtsTokenCount"), usage.get("candidatesTokenCount")
    t.steps[seq].llm_call_id = t.llm(
        first_seq=seq,
        model=value.get("model"),
        started_at=t.steps[seq - 1].ts if seq else None,
        ended_at=t.steps[seq].ts,
        input_tokens=usage.get("promptTokenCount"),
        cache_read_tokens=usage.get("cachedContentTokenCount"),
        output_tokens=None if said is None else said + (thoughts or 0),
        reasoning_tokens=thoughts,
        status="ok",
    )


def _flag(t: Trace, told: dict[str, Any]) -> None:
    """The status that a tool_result line gives beside its response."""
    call = next((c for c in reversed(t.calls) if c.result_seq is not None), None)
    status, error = str(told.get("status") or ""), told.get("error") or told.get("errorType")
    if call is None or (status in ("", "success") and not error):
        return
    text = str(mapping(error).get("message") or error or call.result_text or "")
    denied = NOT_ALLOWED.search(text[:500])
    call.status = "denied" if denied else "cancelled" if status in ("cancelled", "canceled") else "error"
    call.error_basis, call.error_message = "flag", text[:500]
    t.steps[call.result_seq].is_error = call.status == "error"


def _close(t: Trace) -> None:
    t.agent_version = t.metadata.get("version")
    t.slice("project", PurePosixPath(str(t.metadata.get("cwd") or "").replace("\\", "/")).name or None)
    t.slice("git_branch", t.metadata.get("git_branch"))
    t.slice("version", t.agent_version)
    last = next((s for s in reversed(t.steps) if s.on_path), None)
    if last is not None and last.role == "assistant" and last.text and not any(c.result_seq is None for c in t.calls):
        t.end_reason = "completed"
