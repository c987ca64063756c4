"""A predicate is one read-only SELECT giving `trace_id` and, where it can, `seq` and `quote`."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from insights.errors import PredicateError

if TYPE_CHECKING:
    from primitives.corpus import Corpus

SECONDS = 30.0  # a predicate that runs longer is refused: nobody could run it again in a gate
MAX_ROWS = 500_000


@dataclass(frozen=True, slots=True)
class Match:
    trace_id: str
    seq: int | None
    quote: str | None


def check(corpus: Corpus, code: str) -> str:
    """The statement without its semicolon. Raises PredicateError when it is not one SELECT that gives trace_id."""
    import duckdb

    bare = code.strip().rstrip(";").strip()
    try:
        statements = corpus.con.extract_statements(bare)
    except duckdb.Error as error:
        raise PredicateError(f"the predicate does not parse: {_first_line(error)}", "write one SELECT") from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise PredicateError("the predicate is not one SELECT", "give one read-only SELECT with a trace_id column")
    try:
        columns = [row[0] for row in corpus.con.execute(f"DESCRIBE {bare}").fetchall()]
    except duckdb.Error as error:
        raise PredicateError(
            f"the predicate does not run: {_first_line(error)}", "try it with sql(...) first"
        ) from error
    if "trace_id" not in columns:
        raise PredicateError(f"the predicate gives {', '.join(columns)} and no trace_id", "select trace_id")
    return bare


def run(corpus: Corpus, code: str, *, population: str | None = None, seconds: float = SECONDS) -> list[Match]:
    """The matches inside the population, in the order trace_id, seq. Raises PredicateError."""
    bare = check(corpus, code)
    columns = {row[0] for row in corpus.con.execute(f"DESCRIBE {bare}").fetchall()}
    seq = "CAST(seq AS INTEGER)" if "seq" in columns else "NULL"
    quote = "CAST(quote AS VARCHAR)" if "quote" in columns else "NULL"
    inside = f"WHERE trace_id IN ({_trace_ids(corpus, population)})"
    query = (
        f"SELECT DISTINCT CAST(trace_id AS VARCHAR), {seq} AS seq, {quote} AS quote FROM (\n{bare}\n) {inside} "
        f"ORDER BY 1, 2 NULLS LAST, 3 LIMIT {MAX_ROWS}"
    )
    return [Match(*row) for row in timed(corpus, query, seconds)]


def population_size(corpus: Corpus, population: str | None) -> int:
    """How many traces are eligible. Raises PredicateError."""
    rows = timed(corpus, f"SELECT count(*) FROM traces WHERE trace_id IN ({_trace_ids(corpus, population)})", SECONDS)
    return int(rows[0][0])


def _trace_ids(corpus: Corpus, population: str | None) -> str:
    from primitives.cohort import CohortNotUnderstood, resolve

    try:
        return resolve(corpus, population)
    except CohortNotUnderstood as error:
        raise PredicateError(f"population: {error}") from error


def timed(corpus: Corpus, query: str, seconds: float) -> list[tuple]:
    """Rows of a query that is interrupted after `seconds`. Raises PredicateError."""
    import duckdb

    timer = threading.Timer(seconds, corpus.con.interrupt)
    timer.start()
    try:
        return corpus.con.execute(query).fetchall()
    except duckdb.InterruptException:
        raise PredicateError(f"the predicate ran longer than {seconds:.0f} s", "narrow it") from None
    except duckdb.Error as error:
        raise PredicateError(
            f"the predicate does not run: {_first_line(error)}", "try it with sql(...) first"
        ) from error
    finally:
        timer.cancel()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300]
