"""How fast the verbs are, side by side with the library beneath them, on a corpus made up here.

    python benchmarks/verbs.py [--steps 1000000] [--queries 200] [--keep DIR]

    search      p50 and p95 of each mode against the keyword index alone, same queries          aim: p95 50 ms
    predicate   `prevalence` of a predicate against the same two counts in plain DuckDB         aim: 1.1 times
    verbs       seconds of each reading verb, and the peak memory of the process                aim: 1.5 GB

Prints a table as Markdown. Everything is seeded; the corpus is removed unless --keep names a folder for it.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
STEPS_PER_TRACE = 20
WORDS = 20_000


def make(folder: Path, steps: int) -> None:
    """A corpus of `steps` steps of about 60 words each drawn from a Zipf-like vocabulary, a fifth of them tool results."""
    import duckdb

    folder.mkdir(parents=True)
    con = duckdb.connect(str(folder / "traces.duckdb"))
    con.execute((ROOT / "insights" / "corpus" / "schema.sql").read_text(encoding="utf-8"))
    con.execute("INSERT INTO corpus_info VALUES (1, 'benchmark', now(), 'benchmark')")
    con.execute("SET threads=2")
    traces = steps // STEPS_PER_TRACE
    word = f"'w' || (pow(random(), 3) * {WORDS})::INTEGER"
    sentence = " || ' ' || ".join([word] * 12)
    con.execute("SELECT setseed(0.42)")
    con.execute(f"CREATE TEMP TABLE sentences AS SELECT i, {sentence} AS s FROM range(200000) r(i)")
    con.execute(
        f"""INSERT INTO traces BY NAME SELECT 'bench:' || lpad(i::VARCHAR, 8, '0') AS trace_id, 's' AS source_id,
        trace_id AS root_trace_id, 'task' || (i % {max(traces // 4, 1)}) AS task_id, hash(i) % 10 < 6 AS success,
        {STEPS_PER_TRACE} AS n_steps, 4 AS n_tool_calls, (hash(i, 1) % 3)::INTEGER AS n_tool_errors, 'm' || (i % 3) AS model,
        'x' || i AS fingerprint, 'input ' || i AS input_text, 'output ' || i AS final_output FROM range({traces}) r(i)"""
    )
    con.execute(
        f"""INSERT INTO steps BY NAME
        SELECT 'bench:' || lpad((r.i // {STEPS_PER_TRACE})::VARCHAR, 8, '0') AS trace_id,
            (r.i % {STEPS_PER_TRACE})::INTEGER AS seq, CASE WHEN r.i % 5 = 4 THEN 'tool_result' ELSE 'message' END AS kind,
            ['user', 'assistant', 'assistant', 'assistant', 'tool'][r.i % 5 + 1] AS role, true AS on_path,
            concat_ws('. ', a.s, b.s, c.s, d.s, e.s, 'step ' || r.i) AS text, length(text) AS text_len
        FROM range({traces * STEPS_PER_TRACE}) r(i)
        JOIN sentences a ON a.i = hash(r.i, 1) % 200000 JOIN sentences b ON b.i = hash(r.i, 2) % 200000
        JOIN sentences c ON c.i = hash(r.i, 3) % 200000 JOIN sentences d ON d.i = hash(r.i, 4) % 200000
        JOIN sentences e ON e.i = hash(r.i, 5) % 200000 ORDER BY r.i"""
    )
    con.execute(
        """INSERT INTO tool_calls BY NAME SELECT trace_id, seq::VARCHAR AS tool_call_key, seq - 1 AS call_seq,
        seq AS result_seq, 0 AS call_index, 'assistant' AS requestor, 'tool_' || (hash(trace_id, seq) % 12) AS name,
        '{"id": ' || hash(trace_id, seq) % 1000 || '}' AS args_text, args_text AS args, left(text, 500) AS result_text,
        CASE WHEN hash(trace_id, seq, 7) % 8 = 0 THEN 'error' ELSE 'ok' END AS status FROM steps WHERE kind = 'tool_result'"""
    )
    con.close()


def queries(n: int) -> list[str]:
    import random

    rng = random.Random(7)
    return [" ".join(f"w{int(rng.random() ** 3 * WORDS)}" for _ in range(3)) for _ in range(n)]


def timed(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"p50 {1000 * ordered[len(ordered) // 2]:.1f} ms, p95 {1000 * ordered[int(len(ordered) * 0.95)]:.1f} ms"


def searches(corpus: Any, n: int) -> list[tuple[str, str, str]]:
    from primitives.keyword import KeywordIndex

    asked = queries(n)
    index = KeywordIndex(corpus.path / "index")

    def alone(query: str) -> None:
        for hit in index.search(query, 20):
            index.text(hit)

    def ours(mode: str, among: list[str], where: str | None = None) -> str:
        return percentiles([timed(lambda q=q: corpus.search(q, mode=mode, where=where)) for q in among])

    rows = [("keyword index alone", percentiles([timed(lambda q=q: alone(q)) for q in asked]), "")]
    corpus.search("w1 w2", mode="keyword")
    rows += [(f"search {mode}", ours(mode, asked), "50 ms") for mode in ("keyword", "phrase")]
    filtered = ours("keyword", asked[:20], "NOT success AND role = 'assistant'")
    rows.append(("search keyword, filtered by step", filtered, ""))
    first = timed(lambda: corpus.search(asked[0], mode="semantic"))
    rows.append(("first semantic search (builds the index)", f"{first:.1f} s", ""))
    rows += [(f"search {mode}", ours(mode, asked), "50 ms") for mode in ("semantic", "hybrid")]
    rows.append(("search regex", ours("regex", [r"w1\b.*w77\d"] * 3), ""))
    return rows


def predicate(corpus: Any, repeats: int = 7) -> list[tuple[str, str, str]]:
    condition = "SELECT DISTINCT trace_id FROM steps WHERE role = 'assistant' AND contains(text, 'w77 ')"
    plain = f"SELECT count(*) FROM traces WHERE trace_id IN ({condition})"

    def alone() -> None:
        corpus.con.execute(plain).fetchone()
        corpus.con.execute("SELECT count(*) FROM traces").fetchone()

    reference, ours = [], []
    for _ in range(repeats):
        reference.append(timed(alone))
        ours.append(timed(lambda: corpus.prevalence(condition)))
    ratio = sorted(ours)[repeats // 2] / sorted(reference)[repeats // 2]
    return [
        ("predicate in plain DuckDB", percentiles(reference), ""),
        ("prevalence", percentiles(ours) + f", {ratio:.2f} times", "1.1 times"),
    ]


def verbs(corpus: Any) -> list[tuple[str, str, str]]:
    trace_id = corpus.sql("SELECT min(trace_id) AS t FROM traces")["t"][0]
    calls: dict[str, Callable[[], Any]] = {
        "overview": corpus.overview,
        "read": lambda: corpus.read(trace_id),
        "chunk": lambda: corpus.chunk(trace_id),
        "sample diverse": lambda: corpus.sample(20, how="diverse"),
        "sample stratified": lambda: corpus.sample(20, how="stratified", by=["success", "model"]),
        "errors": corpus.errors,
        "cluster 30,000 texts": lambda: corpus.cluster("errors"),
        "signals": corpus.signals,
        "score": corpus.score,
    }
    return [
        (name, f"{timed(call):.2f} s", "20 s" if name.startswith("cluster") else "") for name, call in calls.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    from primitives import open_corpus
    from primitives.index import build

    home = given.keep or Path(tempfile.mkdtemp(prefix="insights-bench-"))
    folder = home / "bench.corpus"
    try:
        if not folder.exists():
            make(folder, given.steps)
        built = build(folder)
        corpus = open_corpus(folder)
        rows = [("index of the whole corpus", f"{built.seconds:.1f} s for {built.added:,} texts", "")]
        rows += predicate(corpus)
        rows += verbs(corpus)
        rows += searches(corpus, given.queries)
    finally:
        if given.keep is None:
            shutil.rmtree(home, ignore_errors=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    rows.append(("peak memory of this process", f"{peak:.2f} GB", "1.5 GB"))
    print(f"| {given.steps:,} steps | measured | aim |\n|---|---|---|")
    print("\n".join(f"| {name} | {value} | {aim} |" for name, value, aim in rows))


if __name__ == "__main__":
    main()
