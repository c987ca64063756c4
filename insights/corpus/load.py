"""Traces in: read every source, store what it holds, account for what it does not, swap the new corpus in.

The new database is written beside the old one and put in its place by one rename, so a kill at any moment leaves the
old corpus or the new one. Sources that have not changed since the last ingest are not read again; one that has grown
or changed replaces what it gave before.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from insights import __version__
from insights.corpus.discover import Refusal, discover
from insights.corpus.readers import Done, read_all
from insights.corpus.source import Issue, Source
from insights.corpus.store import Store
from insights.errors import CorpusError, SourceError

Progress = Callable[[str, int, int], None]  # (source being read, bytes done, bytes in all)


@dataclass
class Summary:
    """What an ingest read, dropped and why. `by_format` maps a format to [sources, traces]."""

    corpus: Path
    n_sources: int = 0
    n_unchanged: int = 0
    n_traces: int = 0
    n_new: int = 0
    by_format: dict[str, list[int]] = field(default_factory=dict)
    not_read: list[Refusal] = field(default_factory=list)
    issues: list[tuple[str, str, int, str]] = field(default_factory=list)  # code, severity, n, first detail
    totals: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not self.not_read and not any(severity != "info" for _, severity, _, _ in self.issues)


def ingest(
    paths: Sequence[str | Path],
    corpus: str | Path,
    *,
    format: str | None = None,
    jobs: int | None = None,
    fields: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Read `paths` into the corpus folder (made where absent, extended where it exists).

    `fields` says what the keys of a home-made log mean (`--map role=author,text=body`): such files are read as "guessed".
    Raises SourceError when nothing readable was named, CorpusError when the corpus cannot be written.
    """
    folder = Path(corpus)
    started = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="insights-") as spool, _locked(folder):
        sources, refused = discover([str(p) for p in paths], spool=Path(spool))
        if not sources:
            why = "; ".join(f"{r.uri}: {r.reason}" for r in refused[:3]) or "the folders named are empty"
            raise SourceError(f"nothing to read: {why}", "name files or folders that hold traces")
        if fields:
            format = format or "guessed"
            for source in sources:
                source.fields = dict(fields)
        summary = Summary(folder, n_sources=len(sources), not_read=list(refused))
        fresh = folder / f".ingest-{os.getpid()}.duckdb"
        try:
            _fill(fresh, folder, sources, refused, summary, format, jobs, progress)
        except OSError as error:
            raise CorpusError(
                f"{folder} cannot be written: {error.strerror or error}", "free space or choose another -o"
            ) from error
        finally:
            for leftover in folder.glob(".ingest-*"):
                leftover.unlink(missing_ok=True)
        summary.seconds = (datetime.now(UTC) - started).total_seconds()
    return summary


def _fill(
    fresh: Path,
    folder: Path,
    sources: list[Source],
    refused: list[Refusal],
    summary: Summary,
    format: str | None,
    jobs: int | None,
    progress: Progress | None,
) -> None:
    import duckdb

    current = folder / "traces.duckdb"
    if current.exists():
        shutil.copyfile(current, fresh)
    try:
        with Store(fresh, created=not current.exists()) as store:
            todo = [s for s in sources if not store.has_unchanged(s)]
            summary.n_unchanged = len(sources) - len(todo)
            if todo:
                for s in todo:
                    store.forget(s.source_id)
                _read(store, todo, summary, format, jobs, progress)
            for refusal in refused:
                _account(store, refusal)
            summary.n_traces = store.count("traces")
            if summary.n_traces == 0:
                raise SourceError(
                    f"none of the {len(sources)} files named holds a trace that can be read: {_reasons(summary)}",
                    "see `insights ingest --help` for --format and --map",
                )
            store.finish(__version__)
            summary.issues = store.issues()
            summary.totals = store.totals()
    except duckdb.Error as error:
        raise CorpusError(
            f"{folder} cannot be written: {str(error).splitlines()[0]}", "free space or choose another -o"
        ) from error
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "runs").mkdir(exist_ok=True)
    fresh.replace(current)
    from primitives.index import build

    build(folder)


def _read(
    store: Store, todo: list[Source], summary: Summary, format: str | None, jobs: int | None, progress: Progress | None
) -> None:
    total = sum(s.path.stat().st_size for s in todo)
    done = 0
    for message in read_all(todo, format=format, jobs=jobs):
        if not isinstance(message, Done):
            summary.n_new += store.add(message)
            continue
        done += message.source_row["bytes"]
        store.add_source(message)
        row = message.source_row
        if row["status"] in ("unsupported", "refused", "empty"):
            summary.not_read.append(Refusal(row["uri"], row["status"], row["error"] or ""))
        else:
            counts = summary.by_format.setdefault(row["format"], [0, 0])
            counts[0] += 1
            counts[1] += message.n_traces
        if progress:
            progress(row["uri"], done, total)


def _account(store: Store, refusal: Refusal) -> None:
    """A row in sources and one in ingest_issues for what was named or found and not read."""
    own = hashlib.sha1(f"{refusal.uri}\0refused".encode()).hexdigest()
    row = {"source_id": own, "uri": refusal.uri, "format": "unknown", "adapter": "none", "adapter_version": 0,
           "status": "refused", "error": refusal.reason, "ingested_at": datetime.now(UTC)}  # fmt: skip
    store.forget(own)
    store.add_source(Done(row, [Issue(refusal.code, "warning", f"{refusal.uri}: {refusal.reason}")]))


def _reasons(summary: Summary) -> str:
    return "; ".join(f"{Path(r.uri).name}: {r.reason}" for r in summary.not_read[:3]) or "no records found"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the corpus against a second ingest; make its folder, and take it away again if nothing came of it."""
    import fcntl

    existed = folder.exists()
    if existed and not folder.is_dir():
        raise CorpusError(f"{folder} is a file, not a corpus folder", "choose another -o")
    if (
        existed
        and any(folder.iterdir())
        and not (folder / "traces.duckdb").exists()
        and not (folder / ".lock").exists()
    ):
        raise CorpusError(f"{folder} is not empty and is no corpus", "choose another -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise CorpusError(f"{folder} cannot be written: {error.strerror}", "choose another -o") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CorpusError(f"another ingest is writing {folder}", "wait for it to end") from None
        yield
    finally:
        lock.close()
        if not existed and not (folder / "traces.duckdb").exists():
            shutil.rmtree(folder, ignore_errors=True)
