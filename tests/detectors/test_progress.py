from __future__ import annotations

LONG = (
    "I have looked at the order and will now look at the items of this order, one after the other, until all are seen."
)


def look(i: int, text: str | None = None) -> list[tuple]:
    return [("call", "get_item", {"id": i}), ("ok", text or f"item {i}")]


def test_no_progress(watch):
    stuck = [*look(1), *look(2), *[line for _ in range(3) for line in (*look(1), *look(2))]]
    (signal,) = [s for s in watch(*stuck) if s.detector == "no_progress"]
    assert (signal.n, signal.start_seq) == (6, 5)


def test_new_results_and_changes_are_progress(fired):
    assert "no_progress" not in fired(*[line for i in range(20) for line in look(i)])
    write = [("call", "update_item", {"id": 1}), ("ok", "{}")]
    assert "no_progress" not in fired(*[line for _ in range(8) for line in (*look(1), *write)])


def test_repeated_message(watch):
    (signal,) = [s for s in watch(*[("says", LONG), *look(1)] * 3) if s.detector == "repeated_message"]
    assert (signal.n, signal.start_seq) == (3, 0)
    short = ("says", "Now let me run the script again:")
    assert "repeated_message" not in [s.detector for s in watch(*[short, *look(1)] * 5)]


def test_empty_reply(watch):
    (signal,) = [s for s in watch(("user", "hi"), ("says", ""), ("user", "?")) if s.detector == "empty_reply"]
    assert signal.seq == 1
    assert "empty_reply" not in [s.detector for s in watch(("user", "hi"), ("says", ""), *look(1), ("says", "Hello."))]


def test_a_run_that_was_cut_off_has_not_handed_back(fired):
    cut = ("end", {"end_reason": "limit_steps"})
    assert fired(("user", "hi"), ("says", ""), cut) == ["budget_exhausted"]


def test_state_loss_after_a_compaction(fired):
    reads = [line for i in range(3) for line in look(i)]
    assert "state_loss" in fired(*reads, ("compaction", "summary"), *reads)
    assert "state_loss" not in fired(*reads, *reads)
    assert "state_loss" not in fired(*reads, ("reset",), *reads)


def test_state_loss_many_calls_later(fired):
    reads = [line for i in range(3) for line in look(i)]
    others = [line for i in range(100, 140) for line in look(i)]
    assert "state_loss" in fired(*reads, *others, *reads)
