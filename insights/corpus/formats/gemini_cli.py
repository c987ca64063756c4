"""Gemini CLI chats (~/.gemini/tmp/<project hash>/chats/session-*) and saved Gemini `contents`.

    {"sessionId": "s1", "projectHash": "9f…", "startTime": "2026-01-05T09:00:00Z", "messages": [{"id": "m2", "type": "gemini",
     "timestamp": "…", "content": "", "model": "gemini-…", "tokens": {"input": 90, "output": 7, "cached": 0, "thoughts": 3,
     "tool": 0}, "toolCalls": [{"id": "t1", "name": "read_file", "args": {…}, "status": "success", "result": [{…}]}]}]}

- One JSON document, or since 0.40 JSONL with upserts: a line with a known id replaces the message, `message_update` and
  `$set` patch, `$rewindTo` takes back the named message and all after it (`on_path` false).
- `output` excludes `thoughts` (added here); `input` includes `cached`; `tool` is prompt and added to the input.
- A shell command's failure is only in its text ("Exit Code: 1"); status "cancelled" is a denied permission when the text
  says so. "Request cancelled." is the person's interrupt.
Dropped: display text of tools, project hash (kept as metadata).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import flatten, timestamp
from insights.corpus.formats.response_items import EXIT_CODE
from insights.corpus.parse import mapping, mappings, word
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_text

TYPES = {"user", "gemini", "model", "info", "error", "warning"}
CANCELLED = re.compile(r"\s*(?:request cancell?ed|user cancell?ed|cancell?ed by user)", re.I)
NOT_ALLOWED = re.compile(
    r"user (?:did not allow|rejected|denied|declined)|not allow(?:ed)? tool call|denied by policy", re.I
)
HARNESS = re.compile(r"\s*(?:<session_context>|This is the Gemini CLI\.|<hook_context>|<state_snapshot>|\[SYSTEM\])")


def _detect(head: Head) -> Confidence | None:
    first = head.first
    held = first.get("messages")
    listed = held if isinstance(held, list) else []
    if "sessionId" in first and ("projectHash" in first or "startTime" in first) and "message" not in first:
        return "certain"
    if listed and all(
        isinstance(m, dict) and word(m.get("type")) in TYPES and "role" not in m for m in listed[:-1] or listed
    ):
        return "likely"
    if any("$set" in v or "$rewindTo" in v for v in head.records if isinstance(v, dict)):
        return "likely"
    contents = next((first[k] for k in ("history", "contents") if isinstance(first.get(k), list)), head.records)
    if contents and all(_is_content(c) for c in (contents[:-1] or contents)):
        return "likely"
    return None


def _is_content(value: Any) -> bool:
    return isinstance(value, dict) and value.get("role") in ("user", "model", "gemini", "function") and "parts" in value


mark(
    "gemini_log",
    title="Gemini CLI prompt log",
    rank=10,
    role="other",
    detect=lambda head: "certain" if {"sessionId", "messageId", "type", "message"} <= head.first.keys() else None,
)


@reader("gemini_cli", title="Gemini CLI chats", rank=22, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    header: dict[str, Any] = {}
    messages: dict[str, tuple[dict[str, Any], Record, bool]] = {}
    whole = 0
    for record in source.records():
        value = record.value
        if not isinstance(value, dict):
            source.n_bad += 1
            source.issue("not_a_line", f"a record is {type(value).__name__}, not an object", offset=record.offset)
            continue
        listed = next((value[k] for k in ("messages", "history", "contents") if isinstance(value.get(k), list)), None)
        if listed is not None and not messages:
            rows = {str(i): (m, record, True) for i, m in enumerate(listed) if isinstance(m, dict)}
            yield _trace(source, value, rows, whole)
            whole += 1
        elif not _update(value, record, header, messages):
            header.update({k: v for k, v in value.items() if k != "messages"})
    if messages:
        yield _trace(source, header, messages, whole)
    elif not whole:
        source.issue("no_conversation", "the chat has no messages", severity="info")


def _update(value: dict[str, Any], record: Record, header: dict[str, Any], messages: dict[str, Any]) -> bool:
    """Apply one line of a JSONL chat; False for a header."""
    own = str(value.get("id") or value.get("messageId") or len(messages))
    if "$set" in value:
        header.update(mapping(value["$set"]))
    elif "$rewindTo" in value:
        found = False
        for key, (message, place, on_path) in messages.items():
            found = found or key == str(value["$rewindTo"])
            messages[key] = (message, place, on_path and not found)
    elif value.get("type") == "message_update":
        patch = mapping(value.get("message")) or {k: v for k, v in value.items() if k not in ("type", "messageId")}
        if own in messages:
            before, place, on_path = messages[own]
            messages[own] = ({**before, **patch}, place, on_path)
    elif word(value.get("type")) in TYPES or "role" in value:
        messages[own] = (value, record, True)
    else:
        return False
    return True


def _trace(
    source: Source, header: dict[str, Any], rows: dict[str, tuple[dict[str, Any], Record, bool]], n: int
) -> Trace:
    own = header.get("sessionId") or header.get("session_id") or (f"{source.stem}#{n}" if n else source.stem)
    t = Trace(
        "gemini_cli", str(own), session_id=str(own), agent="gemini-cli", framework="gemini-cli", provider="google"
    )
    t.metadata = {k: v for k in ("projectHash", "kind", "summary") if isinstance(v := header.get(k), str)}
    t.started_at = timestamp(header.get("startTime") or header.get("start_time"))
    if header.get("kind") == "subagent":
        t.relation = "subagent"
    for i, (message, record, on_path) in enumerate(rows.values()):
        where: dict[str, Any] = {"on_path": on_path, "src_offset": record.offset, "src_len": record.length}
        if record.offset is None:
            where["src_pointer"] = f"{record.pointer or ''}/messages/{i}"
        where["ts"] = timestamp(message.get("timestamp") or message.get("ts"))
        _message(t, message, where)
    _close(t)
    return t


def _message(t: Trace, m: dict[str, Any], where: dict[str, Any]) -> None:
    kind = str(m.get("type") or m.get("role"))
    text, parts, _ = flatten(m.get("content", m.get("message")))
    if isinstance(m.get("id"), str):
        where["native_id"] = m["id"]
    if isinstance(m.get("parts"), list):
        add_parts(t, "assistant" if kind in ("gemini", "model") else "user", m["parts"], where)
    elif kind in ("gemini", "model"):
        thoughts = [
            "\n".join(str(h[k]) for k in ("subject", "description") if h.get(k)) for h in mappings(m.get("thoughts"))
        ]
        seq = t.step("assistant", text, origin="model", reasoning="\n\n".join(thoughts) or None, parts=parts, **where)
        _usage(t, seq, m, where["ts"])
        for call in mappings(m.get("toolCalls")):
            _call(t, seq, call, where)
    elif kind == "user":
        t.step("user", text, origin="harness" if HARNESS.match(text or "") else "human", parts=parts, **where)
    elif kind == "error":
        t.step("system", text, kind="error", origin="harness", is_error=True, **where)
    elif CANCELLED.match(text or ""):
        t.step("user", text, kind="interrupt", origin="human", **where)
    else:
        t.step("system", text, kind="log", origin="harness", extra={"type": kind}, **where)


def add_parts(t: Trace, role: str, parts: list[Any], where: dict[str, Any]) -> int | None:
    """Add one Gemini content (`parts`) as steps; returns the seq of its message, None where it is only results."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    rest: list[Any] = []
    for part in parts:
        held = mapping(part)
        if isinstance(part, str) or isinstance(held.get("text"), str):
            said = part if isinstance(part, str) else held["text"]
            (thoughts if held.get("thought") is True else texts).append(said)
        elif "functionCall" in held:
            calls.append(mapping(held["functionCall"]))
        elif "functionResponse" in held:
            answer = mapping(held["functionResponse"])
            _result(t, answer.get("response"), answer.get("id"), answer.get("name"), None, where)
        else:
            rest.append(part)
    if not (texts or thoughts or calls or rest):
        return None
    text = "\n".join(texts) if texts else None
    origin = "model" if role == "assistant" else "harness" if HARNESS.match(text or "") else "human"
    seq = t.step(role, text, origin=origin, reasoning="\n".join(thoughts) or None, parts=rest or None, **where)
    for call in calls:
        t.call(seq, call.get("name"), call.get("args"), id=call.get("id"), started_at=where.get("ts"))
    return seq


