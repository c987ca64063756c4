"""How a trace did by rule: a score anyone can add up, and the causes its detectors and its ending stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve
from primitives.registry import verb
from primitives.settings import shipped

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus


@verb
def score(corpus: Corpus, population: Any = None, *, limit: int = 100) -> pd.DataFrame:
    """A score per trace: 100 minus, for each detector, weight times how often it fired up to a cap; lowest first.

    population: which traces (a SELECT of trace_id, a WHERE over `traces`, a cohort's name, ids: `score([trace_id])` for
        one); all when None. limit: rows, at most 1,000.

    Columns: trace_id, score (0 to 100), success, n_signals, taken (one text that adds up to 100 - score:
        "retry_loop -10 (2 x 5) at #7, …").
    It orders traces for reading; it is no verdict and was fitted to nothing. Weights and cap: configs/score.yaml.

    >>> score("NOT success", limit=5)
    """
    settings = shipped("score")
    return corpus.con.execute(
        f"""
        WITH weights AS (SELECT unnest($severities::VARCHAR[]) AS severity, unnest($points::DOUBLE[]) AS weight),
        own AS (SELECT unnest($names::VARCHAR[]) AS detector, unnest($own::DOUBLE[]) AS weight),
        eligible AS (SELECT trace_id, success FROM traces WHERE trace_id IN ({resolve(corpus, population)})),
        fired AS (SELECT trace_id, detector, count(*) AS n, min(seq) AS seq,
            max(coalesce(own.weight, weights.weight, 0)) AS weight
            FROM signals JOIN eligible USING (trace_id) LEFT JOIN own USING (detector) LEFT JOIN weights
            ON weights.severity = signals.severity GROUP BY ALL),
        taken AS (SELECT *, least(n, $cap) * weight AS points FROM fired),
        totals AS (SELECT trace_id, sum(points) AS points, sum(n)::BIGINT AS n_signals,
            string_agg(format('{{}} -{{:g}} ({{}} x {{:g}}) at #{{}}', detector, points, least(n, $cap), weight, seq), ', '
                ORDER BY points DESC, detector) FILTER (points > 0) AS taken FROM taken GROUP BY trace_id)
        SELECT trace_id, greatest(100 - coalesce(points, 0), 0)::DOUBLE AS score, success,
            coalesce(n_signals, 0) AS n_signals, coalesce(taken, '') AS taken
        FROM eligible LEFT JOIN totals USING (trace_id) ORDER BY score, trace_id LIMIT {_rows(limit)}""",
        {
            "severities": list(settings["weights"]),
            "points": [float(v) for v in settings["weights"].values()],
            "names": list(settings["detectors"]),
            "own": [float(v) for v in settings["detectors"].values()],
            "cap": int(settings["cap"]),
        },
    ).df()


@verb
def taxonomy(corpus: Corpus, population: Any = None, *, limit: int = 200) -> pd.DataFrame:
    """The causes each trace shows by rule: its detectors and its ending, with who did it and the taxonomy's class.

    population: as in `score`; all when None. limit: rows, at most 1,000.

    Columns: trace_id, cause (name of a detector or of an ending), actor (agent, simulated_user, environment, grader), class,
        mast (the closest mode of MAST, empty where there is none), severity, n (how often), seq (first step, empty for an
        ending), detail (what was seen there), place (1 is the first to look at: by severity, then how often).
    A detector without an entry in configs/taxonomy.yaml is of class 'unclassified'. These are observations, not causes of
    failure: passing traces have them too (`signals` says how many).

    >>> taxonomy("NOT success", limit=5)
    """
    known = shipped("taxonomy")["causes"]
    ends = shipped("score")["ends"]
    return corpus.con.execute(
        f"""
        WITH known AS (SELECT unnest($names::VARCHAR[]) AS cause, unnest($actors::VARCHAR[]) AS actor,
            unnest($classes::VARCHAR[]) AS class, unnest($mast::VARCHAR[]) AS mast),
        ends AS (SELECT unnest($ends::VARCHAR[]) AS end_reason, unnest($causes::VARCHAR[]) AS cause),
        eligible AS (SELECT trace_id, end_reason, native_end_reason, error_message FROM traces
            WHERE trace_id IN ({resolve(corpus, population)})),
        seen AS (
          SELECT trace_id, detector AS cause, arg_max(severity, {_RANK}) AS severity, max({_RANK}) AS rank, count(*) AS n,
              min(seq) AS seq, arg_min(detail, seq) AS detail FROM signals JOIN eligible USING (trace_id) GROUP BY 1, 2
          UNION ALL SELECT trace_id, cause, 'high', 3, 1, NULL,
              left(concat_ws(': ', coalesce(native_end_reason, end_reason), error_message), 300)
              FROM eligible JOIN ends USING (end_reason))
        SELECT trace_id, cause, coalesce(actor, 'agent') AS actor, coalesce(class, 'unclassified') AS class,
            coalesce(mast, '') AS mast, severity, n, seq, detail,
            row_number() OVER (PARTITION BY trace_id ORDER BY rank DESC, n DESC, cause) AS place
        FROM seen LEFT JOIN known USING (cause) ORDER BY trace_id, place LIMIT {_rows(limit)}""",
        {
            "names": list(known),
            "actors": [c.get("actor", "agent") for c in known.values()],
            "classes": [c.get("class", "unclassified") for c in known.values()],
            "mast": [c.get("mast", "") for c in known.values()],
            "ends": list(ends),
            "causes": list(ends.values()),
        },
    ).df()


_RANK = "list_position(['info', 'low', 'medium', 'high'], severity)"


def _rows(limit: int) -> int:
    if not 1 <= limit <= 1000:
        raise ValueError(f"limit is {limit}; it can be 1 to 1,000")
    return limit
