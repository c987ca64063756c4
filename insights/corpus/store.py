"""The database under construction: batches in, duplicates told apart, slices and totals worked out at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insights.corpus.batch import Batch, to_arrow
from insights.corpus.columns import SCHEMA_SQL
from insights.corpus.source import Source
from insights.corpus.standing import complete, restore
from insights.errors import CorpusError
from primitives.corpus import SCHEMA_VERSION

if TYPE_CHECKING:
    import pyarrow as pa

FLUSH_BYTES = 64 << 20  # unit: bytes of Arrow tables that wait for one insert
MEMORY = 400  # unit: MiB; of DuckDB, beside Python's own
COPIES = 4  # of the largest text, that DuckDB holds at once
OF_TRACE = ("traces", "steps", "llm_calls", "tool_calls", "spans", "annotations", "expected", "slices", "signals")


@dataclass(frozen=True, slots=True)
class Known:
    """A source as an earlier ingest saw it."""

    size: int | None
    mtime: float | None  # unit: seconds since 1970
    uri: str
    format: str


class Store:
    """Context manager over one DuckDB file that nobody else has open."""

    def __init__(self, file: Path, *, created: bool) -> None:
        self.file, self.created = file, created

    def __enter__(self) -> Store:
        import duckdb

        self.con = duckdb.connect(str(self.file))
        try:
            self._prepare()
        except BaseException:
            self.con.close()
            raise
        return self

    def _prepare(self) -> None:
        self.con.execute("SET enable_progress_bar=false; SET TimeZone='UTC'; SET preserve_insertion_order=true")
        self.con.execute(f"SET memory_limit='{MEMORY}MiB'")
        if self.created:
            self.con.execute(SCHEMA_SQL)
        else:
            self._check_version()
            complete(self.con)
        self.con.execute("BEGIN TRANSACTION")
        rows = self.con.execute(
            "SELECT source_id, bytes, epoch(mtime), uri, format FROM sources WHERE status <> 'refused'"
        )
        self.known = {source_id: Known(*told) for source_id, *told in rows.fetchall()}
        self.waiting: dict[str, list[pa.Table]] = {}
        self.n_waiting = 0
        self.seen: dict[str, str] = dict(self.con.execute("SELECT trace_id, fingerprint FROM traces").fetchall())
        self.repeated: list[tuple[Any, ...]] = []

    def __exit__(self, *failure: object) -> None:
        self.con.close()

    def _check_version(self) -> None:
        import duckdb

        try:
            rows = self.con.execute("SELECT schema_version FROM corpus_info").fetchall()
        except duckdb.Error:
            rows = []
        if rows != [(SCHEMA_VERSION,)]:
            raise CorpusError(
                f"the corpus has schema version {rows[0][0] if rows else 'unknown'}, this program writes {SCHEMA_VERSION}",
                "ingest its sources into a new -o",
            )

    def has_unchanged(self, source: Source) -> bool:
        """Whether this source was read whole before and has neither grown nor changed since."""
        known = self.known.get(source.source_id)
        if known is None or known.mtime is None:
            return False
        try:
            stat = source.path.stat()
        except OSError:
            return True  # it went away since it was found: what it gave stays
        return known.size == stat.st_size and abs(known.mtime - stat.st_mtime) < 1e-3

    def forget(self, source_ids: Sequence[str]) -> list[tuple[str, str]]:
        """Take out everything these sources gave before; returns (trace_id, source_id) of the traces."""
        self.flush()
        own = list(source_ids)
        given = self.con.execute(
            "SELECT trace_id, source_id FROM traces WHERE source_id IN (SELECT unnest($1::VARCHAR[])) ORDER BY 1", [own]
        ).fetchall()
        gone = [(trace_id,) for trace_id, _ in given]
        for (trace_id,) in gone:
            self.seen.pop(trace_id, None)
        if gone:
            self.con.execute(
                "CREATE OR REPLACE TEMP TABLE gone AS SELECT unnest($1::VARCHAR[]) AS trace_id", [[t for (t,) in gone]]
            )
            for table in OF_TRACE:
                self.con.execute(f"DELETE FROM {table} WHERE trace_id IN (SELECT trace_id FROM gone)")
        for table in ("ingest_issues", "sources"):
            self.con.execute(f"DELETE FROM {table} WHERE source_id IN (SELECT unnest($1::VARCHAR[]))", [own])
        return given

    def tell_gone(self, given: Sequence[tuple[str, str]]) -> None:
        """Note which traces a source gave before and, read again, does not."""
        lost: dict[str, list[str]] = {}
        for trace_id, source_id in given:
            if trace_id not in self.seen:
                lost.setdefault(source_id, []).append(trace_id)
        for source_id, ids in lost.items():
            told = "traces that were read before are not in it any more and were taken out, as"
            self.repeated.append((source_id, None, None, None, "gone", "warning", len(ids), f"{told} {ids[0]}"))

    def add(self, batch: Batch) -> int:
        """Store a batch; a trace whose id is known is dropped when it is the same run, else renamed. Returns traces stored."""
        renamed: dict[str, str | None] = {}
        for trace_id, fingerprint, source_id in batch.heads:
            own = self._own_id(trace_id, fingerprint)
            if own == trace_id:
                continue
            renamed[trace_id] = own
            code, detail = (
                ("repeated_id", f"another run has this id; stored as {own}")
                if own
                else ("duplicate_trace", "the same run was read before; kept once")
            )
            self.repeated.append((source_id, trace_id, None, None, code, "info", 1, detail))
        for name, table in batch.tables.items():
            self._insert(name, _rename(table, renamed, name) if renamed and "trace_id" in table.schema.names else table)
        return len(batch.heads) - sum(new is None for new in renamed.values())

    def _own_id(self, trace_id: str, fingerprint: str) -> str | None:
        """The id to store a trace under; None where the same run is stored."""
        own, n = trace_id, 1
        while own in self.seen:
            if self.seen[own] == fingerprint:
                return None
            n += 1
            own = f"{trace_id}#{n}"
        self.seen[own] = fingerprint
        return own

    def _insert(self, name: str, table: pa.Table) -> None:
        """Small tables wait for each other: an insert per file is what thousands of small files cost."""
        self.waiting.setdefault(name, []).append(table)
        self.n_waiting += table.nbytes
        if self.n_waiting > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits, and have DuckDB compress it now, while the readers go on; the file is nobody's yet."""
        import pyarrow as pa

        if not self.waiting:
            return
        if self.n_waiting > 2 * FLUSH_BYTES:  # one text of hundreds of MB, of which DuckDB needs some copies
            self.con.execute(f"SET memory_limit='{(MEMORY << 20) + COPIES * self.n_waiting}B'")
        for name, tables in self.waiting.items():
            incoming = pa.concat_tables(tables)  # found by its name; one that is registered lives until the commit
            again = "OR IGNORE " if name == "blobs" else ""  # the same picture in many traces
            self.con.execute(f"INSERT {again}INTO {name} SELECT * FROM incoming")
            del incoming
        self.waiting, self.n_waiting = {}, 0
        self.con.execute("COMMIT")
        self.con.execute("BEGIN TRANSACTION")

    def finish(self, version: str) -> str:
        """Work out what needs the whole corpus; returns the corpus's fingerprint."""
        from insights.corpus.slices import unfold
        from primitives.derived import derive

        if self.repeated:
            self._insert("ingest_issues", to_arrow("ingest_issues", self.repeated))
        self.flush()
        self.con.execute("DELETE FROM ingest_issues WHERE code = 'same_text'")
        self.con.execute(
            "INSERT INTO ingest_issues SELECT any_value(source_id), min(trace_id), NULL, NULL, 'same_text', 'info', count(*), "
            "'runs with equal text throughout: ' || array_to_string(list(trace_id ORDER BY trace_id)[:5], ', ') "
            "FROM traces WHERE n_steps > 1 GROUP BY fingerprint HAVING count(*) > 1"
        )
        restore(self.con)
        unfold(self.con)
        derive(self.con)
        digest = self.con.execute(
            "SELECT sha1(string_agg(concat_ws('|', trace_id, fingerprint, success, score), chr(10) ORDER BY trace_id)) FROM traces"
        ).fetchall()[0][0]
        fingerprint = digest[:16] if digest else "empty"
        self.con.execute("DELETE FROM corpus_info")
        self.con.execute("INSERT INTO corpus_info VALUES (?, ?, now(), ?)", [SCHEMA_VERSION, version, fingerprint])
        self.con.execute("COMMIT")
        self.con.execute("CHECKPOINT")
        return fingerprint

    def count(self, table: str) -> int:
        self.flush()
        return self.con.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]

    def issues(self) -> list[tuple[str, str, int, str]]:
        return self.con.execute(
            "SELECT code, max(severity), sum(n)::BIGINT, arg_min(detail, rowid) FROM ingest_issues GROUP BY code ORDER BY 3 DESC, 1"
        ).fetchall()

    def totals(self) -> dict[str, Any]:
        """Counts for the closing summary."""
        result = self.con.execute(
            "SELECT count(*) traces, count(*) FILTER (success) passed, count(*) FILTER (NOT success) failed, "
            "count(*) FILTER (success IS NULL) unlabelled, sum(n_steps)::BIGINT steps, sum(n_tool_calls)::BIGINT tool_calls, "
            "sum(n_tool_errors)::BIGINT tool_errors, count(DISTINCT (dataset, task_id)) FILTER (task_id IS NOT NULL) tasks, "
            "(SELECT count(*) FROM signals) signals FROM traces"
        )
        return dict(zip([d[0] for d in result.description or []], result.fetchall()[0], strict=True))


def _rename(table: pa.Table, renamed: dict[str, str | None], name: str) -> pa.Table:
    """The table without the traces renamed to None, the others under their new id. Issues are kept all."""
    import pyarrow as pa

    ids = table["trace_id"].to_pylist()
    keep = [name == "ingest_issues" or renamed.get(i, i) is not None for i in ids]
    out = table.filter(pa.array(keep))
    for column in ("trace_id", "root_trace_id"):
        if column in out.schema.names:
            fresh = pa.array([renamed.get(i) or i for i in out[column].to_pylist()], pa.string())
            out = out.set_column(out.schema.get_field_index(column), column, fresh)
    return out
