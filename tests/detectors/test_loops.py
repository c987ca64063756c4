from __future__ import annotations

import pytest

from primitives.detectors import UnknownThreshold

READ = ("call", "get_order", {"id": 1})
SAME = ("ok", "order 1: pending")


def test_retry_loop_fires_at_the_fourth_equal_pair(watch):
    run = [("user", "where is it?"), *[READ, SAME] * 3]
    assert not [s for s in watch(*run) if s.detector == "retry_loop"]
    (signal,) = [s for s in watch(*run, READ, SAME) if s.detector == "retry_loop"]
    assert (signal.n, signal.start_seq, signal.seq) == (4, 2, 8)


def test_retry_loop_starts_anew_after_a_message_of_the_user(fired):
    assert "retry_loop" not in fired(*[READ, SAME] * 2, ("user", "look again"), *[READ, SAME] * 2)


def test_retry_loop_needs_the_same_result(fired):
    run = [line for i in range(6) for line in (READ, ("ok", f"tick {i}"))]
    assert "retry_loop" not in fired(*run)


def test_retry_loop_doubles_instead_of_flooding(watch):
    signals = watch(*[READ, SAME] * 64)
    assert [s.n for s in signals if s.detector == "retry_loop"] == [4, 8, 16, 32, 64]


def test_alternating_cycle_over_six_calls(watch):
    pair = [READ, SAME, ("call", "get_user", {"id": 2}), ("ok", "user 2")]
    assert not [s for s in watch(*pair * 2) if s.detector == "alternating_cycle"]
    (signal,) = [s for s in watch(*pair * 3) if s.detector == "alternating_cycle"]
    assert signal.n == 3 and signal.start_seq == 1 and "2 calls" in signal.detail


@pytest.mark.parametrize("period", [4, 8, 11])
def test_a_long_cycle_is_seen_at_its_third_round(watch, period):
    around = [line for i in range(period) for line in (("call", "get_order", {"id": i}), ("ok", f"order {i}: pending"))]
    assert not [s for s in watch(*around * 2) if s.detector == "alternating_cycle"]
    (signal,) = [s for s in watch(*around * 3) if s.detector == "alternating_cycle"]
    assert (signal.n, signal.start_seq) == (3, 1) and f"{period} calls" in signal.detail


def test_a_short_cycle_is_not_told_again_as_a_long_one(watch):
    pair = [READ, SAME, ("call", "get_user", {"id": 2}), ("ok", "user 2")]
    told = [s.detail for s in watch(*pair * 40) if s.detector == "alternating_cycle"]
    assert told and all("a cycle of 2 calls" in detail for detail in told)


def test_a_retry_loop_is_no_cycle(fired):
    assert "alternating_cycle" not in fired(*[READ, SAME] * 20)


def test_error_loop_takes_three_failures_in_a_row(fired):
    wrong = [("call", "pay", {"sum": 3}), ("fails", "Error: no such card")]
    assert "error_loop" not in fired(*wrong * 2)
    assert "error_loop" in fired(*wrong * 3)
    assert "error_loop" not in fired(*wrong * 2, READ, SAME, *wrong)


def test_repeated_read_forgets_at_a_write(fired):
    reads = [READ, SAME] * 2
    assert "repeated_read" in fired(*reads, READ, SAME)
    assert "repeated_read" not in fired(*reads, ("call", "update_order", {"id": 1}), ("ok", "done"), READ, SAME)


def test_repeated_call_counts_over_the_whole_run(watch):
    other = [("call", "get_user", {"id": 2}), ("ok", "user 2")]
    signals = watch(READ, SAME, *other, ("user", "and?"), READ, SAME, ("user", "and?"), READ, SAME)
    assert [(s.n, s.start_seq) for s in signals if s.detector == "repeated_call"] == [(3, 0)]


def test_thresholds_change_and_detectors_switch_off(fired):
    run = [READ, SAME, READ, SAME]
    assert "retry_loop" in fired(*run, thresholds={"retry_loop": {"times": 2}})
    assert "repeated_call" not in fired(*run * 3, thresholds={"repeated_call": {"enabled": False}})


def test_unknown_thresholds_are_refused(fired):
    with pytest.raises(UnknownThreshold, match="no detector 'retry_lop'"):
        fired(READ, thresholds={"retry_lop": {"times": 2}})
    with pytest.raises(UnknownThreshold, match="no threshold 'time'"):
        fired(READ, thresholds={"retry_loop": {"time": 2}})
