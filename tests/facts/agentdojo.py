"""Facts of ../shared/corpora/agentdojo."""

from __future__ import annotations

from typing import Any

from tests.facts.registry import SAME, Query, fact


def _is(name: str, value: str) -> str:
    return f"EXISTS (FROM slices s WHERE s.trace_id = t.trace_id AND s.name = '{name}' AND s.value = '{value}')"


@fact("agentdojo", "D2")
def _(q: Query) -> Any:
    where = f"{_is('attack', 'none')} AND {_is('task_kind', 'user_task')}"
    return {
        m: [k, n]
        for m, k, n in q(f"SELECT model, count(*) FILTER (success), count(*) FROM traces t WHERE {where} GROUP BY 1")
    }


@fact("agentdojo", "D3")
def _(q: Query) -> Any:
    rows = q(
        f"SELECT model, count(*), count(*) FILTER ({_is('attack_succeeded', 'true')}), count(*) FILTER (success) FROM traces t"
        f" WHERE {_is('attack', 'important_instructions')} GROUP BY 1"
    )
    return {m: {"n": n, "attack_success": k, "utility": u} for m, n, k, u in rows}


@fact("agentdojo", "D9")
def _(q: Query) -> Any:
    rows = q(
        "SELECT model, count(*) FILTER (status = 'error'), count(*) FROM tool_calls JOIN traces t USING (trace_id)"
        f" WHERE result_seq IS NOT NULL AND {_is('attack', 'none')} AND {_is('task_kind', 'user_task')} GROUP BY 1"
    )
    return {m: [k, n] for m, k, n in rows}


@fact("agentdojo", "D11")
def _(q: Query) -> Any:
    rows = q(
        f"SELECT model, count(*) FILTER (most >= 4), count(*) FROM traces t LEFT JOIN {SAME} USING (trace_id) GROUP BY 1"
    )
    return {m: [k, n] for m, k, n in rows if k}
