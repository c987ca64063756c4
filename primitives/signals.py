"""What the detectors saw, by detector and by outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve
from primitives.registry import verb

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

ROWS = 100


@verb
def signals(corpus: Corpus, population: Any = None, *, detector: str | None = None) -> pd.DataFrame:
    """What detectors fired in a population: traces, share, and how the traces with and without them ended.

    population: which traces (a SELECT of trace_id, a WHERE over `traces`, a cohort's name, ids); all when None.
    detector: one detector, shown split by its severity; all when None.

    Columns: detector, severity, n_signals, n_traces, n (size of the population), share (0 to 1), passed_with, judged_with,
        passed_without, judged_without (traces with a verdict), trace_id, seq, detail (the first example).
    At most 100 rows, most traces first. Not adjusted for task: use `compare` or `prevalence` before blaming anything.

    >>> signals("NOT success")
    """
    return corpus.con.execute(
        f"""
        WITH eligible AS (SELECT trace_id, success FROM traces WHERE trace_id IN ({resolve(corpus, population)})),
        total AS (SELECT count(*) AS n, count(*) FILTER (success) AS passed, count(success) AS judged FROM eligible),
        fired AS (SELECT g.*, e.success FROM signals g JOIN eligible e USING (trace_id)
            WHERE $detector IS NULL OR g.detector = $detector),
        by_trace AS (SELECT detector, CASE WHEN $detector IS NULL THEN NULL ELSE severity END AS part,
            max(severity) AS severity, trace_id, any_value(success) AS success, count(*) AS n_signals,
            arg_min(struct_pack(seq := seq, detail := detail), seq) AS first FROM fired GROUP BY ALL)
        SELECT detector, mode(severity ORDER BY severity) AS severity, sum(n_signals)::BIGINT AS n_signals,
            count(*) AS n_traces, any_value(total.n) AS n, round(count(*) / any_value(total.n), 4) AS share,
            count(*) FILTER (success) AS passed_with, count(success) AS judged_with,
            any_value(total.passed) - count(*) FILTER (success) AS passed_without,
            any_value(total.judged) - count(success) AS judged_without,
            min(trace_id) AS trace_id, arg_min(first.seq, trace_id) AS seq,
            left(arg_min(first.detail, trace_id), 300) AS detail
        FROM by_trace, total GROUP BY detector, part ORDER BY n_traces DESC, detector, severity LIMIT {ROWS}""",
        {"detector": detector},
    ).df()
