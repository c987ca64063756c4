"""Lists of messages in the dialects of SDKs, saved by the applications built on them.

    vercel_ai  [{"id", "role": "assistant", "parts": [{"type": "text", "text"}, {"type": "tool-search", "toolCallId", "state", "input", "output"}]}],
               version 4's {"toolInvocations": […]}, and model messages [{"content": [{"type": "tool-call", "toolCallId", "toolName", "input"}]}]
    dotnet_ai  Semantic Kernel [{"Role": {"Label": "user"}, "Items": [{"$type": "FunctionCallContent", "Id", "PluginName", "FunctionName",
               "Arguments"}]}], Microsoft.Extensions.AI [{"role", "contents": [{"$type": "functionCall", "callId", "name", "arguments"}]}]
    agents_sql SQLite of OpenAI's Agents SDK: agent_messages(session_id, message_data, created_at), items of the Responses API

Containers: a bare list, an object with `messages`, one of these a line. A part of Vercel's that follows a tool's result is said after it:
a message becomes as many steps as it has such turns. Errors: `output-error` with `errorText`, `isError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import add_messages, apply_metadata, timestamp
from insights.corpus.formats.databases import opened, rows, tables
from insights.corpus.formats.payload import decoded, messages
from insights.corpus.formats.response_items import Items
from insights.corpus.parse import mapping, mappings, word
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_name, as_text


def _lists(head: Head) -> Iterator[list[dict[str, Any]]]:
    """The lists of messages that the head shows."""
    yield mappings(head.records)
    for record in head.records[:5]:
        yield mappings(record if isinstance(record, list) else mapping(record).get("messages"))


def _is_vercel(m: Mapping[str, Any]) -> bool:
    if word(m.get("role")) not in ("user", "assistant", "system", "tool"):
        return False
    if isinstance(m.get("toolInvocations"), list):
        return True
    parts = mappings(m.get("parts"))
    if parts and "id" in m and all(isinstance(p.get("type"), str) for p in parts):
        return "content" not in parts[0]  # OpenTelemetry's parts have `content`
    return any({"toolCallId", "toolName"} <= b.keys() for b in mappings(m.get("content")))


def _detect_vercel(head: Head) -> Confidence | None:
    return "likely" if any(any(map(_is_vercel, listed[:6])) for listed in _lists(head)) else None


@reader("vercel_ai", title="Vercel AI SDK messages", rank=20, detect=_detect_vercel)
def read_vercel(source: Source) -> Iterator[Trace]:
    for t, listed, where in _conversations(source, "vercel_ai", "ai-sdk"):
        for i, m in enumerate(listed):
            first = len(t.steps)
            for turn in _turns(m):
                add_messages(t, messages(turn), pointer=f"{where}/{i}")
            about = mapping(m.get("metadata"))
            for step in t.steps[first:]:
                step.ts = timestamp(m.get("createdAt") or about.get("createdAt"))
                step.native_id = as_name(m.get("id")) if step.kind == "message" else None
            if m.get("role") == "assistant" and len(t.steps) > first:
                _used(t, first, about)
        if t.steps:
            yield t


def _used(t: Trace, seq: int, about: Mapping[str, Any]) -> None:
    """What an application keeps of a call in the message's metadata, by the names that the SDK gives."""
    usage = mapping(about.get("usage") or about.get("totalUsage"))
    model = as_name(about.get("model") or about.get("modelId"))
    if not usage and model is None:
        return
    t.llm(
        first_seq=seq,
        model=model,
        input_tokens=usage.get("inputTokens", usage.get("promptTokens")),
        output_tokens=usage.get("outputTokens", usage.get("completionTokens")),
        cache_read_tokens=usage.get("cachedInputTokens"),
    )


