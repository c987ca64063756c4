"""Whose doing the failures are in each part of a corpus: a cohort, an agent, a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from insights.records import Cause

if TYPE_CHECKING:
    import duckdb

COLUMNS = ("agent", "agent_version", "model", "dataset", "split")
MOST_PARTS = 10  # rows that a reader compares
# Which repetition it is and how it ended say nothing of where a run comes from.
PARTS = f"""
WITH named AS (
  UNPIVOT (SELECT trace_id, {", ".join(f"CAST({c} AS VARCHAR) AS {c}" for c in COLUMNS)} FROM traces)
    ON {", ".join(COLUMNS)} INTO NAME name VALUE value
  UNION ALL SELECT trace_id, name, value FROM slices WHERE name NOT IN ('trial', 'end_reason', 'native_end_reason'))
SELECT name FROM named GROUP BY name
HAVING count(*) = (SELECT count(*) FROM traces) AND count(DISTINCT trace_id) = count(*)
  AND count(DISTINCT value) BETWEEN 2 AND {MOST_PARTS}
ORDER BY count(DISTINCT value) DESC, bool_or(name = 'model') DESC, name LIMIT 1"""


def by_part(con: duckdb.DuckDBPyConnection, causes: Sequence[Cause]) -> dict[str, Any]:
    """{"by": the finest attribute that every trace has and a table can show, "rows": one dict for each value of it}; or {}.

    A row has part, runs, passed, failed, and the failures by whose doing they are (`causes`, actor -> n).
    """
    named = con.execute(PARTS).fetchone()
    if named is None or not causes:
        return {}
    (by,) = named
    value = f'CAST(t."{by}" AS VARCHAR)' if by in COLUMNS else "s.value"
    joined = "" if by in COLUMNS else "JOIN slices s ON s.trace_id = t.trace_id AND s.name = $by"
    rows = con.execute(
        f"SELECT {value}, t.trace_id, t.success FROM traces t {joined}", {} if by in COLUMNS else {"by": by}
    ).fetchall()
    doing = {trace_id: c.actor for c in causes for trace_id in c.trace_ids}
    parts: dict[str, dict[str, Any]] = {}
    for part, trace_id, success in sorted(rows, key=lambda row: row[0]):
        row = parts.setdefault(part, {"part": part, "runs": 0, "passed": 0, "failed": 0, "causes": Counter()})
        row["runs"] += 1
        row["passed"] += success is True
        row["failed"] += success is False
        row["causes"].update([doing[trace_id]] if trace_id in doing else [])
    return {"by": by, "rows": [{**row, "causes": dict(row["causes"])} for row in parts.values()]}
