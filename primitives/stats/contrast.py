"""Does the outcome go with a property, among traces as hard as each other? One property, or thousands at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve
from primitives.stats.design import TABLE, UNADJUSTED, Design, design
from primitives.stats.intervals import newcombe
from primitives.stats.multiplicity import q_values, testable

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus
    from primitives.stats.strata import Cells, Floats, Strata

COLUMNS = (
    "key", "with_k", "with_n", "without_k", "without_n", "risk_difference", "low", "high", "risk_difference_unadjusted",
    "odds_ratio", "p_unadjusted", "p", "q", "test", "strata", "adjusted", "adjusted_for",
)  # fmt: skip


def contrast(
    corpus: Corpus,
    holds_sql: Any,
    *,
    population: Any = None,
    outcome: str = "success",
    strata: str | None = "auto",
) -> dict[str, Any]:
    """Traces where `holds_sql` (any cohort) holds against the rest of `population`, on `outcome`, adjusted.

    Only traces with a known outcome count. Keys: with_k of with_n traces have the outcome where it holds, without_k
    of without_n where not; risk_difference (positive: it goes with the outcome) with its 95 % interval low, high;
    odds_ratio; p_unadjusted (Fisher); p, test and strata (how many carry the test); p_heterogeneity (Breslow-Day);
    adjusted, adjusted_for. None stands for what cannot be computed. `population`, `outcome`, `strata`: see `design`.
    """
    from primitives.stats.strata import heterogeneity

    plan = design(corpus, population, outcome, strata)
    cells, keys = cells_of(corpus, f"SELECT 0 AS key, trace_id FROM ({resolve(corpus, holds_sql)})")
    if not keys:
        return _nothing_holds(plan)
    row = table(cells, keys, plan).iloc[0].to_dict()
    row["p_heterogeneity"] = float(heterogeneity(cells, plan.strata)[0])
    for unwanted in ("key", "q", "least_p"):
        row.pop(unwanted)
    return {name: _plain(value) for name, value in row.items()}


def contrasts(
    corpus: Corpus,
    presence: str,
    *,
    population: Any = None,
    outcome: str = "success",
    strata: str | None = "auto",
    min_support: int = 1,
) -> pd.DataFrame:
    """Every key of `presence`, a SELECT giving key and trace_id, contrasted as `contrast` does, in one pass.

    Rows: keys present in at least `min_support` scored traces and absent from as many; sorted by key; columns
    COLUMNS. `q` is Benjamini-Hochberg over the keys that Tarone's filter leaves (1 for the others);
    attrs["tried"] and attrs["testable"] say how many. `least_p` is the p the margins allow at best.
    """
    plan = design(corpus, population, outcome, strata)
    cells, keys = cells_of(corpus, presence, min_support=min_support, n=plan.n)
    return table(cells, keys, plan)


def cells_of(corpus: Corpus, presence: str, *, min_support: int = 1, n: int | None = None) -> tuple[Cells, list[Any]]:
    """(cells, keys) of the current design: counted in SQL, so that no row per trace leaves DuckDB."""
    import numpy as np

    from primitives.stats.strata import Cells

    most = "NULL" if n is None else str(n - min_support)
    counted = corpus.con.execute(
        "WITH cells AS (SELECT key, stratum, count(*) AS m, count_if(y) AS a "
        f"FROM (SELECT DISTINCT key, trace_id FROM ({presence}) WHERE key IS NOT NULL) JOIN {TABLE} USING (trace_id) GROUP BY ALL) "
        "SELECT dense_rank() OVER (ORDER BY key) - 1 AS i, key, stratum, m, a FROM cells "
        f"QUALIFY sum(m) OVER (PARTITION BY key) BETWEEN {min_support} AND coalesce({most}, 9e15) "
        "ORDER BY key, stratum"
    ).fetchnumpy()
    _, first, index = np.unique(counted["i"], return_index=True, return_inverse=True)
    cells = Cells(
        len(first),
        index.astype(np.int64),
        np.asarray(counted["stratum"], np.int64),
        np.asarray(counted["m"], float),
        np.asarray(counted["a"], float),
    )
    return cells, [counted["key"][f] for f in first]


def table(cells: Cells, keys: list[Any], plan: Design) -> pd.DataFrame:
    """The columns of `contrasts` from counted cells of the design."""
    import numpy as np

    everywhere = np.ones(cells.n_keys)
    return tested(cells, keys, plan.strata, everywhere * plan.n, everywhere * plan.n_y, plan.by, plan.adjusted_for)


def tested(
    cells: Cells, keys: list[Any], strata: Strata, n: Floats, n_y: Floats, by: str | None, adjusted_for: str
) -> pd.DataFrame:
    """The columns of `contrasts`, where each key may have a population of its own: n traces, n_y with the outcome."""
    import numpy as np
    import pandas as pd

    from primitives.stats.strata import association, fisher, haldane, odds_ratio, risk_difference

    with_n, with_k = cells.sum(cells.m), cells.sum(cells.a)
    without_n, without_k = n - with_n, n_y - with_k
    crude = newcombe(with_k, with_n, without_k, without_n)
    p_crude, least_p = fisher(with_k, with_n, n_y, n)
    ratio = haldane(with_k, with_n, n_y, n)
    shown, p = crude, p_crude
    adjusted = np.zeros(len(keys), dtype=bool)
    test = np.full(len(keys), "Fisher", dtype=object)
    informative = np.ones(len(keys), dtype=int)
    told = np.full(len(keys), adjusted_for, dtype=object)
    if by is not None:
        found, effect = association(cells, strata), risk_difference(cells, strata)
        adjusted = ~np.isnan(effect.value)
        pairs = zip((effect.value, effect.low, effect.high), crude, strict=True)
        shown = tuple(np.where(adjusted, within, over) for within, over in pairs)  # type: ignore[assignment]
        # A property that is fixed per task cannot be told from the task: no test. One that is fixed per other group can
        # still be tested, unadjusted.
        fall_back = ~adjusted & (by != "task")
        p, least_p = np.where(fall_back, p_crude, found.p), np.where(fall_back, least_p, found.least_p)
        test = np.where(found.exact, "CMH, exact within strata", "CMH").astype(object)
        test[np.isnan(p)] = "none: nowhere do both vary"
        test[fall_back] = "Fisher"
        informative, told[~adjusted] = found.strata, f"nothing: it does not vary within {by}; {UNADJUSTED[9:]}"
        ratio = np.where(adjusted, odds_ratio(cells, strata), ratio)
    tried = testable(least_p)
    q = np.where(np.isnan(p), np.nan, 1.0)
    q[tried] = q_values(p[tried])
    counts = (x.astype(int) for x in (with_k, with_n, without_k, without_n))
    columns = (keys, *counts, *shown, crude[0], ratio, p_crude, p, q, test, informative, adjusted, told, least_p)
    frame = pd.DataFrame(dict(zip((*COLUMNS, "least_p"), columns, strict=True)))
    frame.attrs.update(tried=len(keys), testable=int(tried.sum()), adjusted_for=adjusted_for)
    return frame


def _nothing_holds(plan: Design) -> dict[str, Any]:
    return {
        "with_k": 0, "with_n": 0, "without_k": plan.n_y, "without_n": plan.n, "risk_difference": None, "low": None,
        "high": None, "risk_difference_unadjusted": None, "odds_ratio": None, "p_unadjusted": None, "p": None,
        "test": "none: it holds in no trace with a known outcome", "strata": 0, "adjusted": False,
        "adjusted_for": UNADJUSTED, "p_heterogeneity": None,
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """numpy scalars as Python's, NaN as None: what goes to JSON."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value
