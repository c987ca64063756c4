"""How fast, how large, how safe an ingest is, on conversations that this file makes up.

    python benchmarks/ingest.py [--megabytes 100] [--memory] [--growth] [--kills 50]

Speed is told as a multiple of `orjson.loads` over the same bytes in the same run, and in CPU seconds, since a loaded
machine stretches the clock. Without options: speed of one JSONL, of one JSON document, and of many small files.
Modules are compiled beforehand, as pip does: to compile them takes two processes half a CPU second each.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

VOCABULARY = 20_000  # unit: distinct words
CHILD = "import sys; from insights.corpus.load import ingest; ingest(sys.argv[2:], sys.argv[1], jobs=JOBS)"


def conversations(megabytes: float, seed: int = 7) -> Iterator[dict[str, Any]]:
    """Chat conversations with tool calls, a verdict each, of about `megabytes` in all; the same for the same seed."""
    dice = random.Random(seed)
    letters = "aeioubcdfglmnprst"
    words = ["".join(dice.choices(letters, k=dice.randint(2, 10))) for _ in range(VOCABULARY)]
    size, i = 0, 0
    while size < megabytes * 1e6:
        conversation = _conversation(dice, words, i)
        size += len(orjson.dumps(conversation)) + 1
        i += 1
        yield conversation


def _conversation(dice: random.Random, words: list[str], i: int) -> dict[str, Any]:
    def text(low: int, high: int) -> str:
        return " ".join(words[int(len(words) * dice.random() ** 3)] for _ in range(dice.randint(low, high)))

    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You help customers of a shop. " + " ".join(words[:300])},
        {"role": "user", "content": text(20, 80)},
    ]
    for turn in range(dice.randint(4, 20)):
        name, key = f"tool_{dice.randint(0, 15)}", f"call_{i}_{turn}"
        arguments = {"order_id": f"#W{dice.randint(0, 9999)}", "note": text(2, 12)}
        function = {"name": name, "arguments": orjson.dumps(arguments).decode()}
        call = {"id": key, "type": "function", "function": function}
        messages.append({"role": "assistant", "content": text(10, 60), "tool_calls": [call]})
        failed = dice.random() < 0.08
        returned = "Error: not found" if failed else orjson.dumps({"status": "ok", "log": text(30, 300)}).decode()
        messages.append({"role": "tool", "tool_call_id": key, "name": name, "content": returned})
    messages.append({"role": "assistant", "content": text(20, 100)})
    about = {"model": f"model-{i % 3}", "trial": i % 4, "suite": f"suite-{i % 7}"}
    return {
        "id": f"run-{i}",
        "task_id": str(i // 4),
        "success": dice.random() < 0.6,
        "messages": messages,
        "metadata": about,
    }


def write_lines(file: Path, megabytes: float, seed: int = 7) -> None:
    with file.open("wb") as out:
        out.writelines(orjson.dumps(c) + b"\n" for c in conversations(megabytes, seed))


def write_document(file: Path, megabytes: float) -> None:
    with file.open("wb") as out:
        for i, c in enumerate(conversations(megabytes, 9)):
            out.write((b",\n" if i else b"[") + orjson.dumps(c))
        out.write(b"]")


def write_folder(folder: Path, megabytes: float, files: int) -> None:
    folder.mkdir()
    for i, c in enumerate(conversations(megabytes, 11)):
        if i == files:
            return
        (folder / f"run_{i}.json").write_bytes(orjson.dumps(c))


class Measured:
    """An ingest in a process of its own: clock and CPU seconds, and the peak memory of it and its workers together."""

    def __init__(self, source: Path, corpus: Path, jobs: int) -> None:
        shutil.rmtree(corpus, ignore_errors=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        command = [sys.executable, "-c", CHILD.replace("JOBS", str(jobs)), str(corpus), str(source)]
        process = subprocess.Popen(command, process_group=0, env=compiled(source.parent))
        self.peak = 0
        while process.poll() is None:
            self.peak = max(self.peak, sum(_memory(p) for p in _tree(process.pid)))
            time.sleep(0.1)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.status = process.returncode
        self.wall = time.monotonic() - began
        self.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def __str__(self) -> str:
        return f"{self.wall:6.1f} s, {self.cpu:6.1f} CPU s, peak {self.peak / 1e6:5.0f} MB"


def compiled(folder: Path) -> dict[str, str]:
    """The environment in which modules are compiled once, into the folder, even where this one forbids it."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def _tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [p for child in task.read_text().split() for p in _tree(int(child))]
        except OSError:
            continue
    return found


