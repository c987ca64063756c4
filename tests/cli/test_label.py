"""insights label: verdicts, scores and labels from files, and a person as the gold."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from primitives import open_corpus
from tests.primitives import small

Run = Callable[..., object]


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    traces = [{"trace_id": f"t{i}", "task_id": f"task{i // 2}", "fingerprint": f"f{i}"} for i in range(6)]
    steps = [{"trace_id": f"t{i}", "seq": 0, "role": "user", "text": "hello"} for i in range(6)]
    judged = [
        {"trace_id": f"t{i}", "name": "rude", "value": "yes" if i < 3 else "no", "kind": "judged"} for i in range(6)
    ]
    return small.folder(tmp_path, traces=traces, steps=steps, labels=judged)


def test_verdicts_and_scores_by_task(run: Callable[..., object], unlabelled: Path, tmp_path: Path) -> None:
    before = open_corpus(unlabelled).sql("SELECT fingerprint FROM corpus_info").fingerprint[0]
    file = tmp_path / "results.csv"
    file.write_text("task_id,passed,reward,team\ntask0,yes,0.5,blue\ntask1,0,0,\nother,1,1,red\n")
    result = run("label", unlabelled, file, "--on", "task_id")
    assert (
        result.status == 0
        and "4 verdicts, 4 scores, 2 labels" in result.err
        and "1 of 3 rows name no trace, as 'other'" in result.err
    )
    corpus = open_corpus(unlabelled)
    assert (
        corpus.sql("SELECT success, score FROM traces ORDER BY trace_id").values.tolist()[:4]
        == [[True, 0.5]] * 2 + [[False, 0.0]] * 2
    )
    assert corpus.sql("SELECT count(*) AS n FROM traces WHERE success IS NULL").n[0] == 2
    assert corpus.sql("SELECT fingerprint FROM corpus_info").fingerprint[0] != before
    assert corpus.sql(
        "SELECT trace_id, value FROM labels WHERE name = 'team' AND kind = 'human' ORDER BY 1"
    ).values.tolist() == [
        ["t0", "blue"],
        ["t1", "blue"],
    ]


def test_rows_may_name_traces_by_the_id_they_had_where_they_came_from(run: Run, tmp_path: Path) -> None:
    traces = [
        {"trace_id": f"chat:{n}-{i}", "native_id": n, "fingerprint": f"f{n}{i}"}
        for i, n in enumerate(["a", "b", "c", "c"])
    ]
    corpus = small.folder(tmp_path, traces=traces, steps=[])
    file = tmp_path / "results.csv"
    file.write_text("id,passed\na,true\nb,false\n")
    assert run("label", corpus, file).err.startswith("2 verdicts taken in; 2 of 4 traces are named by no row")
    assert open_corpus(corpus).sql("SELECT success FROM traces ORDER BY 1 NULLS LAST").success.tolist()[:2] == [
        False,
        True,
    ]
    file.write_text("conversation,passed\nc,true\n")
    result = run("label", corpus, file, "--on", "conversation")
    assert result.status == 2 and "conversation 'c' names 2 traces: chat:c-2, chat:c-3" in result.err


def test_scores_become_verdicts_where_asked(run: Run, unlabelled: Path, tmp_path: Path) -> None:
    assert "no trace of the corpus has a score" in run("label", unlabelled, "--pass-at", 0.5).err
    file = tmp_path / "scores.csv"
    file.write_text("trace_id,score\n" + "".join(f"t{i},0.{i}\n" for i in range(6)))
    assert "6 scores taken in; scores are no verdicts" in run("label", unlabelled, file).err
    assert "6 verdicts taken in: 2 passed" in run("label", unlabelled, "--pass-at", 0.4).err
    assert run("label", unlabelled, file, "--pass-at", 0.3).status == 0
    assert open_corpus(unlabelled).sql("SELECT success FROM traces ORDER BY trace_id").success.tolist() == (
        [False] * 3 + [True] * 3
    )


def test_a_person_is_the_gold(run: Callable[..., object], unlabelled: Path, tmp_path: Path) -> None:
    file = tmp_path / "rude.csv"
    assert run("label", unlabelled, "--export", "rude", "-o", file, "-n", 4).status == 0
    rows = list(csv.DictReader(file.open()))
    assert (
        len(rows) == 4 and {row["value"] for row in rows} == {""} and sum(row["trace_id"] < "t3" for row in rows) == 2
    )
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(row | {"value": "yes" if row["trace_id"] < "t3" else "no"} for row in rows)
    assert run("label", unlabelled, "--import", file).status == 0
    found = open_corpus(unlabelled).prevalence(label="rude").iloc[0]
    assert found.method == "stratified gold (2 + 2)" and (found.k, found.n) == (3, 6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,passed\nt0,1\n", "has no column 'trace_id'"),
        ("trace_id,passed\nt99,1\n", "no trace_id of"),
        ("trace_id,passed\nt0,maybe\n", "passed is 'maybe'"),
        ("trace_id,score\nt0,high\n", "is no number"),
        ('{"trace_id": \n', "is no JSON"),
    ],
)
def test_files_that_cannot_be_meant(
    run: Callable[..., object], unlabelled: Path, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "given"
    file.write_text(text)
    result = run("label", unlabelled, file)
    assert result.status == 2 and said in result.err and result.err.count("\n") == 1


ROWS = [
    {"task_id": "task0", "trial": 0, "success": True, "failure mode": "none"},
    {"task_id": "task0", "trial": 1, "success": False, "failure mode": "slow"},
    {"task_id": "task9", "trial": 0, "success": True, "failure mode": "none"},
]


def _csv(rows: list[dict[str, object]]) -> bytes:
    return "\r\n".join(",".join(str(v) for v in line) for line in [list(rows[0]), *(r.values() for r in rows)]).encode()


def _parquet(rows: list[dict[str, object]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    "data",
    [
        _csv(ROWS),
        b"\xef\xbb\xbf" + _csv(ROWS).replace(b",", b";"),
        _csv(ROWS).replace(b",", b"\t").decode().encode("utf-16"),
        json.dumps(ROWS, indent=2).encode(),
        "\n".join(map(json.dumps, ROWS)).encode(),
        json.dumps({"run": "x", "results": ROWS}).encode(),
        gzip.compress(_csv(ROWS)),
        _parquet(ROWS),
    ],
    ids=["csv", "semicolons", "utf-16 tabs", "json", "jsonl", "json with a list", "csv.gz", "parquet"],
)
def test_every_kind_of_file_joins_on_several_columns(run: Run, tmp_path: Path, data: bytes) -> None:
    traces = [
        {"trace_id": f"t{i}", "task_id": f"task{i // 2}", "trial": i % 2, "fingerprint": f"f{i}"} for i in range(4)
    ]
    corpus = small.folder(tmp_path, traces=traces, steps=[])
    (tmp_path / "given").write_bytes(data)
    result = run("label", corpus, tmp_path / "given", "--on", "task_id,trial")
    assert result.err == (
        "2 verdicts, 2 labels taken in; 1 of 3 rows name no trace, as 'task9, 0'; "
        "2 of 4 traces are named by no row, as 't2'\n"
    )
    opened = open_corpus(corpus)
    assert opened.sql("SELECT success FROM traces ORDER BY trace_id").success.tolist()[:2] == [True, False]
    assert opened.sql("SELECT name, value FROM labels ORDER BY trace_id").values.tolist() == [
        ["failure_mode", "none"],
        ["failure_mode", "slow"],
    ]


def test_what_a_json_object_says_of_its_keys(run: Run, unlabelled: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text('{"task0": true, "task1": false, "task2": true}')
    assert run("label", unlabelled, file, "--on", "task_id").err == "6 verdicts taken in\n"
    file.write_text('{"t0": {"reward": 0.25}, "t1": {"reward": 1}}')
    assert "2 scores taken in; 4 of 6 traces are named by no row" in run("label", unlabelled, file).err


def test_a_column_may_be_of_the_metadata(run: Run, tmp_path: Path) -> None:
    traces = [{"trace_id": f"t{i}", "metadata": {"seed": i}, "fingerprint": f"f{i}"} for i in range(3)]
    corpus = small.folder(tmp_path, traces=traces, steps=[])
    (tmp_path / "r.csv").write_text("seed,passed\n0,1\n2,0\n")
    assert "2 verdicts taken in" in run("label", corpus, tmp_path / "r.csv", "--on", "seed").err


def test_rows_that_disagree_are_told(run: Run, unlabelled: Path, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("trace_id,passed\nt0,1\nt0,0\nt1,1\nt1,1\n")
    assert (
        "1 traces are named by rows that disagree, the last counts, as 't0'"
        in run("label", unlabelled, tmp_path / "r.csv").err
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "holds no rows"),
        (b"trace_id,passed\n", "holds no rows"),
        (b"trace_id,passed\nt0,1,2\n", "row 2 has more cells"),
        (b"[1, 2]", "it holds '1'"),
        (b"PAR1 and no more", "is no Parquet"),
        (b"trace_id,passed\n\xff\xfe\xfa", "cannot be read"),
        (b'[{"trace_id": "t0", "score": NaN}]', "no number"),
        (b'[{"trace_id": "t0", "score": [1]}]', "no number"),
    ],
)
def test_damaged_files_are_refused_and_change_nothing(
    run: Run, unlabelled: Path, tmp_path: Path, data: bytes, said: str
) -> None:
    before = (unlabelled / "traces.duckdb").read_bytes()
    (tmp_path / "given").write_bytes(data)
    result = run("label", unlabelled, tmp_path / "given")
    assert result.status == 2 and said in result.err and result.err.count("\n") == 1
    assert (unlabelled / "traces.duckdb").read_bytes() == before


def test_task_ids_are_taken_where_nothing_else_names_the_traces(run: Run, unlabelled: Path, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("task_id,success\ntask0,yes\n")
    assert "2 verdicts taken in" in run("label", unlabelled, tmp_path / "r.csv").err  # type: ignore[attr-defined]
