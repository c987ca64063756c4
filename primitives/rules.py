"""Two-part rules: where a condition holds, an action is taken or left out. They find omissions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from primitives.registry import verb
from primitives.rule_parts import (
    action_sql,
    action_text,
    actions,
    condition_sql,
    condition_text,
    conditions,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from primitives.corpus import Corpus
    from primitives.stats.design import Design

MAX_TRACES = 10_000  # mined; beyond it a fixed pseudo-random choice of traces is
MAX_CONDITIONS, MAX_ACTIONS, MAX_PAIRS = 600, 200, 20_000  # kept by how evenly they split the traces, outcome unseen
SAME_TRACES = 0.6  # overlap (Jaccard) of two rules' bad sides from which on only the better is shown
PER_ACTION = 3  # rules shown about one action
MARGIN = 0.05  # by which the effect must exceed that of the action in any run
CHANCE = 0.05  # rules with a larger adjusted p are not shown
ALWAYS = "always"

COLUMNS = (
    "rule", "condition", "action", "bad_side", "bad_k", "bad_n", "else_k", "else_n", "effect", "low", "high",
    "effect_unadjusted", "p_unadjusted", "p", "q", "test", "strata", "adjusted", "adjusted_for", "similar", "predicate",
)  # fmt: skip


@verb
def rules(
    corpus: Corpus,
    population: Any = None,
    *,
    outcome: str = "success",
    strata: str | None = "auto",
    min_support: int = 8,
    limit: int = 20,
) -> pd.DataFrame:
    """Where a condition holds, an action taken or left out goes with failing: finds omissions as well as faults.

    Conditions: a word of the task, a word of the user (all but the last message), a slice value, what a tool returned
    (a "key": value pair of JSON, or a word), a tool that several runs of the task call (two, and a third of them); or none ("in any run"). Actions: a
    tool called or not, failing, called with an argument, or with an argument of a value.

    population: a cohort (SELECT giving trace_id, WHERE condition over `traces`, saved cohort, trace ids); None: all.
    outcome: what is good: boolean SQL over `traces`; traces where it is NULL do not count.
    strata: "auto" (task where tasks repeat with mixed outcome, else the best grouping at hand), "task", a column, a
        slice, or None.
    min_support: traces, of those where the condition holds, with the action, and as many without.
    limit: rows returned, best first. attrs["tried"] and attrs["testable"] (after Tarone's filter) count the rest.

    Columns: rule (readable: condition, action, "k of n pass, else k of n"), condition, action, bad_side ('absent': leaving
    the action out goes with failing; 'present'), bad_k of bad_n and else_k of else_n (traces with the outcome, of those
    on either side where the condition holds), effect (their difference, Mantel-Haenszel within strata, at most 0), low,
    high (95 %), effect_unadjusted, p_unadjusted (Fisher), p (Cochran-Mantel-Haenszel, exact where strata are tiny), q
    (Benjamini-Hochberg over all rules tried), test, strata, adjusted, adjusted_for, similar (rules left out because they
    name much the same traces), predicate (SQL giving trace_id of the bad side, with seq where it is a call).
    Shown: rules with p <= 0.05 whose effect is larger than that of the action in any run; first those that pass Tarone's
    filter (the others have q = 1), each by the interval's bound nearest to zero times the traces that carry it; at most
    three per action. Beyond 10,000 traces a fixed sample is mined.
    Errors: CohortNotUnderstood; StratumUnknown; ValueError where no trace has a known outcome.

    >>> rules(limit=5)
    """
    import pandas as pd

    from primitives.stats.design import design

    plan = design(corpus, population, outcome, strata)
    if not 0 < plan.n_y < plan.n:
        raise ValueError(
            f"{plan.n} traces have a known outcome and {plan.n_y} the good one: there is nothing to contrast"
        )
    _limit_traces(corpus, plan)
    mined = _mine(corpus, plan, min_support)
    if mined is None:
        return pd.DataFrame(columns=list(COLUMNS))
    frame, matrices = mined
    attrs = dict(frame.attrs)
    chosen = _choose(frame, matrices, limit)
    result = _readable(chosen, outcome)[list(COLUMNS)].reset_index(drop=True)
    result.attrs.update(attrs)
    return result


@dataclass(frozen=True, slots=True)
class Matrices:
    """Boolean, sparse: rows are the mined traces, columns conditions and actions; y and stratum are per row."""

    conditions: Any
    condition_keys: list[str]
    actions: Any
    action_keys: list[str]
    y: NDArray[np.bool_]
    stratum: NDArray[np.int64]


def _limit_traces(corpus: Corpus, plan: Design) -> None:
    """Temporary table rule_traces (row, trace_id, y, stratum): the design's, or MAX_TRACES of them by hash."""
    from primitives.stats.design import TABLE

    keep = "" if plan.n <= MAX_TRACES else f"ORDER BY hash(trace_id) LIMIT {MAX_TRACES}"
    corpus.con.execute(
        "CREATE OR REPLACE TEMP TABLE rule_traces AS SELECT row_number() OVER (ORDER BY trace_id) - 1 AS row, * "
        f"FROM (SELECT trace_id, y, stratum FROM {TABLE} {keep})"
    )


def _mine(corpus: Corpus, plan: Design, min_support: int) -> tuple[pd.DataFrame, Matrices] | None:
    """Every pair of condition and action with enough support, tested; None where there is no pair."""
    import numpy as np

    from primitives.stats.contrast import tested

    matrices = _matrices(corpus, min_support)
    if matrices is None:
        return None
    pairs = _pairs(matrices, min_support)
    if not len(pairs):
        return None
    cells, strata, n, n_y = _cells(matrices, pairs)
    frame = tested(cells, list(range(len(pairs))), strata, n, n_y, plan.by, plan.adjusted_for)
    sizes = strata.n[cells.stratum]
    frame["weight"] = cells.sum(cells.m * (sizes - cells.m) / sizes)
    frame["c"], frame["a"] = pairs[:, 0], pairs[:, 1]
    frame["condition_key"] = np.array(matrices.condition_keys, dtype=object)[pairs[:, 0]]
    frame["action_key"] = np.array(matrices.action_keys, dtype=object)[pairs[:, 1]]
    return frame, matrices


def _matrices(corpus: Corpus, min_support: int) -> Matrices | None:
    import numpy as np

    within = "SELECT trace_id FROM rule_traces"
    base = corpus.con.execute("SELECT y, stratum FROM rule_traces ORDER BY row").fetchnumpy()
    y, stratum = np.asarray(base["y"], bool), np.asarray(base["stratum"], np.int64)
    always = f"SELECT '{ALWAYS}' AS key, trace_id FROM rule_traces"
    held = _matrix(corpus, conditions(within), 2 * min_support, 0, MAX_CONDITIONS, len(y), always)
    done = _matrix(corpus, actions(within), min_support, min_support, MAX_ACTIONS, len(y))
    if not done[1]:
        return None
    return Matrices(*held, *done, y, stratum)


def _matrix(
    corpus: Corpus, presence: str, least: int, missing: int, most: int, n: int, always: str | None = None
) -> tuple[Any, list[str]]:
    """(traces x keys, keys): keys in `least` traces or more and absent from `missing` or more, one per set of traces."""
    import numpy as np
    from scipy.sparse import csr_array

    con = corpus.con
    con.execute(f"CREATE OR REPLACE TEMP TABLE rule_presence AS SELECT DISTINCT key, trace_id FROM ({presence})")
    con.execute(
        "CREATE OR REPLACE TEMP TABLE rule_keys AS SELECT key, row_number() OVER (ORDER BY key) - 1 AS col FROM ("
        " SELECT min(key) AS key, n FROM (SELECT key, count(*) AS n, bit_xor(hash(trace_id)) AS h FROM rule_presence "
        f" GROUP BY key HAVING count(*) BETWEEN {least} AND {n - max(missing, 1)}) GROUP BY n, h "
        f" ORDER BY abs(n - {n} / 2), min(key) LIMIT {most})"
    )
    extra = ""
    if always is not None:
        con.execute(f"INSERT INTO rule_keys SELECT '{ALWAYS}', count(*) FROM rule_keys")
        extra = f" UNION ALL {always}"
    keys = [str(r[0]) for r in con.execute("SELECT key FROM rule_keys ORDER BY col").fetchall()]
    at = con.execute(
        f"SELECT row, col FROM (SELECT * FROM rule_presence{extra}) JOIN rule_keys USING (key) "
        "JOIN rule_traces USING (trace_id)"
    ).fetchnumpy()
    ones = np.ones(len(at["row"]), dtype=np.float32)
    return csr_array((ones, (at["row"], at["col"])), shape=(n, len(keys))), keys


def _pairs(m: Matrices, min_support: int) -> NDArray[np.int64]:
    """(condition, action) with enough traces on either side; the best supported where there are too many."""
    import numpy as np

    together = (m.conditions.T @ m.actions).toarray()
    apart = m.conditions.sum(axis=0)[:, None] - together
    smaller = np.minimum(together, apart)
    pairs = np.argwhere(smaller >= min_support)
    if len(pairs) > MAX_PAIRS:
        order = np.argsort(-smaller[pairs[:, 0], pairs[:, 1]], kind="stable")[:MAX_PAIRS]
        pairs = pairs[np.sort(order)]
    return pairs


def _cells(m: Matrices, pairs: NDArray[np.int64]) -> tuple[Any, Any, Any, Any]:
    """(cells, strata, n per pair, n_y per pair): each condition has strata of its own, the tasks where it holds."""
    import numpy as np

    from primitives.stats.strata import Cells, Strata

    keys, strata_of, sizes, outcomes, ms, as_, ns, ys = [], [], [], [], [], [], [], []
    columns = m.conditions.tocsc()
    table = m.actions.tocsr()
    offset = 0
    first = np.flatnonzero(np.r_[True, pairs[1:, 0] != pairs[:-1, 0]])
    for start, stop in zip(first, np.r_[first[1:], len(pairs)], strict=True):
        c = pairs[start, 0]
        rows = columns.indices[columns.indptr[c] : columns.indptr[c + 1]]
        _, local = np.unique(m.stratum[rows], return_inverse=True)
        y = m.y[rows].astype(float)
        size = np.bincount(local).astype(float)
        found = table[rows][:, pairs[start:stop, 1]].tocoo()
        place = found.col * len(size) + local[found.row]
        counted = np.bincount(place, minlength=(stop - start) * len(size)).astype(float)
        good = np.bincount(place, weights=y[found.row], minlength=(stop - start) * len(size))
        here = np.flatnonzero(counted)
        keys.append(start + here // len(size))
        strata_of.append(offset + here % len(size))
        ms.append(counted[here])
        as_.append(good[here])
        sizes.append(size)
        outcomes.append(np.bincount(local, weights=y))
        ns.append(np.full(stop - start, len(rows), float))
        ys.append(np.full(stop - start, y.sum()))
        offset += len(size)
    join = np.concatenate
    cells = Cells(len(pairs), join(keys), join(strata_of), join(ms), join(as_))
    return cells, Strata(join(sizes), join(outcomes)), join(ns), join(ys)


def _choose(frame: pd.DataFrame, m: Matrices, limit: int) -> pd.DataFrame:
    """The rules to show: sure, stronger than their action in any run, each about other traces."""
    import numpy as np

    overall = frame[frame["condition_key"] == ALWAYS].set_index("a")["risk_difference"]
    alone = frame["a"].map(overall).fillna(0.0)
    value = frame["risk_difference"]
    needed = frame["action_key"] == frame["condition_key"].str.replace("peers", "call")  # what its task's other runs do
    better = (frame["condition_key"] == ALWAYS) | needed | (value.abs() > alone.abs() + MARGIN) | (value * alone < 0)
    least = frame.loc[frame["q"] < 1, "least_p"].max()
    frame = frame[(frame["p"] <= CHANCE) & better & (value != 0)]
    sure = np.maximum(np.maximum(frame["low"], -frame["high"]), 0)
    order = (frame["action_key"], frame["condition_key"], frame["p"], -sure * frame["weight"], frame["least_p"] > least)
    frame = frame.iloc[np.lexsort(order)]
    held, done = m.conditions.tocsc(), m.actions.tocsc()
    kept: list[int] = []
    similar: list[int] = []
    sets: list[NDArray[np.bool_]] = []
    of_action: dict[str, int] = {}
    for i, row in enumerate(frame.itertuples()):
        holds, acts = held[:, [row.c]].toarray()[:, 0] > 0, done[:, [row.a]].toarray()[:, 0] > 0
        bad = holds & (~acts if row.risk_difference > 0 else acts)
        twin = next((j for j, other in enumerate(sets) if _overlap(bad, other) >= SAME_TRACES), None)
        if twin is not None:
            similar[twin] += 1
        elif len(kept) < limit and of_action.get(row.action_key, 0) < PER_ACTION:
            of_action[row.action_key] = of_action.get(row.action_key, 0) + 1
            kept.append(i)
            sets.append(bad)
            similar.append(0)
    return frame.iloc[kept].assign(similar=similar)


def _overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    either = (a | b).sum()
    return float((a & b).sum() / either) if either else 0.0


def _readable(frame: pd.DataFrame, outcome: str) -> pd.DataFrame:
    import numpy as np

    absent = (frame["risk_difference"] > 0).to_numpy()
    sign = np.where(absent, -1.0, 1.0)

    def side(bad: str, good: str) -> Any:
        return np.where(absent, frame[bad], frame[good])

    shown = frame.assign(
        condition=[condition_text(k) for k in frame["condition_key"]],
        action=[action_text(k, done=not a) for k, a in zip(frame["action_key"], absent, strict=True)],
        bad_side=np.where(absent, "absent", "present"),
        bad_k=side("without_k", "with_k"), bad_n=side("without_n", "with_n"),
        else_k=side("with_k", "without_k"), else_n=side("with_n", "without_n"),
        effect=sign * frame["risk_difference"],
        low=np.where(absent, -frame["high"], frame["low"]), high=np.where(absent, -frame["low"], frame["high"]),
        effect_unadjusted=sign * frame["risk_difference_unadjusted"],
        predicate=[_predicate(r.condition_key, r.action_key, r.risk_difference > 0) for r in frame.itertuples()],
    )  # fmt: skip
    verb_ = "pass" if outcome == "success" else f"have {outcome}"
    shown["rule"] = [
        f"{r.condition}, {r.action}: {r.bad_k} of {r.bad_n} {verb_}, else {r.else_k} of {r.else_n}"
        for r in shown.itertuples()
    ]
    return shown


def _predicate(condition: str, action: str, absent: bool) -> str:
    if absent:
        return f"{condition_sql(condition)} EXCEPT SELECT trace_id FROM ({action_sql(action)})"
    return f"SELECT trace_id, min(seq) AS seq FROM ({action_sql(action)}) WHERE trace_id IN ({condition_sql(condition)}) GROUP BY 1"
