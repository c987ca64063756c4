"""The answers: SQL over the ingested corpora for every fact that is a count. `FACTS[(corpus, id)](q)` gives the value.

`q(sql)` returns the rows of a query as lists. Facts that no query over the corpus can answer stand in `CANNOT`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

Query = Callable[[str], list[Any]]
FACTS: dict[tuple[str, str], Callable[[Query], Any]] = {}
IDS: dict[tuple[str, str], Callable[[Query], Any]] = {}

CANNOT = {
    (
        "taubench",
        "A10",
    ): "pairs results with calls by id, and this file repeats ids: off by one at #58 and #196 (see CORRECTED)",
    ("taubench", "A11"): "as A10: off by two, #126 among them (see CORRECTED)",
    ("sweagent", "S17"): "about repositories that are not in this part of the corpus",
    ("miniswe", "N9"): "needs the rerun, which is not in this part of the corpus",
    ("aider", "E7"): "counts the chats of three runs that are not in this part of the corpus",
    ("aider", "E11"): "as E7",
    ("agentrx", "M5"): "joins two corpora; both sides are tested on their own (M4, whowhen W2)",
}
CORRECTED = {  # what is right where the facts are not
    ("taubench", "A10"): {
        "no action: a change was required, none was made": 28,
        "same kinds of change, wrong arguments or order or output": 26,
        "missing some required change(s)": 21,
        "over-action: changed the database though nothing had to change": 21,
        "extra change(s) beyond the required": 14,
        "wrong kind of change": 4,
        "no change required, none made (wrong information or other)": 2,
    },
    ("taubench", "A11"): {
        "same kinds of change, wrong arguments or order or output": 27,
        "no change required, none made (wrong information or other)": 57,
    },
}


# SQL that several corpora share; the row in question is `t` of traces
AIRLINE_CHANGES = (
    "'book_reservation','cancel_reservation','send_certificate','update_reservation_baggages',"
    "'update_reservation_flights','update_reservation_passengers'"
)
OWN = "(SELECT * FROM tool_calls WHERE requestor = 'assistant')"
SAME = f"(SELECT trace_id, max(n) most FROM (SELECT trace_id, name, args, count(*) n FROM {OWN} GROUP BY 1, 2, 3) GROUP BY 1)"


def fact(corpus: str, *ids: str) -> Callable[[Callable[[Query], Any]], Callable[[Query], Any]]:
    def register(answer: Callable[[Query], Any]) -> Callable[[Query], Any]:
        for id in ids:
            FACTS[corpus, id] = answer
        return answer

    return register


def traces(corpus: str, id: str) -> Callable[[Callable[[Query], Any]], Callable[[Query], Any]]:
    """Registers the query that gives the ids of the traces a fact counts, in the facts' own way of naming them."""

    def register(answer: Callable[[Query], Any]) -> Callable[[Query], Any]:
        IDS[corpus, id] = answer
        return answer

    return register


def spread(values: Sequence[float]) -> dict[str, Any]:
    """n, quantiles by the index floor(q * n), and mean, as the facts have them."""
    ordered = sorted(values)
    at = {f"p{round(p * 100)}": ordered[min(len(ordered) - 1, int(p * len(ordered)))] for p in (0.25, 0.75, 0.95)}
    return {
        "n": len(ordered),
        "min": ordered[0],
        "p25": at["p25"],
        "median": ordered[len(ordered) // 2],
        "p75": at["p75"],
        "p95": at["p95"],
        "max": ordered[-1],
        "mean": round(sum(ordered) / len(ordered), 1),
    }


def share(k: int, n: int) -> list[Any]:
    return [k, n, round(100 * k / n, 1)]


def tokens(q: Query, where: str = "true") -> list[int]:
    """Characters of text and of arguments by four, a trace, as the facts count them."""
    total: Counter[str] = Counter(
        dict(
            q(
                f"SELECT trace_id, coalesce(sum(length(text)), 0) FROM steps JOIN traces USING (trace_id) WHERE {where} GROUP BY 1"
            )
        )
    )
    for trace, args in q(
        f"SELECT trace_id, CAST(args AS VARCHAR) FROM tool_calls JOIN traces USING (trace_id) WHERE {where}"
    ):
        total[trace] += len(json.dumps(json.loads(args or "{}")))
    return [int(n / 4) for n in total.values()]


CONFIRMS = r"(?i)\b(yes|yep|yeah|confirm|confirmed|proceed|go ahead|sure|please do|that works|sounds good|ok|okay|correct|book it|do it)\b"


def unconfirmed(tools: str, population: str = "traces") -> str:
    """SQL: (trace_id, unasked) of traces that call one of `tools`: whether once the latest user message held no confirmation."""
    return (
        f"SELECT trace_id, bool_or(NOT regexp_matches(said, '{CONFIRMS}')) AS unasked FROM (SELECT c.trace_id, "
        f"coalesce(max_by(s.text, s.seq), '') AS said FROM {population} JOIN tool_calls c USING (trace_id) LEFT JOIN steps s "
        f"ON s.trace_id = c.trace_id AND s.role = 'user' AND s.seq < c.call_seq WHERE c.name IN ({tools}) "
        "GROUP BY c.trace_id, c.call_seq, c.call_index) GROUP BY 1"
    )


def by_outcome(q: Query, condition: str, labels: tuple[str, str] = ("unresolved", "resolved")) -> dict[str, Any]:
    """[k, n, percent] of traces where `condition` (over the row `t` of traces) holds: all, failed, passed."""
    sql = f"SELECT success, count(*) FILTER ({condition}), count(*) FROM traces t GROUP BY 1"
    rows = {r[0]: r[1:] for r in q(sql)}
    failed, passed = rows.get(False, [0, 0]), rows.get(True, [0, 0])
    return {
        "all": share(failed[0] + passed[0], failed[1] + passed[1]),
        labels[0]: share(*failed),
        labels[1]: share(*passed),
    }


def calls(condition: str) -> str:
    """A predicate: the trace has a tool call for which `condition` holds."""
    return f"EXISTS (FROM tool_calls c WHERE c.trace_id = t.trace_id AND {condition})"
