"""Which step is to blame? Who&When: a published rule, and the ranker of `blame` under cross-validation.

    python benchmarks/who_and_when.py [--seeds 20] [--folds 10] [--write] [FOLDER]

A step counts as found when its number equals the annotators' (integers, never a part of a text). FOLDER holds copies of
Who&When (`whowhen`) and of AgentRx (`agentrx`), ../shared/corpora unless said. --write fits the coefficients on all of
Algorithm-Generated, puts them into configs/blame.yaml and the tables into docs/blame.md; without it they are only printed.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # matrices of 20 columns: threads only wait for each other

import numpy as np  # noqa: E402
from scipy.optimize import minimize  # noqa: E402

from primitives import open_corpus  # noqa: E402
from primitives.blame import coefficients, shares  # noqa: E402
from primitives.blame_features import FEATURES, features  # noqa: E402
from primitives.settings import shipped  # noqa: E402
from primitives.stats.intervals import wilson  # noqa: E402

FITTED = "Algorithm-Generated"  # the subset that the shipped coefficients come from
SETS = {  # name: (folder, dataset in the corpus)
    FITTED: ("whowhen", "Algorithm-Generated"),
    "Hand-Crafted": ("whowhen", "Hand-Crafted"),
    "AgentRx, tau-bench retail": ("agentrx", "tau_dataset_failed"),
}
FEWEST = 50  # traces from which a set is cross-validated
PENALTIES = (1.0, 3.0, 10.0, 30.0)  # of which the inner folds choose
INNER = 5
FLIPS = 20_000
CONFIG = ROOT / "configs" / "blame.yaml"
DOCS = ROOT / "docs" / "blame.md"


@dataclass(frozen=True)
class Labelled:
    """Candidate steps of labelled traces, one row each, in order of trace; `run` numbers the traces from 0."""

    x: np.ndarray
    run: np.ndarray
    hit: np.ndarray  # is the annotators' step
    right_agent: np.ndarray  # is of the annotators' agent; nan where the traces name no agents
    rule: np.ndarray  # per trace: (agent, step) found by the rule
    last: np.ndarray  # per trace: (agent, step) found by "the last step"
    group: np.ndarray  # per trace: runs of equal text stay in one fold (no question occurs twice in a subset)

    def of(self, traces: np.ndarray) -> Labelled:
        """Only these traces (a mask), numbered from 0 again."""
        kept = traces[self.run]
        run = (np.cumsum(traces) - 1)[self.run[kept]]
        rows = (self.x[kept], run, self.hit[kept], self.right_agent[kept])
        return Labelled(*rows, self.rule[traces], self.last[traces], self.group[traces])

    @property
    def n(self) -> int:
        return len(self.group)


RULE = """
WITH labels AS (SELECT trace_id, seq AS labelled, label AS agent FROM annotations
  WHERE kind = 'failure' AND seq IS NOT NULL AND coalesce(extra->>'root_cause', 'true') = 'true'),
failing AS (SELECT trace_id, min(result_seq) AS seq FROM tool_calls WHERE status = 'error' GROUP BY 1),
picked AS (SELECT trace_id, labelled, labels.agent, coalesce(failing.seq - 1, 0) AS rule, (SELECT max(seq) FROM steps s
    WHERE s.trace_id = t.trace_id) AS last, fingerprint, task_id
  FROM traces t JOIN labels USING (trace_id) LEFT JOIN failing USING (trace_id) WHERE dataset = $dataset)
SELECT p.trace_id, labelled, p.agent, coalesce(fingerprint, task_id), coalesce(r.agent = p.agent, false), rule = labelled,
  coalesce(l.agent = p.agent, false), last = labelled
