"""The tables of schema.sql as Python and Arrow see them. The DDL is the only place that lists columns."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_SQL = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")


def _tables() -> dict[str, dict[str, str]]:
    """{table: {column: SQL type}} in the order of the DDL."""
    bare = re.sub(r"--[^\n]*", "", SCHEMA_SQL)
    found: dict[str, dict[str, str]] = {}
    for table, body in re.findall(r"CREATE TABLE (\w+) \((.*?)\);", bare, re.S):
        columns = (re.match(r"\s*(\w+)\s+([A-Z]+(?:\[\])?)", part) for part in body.split(","))
        found[table] = {m[1]: m[2] for m in columns if m and m[1] != "PRIMARY"}
    return found


TABLES = _tables()


@cache
def arrow_schema(table: str) -> pa.Schema:
    """The Arrow schema of a table's rows. JSON is text; times are UTC microseconds."""
    import pyarrow as pa

    types = {
        "VARCHAR": pa.string(),
        "JSON": pa.string(),
        "VARCHAR[]": pa.list_(pa.string()),
        "INTEGER": pa.int32(),
        "SMALLINT": pa.int16(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "BOOLEAN": pa.bool_(),
        "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
        "BLOB": pa.binary(),
    }
    return pa.schema([(name, types[kind]) for name, kind in TABLES[table].items()])
