"""Sources to batches: recognise each file and run its reader, in this process or in workers beside it (see workers).

Batches come in the order of the sources, however many workers there are, so that a corpus does not depend on the machine.
"""

from __future__ import annotations

import gc
import hashlib
import os
import re
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from insights.corpus.batch import Batch, Builder, Done
from insights.corpus.formats import FORMATS, Format, harbor, recognise
from insights.corpus.loss import Watch, allot
from insights.corpus.sniff import EACH, TABLE, TAIL_BYTES, Head
from insights.corpus.source import Issue, Source
from insights.corpus.trace import Trace

PARALLEL_ABOVE = 16 << 20  # unit: bytes in all sources; below it a worker costs more than it brings
CHECKED = 64 << 20  # unit: bytes of a database that no reader knows; a larger one is not searched for damage
FILE_COSTS = 20_000  # unit: bytes that take as long to read as opening a file
GROUP_BYTES = 8 << 20  # unit: bytes of the files that a worker reads at a stretch
LEAST_STEPS = 2  # of a run; one with fewer may be a list of runs taken for one
MAGIC_NAMES = {
    "lfs_pointer": "a Git LFS pointer instead of the data (run `git lfs pull`)",
    "pickle": "a Python pickle, which is never loaded (it can run code); export it as JSON",
    "sqlite": "an SQLite database of no known layout",
    "image": "an image",
    "pdf": "a PDF document",
}
OUTCOMES = {"success", "passed", "resolved", "correct", "score", "reward"}  # columns that `insights label` takes
BROKEN = (RecursionError, MemoryError, OSError, ValueError, TypeError, KeyError, AttributeError, IndexError)


def read_all(sources: list[Source], *, format: str | None = None, jobs: int | None = None) -> Iterator[Batch]:
    """Every trace and the end of every source, in the order given. `jobs` 1 reads in this process."""
    allot(sources)
    costs = [size_of(source) + FILE_COSTS for source in sources]
    workers = jobs or os.cpu_count() or 1
    if workers <= 1 or sum(costs) < PARALLEL_ABOVE:
        yield from read_here(sources, format)
        return
    from insights.corpus.workers import read_in_workers

    yield from read_in_workers(_groups(sources, costs), format, workers)


def read_here(sources: list[Source], format: str | None = None) -> Iterator[Batch]:
    """As `read_all`, in this process."""
    builder = Builder()
    with seldom_collected():
        for source in sources:
            yield from read_one(source, format, builder)
        yield builder.take()


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Look for cycles seldom: traces hold none, and looking takes a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def read_one(source: Source, format: str | None, builder: Builder) -> Iterator[Batch]:
    """Read one source into the builder. A reader that fails costs the rest of its file, never the run."""
    try:
        done = Done(source_row(source))
    except OSError as error:
        builder.end(vanished(source, f"cannot be read: {error.strerror or error}"))
        return
    row = done.source_row
    chosen = _choose(source, format, row)
    if chosen is not None:
        row["format"], row["adapter_version"] = chosen.name, chosen.version
        row["adapter"] = chosen.module.rsplit(".", 1)[-1]
        watch = Watch(source) if source.measured and chosen.role == "trace" else None
        try:
            traces = _with_outcome(source, _with_wrapper(source, _read(source, chosen)))
            yield from builder.read(watch.over(traces) if watch else traces, source.source_id, done)
            if watch is not None and done.n_traces:
                row.update(watch.tell())
        except BROKEN as error:
            source.n_bad += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{chosen.name} stopped after {done.n_traces} traces: {type(error).__name__}: {error}"
            source.issue("reader_failed", f"{what} ({place.name}:{place.lineno})", severity="error")
        if chosen.role == "trace" and done.n_traces == 0:
            row["status"] = "unsupported"
            row["error"] = _first_issue(source) or f"looks like {chosen.title} but holds no trace"
    builder.end(_ended(source, done))
    told = {
        str(k): row[k]
        for k in ("format", "adapter", "adapter_version", "detect_confidence", "status", "text_share", "text_sampled")
        if k in row
    }
    for other in source.also:
        other.issue("read_with", f"its traces are told in {source.name} too, and stored there", severity="info")
        builder.end(_ended(other, Done({**source_row(other), **told})))


