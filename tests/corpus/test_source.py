"""Records of a file, whatever the container."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from insights.corpus import source as sources
from insights.corpus.source import Source

RUNS = [{"n": i, "text": "x" * i} for i in range(5)]
CONTAINERS = {
    "lines.jsonl": "\n".join(map(json.dumps, RUNS)) + "\n",
    "spaced.jsonl": "\n\n".join(map(json.dumps, RUNS)),
    "list.json": json.dumps(RUNS),
    "pretty.json": json.dumps(RUNS, indent=2),
    "concatenated.json": "".join(json.dumps(r, indent=1) for r in RUNS),
    "encoded.jsonl": "\n".join(json.dumps(json.dumps(r)) for r in RUNS),
    "bom.jsonl": "\ufeff" + "\n".join(map(json.dumps, RUNS)),
}


def _source(folder: Path, name: str, data: bytes | str) -> Source:
    file = folder / name
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return Source(file, str(file), folder)


@pytest.mark.parametrize("name", CONTAINERS)
def test_records_are_the_same_in_every_container(tmp_path, name):
    source = _source(tmp_path, name, CONTAINERS[name])
    assert [r.value for r in source.records()] == RUNS
    assert source.n_records == 5 and source.n_bad == 0


@pytest.mark.parametrize("name", ["lines.jsonl", "spaced.jsonl", "bom.jsonl"])
def test_a_line_is_found_again_by_its_place(tmp_path, name):
    source = _source(tmp_path, name, CONTAINERS[name])
    data = source.path.read_bytes()
    for record in source.records():
        assert record.offset is not None and record.length is not None
        line = data[record.offset :].removeprefix(b"\xef\xbb\xbf")[: record.length]
        assert json.loads(line) == record.value


@pytest.mark.parametrize("above", [0, 1 << 30])
def test_a_large_document_gives_the_same_streamed(tmp_path, monkeypatch, above):
    monkeypatch.setattr(sources, "STREAM_ABOVE", above)
    document = {"info": {"agent": "a", "pi": 3.5}, "runs": RUNS, "after": [1]}
    source = _source(tmp_path, "doc.json", json.dumps(document))
    assert [(r.value, r.pointer) for r in source.records("runs")] == [(r, f"/runs/{i}") for i, r in enumerate(RUNS)]
    assert source.header("runs") == {"info": {"agent": "a", "pi": 3.5}, "after": [1]}
    listed = _source(tmp_path, "list.json", json.dumps(RUNS))
    assert [(r.value, r.pointer) for r in listed.records()] == [(r, f"/{i}") for i, r in enumerate(RUNS)]


def test_half_a_last_line_is_told_and_the_rest_read(tmp_path):
    source = _source(tmp_path, "cut.jsonl", "\n".join(map(json.dumps, RUNS))[:-4])
    assert [r.value for r in source.records()] == RUNS[:-1]
    assert source.truncated and source.issues[0].code == "truncated_last_line"
    assert source.path.read_bytes()[source.issues[0].offset :].startswith(b'{"n": 4')


def test_a_bad_line_costs_itself(tmp_path):
    rows = list(map(json.dumps, RUNS))
    source = _source(tmp_path, "bad.jsonl", "\n".join([*rows[:2], "garbage", *rows[2:]]))
    assert [r.value for r in source.records()] == RUNS
    assert [(i.code, i.offset) for i in source.issues] == [("bad_line", len(rows[0]) + len(rows[1]) + 2)]


def test_a_document_cut_off_says_so(tmp_path):
    source = _source(tmp_path, "cut.json", json.dumps({"runs": RUNS})[:-9])
    assert list(source.records()) == []
    assert source.truncated and source.issues[0].severity == "error"


def test_an_id_does_not_depend_on_how_the_path_is_written(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    file.write_text("[]")
    monkeypatch.chdir(tmp_path)
    ids = {
        Source(Path(p), p, tmp_path).source_id for p in (str(file), "a.json", "./a.json", f"../{tmp_path.name}/a.json")
    }
    assert len(ids) == 1
    assert Source(file, "-", tmp_path).source_id == Source(file, "-", Path("/")).source_id


def test_a_sibling_never_leaves_the_root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.json").write_text("{}")
    source = _source(root, "a.json", "{}")
    (root / "b.json").write_text("{}")
    (root / "link.json").symlink_to(tmp_path / "secret.json")
    assert source.sibling("b.json") == root / "b.json"
    assert source.sibling("..", "secret.json") is None
    assert source.sibling("link.json") is None
    assert source.sibling("absent.json") is None
