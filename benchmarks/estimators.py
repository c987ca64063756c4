"""Do the statistics keep their promises? Simulations of coverage, size and false discoveries, and times.

    python benchmarks/estimators.py [--quick] [--only coverage,pooled,size,discoveries,effects,null,speed] [-o FILE.md]

Writes one Markdown table per question. Seeded. `null` needs ../shared (skipped, with a word, where it is absent).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from primitives.stats import intervals, judged, multiplicity, ranks, strata  # noqa: E402

Row = tuple[str, ...]
GRID = (  # prevalence, sensitivity, specificity, gold labels, of 2,000 traces
    (0.05, 0.85, 0.95, 100),
    (0.05, 0.70, 0.90, 100),
    (0.20, 0.85, 0.95, 100),
    (0.40, 0.70, 0.90, 100),
    (0.01, 0.85, 0.95, 200),
)
TRACES = 2_000


def coverage(repeats: int) -> Iterator[Row]:
    """Prevalence of what a model judged: how often the 95 % interval holds the truth, and its mean width."""
    yield "prevalence, sensitivity/specificity, gold", "judge + Wilson", "gold only", "PPI++", "stratified gold"
    rng = np.random.default_rng(1)
    for prevalence, sensitivity, specificity, gold in GRID:
        truth = np.arange(TRACES) < round(prevalence * TRACES)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ("judge", "gold", "ppi", "stratified")}
        for r in range(repeats):
            says = np.where(truth, rng.random(TRACES) < sensitivity, rng.random(TRACES) >= specificity)
            low, high = intervals.wilson(says.sum(), TRACES)
            found["judge"].append((float(low), float(high)))
            drawn = rng.permutation(TRACES)[:gold]
            low, high = intervals.wilson(truth[drawn].sum(), gold)
            found["gold"].append((float(low), float(high)))
            rest = np.setdiff1d(np.arange(TRACES), drawn)
            powered = judged.ppi(says[rest], truth[drawn], says[drawn])
            found["ppi"].append((powered.low, powered.high))
            yes, no = np.flatnonzero(says), np.flatnonzero(~says)
            picked = [rng.permutation(side)[: min(gold // 2, len(side))] for side in (yes, no)]
            counts = [(int(truth[p].sum()), len(p)) for p in picked]
            corrected = judged.stratified_gold(len(yes), len(no), counts[0], counts[1], seed=r)
            found["stratified"].append((corrected.low, corrected.high))
        share = truth.mean()
        yield (
            f"{prevalence:.0%}, {sensitivity:.2f}/{specificity:.2f}, {gold}",
            *(_covered(found[name], share) for name in ("judge", "gold", "ppi", "stratified")),
        )


def _covered(ends: list[tuple[float, float]], truth: float | np.ndarray) -> str:
    low, high = np.array(ends).T
    return f"{((low <= truth) & (truth <= high)).mean():.1%} / {(high - low).mean():.3f}"


def pooled(repeats: int) -> Iterator[Row]:
    """Gold of several labels read once a trace: coverage and width by label's own sample, and by every reading at hand."""
    yield (
        "labels, traces, gold a label",
        "readings, label by label",
        "readings, pooled",
        "own sample",
        "every reading as if at random",
    )
    rng = np.random.default_rng(6)
    for labels, traces, gold in ((6, 300, 40), (10, 300, 40), (6, 2_000, 100), (6, 300, 20)):
        apart, together = [], []
        own: list[tuple[float, float, float]] = []
        every: list[tuple[float, float, float]] = []
        for r in range(max(repeats // 10, 20)):
            trouble = rng.beta(0.6, 2.0, traces)  # what makes the labels go together
            truth = rng.random((traces, labels)) < trouble[:, None] * np.linspace(0.2, 0.9, labels)
            says = np.where(truth, rng.random(truth.shape) < 0.85, rng.random(truth.shape) >= 0.95)
            order = rng.permutation(traces)
            chosen = [
                [order[says[order, i] == side][: gold // 2] for side in (True, False)] if says[:, i].any() else []
                for i in range(labels)
            ]
            read = np.unique(np.concatenate([side for sides in chosen for side in sides]))
            apart.append(sum(len(side) for sides in chosen for side in sides))
            together.append(len(read))
            for i, sides in enumerate(chosen):
                if sides:
                    at_hand = [read[says[read, i] == side] for side in (True, False)]
                    share = truth[:, i].mean()
                    own.append((*_gold_interval(truth[:, i], says[:, i], sides, r), share))
                    every.append((*_gold_interval(truth[:, i], says[:, i], at_hand, r), share))
        yield (
            f"{labels}, {traces:,}, {gold}",
            f"{np.mean(apart):.0f}",
            f"{np.mean(together):.0f}",
            *(
                _covered([(low, high) for low, high, _ in ends], np.array([e[2] for e in ends]))
                for ends in (own, every)
            ),
        )


def _gold_interval(truth: np.ndarray, says: np.ndarray, sides: list[np.ndarray], seed: int) -> tuple[float, float]:
    counts = [(int(truth[side].sum()), len(side)) for side in sides]
    found = judged.stratified_gold(int(says.sum()), int((~says).sum()), counts[0], counts[1], seed=seed)
    return found.low, found.high


def _confounded(
    rng: np.random.Generator, tasks: int, trials: int, keys: int, effect: float, affected: int
) -> tuple[strata.Cells, strata.Strata]:
    """Runs of tasks that differ in difficulty; each property goes with difficulty, `affected` of them also with failing."""
    hard = rng.beta(0.7, 0.7, tasks)
    lean = rng.normal(0, 2, keys)
    rare = np.where(np.arange(keys) % 2, 2.5, 0.0)  # every other property is rare, so that its tables are tiny
    present = rng.random((tasks, trials, keys)) < 1 / (1 + np.exp(rare - lean * (hard[:, None] - 0.5)))[:, None, :]
    risk = hard[:, None] + effect * present[:, :, :affected].sum(axis=2) if affected else hard[:, None]
    passed = rng.random((tasks, trials)) >= np.clip(risk, 0, 1)
    m, a = present.sum(axis=1), (present & passed[:, :, None]).sum(axis=1)
    task, key = np.nonzero(m)
    order = np.lexsort((task, key))
    task, key = task[order], key[order]
    cells = strata.Cells(keys, key, task, m[task, key].astype(float), a[task, key].astype(float))
    return cells, strata.Strata(np.full(tasks, float(trials)), passed.sum(axis=1).astype(float))


def size(repeats: int) -> Iterator[Row]:
    """A null in which every property goes with difficulty: share of p < .05 (at most 5 % is right)."""
    yield "tasks x runs", "Fisher", "CMH, exact where tiny", "of which chi-square", "of which exact", "van Elteren"
    rng = np.random.default_rng(2)
    for tasks, trials in ((50, 4), (200, 4), (40, 20), (500, 3)):
        crude, found, exact, ranked = [], [], [], []
        for _ in range(max(repeats // 20, 10)):
            cells, within = _confounded(rng, tasks, trials, 50, 0.0, 0)
            n, y = np.full(50, within.n.sum()), np.full(50, within.y.sum())
            crude.append(strata.fisher(cells.sum(cells.a), cells.sum(cells.m), y, n)[0])
            tested = strata.association(cells, within)
            found.append(tested.p)
            exact.append(tested.exact)
        for _ in range(max(repeats // 4, 50)):
            task = np.repeat(np.arange(tasks), trials)
            hard = rng.beta(0.7, 0.7, tasks)[task]
            value = np.round(rng.exponential(5 + 10 * hard))
            ranked.append(ranks.compare_ranks(value, rng.random(len(task)) >= hard, task).p)
        p, was_exact = np.concatenate(found), np.concatenate(exact)
        yield (
            f"{tasks} x {trials}",
            *(_rate(x) for x in (np.concatenate(crude), p, p[~was_exact], p[was_exact], np.array(ranked))),
        )


def _rate(p: np.ndarray) -> str:
    p = p[~np.isnan(p)]
    return f"{(p < 0.05).mean():.1%} of {len(p)}" if len(p) else "-"


def discoveries(repeats: int) -> Iterator[Row]:
    """Of what q <= 0.1 calls a discovery, the mean share that is false (at most 10 % is right); 200 properties tried."""
    yield "tasks x runs, truly affected", "Fisher + BH", "CMH + BH", "CMH + Tarone + BH", "found of the true"
    rng = np.random.default_rng(3)
    for tasks, trials, affected in ((50, 4, 0), (100, 8, 0), (100, 8, 5), (200, 8, 10)):
        false: dict[str, list[float]] = {name: [] for name in ("crude", "cmh", "tarone")}
        power = []
        for _ in range(max(repeats // 10, 20)):
            cells, within = _confounded(rng, tasks, trials, 200, 0.25, affected)
            n, y = np.full(200, within.n.sum()), np.full(200, within.y.sum())
            crude = strata.fisher(cells.sum(cells.a), cells.sum(cells.m), y, n)[0]
            tested = strata.association(cells, within)
            kept = multiplicity.testable(tested.least_p)
            filtered = np.full(200, np.nan)
            filtered[kept] = multiplicity.q_values(tested.p[kept])
            q = {"crude": multiplicity.q_values(crude), "cmh": multiplicity.q_values(tested.p), "tarone": filtered}
            for name, values in q.items():
                called = np.nan_to_num(values, nan=1.0) <= 0.1
                false[name].append(called[affected:].sum() / max(called.sum(), 1))
            power.append((np.nan_to_num(filtered[:affected], nan=1.0) <= 0.1).mean() if affected else np.nan)
        found = "-" if not affected else f"{np.mean(power):.0%}"
        yield (
            f"{tasks} x {trials}, {affected} of 200",
            *(f"{np.mean(false[name]):.1%}" for name in ("crude", "cmh", "tarone")),
            found,
        )


def effects(repeats: int) -> Iterator[Row]:
    """Adjusted effects: how often the 95 % interval holds the true difference, and its mean width."""
    yield "tasks x runs, difference", "crude, Newcombe", "Mantel-Haenszel, Klingenberg", "Cliff's delta over tasks"
    rng = np.random.default_rng(4)
    for tasks, trials, effect in ((50, 4, 0.0), (50, 4, 0.2), (30, 10, 0.2), (300, 4, 0.1)):
        crude, within, delta = [], [], []
        for _ in range(repeats):
            hard = rng.uniform(0.1, 0.7, tasks)
            task = np.repeat(np.arange(tasks), trials)
            has = rng.random(tasks * trials) < 0.2 + 0.6 * hard[task]
            passed = rng.random(tasks * trials) < 1 - hard[task] - effect * has
            m, a = np.bincount(task, has).astype(float), np.bincount(task, has & passed).astype(float)
            size_, good = np.bincount(task).astype(float), np.bincount(task, passed).astype(float)
            here = np.flatnonzero(m)
            cells = strata.Cells(1, np.zeros(len(here), int), here, m[here], a[here])
            table = strata.Strata(size_, good)
            adjusted = strata.risk_difference(cells, table)
            within.append((adjusted.low[0], adjusted.high[0]))
            _, low, high = intervals.newcombe(a.sum(), m.sum(), good.sum() - a.sum(), len(task) - m.sum())
            crude.append((float(low), float(high)))
            number = ranks.compare_ranks(passed.astype(float), has, task)
            delta.append((number.low, number.high))
        yield (f"{tasks} x {trials}, {-effect:+.1f}", *(_covered(ends, -effect) for ends in (crude, within, delta)))


def null(repeats: int) -> Iterator[Row]:
    """tau-bench airline with its outcomes permuted within each task: what is still called significant is false."""
    source = ROOT.parent / "shared" / "corpora" / "taubench" / "gpt-4o-airline.json"
    if not source.exists():
        yield ("skipped", f"needs {source}")
        return
    from insights.corpus.load import ingest
    from primitives import open_corpus

    with tempfile.TemporaryDirectory() as folder:
        ingest([source], Path(folder) / "a.corpus", jobs=1)
        corpus = open_corpus(Path(folder) / "a.corpus")
        runs = corpus.con.execute("SELECT trace_id, task_id, success FROM traces ORDER BY 1").fetchall()
        rng = np.random.default_rng(5)
        yield "permutations", "verb", "with p < .05, per 100 tried", "permutations with any q <= 0.1"
        hits: dict[str, list[tuple[float, bool]]] = {"sequences": [], "compare": [], "rules": []}
        times = max(repeats // 50, 5)
        for _ in range(times):
            passed = _dealt(rng, runs)
            a = "SELECT trace_id FROM (SELECT unnest([" + ", ".join(f"'{t}'" for t in passed) + "]) AS trace_id)"
            for name in hits:
                frame = _called(corpus, name, a)
                tried = frame.attrs.get("tried", 0) or 1
                low, sure = int((frame["p"] < 0.05).sum()), bool((frame["q"] <= 0.1).any())
                hits[name].append((100 * low / tried, sure))
        for name, found in hits.items():
            rates, any_ = np.array([f[0] for f in found]), sum(f[1] for f in found)
            yield (str(times), name, f"{rates.mean():.1f}", f"{any_} of {times}")


def _dealt(rng: np.random.Generator, runs: list[tuple[Any, ...]]) -> list[str]:
    """Trace ids that pass after the outcomes were dealt out again within each task."""
    tasks: dict[str, list[tuple[str, bool]]] = {}
    for trace_id, task, success in runs:
        tasks.setdefault(task, []).append((trace_id, success))
    passed = []
    for members in tasks.values():
        dealt = rng.permutation([success for _, success in members])
        passed += [trace_id for (trace_id, _), success in zip(members, dealt, strict=True) if success]
    return passed


def _called(corpus: Any, name: str, passed: str) -> Any:
    if name == "rules":
        return corpus.rules(outcome=f"trace_id IN ({passed})", limit=1_000)
    if name == "sequences":
        return corpus.sequences(passed, limit=10_000)
    return corpus.compare(passed, features=["numbers", "tools", "tool_errors", "terms:task"], limit=10_000)


def speed(repeats: int) -> Iterator[Row]:
    """Seconds over 50,000 simulated traces (20 calls and 41 steps each, 10,000 tasks)."""
    from primitives import open_corpus

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        corpus = open_corpus(_large(Path(folder), 2_000 if repeats < 500 else 50_000))
        yield "verb", "seconds", "tried"
        yield "(making the corpus)", f"{time.perf_counter() - began:.1f}", ""
        calls: dict[str, Callable[[], Any]] = {
            "prevalence": lambda: corpus.prevalence("n_tool_errors > 1"),
            "sequences": corpus.sequences,
            "compare": corpus.compare,
            "outliers": corpus.outliers,
            "drift": lambda: corpus.drift("model"),
            "rules (10,000 of the traces)": corpus.rules,
            "deviations": lambda: corpus.deviations(by="class"),
        }
        for name, call in calls.items():
            began = time.perf_counter()
            frame = call()
            yield name, f"{time.perf_counter() - began:.1f}", str(frame.attrs.get("tried", ""))


def _large(folder: Path, traces: int) -> Path:
    import duckdb

    home = folder / "large.corpus"
    (home / "labels").mkdir(parents=True)
    con = duckdb.connect(str(home / "traces.duckdb"))
    con.execute((ROOT / "insights" / "corpus" / "schema.sql").read_text(encoding="utf-8"))
    con.execute("INSERT INTO corpus_info (schema_version, fingerprint) VALUES (1, 'large')")
    con.execute("SELECT setseed(0.5)")
    con.execute(
        f"""INSERT INTO traces (trace_id, source_id, root_trace_id, dataset, task_id, model, success, input_text,
          final_output, n_steps, n_tool_calls, n_tool_errors, output_tokens, cost_usd, duration_s, started_at)
        SELECT 't' || i, 's', 't' || i, 'd', 'task' || (i // 5), 'm' || (i % 3), random() < 0.3 + 0.4 * ((i // 5) % 2),
          'please do thing' || (i // 5) % 200 || ' with word' || (i // 5) % 300, 'done word' || i % 70, 41, 20,
          (random() * 3)::INT, (random() * 1e4)::INT, random(), random() * 100, TIMESTAMPTZ '2025-01-01'
        FROM range({traces}) r(i)"""
    )
    con.execute(
        f"""INSERT INTO tool_calls (trace_id, tool_call_key, call_seq, call_index, name, args, result_text, result_len,
          status, requestor)
        SELECT 't' || i, j::VARCHAR, 2 * j + 1, 0, 'tool' || (random() * random() * 30)::INT,
          '{{"q": "' || (random() * 10)::INT || '", "path": "/a/b"}}',
          '{{"status": "' || (random() * 4)::INT || '", "name": "bob"}}', 40,
          CASE WHEN random() < 0.05 THEN 'error' ELSE 'ok' END, 'assistant' FROM range({traces}) r(i), range(20) s(j)"""
    )
    con.execute(
        f"""INSERT INTO steps (trace_id, seq, kind, role, text, n_tool_calls, on_path)
        SELECT 't' || i, k, 'message', CASE WHEN k % 8 = 0 THEN 'user' ELSE 'assistant' END,
          'some text of step ' || k || ' word' || (random() * 100)::INT, (k % 8 <> 0)::INT, true
        FROM range({traces}) r(i), range(41) s(k)"""
    )
    con.close()
    return home


QUESTIONS: dict[str, Callable[[int], Iterator[Row]]] = {
    "coverage": coverage,
    "pooled": pooled,
    "size": size,
    "discoveries": discoveries,
    "effects": effects,
    "null": null,
    "speed": speed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 repeats and small corpora instead of 2,000")
    parser.add_argument("--only", default=",".join(QUESTIONS), help="comma-separated questions")
    parser.add_argument("-o", "--output", type=Path, help="write the tables here as well")
    options = parser.parse_args()
    lines = []
    for name in options.only.split(","):
        began = time.perf_counter()
        rows = list(QUESTIONS[name](200 if options.quick else 2_000))
        lines += [f"## {name}", "", QUESTIONS[name].__doc__ or "", ""]
        for i, row in enumerate(rows):
            lines.append("| " + " | ".join(row) + " |")
            if i == 0:
                lines.append("|" + "---|" * len(row))
        lines += ["", f"{time.perf_counter() - began:.0f} s", ""]
        print("\n".join(lines[-len(rows) - 8 :]), flush=True)
    if options.output:
        options.output.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
