"""Who is compared with whom: traces with a known outcome, each in a stratum of traces as hard as each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve

if TYPE_CHECKING:
    from primitives.corpus import Corpus
    from primitives.stats.strata import Strata

TASK = "coalesce(dataset, '') || chr(31) || task_id"
COLUMNS = ("dataset", "split", "agent", "agent_version", "framework", "model")
MIXED_TRACES, MIXED_SHARE = 10, 0.1  # fewer traces than this in tasks of mixed outcome cannot carry a test
TABLE = "contrast_design"
UNADJUSTED = "nothing: not adjusted for task difficulty"


class StratumUnknown(ValueError):
    """The grouping asked for is not in the corpus. The message lists those that are."""


@dataclass(frozen=True, slots=True)
class Design:
    """Its rows are in the temporary table `contrast_design` (trace_id, y BOOLEAN, stratum INTEGER from 0).

    `by` is 'task', a slice or column name, or None (one stratum).
    """

    n: int
    n_y: int
    strata: Strata
    by: str | None
    adjusted_for: str


def design(corpus: Corpus, population: Any = None, outcome: str = "success", strata: str | None = "auto") -> Design:
    """Lay out the contrast. `outcome`: boolean SQL over `traces`; NULL leaves the trace out.

    `strata`: "auto" (task where tasks repeat with mixed outcome, else the grouping by id, path, agent or model that goes most
    with the outcome, else none), "task", a column of `traces`, a slice name, or None.
    Raises StratumUnknown, and duckdb.Error for an outcome that does not run.
    """
    import numpy as np

    from primitives.stats.strata import Strata

    con = corpus.con
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE contrast_scored AS SELECT * FROM (SELECT trace_id, CAST(({outcome}) AS BOOLEAN)"
        f" AS y FROM traces WHERE trace_id IN ({resolve(corpus, population)})) WHERE y IS NOT NULL"
    )
    by, label = _choose(corpus, strata)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {TABLE} AS SELECT trace_id, y, dense_rank() OVER (ORDER BY g) - 1 AS stratum "
        f"FROM ({_grouped(by)}) ORDER BY trace_id"
    )
    sizes = con.execute(
        f"SELECT stratum, count(*) AS n, count_if(y) AS y FROM {TABLE} GROUP BY 1 ORDER BY 1"
    ).fetchnumpy()
    n, y = np.asarray(sizes["n"], float), np.asarray(sizes["y"], float)
    return Design(int(n.sum()), int(y.sum()), Strata(n, y), by, label)


def _grouped(by: str | None) -> str:
    """SELECT trace_id, y, g: a trace without a task is a stratum of its own, one without a slice is in '(none)'."""
    if by is None:
        return "SELECT trace_id, y, '' AS g FROM contrast_scored"
    if by == "task":
        g = f"coalesce({TASK}, chr(30) || trace_id)"
        return f"SELECT trace_id, y, {g} AS g FROM contrast_scored JOIN traces USING (trace_id)"
    if by in COLUMNS:
        g = f"coalesce({by}, '(none)')"
        return f"SELECT trace_id, y, {g} AS g FROM contrast_scored JOIN traces USING (trace_id)"
    name = by.replace("'", "''")
    return (
        "SELECT s.trace_id, s.y, coalesce(v.value, '(none)') AS g FROM contrast_scored s "
        f"LEFT JOIN slices v ON v.trace_id = s.trace_id AND v.name = '{name}'"
    )


def _choose(corpus: Corpus, strata: str | None) -> tuple[str | None, str]:
    """(by, what a reader is told)."""
    if strata is None or strata == "none":
        return None, UNADJUSTED
    if strata != "auto":
        _check(corpus, strata)
        return strata, _told(corpus, strata)
    traces, total = _mixed(corpus, "task")[:2]
    if traces >= max(MIXED_TRACES, MIXED_SHARE * total):
        return "task", _told(corpus, "task")
    best = _best_grouping(corpus)
    return (best, _told(corpus, best)) if best else (None, UNADJUSTED)


def _check(corpus: Corpus, by: str) -> None:
    if by == "task" or by in COLUMNS:
        return
    names = [r[0] for r in corpus.con.execute("SELECT DISTINCT name FROM slices ORDER BY 1").fetchall()]
    if by not in names:
        known = ", ".join(["auto", "task", *COLUMNS, *names])
        raise StratumUnknown(f"there is no grouping {by!r} to stratify by; there are {known}")


def _told(corpus: Corpus, by: str) -> str:
    _, _, mixed, groups = _mixed(corpus, by)
    if by == "task":
        return f"task ({groups} tasks, {mixed} with mixed outcome)"
    return f"{by} ({groups} groups), not for task difficulty"


def _mixed(corpus: Corpus, by: str) -> tuple[int, int, int, int]:
    """Traces in groups of mixed outcome, all traces, groups of mixed outcome, all groups."""
    row = corpus.con.execute(
        "SELECT coalesce(sum(n) FILTER (y BETWEEN 1 AND n - 1), 0), coalesce(sum(n), 0), "
        "count(*) FILTER (y BETWEEN 1 AND n - 1), count(*) "
        f"FROM (SELECT count(*) AS n, count_if(y) AS y FROM ({_grouped(by)}) GROUP BY g)"
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), int(row[2]), int(row[3])


def _best_grouping(corpus: Corpus) -> str | None:
    """The grouping with the largest bias-corrected Cramer's V against the outcome; None when none is above chance.

    Slices read off metadata or other columns are left out: they also record how the run went (how it ended, whether
    an attack succeeded), and adjusting for that would remove the effect itself. Groupings must leave half of the traces in groups of mixed outcome.
    """
    con = corpus.con
    sql = "SELECT DISTINCT name FROM slices WHERE basis IN ('id', 'path') ORDER BY 1"
    names = [str(r[0]) for r in con.execute(sql).fetchall() if r[0] not in (*COLUMNS, "task")]
    best: str | None = None
    strength = 0.0
    groupings: list[str] = [*COLUMNS, *names]
    for by in groupings:
        row = con.execute(
            "WITH g AS (SELECT count(*) AS n, count_if(y) AS y FROM (" + _grouped(by) + ") GROUP BY g), "
            "t AS (SELECT sum(n) AS n, sum(y) / sum(n) AS p FROM g) "
            "SELECT sum((g.y - g.n * p) ** 2 / (g.n * p * (1 - p))) / any_value(t.n), count(*), any_value(t.n), "
            "coalesce(sum(g.n) FILTER (g.y BETWEEN 1 AND g.n - 1), 0) FROM g, t WHERE p > 0 AND p < 1"
        ).fetchone()
        if row is None or row[0] is None:
            continue
        phi2, groups, n, mixed = float(row[0]), int(row[1]), int(row[2]), int(row[3])
        corrected = phi2 - (groups - 1) / max(n - 1, 1)
        if groups >= 2 and groups <= n / 4 and mixed >= n / 2 and corrected > strength:
            best, strength = by, corrected
    return best
