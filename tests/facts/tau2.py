"""Facts of ../shared/corpora/tau2."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from tests.facts.registry import AIRLINE_CHANGES, OWN, SAME, Query, fact, share

COHORT = "(SELECT replace(value, '__', '/') FROM slices s WHERE s.trace_id = t.trace_id AND s.name = 'cohort')"


def _by_cohort(q: Query, condition: str, where: str = "true") -> dict[str, list[int]]:
    rows = q(
        f"SELECT {COHORT} c, count(*) FILTER ({condition}), count(*) FROM traces t WHERE {where} GROUP BY 1 ORDER BY 1"
    )
    return {c: [k, n] for c, k, n in rows}


def _percent(found: dict[str, list[int]]) -> dict[str, list[Any]]:
    return {c: share(k, n) for c, (k, n) in found.items()}


@fact("tau2", "T1")
def _(q: Query) -> Any:
    return _percent(_by_cohort(q, "success"))


@fact("tau2", "T2")
def _(q: Query) -> Any:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for c, reason, n in q(f"SELECT {COHORT} c, native_end_reason, count(*) FROM traces t GROUP BY 1, 2"):
        found[c][reason] = n
    return dict(found)


@fact("tau2", "T3")
def _(q: Query) -> Any:
    rows = q(
        f"SELECT {COHORT} c, count(*) FILTER (status = 'error'), count(*) FROM {OWN} JOIN traces t USING (trace_id)"
        " WHERE result_seq IS NOT NULL GROUP BY 1"
    )
    return {c: share(k, n) for c, k, n in rows}


@fact("tau2", "T4")
def _(q: Query) -> Any:
    return _percent(_by_cohort(q, "n_tool_errors > 0"))


@fact("tau2", "T5")
def _(q: Query) -> Any:
    moved = f"EXISTS (FROM {OWN} c WHERE c.trace_id = t.trace_id AND name = 'transfer_to_human_agents')"
    parts = {"all": "true", "failed": "NOT success", "passed": "success"}
    found = {part: _by_cohort(q, moved, where) for part, where in parts.items()}
    return {c: {part: found[part][c] for part in parts} for c in found["all"]}


@fact("tau2", "T6")
def _(q: Query) -> Any:
    return _percent(_by_cohort(q, f"(SELECT most FROM {SAME} r WHERE r.trace_id = t.trace_id) >= 2"))


@fact("tau2", "T7")
def _(q: Query) -> Any:
    index = "(SELECT split_part(src_pointer, '/', 3) FROM steps s WHERE s.trace_id = t.trace_id AND s.seq = 0)"
    rows = q(
        f"SELECT {COHORT} c, {index} i, most FROM traces t JOIN {SAME} USING (trace_id) WHERE most >= 5 ORDER BY 1"
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for c, task, most in sorted(rows, key=lambda r: int(r[1])):
        found[c].append(f"{c}#{task}({most}x)")
    return dict(found)


@fact("tau2", "T8")
def _(q: Query) -> Any:
    rows = q(f"SELECT {COHORT} c, round(avg(n_tool_calls), 1), round(avg(n_steps), 1) FROM traces t GROUP BY 1")
    return {c: [a, b] for c, a, b in rows}


@fact("tau2", "T10")
def _(q: Query) -> Any:
    rows = q(
        f"SELECT {COHORT} c, coalesce((SELECT string_agg(name, '+' ORDER BY name) FROM annotations a WHERE a.trace_id = t.trace_id"
        " AND kind = 'score' AND value = 0 AND name != 'db_match'), 'none recorded') FROM traces t WHERE NOT success"
    )
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for c, parts in rows:
        found[c][parts] += 1
    return {c: dict(n) for c, n in found.items()}


@fact("tau2", "T14")
def _(q: Query) -> Any:
    idle = f"NOT EXISTS (FROM {OWN} c WHERE c.trace_id = t.trace_id AND name IN ({AIRLINE_CHANGES}))"
    return _by_cohort(q, idle, f"NOT success AND starts_with({COHORT}, 'airline')")


SPOKEN = "FROM steps s WHERE s.trace_id = t.trace_id AND s.role = 'assistant' AND s.n_tool_calls"


@fact("tau2", "T17")
def _(q: Query) -> Any:
    return _by_cohort(q, f"EXISTS ({SPOKEN} > 1)")


@fact("tau2", "T18")
def _(q: Query) -> Any:
    return _by_cohort(q, f"EXISTS ({SPOKEN} > 0 AND s.text != '')")
