"""The lines of Claude Code as a tree: which of them are on the path that led to the end, which were rewound."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from insights.corpus.formats.chat import flatten

INTERRUPTED = re.compile(r"\s*\[Request interrupted by user")


@dataclass(slots=True)
class Entry:
    """One line: the parsed object and where it stands."""

    value: dict[str, Any]
    offset: int | None
    length: int | None
    on_path: bool = True
    copied: bool = False


def ordered(entries: list[Entry], *, tree: bool = True) -> list[Entry]:
    """The lines in file order, exact repeats of a uuid left out; `on_path` set where the links are a `tree`."""
    seen: dict[str, Entry] = {}
    kept: list[Entry] = []
    for entry in entries:
        uuid = entry.value.get("uuid")
        earlier = seen.get(uuid) if isinstance(uuid, str) else None
        if earlier is not None and earlier.value.get("message") == entry.value.get("message"):
            continue
        if isinstance(uuid, str):
            seen[uuid] = entry
        kept.append(entry)
    if tree:
        _mark_paths(kept, seen)
    return kept


def _mark_paths(entries: list[Entry], by_uuid: dict[str, Entry]) -> None:
    if not any(e.value.get("parentUuid") for e in entries):
        return
    path = _last_paths(entries, by_uuid)
    messages = {_message_id(by_uuid[uuid]) for uuid in path} - {None}
    calls: set[str] = set()
    keys = ("supersedesUuids", "retractedMessageUuids")
    named = [e.value[key] for e in entries for key in keys if isinstance(e.value.get(key), list)]
    retracted = {str(uuid) for uuids in named for uuid in uuids}
    on: set[str] = set()
    for entry in entries:
        uuid, kind = entry.value.get("uuid"), entry.value.get("type")
        if not isinstance(uuid, str):
            continue
        here = uuid in path or _message_id(entry) in messages
        results = _block_ids(entry, "tool_result", "tool_use_id")
        here = here or bool(results & calls) or entry.value.get("sourceToolAssistantUUID") in on
        if not here and (kind not in ("user", "assistant") or is_interrupt(entry.value)):
            here = entry.value.get("parentUuid") in on or entry.value.get("parentUuid") is None
        entry.on_path = here and uuid not in retracted
        if here:
            on.add(uuid)
            calls |= _block_ids(entry, "tool_use", "id")


def _last_paths(entries: list[Entry], by_uuid: dict[str, Entry]) -> set[str]:
    """Per tree, the uuids from its last user or assistant line up to the root."""
    root: dict[str, str] = {}
    last: dict[str, str] = {}
    for entry in entries:
        uuid, parent = entry.value.get("uuid"), entry.value.get("parentUuid")
        if not isinstance(uuid, str):
            continue
        root[uuid] = root.get(parent, uuid) if isinstance(parent, str) else uuid
        if entry.value.get("type") in ("user", "assistant"):
            last[root[uuid]] = uuid
    path: set[str] = set()
    for leaf in last.values():
        at: Any = leaf
        while isinstance(at, str) and at in by_uuid and at not in path:
            path.add(at)
            at = by_uuid[at].value.get("parentUuid")
    return path


def _message_id(entry: Entry) -> str | None:
    message = entry.value.get("message")
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, str) else None


def _block_ids(entry: Entry, kind: str, key: str) -> set[str]:
    message = entry.value.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return set()
    return {b[key] for b in content if isinstance(b, dict) and b.get("type") == kind and isinstance(b.get(key), str)}


def is_interrupt(value: dict[str, Any]) -> bool:
    message = value.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return bool(INTERRUPTED.match(flatten(content)[0] or ""))
