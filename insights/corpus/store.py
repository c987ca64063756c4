"""The database under construction: batches in, duplicates told apart, slices and totals worked out at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from insights.corpus.batch import Batch, issue_row, to_arrow
from insights.corpus.columns import SCHEMA_SQL, TABLES
from insights.corpus.source import Source
from insights.errors import CorpusError
from primitives.corpus import SCHEMA_VERSION

if TYPE_CHECKING:
    from insights.corpus.readers import Done

FLUSH_BYTES = 48 << 20  # unit: bytes of Arrow tables that wait for one insert
OF_TRACE = ("traces", "steps", "llm_calls", "tool_calls", "spans", "annotations", "expected", "slices", "signals")


class Store:
    """Context manager over one DuckDB file that nobody else has open."""

    def __init__(self, file: Path, *, created: bool) -> None:
        self.file, self.created = file, created

    def __enter__(self) -> Store:
        import duckdb

        self.con = duckdb.connect(str(self.file))
        self.con.execute("SET enable_progress_bar=false; SET TimeZone='UTC'; SET preserve_insertion_order=true")
        self.con.execute("SET memory_limit='1500MB'")
        if self.created:
            self.con.execute(SCHEMA_SQL)
        else:
            self._check_version()
        self.con.execute("BEGIN TRANSACTION")
        rows = self.con.execute(
            "SELECT source_id, bytes, epoch(mtime) FROM sources WHERE status <> 'refused'"
        ).fetchall()
        self.known = {source_id: (size, mtime) for source_id, size, mtime in rows}
        self.waiting: dict[str, list[Any]] = {}
        self.n_waiting = 0
        self.seen: dict[str, str] = dict(self.con.execute("SELECT trace_id, fingerprint FROM traces").fetchall())
        self.repeated: list[tuple[Any, ...]] = []
        return self

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
        stat = source.path.stat()
        row = self.known.get(source.source_id)
        return row is not None and row[0] == stat.st_size and abs(row[1] - stat.st_mtime) < 1e-3

    def forget(self, source_id: str) -> None:
        """Take out everything a source gave before."""
        gone = self.con.execute("SELECT trace_id FROM traces WHERE source_id = ?", [source_id]).fetchall()
        for (trace_id,) in gone:
            self.seen.pop(trace_id, None)
        if gone:
            self.con.execute(
                "CREATE OR REPLACE TEMP TABLE gone AS SELECT trace_id FROM traces WHERE source_id = ?", [source_id]
            )
            for table in OF_TRACE:
                self.con.execute(f"DELETE FROM {table} WHERE trace_id IN (SELECT trace_id FROM gone)")
        self.con.execute("DELETE FROM ingest_issues WHERE source_id = ?", [source_id])
        self.con.execute("DELETE FROM sources WHERE source_id = ?", [source_id])

    def add(self, batch: Batch) -> int:
        """Store a batch; a trace whose id is known is dropped when it is the same run, else renamed. Returns traces stored."""
        renamed: dict[str, str | None] = {}
        for trace_id, fingerprint in batch.heads:
            if trace_id not in self.seen:
                self.seen[trace_id] = fingerprint
            elif self.seen[trace_id] == fingerprint:
                renamed[trace_id] = None
            else:
                n = 2
                while f"{trace_id}#{n}" in self.seen:
                    n += 1
                renamed[trace_id] = f"{trace_id}#{n}"
                self.seen[f"{trace_id}#{n}"] = fingerprint
        source_id = batch.tables["traces"]["source_id"][0].as_py()
        for old, new in renamed.items():
            code, detail = (
                ("repeated_id", f"another run has this id; stored as {new}")
                if new
                else ("duplicate_trace", "the same run was read before; kept once")
            )
            self.repeated.append((source_id, old, None, None, code, "info", 1, detail))
        for name, table in batch.tables.items():
            self._insert(name, _rename(table, renamed) if renamed and name != "blobs" else table)
        return len(batch.heads) - sum(new is None for new in renamed.values())

    def add_source(self, done: Done) -> None:
        columns = TABLES["sources"]
        self._insert("sources", to_arrow("sources", [tuple(done.source_row.get(c) for c in columns)]))
        rows = [issue_row(done.source_row["source_id"], i) for i in done.issues]
        if rows:
            self._insert("ingest_issues", to_arrow("ingest_issues", rows))

    def _insert(self, name: str, table: Any) -> None:
        """Small tables wait for each other: an insert per file is what thousands of small files cost."""
        self.waiting.setdefault(name, []).append(table)
        self.n_waiting += table.nbytes
        if self.n_waiting > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        import pyarrow as pa

        for name, tables in self.waiting.items():
            together = pa.concat_tables(tables)
            self.con.register("incoming", together)
            again = "OR IGNORE " if name == "blobs" else ""  # the same picture in many traces
            self.con.execute(f"INSERT {again}INTO {name} SELECT * FROM incoming")
            self.con.unregister("incoming")
        self.waiting, self.n_waiting = {}, 0

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
            "sum(n_tool_errors)::BIGINT tool_errors, count(DISTINCT task_id) tasks, (SELECT count(*) FROM signals) signals FROM traces"
        )
        return dict(zip([d[0] for d in result.description or []], result.fetchall()[0], strict=True))


def _rename(table: Any, renamed: dict[str, str | None]) -> Any:
    import pyarrow as pa

    ids = table["trace_id"].to_pylist()
    keep = [renamed.get(i, i) is not None for i in ids]
    out = table.filter(pa.array(keep))
    fresh = pa.array([renamed.get(i, i) for i, k in zip(ids, keep, strict=True) if k], pa.string())
    out = out.set_column(out.schema.get_field_index("trace_id"), "trace_id", fresh)
    if "root_trace_id" in out.schema.names:
        roots = [renamed.get(r) or r for r in out["root_trace_id"].to_pylist()]
        out = out.set_column(out.schema.get_field_index("root_trace_id"), "root_trace_id", pa.array(roots, pa.string()))
    return out
