"""How many traces have a property, of how many that could, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.cohort import CohortNotUnderstood, resolve
from primitives.registry import verb

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

YES = ("yes", "true", "1")


@verb
def prevalence(
    corpus: Corpus,
    predicate: Any = None,
    population: Any = None,
    *,
    label: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """How many traces of a population have a property: k, n, unscored and a 95 % interval by the right method.

    predicate: what to count: a SELECT giving trace_id, a WHERE condition over `traces`, a saved cohort or trace ids.
        A trace for which a WHERE condition is NULL is unscored and not part of n.
    population: the eligible traces, in the same forms; all traces when None.
    label: instead of a predicate, the name of a label which a model judged ('yes'/'no'). Gold labels of that name (kind
        'gold' or 'human'), half of them read from its yes and half from its no, correct the judge's count: k is then
        round(estimate * n), never the judge's own count. Traces without the label are unscored.
    seed: of the Monte Carlo interval of judged labels.

    Columns, one row: k, n, unscored, share, low, high (shares 0 to 1), method ('Wilson' from 40 traces,
    'Clopper-Pearson' below, 'rule of three' at zero, 'stratified gold (a + b)' for labels).
    Raises CohortNotUnderstood for a predicate that does not run or when not exactly one of predicate and label is
    given, ValueError when a judged label has no gold in one of its strata, or so little that the interval would span more than
    half of all shares: a bare judge's count is not a prevalence.
    Methods: Wilson 1927; Clopper and Pearson 1934; stratified gold: Beta(k + 1/2, n - k + 1/2) in each stratum.

    >>> prevalence("n_tool_errors > 0", population="NOT success")
    """
    import pandas as pd

    if (predicate is None) == (label is None):
        raise CohortNotUnderstood("give either a predicate to count or the name of a judged label")
    row = _judged(corpus, label, population, seed) if label is not None else _counted(corpus, predicate, population)
    return pd.DataFrame([row])


def _counted(corpus: Corpus, predicate: Any, population: Any) -> dict[str, Any]:
    from primitives.stats.intervals import share

    eligible = resolve(corpus, population)
    holds = resolve(corpus, predicate)
    unscored = 0
    if isinstance(predicate, str) and holds.startswith("SELECT trace_id FROM traces WHERE"):
        condition = predicate.strip().rstrip(";")
        unscored = _one(
            corpus, f"SELECT count(*) FROM traces WHERE trace_id IN ({eligible}) AND (\n{condition}\n) IS NULL"
        )
    n = _one(corpus, f"SELECT count(*) FROM ({eligible})") - unscored
    k = _one(corpus, f"SELECT count(*) FROM ({eligible}) WHERE trace_id IN ({holds})")
    low, high, method = share(k, n)
    return {"k": k, "n": n, "unscored": unscored, "share": k / n if n else None, "low": low, "high": high,
            "method": method}  # fmt: skip


def _judged(corpus: Corpus, label: str, population: Any, seed: int) -> dict[str, Any]:
    from primitives.stats.judged import stratified_gold

    eligible = resolve(corpus, population)
    rows = corpus.con.execute(
        f"""
        WITH said AS (
          SELECT trace_id, arg_max(lower(value) IN {YES}, coalesce(created_at, TIMESTAMPTZ 'epoch')) AS judged
          FROM labels WHERE name = ? AND kind = 'judged' AND value IS NOT NULL GROUP BY 1),
        truth AS (
          SELECT trace_id, arg_max(lower(value) IN {YES}, coalesce(created_at, TIMESTAMPTZ 'epoch')) AS gold
          FROM labels WHERE name = ? AND kind IN ('gold', 'human') AND value IS NOT NULL GROUP BY 1)
        SELECT judged, count(*), count(gold), count(*) FILTER (gold) FROM ({eligible}) LEFT JOIN said USING (trace_id)
        LEFT JOIN truth USING (trace_id) GROUP BY 1""",
        [label, label],
    ).fetchall()
    counts = {judged: (total, read, positive) for judged, total, read, positive in rows}
    (yes, yes_read, yes_true), (no, no_read, no_true) = (counts.get(side, (0, 0, 0)) for side in (True, False))
    if yes + no == 0:
        raise ValueError(f"no trace of the population has a judged label {label!r}: run classify first")
    found = stratified_gold(yes, no, (yes_true, yes_read), (no_true, no_read), seed=seed)
    n = yes + no
    return {"k": round(found.estimate * n), "n": n, "unscored": counts.get(None, (0, 0, 0))[0],
            "share": found.estimate, "low": found.low, "high": found.high, "method": found.method}  # fmt: skip


def _one(corpus: Corpus, sql: str) -> int:
    row = corpus.con.execute(sql).fetchone()
    return int(row[0]) if row else 0
