"""Findings counted again: what is called same, moved, gone and unclear, and what the gate makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from insights.records import Finding, Predicate, Prevalence
from insights.watch.compare import compare_corpora, compare_runs
from insights.watch.gate import decide, gate
from insights.watch.regress import regress
from insights.watch.verify import measure, verify
from primitives.corpus import Corpus, open_corpus
from tests.report.sample import TRACES, make_corpus, make_report

ERRORS = "SELECT trace_id, seq, text AS quote FROM steps WHERE is_error"


def changed(path: Path, *statements: str) -> Path:
    with duckdb.connect(str(path / "traces.duckdb")) as con:
        for statement in statements:
            con.execute(statement)
    return path


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    opened = open_corpus(make_corpus(tmp_path_factory.mktemp("watch") / "own.corpus"))
    yield opened
    opened.con.close()


def mended(folder: Path, share_of_errors_left: int, *, traces: int = TRACES) -> Corpus:
    """Another corpus, in which every `share_of_errors_left`-th trace still has its error (0: none)."""
    keep = f"rowid // 5 % {share_of_errors_left} = 0" if share_of_errors_left else "false"
    return open_corpus(
        changed(
            make_corpus(folder),
            f"UPDATE steps SET is_error = is_error AND ({keep})",
            f"DELETE FROM traces WHERE CAST(trace_id[2:] AS INTEGER) >= {traces}",
            "UPDATE corpus_info SET fingerprint = 'other'",
        )
    )


def finding(code: str = ERRORS, k: int = 10, n: int = 40, **columns: object) -> Finding:
    base = replace(
        make_report().findings[0], predicate=Predicate(code), prevalence=Prevalence(k, n, 0, 0.14, 0.4, "Wilson")
    )
    return replace(base, **columns)  # type: ignore[arg-type]


def test_on_its_own_corpus_the_same_count_is_same(own: Corpus) -> None:
    m = verify(make_report(), own)[0]
    assert (m.status, m.now.k, m.now.n) == ("same", 10, 40)  # type: ignore[union-attr]
    assert m.contrast is not None and (m.contrast.with_.n, m.contrast.without.n) == (9, 27)


def test_on_its_own_corpus_another_count_is_a_predicate_that_cannot_be_trusted(own: Corpus) -> None:
    m = measure(finding(k=9), own, own=True)
    assert m.status == "moved" and "not deterministic" in m.why


def test_elsewhere_a_difference_within_chance_is_same(tmp_path: Path) -> None:
    other = mended(tmp_path / "x.corpus", 8)
    m = measure(finding(), other)
    assert (m.status, m.now.k) == ("same", 5) and m.difference.low < 0 < m.difference.high  # type: ignore[union-attr]
    assert decide(m) == "back"


def test_elsewhere_none_left_is_gone(tmp_path: Path) -> None:
    m = measure(finding(), mended(tmp_path / "x.corpus", 0))
    assert m.status == "gone" and decide(m) == "passed"
    assert m.now.high < 0.08 and m.now.method == "rule of three"  # type: ignore[union-attr]


def test_none_seen_in_too_few_traces_is_not_called_gone(tmp_path: Path) -> None:
    m = measure(finding(), mended(tmp_path / "x.corpus", 0, traces=6))
    assert m.status == "unclear" and "too few" in m.why and decide(m) == "inconclusive"


def test_more_or_less_than_chance_is_moved(own: Corpus) -> None:
    less, more = measure(finding(k=30), own), measure(finding(k=1), own)
    assert (less.status, less.why, decide(less)) == ("moved", "less often", "passed")
    assert (more.status, more.why, decide(more)) == ("moved", "more often", "back")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"predicate": Predicate("SELECT nope FROM nowhere")}, "does not run"),
        ({"predicate": Predicate("DELETE FROM traces")}, "not one SELECT"),
        ({"population": "SELECT trace_id FROM traces WHERE false"}, "no trace of this corpus is eligible"),
        (
            {"predicate": Predicate("SELECT trace_id FROM labels WHERE name = 'rude'")},
            "labels that this corpus does not have",
        ),
        ({"prevalence": Prevalence(3, 9, 0, 0, 1, "stratified gold (10 + 10)")}, "a model judged this property"),
    ],
)
def test_what_cannot_be_counted_is_unclear_and_says_why(own: Corpus, columns: dict, says: str) -> None:
    m = measure(finding(**columns), own)
    assert m.status == "unclear" and says in m.why and decide(m) == "inconclusive"


def test_a_finding_about_verdicts_is_not_gone_where_there_are_none(tmp_path: Path) -> None:
    """A gate that passes because nobody graded the release would be worse than none."""
    about = finding("SELECT trace_id FROM traces WHERE NOT success")
    graded = open_corpus(changed(make_corpus(tmp_path / "graded.corpus"), "UPDATE traces SET success = true"))
    assert measure(about, graded).status == "gone"
    folder = changed(make_corpus(tmp_path / "ungraded.corpus"), "UPDATE traces SET success = NULL")
    m = measure(about, open_corpus(folder))
    assert m.status == "unclear" and "no trace of this corpus has one" in m.why and decide(m) == "inconclusive"


def test_refuted_findings_are_not_watched_unless_named(own: Corpus) -> None:
    report = make_report()
    report = replace(report, findings=(finding(id="F1", verdict="refuted"), report.findings[1]))
    assert [m.finding_id for m in verify(report, own)] == ["F2"]
    assert [m.finding_id for m in verify(report, own, ["F1"])] == ["F1"]


def test_the_gate_is_as_bad_as_its_worst_finding(own: Corpus, tmp_path: Path) -> None:
    gone = measure(finding(), mended(tmp_path / "x.corpus", 0))
    back, unclear = measure(finding(), own), measure(finding(population="SELECT trace_id FROM traces WHERE false"), own)
    assert gate([gone]).decision == "passed"
    assert gate([gone, unclear]).decision == "inconclusive"
    assert gate([gone, unclear, back]).decision == "back"
    assert gate([]).decision == "inconclusive"


def test_corpora_are_compared_within_tasks(own: Corpus, tmp_path: Path) -> None:
    other = open_corpus(
        changed(
            make_corpus(tmp_path / "x.corpus"),
            "UPDATE traces SET success = true WHERE success IS NOT NULL AND trial = 0",
            "UPDATE traces SET n_steps = n_steps + 3, n_tool_errors = 0",
        )
    )
    rows = {(r.family, r.name): r for r in compare_corpora(own, other)}
    fails = rows["outcome", "fails"]
    assert fails.adjusted and (fails.k_a, fails.k_b) == (16, 6) and fails.difference.value == pytest.approx(-0.25)
    assert rows["outcome", "a tool answers with an error"].k_b == 0
    steps = rows["median", "steps"]
    assert (steps.a, steps.b, steps.difference.value) == (5.0, 8.0, 1.0) and steps.q is not None and steps.q < 0.01
    assert rows["tool", "issue_refund"].difference.value == 0


def test_a_corpus_does_not_differ_from_itself(own: Corpus) -> None:
    assert all(r.difference.value == 0 and (r.p is None or r.p > 0.9) for r in compare_corpora(own, own))


def test_corpora_without_common_tasks_are_not_adjusted(own: Corpus, tmp_path: Path) -> None:
    other = open_corpus(changed(make_corpus(tmp_path / "x.corpus"), "UPDATE traces SET task_id = 'other-' || task_id"))
    assert not any(r.adjusted for r in compare_corpora(own, other))


def test_runs_are_compared_on_both_corpora(own: Corpus, tmp_path: Path) -> None:
    other = mended(tmp_path / "x.corpus", 0)
    same_traces = "SELECT trace_id FROM traces WHERE n_tool_errors > 0"
    a = replace(make_report(), findings=(finding(id="F1"), finding("SELECT 't1' AS trace_id", id="F2")))
    b = replace(make_report(), findings=(finding(id="F7"), finding(same_traces, id="F8")))
    rows = {r.predicate: r for r in compare_runs(a, own, b, other)}
    assert rows[ERRORS].found_in == ("A", "B")
    assert (rows[ERRORS].a.k, rows[ERRORS].b.k) == (10, 0)  # type: ignore[union-attr]
    assert rows["SELECT 't1' AS trace_id"].found_in == ("A",)
    assert set(rows) == {ERRORS, "SELECT 't1' AS trace_id", same_traces}


def test_predicates_that_match_the_same_traces_are_one_finding(own: Corpus) -> None:
    b = replace(make_report(), findings=(finding("SELECT trace_id FROM traces WHERE n_tool_errors > 0"),))
    a = replace(make_report(), findings=(finding(),))
    (row,) = compare_runs(a, own, b, own)
    assert row.found_in == ("A", "B") and row.difference.value == 0  # type: ignore[union-attr]


def test_a_regression_set_starts_before_the_fault(own: Corpus, tmp_path: Path) -> None:
    report = make_report(str(own.path))
    counts = regress(report, own, tmp_path / "set", per_finding=4)
    assert counts == {"F1": 4}
    cases = [json.loads(line) for line in (tmp_path / "set" / "F1.jsonl").read_text().splitlines()]
    assert len({c["task_id"] for c in cases}) == 4
    first = cases[0]
    assert first["trials_failed"] >= cases[-1]["trials_failed"] and first["trials"] == 4
    assert (first["fault_seq"], first["fault_quote"]) == (2, "Error: service unavailable")
    assert [m["role"] for m in first["messages_before"]] == ["user", "assistant"]
    assert first["messages_before"][1]["tool_calls"] == [{"name": "issue_refund", "arguments": '{"order": 7}'}]
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert [f["id"] for f in manifest["findings"]] == ["F1"] and manifest["findings"][0]["cases"] == 4
