"""Agent CLIs that store one message a line or a list of messages, each with a mark of its own.

    cursor   {"role": "user", "message": {"content": [Anthropic blocks]}}; {"type": "turn_ended", "status": "success"}
    droid    {"type": "session_start", "id", "cwd"} then {"type": "message", "id", "message": {Anthropic message}}
    gptme    {"role", "content", "timestamp", "pinned"?, "metadata": {"model", "usage", "cost"}}; tools answer code blocks
    vibe     {"role", "content", "message_id", "tool_calls"}; meta.json beside it has session, branch, model, usage
    hermes   {"session_id", "platform", "session_start", "model", "messages": [OpenAI messages]}
    qwenpaw  {"agent": {"memory": {"content": [[message, marks], …]}}} (AgentScope)

Cursor's calls have no ids: results answer the oldest open call. gptme counts cached tokens beside the input (added here).
Vibe and Hermes report totals for the session or nothing. Dropped: marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import orjson

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.anthropic_messages import add_anthropic, anthropic_usage
from insights.corpus.formats.chat import add_messages, timestamp
from insights.corpus.parse import mapping, mappings
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace

ENDED = {"success": "completed", "error": "error", "cancelled": "user_abort", "aborted": "user_abort"}
FENCED = re.compile(r"```([^\n`]*)\n(.*?)```", re.S)


def _lines(head: Head) -> list[dict[str, Any]]:
    return [v for v in head.records if isinstance(v, dict)] if head.is_jsonl else []


def _detect_cursor(head: Head) -> Confidence | None:
    hits = [
        v for v in _lines(head) if v.get("role") in ("user", "assistant") and "content" in mapping(v.get("message"))
    ]
    return "likely" if hits and not any("type" in v and "uuid" in v for v in hits) else None


def _detect_droid(head: Head) -> Confidence | None:
    return "certain" if head.first.get("type") == "session_start" and "id" in head.first else None


def _detect_gptme(head: Head) -> Confidence | None:
    lines = _lines(head)
    if not lines or not all("role" in v and "content" in v and "timestamp" in v for v in lines[:-1] or lines):
        return None
    marked = any("pinned" in v or "hide" in v or "call_id" in v for v in lines)
    used = any("usage" in mapping(v.get("metadata")) for v in lines)
    return "likely" if marked or used else None


def _detect_vibe(head: Head) -> Confidence | None:
    lines = _lines(head)
    return "likely" if lines and all("role" in v and "message_id" in v for v in lines[:-1] or lines) else None


def _detect_hermes(head: Head) -> Confidence | None:
    first = head.first
    return "certain" if {"session_id", "platform", "session_start"} <= first.keys() else None


def _detect_qwenpaw(head: Head) -> Confidence | None:
    content = mapping(mapping(head.first.get("agent")).get("memory")).get("content")
    return "certain" if isinstance(content, list) else None


mark(
    "vibe_meta",
    title="Vibe session description",
    rank=20,
    role="part",
    detect=lambda head: "certain" if {"session_id", "stats", "environment"} <= head.first.keys() else None,
)


def _objects(source: Source) -> Iterator[Record]:
    for record in source.records():
        if isinstance(record.value, dict):
            yield record
        else:
            source.n_bad += 1
            source.issue("not_a_line", f"a line is {type(record.value).__name__}, not an object", offset=record.offset)


def _ended(t: Trace) -> Trace:
    last = next((s for s in reversed(t.steps) if s.kind != "log"), None)
    if t.end_reason is None and last is not None and last.role == "assistant" and last.text and not last.n_tool_calls:
        t.end_reason = "completed"
    return t


@reader("cursor", title="Cursor agent transcripts", rank=24, detect=_detect_cursor)
def read_cursor(source: Source) -> Iterator[Trace]:
    t = Trace("cursor", source.stem, session_id=source.stem, agent="cursor", framework="cursor")
    for record in _objects(source):
        value = record.value
        message = {**mapping(value.get("message")), "role": value.get("role")}
        where: dict[str, Any] = {"src_offset": record.offset, "src_len": record.length}
        if "role" in value:
            where["ts"] = timestamp(value.get("timestamp"))
            add_anthropic(t, message, where)
            t.metadata.update({"model": value["model"]} if isinstance(value.get("model"), str) else {})
        elif value.get("type") == "turn_ended":
            t.native_end_reason = value.get("status")
            t.end_reason = ENDED.get(str(value.get("status")), "unknown")
        else:
            source.issue("no_step", f"a line of type {value.get('type')!r}", severity="info", offset=record.offset)
    if t.steps:
        t.model = t.metadata.get("model")
        yield _ended(t)


@reader("droid", title="Factory Droid sessions", rank=20, detect=_detect_droid)
def read_droid(source: Source) -> Iterator[Trace]:
    records = list(_objects(source))
    header = next((r.value for r in records if r.value.get("type") == "session_start"), dict[str, Any]())
    own = str(header.get("id") or source.stem)
    t = Trace("droid", own, session_id=own, agent="droid", framework="droid", agent_version=header.get("version"))
    t.metadata = {k: header[k] for k in ("cwd", "title") if header.get(k)}
    t.slice("project", PurePosixPath(str(header.get("cwd") or "").replace("\\", "/")).name or None)
    for record in records:
        value = record.value
        where: dict[str, Any] = {
            "ts": timestamp(value.get("timestamp")),
            "src_offset": record.offset,
            "src_len": record.length,
        }
        message = mapping(value.get("message"))
        if value.get("type") == "message":
            seq = add_anthropic(t, message, {**where, "native_id": value.get("id")})
            usage: dict[str, Any] = anthropic_usage(message.get("usage"))
            if seq is not None and (usage or message.get("model")):
                t.steps[seq].llm_call_id = t.llm(None, first_seq=seq, model=message.get("model"), status="ok", **usage)
        elif value.get("type") in ("compaction_state", "compaction"):
            t.step("system", value.get("summaryText"), kind="compaction", origin="harness", **where)
        elif value.get("type") != "session_start":
            source.issue("no_step", f"a line of type {value.get('type')!r}", severity="info", offset=record.offset)
    if t.steps:
        yield _ended(t)


@reader("gptme", title="gptme conversations", rank=26, detect=_detect_gptme)
def read_gptme(source: Source) -> Iterator[Trace]:
    own = PurePosixPath(source.name).parent.name or source.path.parent.name or source.stem
    t = Trace("gptme", own, session_id=own, agent="gptme", framework="gptme")
    for record in _objects(source):
        value, meta = record.value, mapping(record.value.get("metadata"))
        if value.get("role") == "tool" and not any(c.result_seq is None for c in t.calls):
            _fenced_call(t)
        for step in add_messages(t, [value]):
            step.src_offset, step.src_len, step.src_pointer = record.offset, record.length, None
            if value.get("role") == "assistant" and meta:
                usage = mapping(meta.get("usage"))
                n = {k: v for k, v in usage.items() if isinstance(v, int)}
                read, write = n.get("cache_read_tokens", 0), n.get("cache_creation_tokens", 0)
                step.llm_call_id = t.llm(
                    first_seq=step.seq,
                    model=meta.get("model"),
                    ended_at=step.ts,
                    input_tokens=n["input_tokens"] + read + write if "input_tokens" in n else None,
                    cache_read_tokens=n.get("cache_read_tokens"),
                    cache_write_tokens=n.get("cache_creation_tokens"),
                    output_tokens=n.get("output_tokens"),
                    cost_usd=meta.get("cost"),
                    status="ok",
                )
    if t.steps:
        t.time_basis = "naive_as_utc"
        yield _ended(t)


def _fenced_call(t: Trace) -> None:
    """gptme runs the code blocks of a message: the block that the tool answers becomes the call."""
    last = next((s for s in reversed(t.steps) if s.role == "assistant"), None)
    if last is not None:
        blocks = FENCED.findall(last.text or "")
        done = last.n_tool_calls
        name, code = blocks[done] if done < len(blocks) else ("tool", "")
        t.call(last.seq, name.strip().split(" ")[0] or "tool", {"code": code} if code else None)


@reader("vibe", title="Mistral Vibe sessions", rank=26, detect=_detect_vibe)
def read_vibe(source: Source) -> Iterator[Trace]:
    meta = _meta(source, "meta.json") or _meta(source, source.path.stem.replace("messages", "meta") + ".json")
    own = str(meta.get("session_id") or source.path.parent.name or source.stem)
    t = Trace("vibe", own, session_id=own, agent="vibe", framework="vibe", model=meta.get("model"))
    for record in _objects(source):
        for step in add_messages(t, [record.value]):
            step.src_offset, step.src_len, step.src_pointer = record.offset, record.length, None
            step.native_id = record.value.get("message_id")
    stats = mapping(meta.get("stats"))
    if isinstance(stats.get("session_prompt_tokens"), int):
        t.usage_basis, t.input_tokens = "reported_total", stats["session_prompt_tokens"]
        t.output_tokens = stats.get("session_completion_tokens")
    if isinstance(stats.get("session_cost"), (int, float)):
        t.cost_usd = stats["session_cost"]
    t.started_at, t.ended_at = timestamp(meta.get("start_time")), timestamp(meta.get("end_time"))
    if meta.get("parent_session_id"):
        t.relation, t.parent_trace_id = "continuation", f"vibe:{meta['parent_session_id']}"
    cwd = mapping(meta.get("environment")).get("working_directory")
    t.metadata = {k: v for k, v in {**meta, "cwd": cwd}.items() if isinstance(v, str)}
    t.slice("git_branch", meta.get("git_branch"))
    t.slice("project", PurePosixPath(str(cwd or "").replace("\\", "/")).name or None)
    if t.steps:
        yield _ended(t)


def _meta(source: Source, name: str) -> dict[str, Any]:
    path = source.sibling(name)
    if path is None or path == source.path or path.stat().st_size > 1 << 20:
        return {}
    try:
        return mapping(orjson.loads(path.read_bytes()))
    except orjson.JSONDecodeError as error:
        source.issue("bad_sidecar", f"{path.name}: {error}")
        return {}


def _thought(message: Any) -> Any:
    """The message with the reasoning that Codex models told beside it."""
    told = [str(i["text"]) for i in mappings(mapping(message).get("codex_reasoning_items")) if i.get("text")]
    if not told or message.get("reasoning_content") or message.get("reasoning"):
        return message
    return {**message, "reasoning_content": "\n".join(told)}


@reader("hermes", title="Hermes agent sessions", rank=24, detect=_detect_hermes)
def read_hermes(source: Source) -> Iterator[Trace]:
    for record in _objects(source):
        value = record.value
        own = str(value.get("session_id") or source.stem)
        t = Trace("hermes", own, session_id=own, agent="hermes", framework="hermes", model=value.get("model"))
        listed = value.get("messages")
        rows = listed if isinstance(listed, list) else []
        said = [_thought(m) for m in rows if mapping(m).get("role") != "session_meta"]
        t.offer(value.get("tools") or None)
        if value.get("system_prompt"):
            t.step("system", value["system_prompt"], origin="harness")
        add_messages(t, said, pointer=f"{record.pointer or ''}/messages")
        t.started_at, t.ended_at = timestamp(value.get("session_start")), timestamp(value.get("last_updated"))
        t.metadata = {k: value[k] for k in ("platform", "base_url") if isinstance(value.get(k), str)}
        t.slice("platform", value.get("platform"))
        if t.steps:
            yield _ended(t)


@reader("qwenpaw", title="QwenPaw (AgentScope) sessions", rank=20, detect=_detect_qwenpaw, single=True)
def read_qwenpaw(source: Source) -> Iterator[Trace]:
    agent = mapping(mapping(source.document()).get("agent"))
    t = Trace(
        "qwenpaw", source.stem, session_id=source.stem, agent=agent.get("name") or "qwenpaw", framework="agentscope"
    )
    if isinstance(agent.get("_sys_prompt"), str):
        t.step("system", agent["_sys_prompt"], origin="harness")
    for i, row in enumerate(mapping(agent.get("memory")).get("content") or []):
        message = mapping(row[0] if isinstance(row, list) and row else row)
        where = {
            "ts": timestamp(message.get("timestamp")),
            "src_pointer": f"/agent/memory/content/{i}",
            "native_id": message.get("id"),
        }
        add_anthropic(t, message, where)
    t.time_basis = "naive_as_utc"
    if t.steps:
        yield _ended(t)
