"""Where runs depart from the reference that came with the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve
from primitives.deviations_sql import COUNTED, MAIN, REFERENCED, deviation_rows
from primitives.mutating import mutating_tools
from primitives.registry import verb

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

VIEWS = ("trace", "class", "item", "task")
SUSPECT_RUNS = 3  # runs of a task none of which meets the reference, before the reference is suspected


@verb
def deviations(
    corpus: Corpus,
    population: Any = None,
    *,
    by: str = "trace",
    mutating: Mapping[str, bool] | None = None,
    limit: int = 50_000,
) -> pd.DataFrame:
    """Where runs depart from the reference: missing, wrong argument, unneeded, out of order, failing tests, answers.

    Works on the table `expected`: actions against the successful mutating calls of the trace (primitives/mutating.py
    says which tools those are), outputs against what the agent said, answers against the final output, tests and
    assertions by the source's own verdict. Empty where the population has no reference.

    population: a cohort (SELECT giving trace_id, WHERE condition over `traces`, saved cohort, trace ids); None: all.
    by: "trace": one row per trace with a reference: trace_id, task_id, success, main (below), the number of each
            deviation (missing_action, wrong_argument, unneeded_action, out_of_order, missing_output, wrong_answer,
            test_broken, test_still_fails, assertion_not_met), reference_does_nothing (its actions change nothing, so doing
            nothing passes), reference_never_met (no run of the task, of at least 3, met it: suspect the reference),
            seq (step of the first deviation that has one), detail (that deviation in words).
        "class": one row per main class: main, traces, passed, failed, unscored, predicate.
        "item": one row per (kind, name, argument): traces, passed, failed, sole (failed traces with no other
            deviation), an example (example_trace, expected, actual), predicate.
        "task": one row per task: dataset, task_id, runs, passed, met, reference_does_nothing, reference_never_met.
    mutating: tools that change the world (true) or not (false), where names and reference mislead.
    limit: rows at most, the most failures first.

    `main` is exclusive, by priority: 'wrong tool' (one is missing and another unneeded), 'wrong argument', 'missing
    action', 'unneeded action', 'out of order', 'missing output', 'wrong answer', 'test broken' (PASS_TO_PASS), 'test
    still fails' (FAIL_TO_PASS), 'assertion not met', 'none'. 'none' with success = false: the run does all that the
    reference asks and fails for another reason. Values compare as 5 = 5.0; a null argument is an absent one.
    Errors: CohortNotUnderstood; ValueError for another `by`.

    >>> deviations("NOT success", by="class")
    """
    if by not in VIEWS:
        raise ValueError(f"by is one of {', '.join(VIEWS)}, got {by!r}")
    tools = mutating_tools(corpus, mutating)
    _lay_out(corpus, tools, resolve(corpus, population))
    frame = corpus.con.execute(f"{_VIEW_SQL[by]} LIMIT {int(limit)}").df()
    # What ingest worked out stands in the table of that name; other tools than it took for mutating need the whole SELECT.
    rows = "deviations" if not mutating else f"({deviation_rows(tools, 'SELECT trace_id FROM traces')})"
    if by == "class":
        frame["predicate"] = [_class_predicate(rows, main) for main in frame["main"]]
    elif by == "item":
        keys = zip(frame["kind"], frame["name"], frame["argument"], strict=True)
        frame["predicate"] = [_item_predicate(rows, *key) for key in keys]
    return frame


def _lay_out(corpus: Corpus, mutating: list[str], eligible: str) -> None:
    """Temporary tables deviation_rows (one per deviation) and deviation_traces (one per trace with a reference)."""
    names = _listed(mutating)
    con = corpus.con
    con.execute(f"CREATE OR REPLACE TEMP TABLE deviation_rows AS {deviation_rows(mutating, eligible)}")
    counts = ", ".join(f"count(*) FILTER (kind = '{kind}') AS {kind.replace(' ', '_')}" for kind in COUNTED)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE deviation_traces AS
        WITH referenced AS (SELECT DISTINCT trace_id FROM expected UNION SELECT trace_id FROM ({REFERENCED})),
        writes AS (SELECT DISTINCT trace_id FROM expected WHERE kind = 'action' AND name IN ({names})),
        by_trace AS (SELECT t.trace_id, any_value(dataset) AS dataset, any_value(task_id) AS task_id,
            any_value(success) AS success, {MAIN} AS main, {counts}, min(seq) AS seq,
            arg_min({DETAIL}, coalesce(seq, 1e9)) FILTER (kind IS NOT NULL) AS detail,
            t.trace_id IN (SELECT trace_id FROM ({REFERENCED})) AND t.trace_id NOT IN (FROM writes)
              AND t.trace_id NOT IN (SELECT trace_id FROM expected WHERE kind IN ('output', 'answer', 'test'))
              AS reference_does_nothing
          FROM traces t LEFT JOIN deviation_rows USING (trace_id)
          WHERE t.trace_id IN (FROM referenced) AND t.trace_id IN ({eligible}) GROUP BY t.trace_id)
        SELECT *, task_id IS NOT NULL AND count(*) OVER task >= {SUSPECT_RUNS}
          AND NOT bool_or(main = 'none' OR coalesce(success, false)) OVER task AS reference_never_met
        FROM by_trace WINDOW task AS (PARTITION BY dataset, task_id)""")