def _usage(t: Trace, seq: int, m: dict[str, Any], ended: Any) -> None:
    tokens = mapping(m.get("tokens"))
    if not tokens and not m.get("model"):
        return
    n = {k: v for k, v in tokens.items() if isinstance(v, int)}
    t.steps[seq].llm_call_id = t.llm(
        first_seq=seq,
        model=m.get("model"),
        provider="google",
        started_at=t.steps[seq - 1].ts if seq else None,
        ended_at=ended,
        input_tokens=n["input"] + n.get("tool", 0) if "input" in n else None,
        cache_read_tokens=n.get("cached"),
        output_tokens=n["output"] + n.get("thoughts", 0) if "output" in n else None,
        reasoning_tokens=n.get("thoughts"),
        status="ok",
    )


def _call(t: Trace, seq: int, call: dict[str, Any], where: dict[str, Any]) -> None:
    own = call.get("id") if isinstance(call.get("id"), str) else None
    t.call(seq, call.get("name"), call.get("args"), id=own, started_at=where["ts"])
    result = call.get("result")
    told = [mapping(mapping(r).get("functionResponse")) for r in result] if isinstance(result, list) else []
    answers = [r.get("response") for r in told if r]
    status = call.get("status")
    if not answers and status not in ("success", "error", "cancelled"):
        return
    shown = answers[0] if len(answers) == 1 else answers or call.get("resultDisplay") or result
    stamp = timestamp(call.get("timestamp")) or where["ts"]
    _result(t, shown, own, call.get("name"), status, {**where, "ts": stamp})


