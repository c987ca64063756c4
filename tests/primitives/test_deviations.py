"""deviations: every kind, on runs whose departure from the reference is known."""

from __future__ import annotations

import pytest

from primitives.mutating import is_mutating, mutating_tools
from tests.primitives import small

WANT = [("book_flight", {"id": "F1", "bags": 2, "seats": [{"row": 1, "side": "a"}]}), ("send_note", {"to": "ann"})]
RIGHT = [
    ("get_user", {"id": "u"}),
    ("book_flight", {"bags": 2.0, "id": "F1", "seats": [{"side": "a", "row": 1}], "promo": None}),
    ("send_note", {"to": "ann"}),
]


def runs(**by_trace):
    """Corpus rows: each keyword is a trace with its calls (name, args[, status]) and whether it passed."""
    rows: dict[str, list[dict]] = {"traces": [], "tool_calls": [], "steps": [], "expected": []}
    for trace_id, (calls, success) in by_trace.items():
        rows["traces"].append({"trace_id": trace_id, "dataset": "d", "task_id": "1", "success": success})
        for seq, (name, args, *status) in enumerate(calls):
            rows["tool_calls"].append(
                {"trace_id": trace_id, "tool_call_key": str(seq), "call_seq": seq, "name": name, "args": args,
                 "status": status[0] if status else "ok"}
            )  # fmt: skip
        for idx, (name, args) in enumerate([("get_user", {"id": "u"}), *WANT]):
            rows["expected"].append({"trace_id": trace_id, "idx": idx, "kind": "action", "name": name, "args": args})
    return rows


@pytest.fixture
def corpus(tmp_path):
    book, note = RIGHT[1], RIGHT[2]
    rows = runs(
        right=(RIGHT, True),
        silent=([], False),
        wrong=([("book_flight", {"id": "F1", "bags": 3, "seats": [{"row": 1, "side": "a"}]}), note], False),
        extra=([book, note, ("cancel_flight", {"id": "F1"})], False),
        twice=([book, book, note], False),
        instead=([book, ("cancel_flight", {"id": "F9"})], False),
        swapped=([note, book], True),
        tried=([book, ("send_note", {"to": "ann"}, "error")], False),
        spoke=(RIGHT, False),
    )
    rows["traces"] += [
        {"trace_id": "idle", "dataset": "d", "task_id": "2", "success": True},
        {"trace_id": "meddled", "dataset": "d", "task_id": "2", "success": False},
        {"trace_id": "elsewhere", "dataset": "other", "task_id": "1", "success": False},
    ]
    for trace_id in ("meddled", "elsewhere"):
        rows["tool_calls"].append({"trace_id": trace_id, "call_seq": 0, "name": "cancel_flight", "args": {"id": "x"}})
    rows["expected"].append({"trace_id": "spoke", "idx": 9, "kind": "output", "value": "1,234"})
    rows["expected"].append({"trace_id": "right", "idx": 9, "kind": "output", "value": "1234"})
    for trace_id, text in (("spoke", "It costs 12 dollars"), ("right", "It costs $1,234 in all.")):
        rows["steps"].append({"trace_id": trace_id, "seq": 8, "role": "assistant", "text": text})
    return small.corpus(tmp_path, **rows)


def test_every_trace_with_a_reference_has_one_main_class(corpus):
    main = dict(corpus.deviations()[["trace_id", "main"]].itertuples(index=False))
    assert main == {
        "right": "none", "silent": "missing action", "wrong": "wrong argument", "extra": "unneeded action",
        "twice": "unneeded action", "instead": "wrong tool", "swapped": "out of order", "tried": "missing action",
        "spoke": "missing output", "idle": "none", "meddled": "unneeded action",
    }  # fmt: skip


def test_the_flags_count_each_deviation(corpus):
    frame = corpus.deviations().set_index("trace_id")
    assert frame.loc["silent", "missing_action"] == 2
    assert frame.loc["instead", ["missing_action", "unneeded_action"]].tolist() == [1, 1]
    assert frame.loc["wrong", "detail"] == "wrong argument: book_flight.bags, expected 2, got 3"
    assert frame.loc["wrong", "seq"] == 0
    assert frame.loc["tried", "detail"].endswith('got tried and failed: {"to": "ann"}')
    assert frame["reference_does_nothing"].to_dict() == {t: t in ("idle", "meddled") for t in frame.index}
    assert not frame["reference_never_met"].any()


def test_classes_partition_the_traces_and_their_predicates_give_them_back(corpus):
    frame = corpus.deviations(by="class")
    assert frame["traces"].sum() == 11 and (frame["passed"] + frame["failed"] + frame["unscored"]).sum() == 11
    assert frame["main"].is_unique
    for row in frame.itertuples():
        found = {r[0] for r in corpus.con.execute(row.predicate).fetchall()}
        by_trace = corpus.deviations()
        assert found == set(by_trace[by_trace["main"] == row.main]["trace_id"])


