"""The same runs in whatever holds them: wrapped, under their ids, in tables; and values in whatever shape."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from insights.corpus.load import ingest
from tests.formats.reading import read, write

ASKED: list[dict[str, Any]] = [{"role": "user", "content": "Where is order 7 now?"}]
CALL = {"id": "c1", "function": {"name": "track", "arguments": '{"id": 7}'}}
FAILED = [*ASKED, {"role": "assistant", "content": None, "tool_calls": [CALL]},
          {"role": "tool", "tool_call_id": "c1", "content": "Error: no such order"},
          {"role": "assistant", "content": "I cannot find it."}]  # fmt: skip
PASSED = [*ASKED, {"role": "assistant", "content": "It is on the way."}]
RUNS = [{"id": "a", "messages": FAILED, "success": False}, {"id": "b", "messages": PASSED, "success": True}]


@pytest.mark.parametrize(
    "document",
    [
        {"data": RUNS},
        {"traces": RUNS, "version": 1},
        {"results": [{"id": r["id"], "trajectory": r["messages"], "success": r["success"]} for r in RUNS]},
        {r["id"]: {"messages": r["messages"], "success": r["success"]} for r in RUNS},
        {r["id"]: {"run": {"messages": r["messages"]}, "evaluation": {"passed": r["success"]}} for r in RUNS},
        [
            {"id": r["id"], "messages": json.dumps(r["messages"]), "outcome": "pass" if r["success"] else "fail"}
            for r in RUNS
        ],
    ],
    ids=["data", "traces", "results", "by id", "nested", "as text"],
)
def test_runs_are_found_in_whatever_holds_them(tmp_path: Path, document: Any) -> None:
    _, traces, _ = read(write(tmp_path / "runs.json", document))
    assert [(t.native_id, t.success, len(t.steps)) for t in traces] == [("a", False, 4), ("b", True, 2)]
    (call,) = traces[0].calls
    assert (call.name, call.args, call.status) == ("track", {"id": 7}, "error")


def test_tables_are_read_row_by_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = [
        {"id": r["id"], "messages": [{k: m.get(k) for k in ("role", "content")} for m in PASSED], "reward": 1.0}
        for r in RUNS
    ]
    pq.write_table(pa.Table.from_pylist(plain), tmp_path / "runs.parquet")
    _, traces, _ = read(tmp_path / "runs.parquet")
    assert [(t.native_id, t.success, t.steps[1].text) for t in traces] == [(i, True, "It is on the way.") for i in "ab"]
    with (tmp_path / "chat.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["conversation_id", "role", "content"])
        rows.writerows([[i, m["role"], m["content"]] for i in "ab" for m in PASSED])
    _, traces, _ = read(tmp_path / "chat.csv")
    assert [(t.session_id, len(t.steps)) for t in traces] == [("a", 2), ("b", 2)]


def test_what_the_wrapper_says_is_said_of_every_run(tmp_path: Path) -> None:
    import duckdb

    write(tmp_path / "runs.json", {"model": "m-1", "suite": "desk", "results": RUNS})
    ingest([str(tmp_path / "runs.json")], tmp_path / "x.corpus", jobs=1)
    with duckdb.connect(str(tmp_path / "x.corpus" / "traces.duckdb"), read_only=True) as con:
        assert con.execute("SELECT model, metadata->>'suite' FROM traces").fetchall() == [("m-1", "desk")] * 2
        assert con.execute("SELECT n_records, text_share FROM sources").fetchall() == [(2, 1.0)]


@pytest.mark.parametrize(
    "time",
    [1750000000, 1750000000000, 1750000000000000000, "1750000000", "2025-06-15T17:06:40+02:00", "2025/06/15 15:06:40",
     "Sun, 15 Jun 2025 15:06:40 GMT", "2025-06-15 15:06:40 UTC"],
)  # fmt: skip
def test_times_in_every_writing(tmp_path: Path, time: Any) -> None:
    rows = [{"role": "user", "content": "When?", "timestamp": time}, {"role": "assistant", "content": "Now."}]
    _, traces, _ = read(write(tmp_path / "x.jsonl", rows))
    assert str(traces[0].steps[0].ts) == "2025-06-15 15:06:40+00:00"


def test_results_within_calls_and_keys_in_camel_case(tmp_path: Path) -> None:
    within = {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [{"name": "track", "args": {"id": 7}, "result": "on its way"}],
    }
    camel = [{"role": "assistant", "content": "", "toolCalls": [{"id": "1", "name": "clock", "arguments": {}}]},
             {"role": "tool", "toolCallId": "1", "content": "12:00"}]  # fmt: skip
    _, traces, _ = read(write(tmp_path / "x.jsonl", [{"messages": [*ASKED, within]}, {"messages": [*ASKED, *camel]}]))
    assert [t.calls[0].result_text for t in traces] == ["on its way", "12:00"]


def test_a_bare_answer_beside_messages_and_one_that_is_a_reference(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "messages": [{"role": "user", "content": "And order 8?"}], "response": "On its way."},
        {"id": "b", "messages": PASSED, "answer": "the reference"},
    ]
    _, traces, _ = read(write(tmp_path / "x.jsonl", rows))
    assert [t.final_output for t in traces] == ["On its way.", "It is on the way."]
    assert traces[1].metadata["answer"] == "the reference"


def test_an_error_among_messages_is_a_step(tmp_path: Path) -> None:
    rows = [*PASSED, {"role": "error", "content": "Traceback: bad"}]
    _, traces, _ = read(write(tmp_path / "x.jsonl", rows))
    assert traces[0].steps[-1].kind == "error" and traces[0].steps[-1].is_error


def test_turns_that_hold_a_question_and_its_answer(tmp_path: Path) -> None:
    turns = [
        {"user": "What is the time?", "assistant": "It is noon.", "at": "2026-01-01T00:00:00Z"},
        {"user": "And the date?", "assistant": "The third."},
    ]
    _, traces, _ = read(write(tmp_path / "x.json", [{"session_id": "s", "turns": turns, "rating": 4}]))
    assert [(s.role, s.text) for s in traces[0].steps][2:] == [("user", "And the date?"), ("assistant", "The third.")]
    assert traces[0].n_user_turns == 2 and traces[0].metadata["rating"] == 4


@pytest.mark.parametrize("held", ["list", "lines", "wrapped"])
def test_documents_that_have_files_of_their_own_may_stand_together(tmp_path: Path, held: str) -> None:
    def run(name: str) -> dict[str, Any]:
        messages = [{"role": "system", "content": "Use the shell."}, {"role": "user", "content": "Fix it."},
                    {"role": "assistant", "content": "```bash\nls\n```"}]  # fmt: skip
        return {"info": {"exit_status": "Submitted", "mini_version": "1.9", "config": {"agent": {}}}, "messages": messages,
                "trajectory_format": "mini-swe-agent-1", "instance_id": name}  # fmt: skip

    runs = [run("t-1"), run("t-2")]
    path = tmp_path / ("runs.jsonl" if held == "lines" else "runs.json")
    write(path, {"trajectories": runs} if held == "wrapped" else runs)
    ingest([str(path)], tmp_path / "x.corpus", jobs=1)
    import duckdb

    with duckdb.connect(str(tmp_path / "x.corpus" / "traces.duckdb"), read_only=True) as con:
        rows = con.execute(
            "SELECT split_part(trace_id, ':', 1), task_id, n_steps, n_tool_calls FROM traces ORDER BY 2"
        ).fetchall()
    assert rows == [("mini_swe_agent", "t-1", 3, 1), ("mini_swe_agent", "t-2", 3, 1)]
