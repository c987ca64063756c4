"""Cursor's own store: User/globalStorage/state.vscdb.

    cursorDiskKV  composerData:<id>        {"composerId", "name", "createdAt", "modelConfig": {"modelName"}, "fullConversationHeadersOnly":
                                            [{"bubbleId": "b1", "type": 1}, {"bubbleId": "b2", "type": 2}]}
                  bubbleId:<id>:<bubble>   {"type": 2, "text": "…", "thinking": {"text": "…"}, "createdAt", "tokenCount": {…},
                                            "toolFormerData": {"name": "run_terminal_cmd", "toolCallId", "params": "{…}", "result": "{…}", "status"}}

One trace a conversation ("composer"); type 1 is the person, 2 the assistant. Older stores keep the bubbles inside the composer
(`conversation`). A bubble is a text, a thought or one call with its result; calls between two texts belong to the step before.
Bubbles that no composer lists are counted. Errors: status error, an exit code, `error`. Tokens where Cursor wrote them.
A project's own state.vscdb (workspaceStorage) and the CLI's store.db (binary) hold no conversation that can be read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.databases import opened, rows, tables
from insights.corpus.formats.payload import decoded
from insights.corpus.parse import mapping, mappings, number, word
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name, as_text

STATUS = {"error": "error", "cancelled": "cancelled", "rejected": "denied", "loading": "pending", "pending": "pending"}
NOTICE = "<system_notification>"
KIND = {1: "user", 2: "assistant", "user": "user", "ai": "assistant", "assistant": "assistant"}


def _detect(head: Head) -> Confidence | None:
    return "certain" if "cursorDiskKV" in tables(head) else None


mark("vscode_state", title="editor state without conversations", rank=19, role="other",
     detect=lambda head: "likely" if tables(head) == {"ItemTable"} else None)  # fmt: skip
mark("cursor_cli_store", title="Cursor CLI store (binary)", rank=19, role="other",
     detect=lambda head: "likely" if tables(head) == {"blobs", "meta"} else None)  # fmt: skip


@reader("cursor_store", title="Cursor editor store (state.vscdb)", rank=19, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    with opened(source) as con:
        listed = 0
        query = "SELECT key, value FROM cursorDiskKV WHERE key GLOB 'composerData:*' ORDER BY key"
        for row in list(rows(con, query)):
            source.n_records += 1
            composer = mapping(decoded(_text(row.get("value"))))
            own = str(row["key"]).partition(":")[2]
            bubbles = _bubbles(con, own, composer)
            listed += len(bubbles)
            t = _trace(own, composer, bubbles)
            if t.steps:
                yield t
        (n,) = con.execute("SELECT count(*) FROM cursorDiskKV WHERE key GLOB 'bubbleId:*'").fetchone()
        if n > listed:
            source.issue("orphan_bubble", "messages that no conversation lists", severity="info", n=n - listed)


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _bubbles(con: sqlite3.Connection, own: str, composer: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(id, bubble) in the order of the conversation."""
    held = [("", m) for m in mappings(composer.get("conversation"))]
    if held:
        return [(str(m.get("bubbleId") or i), m) for i, (_, m) in enumerate(held)]
    found = []
    for header in mappings(composer.get("fullConversationHeadersOnly")):
        id = str(header.get("bubbleId"))
        row = con.execute("SELECT value FROM cursorDiskKV WHERE key = ?", [f"bubbleId:{own}:{id}"]).fetchone()
        bubble = mapping(decoded(_text(row[0]))) if row else {}
        found.append((id, {"type": header.get("type"), **bubble}))
    return found


def _trace(own: str, composer: Mapping[str, Any], bubbles: list[tuple[str, dict[str, Any]]]) -> Trace:
    t = Trace("cursor_store", own, session_id=own, agent="cursor", framework="cursor")
    t.started_at = timestamp(composer.get("createdAt"))
    t.ended_at = timestamp(composer.get("lastUpdatedAt"))
    t.metadata.update({k: v for k in ("name", "unifiedMode", "status") if isinstance(v := composer.get(k), str)})
    t.model = as_name(mapping(composer.get("modelConfig")).get("modelName"))
    missing = sum(not {"text", "toolFormerData", "thinking"} & b.keys() for _, b in bubbles)
    seq: int | None = None
    for id, bubble in bubbles:
        t.model = as_name(mapping(bubble.get("modelInfo")).get("modelName")) or t.model
        seq = _bubble(
            t,
            bubble,
            seq,
            {"native_id": id, "src_pointer": f"bubbleId:{own}:{id}", "ts": timestamp(bubble.get("createdAt"))},
        )
    if missing:
        t.issue("missing_bubble", "messages listed whose content is not in the store", n=missing)
    ended = {"completed": "completed", "aborted": "user_abort", "error": "error"}
    t.native_end_reason = as_name(composer.get("status"))
    t.end_reason = ended.get(word(composer.get("status")))
    return t


def _bubble(t: Trace, b: Mapping[str, Any], seq: int | None, where: dict[str, Any]) -> int | None:
    """Add a bubble; returns the step of the assistant that a call which comes next belongs to."""
    text = as_text(b.get("text")) or None
    if KIND.get(b.get("type"), "assistant") == "user":
        if text:
            context = mapping(b.get("context"))
            files = [x for k in ("fileSelections", "selections") for x in mappings(context.get(k))]
            origin = "harness" if NOTICE in text else "human"
            t.step("user", text, origin=origin, extra={"context": files} if files else None, **where)
        return None
    thought = (
        as_text(mapping(b.get("thinking")).get("text"))
        if isinstance(b.get("thinking"), dict)
        else as_text(b.get("thinking"))
    )
    call = mapping(b.get("toolFormerData"))
    if text or thought or (call and seq is None):
        seq = t.step("assistant", text, origin="model", reasoning=thought or None, **where)
        tokens = mapping(b.get("tokenCount"))
        into, out = number(tokens.get("inputTokens")), number(tokens.get("outputTokens"))
        if into or out:
            t.steps[seq].llm_call_id = t.llm(str(where["native_id"]), first_seq=seq, model=t.model, started_at=where["ts"],
                                             input_tokens=into, output_tokens=out)  # fmt: skip
    if call and seq is not None:
        _call(t, seq, call, where)
    return seq


def _call(t: Trace, seq: int, call: Mapping[str, Any], where: dict[str, Any]) -> None:
    args = next(
        (v for k in ("params", "rawArgs") if isinstance(v := decoded(call.get(k)), dict) and v), call.get("rawArgs")
    )
    id = as_name(call.get("toolCallId"))
    t.call(seq, as_name(call.get("name") or call.get("tool")), args, id=id, started_at=where["ts"])
    refused = word(call.get("userDecision")) == "rejected"
    status = "denied" if refused else STATUS.get(word(call.get("status")))
    result = decoded(call.get("result"))
    raised = as_text(decoded(call.get("error")) or mapping(result).get("error"))
    code = number(mapping(result).get("exitCode"))
    if status == "pending" and result is None:
        return
    only = next((v for k in ("output", "contents") if (v := mapping(result).get(k)) is not None), None)
    if not set(mapping(result)) <= {"output", "contents", "exitCode", "rejected"}:
        only = None
    said = as_text(only if only is not None else result if result not in (None, "", {}) else raised)
    failed = status == "error" or bool(raised)
    t.result(said, id=id, status="error" if failed else status if status != "pending" else None, error_basis="flag" if failed else None,
             exit_code=int(code) if code is not None else None, **{**where, "native_id": None})  # fmt: skip
