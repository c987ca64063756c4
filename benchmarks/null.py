"""False discoveries of a whole run: outcomes dealt anew within each task, so that nothing can go with failing at equal tasks.

    python benchmarks/null.py [--seeds 3]

A simulated corpus is ingested, its outcomes are permuted within tasks, and `insights ask` runs on it without a model. Every
contrast on success that comes out confirmed is a false discovery; the share of those tried is the headline.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

import duckdb

from insights.config import settings
from insights.corpus.load import ingest
from insights.demo import simulate
from insights.diagnose.run import ask
from primitives import open_corpus


def permute(database: Path, seed: int) -> None:
    """Deal the outcomes of each task anew among its runs; take out what was worked out from outcomes."""
    con = duckdb.connect(str(database))
    rows = con.execute("SELECT trace_id, task_id, success FROM traces ORDER BY trace_id").fetchall()
    chance = random.Random(seed)
    for task in sorted({task for _, task, _ in rows}):
        runs = [(trace, success) for trace, of, success in rows if of == task]
        dealt = [success for _, success in runs]
        chance.shuffle(dealt)
        con.executemany(
            "UPDATE traces SET success = ? WHERE trace_id = ?", [(s, t) for (t, _), s in zip(runs, dealt, strict=True)]
        )
    con.execute("DELETE FROM deviations")
    con.execute("DELETE FROM signals WHERE detector = 'success_against_verdict'")
    con.close()


def false_discoveries(folder: Path, seed: int) -> tuple[int, int]:
    """(confirmed contrasts on success, contrasts on success tried) of one run on permuted outcomes."""
    simulate(folder / "logs", seed=seed)
    ingest([folder / "logs"], folder / "null.corpus")
    permute(folder / "null.corpus" / "traces.duckdb", seed)
    run = folder / "run"
    run.mkdir()
    report, board = ask(open_corpus(folder / "null.corpus"), "Why do runs fail?", run, settings()["diagnose"])[:2]
    confirmed = [
        f
        for f in report.findings
        if f.kind == "contrast" and f.verdict == "confirmed" and f.contrast and f.contrast.outcome == "success"
    ]
    tried = sum(e.contrast is not None and e.contrast.outcome == "success" for e in board.examined.values())
    return len(confirmed), tried


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    wrong = tried = 0
    for seed in range(parser.parse_args().seeds):
        with tempfile.TemporaryDirectory() as folder:
            k, n = false_discoveries(Path(folder), seed)
        print(f"seed {seed}: {k} of {n} contrasts confirmed on permuted outcomes", flush=True)
        wrong, tried = wrong + k, tried + n
    print(f"in all: {wrong} of {tried}")


if __name__ == "__main__":
    main()