def _result(t: Trace, response: Any, own: Any, name: Any, status: Any, where: dict[str, Any]) -> None:
    held = mapping(response)
    text = as_text(held.get("output", held.get("error", held.get("result", response)))) if held else as_text(response)
    is_shell = isinstance(name, str) and ("shell" in name or "command" in name)
    found = EXIT_CODE.search((text or "").replace("\\n", "\n")) if is_shell else None
    code = int(found[1]) if found else None
    failed = status == "error" or "error" in held
    verdict: str | None = "error" if failed else None if code else "ok" if status == "success" else None
    if status == "cancelled":
        verdict = "denied" if NOT_ALLOWED.search((text or "")[:500]) else "cancelled"
    basis = "flag" if verdict in ("error", "denied", "cancelled") else None
    where = {k: v for k, v in where.items() if k != "native_id"}
    seq = t.result(text, id=own, name=name, status=verdict, error_basis=basis, exit_code=code, **where)
    call = next((c for c in reversed(t.calls) if c.result_seq == seq), None)
    if call is not None:
        call.ended_at = where.get("ts")
        if call.started_at and call.ended_at:
            call.duration_ms = (call.ended_at - call.started_at).total_seconds() * 1000


def _close(t: Trace) -> None:
    last = next((s for s in reversed(t.steps) if s.kind != "log" and s.on_path), None)
    if last is None:
        return
    if last.kind == "interrupt":
        t.end_reason = "user_abort"
    elif last.kind == "error":
        t.end_reason, t.error_message = "error", last.text
    elif last.role == "assistant" and last.text and not last.n_tool_calls:
        t.end_reason = "completed"
