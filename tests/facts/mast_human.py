"""Facts of ../shared/corpora/mast_human."""

from __future__ import annotations

from typing import Any

from tests.facts.registry import Query, fact, share, spread

VOTES = (
    "SELECT t.trace_id, (SELECT value FROM slices s WHERE s.trace_id = t.trace_id AND s.name = 'round') round, a.extra->>'code' code,"
    " a.name mode, sum(CAST(a.value AS INT)) yes, count(*) of FROM traces t JOIN annotations a USING (trace_id) WHERE a.kind = 'label'"
    " GROUP BY 1, 2, 3, 4"
)


RAW = "SELECT CAST(metadata->>'log_chars' AS INT) FROM traces"


@fact("mast_human", "H1")
def _(q: Query) -> Any:
    def count(name: str) -> dict[str, int]:
        return dict(q(f"SELECT value, count(*) FROM slices WHERE name = '{name}' GROUP BY 1"))

    return {"systems": count("system"), "rounds": count("round"), "tokens": spread([r[0] // 4 for r in q(RAW)])}


@fact("mast_human", "H2")
def _(q: Query) -> Any:
    rows = q(
        f"SELECT round || ' | ' || code || ' ' || mode, count(*) FILTER (yes >= 2), count(*) FILTER (yes = of), count(*) FROM ({VOTES}) GROUP BY 1"
    )
    return {mode: [k, unanimous, n] for mode, k, unanimous, n in rows if k}


@fact("mast_human", "H3")
def _(q: Query) -> Any:
    return share(*q(f"SELECT count(*) FILTER (of = 3 AND yes IN (0, 3)), count(*) FROM ({VOTES})")[0])


@fact("mast_human", "H4")
def _(q: Query) -> Any:
    return {
        m: [k, n]
        for m, k, n in q(f"SELECT lower(mode), count(*) FILTER (yes >= 2), count(*) FROM ({VOTES}) GROUP BY 1")
    }
