"""Facts of ../shared/corpora/miniswe."""

from __future__ import annotations

from typing import Any

from tests.facts.registry import SAME, Query, by_outcome, calls, fact, spread, tokens, traces


@fact("miniswe", "N1")
def _(q: Query) -> Any:
    rows = q(
        "SELECT value, count(*) FILTER (success), count(success), count(*) FROM slices JOIN traces USING (trace_id)"
        " WHERE name = 'cohort' GROUP BY 1"
    )
    return {c: [k, labelled, n] for c, k, labelled, n in rows}


@fact("miniswe", "N2")
def _(q: Query) -> Any:
    return {
        e: [k, n]
        for e, k, n in q("SELECT native_end_reason, count(*) FILTER (success), count(*) FROM traces GROUP BY 1")
    }


@fact("miniswe", "N3")
def _(q: Query) -> Any:
    rows = q("SELECT success, n_llm_calls FROM traces")
    return {"resolved": spread([n for ok, n in rows if ok]), "unresolved": spread([n for ok, n in rows if not ok])}


@fact("miniswe", "N4")
def _(q: Query) -> Any:
    rows = {
        ok: [k, n]
        for ok, k, n in q(
            "SELECT success, count(*) FILTER (exit_code != 0), count(*) FROM tool_calls JOIN traces USING (trace_id)"
            " WHERE starts_with(result_text, '<returncode>') GROUP BY 1"
        )
    }
    both = [rows[True][i] + rows[False][i] for i in (0, 1)]
    return {"all": both, "resolved": rows[True], "unresolved": rows[False]}


AGAIN = f"(SELECT most FROM {SAME} r WHERE r.trace_id = t.trace_id) >= 3"


@fact("miniswe", "N5")
def _(q: Query) -> Any:
    return by_outcome(q, AGAIN)


@traces("miniswe", "N5")
def _(q: Query) -> Any:
    return q(f"SELECT native_id FROM traces t WHERE {AGAIN}")


LEAK = calls("regexp_matches(args->>'command', 'git (log|show)')")


@fact("miniswe", "N6")
def _(q: Query) -> Any:
    return by_outcome(q, LEAK)


@traces("miniswe", "N6")
def _(q: Query) -> Any:
    return q(f"SELECT native_id FROM traces t WHERE {LEAK}")


@fact("miniswe", "N7")
def _(q: Query) -> Any:
    return by_outcome(q, calls("contains(args->>'command', 'pip install')"))


@fact("miniswe", "N8")
def _(q: Query) -> Any:
    return {"messages": spread([r[0] for r in q("SELECT n_steps FROM traces")]), "tokens": spread(tokens(q))}


@fact("miniswe", "N10")
def _(q: Query) -> Any:
    rows = dict(q("SELECT success, round(avg(cost_usd), 4) FROM traces GROUP BY 1"))
    return {"resolved": rows[True], "unresolved": rows[False]}
