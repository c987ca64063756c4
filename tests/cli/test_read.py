"""The reading commands on the simulated desk."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from insights.demo import Plants
from insights.demo.simulate import TRACE_PREFIX
from primitives.corpus import open_corpus


def test_plants_name_traces_of_the_corpus(corpus: Path, plants: Plants) -> None:
    opened = open_corpus(corpus)
    known = dict(opened.con.execute("SELECT trace_id, success FROM traces").fetchall())
    opened.con.close()
    assert len(known) == plants.n_traces and all(i.startswith(TRACE_PREFIX) for i in known)
    assert all(set(p.trace_ids) <= set(known) for p in plants.plants)
    assert all(known[i] is False for p in plants.plants for i in p.failed)
    assert sum(v is False for v in known.values()) == plants.n_failed


def test_info_counts_what_is_there(corpus: Path, plants: Plants, run) -> None:
    value = json.loads(run("info", corpus, "--format", "json").out)
    assert (value["n_traces"], value["n_failed"], value["n_tasks"]) == (plants.n_traces, plants.n_failed, 100)
    assert {v["value"] for s in value["slices"] if s["name"] == "agent_version" for v in s["values"]} == {"4.1", "4.2"}
    assert value["tables"]["traces"]["rows"] == plants.n_traces and "success" in value["tables"]["traces"]["columns"]
    assert sum(t["calls"] for t in value["tools"]) == value["n_tool_calls"]
    assert "retry_loop" in {d["detector"] for d in value["detectors"]}
    text = run("info", corpus)
    assert f"{plants.n_traces} traces" in text.out and text.status == 0


ODD = "SELECT 1 AS a, 2 AS a, NULL AS n, 'x|y`z' || chr(27) || '[31m' AS t, [1, 2] AS l, TIMESTAMPTZ '2026-01-02 03:04:05Z' AS w, 'NaN'::DOUBLE AS f"


def test_sql_as_json_is_a_complete_list_of_objects(corpus: Path, run) -> None:
    rows = json.loads(run("sql", corpus, ODD, "--format", "json").out)
    assert rows == [
        {"a": 1, "a_1": 2, "n": None, "t": "x|y`z\x1b[31m", "l": [1, 2], "w": "2026-01-02T03:04:05+00:00", "f": None}
    ]
    many = run("sql", corpus, "SELECT range AS i FROM range(5000)", "--format", "json")
    assert [r["i"] for r in json.loads(many.out)] == list(range(5000)) and many.err == ""
    assert json.loads(run("sql", corpus, "SELECT 1 AS a WHERE false", "--format", "json").out) == []


def test_sql_for_reading_is_bounded_and_says_so(corpus: Path, run) -> None:
    result = run("sql", corpus, "SELECT range AS i FROM range(5000)")
    assert len(result.out.splitlines()) == 51 and "only the first 50 rows" in result.err
    assert len(run("sql", corpus, "SELECT range AS i FROM range(5000)", "--limit", "7").out.splitlines()) == 8


def test_sql_shows_no_control_characters(corpus: Path, run) -> None:
    for style in ("pretty", "md"):
        out = run("sql", corpus, ODD, "--format", style).out
        assert "\x1b" not in out and "‹U+001B›" in out
    assert "x\\|y\\`z" in run("sql", corpus, ODD, "--format", "md").out


def test_sql_as_csv_can_be_read_back(corpus: Path, run) -> None:
    query = "SELECT trace_id, seq, text FROM steps WHERE text IS NOT NULL ORDER BY ALL"
    rows = list(csv.reader(io.StringIO(run("sql", corpus, query, "--format", "csv").out)))
    opened = open_corpus(corpus)
    expected = opened.con.execute(query).fetchall()
    opened.con.close()
    assert rows[0] == ["trace_id", "seq", "text"] and rows[1:] == [[t, str(s), x] for t, s, x in expected]


def test_sql_reads_a_query_from_stdin(corpus: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "insights", "sql", str(corpus), "-", "--format", "csv"],
        input="SELECT count(*) AS n\nFROM traces", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "n\n200\n"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT nope FROM traces", "nope"),
        ("DROP TABLE traces", "read-only"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled"),
        ("SELECT (", "syntax"),
        ("SELECT 'x'::INTEGER FROM traces", "Could not convert"),
    ],
)
def test_sql_refuses_what_it_should(corpus: Path, run, query: str, says: str) -> None:
    result = run("sql", corpus, query)
    assert result.status == 1 and says.lower() in result.err.lower() and "Traceback" not in result.err


def test_search_finds_and_filters(corpus: Path, run) -> None:
    hits = json.loads(run("search", corpus, "final sale", "--mode", "phrase", "--format", "json").out)
    assert hits and all("final sale" in h["snippet"].lower() for h in hits)
    none = run("search", corpus, "final sale", "--mode", "phrase", "-F", "role = 'user'", "--format", "json")
    assert json.loads(none.out) == []
    assert "#" in run("search", corpus, "(?i)timed out", "--mode", "regex", "--limit", "2").out.splitlines()[0]
    assert run("search", corpus, "  ").status == 2


def first(corpus: Path, run, where: str) -> str:
    return json.loads(run("sql", corpus, f"SELECT trace_id FROM traces WHERE {where} LIMIT 1", "--format", "json").out)[
        0
    ]["trace_id"]


def test_show_opens_a_trace_an_ending_and_a_citation(corpus: Path, run) -> None:
    trace = first(corpus, run, "n_steps > 15")
    whole = json.loads(run("show", corpus, trace, "--format", "json").out)
    assert [s["seq"] for s in whole["steps"]] == list(range(whole["trace"]["n_steps"]))
    assert sum(len(s["tool_calls"]) for s in whole["steps"]) == whole["trace"]["n_tool_calls"]
    ending = trace[-8:]
    assert run("show", corpus, ending).out == run("show", corpus, trace).out
    cited = json.loads(run("show", corpus, f"[{trace}#9]", "--format", "json").out)
    assert [s["seq"] for s in cited["steps"]] == [6, 7, 8, 9, 10, 11, 12]
    bad = run("show", corpus, "nonsense")
    assert bad.status == 1 and "no trace 'nonsense'" in bad.err
    beyond = run("show", corpus, f"{trace}#999")
    assert beyond.status == 2 and f"has no step 999 (its steps are 0 to {whole['trace']['n_steps'] - 1})" in beyond.err
    assert run("show", corpus, trace, "--start", 5, "--end", 2).status == 2


def test_replay_prints_steps_times_and_signals(corpus: Path, run) -> None:
    trace = first(corpus, run, "trace_id IN (SELECT trace_id FROM signals WHERE detector = 'retry_loop')")
    out = run("replay", corpus, trace).out
    assert out.startswith("#0 system") and "#1 user +0s" in out and "! retry_loop (" in out
    assert '-> track_parcel({"order_id": "W' in out and out.splitlines()[-1].startswith("end: ")
    assert run("replay", corpus, f"{trace}#4").out.splitlines()[-1] == "stopped at step 4"


def test_csv_runs_no_formula_in_a_spreadsheet(run, corpus):
    query = "SELECT '=HYPERLINK(1)' AS a, '@x' AS b, -5 AS c, '-7.5' AS d, '- item' AS e, 'a=b' AS f"
    assert run("sql", corpus, query, "--format", "csv").out.splitlines()[1] == "'=HYPERLINK(1),'@x,-5,-7.5,'- item,a=b"
