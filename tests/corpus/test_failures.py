"""A full disk, a kill, Ctrl-C: the corpus is the old one or the new one, and the error one line."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from insights.corpus.load import ingest
from insights.errors import CorpusError
from primitives import open_corpus
from tests.corpus.chats import chat, write
from tests.kernel.conftest import descendants

TREE = Path(__file__).resolve().parents[2]
KILLS = 8  # `benchmarks/ingest.py --kills 50` does more
CLI = "import sys; from insights.cli import main; sys.exit(main(sys.argv[1:]))"


def _n_traces(corpus: Path) -> int:
    opened = open_corpus(corpus)
    try:
        n = opened.con.execute("SELECT count(*) FROM traces").fetchall()[0][0]
        assert opened.con.execute("SELECT count(DISTINCT trace_id) FROM steps").fetchall()[0][0] == n
        return int(n)
    finally:
        opened.con.close()


def _command(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CLI, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "none", str(mount)], capture_output=True)
    if done.returncode:
        pytest.skip("no right to mount a small disk")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def _large(folder: Path) -> Path:
    dice = random.Random(1)
    return write(folder / "large.jsonl", [chat(f"l{i}", dice.randbytes(4000).hex()) for i in range(2500)])


def test_a_full_disk_is_one_error_and_keeps_the_corpus(tmp_path, small_disk):
    corpus = small_disk / "a.corpus"
    ingest([write(tmp_path / "a.jsonl", [chat("a")])], corpus)
    with pytest.raises(CorpusError, match="cannot be written") as raised:
        ingest([_large(tmp_path)], corpus)
    assert "\n" not in str(raised.value) and "free space" in str(raised.value)
    assert _n_traces(corpus) == 1 and not list(corpus.glob(".ingest*"))
    assert ingest([write(tmp_path / "b.jsonl", [chat("b")])], corpus).n_traces == 2


def test_a_first_ingest_on_a_full_disk_leaves_nothing(tmp_path, small_disk):
    with pytest.raises(CorpusError, match="cannot be written"):
        ingest([_large(tmp_path)], small_disk / "a.corpus")
    assert not list(small_disk.iterdir())


def test_a_limit_on_the_size_of_files_is_one_error(tmp_path):
    write(tmp_path / "a.jsonl", [chat("a")])
    _large(tmp_path)
    ingest([tmp_path / "a.jsonl"], tmp_path / "a.corpus")
    limited = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({2 << 20}, {resource.RLIM_INFINITY})); {CLI}"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "ingest", str(tmp_path / "large.jsonl"), "-o", str(tmp_path / "a.corpus")],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "cannot be written" in done.stderr and len(done.stderr.splitlines()) == 1, (
        done.stderr
    )
    assert _n_traces(tmp_path / "a.corpus") == 1


def test_an_ingest_killed_at_any_moment_leaves_the_old_corpus_or_the_new(tmp_path):
    old, corpus = write(tmp_path / "old.jsonl", [chat("a")]), tmp_path / "a.corpus"
    new = write(tmp_path / "new.jsonl", [chat(f"n{i}", "text " * 50) for i in range(400)])
    ingest([old], corpus)
    n, dice = 1, random.Random(2)
    for turn in range(KILLS):
        write(new, [chat(f"more{turn}")], mode="a")
        process = _command("ingest", new, "-o", corpus)
        time.sleep(dice.uniform(0.3, 2.0))
        process.kill()
        process.communicate()
        found = _n_traces(corpus)
        assert found in (n, 402 + turn)
        n = found
    summary = ingest([new], corpus)
    assert summary.n_traces == 401 + KILLS
    assert sorted(p.name for p in corpus.iterdir()) == [".lock", "index", "labels", "runs", "traces.duckdb"]


def test_ctrl_c_while_reading(tmp_path):
    corpus = tmp_path / "a.corpus"
    os.mkfifo(tmp_path / "pipe")
    ingest([write(tmp_path / "a.jsonl", [chat("a")])], corpus)
    process = _command("ingest", tmp_path / "pipe", "-o", corpus)
    with (tmp_path / "pipe").open("w") as pipe:
        pipe.write('{"messages": [')
        pipe.flush()
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, err, out) == (130, "insights: interrupted\n", "")
    assert _n_traces(corpus) == 1 and not list(corpus.glob(".ingest*"))


def test_ctrl_c_while_workers_read(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    for i in range(4):
        write(logs / f"{i}.jsonl", [chat(f"{i}-{n}", "text " * 2000) for n in range(600)])
    process = _command("ingest", logs, "-o", tmp_path / "a.corpus", "-j", "2")
    while not (tmp_path / "a.corpus" / ".ingest.duckdb").exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "insights: interrupted\n")
    assert not (tmp_path / "a.corpus").exists()


def test_ctrl_c_while_asking_leaves_no_process(tmp_path):
    corpus = tmp_path / "a.corpus"
    ingest([write(tmp_path / "a.jsonl", [chat(f"n{i}", success=i % 3 > 0) for i in range(60)])], corpus)
    process = _command("ask", corpus, "why do runs fail?")
    family: set[int] = set()
    until = time.monotonic() + 20
    while len(family) < 2 and process.poll() is None and time.monotonic() < until:
        family |= set(descendants(process.pid))
        time.sleep(0.05)
    time.sleep(0.5)
    family |= set(descendants(process.pid))
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "insights: interrupted" in err and "Traceback" not in err, err
    until = time.monotonic() + 5
    while (alive := [pid for pid in family if Path(f"/proc/{pid}").exists()]) and time.monotonic() < until:
        time.sleep(0.05)
    assert len(family) >= 2 and not alive
