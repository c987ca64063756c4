"""Which sources an ingest must read again: new ones, those that grew or changed, and those whose outcomes changed beside them.

A file that begins as one that was read before and is gone from its place is that file, moved: what it gave under its old name
is taken out, so that a session that was moved and went on is not stored twice. Files that merely went away keep what they gave.

A reader may join what a sidecar says (results.json, reward.txt). So a sidecar or part that is new or changed has the
traces read again in its folder, below it, and beside that folder.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from insights.corpus.formats import FORMATS, recognise
from insights.corpus.source import Source
from insights.corpus.store import Known, Store


def changed(store: Store, sources: list[Source]) -> list[Source]:
    """The sources to read, in their order; what moved ones gave before is forgotten."""
    fresh = [s for s in sources if not store.has_unchanged(s)]
    store.forget(_moved(store, [s for s in fresh if s.source_id not in store.known]))
    if len(fresh) == len(sources) or not fresh:
        return fresh
    touched: set[Path] = set()
    for source in fresh:
        if _is_joined(source, store.known.get(source.source_id)):
            folder = source.path.parent.resolve()
            touched.add(folder if folder == source.root.resolve() else folder.parent)
    again = {s.source_id for s in fresh}
    if touched:
        again |= {s.source_id for s in sources if touched.intersection(s.path.resolve().parents)}
    return [s for s in sources if s.source_id in again]


def _moved(store: Store, new: list[Source]) -> list[str]:
    """The source_ids under which new sources were read before, each told as an issue of its source."""
    known = store.con.execute(
        "SELECT source_id, uri, bytes, head_hash FROM sources WHERE status <> 'refused' AND member IS NULL "
        "AND bytes > 0 AND NOT contains(uri, '://') ORDER BY bytes DESC"
    )
    gone = [row for row in known.fetchall() if not os.path.lexists(row[1])] if new else []
    found: list[str] = []
    for source in new if gone else ():
        if source.member is not None or not source.path.is_file():
            continue
        head = source.head
        for source_id, uri, size, head_hash in gone:
            begins = head.head[:size] if size <= head.size else b""
            if (
                source_id not in found
                and begins
                and hashlib.sha1(begins, usedforsecurity=False).hexdigest() == head_hash
            ):
                source.issue("moved", f"was read as {uri}, which is gone", severity="info")
                found.append(source_id)
                break
    return found


def _is_joined(source: Source, known: Known | None) -> bool:
    """Whether other files' readers take from this one."""
    format = FORMATS.get(known.format) if known is not None else None
    if format is None:
        found = recognise(source.head)
        format = found[0] if found is not None else None
    return format is not None and format.role in ("sidecar", "part")
