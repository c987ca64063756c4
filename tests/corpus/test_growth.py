"""Whatever happens to the files between two ingests, every run is stored once, as its file last told it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import pytest

from insights.corpus.load import ingest
from tests.corpus.chats import chat, write


class Disk:
    """A folder of chat files in which runs begin, go on and are moved; `told` is what a corpus of it must hold.

    Between two ingests a file is moved or written anew, not both: a moved file is known by its beginning.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.files: dict[str, list[dict[str, Any]]] = {}
        self.told: dict[str, int] = {}
        self.n = 0
        self.moved: set[str] = set()
        self.rewritten: set[str] = set()

    def change(self) -> None:
        names = sorted(self.files)
        what = self.random.choice(
            ["new", "append", "append", "go on", "rename", "remove", "rename and append", "touch"]
        )
        if what == "new" or not names:
            self.n += 1
            self.save(f"f{self.n}.jsonl", [self.run() for _ in range(self.random.randint(1, 3))])
            return
        name = self.random.choice(names)
        runs = self.files[name]
        if what == "append":
            self.save(name, [*runs, self.run()])
        elif what == "go on":
            if name not in self.moved:
                self.save(name, self.longer(runs))
                self.rewritten.add(name)
        elif what == "remove" and len(names) > 1:
            (self.folder / name).unlink()
            del self.files[name]
        elif what == "touch":
            (self.folder / name).touch()
        elif what.startswith("rename") and name not in self.rewritten:
            self.n += 1
            new = f"deep/m{self.n}.jsonl"
            (self.folder / "deep").mkdir(exist_ok=True)
            (self.folder / name).rename(self.folder / new)
            self.files[new] = self.files.pop(name)
            self.moved.add(new)
            if what == "rename and append":
                self.save(new, [*runs, self.run()])

    def run(self) -> dict[str, Any]:
        self.n += 1
        return chat(f"run{self.n}", said=f"done with {self.random.random()}")

    def longer(self, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        said = [
            {"role": "user", "content": f"and then {self.random.random()}?"},
            {"role": "assistant", "content": "that"},
        ]
        return [*runs[:-1], {**runs[-1], "messages": runs[-1]["messages"] + said}]

    def save(self, name: str, runs: list[dict[str, Any]]) -> None:
        self.files[name] = runs
        write(self.folder / name, runs)

    def read(self) -> None:
        self.moved, self.rewritten = set(), set()
        for runs in self.files.values():
            self.told |= {run["id"]: len(run["messages"]) for run in runs}


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_doubled_or_lost(tmp_path: Path, seed: int) -> None:
    disk, corpus = Disk(tmp_path / "in", seed), tmp_path / "c.corpus"
    disk.folder.mkdir()
    for _ in range(7):
        for _ in range(disk.random.randint(1, 3)):
            before = dict(disk.files)
            disk.change()
            if not disk.files:
                disk.save("last.jsonl", next(iter(before.values())))
        disk.read()
        ingest([disk.folder], corpus)
        with duckdb.connect(str(corpus / "traces.duckdb"), read_only=True) as con:
            stored = con.execute("SELECT native_id, n_steps FROM traces ORDER BY 1").fetchall()
            orphans = con.execute(
                "SELECT count(*) FROM steps WHERE trace_id NOT IN (SELECT trace_id FROM traces)"
            ).fetchall()
        assert stored == sorted(disk.told.items()) and orphans == [(0,)]


def test_a_session_that_moved_and_went_on_is_one(tmp_path: Path) -> None:
    corpus = tmp_path / "c.corpus"
    write(tmp_path / "a.jsonl", [chat("a"), chat("b")])
    ingest([tmp_path / "a.jsonl"], corpus)
    (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl")
    write(tmp_path / "b.jsonl", [chat("c")], "a")
    summary = ingest([tmp_path / "b.jsonl"], corpus)
    assert summary.n_traces == 3 and ("moved", "info", 1) in [issue[:3] for issue in summary.issues]


def test_runs_that_a_file_of_the_same_name_no_longer_holds_are_told_of(tmp_path: Path) -> None:
    corpus = tmp_path / "c.corpus"
    write(tmp_path / "a.jsonl", [chat("a"), chat("b")])
    ingest([tmp_path / "a.jsonl"], corpus)
    write(tmp_path / "a.jsonl", [chat("b"), chat("quite another")])
    summary = ingest([tmp_path / "a.jsonl"], corpus)
    assert summary.n_traces == 2 and not summary.clean
    assert [issue for issue in summary.issues if issue[0] == "gone"] == [
        (
            "gone",
            "warning",
            1,
            "traces that were read before are not in it any more and were taken out, as openai_chat:a",
        )
    ]


def test_a_stream_that_comes_again_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.jsonl", [chat("a")])
    for unchanged in (0, 1):
        with (tmp_path / "a.jsonl").open() as stream:
            monkeypatch.setattr("sys.stdin", stream)
            summary = ingest(["-"], tmp_path / "c.corpus")
        assert (summary.n_traces, summary.n_unchanged) == (1, unchanged)
