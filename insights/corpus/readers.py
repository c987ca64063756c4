"""Sources to batches: recognise each file, run its reader, in this process or in workers beside it.

Workers hand their batches over in the order of the sources, whatever their number, so that a corpus does not depend on
the machine; each worker is a fixed few batches ahead at the most, so memory stays bounded.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from insights.corpus.batch import Batch, batches
from insights.corpus.formats import FORMATS, Confidence, Format, recognise
from insights.corpus.sniff import Head
from insights.corpus.source import Issue, Source

PARALLEL_ABOVE = 16 << 20  # unit: bytes in all sources; below it a worker costs more than it brings
MAGIC_NAMES = {
    "lfs_pointer": "a Git LFS pointer instead of the data (run `git lfs pull`)",
    "pickle": "a Python pickle, which is never loaded (it can run code); export it as JSON",
    "sqlite": "an SQLite database of no known layout",
    "image": "an image",
    "pdf": "a PDF document",
}
AHEAD = 3  # unit: batches a worker may have waiting


@dataclass
class Done:
    """The end of one source: its row for `sources` and its issues."""

    source_row: dict[str, Any]
    issues: list[Issue] = field(default_factory=list)
    n_traces: int = 0


def read_all(sources: list[Source], *, format: str | None = None, jobs: int | None = None) -> Iterator[Batch | Done]:
    """Every batch and every Done of the sources, source by source in the order given."""
    total = sum(s.path.stat().st_size for s in sources)
    workers = min(jobs or os.cpu_count() or 1, len(sources) if jobs else 8)
    if workers <= 1 or total < PARALLEL_ABOVE:
        for source in sources:
            yield from read_one(source, format)
        return
    yield from _in_workers(sources, format, min(workers, len(sources)))


def read_one(source: Source, format: str | None = None) -> Iterator[Batch | Done]:
    """The batches of one source, then its Done. A reader that fails costs the rest of its file, never the run."""
    from primitives.detectors import scan_trace

    row = _source_row(source)
    done = Done(row)
    chosen = _choose(source, format, row)
    if chosen is not None:
        row["format"], row["adapter"], row["adapter_version"] = (
            chosen.name,
            chosen.module.rsplit(".", 1)[-1],
            chosen.version,
        )
        try:
            for batch in batches(chosen.read(source), source.source_id, scan_trace):
                done.n_traces += len(batch.heads)
                yield batch
        except (
            RecursionError,
            MemoryError,
            OSError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            IndexError,
        ) as error:
            source.n_bad += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            source.issue(
                "reader_failed",
                f"{chosen.name} stopped after {done.n_traces} traces: {type(error).__name__}: {error} ({place.name}:{place.lineno})",
                severity="error",
            )
        if chosen.role == "trace" and done.n_traces == 0:
            row["status"], row["error"] = (
                "unsupported",
                _first_issue(source) or f"looks like {chosen.title} but holds no trace",
            )
    row.update(n_records=source.n_records, n_bad=source.n_bad, bytes_read=row["bytes"])
    if row["status"] == "ok" and (source.truncated or source.n_bad):
        row["status"] = "truncated" if source.truncated else "partial"
    done.issues = list(source.issues)
    yield done


def _choose(source: Source, format: str | None, row: dict[str, Any]) -> Format | None:
    head = source.head
    found: tuple[Format, Confidence] | None
    if head.size == 0 or not head.head.strip():
        row["status"], row["error"], found = "empty", "the file is empty", None
        source.issue("empty_file", "nothing in it")
    elif format is not None:
        row["detect_confidence"] = "forced"
        return FORMATS[format]
    else:
        found = recognise(head)
        if found is None:
            row["status"], row["error"] = "unsupported", _unknown(head)
            source.issue("unrecognised", row["error"])
    if found is None:
        return None
    row["detect_confidence"] = found[1]
    return found[0]


def _unknown(head: Head) -> str:
    """What a file is that no reader takes, and what would help."""
    from insights.corpus.formats.guessed import explain

    if head.text.lstrip()[:2] in ("{'", "[{", "['") and "': " in head.text[:400]:
        return "looks like the repr() of a Python object, which is never evaluated; write it again with json.dump"
    if head.magic:
        return f"{MAGIC_NAMES.get(head.magic, f'a {head.magic} file')}; no reader takes it"
    if head.records:
        return explain(head)
    return "text that is neither JSON nor a transcript with named speakers"


def _first_issue(source: Source) -> str | None:
    return next((i.detail for i in source.issues if i.severity != "info"), None)


def _source_row(source: Source) -> dict[str, Any]:
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


def _in_workers(sources: list[Source], format: str | None, n: int) -> Iterator[Batch | Done]:
    context = multiprocessing.get_context("spawn")
    queues = [context.Queue(AHEAD) for _ in range(n)]
    workers = [
        context.Process(target=_work, args=(sources[i::n], format, queues[i], os.getpid()), daemon=True)
        for i in range(n)
    ]
    for worker in workers:
        worker.start()
    try:
        for i, source in enumerate(sources):
            while True:
                message = _next(queues[i % n], workers[i % n], source)
                yield message
                if isinstance(message, Done):
                    break
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _next(queue: Any, worker: Any, source: Source) -> Batch | Done:
    from queue import Empty

    while True:
        try:
            return queue.get(timeout=1.0)
        except Empty:
            if not worker.is_alive() and queue.empty():
                row = _source_row(source)
                row["status"], row["error"] = "refused", f"its reader's process died (exit code {worker.exitcode})"
                return Done({**row, "n_records": 0, "n_bad": 1}, [Issue("reader_died", "error", row["error"])])


def _work(sources: list[Source], format: str | None, queue: Any, parent: int) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops us
    for source in sources:
        for message in read_one(source, format):
            queue.put(message)
            if os.getppid() != parent:
                return
    queue.close()
    queue.join_thread()
