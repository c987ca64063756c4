"""The five lines of an answer that is worded without a model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from insights.diagnose.answer import MOST_LINES, lines
from insights.diagnose.question import understand
from insights.records import Cause, Contrast, Count, Finding, Predicate, Prevalence, Verdict


def finding(id: str, verdict: Verdict = "confirmed", fix: str = "", **changed: Any) -> Finding:
    kind = changed.pop("kind", "prevalence")
    c = Contrast("success", Count(0, 9), Count(30, 31), -0.9, -1.0, -0.5, None, 0.001, 0.01, "CMH", 5, True)
    return Finding(
        id, f"title of {id}", "", "", kind, verdict, "high", 1.0, changed.pop("taxonomy", {"actor": "agent"}), None, Predicate("SELECT 1"),
        Prevalence(9, 40, 0, 0.1, 0.3, "Wilson"), c, 9, 0, (), 0, tuple(f"t{i}" for i in range(9)), fix, "",
    )  # fmt: skip


def told(
    findings: list[Finding], causes: list[Cause], passed: int = 30, question: str = "Why do runs fail?"
) -> list[str]:
    n = sum(c.n for c in causes)
    board = SimpleNamespace(
        labelled=True, n_traces=n + passed, n_passed=passed, failed=[""] * n, conclude=lambda: (findings, [])
    )
    return lines(understand(question), cast(Any, board), findings, causes)


def test_every_failure_is_told_the_unexplained_ones_too() -> None:
    causes = [Cause(f"cause {i}", f"F{i}", "agent", 9 - i, ()) for i in range(1, 7)] + [
        Cause("unexplained", None, "unknown", 7, ())
    ]
    said = told([finding(f"F{i}", fix="Do it.") for i in range(1, 7)], causes)
    where = next(line for line in said if line.startswith("Where the 40 failures go"))
    assert "cause 4 (5) [F4]" in where and "cause 5" not in where
    assert "7 under 2 smaller causes; 7 of 40 stay unexplained." in where
    assert len(said) <= MOST_LINES


def test_the_first_change_is_that_of_a_cause_that_matters() -> None:
    causes = [
        Cause("big", "F1", "agent", 30, ()),
        Cause("small", "F2", "agent", 1, ()),
        Cause("unexplained", None, "unknown", 9, ()),
    ]
    assert not [
        line
        for line in told([finding("F1"), finding("F2", fix="Mend the small one.")], causes)
        if line.startswith("Change")
    ]
    said = told([finding("F1", fix="Mend the big one."), finding("F2")], causes)
    assert "Change first: Mend the big one; 30 failures are of this cause [F1]." in said


def test_where_nothing_passes_no_difference_is_spoken_of() -> None:
    said = told([finding("F1")], [Cause("unexplained", None, "unknown", 40, ())], passed=0)
    assert any("nothing can be held against runs that pass" in line for line in said)
    assert "No cause was found by counting alone: 40 of 40 stay unexplained." in said


def test_a_comparison_without_a_difference_says_so() -> None:
    main = finding("F9", "inconclusive", kind="contrast", taxonomy={"cause": "comparison", "main": "1"})
    said = told([main], [Cause("unexplained", None, "unknown", 40, ())], question="Did the new model get worse?")
    assert any("no difference is shown at equal tasks" in line for line in said)