def _memory(pid: int) -> int:
    """Bytes of memory that a process takes, shared pages counted in proportion."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def parsing(source: Path) -> float:
    """CPU seconds of `orjson.loads` over the same bytes."""
    began = time.process_time()
    for file in [source] if source.is_file() else sorted(source.iterdir()):
        with file.open("rb") as lines:
            for line in lines if file.suffix == ".jsonl" else [lines.read()]:
                orjson.loads(line)
    return time.process_time() - began


def speed(folder: Path, megabytes: float) -> None:
    write_lines(folder / "one.jsonl", megabytes)
    write_document(folder / "document.json", megabytes / 2)
    write_folder(folder / "folder", megabytes, 1500)
    for source in (folder / "one.jsonl", folder / "document.json", folder / "folder"):
        base = parsing(source)
        for jobs in (1, 2):
            it = Measured(source, folder / "speed.corpus", jobs)
            print(f"{source.name:14} jobs {jobs}: {it}; orjson alone {base:.2f} CPU s, {it.cpu / base:.0f} times that")


def memory(folder: Path) -> None:
    write_lines(folder / "large.jsonl", 1000)
    print("1 GB JSONL:", Measured(folder / "large.jsonl", folder / "memory.corpus", 2))
    (folder / "large.jsonl").unlink()
    write_document(folder / "large.json", 300)
    print("300 MB JSON document:", Measured(folder / "large.json", folder / "memory.corpus", 2))


def growth(folder: Path) -> None:
    cpu = []
    for megabytes in (20, 200):
        write_lines(folder / "growth.jsonl", megabytes)
        it = Measured(folder / "growth.jsonl", folder / "growth.corpus", 2)
        print(f"{megabytes} MB: {it}")
        cpu.append(it.cpu)
    print(f"ten times the data: {cpu[1] / cpu[0]:.1f} times the CPU time")


def kills(folder: Path, n: int) -> None:
    """Kill an ingest that extends a corpus, at random moments; each time the corpus must be the old one or the new one."""
    from insights.corpus.load import ingest
    from primitives import open_corpus

    write_lines(folder / "old.jsonl", 1, seed=1)
    write_lines(folder / "new.jsonl", 20, seed=2)
    n_old = ingest([folder / "old.jsonl"], folder / "old.corpus").n_traces
    n_new = n_old + sum(1 for _ in conversations(20, 2))
    took = Measured(folder / "new.jsonl", folder / "timed.corpus", 2).wall
    dice, outcomes = random.Random(3), {n_old: 0, n_new: 0}
    for _ in range(n):
        corpus = folder / "killed.corpus"
        shutil.rmtree(corpus, ignore_errors=True)
        shutil.copytree(folder / "old.corpus", corpus)
        command = [sys.executable, "-c", CHILD.replace("JOBS", "2"), str(corpus), str(folder / "new.jsonl")]
        process = subprocess.Popen(command)
        time.sleep(dice.uniform(0, took * 1.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        opened = open_corpus(corpus)
        outcomes[opened.con.execute("SELECT count(*) FROM traces").fetchall()[0][0]] += 1  # KeyError: neither
        opened.con.close()
    assert ingest([folder / "new.jsonl"], corpus).n_traces == n_new
    assert not list(corpus.glob(".ingest*"))
    print(f"{n} kills: {outcomes[n_old]} left the old corpus, {outcomes[n_new]} the new one; nothing else")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--kills", type=int, default=0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="insights-benchmark-") as name:
        folder = Path(name)
        write_lines(folder / "first.jsonl", 20)
        Measured(folder / "first.jsonl", folder / "first.corpus", 2)
        if wanted.memory:
            memory(folder)
        if wanted.growth:
            growth(folder)
        if wanted.kills:
            kills(folder, wanted.kills)
        if not (wanted.memory or wanted.growth or wanted.kills):
            speed(folder, wanted.megabytes)


if __name__ == "__main__":
    main()
