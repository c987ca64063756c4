"""Tables that follow from the others: `actions` and `deviations`. Worked out at ingest, so that predicates stay short."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from primitives.deviations_sql import deviation_rows
from primitives.events import EVENTS
from primitives.mutating import mutating_tools

if TYPE_CHECKING:
    import duckdb


def derive(con: duckdb.DuckDBPyConnection) -> None:
    """Fill both tables afresh in a database that is open for writing."""
    con.execute("DELETE FROM actions")
    con.execute(f"INSERT INTO actions BY NAME SELECT * FROM ({EVENTS}) ORDER BY trace_id, seq, i")
    con.execute("DELETE FROM deviations")
    mutating = mutating_tools(cast(Any, SimpleNamespace(con=con)))
    rows = deviation_rows(mutating, "SELECT trace_id FROM traces")
    con.execute(
        f"INSERT INTO deviations BY NAME SELECT * FROM ({rows}) ORDER BY trace_id, seq NULLS LAST, kind, name, argument"
    )
