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

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.opencode_messages import Message, trace_of
from insights.corpus.parse import clean, mapping, sequence
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace


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


@reader("opencode", title="OpenCode sessions", rank=20, detect=_detect, single=True)
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
        yield trace_of(mapping(document.get("info")), messages)
    elif "id" in document:
        yield trace_of(document, list(_from_folders(source, str(document["id"]))))


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
        yield trace_of({"id": own}, list(messages.values()))


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
                yield trace_of(info, list(_stored(source, con, str(info.get("id")))))
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
