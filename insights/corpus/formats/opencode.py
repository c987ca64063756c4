"""OpenCode: its SQLite store (opencode.db), the earlier storage/ folders, and `opencode export`.

    storage/session/<project>/ses_1.json    {"id": "ses_1", "directory": "/srv/shop", "title": "…", "time": {"created": 1730000000000}}
    storage/message/ses_1/msg_2.json        {"id": "msg_2", "sessionID": "ses_1", "role": "assistant", "modelID": "…", "cost": 0.01,
                                             "tokens": {"input": 12, "output": 7, "reasoning": 0, "cache": {"read": 90, "write": 0}}}
    storage/part/msg_2/prt_3.json           {"type": "tool", "tool": "bash", "callID": "c1", "state": {"status": "completed", …}}

- One trace a session; the session file reads its messages and parts, which are "part" files. Sessions with a parentID
  are sub-agents.
- `opencode run --format json` gives the parts as events, without the prompt.
- The database is read from a copy with its write-ahead log, so a running OpenCode is not touched.
- `input` excludes the cache (added here); `output` excludes `reasoning` (added here). One assistant message is one model call.
- Tool `invalid` is an error though "completed"; the failure of bash is only in `state.metadata.exit`; a rejected
  permission is an error text: status "denied". Aborted messages are interrupts. `synthetic` text is the harness's.
- Messages after `session.revert` are taken back: `on_path` false.
Dropped: snapshots, patches' hashes (kept as log steps with their files), step marks.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.parse import clean, mapping, sequence
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_text

DENIED = re.compile(
    r"(?:The )?user (?:rejected|has specified a rule which prevents)|permission (?:was )?(?:rejected|denied)", re.I
)
Message = tuple[dict[str, Any], list[dict[str, Any]], str | None]  # info, parts, where it stands


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if head.magic == "sqlite":
        return "certain" if {"session", "message", "part"} <= _tables(head.path) else None
    if isinstance(first.get("info"), dict) and isinstance(first.get("messages"), list):
        rows = first["messages"]
        return "certain" if not rows or (isinstance(rows[0], dict) and "info" in rows[0]) else None
    if {"type", "sessionID", "timestamp"} <= first.keys() and ("part" in first or "error" in first):
        return "certain"
    if {"id", "title"} <= first.keys() and ("projectID" in first or "directory" in first):
        return "certain" if isinstance(first.get("time"), dict) else None
    return None


def _tables(path: Path) -> set[str]:
    """Names of the tables of a database, read without locking it; with its log, for what is not yet written back."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as con:
            found = {str(name) for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError:
        return set()
    if found or path.name != "opencode.db":
        return found
    return {"session", "message", "part"} if path.with_name(path.name + "-wal").exists() else found


def _is_member(head: Head) -> Confidence | None:
    first = head.first
    if isinstance(first.get("time"), dict) and "role" in first and ("sessionID" in first or "modelID" in first):
        return "certain"
    if "messageID" in first and "type" in first and "id" in first:
        return "certain"
    inside = "part" in head.path.parts or "part" in PurePosixPath(head.name).parts
    return "likely" if inside and {"id", "type", "text"} <= first.keys() else None


mark(
    "sqlite_log",
    title="write-ahead log of a database",
    rank=10,
    role="part",
    detect=lambda head: "certain" if head.name.endswith(("-wal", "-shm")) and not head.records else None,
)
mark("opencode_part", title="OpenCode message or part", rank=21, role="part", detect=_is_member)


@reader("opencode", title="OpenCode sessions", rank=20, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    if source.head.magic == "sqlite":
        traces = _from_database(source)
    elif "sessionID" in source.head.first:
        traces = _from_events(source)
    else:
        traces = _from_document(source)
    for trace in traces:
        if trace.steps:
            yield trace
        else:
            source.issue("no_conversation", f"session {trace.native_id} has no messages", severity="info")


def _from_document(source: Source) -> Iterator[Trace]:
    document = mapping(source.document())
    if "messages" in document:
        rows = [m for m in document["messages"] if isinstance(m, dict)]
        messages: list[Message] = [
            (mapping(m.get("info")), sequence(m.get("parts")), f"/messages/{i}") for i, m in enumerate(rows)
        ]
        yield _trace(mapping(document.get("info")), messages)
    elif "id" in document:
        yield _trace(document, list(_from_folders(source, str(document["id"]))))


def _from_events(source: Source) -> Iterator[Trace]:
    """Events of `opencode run --format json`: parts as they were finished, without what the person asked."""
    sessions: dict[str, dict[str, Message]] = {}
    for record in source.records():
        value = mapping(record.value)
        part = mapping(value.get("part"))
        time = {"created": value.get("timestamp")}
        message = sessions.setdefault(str(value.get("sessionID")), {})
        own = str(part.get("messageID") or f"error-{record.offset}")
        info, parts, _ = message.setdefault(
            own, ({"id": own, "role": "assistant", "time": time}, [], f"@{record.offset}")
        )
        if part:
            parts.append(part)
        elif value.get("error"):
            info["error"] = value["error"]
    for own, messages in sessions.items():
        yield _trace({"id": own}, list(messages.values()))


def _from_folders(source: Source, session: str) -> Iterator[Message]:
    storage = _storage(source.path)
    folder = storage / "message" / session if storage else None
    if storage is None or folder is None or not _inside(source, folder):
        source.issue("no_messages", f"session {session}: no folder message/{session} beside it")
        return
    loaded = sorted(
        (_load(source, p) for p in sorted(folder.glob("*.json"))), key=lambda m: (_created(m), str(m.get("id")))
    )
    by_message = None
    for info in loaded:
        own = str(info.get("id"))
        place = storage / "part" / own
        files = sorted(place.glob("*.json")) if _inside(source, place) else None
        if files is None:
            if by_message is None:  # the earliest layout: all parts in one folder
                by_message = [_load(source, p) for p in sorted((storage / "part").glob("*.json"))]
            parts = [p for p in by_message if p.get("messageID") == own]
        else:
            parts = [_load(source, p) for p in files]
        yield info, parts, f"/message/{own}"


def _storage(path: Path) -> Path | None:
    """The folder that holds session/, message/ and part/."""
    return next((p.parent for p in path.parents if p.name == "session" and (p.parent / "message").is_dir()), None)


def _inside(source: Source, folder: Path) -> bool:
    """Whether a folder exists and belongs to the same storage (never through a link)."""
    storage = _storage(source.path)
    return storage is not None and folder.is_dir() and folder.resolve().is_relative_to(storage.resolve())


def _load(source: Source, path: Path) -> dict[str, Any]:
    storage = _storage(source.path)
    if storage is None or not path.resolve().is_relative_to(storage.resolve()):
        source.issue("outside_root", f"{path.name} is a link that leaves the folder")
        return {}
    try:
        value = orjson.loads(path.read_bytes())
    except (orjson.JSONDecodeError, OSError) as error:
        source.n_bad += 1
        source.issue("bad_member", f"{path.name}: {error}")
        return {}
    source.n_records += 1
    return mapping(value)


def _created(info: dict[str, Any]) -> float:
    made = mapping(info.get("time")).get("created")
    return float(made) if isinstance(made, (int, float)) else 0.0


def _from_database(source: Source) -> Iterator[Trace]:
    with tempfile.TemporaryDirectory(prefix="insights-opencode-") as folder:
        copy = Path(folder) / "store.db"
        shutil.copyfile(source.path, copy)
        for suffix in ("-wal", "-shm"):
            beside = source.sibling(source.path.name + suffix)
            if beside is not None:
                shutil.copyfile(beside, copy.with_name(copy.name + suffix))
        con = sqlite3.connect(copy)
        con.row_factory = sqlite3.Row
        try:
            con.execute("CREATE INDEX IF NOT EXISTS insights_part ON part (session_id)")
            con.execute("CREATE INDEX IF NOT EXISTS insights_message ON message (session_id)")
            for row in con.execute("SELECT * FROM session ORDER BY id").fetchall():
                info = _row(source, row)
                yield _trace(info, list(_stored(source, con, str(info.get("id")))))
        except sqlite3.DatabaseError as error:
            source.n_bad += 1
            source.issue("bad_database", f"the store cannot be read on: {error}", severity="error")
        finally:
            con.close()


def _stored(source: Source, con: sqlite3.Connection, session: str) -> Iterator[Message]:
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in con.execute("SELECT * FROM part WHERE session_id = ? ORDER BY id", [session]):
        part = _row(source, row)
        parts.setdefault(str(part.get("messageID")), []).append(part)
    rows = [_row(source, r) for r in con.execute("SELECT * FROM message WHERE session_id = ? ORDER BY id", [session])]
    for info in sorted(rows, key=lambda m: (_created(m), str(m.get("id")))):
        source.n_records += 1
        yield info, parts.get(str(info.get("id")), []), f"/message/{info.get('id')}"


def _row(source: Source, row: sqlite3.Row) -> dict[str, Any]:
    """A row as the JSON object the folders would hold: its `data` column, and the columns beside it."""
    held = dict(row)
    try:
        data = mapping(orjson.loads(held.pop("data"))) if held.get("data") else {}
    except (orjson.JSONDecodeError, TypeError) as error:
        source.n_bad += 1
        source.issue("bad_row", f"row {held.get('id')}: {error}")
        data = {}
    names = {"session_id": "sessionID", "message_id": "messageID", "parent_id": "parentID", "project_id": "projectID"}
    out: dict[str, Any] = {**{names.get(k, k): v for k, v in held.items() if v is not None}, **data}
    times = {"created": held.get("time_created"), "updated": held.get("time_updated")}
    out["time"] = {**{k: v for k, v in times.items() if v is not None}, **mapping(data.get("time"))}
    for key in ("revert", "summary_diffs", "permission"):
        if isinstance(out.get(key), str):
            out[key] = orjson.loads(out[key]) if out[key][:1] in "{[" else out[key]
    cleaned = clean(out)
    return mapping(cleaned)


def _trace(info: dict[str, Any], messages: list[Message]) -> Trace:
    own = str(info.get("id") or "session")
    t = Trace("opencode", own, session_id=own, framework="opencode", agent_version=info.get("version"))
    if info.get("parentID"):
        t.relation = "subagent"
        t.parent_trace_id = t.root_trace_id = f"opencode:{info['parentID']}"
    reverted = mapping(info.get("revert")).get("messageID")
    on_path = True
    for message, parts, where in messages:
        on_path = on_path and message.get("id") != reverted
        add = _user if message.get("role") == "user" else _assistant
        add(t, message, [p for p in parts if isinstance(p, dict)], {"src_pointer": where, "on_path": on_path})
    _describe(t, info, messages)
    return t


def _describe(t: Trace, info: dict[str, Any], messages: list[Message]) -> None:
    infos = [m for m, _, _ in messages]
    t.agent = next((str(m["agent"]) for m in infos if isinstance(m.get("agent"), str)), "opencode")
    t.provider = next((c["provider"] for c in t.llm_calls if c.get("provider")), None)
    t.started_at = timestamp(mapping(info.get("time")).get("created"))
    t.time_basis = "epoch_ms" if t.started_at else None
    t.metadata = {k: info[k] for k in ("title", "directory", "slug", "projectID") if isinstance(info.get(k), str)}
    t.slice("project", PurePosixPath(str(info.get("directory") or "").replace("\\", "/")).name or None)
    t.slice("version", info.get("version"))
    t.slice("agent", t.agent, "column")
    last = next((s for s in reversed(t.steps) if s.kind != "log" and s.on_path), None)
    if last is not None and last.kind == "interrupt":
        t.end_reason = "user_abort"
    elif last is not None and last.kind == "error":
        t.end_reason, t.error_message, t.error_type = "error", last.text, mapping(last.extra).get("name")
    elif last is not None and last.role == "assistant" and not any(c.result_seq is None for c in t.calls):
        t.end_reason = "completed"
    t.native_end_reason = next((m["finish"] for m in reversed(infos) if isinstance(m.get("finish"), str)), None)


def _user(t: Trace, info: dict[str, Any], parts: list[dict[str, Any]], where: dict[str, Any]) -> None:
    stamp = timestamp(mapping(info.get("time")).get("created"))
    human = "model" if t.relation == "subagent" else "human"
    rest = [p for p in parts if p.get("type") in ("file", "agent", "subtask")] or None
    said = False
    for part in parts:
        if part.get("type") == "text":
            origin = "harness" if part.get("synthetic") or part.get("ignored") else human
            t.step("user", part.get("text"), origin=origin, ts=stamp, parts=rest, native_id=info.get("id"), **where)
            rest, said = None, True
        elif part.get("type") == "compaction":
            _compaction(t, part, stamp, where)
    if not said and (rest or not parts):
        body = mapping(info.get("summary")).get("body")
        t.step("user", body, origin=human, ts=stamp, parts=rest, native_id=info.get("id"), **where)


def _compaction(t: Trace, part: dict[str, Any], stamp: Any, where: dict[str, Any]) -> None:
    extra = {k: part[k] for k in ("auto", "overflow") if k in part}
    t.step("system", None, kind="compaction", origin="harness", ts=stamp, extra=extra or None, **where)


def _assistant(t: Trace, info: dict[str, Any], parts: list[dict[str, Any]], where: dict[str, Any]) -> None:
    time = mapping(info.get("time"))
    stamp, ended = timestamp(time.get("created")), timestamp(time.get("completed"))
    who = info.get("agent") if isinstance(info.get("agent"), str) else info.get("mode")
    columns = {"origin": "model", "agent": who, "native_id": info.get("id"), **where}
    finishes = [p for p in parts if p.get("type") == "step-finish"]
    per_step = len(finishes) > 1  # earlier versions put several model calls into one message
    seq = -1
    for part in parts:
        kind, text = part.get("type"), part.get("text")
        began = timestamp(mapping(part.get("time")).get("start")) or stamp
        if kind == "text" and part.get("synthetic"):
            t.step("user", text, origin="harness", ts=began, **where)
        elif kind in ("text", "reasoning", "tool", "file"):
            if seq < 0 or (kind != "tool" and t.steps[seq].n_tool_calls):
                first = seq < 0
                seq = t.step("assistant", None, ts=stamp if first else began, **columns)
                if first and not per_step:
                    _model_call(t, info, parts, seq, stamp, ended)
            _into(t, seq, part, began, where)
        elif kind == "step-finish" and per_step and seq >= 0:
            told = {"tokens": part.get("tokens"), "cost": part.get("cost"), "finish": part.get("reason")}
            _model_call(t, {**info, **told}, [part], seq, t.steps[seq].ts, None)
            seq = -1
        elif kind == "compaction":
            _compaction(t, part, stamp, where)
        elif kind == "patch":
            t.step("environment", as_text(part.get("files")), kind="log", origin="harness", ts=began, **where)
        elif kind == "retry":
            _error(t, mapping(part.get("error")), began, where)
    if not any(p.get("type") in ("text", "tool", "reasoning", "file") for p in parts):
        seq = t.step("assistant", None, ts=stamp, **columns)
        _model_call(t, info, parts, seq, stamp, ended)
    if info.get("error"):
        _error(t, mapping(info["error"]), ended or stamp, where)


def _into(t: Trace, seq: int, part: dict[str, Any], began: Any, where: dict[str, Any]) -> None:
    """Put a part into the assistant step it belongs to."""
    step, text = t.steps[seq], as_text(part.get("text"))
    if part["type"] == "tool":
        _tool(t, seq, part, began, where)
    elif part["type"] == "file":
        step.parts = [*(step.parts or []), part]
    elif part["type"] == "reasoning":
        step.reasoning = "\n\n".join(filter(None, (step.reasoning, text))) or None
    else:
        step.text = "\n\n".join(filter(None, (step.text, text))) or None


def _model_call(t: Trace, info: dict[str, Any], parts: list[dict[str, Any]], seq: int, stamp: Any, ended: Any) -> None:
    tokens = mapping(info.get("tokens"))
    cache = mapping(tokens.get("cache"))
    n = {
        k: v
        for k, v in {**tokens, "read": cache.get("read"), "write": cache.get("write")}.items()
        if isinstance(v, (int, float))
    }
    cost = info.get("cost")
    if not isinstance(cost, (int, float)):
        finishes = [p.get("cost") for p in parts if p.get("type") == "step-finish"]
        usd = [mapping(c).get("usd", c) for c in finishes]
        cost = (
            sum(c for c in usd if isinstance(c, (int, float)))
            if any(isinstance(c, (int, float)) for c in usd)
            else None
        )
    model = mapping(info.get("model"))
    failed = mapping(info.get("error"))
    aborted = failed.get("name") == "MessageAbortedError"
    t.steps[seq].llm_call_id = t.llm(
        first_seq=seq,
        model=info.get("modelID") or model.get("modelID"),
        provider=info.get("providerID") or model.get("providerID"),
        started_at=stamp,
        ended_at=ended,
        input_tokens=n["input"] + n.get("read", 0) + n.get("write", 0) if "input" in n else None,
        cache_read_tokens=n.get("read"),
        cache_write_tokens=n.get("write"),
        output_tokens=n["output"] + n.get("reasoning", 0) if "output" in n else None,
        reasoning_tokens=n.get("reasoning"),
        cost_usd=cost,
        finish_reason=info.get("finish"),
        native_finish_reason=info.get("finish"),
        status="error" if failed and not aborted else "cancelled" if aborted else "ok",
        error_type=failed.get("name"),
    )


def _tool(t: Trace, seq: int, part: dict[str, Any], stamp: Any, where: dict[str, Any]) -> None:
    state = mapping(part.get("state"))
    time, meta = mapping(state.get("time")), mapping(state.get("metadata"))
    began, ended = timestamp(time.get("start")) or stamp, timestamp(time.get("end"))
    name = str(part.get("tool"))
    t.call(seq, name, state.get("input"), id=part.get("callID"), started_at=began)
    status = state.get("status")
    if status in ("pending", "running"):
        return
    text = as_text(state.get("error")) if status == "error" else as_text(state.get("output"))
    code = meta.get("exit") if isinstance(meta.get("exit"), int) else None
    verdict, basis = ("ok", None) if not code else ("error", "exit_code")
    if status == "error" or name == "invalid":
        verdict, basis = ("denied" if DENIED.search((text or "")[:300]) else "error"), "flag"
        if re.match(r"\s*Tool execution aborted", text or ""):
            verdict = "cancelled"
    columns: dict[str, Any] = {"ended_at": ended}
    if began and ended:
        columns["duration_ms"] = (ended - began).total_seconds() * 1000
    child = meta.get("sessionId") or meta.get("sessionID")
    if isinstance(child, str):
        columns["child_trace_id"] = f"opencode:{child}"
    t.result(text, id=part.get("callID"), status=verdict, error_basis=basis, exit_code=code,
             call_columns=columns, ts=ended or began, **where)  # fmt: skip


def _error(t: Trace, error: dict[str, Any], stamp: Any, where: dict[str, Any]) -> None:
    name = str(error.get("name") or "error")
    said = mapping(error.get("data")).get("message") or error.get("message") or name
    if name == "MessageAbortedError":
        t.step("user", said, kind="interrupt", origin="human", ts=stamp, **where)
    else:
        t.step(
            "system",
            as_text(said),
            kind="error",
            origin="harness",
            is_error=True,
            ts=stamp,
            extra={"name": name},
            **where,
        )
