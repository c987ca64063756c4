"""Goose sessions: sessions.db since 2025, before that one *.jsonl a session.

    sessions.db  sessions(id, name, working_dir, created_at, input_tokens, output_tokens, provider_name, model_config_json, …)
                 messages(session_id, role, content_json, created_timestamp, …), content as below
    *.jsonl      {"working_dir": "/srv", "description": "…", "message_count": 4, "total_tokens": 300}   then
                 {"role": "assistant", "created": 1772359201, "content": [{"type": "toolRequest", "id": "c1", "toolCall": {"status": "success",
                  "value": {"name": "developer__shell", "arguments": {"command": "ls"}}}}]}

A toolResponse in a message of the user is a tool's result. Tokens are totals of the session. Errors: `toolResult.status`
or `isError`; a `toolCall` that could not be parsed is a call without arguments. `userVisible` false is the harness's text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.databases import opened, rows, tables
from insights.corpus.formats.payload import decoded
from insights.corpus.parse import mapping, mappings, number, word
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name, as_text


def _detect(head: Head) -> Confidence | None:
    if head.magic == "sqlite":
        return "certain" if {"sessions", "messages", "schema_version"} <= tables(head) else None
    first = head.first
    if (
        "working_dir" in first
        and {"message_count", "description", "total_tokens"} & first.keys()
        and "role" not in first
    ):
        return "certain"
    blocks = [b for r in head.records[:4] if isinstance(r, dict) for b in mappings(r.get("content"))]
    return "likely" if any(b.get("type") in ("toolRequest", "toolResponse") for b in blocks) else None


@reader("goose", title="Goose sessions", rank=19, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    if source.head.magic == "sqlite":
        yield from _from_database(source)
        return
    t = Trace("goose", source.stem, session_id=source.stem, agent="goose", framework="goose")
    for record in source.records():
        row = mapping(record.value)
        if "role" in row:
            _add(t, row, {"src_offset": record.offset, "src_len": record.length, "ts": timestamp(row.get("created"))})
        else:
            _about(t, row)
    if t.steps:
        yield t


def _from_database(source: Source) -> Iterator[Trace]:
    with opened(source) as con:
        for session in list(rows(con, "SELECT * FROM sessions ORDER BY id")):
            own = str(session.get("id"))
            t = Trace("goose", own, session_id=own, agent="goose", framework="goose")
            _about(t, session)
            for row in rows(con, "SELECT * FROM messages WHERE session_id = ? ORDER BY created_timestamp, id", own):
                source.n_records += 1
                shown = mapping(decoded(row.get("metadata_json"))).get("userVisible")
                where = {"ts": timestamp(row.get("created_timestamp")), "src_pointer": f"/messages/{row.get('id')}"}
                _add(
                    t,
                    {"role": row.get("role"), "content": decoded(row.get("content_json")), "hidden": shown is False},
                    where,
                )
            if t.steps:
                yield t


def _about(t: Trace, row: Mapping[str, Any]) -> None:
    t.metadata.update(
        {
            k: v
            for k in ("working_dir", "name", "description", "schedule_id", "session_type")
            if isinstance(v := row.get(k), str) and v
        }
    )
    t.started_at = timestamp(row.get("created_at"))
    t.provider = as_name(row.get("provider_name"))
    config = mapping(decoded(row.get("model_config_json")) or row.get("model_config"))
    t.model = as_name(config.get("model_name"))
    parent = as_name(row.get("parent_session_id"))
    if parent:
        t.parent_trace_id, t.relation = f"goose:{parent}", "subagent"

    def told(name: str) -> int | None:
        value = next((n for k in (f"accumulated_{name}", name) if (n := number(row.get(k))) is not None), None)
        return None if value is None else int(value)

    into, out = told("input_tokens"), told("output_tokens")
    if into is not None or out is not None:
        t.input_tokens, t.output_tokens, t.usage_basis = into, out, "reported_total"
    cost = number(row.get("accumulated_cost"))
    t.cost_usd = cost if cost is not None else t.cost_usd


def _add(t: Trace, m: Mapping[str, Any], where: dict[str, Any]) -> None:
    content = m.get("content")
    blocks = mappings(content) or [{"type": "text", "text": as_text(mapping(content).get("text") or content)}]
    role = (
        "user"
        if m.get("role") == "user"
        else "assistant"
        if m.get("role") == "assistant"
        else word(m.get("role")) or None
    )
    texts = [as_text(b.get("text")) or "" for b in blocks if b.get("type", "text") == "text"]
    thoughts = [
        as_text(b.get("thinking") or b.get("reasoning")) or ""
        for b in blocks
        if b.get("type") in ("thinking", "reasoning")
    ]
    calls = [
        b for b in blocks if word(b.get("type")).endswith(("toolRequest", "ToolRequest", "toolConfirmationRequest"))
    ]
    answers = [b for b in blocks if b.get("type") == "toolResponse"]
    rest = [
        b
        for b in blocks
        if b.get("type") not in ("text", "thinking", "reasoning") and b not in calls and b not in answers
    ]
    for b in answers:
        _result(t, b, where)
    if not (texts or thoughts or calls or rest):
        return
    origin = "model" if role == "assistant" else "harness" if m.get("hidden") or role == "system" else "human"
    seq = t.step(
        role,
        "\n".join(texts) or None,
        origin=origin,
        reasoning="\n".join(thoughts) or None,
        parts=rest or None,
        **where,
    )
    for b in calls:
        asked = mapping(b.get("toolCall"))
        value = mapping(asked.get("value")) or asked
        known = b if "toolName" in b else {"toolName": value.get("name"), "arguments": value.get("arguments")}
        t.call(seq, as_name(known.get("toolName")), known.get("arguments"), id=as_name(b.get("id")), started_at=where["ts"],
               args_error=as_text(asked.get("error")) if asked.get("status") == "error" else None)  # fmt: skip


def _result(t: Trace, block: Mapping[str, Any], where: dict[str, Any]) -> None:
    told = decoded(block.get("toolResult"))
    held = mapping(told)
    value: Any = held.get("value", held.get("error")) if held else told
    inner = value.get("content") if isinstance(value, dict) and "content" in value else value
    failed = (
        held.get("status") == "error" or mapping(value).get("isError") is True or mapping(value).get("is_error") is True
    )
    items = mappings(inner)
    texts = [as_text(mapping(i.get("resource")).get("text") or i.get("text")) or "" for i in items]
    structured = mapping(value).get("structuredContent") or mapping(value).get("structured_content")
    code = number(mapping(structured).get("exit_code", mapping(structured).get("exitCode", block.get("exitCode"))))
    rest = [i for i in items if "text" not in i and "resource" not in i] or None
    t.result("\n".join(texts) if items else as_text(inner), id=as_name(block.get("id") or block.get("toolCallId")),
             status="error" if failed else "ok" if held and code is None else None, error_basis="flag" if failed else None,
             exit_code=int(code) if code is not None and not failed else None, parts=rest, **where)  # fmt: skip
