from __future__ import annotations

import re
from pathlib import Path

import pytest

from insights.corpus.trace import Trace
from primitives.detectors import DETECTORS, Event, Scan, events_of, thresholds
from primitives.detectors.event import DETAIL_CHARS, KINDS, line, masked


@pytest.mark.parametrize(
    "text, gone",
    [
        ("key sk-abcdefgh12345678 was used", "abcdefgh"),
        ('update {"password": "1j1l-2k3j"}', "1j1l"),
        ("Authorization: Bearer abcdef123456.xyz", "abcdef123456"),
        ("export GITHUB=ghp_0123456789abcdefghij", "0123456789"),
        ("api_key=s3cr3tvalue&x=1", "s3cr3t"),
    ],
)
def test_details_hold_no_secrets(text, gone):
    assert gone not in masked(text) and "[masked: " in masked(text)


def test_details_are_short_and_otherwise_unchanged():
    assert masked("the tokens of this request: 200") == "the tokens of this request: 200"
    assert len(masked("x" * 1000)) == DETAIL_CHARS
    assert line("a\n\n  b") == "a b" and len(line("word " * 100)) <= 120


def test_events_of_a_trace_in_order():
    t = Trace("tau_bench", "x")
    t.step("system", "be kind")
    t.step("user", "hi")
    seq = t.step("assistant", "both at once")
    t.call(seq, "a", {"n": 1, "m": 2}, id="1")
    t.call(seq, "b", None, id="2", requestor="user")
    t.result("Error: no", id="1")
    t.result("fine", id="2")
    t.step("user", "a reminder", origin="harness")
    t.step(None, "left", on_path=False)
    t.success, t.end_reason = True, "completed"
    t.finish("source")
    found = list(events_of(t))
    assert [e.kind for e in found] == [
        *["system", "user", "assistant", "call", "user_call", "result", "user_result", "note", "end"]
    ]
    assert {e.kind for e in found} <= set(KINDS)
    call, result = found[3], found[5]
    assert (call.name, result.name, result.status) == ("a", "a", "error") and call.args_hash == result.args_hash
    assert (found[-1].success, found[-1].end_reason) == (True, "completed")


def test_equal_arguments_have_equal_hashes_whatever_their_order():
    t = Trace("tau_bench", "x")
    seq = t.step("assistant", "")
    t.call(seq, "a", '{"n": 1, "m": 2}')
    t.call(seq, "a", '{"m":2,"n":1}')
    first, second = (e for e in events_of(t) if e.kind == "call")
    assert first.args_hash == second.args_hash and first.args_text != second.args_text


def test_a_cleared_context_is_an_event_a_compaction_is_its_own():
    t = Trace("claude_code", "x")
    t.step("user", "one")
    t.next_segment()
    t.step("user", "two")
    t.step("system", "summary", kind="compaction")
    t.step("user", "three")
    assert [e.kind for e in events_of(t)] == ["user", "reset", "user", "compaction", "user", "end"]


def test_every_detector_is_declared_with_its_family_and_a_definition():
    assert len(DETECTORS) >= 30
    for name, detector in DETECTORS.items():
        assert detector.severity in ("info", "low", "medium", "high") and len(detector.line) > 20, name
    assert set(thresholds()) == set(DETECTORS)


def test_memory_stays_bounded_on_an_endless_run():
    scan = Scan()
    for i in range(30_000):
        args = f'{{"id": {i}}}'
        scan.step(Event(3 * i, "assistant", text=f"looking at number {i} " * 8))
        scan.step(Event(3 * i + 1, "call", name="get", args_text=args, args_hash=hash(args)))
        scan.step(
            Event(3 * i + 2, "result", name="get", args_text=args, args_hash=hash(args), text=args * 20, status="ok")
        )
    held = [v for f in scan._families for v in vars(f).values() if hasattr(v, "__len__")]
    assert max(len(v) for v in held if not isinstance(v, str)) <= 4_096
    assert sum(len(text) for _, text in scan.run.sources) <= 1_000_000


def test_odd_events_break_nothing():
    scan = Scan()
    for kind in KINDS:
        for text in (None, "", " ", "\ud800", "x" * 300_000):
            scan.step(Event(0, kind, text=text))
    assert scan.end() is not None


def test_the_example_of_a_live_run_does_what_its_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "detectors.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(code, {})
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["repeated_call", "error_loop"]
