"""The registry of trace formats. One module a format; its docstring documents the format with one real line.

A module registers what it reads with one decorator:

    @reader("tau_bench", title="tau-bench results", rank=30, detect=_detect)
    def read(source: Source) -> Iterator[Trace]:

`detect(head)` looks at the head and tail of a file and returns "certain" (a schema marker), "likely" (two or more
specific keys), "guess" (generic messages, text) or None. The surest answer wins; among equals the lowest `rank`, so a
specific format (10..49) is asked before a generic one (50..99). `read` is a generator of finished-looking `Trace`
builders with bounded memory; whatever it cannot place it reports through `source.issue(...)` or `trace.issue(...)`.

`role` tells what a file is: "trace"; "sidecar" (outcomes that the reader of a trace joins itself, named but not
read as traces); "part" (a member that another file's reader pulls in); "other" (recognised, holds no trace).

`shares(source)` is for formats whose traces go on in other files: the keys (trace ids, …) by which files are read as one,
each with the file's place among them; see corpus/joining.py. Such a reader takes its records by `source.joined(…)`.

`single` is for formats whose files hold one document: where someone has put several into a list, or one on each line, the reader
is given them one by one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from insights.corpus.sniff import Head
    from insights.corpus.source import Source
    from insights.corpus.trace import Trace

Confidence = Literal["certain", "likely", "guess"]
Role = Literal["trace", "sidecar", "part", "other"]
GUESSERS = ("guessed", "event_log")  # formats without a signature
EACH = "*"  # as in corpus/sniff.py
GENERIC = 50  # rank from which a format is read by generic messages
SURENESS = {"certain": 0, "likely": 1, "guess": 2}


@dataclass(frozen=True, slots=True)
class Format:
    name: str
    title: str
    rank: int
    role: Role
    detect: Callable[[Head], Confidence | None]
    read: Callable[[Source], Iterator[Trace]]
    version: int
    module: str
    shares: Callable[[Source], Mapping[str, Any]] | None = None
    single: bool = False


FORMATS: dict[str, Format] = {}


def reader(
    name: str,
    *,
    title: str,
    rank: int,
    detect: Callable[[Head], Confidence | None],
    role: Role = "trace",
    version: int = 1,
    shares: Callable[[Source], Mapping[str, Any]] | None = None,
    single: bool = False,
) -> Callable[[Callable[[Source], Iterator[Trace]]], Callable[[Source], Iterator[Trace]]]:
    """Register the decorated generator as the reader of format `name`."""

    def register(read: Callable[[Source], Iterator[Trace]]) -> Callable[[Source], Iterator[Trace]]:
        FORMATS[name] = Format(name, title, rank, role, detect, read, version, read.__module__, shares, single)
        return read

    return register


def mark(name: str, *, title: str, rank: int, role: Role, detect: Callable[[Head], Confidence | None]) -> None:
    """Register a file kind that is recognised but holds no trace of its own (role sidecar, part or other)."""

    def nothing(source: Source) -> Iterator[Trace]:
        return iter(())

    reader(name, title=title, rank=rank, detect=detect, role=role)(nothing)


def recognise(head: Head) -> tuple[Format, Confidence] | None:
    """The format of a file, with how sure that is; None where no signature matches.

    Where none matches, or one that guesses, the records may stand deeper: in a list of a document (`{"data": […]}`), under their
    ids, in a table. `head.inside` tells where they were found.
    """
    if head.inside is not None:
        return _best(head)
    best = _best(head)
    if best is not None and best[0].name not in GUESSERS:
        return best
    for where in head.containers():
        head.look_inside(where)
        inner = _best(head)
        if (
            inner is not None
            and inner[0].role == "trace"
            and (best is None or where == EACH or inner[1] != "guess" or inner[0].rank < GENERIC)
        ):
            return inner
    head.look_inside(None)
    return best


def _best(head: Head) -> tuple[Format, Confidence] | None:
    found: list[tuple[int, int, Format, Confidence]] = []
    for known in FORMATS.values():
        sure = known.detect(head)
        if sure is not None:
            found.append((SURENESS[sure], known.rank, known, sure))
    if not found:
        return None
    _, _, best, sure = min(found, key=lambda f: f[:2])
    return best, sure


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"insights.corpus.formats.{_module.name}")