def _with_wrapper(source: Source, traces: Iterator[Trace]) -> Iterator[Trace]:
    """The traces, with what the document around their list says of all of them."""
    if source.head.inside in (None, EACH, TABLE):
        yield from traces
        return
    n = source.n_records
    around = {k: v for k, v in source.header(str(source.head.inside)).items() if isinstance(v, (str, int, float, bool))}
    source.n_records = n  # the document itself is no record
    for trace in traces:
        trace.model = trace.model or (str(around["model"]) if around.get("model") else None)
        trace.metadata = {**around, **trace.metadata}
        yield trace


def _read(source: Source, chosen: Format) -> Iterator[Trace]:
    """What the reader makes of the file; where that is nothing, of each of the documents that it may hold."""
    traces = chosen.read(source)
    if not chosen.single:
        return traces
    n_issues, n_records, n_bad = len(source.issues), source.n_records, source.n_bad
    first = next(traces, None)
    if (first is None or len(first.steps) < LEAST_STEPS or not any(s.text for s in first.steps)) and _is_several(
        source, chosen
    ):
        del source.issues[n_issues:]
        source.n_records, source.n_bad = n_records, n_bad
        return _one_by_one(source, chosen)
    return chain([first] if first is not None else [], traces)


def _is_several(source: Source, chosen: Format) -> bool:
    """Whether a file holds several documents of a format that has one in each file: its first record is such a file by itself."""
    head = source.head
    records = isinstance(head.doc, list) or head.is_jsonl or head.inside not in (None, TABLE)
    if head.magic or not records or not head.first:
        return False
    data = orjson.dumps(head.first)
    alone = recognise(Head(head.path, head.name, len(data), data, data[-TAIL_BYTES:]))
    return alone is not None and alone[0] is chosen


def _one_by_one(source: Source, chosen: Format) -> Iterator[Trace]:
    """What the reader makes of each record as a file of its own."""
    stem = str(PurePosixPath(source.name).with_suffix(""))
    with tempfile.TemporaryDirectory() as folder:
        for i, record in enumerate(source.records()):
            path = Path(folder, f"{i}.json")
            path.write_bytes(orjson.dumps(record.value))
            part = Source(path, source.uri, Path(folder), member=f"{stem}-{i}.json")
            for trace in chosen.read(part):
                for step in trace.steps:
                    step.src_pointer = f"{record.pointer or f'@{record.offset}'}{step.src_pointer or ''}"
                yield trace
            source.issues += part.issues
            source.n_bad += part.n_bad
            path.unlink()


def _with_outcome(source: Source, traces: Iterator[Trace]) -> Iterator[Trace]:
    """The traces, with the outcome of the trial in whose folder the log of its agent lies."""
    inside = any(folder.name == "agent" for folder in source.path.parents)
    for trace in traces:
        if inside and trace.success is None and trace.parent_trace_id is None:
            harbor.join_log(trace, source)
        yield trace


def _ended(source: Source, done: Done) -> Done:
    """What reading showed of a source, in its row."""
    row = done.source_row
    row.update(n_records=source.n_records, n_bad=source.n_bad, bytes_read=row["bytes"])
    if row["status"] == "ok" and (source.truncated or source.n_bad):
        row["status"] = "truncated" if source.truncated else "partial"
    done.issues = list(source.issues)
    return done


def vanished(source: Source, why: str, code: str = "unreadable") -> Done:
    """The end of a source of which nothing, or no more, could be read."""
    row = {
        "source_id": source.source_id,
        "uri": source.uri,
        "member": source.member,
        "format": "unknown",
        "adapter": "none",
        "adapter_version": 0,
        "bytes": 0,
        "n_records": 0,
        "n_bad": 1,
        "status": "refused",
        "error": why,
        "ingested_at": datetime.now(UTC),
    }
    return Done(row, [Issue(code, "error", why)])


