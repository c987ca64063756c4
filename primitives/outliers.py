"""Traces far out in length, cost, time or repetition, among comparable ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve
from primitives.registry import verb

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

MEASURES = {
    "steps": "n_steps",
    "tool calls": "n_tool_calls",
    "tool errors": "n_tool_errors",
    "tokens": "coalesce(input_tokens, 0) + coalesce(output_tokens, 0)",
    "output tokens": "output_tokens",
    "cost usd": "cost_usd",
    "seconds": "duration_s",
    "repetition": "repetition",
}
COUNTS = ("steps", "tool calls", "tool errors", "repetition")
SMALLEST_STEP = 3  # by which a count must differ from the median: one error where the others have none is no outlier
NARROWEST = 0.15  # spread of the logarithms below which groups are taken to vary by 15 % all the same
SMALLEST_GROUP = 8  # traces; a task with fewer is judged by its dataset and model, and that, if small, by everything


@verb
def outliers(
    corpus: Corpus,
    population: Any = None,
    *,
    threshold: float = 3.5,
    limit: int = 100,
) -> pd.DataFrame:
    """Traces far out in steps, tool calls, errors, tokens, cost, seconds or repetition, among comparable traces.

    population: a cohort (SELECT giving trace_id, WHERE condition over `traces`, saved cohort, trace ids); None: all.
    threshold: robust z from which a trace is far out; 3.5 by Iglewicz and Hoaglin (1993).
    limit: rows at most.

    Comparable: traces of the same task where there are 8 or more of them, else of the same dataset and model where there
    are 8 or more, else all. z is (log(1 + value) - median) / (1.4826 MAD) on the logarithms, for sizes are skewed; where
    more than half of a group is equal, 1.2533 times the mean absolute deviation takes the place of 1.4826 MAD. The spread
    counts as 0.15 at least, and a count must differ from the median by 3 or more.
    Columns: trace_id, measure (repetition: how often the most repeated call, same tool and arguments, was made), value,
    median (of the group), times (value / median), z (above: positive), comparable_to, group_n, success. One row per trace
    and measure, largest |z| first. attrs["traces"]: how many traces are far out in some measure.
    Errors: CohortNotUnderstood.

    >>> outliers("success", limit=10)
    """
    sql = _SQL.format(population=resolve(corpus, population), threshold=float(threshold))
    corpus.con.execute(f"CREATE OR REPLACE TEMP TABLE outlier_rows AS {sql}")
    frame = corpus.con.execute(
        f"SELECT * FROM outlier_rows ORDER BY abs(z) DESC, trace_id, measure LIMIT {int(limit)}"
    ).df()
    row = corpus.con.execute("SELECT count(DISTINCT trace_id) FROM outlier_rows").fetchone()
    frame.attrs["traces"] = int(row[0]) if row else 0
    return frame


_UNPIVOTED = " UNION ALL ".join(
    f"SELECT trace_id, '{name}' AS measure, ({sql})::DOUBLE AS value FROM sized" for name, sql in MEASURES.items()
)
_SQL = f"""
WITH chosen AS ({{population}}),
repeated AS (
  SELECT trace_id, max(times) AS repetition FROM (
    SELECT trace_id, count(*) AS times FROM tool_calls WHERE trace_id IN (FROM chosen)
    GROUP BY trace_id, name, hash(coalesce(args::VARCHAR, args_text))) GROUP BY trace_id),
sized AS (
  SELECT t.*, repetition, coalesce(dataset, '') || chr(31) || task_id AS task,
    concat_ws(', ', dataset, coalesce(model, agent)) AS kin
  FROM traces t LEFT JOIN repeated USING (trace_id) WHERE trace_id IN (FROM chosen)),
groups AS (
  SELECT trace_id, CASE
    WHEN task IS NOT NULL AND count(*) OVER (PARTITION BY task) >= {SMALLEST_GROUP} THEN 'task ' || task_id
    WHEN count(*) OVER (PARTITION BY kin) >= {SMALLEST_GROUP} AND kin <> '' THEN kin ELSE 'all' END AS comparable_to,
    success FROM sized),
measured AS (SELECT * FROM ({_UNPIVOTED}) JOIN groups USING (trace_id) WHERE value > 0 OR measure IN ('tool errors')),
logged AS (SELECT *, ln(1 + value) AS l, median(ln(1 + value)) OVER g AS centre, median(value) OVER g AS middle,
    count(*) OVER g AS group_n FROM measured WINDOW g AS (PARTITION BY comparable_to, measure)),
spread AS (SELECT *, 1.4826 * median(abs(l - centre)) OVER g AS mad, 1.2533 * avg(abs(l - centre)) OVER g AS mean_ad
  FROM logged WINDOW g AS (PARTITION BY comparable_to, measure)),
scored AS (SELECT *, (l - centre) / greatest(CASE WHEN mad > 0 THEN mad ELSE mean_ad END, {NARROWEST}) AS z FROM spread)
SELECT trace_id, measure, value, middle AS median, value / nullif(middle, 0) AS times, z, comparable_to, group_n, success
FROM scored WHERE abs(z) >= {{threshold}} AND group_n >= {SMALLEST_GROUP}
AND (abs(value - middle) >= {SMALLEST_STEP} OR measure NOT IN {COUNTS})"""
