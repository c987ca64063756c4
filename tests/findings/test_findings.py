"""Predicates, citations, verdicts, partition and rank on a small corpus whose answers are known by construction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from insights.diagnose.question import understand
from insights.errors import PredicateError
from insights.findings import citations, predicate
from insights.findings.examine import as_finding, examine, verdict
from insights.findings.partition import partition
from insights.findings.parts import by_part
from insights.findings.rank import by_cause, rank_score, ranked, severity_of, told_by_others
from insights.findings.verdict import contrast as measured_contrast
from insights.findings.verdict import count, decide, q_values
from insights.records import Cause, Citation, Contrast, Count, Finding, Hypothesis, Predicate
from insights.report import words
from primitives import Corpus
from tests.primitives.small import corpus as build

N_TASKS, TRIALS = 12, 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """48 runs of 12 tasks; a run fails when it calls `wipe`, and in tasks 0 and 1 always."""
    traces, steps, calls = [], [], []
    for task in range(N_TASKS):
        for trial in range(TRIALS):
            trace, wipes = f"t{task:02d}-{trial}", trial == 0
            traces.append(
                {
                    "trace_id": trace,
                    "task_id": str(task),
                    "trial": trial,
                    "success": not wipes and task > 1,
                    "n_steps": 3,
                }
            )
            steps.append({"trace_id": trace, "seq": 0, "role": "user", "text": f"Please tidy folder {task}."})
            steps.append(
                {"trace_id": trace, "seq": 1, "role": "assistant", "text": "I will tidy it now.", "n_tool_calls": 1}
            )
            steps.append(
                {
                    "trace_id": trace,
                    "seq": 2,
                    "role": "assistant",
                    "text": f"Folder {task} is tidy. <script>alert(1)</script>",
                }
            )
            calls.append(
                {
                    "trace_id": trace,
                    "call_seq": 1,
                    "name": "wipe" if wipes else "sort",
                    "args": {"folder": f"folder-{task}"},
                }
            )
    return build(tmp_path_factory.mktemp("findings"), traces=traces, steps=steps, tool_calls=calls)


WIPES = "SELECT trace_id, call_seq AS seq, args_text AS quote FROM tool_calls WHERE name = 'wipe'"


def hypothesis(code: str = WIPES, **changed: Any) -> Hypothesis:
    return replace(Hypothesis("H1", "wiping goes with failing", Predicate(code)), **changed)


@pytest.mark.parametrize(
    "code, says",
    [
        ("DELETE FROM traces", "not one SELECT"),
        ("SELECT 1; SELECT 2", "not one SELECT"),
        ("SELECT task_id FROM traces", "no trace_id"),
        ("SELECT nonsense FROM traces", "does not run"),
        ("SELEC", "does not parse"),
        ("", "not one SELECT"),
        ("SELECT trace_id FROM read_text('/etc/passwd')", "does not run"),
    ],
)
def test_what_is_no_predicate_is_refused_with_the_reason(corpus: Corpus, code: str, says: str) -> None:
    with pytest.raises(PredicateError, match=says):
        predicate.run(corpus, code)


def test_a_predicate_that_runs_too_long_is_stopped(corpus: Corpus) -> None:
    endless = "SELECT trace_id FROM traces, range(1000000000) r, range(1000) s WHERE hash(r.range, s.range) = 1"
    with pytest.raises(PredicateError, match="longer than"):
        predicate.run(corpus, endless, seconds=0.3)


def test_matches_stay_inside_the_population(corpus: Corpus) -> None:
    assert len(predicate.run(corpus, WIPES)) == N_TASKS
    inside = predicate.run(corpus, WIPES, population="task_id = '3'")
    assert [(m.trace_id, m.seq, m.quote) for m in inside] == [("t03-0", 1, '{"folder": "folder-3"}')]


@pytest.mark.parametrize(
    "trace, seq, quote, stands",
    [
        ("t05-1", 2, "Folder 5 is tidy.", True),
        ("t05-1", 1, '"folder": "folder-5"', True),
        ("t05-1", 1, "sort", True),
        ("t05-1", 2, "Folder 5 is  tidy.", False),
        ("t05-1", 0, "Folder 5 is tidy.", False),
        ("t06-1", 2, "Folder 5 is tidy.", False),
        ("nowhere", 2, "Folder 5 is tidy.", False),
        ("t05-1", 2, "", False),
    ],
)
def test_a_citation_holds_only_verbatim_in_its_step(
    corpus: Corpus, trace: str, seq: int, quote: str, stands: bool
) -> None:
    [checked] = citations.verify(corpus, [Citation(trace, seq, quote)])
    assert checked.verified is stands


def test_chosen_quotes_are_verbatim_and_of_different_tasks(corpus: Corpus) -> None:
    chosen = citations.choose(corpus, predicate.run(corpus, "SELECT trace_id FROM traces"), "support", 4)
    assert len({c.trace_id.split("-")[0] for c in chosen}) == 4
    assert all(c.verified for c in citations.verify(corpus, chosen))


def test_a_long_quote_is_cut_to_its_verbatim_opening() -> None:
    text = "One sentence stands here. " * 30
    assert text.startswith(citations.cut(text)) and len(citations.cut(text)) <= citations.QUOTE_CHARS


def test_a_true_cause_is_confirmed_within_tasks(corpus: Corpus) -> None:
    found, decided, _ = verdict(examine(corpus, hypothesis()), 0.001, labelled=True)
    assert decided == "confirmed"
    assert (found.prevalence.k, found.prevalence.n, found.terminal, found.recovered) == (12, 48, 12, 0)
    assert found.contrast is not None and found.contrast.adjusted and found.contrast.high < 0
    assert found.citations and found.failed_citations == 0


def test_given_quotes_that_do_not_stand_are_counted_and_not_shown(corpus: Corpus) -> None:
    found = examine(corpus, hypothesis(), given=(Citation("t03-0", 2, "a sentence nobody said"),))
    assert found.failed_citations == 1
    assert "a sentence nobody said" not in {c.quote for c in found.citations}


def test_what_never_happens_is_refuted(corpus: Corpus) -> None:
    _, decided, why = verdict(
        examine(corpus, hypothesis("SELECT trace_id FROM traces WHERE false")), None, labelled=True
    )
    assert (decided, why) == ("refuted", "it holds in no eligible trace")


def test_what_only_marks_hard_tasks_is_no_confirmed_cause(corpus: Corpus) -> None:
    hard = hypothesis("SELECT trace_id FROM traces WHERE task_id IN ('0', '1')")
    found, decided, _ = verdict(examine(corpus, hard), 0.0001, labelled=True)
    assert found.contrast is not None and not found.contrast.adjusted
    assert decided in ("descriptive", "inconclusive")


def test_without_outcomes_a_contrast_only_describes() -> None:
    assert decide("contrast", count(3, 10), None, 1, labelled=False)[0] == "descriptive"


def test_without_a_verified_quote_nothing_is_confirmed() -> None:
    assert decide("prevalence", count(3, 10), None, 0, labelled=True)[0] == "inconclusive"


def contrast(low: float, high: float, q: float | None, *, adjusted: bool = True) -> Contrast:
    return Contrast(
        "success", Count(1, 10), Count(9, 10), (low + high) / 2, low, high, None, 0.001, q, "CMH", 5, adjusted
    )


@pytest.mark.parametrize(
    "c, expected",
    [
        (contrast(-0.6, -0.2, 0.01), "confirmed"),
        (contrast(-0.6, -0.2, 0.5), "inconclusive"),
        (contrast(-0.6, -0.2, 0.01, adjusted=False), "descriptive"),
        (contrast(-0.02, 0.1, 0.9), "refuted"),
        (contrast(-0.3, 0.1, 0.9), "inconclusive"),
    ],
)
def test_verdicts_of_contrasts(c: Contrast, expected: str) -> None:
    assert decide("contrast", count(10, 20), c, 2, labelled=True)[0] == expected


def test_q_values_count_only_what_was_tested() -> None:
    import scipy.stats

    ps = [0.01, 0.04, 0.03]
    expected = scipy.stats.false_discovery_control(ps)
    assert q_values([0.01, None, 0.04, 0.03]) == pytest.approx([expected[0], None, expected[1], expected[2]])


def finding(corpus: Corpus, id: str, code: str, **changed: Any) -> Finding:
    found, decided, why = verdict(examine(corpus, hypothesis(code, kind="prevalence")), None, labelled=True)
    return replace(as_finding(found, decided, why, 18), id=id, **changed)


def test_the_partition_sums_to_the_failures_and_names_each_once(corpus: Corpus) -> None:
    failed = [r[0] for r in corpus.con.execute("SELECT trace_id FROM traces WHERE NOT success").fetchall()]
    wipes, hard = finding(corpus, "F1", WIPES), finding(corpus, "F2", "SELECT trace_id FROM traces WHERE task_id = '0'")
    causes = partition([wipes, hard], failed, {"F1": 1, "F2": 1})
    ids = [t for c in causes for t in c.trace_ids]
    assert sorted(ids) == sorted(failed) and sum(c.n for c in causes) == len(failed)
    assert [(c.finding_id, c.n) for c in causes] == [("F1", 12), ("F2", 3), (None, 3)]
    first = partition([wipes, hard], failed, {"F1": 2, "F2": 1})
    assert {c.finding_id: c.n for c in first} == {"F1": 11, "F2": 4, None: 3}


def test_rank_puts_what_the_question_asks_first_and_never_counts_more_than_fails() -> None:
    assert rank_score(100, 10, contrast(-0.6, -0.5, 0.01), "medium") == 10
    assert rank_score(10, 10, contrast(-0.6, -0.5, 0.01), "high") == pytest.approx(7.5)
    assert severity_of(None, 12, 100) == "high" and severity_of("low", 99, 100) == "low"


def test_ranking_is_stable_and_confirmed_comes_first(corpus: Corpus) -> None:
    a = finding(corpus, "F1", WIPES, rank_score=1.0, verdict="descriptive")
    b = finding(corpus, "F2", WIPES, rank_score=0.5)
    c = finding(corpus, "F3", WIPES, rank_score=0.1, taxonomy={"cause": "waste"})
    assert [f.id for f in ranked([a, b, c])] == ["F2", "F3", "F1"]
    assert [f.id for f in ranked([a, b, c], "cost")] == ["F3", "F2", "F1"]


def test_what_may_explain_comes_before_doubts_and_symptoms_whatever_the_score(corpus: Corpus) -> None:
    cause = finding(corpus, "F1", WIPES, rank_score=0.1)
    suspicion = finding(
        corpus, "F2", WIPES, rank_score=50.0, kind="label_defect", taxonomy={"cause": "never_passes", "tier": "9"}
    )
    symptom = finding(corpus, "F3", WIPES, rank_score=90.0, taxonomy={"cause": "success_claimed", "tier": "9"})
    defect = finding(
        corpus, "F4", WIPES, rank_score=5.0, kind="label_defect", taxonomy={"cause": "not_graded", "tier": "9"}
    )
    harmless = finding(corpus, "F5", WIPES, rank_score=70.0, verdict="descriptive")
    order = [f.id for f in ranked([symptom, suspicion, harmless, cause, defect])]
    assert order == ["F4", "F1", "F2", "F5", "F3"]


def test_where_runs_were_read_findings_stand_by_the_failures_counted_under_them(corpus: Corpus) -> None:
    found = [finding(corpus, f"F{i}", WIPES) for i in range(3)]
    causes = [
        Cause("b", "F1", "agent", 2, ("x", "y")),
        Cause("c", "F2", "agent", 5, ("z",)),
        Cause("", None, "", 9, ()),
    ]
    assert [f.id for f in by_cause(found, causes, "failure")] == ["F2", "F1", "F0"]
    assert by_cause(found, causes, "comparison") == found


def test_a_step_left_out_because_named_faults_ended_the_run_is_told_by_them(corpus: Corpus) -> None:
    faults = [
        finding(
            corpus,
            f"F{i}",
            f"SELECT trace_id FROM traces WHERE trace_id LIKE 't{i}%' AND NOT success",
            taxonomy={"cause": "ignored_error"},
        )
        for i in range(2)
    ]
    left_out = finding(corpus, "F8", "SELECT trace_id FROM traces WHERE NOT success", taxonomy={"cause": "omission"})
    elsewhere = finding(corpus, "F9", "SELECT trace_id FROM traces WHERE success", taxonomy={"cause": "omission"})
    assert told_by_others([*faults, left_out, elsewhere]) == {"F8"}
    assert told_by_others([faults[1], left_out]) == set()
    assert [f.id for f in ranked([left_out, *faults])][-1] == "F8"


def test_a_grouping_that_is_not_the_task_does_not_take_difficulty_out(tmp_path: Path) -> None:
    traces = [
        {
            "trace_id": f"{desk}{i}",
            "task_id": f"{desk}{i}",
            "dataset": desk,
            "success": (i % 5 == 0) if i < 10 else (i % 5 != 0 or desk == "a"),
        }
        for desk in ("a", "b")
        for i in range(30)
    ]
    calls = [
        {"trace_id": t["trace_id"], "call_seq": 0, "name": "wipe", "args": {}}
        for t in traces
        if int(str(t["trace_id"])[1:]) < 10
    ]
    within = measured_contrast(
        build(tmp_path, traces=traces, steps=[], tool_calls=calls),
        "SELECT trace_id FROM tool_calls WHERE name = 'wipe'",
        None,
    )
    assert within is not None and "2 groups" in within.test and not within.adjusted
    assert words.grouped_by(within) == "dataset"
    told = decide("contrast", count(20, 60), replace(within, q=0.001), 1, labelled=True)
    assert told[0] == "descriptive" and "difficulty could not be taken out" in told[1]


@pytest.mark.parametrize(
    "text, intent",
    [
        ("Why do runs fail?", "failure"),
        ("What should I fix first?", "failure"),
        ("Where is our budget spent?", "cost"),
        ("Compare gpt-4o and claude", "comparison"),
        ("What wastes the money?", "cost"),
        ("What makes an attack succeed?", "conduct"),
        ("How does it look up orders?", "habit"),
        ("Anything of note?", "survey"),
    ],
)
def test_questions_are_matched_by_plain_rules(text: str, intent: str) -> None:
    assert understand(text, [("model", "gpt-4o"), ("model", "claude")]).intent == intent


def test_two_named_values_make_a_comparison(tmp_path: Path) -> None:
    asked = understand("gpt-4o or claude: who is right?", [("model", "gpt-4o"), ("model", "claude"), ("suite", "desk")])
    assert asked.intent == "comparison" and {v for _, v in asked.named} == {"gpt-4o", "claude"}


def test_failures_by_part_use_the_finest_attribute_that_every_trace_has(tmp_path: Path) -> None:
    traces = [{"trace_id": f"t{i}", "model": "ab"[i % 2], "dataset": "one", "success": i > 3} for i in range(6)]
    slices = [{"trace_id": f"t{i}", "name": "shop", "value": "xyz"[i % 3]} for i in range(6)]
    slices += [{"trace_id": "t0", "name": "part", "value": "p"}]
    corpus = build(tmp_path, traces=traces, slices=slices)
    causes = [Cause("", "F1", "agent", 3, ("t0", "t1", "t3")), Cause("unexplained", None, "unknown", 1, ("t2",))]
    found = by_part(corpus.con, causes)
    assert found["by"] == "shop"
    assert found["rows"][0] == {"part": "x", "runs": 2, "passed": 0, "failed": 2, "causes": {"agent": 2}}
    assert [(row["part"], row["passed"], row["causes"]) for row in found["rows"][1:]] == [
        ("y", 1, {"agent": 1}), ("z", 1, {"unknown": 1}),
    ]  # fmt: skip
    assert by_part(build(tmp_path / "b", traces=traces).con, causes)["by"] == "model"
    assert by_part(build(tmp_path / "c", traces=[{**t, "model": "a"} for t in traces]).con, causes) == {}
