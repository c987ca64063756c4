"""Where a cohort lives: the conditions that single its traces out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve
from primitives.registry import verb
from primitives.rule_parts import action_sql, action_text, actions, condition_sql, condition_text, conditions

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

COLUMNS = ("condition", "k_in", "n_in", "k_out", "n_out", "share_in", "share_out", "f1", "predicate")
MOST_TRACES = 10_000  # looked at; beyond it a fixed pseudo-random choice


@verb
def where(
    corpus: Corpus, cohort: Any, *, population: Any = None, min_support: int = 3, limit: int = 12
) -> pd.DataFrame:
    """Where a cohort lives: what its task says, what tools returned, which slice and which calls single its traces out.

    cohort: the traces in question (SELECT giving trace_id, WHERE over `traces`, saved cohort, ids).
    population: whom to tell them from (the cohort's own traces may be in it); all traces when None.
    min_support: traces of the cohort that must meet a condition.
    limit: rows returned.

    Columns: condition (in words), k_in of n_in (traces of the cohort that meet it, of all in it), k_out of n_out (of the
        others), share_in, share_out, f1 (of "meets the condition" as a guess of "is in the cohort"), predicate (SQL giving trace_id).
    Rows: conditions commoner in the cohort than outside, best f1 first; of those with equal counts the shortest. Descriptive:
    nothing is tested or adjusted. Errors: CohortNotUnderstood.

    >>> where("NOT success", limit=5)
    """
    import pandas as pd

    con = corpus.con
    inside = resolve(corpus, cohort)
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE where_traces AS SELECT trace_id, trace_id IN ({inside}) AS inside FROM traces
        WHERE trace_id IN ({resolve(corpus, population)}) OR trace_id IN ({inside}) ORDER BY md5(trace_id) LIMIT {MOST_TRACES}"""
    )
    n_in, n_out = con.execute(
        "SELECT count(*) FILTER (inside), count(*) FILTER (NOT inside) FROM where_traces"
    ).fetchall()[0]
    within = "SELECT trace_id FROM where_traces"
    rows = con.execute(
        f"""SELECT part, key, count_if(inside) AS k_in, count_if(NOT inside) AS k_out FROM (
          SELECT DISTINCT 'condition' AS part, key, trace_id FROM ({conditions(within)})
          UNION ALL SELECT DISTINCT 'action', key, trace_id FROM ({actions(within)})) JOIN where_traces USING (trace_id)
        GROUP BY 1, 2 HAVING k_in >= $support AND k_in * $n_out > k_out * $n_in
        QUALIFY row_number() OVER (PARTITION BY k_in, k_out ORDER BY part DESC, length(key), key) = 1
        ORDER BY 2.0 * k_in / ($n_in + k_in + k_out) DESC, length(key), key LIMIT $limit""",
        {"support": min_support, "n_in": n_in, "n_out": n_out, "limit": limit},
    ).fetchall()
    found = [
        (
            condition_text(key) if part == "condition" else f"where {action_text(key, done=True)}",
            k_in, n_in, k_out, n_out, round(k_in / n_in, 4), round(k_out / n_out, 4) if n_out else None,
            round(2 * k_in / (n_in + k_in + k_out), 4), condition_sql(key) if part == "condition" else action_sql(key),
        )
        for part, key, k_in, k_out in rows
    ]  # fmt: skip
    return pd.DataFrame(found, columns=list(COLUMNS))
