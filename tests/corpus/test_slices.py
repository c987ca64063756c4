"""Which attributes become slices."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from insights.corpus.batch import Builder
from insights.corpus.columns import SCHEMA_SQL
from insights.corpus.slices import unfold
from insights.corpus.trace import Trace


def _slices(*traces: dict[str, Any]) -> dict[str, dict[str, str]]:
    """{name: {native id: value}} of traces with these columns; `slices` is what the reader says."""
    con = duckdb.connect()
    con.execute(SCHEMA_SQL)
    con.execute(
        "INSERT INTO sources (source_id, uri, format, adapter, adapter_version) VALUES ('s', '/logs', 't', 't', 1)"
    )
    made = []
    for i, columns in enumerate(traces):
        given = columns.pop("slices", {})
        trace = Trace("t", str(columns.pop("native_id", i)), **columns)
        for name, value in given.items():
            trace.slice(name, value)
        made.append(trace)
    builder = Builder()
    assert not list(builder.read(made, "s"))
    incoming = builder.take().tables["traces"]
    con.register("incoming", incoming)
    con.execute("INSERT INTO traces SELECT * FROM incoming")
    unfold(con)
    unfold(con)
    found: dict[str, dict[str, str]] = {}
    for name, native, value in con.execute(
        "SELECT name, native_id, value FROM slices JOIN traces USING (trace_id)"
    ).fetchall():
        found.setdefault(name, {})[native] = value
    return found


def test_columns_metadata_and_parts_of_ids():
    found = _slices(
        *(
            {
                "model": f"m{i % 2}",
                "task_id": f"{('django', 'sympy', 'flask')[i % 3]}__issue-{i}",
                "metadata": {"tier": "gold" if i < 9 else "free", "note": f"only {i}"},
            }
            for i in range(24)
        )
    )
    assert found.keys() == {"model", "task_id.0", "tier"}
    assert found["task_id.0"]["1"] == "sympy" and found["tier"]["9"] == "free"


def test_what_all_share_is_no_slice():
    found = _slices(*({"model": "m", "metadata": {"a": "b"}} for _ in range(8)))
    assert found == {}


def test_what_a_reader_says_of_its_traces_is_kept_as_it_is():
    found = _slices(*({"model": f"m{i % 2}", "slices": {"suite": "s", "scaffold": f"z{i % 2}"}} for i in range(8)))
    assert found.keys() == {"model", "suite", "scaffold"}


def test_a_slice_that_only_some_have_tells_something():
    found = _slices(*({"slices": {"attack": "injection"} if i < 3 else {}} for i in range(8)))
    assert found == {"attack": {"0": "injection", "1": "injection", "2": "injection"}}


@pytest.mark.parametrize("kept", ["model", "agent", "dataset"])
def test_of_equal_groupings_the_column_is_kept(kept):
    found = _slices(
        *(
            {
                kept: f"x{i % 2}",
                "metadata": {"variant": f"y{i % 2}"},
                "task_id": f"part{'ab'[i % 2]}/{i}",
                "native_id": f"{'ab'[i % 2]}/{i}",
            }
            for i in range(12)
        )
    )
    assert found.keys() == {kept}


def test_ids_come_before_weeks():
    from datetime import UTC, datetime, timedelta

    start = datetime(2026, 1, 5, tzinfo=UTC)
    found = _slices(
        *({"task_id": f"{'ab'[i % 2]}/{i}", "started_at": start + timedelta(weeks=i % 2)} for i in range(12)),
    )
    assert found.keys() == {"task_id.0"}


def test_ids_and_running_numbers_are_no_slices():
    found = _slices(*({"task_id": f"t/{i}", "metadata": {"seed": i, "session": f"s{i}"}} for i in range(60)))
    assert found == {}


def test_keys_of_metadata_are_only_names():
    odd = "a'b\"c.d$"
    found = _slices(*({"metadata": {odd: f"v{i % 2}"}} for i in range(8)))
    assert found == {odd: {str(i): f"v{i % 2}" for i in range(8)}}


def test_one_trace_has_no_slices():
    assert _slices({"model": "m"}) == {}
