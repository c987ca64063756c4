"""A corpus of some of the traces of another: the population of a question."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from insights.corpus.columns import SCHEMA_SQL
from insights.errors import UsageError

if TYPE_CHECKING:
    from primitives.corpus import Corpus


def subset(corpus: Corpus, where: str | None, limit: int | None, seed: int, target: Path) -> Path:
    """Write the traces for which `where` (as a cohort is meant) holds, at most `limit` drawn by `seed`, as a corpus.

    Raises UsageError when `where` does not run or nothing is left.
    """
    from primitives.cohort import CohortNotUnderstood, resolve

    try:
        chosen = resolve(corpus, where)
        ids = [row[0] for row in corpus.con.execute(
            f"SELECT trace_id FROM ({chosen}) ORDER BY md5(concat(?, '/', trace_id)) LIMIT ?", [str(seed), limit or 2**62]
        ).fetchall()]  # fmt: skip
    except CohortNotUnderstood as error:
        raise UsageError(
            f"--filter: {str(error).splitlines()[0]}", "a condition over traces, as in \"model = 'x'\""
        ) from error
    if not ids:
        raise UsageError(
            f"--filter: no trace of {corpus.path} fits {where!r}", 'insights sql CORPUS "SELECT … FROM traces"'
        )
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    if (corpus.path / "labels").is_dir():
        shutil.copytree(corpus.path / "labels", target / "labels", ignore=shutil.ignore_patterns("*.new"))
    from primitives.index import build

    _copy(corpus.path, ids, target / "traces.new", f"{where}/{limit}/{seed}")
    (target / "traces.new").replace(target / "traces.duckdb")
    build(target)
    return target


def _copy(source: Path, ids: list[str], file: Path, how: str) -> None:
    import duckdb

    with duckdb.connect(str(file)) as con:
        con.execute("SET enable_progress_bar=false; SET TimeZone='UTC'")
        con.execute(SCHEMA_SQL)
        path = str(source / "traces.duckdb").replace("'", "''")
        con.execute(f"ATTACH '{path}' AS whole (READ_ONLY)")
        con.execute("CREATE TEMP TABLE chosen AS SELECT unnest($ids::VARCHAR[]) AS trace_id", {"ids": ids})
        tables = con.execute(
            "SELECT table_name, bool_or(column_name = 'trace_id') FROM duckdb_columns() "
            "WHERE database_name = 'whole' AND NOT internal GROUP BY 1"
        ).fetchall()
        for table, of_traces in tables:
            inside = "WHERE trace_id IS NULL OR trace_id IN (SELECT trace_id FROM chosen)" if of_traces else ""
            con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM whole.{table} {inside}")
        code = hashlib.sha1(how.encode(), usedforsecurity=False).hexdigest()[:12]
        con.execute("UPDATE corpus_info SET fingerprint = fingerprint || '-' || ?", [code])