def test_items_name_the_tool_and_the_argument(corpus):
    frame = corpus.deviations("NOT success", by="item")
    bags = frame[frame["argument"] == "bags"].iloc[0]
    assert (bags["kind"], bags["name"], bags["expected"], bags["actual"]) == ("wrong argument", "book_flight", "2", "3")
    assert (bags["traces"], bags["failed"], bags["sole"]) == (1, 1, 1)
    for row in frame.itertuples():
        found = {r[0] for r in corpus.con.execute(f"SELECT trace_id FROM ({row.predicate})").fetchall()}
        failed = {r[0] for r in corpus.con.execute("SELECT trace_id FROM traces WHERE NOT success").fetchall()}
        assert len(found & failed) == row.failed, row.kind


def test_a_reference_that_no_run_meets_is_suspect(tmp_path):
    wrong = [("book_flight", {"id": "F2", "bags": 2, "seats": [{"row": 1, "side": "a"}]}), RIGHT[2]]
    frame = small.corpus(tmp_path, **runs(a=(wrong, False), b=(wrong, False), c=([], False))).deviations(by="task")
    assert frame["reference_never_met"].tolist() == [True]
    assert (frame.loc[0, "runs"], frame.loc[0, "met"], frame.loc[0, "failed"]) == (3, 0, 3)


def test_tests_answers_and_assertions_go_by_the_sources_verdict(tmp_path):
    traces = [
        {"trace_id": t, "success": t == "ok", "final_output": "The answer is 42." if t == "ok" else "It is 421"}
        for t in ("ok", "broke", "still", "said")
    ]
    expected = [
        {"trace_id": t, "idx": 0, "kind": "test", "name": "test_new", "grp": "FAIL_TO_PASS", "met": t != "still"} for t in
        ("ok", "broke", "still")
    ]  # fmt: skip
    expected += [
        {"trace_id": t, "idx": 1, "kind": "test", "name": "test_old", "grp": "PASS_TO_PASS", "met": t != "broke"}
        for t in ("ok", "broke")
    ]
    expected += [{"trace_id": t, "idx": 2, "kind": "answer", "value": "42"} for t in ("ok", "said")]
    expected += [{"trace_id": "said", "idx": 3, "kind": "assertion", "value": "is polite", "met": False}]
    frame = small.corpus(tmp_path, traces=traces, expected=expected).deviations().set_index("trace_id")
    assert frame["main"].to_dict() == {
        "ok": "none", "broke": "test broken", "still": "test still fails", "said": "wrong answer",
    }  # fmt: skip
    assert frame.loc["said", "assertion_not_met"] == 1
    assert not frame["reference_does_nothing"].any()


def test_without_a_reference_there_is_nothing_to_say(tmp_path):
    corpus = small.corpus(tmp_path, traces=[{"trace_id": "a", "success": False}])
    for view in ("trace", "class", "item", "task"):
        assert corpus.deviations(by=view).empty
    with pytest.raises(ValueError, match="by is one of trace, class, item, task"):
        corpus.deviations(by="colour")


@pytest.mark.parametrize(
    ("name", "mutating"),
    [
        ("get_order", False), ("list_users", False), ("searchFlights", False), ("think", False), ("calculate", False),
        ("transfer_to_human_agents", False), ("check_status", False), ("update_order", True), ("sendEmail", True),
        ("book_reservation", True), ("toggle_roaming", True), ("user_delete_all", True), ("bash", False), ("", False),
    ],
)  # fmt: skip
def test_tools_that_write_are_told_by_name(name, mutating):
    assert is_mutating(name) is mutating


def test_the_reference_decides_where_the_name_does_not(tmp_path):
    expected = [
        {"trace_id": "a", "idx": 0, "kind": "action", "name": "frobnicate", "args": {}},
        {
            "trace_id": "a",
            "idx": 1,
            "kind": "action",
            "name": "update_view",
            "args": {},
            "extra": {"tool_type": "read"},
        },
    ]
    calls = [{"trace_id": "a", "name": "update_cart"}, {"trace_id": "a", "name": "get_cart", "tool_call_key": "2"}]
    corpus = small.corpus(tmp_path, traces=[{"trace_id": "a"}], expected=expected, tool_calls=calls)
    assert mutating_tools(corpus) == ["frobnicate", "update_cart"]
    assert mutating_tools(corpus, {"update_cart": False, "get_cart": True}) == ["frobnicate", "get_cart"]
    assert corpus.deviations(mutating={"frobnicate": False})["main"].tolist() == ["unneeded action"]