def source_row(source: Source) -> dict[str, Any]:
    """The row of `sources` for a file that is about to be read."""
    stat = source.path.stat()
    return {
        "source_id": source.source_id,
        "uri": source.uri,
        "member": source.member,
        "format": "unknown",
        "adapter": "none",
        "adapter_version": 0,
        "bytes": stat.st_size,
        "mtime": datetime.fromtimestamp(stat.st_mtime, UTC),
        "head_hash": hashlib.sha1(source.head.head).hexdigest(),
        "full_hash": hashlib.sha1(source.head.head + source.head.tail).hexdigest(),
        "status": "ok",
        "error": None,
        "ingested_at": datetime.now(UTC),
    }


def size_of(source: Source) -> int:
    """Bytes of the file and of those read with it; 0 where it went away since it was found, which its reader will say."""
    total = 0
    for member in source.members:
        with suppress(OSError):
            total += member.path.stat().st_size
    return total


def _groups(sources: list[Source], costs: list[int]) -> list[list[Source]]:
    """Neighbours together up to GROUP_BYTES."""
    groups: list[list[Source]] = []
    room = 0
    for source, cost in zip(sources, costs, strict=True):
        if room < cost or not groups:
            groups.append([])
            room = GROUP_BYTES
        groups[-1].append(source)
        room -= cost
    return groups


def _choose(source: Source, format: str | None, row: dict[str, Any]) -> Format | None:
    head = source.head
    if head.size == 0 or not head.head.strip():
        row["status"], row["error"] = "empty", "the file is empty"
        source.issue("empty_file", "nothing in it")
        return None
    if format is not None:
        row["detect_confidence"] = "forced"
        _find_records(head, FORMATS[format])
        return FORMATS[format]
    found = recognise(head)
    if found is None:
        row["status"], row["error"] = "unsupported", _unknown(head)
        source.issue("unrecognised", row["error"])
        return None
    row["detect_confidence"] = found[1]
    return found[0]


def _find_records(head: Head, chosen: Format) -> None:
    """Where the records of the format that was asked for stand, if not at the top."""
    for where in (None, *head.containers()) if chosen.detect(head) is None else ():
        head.look_inside(where)
        if where is not None and chosen.detect(head) is not None:
            return
    head.look_inside(None)


def _unknown(head: Head) -> str:
    """What a file is that no reader takes, and what would help."""
    from insights.corpus.formats.guessed import explain

    if head.text.lstrip()[:2] in ("{'", "[{", "['") and "': " in head.text[:400]:
        return "looks like the repr() of a Python object, which is never evaluated; write it again with json.dump"
    if why := _damaged(head):
        return f"a damaged {head.magic} file: {why}"
    if head.magic:
        return f"{MAGIC_NAMES.get(head.magic, f'a {head.magic} file')}; no reader takes it"
    if told := OUTCOMES.intersection(_columns(head)):
        return f"a table of outcomes ({', '.join(sorted(told))}) and no traces: insights label CORPUS {head.path.name} takes it in"
    if head.records:
        return explain(head)
    if head.doc == [] or head.doc == {}:
        return "JSON without records: there is nothing in it"
    return "text that is neither JSON nor a transcript with named speakers"


def _damaged(head: Head) -> str | None:
    """Why a table of a kind that readers take cannot be opened."""
    if head.magic == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            next(pq.ParquetFile(head.path).iter_batches(1), None)
        except (pa.ArrowException, OSError) as error:
            return str(error).splitlines()[0][:200]
    if head.magic == "sqlite" and head.size < CHECKED:
        from insights.corpus.formats.databases import damage

        return damage(head.path)
    return None


def _columns(head: Head) -> set[str]:
    """Names of the columns of a file that may be a table: keys of flat records, cells of a first line."""
    if rows := [r for r in head.records[:50] if isinstance(r, dict)]:
        flat = not any(isinstance(v, (dict, list)) for row in rows for v in row.values())
        return {str(k).lower() for row in rows for k in row} if flat else set()
    first = head.text.split("\n", 1)[0].strip().lstrip("\ufeff")
    return (
        {cell.strip().strip('"').lower() for cell in re.split(r"[,;\t]", first)}
        if re.search(r"[,;\t]", first)
        else set()
    )


def _first_issue(source: Source) -> str | None:
    return next((i.detail for i in source.issues if i.severity != "info"), None)
