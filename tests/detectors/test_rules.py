from __future__ import annotations

import pytest

from primitives.detectors import Scan, Signal
from primitives.detectors.rules import RuleNotUnderstood, load_rules
from tests.detectors.conftest import events

LOOK = [("call", "get_order", {"id": 1}), ("ok", "order 1: pending")]
REFUND = [("call", "refund_order", {"id": 1}), ("ok", "{}")]
FAIL = [("call", "refund_order", {"id": 9}), ("fails", "Error: no such order")]
EDIT = [("call", "edit", {"path": "a.py"}), ("ok", "edited")]
PYTEST = [("call", "bash", {"command": "pytest -q"}), ("ok", "1 passed")]


def run_rule(body: str, *lines) -> list[Signal]:
    rules = load_rules("rules:\n  mine:\n" + "".join(f"    {row}\n" for row in body.strip().split("\n")))
    scan = Scan(rules=rules)
    whole = lines if lines[-1][0] == "end" else (*lines, ("end",))
    return [signal for event in events(*whole) for signal in scan.step(event)]


def test_absent_before():
    body = "absent: get_order\nbefore: refund_*\nseverity: high"
    (signal,) = run_rule(body, *REFUND, *LOOK, *REFUND)
    assert (signal.detector, signal.severity, signal.seq) == ("mine", "high", 0)
    assert not run_rule(body, *LOOK, *REFUND)


def test_absent_after_until():
    body = 'absent: "@test"\nafter: "@edit"\nuntil: "@answer match(fixed)"'
    (signal,) = run_rule(body, *EDIT, ("says", "I have fixed it"))
    assert (signal.start_seq, signal.seq) == (0, 2)
    assert not run_rule(body, *EDIT, *PYTEST, ("says", "I have fixed it"))
    assert not run_rule(body, *EDIT, ("says", "Looking on"))


def test_seq_with_not_between():
    body = 'seq: ["@edit", "not @test", "@answer"]'
    (signal,) = run_rule(body, *EDIT, ("says", "There you are"))
    assert (signal.start_seq, signal.seq, signal.n) == (0, 2, 2)
    assert not run_rule(body, *EDIT, *PYTEST, ("says", "There you are"))
    assert run_rule(body, *EDIT, *PYTEST, *EDIT, ("says", "There you are"))


def test_seq_within_and_same_arguments():
    body = 'seq: ["refund_order result(error)", "refund_order"]\nsame: args\nwithin: 3'
    other = ("call", "refund_order", {"id": 2})
    assert not run_rule(body, *FAIL, other, ("ok", "{}"))
    assert run_rule(body, *FAIL, FAIL[0], ("ok", "{}"))
    assert not run_rule(body, *FAIL, *LOOK, *LOOK, FAIL[0], ("ok", "{}"))


def test_repeat_same_arguments_within():
    body = "repeat: get_*\ntimes: 3\nsame: args\nwithin: 6"
    (signal,) = run_rule(body, *LOOK * 3)
    assert (signal.start_seq, signal.n) == (0, 3)
    other = [("call", "get_order", {"id": 2}), ("ok", "order 2")]
    assert not run_rule(body, *LOOK, *other, *LOOK)
    assert not run_rule(body, *LOOK, *LOOK, *other, *other, *LOOK)


@pytest.mark.parametrize("same, fires", [("name", True), ("args", False), ("prefix", True)])
def test_keys_of_same(same, fires):
    long = "x" * 60
    calls = [("call", "search", {"q": long + str(i)}) for i in range(2)]
    assert bool(run_rule(f"repeat: search\nsame: {same}", calls[0], ("ok", "1"), calls[1], ("ok", "2"))) is fires


def test_cycle():
    body = "cycle: [get_*, refund_*]\nrounds: 2"
    assert run_rule(body, *LOOK, *REFUND, *LOOK, *REFUND)
    assert not run_rule(body, *LOOK, *LOOK, *REFUND, *LOOK)


def test_count_since_the_user_spoke():
    body = 'count: "@mutating"\nsince: "@user"\nat_least: 2'
    assert not run_rule(body, *REFUND, ("user", "and the other"), *REFUND)
    (signal,) = run_rule(body, ("user", "both"), *REFUND, *REFUND)
    assert (signal.n, signal.start_seq, signal.seq) == (2, 1, 3)


def test_count_at_most_is_judged_at_the_end():
    body = 'count: "@answer match(\\\\?$)"\nat_most: 0'
    assert run_rule(body, ("says", "Done."), ("user", "thanks"))
    assert not run_rule(body, ("says", "Which one?"), ("user", "this"))


def test_ratio():
    body = 'ratio: "@result result(error)"\nof: "@result"\nabove: 0.5\nat_least: 3'
    assert run_rule(body, *FAIL, *FAIL, *LOOK)
    assert not run_rule(body, *FAIL, *LOOK, *LOOK)
    assert not run_rule(body, *FAIL, *FAIL)


@pytest.mark.parametrize(
    "term, fires",
    [
        ("get_order|find_order", True),
        ("GET_ORDER", True),
        ("find_order", False),
        ("get_order args(.id.: 1)", True),
        ("get_order args(.id.: 2)", False),
        ("get_order result(ok)", True),
        ("get_order result(empty)", False),
        ("result(match pend(ing|ed))", True),
        ("@user match(where)", True),
        ("@says", False),
    ],
)
def test_terms(term, fires):
    assert bool(run_rule(f"count: '{term}'\nat_least: 1", ("user", "Where is it?"), *LOOK)) is fires


@pytest.mark.parametrize(
    "body, message",
    [
        ("absent: a\ncount: b\nat_least: 1", "rule mine: has absent and count"),
        ("line: nothing", "has no operator"),
        ("repeat: a\nrounds: 3", "rounds does not go with repeat"),
        ("count: a", "count needs at_least or at_most"),
        ("count: a\nat_lest: 3", "at_lest: Extra inputs"),
        ("count: '@mutate'\nat_least: 1", "@mutate is none of @mutating"),
        ("count: 'a args(['\nat_least: 1", "a parenthesis is not closed"),
        ("count: 'a args([)'\nat_least: 1", "unterminated character set"),
        ("count: 'a result(bad)'\nat_least: 1", "result(bad) is none of"),
        ("count: '@user result(ok)'\nat_least: 1", "goes with a tool"),
        ("repeat: a\nseverity: huge", "severity: Input should be"),
    ],
)
def test_rules_that_cannot_be_read_say_why(body, message):
    with pytest.raises(RuleNotUnderstood) as caught:
        run_rule(body, *LOOK)
    assert message in str(caught.value)


def test_a_file_of_rules(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("rules:\n  a: {count: get_order, at_least: 1}\n  b: {absent: get_order, before: pay}\n")
    assert [rule.name for rule in load_rules(file)] == ["a", "b"]
    with pytest.raises(RuleNotUnderstood, match="cannot be read"):
        load_rules(tmp_path / "none.yaml")
    file.write_text("- a\n")
    with pytest.raises(RuleNotUnderstood, match="expected `rules:`"):
        load_rules(file)
