"""Which runs of actions separate two cohorts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve
from primitives.events import predicate
from primitives.registry import verb

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

ARROW = " → "


@verb
def sequences(
    corpus: Corpus,
    a: Any = "success",
    b: Any = None,
    *,
    longest: int = 3,
    min_support: int = 10,
    strata: str | None = "auto",
    limit: int = 50,
) -> pd.DataFrame:
    """Actions in a row (n-grams of tool calls and messages) that separate two cohorts, adjusted for task difficulty.

    a, b: cohorts (SELECT giving trace_id, WHERE condition over `traces`, saved cohort, trace ids). b = None: every other
        trace with a known outcome. They must not overlap.
    longest: length of the longest n-gram, 1 to 3.
    min_support: traces that must have the n-gram, and traces that must not.
    strata: "auto" (task where tasks repeat with mixed outcome, else the best grouping at hand), "task", a column, a
        slice, or None.
    limit: rows returned. attrs: "tried", "testable" (pass Tarone's filter), and, to show what difficulty alone does,
        "significant_unadjusted" (Fisher, Benjamini-Hochberg < .05) and "significant_adjusted" (p < .05).

    Alphabet: `tool`, `tool:program` where the argument `command` names one, `tool!err`, `tool!empty`, `user:tool`,
    `USER` (a user's message), `FINAL` (the agent's last message, without a tool call).
    Columns: sequence (tokens joined by " → "), length, a_k of a_n and b_k of b_n (traces of each cohort that have it),
    effect (share of a among traces with it minus among traces without, Mantel-Haenszel over strata; positive goes
    with a), low, high (95 %), effect_unadjusted, p_unadjusted (Fisher), p (Cochran-Mantel-Haenszel, exact where
    strata are tiny), q (Benjamini-Hochberg over all tried), test, strata (how many carry the test), adjusted,
    adjusted_for, never_in_a (a transition which a never makes: an order violation candidate), predicate (SQL giving
    trace_id and seq of each occurrence).
    Order: by the bound of the adjusted interval nearest to zero, then by p. An n-gram with the same traces as a shorter
    one is left out. Errors: CohortNotUnderstood; StratumUnknown; ValueError where the cohorts overlap or one is empty.

    >>> sequences("success", "NOT success", limit=10)
    """
    from primitives.stats.contrast import cells_of, table
    from primitives.stats.design import design
    from primitives.stats.multiplicity import q_values
    from primitives.stats.ranking import ranked

    if not 1 <= longest <= 3:
        raise ValueError(f"longest is the length of the longest n-gram, 1 to 3, got {longest}")
    population, outcome = two_cohorts(corpus, a, b)
    plan = design(corpus, population, outcome, strata)
    tokens = _lay_out(corpus)
    cells, keys = cells_of(corpus, _ngrams(longest, len(tokens)), min_support=min_support, n=plan.n)
    frame = table(cells, keys, plan)
    words = [_decode(int(key), tokens) for key in frame["key"]]
    frame = frame.assign(
        sequence=[ARROW.join(w) for w in words],
        length=[len(w) for w in words],
        a_k=frame.with_k,
        a_n=plan.n_y,
        b_k=frame.with_n - frame.with_k,
        b_n=plan.n - plan.n_y,
    ).rename(columns={"risk_difference": "effect", "risk_difference_unadjusted": "effect_unadjusted"})
    frame["never_in_a"] = (frame["a_k"] == 0) & (frame["length"] == 2)
    attrs = frame.attrs
    frame = frame.sort_values("length", kind="stable").drop_duplicates(["a_k", "b_k", "effect", "p", "p_unadjusted"])
    attrs["significant_unadjusted"] = int((q_values(frame["p_unadjusted"]) < 0.05).sum())
    attrs["significant_adjusted"] = int((frame["p"] < 0.05).sum())
    frame = ranked(frame).head(limit)
    frame["predicate"] = [predicate(s.split(ARROW)) for s in frame["sequence"]]
    frame = frame[list(COLUMNS)].reset_index(drop=True)
    frame.attrs.update(attrs)
    return frame


COLUMNS = (
    "sequence", "length", "a_k", "a_n", "b_k", "b_n", "effect", "low", "high", "effect_unadjusted", "p_unadjusted", "p",
    "q", "test", "strata", "adjusted", "adjusted_for", "never_in_a", "predicate",
)  # fmt: skip


def two_cohorts(corpus: Corpus, a: Any, b: Any) -> tuple[str, str]:
    """(population, outcome) of a contrast of a against b: SQL for `design`. b = None: the traces not in a.

    With a condition over `success` for a, traces without an outcome belong to neither.
    """
    in_a = resolve(corpus, a)
    scored = resolve(corpus)
    if _is_condition(in_a):
        scored = in_a.removesuffix(")") + ") IS NOT NULL"
    rest = resolve(corpus, b) if b is not None else f"SELECT trace_id FROM ({scored}) WHERE trace_id NOT IN ({in_a})"
    row = corpus.con.execute(
        f"SELECT count(*), count_if(trace_id IN ({rest})), (SELECT count(*) FROM ({rest})) FROM ({in_a})"
    ).fetchone()
    assert row is not None
    if row[1]:
        raise ValueError(f"the cohorts share {row[1]} traces; a trace must belong to one of them")
    if not row[0] or not row[2]:
        raise ValueError(f"there is nothing to compare: a has {row[0]} traces, b has {row[2]}")
    return f"SELECT trace_id FROM ({in_a}) UNION SELECT trace_id FROM ({rest})", f"trace_id IN ({in_a})"


def _is_condition(sql: str) -> bool:
    return sql.startswith("SELECT trace_id FROM traces WHERE (\n")


def _lay_out(corpus: Corpus) -> list[str]:
    """Put the tokens of the design's traces into temporary table `contrast_events`; token n is the n-th returned."""
    from primitives.stats.design import TABLE

    con = corpus.con
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE contrast_events AS SELECT d.rowid AS row, trace_id, seq, i, token "
        f"FROM actions JOIN {TABLE} d USING (trace_id)"
    )
    names = [r[0] for r in con.execute("SELECT DISTINCT token FROM contrast_events ORDER BY 1").fetchall()]
    con.execute(
        "CREATE OR REPLACE TEMP TABLE contrast_events AS "
        "SELECT trace_id, seq, i, dense_rank() OVER (ORDER BY token) AS token FROM contrast_events"
    )
    return names


def _ngrams(longest: int, n_tokens: int) -> str:
    """SELECT key, trace_id: the tokens' numbers as the digits of one integer, base n_tokens + 1."""
    base = n_tokens + 1
    nexts = ", ".join(f"lead(token, {i}) OVER line AS next{i}" for i in range(1, 3))
    digits = ("token", f"token * {base} + next1", f"(token * {base} + next1) * {base} + next2")
    return (
        f"WITH line AS (SELECT trace_id, token::BIGINT AS token, {nexts} FROM contrast_events "
        "WINDOW line AS (PARTITION BY trace_id ORDER BY seq, i)) "
        f"SELECT unnest([{', '.join(digits[:longest])}]) AS key, trace_id FROM line"
    )


def _decode(key: int, tokens: list[str]) -> list[str]:
    base, words = len(tokens) + 1, []
    while key:
        key, digit = divmod(key, base)
        words.append(tokens[digit - 1])
    return words[::-1]
