"""Pi and OpenClaw sessions: a header line, then a tree of entries by id/parentId. OpenClaw is built on Pi.

    {"type": "session", "version": 3, "id": "9f18…", "timestamp": "…", "cwd": "/srv/shop"}
    {"type": "message", "id": "b2", "parentId": "a1", "timestamp": "…", "message": {"role": "assistant", "content": [
     {"type": "toolCall", "id": "t1", "name": "exec", "arguments": {…}}], "usage": {"input": 2, "output": 9, "cacheRead": 90},
     "stopReason": "toolUse"}}

- The path from the last message up to the root is what happened; entries beside it are abandoned branches.
- `usage.input` excludes the cache (added here); `cost.total` is dollars.
- Tool failures: `isError`, else `details.exitCode`, else a JSON answer that opens with "status": "error".
- A prompt that opens with "[Subagent Context]" marks a sub-agent; its parent is not named in the file. `branchedFrom` and
  `parentSession` name the session it was forked from.
Dropped and counted: thinking levels, snapshots, labels.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import flatten, timestamp
from insights.corpus.parse import mapping
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_text

HARNESS = re.compile(r"\s*(?:<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>|<system-reminder>|\[system\]|System: )")
FAILED = re.compile(r'\s*\{\s*"status"\s*:\s*"error"')
DENIED = re.compile(
    r"(?:denied|rejected|blocked) by (?:the )?(?:user|policy|allowlist|hook)|user (?:denied|rejected)|approval (?:denied|required)",
    re.I,
)
STOPPED = {"stop": "completed", "length": "limit_tokens", "error": "error", "aborted": "user_abort"}


def _is_pi(head: Head) -> bool:
    first = head.first
    return first.get("type") == "session" and "id" in first and ("version" in first or "cwd" in first)


def _detect_pi(head: Head) -> Confidence | None:
    return "certain" if _is_pi(head) and b"openclaw" not in head.head.lower() else None


def _detect_openclaw(head: Head) -> Confidence | None:
    return "certain" if _is_pi(head) and b"openclaw" in head.head.lower() else None


mark(
    "openclaw_pointer",
    title="OpenClaw trajectory pointer or head",
    rank=10,
    role="other",
    detect=lambda head: "certain" if str(head.first.get("traceSchema", "")).startswith("openclaw-trajectory") else None,
)


@reader("pi", title="Pi sessions", rank=21, detect=_detect_pi)
def read_pi(source: Source) -> Iterator[Trace]:
    yield from _read(source, "pi")


@reader("openclaw", title="OpenClaw sessions", rank=21, detect=_detect_openclaw)
def read_openclaw(source: Source) -> Iterator[Trace]:
    yield from _read(source, "openclaw")


def _read(source: Source, brand: str) -> Iterator[Trace]:
    entries = [r for r in source.records() if isinstance(r.value, dict)]
    header: dict[str, Any] = next((r.value for r in entries if r.value.get("type") == "session"), {})
    own = str(header.get("id") or source.stem)
    t = Trace(brand, own, session_id=own, agent=brand, framework=brand)
    t.started_at = timestamp(header.get("timestamp"))
    path = _path(entries)
    dropped: Counter[str] = Counter()
    for record in entries:
        value = record.value
        where = {
            "ts": timestamp(value.get("timestamp")),
            "src_offset": record.offset,
            "src_len": record.length,
            "native_id": value.get("id"),
            "on_path": str(value.get("id")) in path or value.get("type") != "message",
        }
        if not _entry(t, value, where):
            dropped[str(value.get("customType") or value.get("type"))] += 1
    dropped.pop("session", None)
    if dropped:
        told = ", ".join(f"{kind} {n}" for kind, n in dropped.most_common())
        source.issue("no_step", f"lines outside the conversation: {told}", severity="info", n=dropped.total())
    _describe(t, header)
    if t.steps:
        yield t
    else:
        source.issue("no_conversation", f"session {own} has no messages", severity="info")


def _path(entries: list[Record]) -> set[str]:
    """Ids from the last message up to the root; a parent that is not in the file means the entry before."""
    order = [str(r.value.get("id")) for r in entries]
    parent = {str(r.value.get("id")): r.value.get("parentId") for r in entries}
    at = next((str(r.value.get("id")) for r in reversed(entries) if r.value.get("type") == "message"), None)
    index = {own: i for i, own in enumerate(order)}
    path: set[str] = set()
    while at is not None and at not in path:
        path.add(at)
        above = parent.get(at)
        if above is not None and str(above) not in index:
            above = order[index[at] - 1] if index[at] else None
        at = None if above is None else str(above)
    return path


def _entry(t: Trace, value: dict[str, Any], where: dict[str, Any]) -> bool:
    kind = value.get("type")
    message = mapping(value.get("message"))
    if kind == "message":
        add_message(t, message, where)
    elif kind in ("compaction", "branch_summary"):
        step = "compaction" if kind == "compaction" else "log"
        t.step(
            "system",
            value.get("summary"),
            kind=step,
            origin="harness",
            extra={"tokens_before": value.get("tokensBefore")},
            **where,
        )
    elif kind == "custom_message":
        text, parts, _ = flatten(value.get("content"))
        t.step("user", text, origin="harness", parts=parts, extra={"type": value.get("customType")}, **where)
    elif kind == "model_change":
        t.metadata.setdefault("model", value.get("modelId"))
    elif kind == "session_info" and value.get("name"):
        t.metadata["title"] = value["name"]
    else:
        return False
    return True


def add_message(t: Trace, m: dict[str, Any], where: dict[str, Any]) -> None:
    """Append a message; `where` holds step columns, `on_path` among them."""
    role = m.get("role")
    text, parts, _ = flatten(m.get("content"))
    if role == "assistant":
        _answer(t, m, where)
    elif role == "toolResult":
        _result(t, m, text, parts, where)
    elif role == "bashExecution":
        shown = f"$ {m.get('command')}\n{m.get('output') or ''}"
        t.step("user", shown, kind="log", origin="human", extra={"exit_code": m.get("exitCode")}, **where)
    elif role == "user":
        sub = (text or "").lstrip().startswith("[Subagent Context]") or "[Subagent Context]" in (text or "")[:80]
        if sub and not any(s.role == "user" for s in t.steps):
            t.relation = "subagent"
        origin = "harness" if HARNESS.match(text or "") else "model" if sub else "human"
        t.step("user", text, origin=origin, parts=parts, **where)
    else:
        t.step(str(role), text or as_text(m.get("summary")), origin="harness", parts=parts, **where)


def _answer(t: Trace, m: dict[str, Any], where: dict[str, Any]) -> None:
    content = m.get("content")
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    held = [mapping(b) for b in blocks]
    thoughts = [str(b["thinking"]) for b in held if b.get("type") == "thinking" and b.get("thinking")]
    texts = [str(b["text"]) for b in held if b.get("type") == "text" and b.get("text")]
    rest = [b for b in held if b.get("type") not in ("text", "thinking", "toolCall")]
    hidden = any(b.get("type") == "thinking" for b in held) and not thoughts
    seq = t.step("assistant", "\n\n".join(texts) or None, origin="model", reasoning="\n\n".join(thoughts) or None,
                 reasoning_hidden=hidden or None, parts=rest or None, **where)  # fmt: skip
    usage, stop = mapping(m.get("usage")), m.get("stopReason")
    if usage or m.get("model"):
        _model_call(t, m, usage, seq, where)
    for block in held:
        if block.get("type") == "toolCall":
            t.call(seq, block.get("name"), block.get("arguments"), id=block.get("id"), started_at=where["ts"])
    place = {k: v for k, v in where.items() if k != "native_id"}
    if stop == "aborted":
        t.step("user", m.get("errorMessage") or "aborted", kind="interrupt", origin="human", **place)
    elif stop == "error":
        t.step("system", m.get("errorMessage"), kind="error", origin="harness", is_error=True, **place)
    if where["on_path"]:
        t.native_end_reason, t.end_reason = stop, STOPPED.get(str(stop), "unknown")
        t.error_message = m.get("errorMessage") if stop == "error" else None


def _model_call(t: Trace, m: dict[str, Any], usage: dict[str, Any], seq: int, where: dict[str, Any]) -> None:
    n = {k: v for k, v in usage.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    cost = mapping(usage.get("cost")).get("total")
    stop = m.get("stopReason")
    t.provider = t.provider or m.get("provider")
    t.steps[seq].llm_call_id = t.llm(
        first_seq=seq,
        model=m.get("responseModel") or m.get("model"),
        model_requested=m.get("model"),
        provider=m.get("provider"),
        started_at=timestamp(m.get("timestamp")),
        ended_at=where["ts"],
        input_tokens=n["input"] + n.get("cacheRead", 0) + n.get("cacheWrite", 0) if "input" in n else None,
        cache_read_tokens=n.get("cacheRead"),
        cache_write_tokens=n.get("cacheWrite"),
        output_tokens=n.get("output"),
        cost_usd=cost if isinstance(cost, (int, float)) and cost > 0 else None,  # 0: no price is configured
        finish_reason=stop,
        native_finish_reason=stop,
        status="error" if stop == "error" else "cancelled" if stop == "aborted" else "ok",
        error_message=m.get("errorMessage"),
    )


def _result(t: Trace, m: dict[str, Any], text: str | None, parts: Any, where: dict[str, Any]) -> None:
    details = mapping(m.get("details"))
    code = details.get("exitCode") if isinstance(details.get("exitCode"), int) else None
    status, basis = ("error", "exit_code") if code else ("ok", None)
    if m.get("isError"):
        status, basis = ("denied" if DENIED.search((text or "")[:400]) else "error"), "flag"
    elif FAILED.match(text or ""):
        status, basis = "error", "text"
    columns: dict[str, Any] = {"ended_at": where["ts"]}
    if isinstance(details.get("durationMs"), (int, float)):
        columns["duration_ms"] = float(details["durationMs"])
    place = {k: v for k, v in where.items() if k != "native_id"}
    t.result(text, id=m.get("toolCallId"), name=m.get("toolName"), status=status, error_basis=basis, exit_code=code,
             parts=parts, call_columns=columns, **place)  # fmt: skip


def _describe(t: Trace, header: dict[str, Any]) -> None:
    parent = header.get("branchedFrom") or header.get("parentSession")
    if isinstance(parent, str):
        stem = PurePosixPath(parent.replace("\\", "/")).name.removesuffix(".jsonl").rsplit("_", 1)[-1]
        t.relation, t.parent_trace_id = t.relation or "fork", f"{t.format}:{stem}"
    t.metadata["cwd"] = header.get("cwd")
    t.slice("project", PurePosixPath(str(header.get("cwd") or "").replace("\\", "/")).name or None)
