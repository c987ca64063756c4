"""Scanning a stored corpus gives what scanning its traces gave."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import insights.corpus
from insights.corpus.trace import Trace
from primitives.detectors import over_corpus, scan_corpus, scan_trace
from primitives.detectors.rules import load_rules


def trace(name: str, calls: int) -> Trace:
    t = Trace("tau_bench", name)
    t.step("user", "Where are my orders? Please look at both of them.")
    for i in range(calls):
        seq = t.step("assistant", "")
        t.call(seq, "get_order", {"id": 1, "deep": True} if i % 2 else {"deep": True, "id": 1}, id=f"c{i}")
        t.result("order 1: pending", id=f"c{i}")
    t.step("assistant", "Your order has been successfully cancelled.")
    t.success = False
    t.finish("source")
    return t


@pytest.fixture
def stored() -> tuple[duckdb.DuckDBPyConnection, list[Trace]]:
    from insights.corpus.trace import CALL_COLUMNS, STEP_COLUMNS, as_json

    con = duckdb.connect(":memory:")
    con.execute((Path(insights.corpus.__file__).parent / "schema.sql").read_text())
    traces = [trace("long", 9), trace("short", 1), trace("middle", 5)]
    for t in traces:
        con.execute(
            "INSERT INTO traces (trace_id, source_id, root_trace_id, success, end_reason) VALUES (?, 's', ?, false, ?)",
            [t.trace_id, t.trace_id, t.end_reason],
        )
        for table, columns, items in (("steps", STEP_COLUMNS, t.steps), ("tool_calls", CALL_COLUMNS, t.calls)):
            for item in items:
                values = [as_json(v) if isinstance(v := getattr(item, c), dict) else v for c in columns[1:]]
                marks = ", ".join("?" * len(columns))
                con.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", [t.trace_id, *values])
    return con, traces


@pytest.mark.parametrize("chunk", [1, 8, 40_000])
def test_the_same_signals_however_the_corpus_is_cut(stored, monkeypatch, chunk):
    monkeypatch.setattr(over_corpus, "CHUNK_STEPS", chunk)
    con, traces = stored
    found = sorted((name, s.seq, s.detector, s.detail) for name, s in scan_corpus(con))
    assert found == sorted((t.trace_id, s.seq, s.detector, s.detail) for t in traces for s in scan_trace(t))
    assert {"retry_loop", "success_against_verdict", "claimed_action_not_called"} <= {f[2] for f in found}


def test_arguments_in_another_order_are_the_same(stored):
    names = [s.detector for name, s in scan_corpus(stored[0]) if name.endswith("middle")]
    assert "retry_loop" in names


def test_rules_over_a_corpus(stored):
    rules = load_rules("rules:\n  often: {count: get_order, at_least: 5}\n")
    assert sorted(name for name, _ in scan_corpus(stored[0], rules)) == ["tau_bench:long", "tau_bench:middle"]
