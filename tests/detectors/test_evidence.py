from __future__ import annotations

import pytest

from primitives.detectors.evidence import specifics

LOOK = [("call", "get_order", {"id": "W7712345"}), ("ok", '{"id": "W7712345", "user": "mia_li_3668", "sum": 120}')]


def test_claims_not_in_output(watch):
    (signal,) = watch(*LOOK, ("says", "Your order W7712345 has the tracking code TRK9918."))
    assert (signal.detector, signal.n) == ("claims_not_in_output", 1) and "TRK9918" in signal.detail
    assert not watch(*LOOK, ("says", "Your order W7712345 of 120 dollars belongs to mia_li_3668."))


def test_nothing_is_claimed_before_a_tool_was_called(watch):
    assert not watch(("user", "hello"), ("says", "Give me a number like TRK9918."))


@pytest.mark.parametrize(
    "text, found",
    [
        ("flight HAT136 on 2024-05-20 at $1,203.50", ["HAT136"]),
        ("see https://a.example/x?y=1 or write to a.b@c.org.", ["https://a.example/x?y=1", "a.b@c.org"]),
        ("user mia_li_3668, order #4468291", ["4468291", "mia_li_3668"]),
        ("I changed src/app/main.py and ran it", ["src/app/main.py"]),
        ('{"remaining_7359776": 3} and/or OK', []),
    ],
)
def test_specifics(text, found):
    assert specifics(text) == found


def test_empty_result_ignored(fired):
    empty = [("call", "search_flights", {"to": "Rome"}), ("ok", "[]")]
    assert "empty_result_ignored" in fired(*empty, ("says", "The flights to Rome leave every morning at nine and ten."))
    assert "empty_result_ignored" not in fired(
        *empty, ("says", "There are no flights to Rome on that day, I am afraid.")
    )
    assert "empty_result_ignored" not in fired(
        *empty, *LOOK, ("says", "The flights to Rome leave every morning at nine and ten.")
    )


CUT = ("ok", "line\n" * 200 + "\n[output truncated]")


def test_truncated_output_used(fired):
    read = ("call", "read_file", {"path": "log"})
    assert "truncated_output_used" in fired(read, CUT, ("says", "There are 200 lines in it."))
    assert "truncated_output_used" not in fired(
        read, CUT, ("call", "read_file", {"path": "log", "from": 200}), ("ok", "end"), ("says", "There are 201.")
    )
    assert "truncated_output_used" not in fired(read, ("ok", "line"), ("says", "There is one line in it."))


def test_a_result_marked_as_cut_by_the_source(fired):
    assert "truncated_output_used" in fired(
        ("call", "list_files"), ("cut", "a b c"), ("says", "There are three files.")
    )
