"""Unfold what is regular in columns, metadata, ids and paths into `slices`: name, value, basis per trace.

A fault that lives in one slice is the commonest kind and the easiest to miss. What a reader says of its traces stands in
`extra.slices` and is taken as it is; any other attribute becomes a slice when it covers COVERAGE of the traces with at most
MOST_VALUES values that repeat. What all traces share tells nothing and is left out. Of attributes that group the traces
alike one is kept: a column before what a reader or the metadata says, that before ids and paths, the week last.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from insights.corpus.batch import to_arrow

if TYPE_CHECKING:
    import duckdb

MOST_VALUES = 40  # unit: distinct values; more is an id, not a slice
COVERAGE = 0.5  # share of traces that must have the attribute
COVERAGE_OF_IDS = 0.9  # share of ids or paths that must have the part
LONGEST = 200  # unit: characters of a value
COLUMNS = (
    "model",
    "agent",
    "dataset",
    "agent_version",
    "framework",
    "provider",
    "split",
    "end_reason",
    "native_end_reason",
    "relation",
    "trial",
)
_PARTS = re.compile(r"__|[/#:.\s]|(?<=[a-zA-Z])-(?=\d)|-(?=[a-zA-Z])")
_PATH_PARTS = re.compile(r"__|/|\.[a-z0-9]{1,6}$")  # a file's name is one word: 4o and qwen2.5-7b stay whole

_GIVEN = """
SELECT trace_id, g.key AS name, g.value->>0 AS value, g.value->>1 AS basis
FROM traces, json_each(extra, '$.slices') g WHERE (extra->'slices') IS NOT NULL"""
_METADATA = """
SELECT trace_id, name, json_extract_string(metadata, '$."' || replace(name, '"', '\\"') || '"') AS value, 'metadata' AS basis
FROM (SELECT trace_id, metadata, unnest(json_keys(metadata)) AS name FROM traces
    WHERE metadata IS NOT NULL AND strlen(metadata::VARCHAR) <= 100000)"""
_WEEK = """
SELECT trace_id, 'week' AS name, strftime(started_at, '%G-W%V') AS value, 'time' AS basis
FROM traces WHERE started_at IS NOT NULL"""
# Two attributes group alike when each puts every trace with the same first trace of its group.
_ALIKE = """
DELETE FROM slices WHERE name IN (
    WITH firsts AS (SELECT name, value, min(trace_id) AS first FROM slices GROUP BY ALL),
    grouped AS (SELECT s.name, count(*) AS n, bit_xor(hash(concat_ws(chr(0), s.trace_id, f.first))) AS alike, min(s.rowid) AS place
        FROM slices s JOIN firsts f USING (name, value) GROUP BY s.name)
    SELECT name FROM grouped QUALIFY row_number() OVER (PARTITION BY n, alike ORDER BY place) > 1)
AND name NOT IN (SELECT name FROM given)"""
_CONSTANT = """
DELETE FROM slices WHERE name IN (SELECT name FROM slices GROUP BY name HAVING count(DISTINCT value) < 2 AND count(*) = $n)
AND name NOT IN (SELECT name FROM given)"""


def unfold(con: duckdb.DuckDBPyConnection) -> None:
    """Fill `slices` afresh."""
    con.execute("DELETE FROM slices")
    n = con.execute("SELECT count(*) FROM traces").fetchall()[0][0]
    if n < 2:
        return
    for column in COLUMNS:
        of_column = f"SELECT trace_id, '{column}' AS name, {column}::VARCHAR AS value, 'column' AS basis FROM traces"
        _add(con, f"{of_column} WHERE {column} IS NOT NULL", n)
    con.execute(f"INSERT INTO slices SELECT * FROM ({_GIVEN}) q WHERE value IS NOT NULL AND {_UNSAID}")
    _add(con, _METADATA, n)
    for column, basis in (("task_id", "id"), ("native_id", "id"), ("uri", "path")):
        _add_parts(con, column, basis, n)
    _add(con, _WEEK, n)
    con.execute(f"CREATE OR REPLACE TEMP TABLE given AS SELECT DISTINCT name FROM ({_GIVEN})")
    con.execute(_CONSTANT, {"n": n})
    con.execute(_ALIKE)


_UNSAID = "NOT EXISTS (SELECT 1 FROM slices s WHERE s.trace_id = q.trace_id AND s.name = q.name)"


def _add(con: duckdb.DuckDBPyConnection, select: str, n: int) -> None:
    """Those attributes of (trace_id, name, value, basis) that have few values, and repeated ones."""
    con.execute(
        f"""INSERT INTO slices WITH q AS MATERIALIZED (SELECT * FROM ({select}) WHERE value IS NOT NULL),
        kept AS (SELECT name FROM q GROUP BY name HAVING count(*) >= $least AND max(length(value)) <= $longest
            AND count(DISTINCT value) BETWEEN 2 AND $most)
        SELECT q.* FROM q WHERE name IN (FROM kept) AND {_UNSAID} ORDER BY name, trace_id""",
        {"least": COVERAGE * n, "most": min(MOST_VALUES, max(2, n // 2)), "longest": LONGEST},
    )


def _add_parts(con: duckdb.DuckDBPyConnection, column: str, basis: str, n: int) -> None:
    """Positions of ids and source paths whose parts repeat: `task_id.0` of django__django-11099 is django."""
    rows = con.execute(
        f"SELECT trace_id, {column} FROM traces JOIN sources USING (source_id) WHERE {column} IS NOT NULL ORDER BY trace_id"
    ).fetchall()
    by_position: dict[int, dict[str, str]] = defaultdict(dict)
    for trace_id, text in rows if len(rows) >= COVERAGE * n else ():
        parts = (_PATH_PARTS if basis == "path" else _PARTS).split(text)
        for at, part in enumerate([p for p in parts if p][:12]):
            by_position[at][trace_id] = part[:LONGEST]
    for at, values in by_position.items():
        sizes = Counter(values.values())
        if len(values) < COVERAGE_OF_IDS * n or not 2 <= len(sizes) <= min(MOST_VALUES, n / 4):
            continue
        if all(value.isdigit() for value in sizes):
            continue  # a running number, not a name
        con.register("incoming", to_arrow("slices", [(t, f"{column}.{at}", v, basis) for t, v in values.items()]))
        con.execute("INSERT INTO slices SELECT * FROM incoming")
        con.unregister("incoming")
