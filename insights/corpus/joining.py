"""Files that tell parts of the same traces, read as one: spans of a trace in many files, request logs with a file a call.

A format that registers `shares` gives, for one file, the keys under which other files may go on with its traces, each with
the file's place among them. Files with a key in common, through others too, are one group: the first is read with the
rest as `also`. Where one of a group is new or has changed the whole group is read again, with the files of earlier
ingests that belong to it and are still there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insights.corpus.formats import FORMATS, recognise
from insights.corpus.source import Source

if TYPE_CHECKING:
    from insights.corpus.store import Known

# What stands near the beginning or end of a file that can share traces: saves recognising the many that cannot.
MAY_SHARE = re.compile(
    rb'PAR1|"(?:session|conversation)\\.id"|"(?:context\.)?(?:trace_?id|root_span_id)"\s*:|"(?:response|choices|request)"\s*:\s*[{\[]|"object"\s*:\s*"response"',
    re.I,
)
WORDS = (  # one of them is in any match, and is found far sooner
    b"par1",
    b"session\\",
    b"conversation\\",
    b"trace",
    b"root_span_id",
    b"response",
    b"choices",
    b"request",
)
LOOKED_AT = 16_384  # unit: bytes of the beginning and of the end that are searched for it
Keys = Mapping[str, Any]  # key -> place; places of one format compare


def with_partners(known: Mapping[str, Known], named: Sequence[Source], todo: list[Source], format: str | None) -> list[Source]:  # fmt: skip
    """The sources of `todo`, grouped, and what must be read again with them: unchanged ones and ones of earlier ingests."""
    if not todo or (len(named) == 1 and not known):
        return todo
    fresh = {s.source_id for s in todo}
    keys = {s.source_id: shared(s, format) for s in todo}
    if not any(keys.values()):
        return todo
    ids = {s.source_id for s in named}
    others = [s for s in named if s.source_id not in fresh] + [_again(k) for id, k in known.items() if id not in ids and _is_shared(k)]  # fmt: skip
    keys |= {s.source_id: shared(s, format) for s in others}
    groups = _groups([*todo, *others], keys)
    return [_lead(g, keys) for g in groups if any(s.source_id in fresh for s in g)]


def shared(source: Source, format: str | None = None) -> Keys:
    """What a file may share with others; {} for nearly all."""
    looked = Source(source.path, source.uri, source.root, source.member)  # its head is not kept: files are many
    try:
        if not _may_share(source.path):
            return {}
        sure = None if format else recognise(looked.head)
        found = FORMATS[format] if format else sure[0] if sure else None
        return found.shares(looked) if found is not None and found.shares is not None else {}
    except (OSError, ValueError):  # its reader will say why
        return {}


def _may_share(path: Path) -> bool:
    with path.open("rb") as file:
        if _may_match(file.read(LOOKED_AT)):
            return True
        size = file.seek(0, os.SEEK_END)
        file.seek(max(LOOKED_AT, size - LOOKED_AT))
        return _may_match(file.read())


def _may_match(data: bytes) -> bool:
    low = data.lower()
    return any(word in low for word in WORDS) and MAY_SHARE.search(data) is not None


def _is_shared(known: Known) -> bool:
    format = FORMATS.get(known.format)
    return format is not None and format.shares is not None and Path(known.uri).is_file()


def _again(known: Known) -> Source:
    return Source(Path(known.uri), known.uri, Path(known.uri).parent)


def _groups(sources: Sequence[Source], keys: Mapping[str, Keys]) -> list[list[Source]]:
    """Sources with a key in common together, in the order of their first."""
    first: dict[str, int] = {}
    above = list(range(len(sources)))

    def root(i: int) -> int:
        while above[i] != i:
            above[i] = i = above[above[i]]
        return i

    for i, source in enumerate(sources):
        for key in keys[source.source_id]:
            one, other = sorted((root(first.setdefault(key, i)), root(i)))
            above[other] = one
    groups: dict[int, list[Source]] = {}
    for i, source in enumerate(sources):
        groups.setdefault(root(i), []).append(source)
    return list(groups.values())


def _lead(group: list[Source], keys: Mapping[str, Keys]) -> Source:
    """The first of a group, which is read with the others."""
    if len(group) > 1:
        group = sorted(group, key=lambda s: (min(keys[s.source_id].values()), s.name, s.uri))
        group[0].also = tuple(group[1:])
    return group[0]
