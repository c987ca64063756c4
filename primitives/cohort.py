"""Which traces are meant: one resolver for every `cohort`, `population`, `a`, `b` and `within` argument."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from primitives.corpus import Corpus

LITERAL_IDS = 200  # a longer list of ids becomes a temporary table, so that the SQL stays readable


class CohortNotUnderstood(ValueError):
    """The argument names no set of traces. The message says what was given and what can be given."""


def resolve(corpus: Corpus, cohort: Any = None) -> str:
    """SQL text of a SELECT giving distinct trace_id; put it in parentheses: `WHERE trace_id IN ({sql})`.

    `cohort` is None (all traces), a SELECT with a trace_id column, a WHERE condition over `traces`
    ("NOT success", "model = 'x'"), the name of a saved cohort, a list, Series or set of trace ids, or a
    DataFrame with a trace_id column. The SELECT may give a trace twice or NULL. Raises CohortNotUnderstood.
    """
    if cohort is None:
        return "SELECT trace_id FROM traces"
    if isinstance(cohort, str):
        return _from_text(corpus, cohort)
    ids = cohort["trace_id"] if hasattr(cohort, "columns") and "trace_id" in cohort.columns else cohort
    if not isinstance(ids, Iterable) or isinstance(ids, dict | bytes):
        raise CohortNotUnderstood(
            f"a cohort is a SELECT giving trace_id, a WHERE condition over traces, the name of a saved cohort "
            f"or a list of trace ids, not {type(cohort).__name__}"
        )
    return _from_ids(corpus, sorted({str(i) for i in ids}))


def size(corpus: Corpus, cohort: Any = None) -> int:
    """How many traces the cohort holds."""
    row = corpus.con.execute(f"SELECT count(*) FROM ({resolve(corpus, cohort)})").fetchone()
    return int(row[0]) if row else 0


def _from_text(corpus: Corpus, text: str) -> str:
    import duckdb

    bare = text.strip().rstrip(";").rstrip()
    if not bare:
        raise CohortNotUnderstood("the cohort is empty text; None means all traces")
    if bare.lstrip("( \n\t").upper().startswith(("SELECT", "WITH", "FROM")):
        sql = f"SELECT DISTINCT trace_id FROM (\n{bare}\n) WHERE trace_id IS NOT NULL"
    elif _is_saved_cohort(corpus, bare):
        quoted = bare.replace("'", "''")
        sql = f"SELECT DISTINCT trace_id FROM labels WHERE kind = 'cohort' AND name = '{quoted}'"
    else:
        sql = f"SELECT trace_id FROM traces WHERE (\n{bare}\n)"
    try:
        corpus.con.execute(f"EXPLAIN {sql}").fetchall()
    except duckdb.Error as error:
        raise CohortNotUnderstood(f"cohort {bare[:200]!r} does not run: {str(error)[:500]}") from error
    return sql


def _is_saved_cohort(corpus: Corpus, name: str) -> bool:
    row = corpus.con.execute("SELECT 1 FROM labels WHERE kind = 'cohort' AND name = ? LIMIT 1", [name]).fetchone()
    return row is not None


def _from_ids(corpus: Corpus, ids: list[str]) -> str:
    if not ids:
        return "SELECT trace_id FROM traces WHERE false"
    if len(ids) <= LITERAL_IDS:
        listed = ", ".join("'" + i.replace("'", "''") + "'" for i in ids)
        return f"SELECT unnest([{listed}]) AS trace_id"
    name = "cohort_" + hashlib.sha1("\n".join(ids).encode(), usedforsecurity=False).hexdigest()[:16]
    corpus.con.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS {name} AS SELECT unnest($ids::VARCHAR[]) AS trace_id", {"ids": ids}
    )
    return f"SELECT trace_id FROM {name}"
