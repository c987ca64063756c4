"""Where failed runs went wrong: their steps, ranked by a fixed sum over features anyone can work out again."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from primitives.blame_features import FEATURES, features
from primitives.cohort import resolve, size
from primitives.read import find_trace
from primitives.registry import verb
from primitives.settings import shipped
from primitives.sql import Bounded

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from primitives.corpus import Corpus

COLUMNS = ["trace_id", "seq", "agent", "score", "rank", "why"]
MOST_TRACES = 1_000
MOST_STEPS = 20  # of one trace
REASONS = 3
WORTH_SAYING = 0.05  # in log-odds: what a reason must add


@verb
def blame(
    corpus: Corpus,
    trace_id: str | None = None,
    *,
    population: Any = "NOT success",
    top: int = 3,
    limit: int = 200,
) -> pd.DataFrame:
    """The steps of failed traces by how likely each is where the run went wrong, with the reasons.

    trace_id: one trace, whatever its outcome; None: those of population.
    population: which traces (a SELECT of trace_id, a WHERE over `traces`, a cohort's name, ids); the failed ones unless said.
    top: steps for each trace, at most 20.
    limit: traces looked at, at most 1,000: of more, a fixed pseudo-random choice, and a warning says so.

    Columns: trace_id, seq, agent (speaking there, empty where the source names none), score (share of the blame, 0 to 1;
        all steps of a trace add up to 1), rank (1 is the first to read), why (what raises it above the run's average step,
        with the log-odds it adds: "first call of the run +0.8; assumes or makes up data +0.8").
    A place to begin reading and no finding. On labelled runs: short ones that execute code, the first is the step people
    named in four of ten, one of the first three in three of four; long ones without calls, one in ten and one in three; one
    agent with tools, one in six and one in three (docs/blame.md). Two people agree on a step in one of three.
    Method: a conditional logit, coefficients fixed in configs/blame.yaml, features in primitives/blame_features.py.
    Errors: TraceNotFound, CohortNotUnderstood, ValueError for bounds.

    >>> blame(population="NOT success", top=2)
    """
    import numpy as np

    if not 1 <= top <= MOST_STEPS or not 1 <= limit <= MOST_TRACES:
        raise ValueError(f"top can be 1 to {MOST_STEPS} and limit 1 to {MOST_TRACES:,}, not {top} and {limit}")
    frame = features(corpus, _chosen(corpus, trace_id, population, limit))
    x = frame[list(FEATURES)].to_numpy(float)
    run = frame["trace_id"].ne(frame["trace_id"].shift()).cumsum().to_numpy(int) - 1
    weights = coefficients()
    frame["score"] = shares(x @ weights, run)
    frame = frame.sort_values(["trace_id", "score", "seq"], ascending=[True, False, True], kind="stable")
    frame["rank"] = frame.groupby("trace_id").cumcount() + 1
    shown = frame[frame["rank"] <= top]
    adds = (x - _means(x, run)) * weights
    why = [_why(row) for row in adds[shown.index.to_numpy()]] if len(shown) else []
    result = shown.assign(score=np.round(shown["score"], 4), why=why)
    return result[COLUMNS].reset_index(drop=True)


def coefficients() -> NDArray[np.float64]:
    """Those of configs/blame.yaml, fitted and set, in the order of FEATURES. Raises KeyError when a feature has none."""
    import numpy as np

    settings = shipped("blame")
    known = {**settings["coefficients"], **settings["set_by_hand"]}
    return np.array([float(known[name]) for name in FEATURES])


def shares(utility: NDArray[np.float64], run: NDArray[np.int64]) -> NDArray[np.float64]:
    """The softmax of `utility` within each run; `run` numbers the runs from 0, each in one stretch."""
    import numpy as np

    if not len(run):
        return utility
    starts = np.flatnonzero(np.diff(run, prepend=-1))
    e = np.exp(utility - np.maximum.reduceat(utility, starts)[run])
    return e / np.bincount(run, e)[run]


def _chosen(corpus: Corpus, trace_id: str | None, population: Any, limit: int) -> str:
    """The SELECT of the traces to look at; warns when the limit leaves some out."""
    if trace_id is not None:
        return resolve(corpus, [find_trace(corpus, trace_id)])
    chosen = resolve(corpus, population)
    n = size(corpus, population)
    if n > limit:
        warnings.warn(
            f"blame: {limit} of {n} traces are looked at; raise limit or narrow population", Bounded, stacklevel=3
        )
    return f"SELECT trace_id FROM ({chosen}) ORDER BY md5(trace_id) LIMIT {limit}"


def _means(x: NDArray[np.float64], run: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each step the mean of every feature over its run."""
    import numpy as np

    if not len(run):
        return x
    starts = np.flatnonzero(np.diff(run, prepend=-1))
    return (np.add.reduceat(x, starts) / np.bincount(run)[:, None])[run]


def _why(adds: NDArray[np.float64]) -> str:
    """The features that add most, in words; a feature below the run's average is said by its low wording, if any."""
    found = []
    for (_, high, low), weight, add in zip(FEATURES.values(), coefficients(), adds, strict=True):
        words = high if weight > 0 else low
        if add >= WORTH_SAYING and words:
            found.append((add, words))
    found.sort(key=lambda reason: -reason[0])
    return "; ".join(f"{words} {add:+.1f}" for add, words in found[:REASONS])
