"""Read-only SQL over every table, with bounded rows and cells."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from primitives.registry import verb

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

CELL_CHARS = 20_000  # unit: characters of one cell; a longer text is cut with a mark, so 1,000 rows stay below 20 MB
READING = ("SELECT", "EXPLAIN")  # statement types; DESCRIBE, SHOW, SUMMARIZE and VALUES are SELECT to DuckDB


class QueryError(ValueError):
    """The query is not one reading statement or does not run. The message carries DuckDB's and what there is."""


class Bounded(UserWarning):
    """A result was cut to its bound; the message says what was left out and how to get it."""


@verb
def sql(corpus: Corpus, query: str, *, max_rows: int = 1000) -> pd.DataFrame:
    """Run one read-only SQL statement (DuckDB dialect) over every table and view of the corpus.

    query: one SELECT (also WITH, FROM, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN). `sql("SHOW TABLES")` lists what there is.
    max_rows: rows returned at most. When there are more, the first max_rows come with a warning that says so: count in
        SQL rather than in pandas. Texts above 20,000 characters are cut in the cell and say so; `read` reads them.

    Columns: those of the query.
    Raises QueryError with DuckDB's message, the nearest names and the tables there are.

    >>> sql("SELECT success, count(*) AS n FROM traces GROUP BY success ORDER BY n DESC")
    """
    import duckdb

    columns = columns_of(corpus, query)
    try:
        if columns is None:
            table = corpus.con.execute(query).df()
        else:
            cut = ", ".join(_cut(name, kind) for name, kind in columns)
            table = corpus.con.execute(f"SELECT {cut} FROM (\n{_bare(query)}\n) LIMIT {max_rows + 1}").df()
    except duckdb.Error as error:
        raise QueryError(explain(corpus, error)) from None
    if len(table) > max_rows:
        warnings.warn(
            f"sql: only the first {max_rows} rows are given; aggregate in SQL or raise max_rows", Bounded, stacklevel=2
        )
        table = table.iloc[:max_rows]
    return table


def columns_of(corpus: Corpus, query: str) -> list[tuple[str, str]] | None:
    """(name, type) of what a query gives, without running it; None for EXPLAIN, which gives a plan.

    Raises QueryError unless it is one statement that reads and binds.
    """
    import duckdb

    try:
        statements = corpus.con.extract_statements(query)
    except duckdb.Error as error:
        raise QueryError(explain(corpus, error)) from None
    if not statements:
        raise QueryError("the query is empty")
    if len(statements) != 1:
        raise QueryError(f"one statement at a time, not {len(statements)}; join them with WITH … or UNION ALL")
    kind = statements[0].type.name.removesuffix("_STATEMENT")
    if kind not in READING:
        raise QueryError(
            f"the corpus is read-only: {kind} is refused (SELECT it, or keep a set of traces with save_cohort)"
        )
    if kind == "EXPLAIN":
        return None
    try:
        rows = corpus.con.execute(f"DESCRIBE FROM (\n{_bare(query)}\n)").fetchall()
    except duckdb.Error as error:
        raise QueryError(explain(corpus, error)) from None
    return [(str(row[0]), str(row[1])) for row in rows]


def _bare(query: str) -> str:
    """The statement without the semicolon and the comments after it, so that it can stand in parentheses."""
    import duckdb

    text = query.encode()  # places are counted in bytes
    end = len(text)
    for start, kind in reversed(duckdb.tokenize(query)):
        if kind != duckdb.token_type.comment and text[start : start + 1] != b";":
            break
        end = start
    return text[:end].decode()


def _cut(name: str, kind: str) -> str:
    """SQL of a column with its long texts cut."""
    quoted = '"' + name.replace('"', '""') + '"'
    if kind not in ("VARCHAR", "JSON"):
        return quoted
    return (
        f"CASE WHEN length({quoted}) > {CELL_CHARS} THEN left({quoted}, {CELL_CHARS}) || ' … [' || "
        f"(length({quoted}) - {CELL_CHARS}) || ' more characters]' ELSE {quoted} END AS {quoted}"
    )


def explain(corpus: Corpus, error: Exception) -> str:
    """DuckDB's message, then the tables with their columns where a name was not found."""
    message = str(error).strip()
    if "does not exist" not in message and "not found" not in message:
        return message[:1500]
    rows = corpus.con.execute(
        "SELECT table_name, string_agg(column_name, ', ' ORDER BY column_index) FROM duckdb_columns() "
        "WHERE NOT internal GROUP BY table_name ORDER BY table_name"
    ).fetchall()
    there = "\n".join(f"  {name}({columns})" for name, columns in rows)
    return f"{message[:1000]}\nThere are:\n{there}"[:6000]
