"""Facts of ../shared/corpora/aider."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.facts.registry import Query, by_outcome, fact


@fact("aider", "E1")
def _(q: Query) -> Any:
    rows = dict(q("SELECT success, count(*) FROM traces GROUP BY 1"))
    return {"true": rows[True], "false": rows[False], "other": rows.get(None, 0), "n": sum(rows.values())}


@fact("aider", "E2")
def _(q: Query) -> Any:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, passed, n in q("SELECT name, passed, count(*) FROM annotations WHERE kind = 'score' GROUP BY 1, 2"):
        found[name.removesuffix("_outcome")][str(passed)] = n
    return dict(found)


@fact("aider", "E3")
def _(q: Query) -> Any:
    return by_outcome(q, "(SELECT count(*) FROM annotations a WHERE a.trace_id = t.trace_id AND passed) = 3")


GOLD = "FROM expected e WHERE e.trace_id = t.trace_id AND grp = 'gold_files'"


@fact("aider", "E4")
def _(q: Query) -> Any:
    return by_outcome(q, f"(SELECT bool_and(met) {GOLD})")


@fact("aider", "E5")
def _(q: Query) -> Any:
    return by_outcome(q, f"NOT (SELECT bool_or(met) {GOLD})")


@fact("aider", "E6")
def _(q: Query) -> Any:
    return by_outcome(q, f"EXISTS ({GOLD} AND NOT met AND json_extract(e.extra, '$.added') = true)")


@fact("aider", "E8")
def _(q: Query) -> Any:
    rows = q("SELECT metadata->>'attempts', count(*) FILTER (success), count(*) FROM traces GROUP BY 1")
    return {n: [k, of] for n, k, of in rows}


@fact("aider", "E9")
def _(q: Query) -> Any:
    recorded = "json_extract(metadata, '$.model_recorded') = true"
    sql = f"SELECT CASE WHEN {recorded} THEN model END, count(*) FILTER (success), count(*) FROM traces GROUP BY 1"
    return {str(m): [k, n] for m, k, n in q(sql)}


@fact("aider", "E10")
def _(q: Query) -> Any:
    return by_outcome(
        q, "EXISTS (FROM steps s WHERE s.trace_id = t.trace_id AND contains(s.text, 'SearchReplaceNoExactMatch'))"
    )


@fact("aider", "E12")
def _(q: Query) -> Any:
    rows = q(
        "SELECT value, count(*) FILTER (success), count(*) FROM slices JOIN traces USING (trace_id) WHERE name = 'repository' GROUP BY 1"
    )
    return {name.split("/")[1]: [k, n] for name, k, n in rows}


@fact("aider", "E13")
def _(q: Query) -> Any:
    return by_outcome(q, "json_extract(metadata, '$.empty_patch') = true")
