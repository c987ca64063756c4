"""The commands on a finished run, and those that need none: detect, demo, doctor."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from primitives.corpus import open_corpus


def test_report_prints_head_markdown_and_json(finished: Path, corpus: Path, run) -> None:
    head = run("report", corpus)
    assert head.status == 0 and "where the" in head.out and str(finished / "report.html") in head.out
    assert run("report", finished, "--format", "md").out.strip() == (finished / "report.md").read_text().strip()
    assert json.loads(run("report", finished / "findings.json", "--format", "json").out)["run_id"] == "20260101-why"


def test_report_renders_again(finished: Path, run) -> None:
    before = (finished / "report.html").read_text()
    (finished / "report.html").write_text("spoilt")
    assert run("report", finished, "--write").status == 0
    assert (finished / "report.html").read_text() == before


def test_verify_counts_the_same_on_the_own_corpus(finished: Path, corpus: Path, run) -> None:
    result = run("verify", corpus, "--format", "json")
    measured = json.loads(result.out)
    assert result.status == 0 and [m["finding_id"] for m in measured] == ["F1", "F2"]
    assert all(m["status"] == "same" and m["now"]["k"] == m["then"]["k"] > 0 for m in measured)
    assert set(measured[1]["contrast"]["with"]) == {"k", "n"}
    assert "counted again: the same traces" in run("verify", finished).out


def test_verify_fails_when_a_finding_does_not_count_the_same(finished: Path, corpus: Path, tmp_path: Path, run) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    value = json.loads((folder / "findings.json").read_text())
    value["findings"][0]["prevalence"]["k"] += 1
    (folder / "findings.json").write_text(json.dumps(value))
    result = run("verify", folder)
    assert result.status == 1 and "not deterministic" in result.out


def test_verify_elsewhere_says_gone(finished: Path, other: Path, run) -> None:
    measured = {m["finding_id"]: m for m in json.loads(run("verify", finished, "--on", other, "--format", "json").out)}
    assert measured["F2"]["status"] == "gone" and measured["F2"]["now"]["k"] == 0
    assert measured["F2"]["difference"]["high"] < 0


def test_gate_passes_fails_and_cannot_tell(finished: Path, corpus: Path, other: Path, run) -> None:
    back = run("gate", finished, "--on", corpus)
    assert back.status == 1 and back.out.splitlines()[-1] == "gate: back"
    passed = run("gate", finished, "--on", other, "--finding", "F2", "--format", "json")
    assert passed.status == 0 and json.loads(passed.out)["decision"] == "passed"
    unknown = run("gate", finished, "--on", other, "--finding", "F9")
    assert unknown.status == 2 and "has no finding F9 (it has F1, F2)" in unknown.err
    assert run("gate", finished).status == 2


def test_gate_is_inconclusive_without_findings(finished: Path, corpus: Path, tmp_path: Path, run) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    value = json.loads((folder / "findings.json").read_text())
    (folder / "findings.json").write_text(json.dumps({**value, "findings": []}))
    assert run("gate", folder, "--on", corpus).status == 3


def test_compare_corpora_and_runs(finished: Path, corpus: Path, other: Path, run) -> None:
    rows = json.loads(run("compare", corpus, other, "--format", "json").out)
    assert {"family", "name", "a", "b", "k_a", "k_b", "difference", "p", "q", "adjusted"} == set(rows[0])
    assert not any(r["adjusted"] for r in rows) and {"outcome", "tool", "detector", "median"} <= {
        r["family"] for r in rows
    }
    text = run("compare", corpus, other, "--limit", "3")
    assert len(text.out.splitlines()) == 4 and "not adjusted for task difficulty" in text.err
    runs = json.loads(run("compare", finished, finished, "--format", "json").out)
    assert [r["found_in"] for r in runs] == [["A", "B"]] * 2 and all(r["difference"]["value"] == 0 for r in runs)
    assert run("compare", corpus, finished).status == 2


def test_regress_writes_a_set(finished: Path, corpus: Path, tmp_path: Path, run) -> None:
    counts = json.loads(run("regress", corpus, "-o", tmp_path / "set", "--per-finding", "3", "--format", "json").out)
    assert counts == {"F1": 3, "F2": 3}
    case = json.loads((tmp_path / "set" / "F2.jsonl").read_text().splitlines()[0])
    assert case["fault_quote"] and case["messages_before"][-1]["role"] != "system"
    assert "final sale" in case["fault_quote"].lower()


def test_detect_counts_what_ingest_stored(corpus: Path, run) -> None:
    rows = {r["detector"]: r for r in json.loads(run("detect", corpus, "--format", "json").out)}
    opened = open_corpus(corpus)
    stored = dict(opened.con.execute("SELECT detector, count(*) FROM signals GROUP BY 1").fetchall())
    opened.con.close()
    assert {name: r["signals"] for name, r in rows.items() if r["signals"]} == stored


def test_detect_runs_rules_and_writes_their_signals(other: Path, tmp_path: Path, run) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n  never_asked:\n    line: refunds without reading the policy\n    absent: get_policy\n    before: refund_item\n"
    )
    (row,) = json.loads(run("detect", other, "--rules", rules, "--write", "--format", "json").out)
    query = "SELECT count(*) AS n, count(DISTINCT detector) AS kinds FROM signals {}"
    (mine,) = json.loads(run("sql", other, query.format("WHERE detector = 'never_asked'"), "--format", "json").out)
    (all_,) = json.loads(run("sql", other, query.format(""), "--format", "json").out)
    assert row["signals"] == mine["n"] > 0 and all_["kinds"] > 1
    rules.write_text("rules:\n  bad:\n    absent: get_policy\n    colour: red\n")
    assert run("detect", other, "--rules", rules).status == 2


def test_demo_can_stop_after_simulating(tmp_path: Path, run) -> None:
    told = json.loads(run("demo", "-o", tmp_path, "--tasks", "20", "--trials", "1", "--simulate-only").out)
    assert told["traces"] == 20 and Path(told["logs"]).is_dir() and Path(told["manifest"]).is_file()


def test_doctor_names_keys_and_never_shows_them(run, monkeypatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-very-secret")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    result = run("doctor", "--format", "json")
    checks = {c["name"]: c for c in json.loads(result.out)}
    assert checks["ANTHROPIC_API_KEY"]["found"] == "set" and checks["OPENAI_API_KEY"]["found"] == "not set"
    assert "very-secret" not in result.out + result.err
    assert result.status == int(any(c["state"] == "bad" for c in checks.values()))
    assert checks["python"]["state"] == "ok" and checks["duckdb"]["state"] == "ok"
