"""Zed's agent threads: ~/.local/share/zed/threads/threads.db.

    threads(id, summary, updated_at, data_type, data)   data is JSON, mostly compressed with zstd:
    {"version": "0.3.0", "title": "…", "model": {"provider": "…", "model": "…"}, "messages": [{"User": {"id": "…", "content": [{"Text": "…"}]}},
     {"Agent": {"content": [{"Thinking": {"text": "…"}}, {"ToolUse": {"id": "t1", "name": "grep", "input": {…}}}],
      "tool_results": {"t1": {"tool_name": "grep", "is_error": false, "content": {"Text": "…"}}}}}], "request_token_usage": {…}}
    {"version": "0.2.0", "messages": [{"role": "user", "segments": [{"type": "text", "text": "…"}], "tool_uses": […], "tool_results": […]}]}

Token usage is told for each request (cached tokens beside the input: added) and as a sum; the sum counts. Errors: `is_error`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.databases import opened, rows, tables
from insights.corpus.parse import Unparseable, loads, mapping, mappings, number
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name, as_text

LARGEST = 256 << 20  # unit: bytes of a thread when unpacked


def _detect(head: Head) -> Confidence | None:
    if head.magic == "sqlite":
        return "likely" if "threads" in tables(head) else None
    rows = mappings(head.first.get("messages"))
    return "likely" if rows and {"User", "Agent"} & rows[0].keys() and "title" in head.first else None


@reader("zed", title="Zed agent threads", rank=19, detect=_detect, single=True)
def read(source: Source) -> Iterator[Trace]:
    if source.head.magic != "sqlite":
        yield _trace(source.stem, mapping(source.document()), {})
        return
    with opened(source) as con:
        for row in list(rows(con, "SELECT * FROM threads ORDER BY id")):
            source.n_records += 1
            thread = _unpacked(row.get("data"))
            if not thread:
                source.n_bad += 1
                source.issue("bad_row", f"thread {row.get('id')} is no JSON that can be read")
                continue
            t = _trace(str(row.get("id")), thread, row)
            if t.steps:
                yield t


def _unpacked(data: Any) -> dict[str, Any]:
    import zstandard

    raw = data.encode() if isinstance(data, str) else data if isinstance(data, bytes) else b""
    try:
        if raw[:4] == b"\x28\xb5\x2f\xfd":
            raw = zstandard.ZstdDecompressor().stream_reader(raw).read(LARGEST)
        return mapping(loads(raw)[0])
    except (zstandard.ZstdError, Unparseable):
        return {}


def _trace(own: str, thread: Mapping[str, Any], row: Mapping[str, Any]) -> Trace:
    t = Trace(
        "zed",
        own,
        session_id=own,
        agent="zed",
        framework="zed",
        model=as_name(mapping(thread.get("model")).get("model")),
    )
    t.provider = as_name(mapping(thread.get("model")).get("provider"))
    t.ended_at = timestamp(thread.get("updated_at") or row.get("updated_at"))
    title = thread.get("title") or thread.get("summary") or row.get("summary")
    t.metadata.update({"title": title} if isinstance(title, str) else {})
    usage = mapping(thread.get("cumulative_token_usage"))
    if usage:
        read, write = (
            int(number(usage.get(k)) or 0) for k in ("cache_read_input_tokens", "cache_creation_input_tokens")
        )
        t.usage_basis, t.output_tokens = "reported_total", int(number(usage.get("output_tokens")) or 0)
        t.input_tokens = int(number(usage.get("input_tokens")) or 0) + read + write
        t.cache_read_tokens, t.cache_write_tokens = read or None, write or None
    for i, m in enumerate(thread["messages"] if isinstance(thread.get("messages"), list) else []):
        where = {"src_pointer": f"/messages/{i}"}
        if "role" in mapping(m):
            _older(t, mapping(m), where)
        elif "User" in mapping(m):
            _add(t, "user", mapping(m["User"]).get("content"), {}, where)
        elif "Agent" in mapping(m):
            agent = mapping(m["Agent"])
            _add(t, "assistant", agent.get("content"), mapping(agent.get("tool_results")), where)
        else:
            t.step("system", as_text(m), kind="log", origin="harness", **where)
    return t


def _add(t: Trace, role: str, content: Any, results: Mapping[str, Any], where: dict[str, Any]) -> None:
    texts: list[str] = []
    thoughts: list[str] = []
    uses: list[dict[str, Any]] = []
    rest: list[Any] = []
    for block in content if isinstance(content, list) else [content]:
        held = mapping(block)
        if isinstance(block, str) or isinstance(held.get("Text"), str):
            texts.append(block if isinstance(block, str) else held["Text"])
        elif "Thinking" in held:
            thoughts.append(as_text(mapping(held["Thinking"]).get("text")) or "")
        elif "ToolUse" in held:
            uses.append(mapping(held["ToolUse"]))
        elif isinstance(mapping(held.get("Mention")).get("content"), str):
            texts.append(held["Mention"]["content"])
        elif block is not None:
            rest.append(block)
    origin = "model" if role == "assistant" else "human"
    seq = t.step(
        role,
        "\n".join(texts) or None,
        origin=origin,
        reasoning="\n".join(thoughts) or None,
        parts=rest or None,
        **where,
    )
    for use in uses:
        t.call(seq, as_name(use.get("name")), use.get("input") or use.get("raw_input"), id=as_name(use.get("id")))
    for use in uses:
        told = mapping(results.get(str(use.get("id"))))
        if told:
            _result(t, as_name(use.get("id")), told, where)


def _result(t: Trace, id: str | None, told: Mapping[str, Any], where: dict[str, Any]) -> None:
    content = told.get("content")
    text = content.get("Text") if isinstance(content, dict) and isinstance(content.get("Text"), str) else None
    failed = told.get("is_error") is True
    t.result(text if text is not None else as_text(content or told.get("output")), id=id, status="error" if failed else "ok",
             error_basis="flag" if failed else None, **where)  # fmt: skip


def _older(t: Trace, m: Mapping[str, Any], where: dict[str, Any]) -> None:
    """A message of version 0.2 and before: segments, with calls and results beside them."""
    segments = mappings(m.get("segments")) or [{"type": "text", "text": m.get("text")}]
    blocks: list[Any] = [{"Thinking": s} if s.get("type") == "thinking" else as_text(s.get("text")) for s in segments]
    uses = [{"ToolUse": u} for u in mappings(m.get("tool_uses"))]
    results = {str(r.get("tool_use_id")): r for r in mappings(m.get("tool_results"))}
    role = "user" if m.get("role") == "user" else "assistant" if m.get("role") == "assistant" else "system"
    _add(t, role, [*blocks, *uses], results, where)
