"""Two corpora side by side, or two runs: what happens more often in one, and which findings both hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from insights.records import Finding, Prevalence, Report
from insights.watch.verify import WATCHED, Difference, Remeasured, difference_of, measure

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

MIN_TRACES = 3  # of both corpora together that must have a property, for it to be compared
SHARED_TASKS = 0.5  # of the smaller corpus' tasks that the other must have, for tasks to be the strata
SAME_F1 = 0.8  # of the traces that two predicates match, from which on they are one finding
NUMBERS = {
    "steps": "n_steps",
    "tool calls": "n_tool_calls",
    "tool errors": "n_tool_errors",
    "input tokens": "input_tokens",
    "output tokens": "output_tokens",
    "cost in USD": "cost_usd",
    "seconds": "duration_s",
}
PRESENT = """
SELECT trace_id, 'outcome' AS family, 'fails' AS name FROM traces WHERE NOT success
UNION ALL SELECT trace_id, 'outcome', 'has no outcome' FROM traces WHERE success IS NULL
UNION ALL SELECT trace_id, 'outcome', 'a tool answers with an error' FROM traces WHERE n_tool_errors > 0
UNION ALL SELECT trace_id, 'end', end_reason FROM traces WHERE end_reason IS NOT NULL
UNION ALL SELECT DISTINCT trace_id, 'detector', detector FROM signals
UNION ALL SELECT DISTINCT trace_id, 'tool', name FROM tool_calls WHERE name IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class Compared:
    """One property of traces in corpora A and B. Shares for families of properties, medians for numbers.

    `difference` is B minus A: of shares, or for numbers P(larger in B) minus P(smaller), with a 95 % interval, within
    tasks when `adjusted`; q is Benjamini-Hochberg's over all rows.
    """

    family: str
    name: str
    a: float
    b: float
    k_a: int | None
    k_b: int | None
    difference: Difference
    p: float | None
    q: float | None
    adjusted: bool


def compare_corpora(a: Corpus, b: Corpus) -> list[Compared]:
    """Every property and number of both corpora, the surest differences first. Within tasks where they share tasks."""
    import numpy as np
    import pandas as pd

    from primitives.stats.multiplicity import q_values

    traces = pd.concat([_traces(a, in_b=False), _traces(b, in_b=True)], ignore_index=True)
    present = pd.concat([_present(a, in_b=False), _present(b, in_b=True)], ignore_index=True)
    adjusted = _shares_tasks(traces)
    traces["stratum"] = pd.factorize(traces["task"])[0] if adjusted else 0
    rows = [*_properties(traces, present, adjusted), *_numbers(traces, adjusted)]
    q = q_values(np.array([float("nan") if r.p is None else r.p for r in rows]))
    rows = [replace(r, q=None if np.isnan(v) else float(v)) for r, v in zip(rows, q, strict=True)]
    return sorted(rows, key=lambda r: (2.0 if r.q is None else r.q, -abs(r.difference.value), r.family, r.name))


def _traces(corpus: Corpus, *, in_b: bool) -> pd.DataFrame:
    listed = ", ".join(f"{column}::DOUBLE AS {column}" for column in NUMBERS.values())
    frame = corpus.con.execute(f"SELECT trace_id, coalesce(task_id, trace_id) AS task, {listed} FROM traces").df()
    return frame.assign(in_b=in_b)


def _present(corpus: Corpus, *, in_b: bool) -> pd.DataFrame:
    return corpus.con.execute(PRESENT).df().assign(in_b=in_b)


def _shares_tasks(traces: pd.DataFrame) -> bool:
    sides = [set(traces.loc[traces["in_b"] == side, "task"]) for side in (False, True)]
    smaller = min(len(s) for s in sides)
    return smaller > 0 and len(sides[0] & sides[1]) >= SHARED_TASKS * smaller


