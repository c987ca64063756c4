"""Unfold what is regular in columns, metadata, ids and paths into `slices`: name, value, basis per trace.

A fault that lives in one slice is the commonest kind and the easiest to miss. An attribute becomes a slice when it has
2..MOST_VALUES values over the traces and covers at least COVERAGE of them, and its values repeat.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from insights.corpus.batch import to_arrow

if TYPE_CHECKING:
    import duckdb

MOST_VALUES = 40  # unit: distinct values; more is an id, not a slice
COVERAGE = 0.5  # share of traces that must have the attribute
COLUMNS = (
    "dataset",
    "model",
    "agent",
    "agent_version",
    "framework",
    "provider",
    "split",
    "end_reason",
    "native_end_reason",
    "relation",
)
_PARTS = re.compile(r"__|[/#:.\s]|(?<=[a-zA-Z])-(?=\d)|-(?=[a-zA-Z])")


def unfold(con: duckdb.DuckDBPyConnection) -> None:
    """Fill `slices` beside those that the readers gave; replaces what an earlier ingest unfolded."""
    con.execute(
        "DELETE FROM slices WHERE basis IN ('column', 'time', 'metadata_key')"
        " OR regexp_matches(name, '^(task_id|native_id|uri)[.][0-9]+$')"
    )
    n = con.execute("SELECT count(*) FROM traces").fetchall()[0][0]
    if n < 2:
        return
    for column in COLUMNS:
        _insert(
            con,
            column,
            "column",
            f"SELECT trace_id, {column}::VARCHAR AS value FROM traces WHERE {column} IS NOT NULL",
            n,
        )
    _insert(con, "trial", "column", "SELECT trace_id, trial::VARCHAR AS value FROM traces WHERE trial IS NOT NULL", n)
    _insert(
        con,
        "week",
        "time",
        "SELECT trace_id, strftime(started_at, '%G-W%V') AS value FROM traces WHERE started_at IS NOT NULL",
        n,
    )
    keys = con.execute(
        "SELECT DISTINCT unnest(json_keys(metadata)) FROM traces WHERE metadata IS NOT NULL ORDER BY 1 LIMIT 300"
    ).fetchall()
    for (key,) in keys:
        path = "$." + '"' + key.replace('"', '\\"').replace("'", "''") + '"'
        _insert(
            con,
            key,
            "metadata_key",
            f"SELECT trace_id, metadata->>'{path}' AS value FROM traces WHERE metadata->>'{path}' IS NOT NULL",
            n,
        )
    _from_ids(con, n)


def _insert(con: duckdb.DuckDBPyConnection, name: str, basis: str, select: str, n: int) -> None:
    covered, distinct, longest = con.execute(f"SELECT count(*), count(DISTINCT value), max(length(value)) FROM ({select})").fetchall()[0]
    if covered < COVERAGE * n or not 2 <= distinct <= min(MOST_VALUES, max(2, n // 2)) or (longest or 0) > 200:
        return
    con.execute(
        f"INSERT INTO slices SELECT trace_id, ?, value, ? FROM ({select}) q "
        "WHERE NOT EXISTS (SELECT 1 FROM slices s WHERE s.trace_id = q.trace_id AND s.name = ?)",
        [name, basis, name],
    )


def _from_ids(con: duckdb.DuckDBPyConnection, n: int) -> None:
    """Positions of ids and source paths whose parts repeat: `task_id.0` of django__django-11099 is django."""
    for column, basis in (("task_id", "id"), ("native_id", "id"), ("uri", "path")):
        known = {tuple(v) for v in _partitions(con)}
        table = (
            "traces" if column != "uri" else "(SELECT t.trace_id, s.uri FROM traces t JOIN sources s USING (source_id))"
        )
        rows = con.execute(
            f"SELECT trace_id, {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY trace_id"
        ).fetchall()
        if len(rows) < COVERAGE * n:
            continue
        by_position: dict[int, dict[str, str]] = defaultdict(dict)
        for trace_id, text in rows:
            parts = [p for p in _PARTS.split(text) if p]
            for at, part in enumerate(parts[:12]):
                by_position[at][trace_id] = part
        for at, values in by_position.items():
            _keep(con, f"{column}.{at}", basis, values, n, known)


def _keep(
    con: duckdb.DuckDBPyConnection, name: str, basis: str, values: dict[str, str], n: int, known: set[Any]
) -> None:
    groups: dict[str, list[str]] = defaultdict(list)
    for trace_id, value in values.items():
        groups[value].append(trace_id)
    if len(values) < 0.9 * n or not 2 <= len(groups) <= MOST_VALUES or len(groups) > n / 4:
        return
    if all(value.isdigit() for value in groups):
        return  # a running number, not a name
    partition = tuple(sorted(tuple(sorted(g)) for g in groups.values()))
    if partition in known:
        return
    known.add(partition)
    rows = to_arrow("slices", [(t, name, v[:200], basis) for t, v in values.items()])
    con.register("incoming", rows)
    con.execute("INSERT INTO slices SELECT * FROM incoming")
    con.unregister("incoming")


def _partitions(con: duckdb.DuckDBPyConnection) -> list[tuple[tuple[str, ...], ...]]:
    """The groupings that slices already make, each a sorted tuple of sorted groups."""
    rows = con.execute("SELECT name, value, list(trace_id ORDER BY trace_id) FROM slices GROUP BY 1, 2").fetchall()
    found: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for name, _, ids in rows:
        found[name].append(tuple(ids))
    return [tuple(sorted(groups)) for groups in found.values()]