def _turns(m: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A message in pieces, each ending with its calls."""
    parts = m.get("parts")
    if not isinstance(parts, list):
        yield dict(m)
        return
    held: list[Any] = []
    called = False
    for part in parts:
        kind = word(mapping(part).get("type"))
        calls = kind.startswith("tool-") or kind == "dynamic-tool"
        if held and (kind == "step-start" or (called and not calls)):
            yield {**m, "parts": held, "toolInvocations": None}
            held, called = [], False
        if kind != "step-start":
            held.append(part)
            called = called or calls
    if held:
        yield {**m, "parts": held, "toolInvocations": None}


def _conversations(source: Source, format: str, framework: str) -> Iterator[tuple[Trace, list[dict[str, Any]], str]]:
    """An empty trace, its messages and their place, for every conversation of a file."""
    loose: list[dict[str, Any]] = []
    for i, record in enumerate(source.records()):
        value = record.value
        listed = value if isinstance(value, list) else mapping(value).get("messages", mapping(value).get("Messages"))
        if isinstance(listed, list):
            about = mapping(value)
            own = as_name(about.get("id") or about.get("chatId") or about.get("threadId"))
            t = Trace(format, own or f"{source.label}#{i}", session_id=own, framework=framework)
            apply_metadata(
                t, {k: v for k, v in about.items() if k not in ("messages", "Messages", "tools", "id", "system")}
            )
            if isinstance(about.get("system"), str):
                t.step("system", about["system"], origin="harness")
            yield t, mappings(listed), f"{record.pointer or ''}/messages" if about else record.pointer or ""
        elif isinstance(value, dict):
            loose.append(value)
        else:
            _bad(source, record)
    if loose:
        yield Trace(format, source.label, framework=framework), loose, ""


def _bad(source: Source, record: Record) -> None:
    source.n_bad += 1
    source.issue("not_a_message", f"a record is {type(record.value).__name__}, not an object", offset=record.offset)


def _is_dotnet(m: Mapping[str, Any]) -> bool:
    blocks = mappings(m.get("Items")) + mappings(m.get("items")) + mappings(m.get("contents"))
    return ("Role" in m or "role" in m) and any("$type" in b for b in blocks)


def _detect_dotnet(head: Head) -> Confidence | None:
    return "certain" if any(any(map(_is_dotnet, listed[:6])) for listed in _lists(head)) else None


@reader("dotnet_ai", title="Semantic Kernel and Microsoft.Extensions.AI chat histories", rank=20, detect=_detect_dotnet)
def read_dotnet(source: Source) -> Iterator[Trace]:
    for t, listed, where in _conversations(source, "dotnet_ai", "dotnet"):
        for i, m in enumerate(listed):
            first = len(t.steps)
            add_messages(t, messages(_dotnet(m)), pointer=f"{where}/{i}")
            meta = mapping(m.get("Metadata") or m.get("additionalProperties"))
            for step in t.steps[first:]:
                step.ts = timestamp(m.get("createdAt") or meta.get("CreatedAt"))
            usage = mapping(meta.get("Usage") or meta.get("usage"))
            model = as_name(m.get("ModelId") or m.get("modelId"))
            if (model or usage) and len(t.steps) > first:
                t.llm(first_seq=first, model=model, input_tokens=usage.get("InputTokenCount", usage.get("PromptTokens")),
                      output_tokens=usage.get("OutputTokenCount", usage.get("CompletionTokens")))  # fmt: skip
        if t.steps:
            yield t


def _dotnet(m: Mapping[str, Any]) -> dict[str, Any]:
    said = m.get("Role", m.get("role"))
    role = as_name(mapping(said).get("Label") or mapping(said).get("label") or said) or "user"
    blocks: Any = next((m[k] for k in ("Items", "items", "contents") if isinstance(m.get(k), list)), None)
    held = mappings(blocks) or [{"type": "text", "text": as_text(m.get("Content") or m.get("content"))}]
    name = m.get("AuthorName") or m.get("authorName")
    return {"role": role.lower(), "content": held, **({"name": name} if name else {})}


def _detect_sql(head: Head) -> Confidence | None:
    return "certain" if {"agent_sessions", "agent_messages"} <= tables(head) else None


@reader("agents_sql", title="OpenAI Agents SDK sessions (SQLite)", rank=19, detect=_detect_sql)
def read_sql(source: Source) -> Iterator[Trace]:
    with opened(source) as con:
        for session in list(rows(con, "SELECT DISTINCT session_id FROM agent_messages ORDER BY session_id")):
            own = str(session["session_id"])
            t = Trace("agents_sql", own, session_id=own, framework="openai-agents")
            items = Items(t)
            for row in rows(con, "SELECT * FROM agent_messages WHERE session_id = ? ORDER BY id", own):
                source.n_records += 1
                item = mapping(decoded(row.get("message_data")))
                items.here = {"ts": timestamp(row.get("created_at")), "src_pointer": f"/agent_messages/{row.get('id')}"}
                if not items.item(item):
                    source.issue("no_step", f"an item of type {item.get('type')!r}", severity="info")
            items.close()
            if t.steps:
                yield t
