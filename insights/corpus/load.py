"""Traces in: read every source, store what it holds, account for what it does not, swap the new corpus in.

The new database is written beside the old one and put in its place by one rename, so a kill at any moment leaves the
old corpus or the new one. Sources that have not changed since the last ingest are not read again; one that has grown
or changed replaces what it gave before.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from insights import __version__
from insights.corpus.batch import Builder, Done
from insights.corpus.discover import Refusal, discover
from insights.corpus.joining import with_partners
from insights.corpus.readers import read_all, size_of
from insights.corpus.renewal import changed
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
    with _locked(folder), _unwritable(folder):
        _clean(folder)
        try:
            spool = folder / ".ingest-spool"
            spool.mkdir()
            sources, refused = discover([str(p) for p in paths], spool=spool)
            if not sources:
                why = "; ".join(f"{r.uri}: {r.reason}" for r in refused[:3]) or "the folders named are empty"
                raise SourceError(f"nothing to read: {why}", "name files or folders that hold traces")
            for source in sources if fields else ():
                source.fields = dict(fields or {})
            summary = Summary(folder, n_sources=len(sources), not_read=list(refused))
            _fill(folder, sources, refused, summary, Wanted(format or ("guessed" if fields else None), jobs, progress))
        finally:
            _clean(folder)
        _index(folder)
    summary.seconds = (datetime.now(UTC) - started).total_seconds()
    return summary


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the caller wants it read."""

    format: str | None
    jobs: int | None
    progress: Progress | None


def _fill(folder: Path, sources: list[Source], refused: list[Refusal], summary: Summary, wanted: Wanted) -> None:
    """Write the new database beside the old one and put it in its place."""
    current, fresh = folder / "traces.duckdb", folder / ".ingest.duckdb"
    if current.exists():
        shutil.copyfile(current, fresh)
    with Store(fresh, created=not current.exists()) as store:
        todo = with_partners(store.known, sources, changed(store, sources), wanted.format)
        again = [member.source_id for source in todo for member in source.members]
        summary.n_unchanged = len({s.source_id for s in sources}.difference(again))
        if not todo and not refused:
            summary.n_traces = store.count("traces")
            return
        given = store.forget(again)
        _read(store, todo, summary, wanted)
        store.tell_gone(given)
        _account(store, refused)
        summary.n_traces = store.count("traces")
        if summary.n_traces == 0:
            raise SourceError(
                f"none of the {len(sources)} files named holds a trace that can be read: {_reasons(summary)}",
                "see `insights ingest --help` for --format and --map",
            )
        store.finish(__version__)
        summary.issues = store.issues()
        summary.totals = store.totals()
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "runs").mkdir(exist_ok=True)
    fresh.replace(current)


def _read(store: Store, todo: list[Source], summary: Summary, wanted: Wanted) -> None:
    total = sum(map(size_of, todo))
    read = 0
    for batch in read_all(todo, format=wanted.format, jobs=wanted.jobs):
        summary.n_new += store.add(batch)
        for done in batch.done:
            row = done.source_row
            read += row["bytes"]
            if row["status"] in ("unsupported", "refused", "empty"):
                summary.not_read.append(Refusal(row["uri"], row["status"], row["error"] or ""))
            else:
                counts = summary.by_format.setdefault(row["format"], [0, 0])
                counts[0] += 1
                counts[1] += done.n_traces
            if wanted.progress:
                wanted.progress(row["uri"], read, total)


def _account(store: Store, refused: list[Refusal]) -> None:
    """A row in sources and one in ingest_issues for what was named or found and not read."""
    if not refused:
        return
    builder = Builder()
    for refusal in refused:
        own = hashlib.sha1(f"{refusal.uri}\0refused".encode(errors="surrogateescape")).hexdigest()
        row = {"source_id": own, "uri": refusal.uri, "format": "unknown", "adapter": "none", "adapter_version": 0,
               "status": "refused", "error": refusal.reason, "ingested_at": datetime.now(UTC)}  # fmt: skip
        builder.end(Done(row, [Issue(refusal.code, "warning", f"{refusal.uri}: {refusal.reason}")]))
    batch = builder.take()
    store.forget([done.source_row["source_id"] for done in batch.done])
    store.add(batch)


def _index(folder: Path) -> None:
    """Bring the search index up to date; a killed ingest may have left one that is not."""
    import duckdb

    from primitives.index import build, is_current

    with duckdb.connect(str(folder / "traces.duckdb"), read_only=True) as con:
        if is_current(folder, con):
            return
    build(folder)


def _clean(folder: Path) -> None:
    """Remove what an ingest left that was killed, or this one on its way."""
    for leftover in [*folder.glob(".ingest*"), *folder.glob("traces.duckdb.new*")]:
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _reasons(summary: Summary) -> str:
    return "; ".join(f"{Path(r.uri).name}: {r.reason}" for r in summary.not_read[:3]) or "no records found"


@contextmanager
def _unwritable(folder: Path) -> Iterator[None]:
    """What DuckDB and the system say of a disk that is full or a folder that is closed, as one error."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        why = f"{folder} cannot be made: a trace needs more memory than there is ({str(error).splitlines()[0]})"
        raise CorpusError(
            why, "ingest the largest files by themselves, to see which it is, and leave that out"
        ) from None
    except duckdb.Error as error:
        why = str(error).splitlines()[0]
        if "not a valid DuckDB database" in why:
            raise CorpusError(
                f"{folder / 'traces.duckdb'} is no corpus: {why}", "move it away and ingest again"
            ) from None
    except OSError as error:
        why = error.strerror or str(error)
    else:
        return
    raise CorpusError(f"{folder} cannot be written: {why}", "free space or choose another -o")


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
