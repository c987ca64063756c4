"""A trace under construction: pairing, counting, what follows from its steps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from insights.corpus.batch import Builder
from insights.corpus.trace import Trace


def _finished(trace: Trace) -> Trace:
    trace.finish("source")
    return trace


def test_results_find_their_calls_by_id_name_or_age():
    t = Trace("test", "1")
    s = t.step("assistant", "")
    for name, own in (("a", "x"), ("b", "y"), ("a", None), ("c", None)):
        t.call(s, name, {}, id=own)
    t.result("of y", id="y")
    t.result("of x", id="x")
    t.result("of c", name="c")
    t.result("of the oldest")
    assert [c.result_text for c in t.calls] == ["of x", "of y", "of the oldest", "of c"]
    assert [t.steps[c.result_seq].tool_call_key for c in t.calls] == [c.tool_call_key for c in t.calls]


def test_repeated_ids_pair_in_order_and_get_keys_of_their_own():
    t = Trace("test", "1")
    for i in range(3):
        t.call(t.step("assistant", ""), "a", {"i": i}, id="same")
        t.result(f"result {i}", id="same")
    assert [c.result_text for c in t.calls] == ["result 0", "result 1", "result 2"]
    assert [c.tool_call_key for c in t.calls] == ["same", "2.0", "4.0"]


def test_a_result_without_a_call_is_kept_and_told():
    t = Trace("test", "1")
    t.call(t.step("assistant", ""), "a", {}, id="x")
    t.result("stray", id="z")
    assert t.steps[-1].text == "stray" and t.calls[0].result_seq is None
    assert [i.code for i in t.issues] == ["orphan_result"]
    assert _finished(t).calls[0].status == "pending"


@pytest.mark.parametrize(
    ("text", "told", "status", "basis"),
    [
        ("fine", {}, "ok", None),
        ("Error: no such user", {}, "error", "text"),
        ("Error: no such user", {"status": "ok"}, "ok", None),
        ("fine", {"exit_code": 2}, "error", "exit_code"),
        ("ValueError: x", {"exit_code": 0}, "ok", None),
        ("an error: in the middle of a line", {}, "ok", None),
        ("FEHLER 503: Lagerdienst überlastet", {}, "error", "text"),
        ("エラー：在庫がありません", {}, "error", "text"),
        ("Fehlerfreie Artikel: 3", {}, "ok", None),
    ],
)
def test_the_status_of_a_result(text, told, status, basis):
    t = Trace("test", "1")
    t.call(t.step("assistant", ""), "a", {})
    t.result(text, **told)
    assert (t.calls[0].status, t.calls[0].error_basis) == (status, basis)


@pytest.mark.parametrize(
    ("written", "args", "wrong"),
    [
        ('{"a": 1}', {"a": 1}, False),
        ('"{\\"a\\": 1}"', {"a": 1}, False),
        ("", {}, False),
        ("{a: 1}", None, True),
        ({"a": 1}, {"a": 1}, False),
        (None, {}, False),
    ],
)
def test_arguments_however_written(written, args, wrong):
    t = Trace("test", "1")
    t.call(t.step("assistant", ""), "a", written)
    assert t.calls[0].args == args and bool(t.calls[0].args_error) == wrong


def test_what_follows_from_the_steps():
    t = Trace("test", "1")
    t.step("system", "be good", ts=datetime(2026, 1, 1, tzinfo=UTC))
    t.step("user", "reminder", origin="harness")
    t.step("user", "the question")
    s = t.step("assistant", "let me see")
    t.call(s, "a", {})
    t.result("Error: no")
    t.step("assistant", "the answer", ts=datetime(2026, 1, 1, 0, 1, tzinfo=UTC))
    t.llm(input_tokens=10, output_tokens=2, model="m1", cost_usd=0.5)
    t.llm(input_tokens=20, output_tokens="many", model="m2")
    t = _finished(t)
    assert (t.n_steps, t.n_tool_calls, t.n_tool_errors, t.n_user_turns, t.n_llm_calls) == (6, 1, 1, 1, 2)
    assert (t.input_text, t.final_output, t.duration_s) == ("the question", "the answer", 60.0)
    assert (t.input_tokens, t.output_tokens, t.cost_usd, t.model, t.models) == (30, 2, 0.5, "m1", ["m1", "m2"])
    assert [i.code for i in t.issues] == ["bad_number"]
    assert t.success is None and t.end_reason == "unknown"


def test_the_fingerprint_tells_runs_apart_and_finds_copies():
    def made(name: str, text: str, args: str = "{}") -> str:
        t = Trace("test", name)
        t.call(t.step("assistant", text), "a", args)
        return str(_finished(t).fingerprint)

    assert made("1", "x") == made("2", "x")
    assert len({made("1", "x"), made("1", "y"), made("1", "x", '{"a": 1}')}) == 3


def test_unknown_columns_are_refused():
    t = Trace("test", "1")
    with pytest.raises(TypeError, match="colour"):
        t.step("user", "x", colour="red")
    with pytest.raises(TypeError, match="colour"):
        t.call(t.step("assistant", ""), "a", {}, colour="red")


def test_values_that_no_column_holds_become_storable():
    t = Trace("test", "1", trial="two", score="0.5", duration_s=True, metadata={"a": float("nan"), "b": b"x"})
    t.step("user", "lone \ud800 surrogate and \x00", agent=["a", 1])
    builder = Builder()
    assert list(builder.read([t], "source")) == []
    tables = builder.take().tables
    traces, steps = tables["traces"].to_pylist()[0], tables["steps"].to_pylist()[0]
    assert traces["trial"] is None and traces["score"] == 0.5
    assert steps["text"] == "lone \ufffd surrogate and \ufffd" and steps["agent"] == '["a",1]'
