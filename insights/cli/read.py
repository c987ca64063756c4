"""Reading a corpus: info, sql, search, show."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from insights.cli import app
from insights.cli.options import CorpusArgument, TableFormatOption, open_corpus
from insights.cli.printing import batches, print_rows, say
from insights.errors import PredicateError

PRETTY_ROWS = 50  # of a table for reading, without --limit


@app.command()
def sql(
    corpus: CorpusArgument,
    query: Annotated[str, typer.Argument(help="One read-only statement; the tables are in docs/schema.md.")],
    limit: Annotated[int | None, typer.Option(help="At most so many rows.", min=1)] = None,
    format: TableFormatOption = "pretty",
) -> None:
    """Run SQL over a corpus.

    \b
    insights sql airline.corpus "SELECT success, count(*) FROM traces GROUP BY ALL"
    insights sql airline.corpus "SELECT trace_id, seq, text FROM steps WHERE is_error" --format json
    """
    import duckdb

    opened = open_corpus(corpus)
    try:
        result = opened.con.execute(query)
        names = [column[0] for column in result.description or []]
        most = limit or (PRETTY_ROWS if format == "pretty" else None)
        rows = batches(result)
        print_rows(names, islice(rows, most), format)
        if most is not None and next(rows, None) is not None:
            say(f"only the first {most:,} rows are shown; --limit N shows more, --format json all")
    except duckdb.Error as error:
        raise PredicateError(
            f"the SQL does not run: {' '.join(str(error).split())}", "`insights info CORPUS` lists tables and columns"
        ) from error
