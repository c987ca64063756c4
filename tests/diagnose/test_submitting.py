"""What agents that think hand in: single runs explained, findings refused or counted, and the table of failures made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from insights.diagnose import reason
from insights.errors import GatewayRefused
from insights.models import Request
from tests.diagnose.conftest import GIVES_UP, Asked
from tests.diagnose.script import PREDICATE, careful, cell, turn


def leads(*cells: str) -> Callable[[Request], Any]:
    """A model whose orchestrator runs these cells and finishes; its judge reads nothing."""

    def answer(request: Request) -> Any:
        if request.role != "orchestrator":
            return careful(request) if request.role == "synthesizer" else "no JSON"
        at = turn(request)
        return cell(cells[at] if at < len(cells) else 'finish("done")')

    return answer


SUBMIT = f"""done = submit_finding(None, title="It says the form is too long", claim="It stops", mechanism="m",
    kind="prevalence", predicate="{PREDICATE}")
print(done)"""


def told(run: Asked) -> list[str]:
    """What the orchestrator's cells gave, in order."""
    last = [r for r in run.requests if r.role == "orchestrator"][-1]
    return [m.text for m in last.messages if m.role == "tool"]


def test_ending_in_the_cell_of_a_submission_is_refused(asked: Callable[..., Asked]) -> None:
    run = asked(leads(SUBMIT + '\nfinish("blind")'))
    assert "you have not seen what the host found" in told(run)[0]
    assert "It says the form is too long" in run.titles
    assert not any("limit" in line for line in run.board.failures)


def test_each_failure_is_counted_under_the_cause_its_reader_named(asked: Callable[..., Asked]) -> None:
    runs = (
        '[{"trace_id": t, "cause": "it finds the form too long", "who": "agent", "seq": 3, "quote": "the form is  too long", "instead": "go on"} '
        'for t in ("run0",)] + [{"trace_id": "run6", "cause": "the page is missing", "who": "environment", "seq": 2, "quote": "page 1 of 9"}, '
        '{"trace_id": "run1", "cause": "x", "who": "agent", "seq": 3, "quote": "x"}, '
        '{"trace_id": "run9", "cause": "x", "who": "agent", "seq": 3, "quote": "words nobody said"}]'
    )
    narrow = PREDICATE + " AND trace_id IN ('run0', 'run3')"
    submit = SUBMIT.replace(PREDICATE, narrow)
    run = asked(leads(submit, f"print(explain({runs}))", """print(explain([{"trace_id": "run0", "finding": done["id"]},
    {"trace_id": "run3", "finding": done["id"]}, {"trace_id": "run6", "finding": done["id"]}]))"""))  # fmt: skip
    first, second = told(run)[1:3]
    assert "'kept': 2" in first and "'unread': 2" in first
    assert "'run1': 'no failed trace" in first and "'run9': 'the quotation does not stand" in first
    assert "its predicate does not hold in this run" in second
    rows = {f.trace_id: f for f in run.report.failures}
    assert set(rows) == {"run0", "run3", "run6", "run9"}
    assert rows["run0"].quote == GIVES_UP[len("I will stop here, ") : -1] and rows["run0"].instead == "go on"
    assert (rows["run3"].finding_id, rows["run3"].actor, rows["run3"].cause) == ("F1", "agent", "")
    assert rows["run0"].finding_id == "F1" and rows["run6"].finding_id is None and rows["run9"].cause == ""
    causes = {(c.finding_id, c.actor): c.n for c in run.report.partition}
    assert causes[None, "environment"] == 1 and sum(causes.values()) == 4


@pytest.mark.parametrize(
    "predicate, kind, tier",
    [
        ("SELECT trace_id, seq FROM deviations WHERE kind = 'missing action'", "prevalence", "2"),
        ("SELECT d.trace_id FROM deviations d JOIN traces USING (trace_id)", "contrast", "2"),
        ("SELECT d.trace_id FROM deviations d JOIN steps s USING (trace_id) WHERE s.text LIKE '%no%'", "prevalence", "1"),
        ("SELECT trace_id FROM deviations", "label_defect", "1"),
    ],
)
def test_a_departure_from_the_reference_is_a_symptom(predicate: str, kind: str, tier: str) -> None:
    p = {"statement": "s", "predicate": predicate, "kind": kind, "about": {"actor": "simulated user", "outcome": "score"}}
    about = reason.proposed(p)["about"]
    assert about["taxonomy"] == {"actor": "simulated_user", "tier": tier} and "outcome" not in about


def test_only_a_claim_about_the_verdict_may_use_it() -> None:
    words = {"title": "t", "claim": "c", "mechanism": "m", "predicate": "SELECT trace_id FROM traces WHERE NOT success"}
    with pytest.raises(GatewayRefused, match="label_defect"):
        reason.check_words({**words, "kind": "prevalence"})
    reason.check_words({**words, "kind": "label_defect"})
    nothing_fails = {"prevalence": {"k": 3, "n": 9}, "failed_with_it": 0, "contrast": {"with": [3, 3]}}
    with pytest.raises(GatewayRefused, match="none of its traces fails"):
        reason.check_measured(nothing_fails, True, "prevalence")
    reason.check_measured(nothing_fails, True, "label_defect")