def _properties(traces: pd.DataFrame, present: pd.DataFrame, adjusted: bool) -> list[Compared]:
    """Shares of traces with each property; being in B is the outcome of the stratified tables."""
    import numpy as np

    from primitives.stats.strata import Cells, Strata, association, share_difference

    by_stratum = traces.groupby("stratum")["in_b"]
    strata = Strata(by_stratum.size().to_numpy(float), by_stratum.sum().to_numpy(float))
    joined = present.merge(traces[["trace_id", "in_b", "stratum"]], on=["trace_id", "in_b"])
    common = joined.groupby(["family", "name"])["trace_id"].transform("size") >= MIN_TRACES
    joined = joined[common]
    if joined.empty:
        return []
    cells = joined.groupby(["family", "name", "stratum"])["in_b"].agg(["size", "sum"]).reset_index()
    keys = cells.groupby(["family", "name"], sort=False).ngroup().to_numpy(np.int64)
    names = cells.drop_duplicates(["family", "name"])[["family", "name"]].to_numpy()
    table = Cells(
        len(names),
        keys,
        cells["stratum"].to_numpy(np.int64),
        cells["size"].to_numpy(float),
        cells["sum"].to_numpy(float),
    )
    tested, effect = association(table, strata), share_difference(table, strata)
    n_b = int(traces["in_b"].sum())
    n_a = len(traces) - n_b
    k_b = np.bincount(keys, weights=table.a, minlength=len(names))
    k_a = np.bincount(keys, weights=table.m, minlength=len(names)) - k_b
    return [
        Compared(
            family, name, k_a[i] / n_a, k_b[i] / n_b, int(k_a[i]), int(k_b[i]),
            Difference(float(effect.value[i]), float(effect.low[i]), float(effect.high[i])),
            None if np.isnan(tested.p[i]) else float(tested.p[i]), None, adjusted,
        )
        for i, (family, name) in enumerate(names)
        if not np.isnan(effect.value[i])
    ]  # fmt: skip


def _numbers(traces: pd.DataFrame, adjusted: bool) -> list[Compared]:
    import numpy as np

    from primitives.stats.ranks import compare_ranks

    rows = []
    for name, column in NUMBERS.items():
        known = traces[traces[column].notna()]
        sides = [known.loc[known["in_b"] == side, column] for side in (False, True)]
        if min(len(s) for s in sides) < MIN_TRACES:
            continue
        ranked = compare_ranks(
            known[column].to_numpy(float), known["in_b"].to_numpy(bool), known["stratum"].to_numpy(np.int64)
        )
        if np.isnan(ranked.p):
            continue
        difference = Difference(float(ranked.delta), float(ranked.low), float(ranked.high))
        a, b = (float(s.median()) for s in sides)
        rows.append(Compared("median", name, a, b, None, None, difference, float(ranked.p), None, adjusted))
    return rows


@dataclass(frozen=True, slots=True)
class InBoth:
    """A finding of either run, counted on both corpora; `found_in` names the runs that report it."""

    title: str
    found_in: tuple[str, ...]
    predicate: str
    a: Prevalence | None
    b: Prevalence | None
    difference: Difference | None  # b - a
    why: str


def compare_runs(a: Report, corpus_a: Corpus, b: Report, corpus_b: Corpus) -> list[InBoth]:
    """Every finding of both runs counted on both corpora, those that differ most first.

    Findings are one when their predicates are, or when they match nearly the same traces of a corpus (F1 of SAME_F1 or more).
    """
    rows: list[tuple[InBoth, set[str]]] = []
    for run, report in (("A", a), ("B", b)):
        for f in report.findings:
            if f.verdict not in WATCHED:
                continue
            on_a, on_b = measure(f, corpus_a), measure(f, corpus_b)
            ids = set(on_a.trace_ids) | {f"b:{i}" for i in on_b.trace_ids}
            known = next((i for i, (row, seen) in enumerate(rows) if _one(row, seen, f, ids, run)), None)
            if known is None:
                rows.append((_in_both(f, run, on_a, on_b), ids))
            else:
                row, seen = rows[known]
                rows[known] = (_also(row, run), seen)
    return sorted((row for row, _ in rows), key=lambda r: -abs(r.difference.value) if r.difference else 1.0)


def _one(row: InBoth, seen: set[str], f: Finding, ids: set[str], run: str) -> bool:
    if run in row.found_in:
        return False
    if row.predicate == f.predicate.code:
        return True
    return bool(seen and ids) and 2 * len(seen & ids) / (len(seen) + len(ids)) >= SAME_F1


def _in_both(f: Finding, run: str, on_a: Remeasured, on_b: Remeasured) -> InBoth:
    difference = difference_of(on_a.now, on_b.now) if on_a.now and on_b.now else None
    why = next((m.why for m in (on_a, on_b) if m.now is None), "")
    return InBoth(f.title, (run,), f.predicate.code, on_a.now, on_b.now, difference, why)


def _also(row: InBoth, run: str) -> InBoth:
    return InBoth(row.title, (*row.found_in, run), row.predicate, row.a, row.b, row.difference, row.why)