DETAIL = (
    "kind || coalesce(': ' || name, '') || coalesce('.' || argument, '') "
    "|| coalesce(', expected ' || left(expected, 80), '') || coalesce(', got ' || left(actual, 80), '')"
)
_SCORED = "count(*) FILTER (success) AS passed, count(*) FILTER (NOT success) AS failed"
_VIEW_SQL = {
    "trace": "SELECT trace_id, task_id, success, main, "
    + ", ".join(kind.replace(" ", "_") for kind in COUNTED)
    + ", reference_does_nothing, reference_never_met, seq, detail FROM deviation_traces"
    " ORDER BY coalesce(success, true), trace_id",
    "class": f"SELECT main, count(*) AS traces, {_SCORED}, count(*) FILTER (success IS NULL) AS unscored FROM deviation_traces "
    "GROUP BY main ORDER BY failed DESC, main",
    "item": f"""
        WITH kinds AS (SELECT DISTINCT trace_id, kind, name, argument FROM deviation_rows),
        alone AS (SELECT trace_id FROM kinds GROUP BY 1 HAVING count(*) = 1)
        SELECT kind, name, argument, count(*) AS traces, {_SCORED},
          count(*) FILTER (NOT success AND trace_id IN (FROM alone)) AS sole,
          min(trace_id) AS example_trace, arg_min(expected, trace_id) AS expected, arg_min(actual, trace_id) AS actual
        FROM (SELECT DISTINCT ON (trace_id, kind, name, argument) * FROM deviation_rows ORDER BY ALL)
        JOIN traces USING (trace_id) GROUP BY 1, 2, 3 ORDER BY failed DESC, traces DESC, kind, name, argument""",
    "task": f"""
        SELECT dataset, task_id, count(*) AS runs, {_SCORED}, count(*) FILTER (main = 'none') AS met,
          bool_and(reference_does_nothing) AS reference_does_nothing, bool_or(reference_never_met) AS reference_never_met
        FROM deviation_traces WHERE task_id IS NOT NULL GROUP BY 1, 2 ORDER BY reference_never_met DESC, failed DESC, 1, 2""",
}


def _class_predicate(rows: str, main: str) -> str:
    if main == "none":
        return (
            f"SELECT trace_id FROM (SELECT trace_id FROM expected UNION {REFERENCED}) "
            f"WHERE trace_id NOT IN (SELECT trace_id FROM {rows})"
        )
    return f"SELECT trace_id, min(seq) AS seq FROM {rows} GROUP BY trace_id HAVING {_is_main(main)}"


def _is_main(main: str) -> str:
    """The same as MAIN = main, said for one class alone."""
    if main == "wrong tool":
        return "bool_or(kind = 'missing action') AND bool_or(kind = 'unneeded action')"
    order = ("wrong argument", "missing action", *(k for k in COUNTED if k not in ("wrong argument", "missing action")))
    before = order[: order.index(main)]
    both = " AND NOT (bool_or(kind = 'missing action') AND bool_or(kind = 'unneeded action'))"
    rest = f" AND NOT bool_or(kind IN ({_listed(list(before))}))" if before else ""
    if main == "missing action":
        return "bool_or(kind = 'missing action') AND NOT bool_or(kind IN ('unneeded action', 'wrong argument'))"
    return f"bool_or(kind = '{main}'){rest}" + (both if main == "wrong argument" else "")


def _item_predicate(rows: str, kind: str, name: Any, argument: Any) -> str:
    where = [f"kind = '{kind}'"]
    where += [
        f"{column} = {_listed([value])}" for column, value in (("name", name), ("argument", argument)) if _is(value)
    ]
    return f"SELECT trace_id, seq FROM {rows} WHERE {' AND '.join(where)}"


def _is(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _listed(names: list[str]) -> str:
    return ", ".join("'" + n.replace("'", "''") + "'" for n in names) or "NULL"
