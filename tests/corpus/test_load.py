"""Ingest and re-ingest: nothing lost, nothing doubled, nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from insights.corpus.load import ingest
from insights.errors import CorpusError, SourceError
from tests.corpus.chats import chat, write


def _rows(corpus: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(corpus / "traces.duckdb"), read_only=True) as con:
        return con.execute(sql).fetchall()


def _answers(corpus: Path) -> list[str]:
    return [a for (a,) in _rows(corpus, "SELECT final_output FROM traces ORDER BY trace_id")]


def _is_indexed(corpus: Path) -> bool:
    from primitives.index import is_current

    with duckdb.connect(str(corpus / "traces.duckdb"), read_only=True) as con:
        return is_current(corpus, con)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return tmp_path / "a.corpus"


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path, corpus):
    file = write(tmp_path / "a.jsonl", [chat("a"), chat("b")])
    assert ingest([file], corpus).n_new == 2
    before = (corpus / "traces.duckdb").stat()
    again = ingest([file], corpus)
    assert (again.n_new, again.n_unchanged, again.n_traces) == (0, 1, 2)
    assert (corpus / "traces.duckdb").stat() == before


def test_a_file_that_has_grown_gives_what_is_new(tmp_path, corpus):
    file = write(tmp_path / "a.jsonl", [chat("a"), chat("b")])
    ingest([file], corpus)
    write(file, [chat("c")], mode="a")
    assert ingest([file], corpus).n_traces == 3
    assert _rows(corpus, "SELECT count(*), count(DISTINCT (trace_id, seq)) FROM steps") == [(12, 12)]
    assert _is_indexed(corpus)


def test_a_session_that_goes_on_replaces_what_it_was(tmp_path, corpus):
    file = write(tmp_path / "a.jsonl", [chat("a", "first"), chat("b", "second")])
    ingest([file], corpus)
    longer = chat("a", "first")
    longer["messages"] += [{"role": "user", "content": "and?"}, {"role": "assistant", "content": "more"}]
    write(file, [longer, chat("b", "second")])
    assert ingest([file], corpus).n_traces == 2
    assert _answers(corpus) == ["more", "second"]
    assert _rows(corpus, "SELECT count(*) FROM steps") == [(10,)]


def test_a_file_that_shrank_gives_what_it_holds(tmp_path, corpus):
    file = write(tmp_path / "a.jsonl", [chat("a"), chat("b")])
    ingest([file], corpus)
    write(file, [chat("a")])
    assert ingest([file], corpus).n_traces == 1


def test_traces_of_a_file_that_went_away_stay(tmp_path, corpus):
    a, b = write(tmp_path / "a.jsonl", [chat("a")]), write(tmp_path / "b.jsonl", [chat("b")])
    ingest([a], corpus)
    a.unlink()
    assert ingest([b], corpus).n_traces == 2


def test_one_file_by_two_paths_is_one_source(tmp_path, corpus, monkeypatch):
    file = write(tmp_path / "a.jsonl", [chat("a")])
    ingest([file], corpus)
    monkeypatch.chdir(tmp_path)
    assert ingest(["a.jsonl"], corpus).n_unchanged == 1
    write(file, [chat("a", "changed")])
    ingest(["./a.jsonl", file, tmp_path], corpus)
    assert _answers(corpus) == ["changed"]


def test_a_copied_run_is_kept_once_and_told(tmp_path, corpus):
    a = write(tmp_path / "a.jsonl", [chat("a"), chat("b")])
    shutil.copy(a, tmp_path / "copy.jsonl")
    summary = ingest([a, tmp_path / "copy.jsonl"], corpus)
    assert summary.n_traces == 2
    assert [(code, n) for code, _, n, _ in summary.issues] == [("duplicate_trace", 2)]


def test_the_same_run_under_two_ids_is_reported(tmp_path, corpus):
    run = chat("a")
    summary = ingest(
        [write(tmp_path / "a.jsonl", [run]), write(tmp_path / "b.jsonl", [{**run, "id": "other"}])], corpus
    )
    assert summary.n_traces == 2
    assert [(code, n) for code, _, n, _ in summary.issues] == [("same_text", 2)]


def test_two_runs_of_one_id_are_both_kept(tmp_path, corpus):
    files = [write(tmp_path / f"{said}.jsonl", [chat("a", said)]) for said in ("one", "two")]
    for _ in range(2):
        assert ingest(files, corpus).n_traces == 2
    assert sorted(_answers(corpus)) == ["one", "two"]
    assert _rows(corpus, "SELECT count(*) FROM steps JOIN traces USING (trace_id)") == [(8,)]


def test_a_changed_sidecar_has_its_traces_read_again(tmp_path, corpus):
    runs = tmp_path / "runs"
    (runs / "agent").mkdir(parents=True)
    steps = [{"step_id": 1, "source": "user", "message": "do it"}, {"step_id": 2, "source": "agent", "message": "done"}]
    about = {"schema_version": "ATIF-v1.4", "session_id": "s", "agent": {"name": "a", "version": "1"}, "steps": steps}
    (runs / "agent" / "trajectory.json").write_text(json.dumps(about))
    (runs / "verifier").mkdir()
    (runs / "verifier" / "reward.txt").write_text("0")
    ingest([runs], corpus)
    assert _rows(corpus, "SELECT success FROM traces") == [(False,)]
    (runs / "verifier" / "reward.txt").write_text("1\n")
    ingest([runs], corpus)
    assert _rows(corpus, "SELECT success FROM traces") == [(True,)]


def test_secrets_are_counted_never_shown(tmp_path, corpus):
    key = "sk-proj-" + "Ab3_" * 10
    summary = ingest([write(tmp_path / "a.jsonl", [chat("a", f"I used {key} and {key}"), chat("b")])], corpus)
    assert summary.clean
    assert _rows(corpus, "SELECT trace_id, detail, n FROM ingest_issues WHERE code = 'secret'") == [
        ("openai_chat:a", "provider key in steps.text", 2)
    ]
    assert key not in str(summary)


def test_unreadable_files_keep_what_they_gave(tmp_path, corpus):
    from os import geteuid

    if geteuid() == 0:
        pytest.skip("root reads everything")
    file = write(tmp_path / "a.jsonl", [chat("a")])
    ingest([file], corpus)
    write(file, [chat("b")], mode="a").chmod(0)
    assert ingest([file, write(tmp_path / "c.jsonl", [chat("c")])], corpus).n_traces == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.jsonl", "", "the file is empty"),
        ("half.jsonl", '{"messages": [{"role": "us', "half.jsonl"),
        ("prose.txt", "nothing that speaks", "neither JSON nor a transcript"),
        (
            "results.csv",
            "id,passed\na,true\n",
            "a table of outcomes (passed) and no traces: insights label CORPUS results.csv",
        ),
        ("results.json", '[{"id": "a", "score": 0.5}]', "a table of outcomes (score)"),
    ],
)
def test_a_file_without_traces_is_one_error(tmp_path, corpus, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceError) as raised:
        ingest([tmp_path / name], corpus)
    assert said in str(raised.value) and "\n" not in str(raised.value) and raised.value.remedy
    assert not corpus.exists()


def test_nothing_named_is_one_error(tmp_path, corpus):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="folders named are empty"):
        ingest([tmp_path / "empty"], corpus)
    with pytest.raises(SourceError, match="no such file"):
        ingest([tmp_path / "absent"], corpus)
    assert not corpus.exists()


def test_a_failed_ingest_leaves_the_corpus_as_it_was(tmp_path, corpus):
    ingest([write(tmp_path / "a.jsonl", [chat("a")])], corpus)
    before = (corpus / "traces.duckdb").read_bytes()
    with pytest.raises(SourceError):
        ingest([tmp_path / "absent"], corpus)
    assert (corpus / "traces.duckdb").read_bytes() == before
    assert not list(corpus.glob(".ingest*"))


def test_a_corpus_of_another_version_is_refused(tmp_path, corpus):
    file = write(tmp_path / "a.jsonl", [chat("a")])
    ingest([file], corpus)
    with duckdb.connect(str(corpus / "traces.duckdb")) as con:
        con.execute("UPDATE corpus_info SET schema_version = 99")
    with pytest.raises(CorpusError, match="schema version 99") as raised:
        ingest([file], corpus)
    assert raised.value.remedy


def test_what_is_no_corpus_is_refused(tmp_path, corpus):
    file = write(tmp_path / "a.jsonl", [chat("a")])
    with pytest.raises(CorpusError, match="is a file"):
        ingest([file], file)
    with pytest.raises(CorpusError, match="is no corpus"):
        ingest([file], tmp_path)
    ingest([file], corpus)
    (corpus / "traces.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(CorpusError, match=r"traces\.duckdb"):
        ingest([file], corpus)
    assert (corpus / "traces.duckdb").read_bytes() == b"not a database" * 1000


def test_leftovers_of_a_killed_ingest_are_cleaned(tmp_path, corpus):
    file = write(tmp_path / "a.jsonl", [chat("a")])
    ingest([file], corpus)
    (corpus / ".ingest.duckdb").write_bytes(b"half")
    (corpus / ".ingest.duckdb.wal").write_bytes(b"half")
    (corpus / ".ingest-spool").mkdir()
    (corpus / ".ingest-spool" / "x").write_text("half")
    (corpus / "index" / "keyword.json").unlink()  # killed between the swap and the index
    assert not _is_indexed(corpus)
    ingest([file], corpus)
    assert not list(corpus.glob(".ingest*")) and _is_indexed(corpus)


def test_a_second_ingest_waits_for_no_one(tmp_path, corpus):
    import fcntl

    file = write(tmp_path / "a.jsonl", [chat("a")])
    ingest([file], corpus)
    with (corpus / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CorpusError, match="another ingest"):
            ingest([file], corpus)


def test_the_fingerprint_changes_when_a_verdict_does(tmp_path, corpus):
    def told(**about: Any) -> Any:
        ingest([write(tmp_path / "a.jsonl", [chat("a", **about)])], corpus)
        return _rows(corpus, "SELECT fingerprint FROM corpus_info")

    assert told(success=True) != told(success=False)
    assert told(success=True) == told(success=True, padding="x")
