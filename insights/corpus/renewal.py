"""Which sources an ingest must read again: new ones, those that grew or changed, and those whose outcomes changed beside them.

A reader may join what a sidecar says (results.json, reward.txt). So a sidecar or part that is new or changed has the
traces read again in its folder, below it, and beside that folder.
"""

from __future__ import annotations

from pathlib import Path

from insights.corpus.formats import FORMATS, recognise
from insights.corpus.source import Source
from insights.corpus.store import Known, Store


def changed(store: Store, sources: list[Source]) -> list[Source]:
    """The sources to read, in their order."""
    fresh = [s for s in sources if not store.has_unchanged(s)]
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


def _is_joined(source: Source, known: Known | None) -> bool:
    """Whether other files' readers take from this one."""
    format = FORMATS.get(known.format) if known is not None else None
    if format is None:
        found = recognise(source.head)
        format = found[0] if found is not None else None
    return format is not None and format.role in ("sidecar", "part")
