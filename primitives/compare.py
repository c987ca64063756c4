"""Two cohorts side by side, over any mix of features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from primitives.features import Features, gather
from primitives.registry import verb
from primitives.sequences import two_cohorts

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus
    from primitives.stats.design import Design

COLUMNS = (
    "feature", "kind", "value_a", "value_b", "support", "n_a", "n_b", "effect", "low", "high", "effect_unadjusted",
    "p_unadjusted", "p", "q", "test", "strata", "adjusted", "adjusted_for", "same_as",
)  # fmt: skip
SAME_SHOWN = 6  # names in `same_as`


@verb
def compare(
    corpus: Corpus,
    a: Any = "success",
    b: Any = None,
    *,
    features: Iterable[str] | Mapping[str, str] | None = None,
    strata: str | None = "auto",
    min_support: int = 5,
    limit: int = 60,
) -> pd.DataFrame:
    """What tells two cohorts apart: effect, interval, adjusted test and q for every feature, ranked by adjusted effect.

    a, b: cohorts (SELECT giving trace_id, WHERE condition over `traces`, saved cohort, trace ids). b = None: the rest,
        less the traces for which a condition is NULL. They must not overlap.
    features: families ("numbers", "categories", "slices", "tools", "tool_errors", "signals", "labels", "terms:task",
        "terms:answer"; these when None), "terms:user", "terms:assistant", "terms:results", "label:NAME", a column of
        `traces`, a slice; or a mapping of names to SQL: a SELECT giving trace_id (has it or not), or trace_id and value
        (number, boolean or text), or an expression over `traces`.
    strata: "auto" (task where tasks have traces of both cohorts, else the best grouping at hand), "task", a column, a
        slice, or None.
    min_support: traces that must have a property, and that must not; numbers need as many values in each cohort.
    limit: rows returned; attrs["tried"] counts all.

    Columns: feature, kind (number, column, slice, tool, tool_error, signal, label, term:…, own), value_a and value_b
    (share of the cohort that has it; median of a number), support (traces that have it, or have a value), n_a, n_b,
    effect in [-1, 1] (difference of shares a - b; for numbers P(larger in a) - P(smaller), which is the same for 0/1;
    Mantel-Haenszel within strata), low, high (95 %), effect_unadjusted, p_unadjusted (Fisher, Mann-Whitney), p
    (Cochran-Mantel-Haenszel, exact where strata are tiny; van Elteren, permuted where few), q (Benjamini-Hochberg over
    all that Tarone's filter leaves), test, strata (how many carry the test), adjusted, adjusted_for,
    same_as (features with the same counts everywhere, or the opposite ones marked "not": one line for all of them).
    Order: by the bound of the adjusted interval nearest to zero, then p. A difference is no cause: see adjusted_for.
    Errors: CohortNotUnderstood; FeatureUnknown; StratumUnknown; ValueError where cohorts overlap or one is empty.

    >>> compare("success", "NOT success", features=["numbers", "tools"])
    """
    import pandas as pd

    from primitives.stats.ranking import ranked

    population, outcome = two_cohorts(corpus, a, b)
    frame = measured(corpus, gather(corpus, features), population, outcome, strata, min_support)
    if not len(frame):
        return pd.DataFrame(columns=list(COLUMNS))
    tried = adjust(frame)
    result = _merged(ranked(frame)).head(limit)[list(COLUMNS)].reset_index(drop=True)
    result.attrs.update(tried=len(frame), testable=tried)
    return result


def measured(
    corpus: Corpus, asked: Features, population: str, outcome: str, strata: str | None, min_support: int
) -> pd.DataFrame:
    """Every feature of two cohorts (see `two_cohorts`) tested, with `least_p` and without q; empty where none can be."""
    import pandas as pd

    from primitives.stats.design import design

    plan = design(corpus, population, outcome, strata)
    parts = [_numbers(corpus, asked, plan, min_support)]
    if asked.present:
        parts.append(_shares(corpus, " UNION ALL ".join(asked.present), plan, min_support))
    for presence, known in asked.partial:
        own = design(corpus, f"SELECT trace_id FROM ({population}) WHERE trace_id IN ({known})", outcome, plan.by)
        if 0 < own.n_y < own.n:
            parts.append(_shares(corpus, presence, own, min_support))
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def adjust(frame: pd.DataFrame) -> int:
    """Add q: Benjamini-Hochberg over the rows that Tarone's filter leaves (their number is returned), 1 for the others."""
    import numpy as np

    from primitives.stats.multiplicity import q_values, testable

    p = frame["p"].to_numpy(float)
    tried = testable(frame["least_p"].to_numpy(float))
    q = np.where(np.isnan(p), np.nan, 1.0)
    q[tried] = q_values(p[tried])
    frame["q"] = q
    return int(tried.sum())


def _merged(frame: pd.DataFrame) -> pd.DataFrame:
    """One line for features that are the same traces, as far as counts tell: a model and the folder it was read from."""
    first: dict[tuple[Any, ...], int] = {}
    others: dict[int, list[str]] = {}
    for i, row in enumerate(frame.itertuples()):
        if row.kind == "number":
            key: tuple[Any, ...] = (i,)
        else:
            shares = (round(row.value_a, 9), round(row.value_b, 9))
            opposite = tuple(round(1 - share, 9) for share in shares)
            key = (
                *min(shares, opposite),
                row.n_a,
                row.n_b,
                round(abs(row.effect), 9),
                round(row.p_unadjusted, 12),
                row.strata,
            )
        kept = first.setdefault(key, i)
        others.setdefault(kept, [])
        if kept != i:
            same = frame["effect"].iloc[kept] * row.effect > 0
            others[kept].append(("" if same else "not ") + f"{row.kind} {row.feature}")
    result = frame.iloc[list(others)].copy()
    result["same_as"] = ["; ".join(names[:SAME_SHOWN]) for names in others.values()]
    return result


def _shares(corpus: Corpus, presence: str, plan: Design, min_support: int) -> pd.DataFrame:
    """Properties: their share in a minus their share in b."""
    import numpy as np

    from primitives.stats.contrast import cells_of, table
    from primitives.stats.intervals import newcombe
    from primitives.stats.strata import share_difference

    cells, keys = cells_of(corpus, presence, min_support=min_support, n=plan.n)
    frame = table(cells, keys, plan)
    in_a, in_b = frame["with_k"], frame["with_n"] - frame["with_k"]
    n_a, n_b = plan.n_y, plan.n - plan.n_y
    crude = newcombe(in_a, np.full(len(frame), n_a), in_b, np.full(len(frame), n_b))
    effect = crude
    if plan.by is not None:
        within = share_difference(cells, plan.strata)
        pairs = zip((within.value, within.low, within.high), crude, strict=True)
        effect = tuple(np.where(frame["adjusted"], inside, outside) for inside, outside in pairs)  # type: ignore[assignment]
    named = frame["key"].astype(str).str.split(" ", n=1)
    return frame.assign(
        feature=named.str[1], kind=named.str[0], value_a=in_a / n_a, value_b=in_b / n_b, support=frame["with_n"],
        n_a=n_a, n_b=n_b, effect=effect[0], low=effect[1], high=effect[2], effect_unadjusted=crude[0],
    )  # fmt: skip


def _numbers(corpus: Corpus, asked: Features, plan: Design, min_support: int) -> pd.DataFrame:
    import pandas as pd

    rows = [_number(corpus, name, sql, plan, min_support) for name, sql in asked.numbers.items()]
    return pd.DataFrame([row for row in rows if row is not None])


def _number(corpus: Corpus, name: str, sql: str, plan: Design, min_support: int) -> dict[str, Any] | None:
    """One number, over the design's traces that have a value; None where a cohort has too few, or all are equal."""
    import numpy as np

    from primitives.stats.design import TABLE
    from primitives.stats.ranks import compare_ranks

    got = corpus.con.execute(
        f"SELECT y, stratum, value::DOUBLE AS value FROM {TABLE} JOIN ({sql}) USING (trace_id) "
        "WHERE value IS NOT NULL AND NOT isnan(value::DOUBLE) ORDER BY trace_id"
    ).fetchnumpy()
    value, in_a = np.asarray(got["value"], float), np.asarray(got["y"], bool)
    stratum = np.asarray(got["stratum"], np.int64)
    n_a, n_b = int(in_a.sum()), int((~in_a).sum())
    if min(n_a, n_b) < min_support or np.all(value == value[0]):
        return None
    crude = compare_ranks(value, in_a, np.zeros(len(value), np.int64))
    within = compare_ranks(value, in_a, stratum) if plan.by is not None else crude
    adjusted = plan.by is not None and within.strata > 0
    shown = within if adjusted else crude
    test = "Mann-Whitney" if not adjusted else "van Elteren, permuted" if within.permuted else "van Elteren"
    return {
        "feature": name, "kind": "number", "value_a": float(np.median(value[in_a])),
        "value_b": float(np.median(value[~in_a])), "support": len(value), "n_a": n_a, "n_b": n_b,
        "effect": shown.delta, "low": shown.low, "high": shown.high, "effect_unadjusted": crude.delta,
        "p_unadjusted": crude.p, "p": within.p if plan.by == "task" else shown.p, "least_p": 0.0, "test": test,
        "strata": within.strata if adjusted else 1, "adjusted": adjusted,
        "adjusted_for": plan.adjusted_for if adjusted or plan.by is None else f"nothing: not comparable within {plan.by}",
    }  # fmt: skip
