"""Verdicts, labels and rules outlive the next ingest."""

from __future__ import annotations

import duckdb
import pytest

from insights.cli import main
from insights.corpus.load import ingest
from insights.corpus.relabel import relabel
from primitives.corpus import open_corpus
from tests.corpus.chats import chat, write

RULES = "rules:\n  looks:\n    line: it looks\n    repeat: look\n    times: 2\n"


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "a.jsonl", [chat("a"), chat("b"), chat("c", success=False)])


def rows(corpus, sql):
    with duckdb.connect(str(corpus / "traces.duckdb"), read_only=True) as con:
        return con.execute(sql).fetchall()


def verdicts(corpus):
    return dict(rows(corpus, "SELECT native_id, success FROM traces ORDER BY 1"))


def test_verdicts_stand_when_their_source_has_grown(tmp_path, file):
    corpus = tmp_path / "a.corpus"
    ingest([file], corpus)
    (tmp_path / "v.csv").write_text("native_id,success,score,tone\na,true,0.5,kind\nb,false,,\nc,true,,\n")
    assert main(["label", str(corpus), str(tmp_path / "v.csv"), "--on", "native_id"]) == 0
    before = rows(corpus, "SELECT fingerprint FROM corpus_info")
    write(file, [chat("d")], "a")
    summary = ingest([file], corpus)
    assert verdicts(corpus) == {"a": True, "b": False, "c": True, "d": None}
    assert rows(corpus, "SELECT score FROM traces WHERE native_id = 'a'") == [(0.5,)]
    assert not any(code.startswith("verdict") for code, *_ in summary.issues)
    assert rows(corpus, "SELECT fingerprint FROM corpus_info") != before
    assert open_corpus(corpus).con.execute("SELECT name, value FROM labels").fetchall() == [("tone", "kind")]


def test_a_verdict_of_a_trace_that_changed_is_kept_and_told_of(tmp_path, file, capsys):
    corpus = tmp_path / "a.corpus"
    ingest([file], corpus)
    relabel(corpus, {trace_id: True for (trace_id,) in rows(corpus, "SELECT trace_id FROM traces")}, {})
    write(file, [chat("a", said="something else"), chat("b"), chat("d")])
    assert main(["ingest", str(file), "-o", str(corpus)]) == 0
    assert verdicts(corpus) == {"a": True, "b": True, "d": None}
    told = rows(corpus, "SELECT code, trace_id FROM ingest_issues WHERE code LIKE 'verdict%' ORDER BY 1")
    assert [code for code, _ in told] == ["verdict_of_changed_trace", "verdict_without_trace"]
    assert "verdict_of_changed_trace (info): 1 x" in capsys.readouterr().out
    write(file, [chat("a"), chat("b"), chat("c")])
    ingest([file], corpus)
    assert verdicts(corpus) == {"a": True, "b": True, "c": True}
    assert rows(corpus, "SELECT count(*) FROM ingest_issues WHERE code LIKE 'verdict%'") == [(0,)]


def test_a_second_label_changes_only_what_it_says(tmp_path, file):
    corpus = tmp_path / "a.corpus"
    ingest([file], corpus)
    ids = dict(rows(corpus, "SELECT native_id, trace_id FROM traces"))
    relabel(corpus, {ids["a"]: True}, {ids["a"]: 0.25})
    relabel(corpus, {ids["a"]: False}, {})
    assert rows(corpus, "SELECT success, score FROM verdicts") == [(False, 0.25)]
    assert rows(corpus, "SELECT success, score FROM traces WHERE native_id = 'a'") == [(False, 0.25)]


def test_rules_run_over_what_is_read_later(tmp_path, file):
    corpus = tmp_path / "a.corpus"
    twice = chat("e")
    twice["messages"] += [*chat("f")["messages"]]
    write(file, [twice], "a")
    (tmp_path / "rules.yaml").write_text(RULES)
    ingest([file], corpus)
    assert main(["detect", str(corpus), "--rules", str(tmp_path / "rules.yaml"), "--write"]) == 0
    fired = "SELECT count(*) FROM signals WHERE detector = 'looks'"
    others = "SELECT trace_id, seq, detector FROM signals WHERE detector <> 'looks' ORDER BY ALL"
    assert rows(corpus, fired) == [(1,)]
    write(file, [{**twice, "id": "g"}], "a")
    ingest([file], corpus)
    assert rows(corpus, fired) == [(2,)]
    before = rows(corpus, others)
    assert main(["detect", str(corpus), "--write"]) == 0
    assert rows(corpus, fired) == [(2,)] and rows(corpus, others) == before
    (tmp_path / "rules.yaml").write_text(RULES.replace("looks", "stares"))
    assert main(["detect", str(corpus), "--rules", str(tmp_path / "rules.yaml"), "--write"]) == 0
    assert rows(corpus, fired) == [(0,)] and rows(corpus, fired.replace("looks", "stares")) == [(2,)]


def test_a_corpus_of_an_earlier_version_is_completed(tmp_path, file):
    corpus = tmp_path / "a.corpus"
    ingest([file], corpus)
    with duckdb.connect(str(corpus / "traces.duckdb")) as con:
        con.execute("DROP TABLE verdicts; DROP TABLE rules")
    ids = dict(rows(corpus, "SELECT native_id, trace_id FROM traces"))
    relabel(corpus, {ids["b"]: True}, {})
    with duckdb.connect(str(corpus / "traces.duckdb")) as con:
        con.execute("DROP TABLE rules")
    write(file, [chat("d")], "a")
    ingest([file], corpus)
    assert verdicts(corpus)["b"] is True and len(verdicts(corpus)) == 4
