"""Cohorts, prevalence and contrasts on small corpora whose answers are known by construction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from primitives.cohort import CohortNotUnderstood, resolve, size
from primitives.stats import StratumUnknown, contrast, contrasts
from tests.primitives import small


def runs(tasks=20, trials=4, seed=0):
    """Half of the tasks are easy. `easy_tool` is called on easy tasks only, `fault` anywhere, and breaks the run."""
    rng = np.random.default_rng(seed)
    traces, calls = [], []
    for task in range(tasks):
        for trial in range(trials):
            trace_id, easy = f"{task}.{trial}", task % 2 == 0
            fault = rng.random() < 0.4
            success = bool(rng.random() < (0.97 if easy else 0.25)) and not fault
            traces.append(
                {"trace_id": trace_id, "dataset": "d", "task_id": str(task), "success": success, "n_steps": task}
            )
            for name in ["look"] + ["easy_tool"] * easy + ["fault"] * fault:
                calls.append({"trace_id": trace_id, "tool_call_key": name, "name": name, "call_seq": 1})
    return traces, calls


@pytest.fixture
def corpus(tmp_path):
    traces, calls = runs()
    return small.corpus(tmp_path, traces=traces, tool_calls=calls)


@pytest.mark.parametrize(
    "cohort",
    [
        "success",
        "SELECT trace_id FROM traces WHERE success;",
        "  (SELECT trace_id FROM traces WHERE success UNION ALL SELECT trace_id FROM traces WHERE success) ",
        "WITH w AS (SELECT * FROM traces) SELECT trace_id FROM w WHERE success -- a comment",
    ],
)
def test_every_form_of_a_cohort_names_the_same_traces(corpus, cohort):
    expected = corpus.con.execute("SELECT trace_id FROM traces WHERE success ORDER BY 1").fetchall()
    assert corpus.con.execute(f"SELECT * FROM ({resolve(corpus, cohort)}) ORDER BY 1").fetchall() == expected


def test_a_cohort_of_ids(corpus):
    ids = ["0.0", "1.1", "0.0"]
    for form in (ids, pd.Series(ids), set(ids), np.array(ids), pd.DataFrame({"trace_id": ids})):
        assert size(corpus, form) == 2
    assert size(corpus, []) == 0
    assert size(corpus, None) == 80
    assert size(corpus, [f"{t}.{k}" for t in range(70) for k in range(4)]) == 280  # a temporary table by then
    assert size(corpus, ["it's"]) == 1


@pytest.mark.parametrize(
    ("cohort", "message"),
    [
        ("no_such_column > 1", "does not run"),
        ("SELECT name FROM tool_calls", "does not run"),
        ("", "empty text"),
        (3, "list of trace ids, not int"),
        ("success); DROP TABLE traces; --", "does not run"),
    ],
)
def test_what_is_no_cohort_is_refused_with_the_reason(corpus, cohort, message):
    with pytest.raises(CohortNotUnderstood, match=message):
        resolve(corpus, cohort)


def test_a_saved_cohort_is_called_by_its_name(tmp_path):
    corpus = small.corpus(
        tmp_path,
        traces=[{"trace_id": t} for t in "abc"],
        labels=[{"trace_id": t, "name": "odd ones", "kind": "cohort"} for t in "ac"],
    )
    assert size(corpus, "odd ones") == 2


def test_prevalence_counts_what_could_not_be_judged(tmp_path):
    corpus = small.corpus(
        tmp_path,
        traces=[{"trace_id": str(i), "cost_usd": None if i < 3 else i, "success": i % 2 == 0} for i in range(50)],
    )
    row = corpus.prevalence("cost_usd > 10").iloc[0]
    assert (row.k, row.n, row.unscored, row.method) == (39, 47, 3, "Wilson")
    assert row.low < row.share == 39 / 47 < row.high
    failed = corpus.prevalence("cost_usd > 10", population="NOT success").iloc[0]
    assert (failed.k, failed.n, failed.unscored, failed.method) == (20, 24, 1, "Clopper-Pearson")
    none = corpus.prevalence("SELECT trace_id FROM tool_calls").iloc[0]
    assert (none.k, none.n, none.method) == (0, 50, "rule of three")
    with pytest.raises(CohortNotUnderstood, match="either a predicate"):
        corpus.prevalence()


def test_prevalence_of_a_judged_label_is_corrected_by_gold(tmp_path):
    """The judge says yes to 40 of 100; of 10 gold labels among its yes 5 are right, of 10 among its no one is wrong."""
    labels = [
        {"trace_id": str(i), "name": "rude", "kind": "judged", "value": "yes" if i < 40 else "no"} for i in range(100)
    ]
    gold = [{"trace_id": str(i), "name": "rude", "kind": "gold", "value": "yes" if i < 5 else "no"} for i in range(10)]
    gold += [
        {"trace_id": str(i), "name": "rude", "kind": "gold", "value": "yes" if i < 41 else "no"} for i in range(40, 50)
    ]
    traces = [{"trace_id": str(i)} for i in range(110)]
    corpus = small.corpus(tmp_path, traces=traces, labels=[*labels, *gold])
    row = corpus.prevalence(label="rude").iloc[0]
    assert (row.k, row.n, row.unscored) == (26, 100, 10)
    assert row.method == "stratified gold (10 + 10)"
    assert row.low < 0.26 < row.high
    with pytest.raises(ValueError, match="none of them has a gold label"):
        corpus.prevalence(label="rude", population="CAST(trace_id AS INTEGER) > 60")
    with pytest.raises(ValueError, match="run classify first"):
        corpus.prevalence(label="polite")


def test_what_goes_with_easy_tasks_only_is_unmasked(corpus):
    found = contrast(corpus, "SELECT trace_id FROM tool_calls WHERE name = 'easy_tool'")
    assert found["p_unadjusted"] < 0.01 and found["risk_difference_unadjusted"] > 0.2
    assert found["p"] is None and not found["adjusted"]
    assert found["adjusted_for"] == "nothing: it does not vary within task; not adjusted for task difficulty"


def test_a_fault_survives_the_adjustment(corpus):
    found = contrast(corpus, "SELECT trace_id FROM tool_calls WHERE name = 'fault'")
    scored = corpus.con.execute("SELECT count(*), count_if(success) FROM traces").fetchone()
    assert (found["with_n"] + found["without_n"], found["with_k"] + found["without_k"]) == scored
    assert found["with_k"] == 0 and found["risk_difference"] < 0
    assert found["low"] < found["risk_difference"] < found["high"] < 0
    assert found["p"] < 0.01 and found["adjusted"] and found["strata"] > 5
    assert found["adjusted_for"].startswith("task (20 tasks, ")


def test_traces_without_an_outcome_do_not_count(tmp_path):
    traces = [{"trace_id": str(i), "success": None if i < 5 else i % 2 == 0} for i in range(25)]
    found = contrast(small.corpus(tmp_path, traces=traces), "CAST(trace_id AS INTEGER) < 10")
    assert (found["with_n"], found["without_n"]) == (5, 15)
    assert found["test"] == "Fisher" and not found["adjusted"]


def test_an_outcome_may_be_any_condition(corpus):
    found = contrast(corpus, "SELECT trace_id FROM tool_calls WHERE name = 'fault'", outcome="NOT success")
    usual = contrast(corpus, "SELECT trace_id FROM tool_calls WHERE name = 'fault'")
    assert found["risk_difference"] == pytest.approx(-usual["risk_difference"])
    assert found["p"] == pytest.approx(usual["p"])


def test_what_never_holds_has_no_contrast(corpus):
    found = contrast(corpus, "SELECT trace_id FROM tool_calls WHERE name = 'nowhere'")
    assert found["with_n"] == 0 and found["p"] is None and found["risk_difference"] is None


def test_without_repeats_the_best_grouping_is_used_and_named(tmp_path):
    rng = np.random.default_rng(2)
    traces, slices = [], []
    for i in range(300):
        repository = i % 3
        traces.append(
            {"trace_id": str(i), "task_id": f"task {i}", "success": bool(rng.random() < (0.2, 0.5, 0.8)[repository])}
        )
        slices.append({"trace_id": str(i), "name": "repository", "value": f"r{repository}"})
        slices.append({"trace_id": str(i), "name": "coin", "value": str(rng.random() < 0.5)})
        slices.append({"trace_id": str(i), "name": "ended", "value": str(traces[-1]["success"]), "basis": "metadata"})
    corpus = small.corpus(tmp_path, traces=traces, slices=slices)
    in_easy = contrast(corpus, "trace_id IN (SELECT trace_id FROM slices WHERE value = 'r2')")
    assert in_easy["test"] == "Fisher" and in_easy["p"] < 1e-6 and not in_easy["adjusted"]
    assert in_easy["adjusted_for"] == "nothing: it does not vary within repository; not adjusted for task difficulty"
    coin = contrast(corpus, "trace_id IN (SELECT trace_id FROM slices WHERE name = 'coin' AND value = 'True')")
    assert coin["adjusted_for"] == "repository (3 groups), not for task difficulty"
    with pytest.raises(StratumUnknown, match=r"'shoe size'.*repository"):
        contrast(corpus, "success", strata="shoe size")


def test_thousands_of_keys_are_contrasted_as_each_alone(corpus):
    table = contrasts(
        corpus, "SELECT name AS key, trace_id FROM tool_calls UNION ALL SELECT NULL, trace_id FROM traces"
    )
    assert table["key"].tolist() == ["easy_tool", "fault"]  # every trace looks: nothing to contrast
    alone = contrast(corpus, "SELECT trace_id FROM tool_calls WHERE name = 'fault'")
    row = table[table["key"] == "fault"].iloc[0]
    for column in ("with_k", "with_n", "without_k", "without_n", "risk_difference", "low", "high", "p", "strata"):
        assert row[column] == pytest.approx(alone[column])
    assert table.attrs["tried"] == 2
