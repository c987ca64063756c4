"""Reading in processes of its own gives what reading here gives, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from insights.corpus import readers
from insights.corpus.load import ingest
from insights.corpus.workers import Worker, WorkerFailed
from tests.corpus.chats import chat, write

TABLES = ("traces", "steps", "tool_calls", "llm_calls", "slices", "signals", "expected", "annotations", "actions")
TREE = Path(__file__).resolve().parents[2]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three groups for two workers: single files, a file of several batches, a copy, garbage."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for i in range(6):
        write(folder / f"{i}.jsonl", [chat(f"{i}-{n}", f"said {n}", model=f"m{n % 2}") for n in range(3)])
    write(folder / "large.jsonl", [chat(f"large-{n}", "long " * 2000) for n in range(1200)])
    write(folder / "copy.jsonl", [chat("3-0", "said 0", model="m0"), chat("3-1", "another")])
    (folder / "garbage.jsonl").write_text('{"neither": "this"}\n{"nor')
    return folder


@pytest.fixture
def in_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "PARALLEL_ABOVE", 0)
    monkeypatch.setattr(readers, "GROUP_BYTES", 100_000)


def _tables(corpus: Path) -> dict[str, list[tuple[object, ...]]]:
    with duckdb.connect(str(corpus / "traces.duckdb"), read_only=True) as con:
        found = {name: con.execute(f"SELECT * FROM {name}").fetchall() for name in TABLES}
        found["ingest_issues"] = con.execute("SELECT * FROM ingest_issues ORDER BY ALL").fetchall()
        return found


def test_workers_give_the_same_corpus(tmp_path, logs, in_parallel):
    ingest([logs], tmp_path / "one.corpus", jobs=1)
    summary = ingest([logs], tmp_path / "two.corpus", jobs=2)
    assert summary.n_sources == 9 and [Path(r.uri).name for r in summary.not_read] == ["garbage.jsonl"]
    assert _tables(tmp_path / "one.corpus") == _tables(tmp_path / "two.corpus")


def test_a_worker_that_dies_costs_the_file_it_was_reading(tmp_path, logs, in_parallel, monkeypatch):
    monkeypatch.setattr(readers, "GROUP_BYTES", 1 << 30)
    poison = logs / "3.jsonl"
    boot = f"""import sys; sys.path[:] = sys.argv[1:]
from insights.corpus import source
lines = source.Source._lines
def poisoned(self):
    if self.uri == {str(poison)!r}:
        import os; os.kill(os.getpid(), 9)
    return lines(self)
source.Source._lines = poisoned
from insights.corpus.workers import main; main()"""
    monkeypatch.setattr("insights.corpus.workers.BOOT", boot)
    summary = ingest([logs], tmp_path / "a.corpus", jobs=2)
    assert {Path(r.uri).name: r.reason.split(";")[0] for r in summary.not_read} == {
        "3.jsonl": "its reader's process died (exit status -9)",
        "garbage.jsonl": next(r.reason for r in summary.not_read if "garbage" in r.uri).split(";")[0],
    }
    assert summary.n_traces == 6 * 3 - 3 + 1200 + 2
    assert ingest([logs], tmp_path / "a.corpus", jobs=1).n_traces == 6 * 3 + 1200 + 1  # 3-0 is a copy again


def test_a_fault_of_ours_in_a_worker_is_raised_here(tmp_path, logs, in_parallel, monkeypatch):
    boot = "import sys; sys.path[:] = sys.argv[1:]; from insights.corpus import readers, workers; readers.read_one = None; workers.main()"
    monkeypatch.setattr("insights.corpus.workers.BOOT", boot)
    with pytest.raises(WorkerFailed, match="TypeError"):
        ingest([logs], tmp_path / "a.corpus", jobs=2)
    monkeypatch.setattr("insights.corpus.workers.BOOT", "raise SystemExit(3)")
    with pytest.raises(WorkerFailed, match="exit status 3"):
        ingest([logs], tmp_path / "a.corpus", jobs=2)
    assert not (tmp_path / "a.corpus").exists()


def test_a_script_needs_no_guard(tmp_path, logs):
    script = tmp_path / "script.py"
    script.write_text(
        "from insights.corpus import load, readers\nreaders.PARALLEL_ABOVE = 0\n"
        f"print(load.ingest([{str(logs)!r}], {str(tmp_path / 'a.corpus')!r}, jobs=2).n_traces)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=_env(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "1219\n" and done.stderr == ""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(tmp_path, logs, how):
    mark = f"INSIGHTS_TEST_{os.getpid()}_{how}"
    code = (
        "import sys; from insights.corpus import load, readers; readers.PARALLEL_ABOVE = 0\n"
        "def stop(*_): print('reading', flush=True); import time; time.sleep(60)\n"
        "load.ingest(sys.argv[2:], sys.argv[1], jobs=2, progress=stop)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.corpus"), str(logs)]
    process = subprocess.Popen(command, env={**_env(), mark: "1"}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process:
        assert process.stdout is not None and process.stdout.readline() == b"reading\n"
        process.send_signal(how)
    until = time.monotonic() + 10
    while _marked(mark) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _marked(mark)
    assert (tmp_path / "a.corpus").exists() == (how == signal.SIGKILL)
    assert ingest([logs], tmp_path / "a.corpus").n_traces == 1219


def test_a_worker_that_is_stopped_early_leaves_no_thread():
    worker = Worker([[]], None)
    worker.stop()
    assert not worker._thread.is_alive() and worker._process.returncode is not None


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(TREE)}


def _marked(mark: str) -> list[Path]:
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in file.read_bytes():
                found.append(file)
        except OSError:
            continue
    return found