FROM picked p JOIN steps r ON r.trace_id = p.trace_id AND r.seq = rule JOIN steps l ON l.trace_id = p.trace_id AND l.seq = last
ORDER BY p.trace_id"""


def load(corpus: Any, dataset: str) -> Labelled:
    rows = corpus.con.execute(RULE, {"dataset": dataset}).fetchall()
    ids = {row[0]: i for i, row in enumerate(rows)}
    steps = features(corpus, f"SELECT trace_id FROM traces WHERE dataset = '{dataset}'")
    steps = steps[steps["trace_id"].isin(ids)]
    run = steps["trace_id"].map(ids).to_numpy(int)
    if len(set(run)) < len(rows):
        raise SystemExit(f"{dataset}: {len(rows) - len(set(run))} labelled traces have no step of an agent")
    unnamed = np.nan if steps["agent"].isna().all() else 0.0
    named = np.array([unnamed, 0.0])
    return Labelled(
        steps[list(FEATURES)].to_numpy(float),
        run,
        steps["seq"].to_numpy(int) == np.array([row[1] for row in rows])[run],
        (steps["agent"].to_numpy(object) == np.array([row[2] for row in rows], object)[run]) + unnamed,
        np.array([row[4:6] for row in rows], float) + named,
        np.array([row[6:8] for row in rows], float) + named,
        np.unique([row[3] for row in rows], return_inverse=True)[1],
    )


def ingested(folder: Path, dataset: str) -> Labelled:
    """The labelled traces of a folder, read by the program itself."""
    if not folder.is_dir():
        raise SystemExit(f"{folder} is not there: name the folder that holds copies of whowhen and agentrx")
    with tempfile.TemporaryDirectory() as home:
        target = Path(home) / "a.corpus"
        command = [sys.executable, "-m", "insights", "ingest", str(folder), "-o", str(target)]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        corpus = open_corpus(target)
        data = load(corpus, dataset)
        corpus.con.close()
    return data


def fit(data: Labelled, penalty: float) -> np.ndarray:
    """Conditional logit with an L2 penalty: one choice of a step per trace. A trace whose label is no candidate is left out."""
    data = data.of(np.bincount(data.run, data.hit, data.n) > 0)
    x, run, chosen = data.x, data.run, data.hit
    starts = np.flatnonzero(np.diff(run, prepend=-1))

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        p = shares(x @ w, run)
        return -np.log(p[chosen]).sum() + penalty / 2 * w @ w, x.T @ (p - chosen) + penalty * w

    def curvature(w: np.ndarray) -> np.ndarray:
        weighted = x * shares(x @ w, run)[:, None]
        means = np.add.reduceat(weighted, starts)
        return weighted.T @ x - means.T @ means + penalty * np.eye(len(w))

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, hess=curvature, method="trust-exact")
    if not found.success:
        raise SystemExit(f"the fit did not converge: {found.message}")
    return found.x


def folds(group: np.ndarray, k: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """For each fold a mask of the traces held out; a group is never split."""
    fold = rng.permutation(group.max() + 1) % k
    for i in range(k):
        if (fold[group] == i).any():
            yield fold[group] == i


def choose(data: Labelled, rng: np.random.Generator) -> float:
    """The penalty under which held-out labels are likeliest."""
    held = list(folds(np.unique(data.group, return_inverse=True)[1], INNER, rng))

    def likelihood(penalty: float) -> float:
        total = 0.0
        for out in held:
            rest, test = data.of(~out), data.of(out)
            total += np.log(shares(test.x @ fit(rest, penalty), test.run)[test.hit]).sum()
        return total

    return max(PENALTIES, key=likelihood)


def cross_validated(data: Labelled, k: int, seed: int) -> np.ndarray:
    """The share of the blame for every step, by coefficients fitted on other traces."""
    rng = np.random.default_rng(seed)
    p = np.zeros(len(data.run))
    for out in folds(data.group, k, rng):
        rest, test = data.of(~out), data.of(out)
        p[out[data.run]] = shares(test.x @ fit(rest, choose(rest, rng)), test.run)
    return p


def found(data: Labelled, p: np.ndarray) -> np.ndarray:
    """Per trace: agent right, step right, step among the first three, share given to the first step."""
    order = np.lexsort((np.arange(len(p)), -p, data.run))
    place = np.arange(len(p)) - np.flatnonzero(np.diff(data.run, prepend=-1))[data.run]
    first, three = order[place == 0], order[place < 3]
    within = np.bincount(data.run[three], data.hit[three], data.n) > 0
    return np.column_stack([data.right_agent[first], data.hit[first], within, p[first]]).astype(float)


def chance(data: Labelled) -> np.ndarray:
    """The same for a step drawn at random among the candidates."""
    size = np.bincount(data.run)
    hit, agent = np.bincount(data.run, data.hit), np.bincount(data.run, data.right_agent)
    return np.column_stack([agent / size, hit / size, hit * np.minimum(3 / size, 1), 1 / size])


def paired(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float, float]:
    """(difference, low, high, p) of two methods on the same traces: bootstrap of traces, and signs flipped at random."""
    rng = np.random.default_rng(0)
    d = a - b
    drawn = d[rng.integers(0, len(d), (FLIPS, len(d)))].mean(axis=1)
    flipped = (rng.choice([-1, 1], (FLIPS, len(d))) * d).mean(axis=1)
    p = (1 + (np.abs(flipped) >= abs(d.mean()) - 1e-12).sum()) / (FLIPS + 1)
    return d.mean(), *np.quantile(drawn, [0.025, 0.975]), p


def report(data: dict[str, Labelled], fitted: np.ndarray, k: int, seeds: int) -> Iterator[str]:
    """The tables, line by line; `fitted` are the coefficients fitted on FITTED."""
    yield "| runs | method | agent | step | step among the first three |"
    yield "|---|---|---|---|---|"
    notes = []
    for name, d in data.items():
        title = f"{name} (n = {d.n})"
        yield _row(title, "a step of an agent, drawn at random", chance(d))
        yield _row(title, "rule: the step before the first failing output, else step 0", d.rule)
        yield _row(title, "rule: the last step", d.last)
        better = max(
            (d.rule, "the failing-output rule"), (d.last, "the last-step rule"), key=lambda r: r[0][:, 1].sum()
        )
        if d.n >= FEWEST:
            runs = [found(d, cross_validated(d, k, seed)) for seed in range(seeds)]
            crossed = np.mean(runs, axis=0)
            yield _row(title, f"ranker, {k}-fold cross-validation, mean of {seeds} seeds", crossed)
            notes.append(_note(f"{name}, cross-validated", crossed, *better, [run[:, 1].mean() for run in runs]))
        if name != FITTED:
            moved = found(d, shares(d.x @ fitted, d.run))
            yield _row(title, f"`blame`, fitted on {FITTED}", moved)
            notes.append(_note(f"{name}, `blame` as shipped", moved, *better, []))
    yield ""
    yield from notes


def _row(title: str, method: str, hits: np.ndarray) -> str:
    cells = []
    for column in range(3):
        if column >= hits.shape[1] or np.isnan(hits[:, column]).any():
            cells.append("–")
            continue
        k, n = hits[:, column].sum(), len(hits)
        low, high = wilson(k, n)
        cells.append(f"{k / n:.1%} ({low:.1%}–{high:.1%})".replace("%–", "–").replace("%", " %"))
    return f"| {title} | {method} | {' | '.join(cells)} |"


def _note(title: str, hits: np.ndarray, baseline: np.ndarray, against: str, seeds: list[float]) -> str:
    d, low, high, p = paired(hits[:, 1], baseline[:, 1])
    spread = f" Between seeds: {min(seeds):.1%} to {max(seeds):.1%}." if seeds else ""
    return (
        f"- {title}: step {d:+.1%} against {against} ({low:+.1%} to {high:+.1%}, bootstrap of traces; p = {p:.3g}, sign flips "
        f"within traces).{spread} Mean score of the first step {hits[:, 3].mean():.1%}, right {hits[:, 1].mean():.1%}."
    ).replace("%", " %")


def write(data: Labelled, penalty: float, weights: np.ndarray) -> None:
    """Put the fitted coefficients into the configuration, and leave those set by hand as they are."""
    by_hand = shipped("blame")["set_by_hand"]
    fitted = {name: w for name, w in zip(FEATURES, weights, strict=True) if name not in by_hand}
    lines = [
        "# How `blame` weighs the features of a step (primitives/blame_features.py): log-odds within one trace.",
        "# How well they do: docs/blame.md.",
        "",
        "# A conditional logit; written by benchmarks/who_and_when.py --write.",
        f"fitted: {{date: {datetime.date.today().isoformat()}, corpus: 'Who&When, {FITTED}', traces: {data.n}, l2: {penalty:g}}}",
        "coefficients:",
        *(f"  {name}: {w:.3f}" for name, w in fitted.items()),
        "",
        "# Fitted to nothing: in the runs above no call changes anything and there are no reference actions.",
        "set_by_hand:",
        *(f"  {name}: {w}" for name, w in by_hand.items()),
    ]
    CONFIG.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shipped.cache_clear()


def publish(figures: str) -> None:
    """Put the tables into docs/blame.md, between their marks."""
    weights = coefficients()
    rows = [
        f"| `{name}` | {w:+.2f} | {words} |"
        for w, (name, (_, words, _)) in sorted(zip(weights, FEATURES.items(), strict=True), key=lambda r: -abs(r[0]))
    ]
    features_table = "\n".join(["| feature | weight | what it says of a step |", "|---|---|---|", *rows])
    text = DOCS.read_text(encoding="utf-8")
    for mark, block in (("figures", figures), ("features", features_table)):
        pattern, new = rf"<!-- {mark} -->.*?<!-- /{mark} -->", f"<!-- {mark} -->\n{block}\n<!-- /{mark} -->"
        text = re.sub(pattern, lambda _, new=new: new, text, flags=re.S)
    DOCS.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "corpora")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    data = {name: ingested(args.folder / folder, dataset) for name, (folder, dataset) in SETS.items()}
    if args.write:
        penalty = choose(data[FITTED], np.random.default_rng(0))
        write(data[FITTED], penalty, fit(data[FITTED], penalty))
    text = "\n".join(report(data, coefficients(), args.folds, args.seeds))
    print(text)
    if args.write:
        publish(text)


if __name__ == "__main__":
    main()
