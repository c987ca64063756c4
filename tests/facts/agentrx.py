"""Facts of ../shared/corpora/agentrx."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.facts.registry import Query, fact, spread, tokens, traces, unconfirmed

RETAIL = "(SELECT * FROM traces WHERE dataset = 'tau_dataset_full')"
LABELLED = "(SELECT * FROM traces WHERE dataset = 'tau_dataset_failed')"
MAGENTIC = "(SELECT * FROM traces WHERE dataset = 'magentic_dataset')"
ROOT = "kind = 'failure' AND json_extract(a.extra, '$.root_cause') = true"


@fact("agentrx", "R1")
def _(q: Query) -> Any:
    return q(f"SELECT count(*) FILTER (success), count(*) FROM {RETAIL}")[0]


@fact("agentrx", "R2")
def _(q: Query) -> Any:
    labelled = f"SELECT DISTINCT CAST(task_id AS INT) FROM {LABELLED} JOIN annotations USING (trace_id) WHERE kind = 'failure' ORDER BY 1"
    return {
        "gt_ids": [r[0] for r in q(labelled)],
        "failed_file": [r[0] for r in q(f"SELECT CAST(task_id AS INT) FROM {LABELLED} ORDER BY 1")],
        "reward0": [r[0] for r in q(f"SELECT CAST(task_id AS INT) FROM {RETAIL} WHERE NOT success ORDER BY 1")],
    }


def _roots(population: str, what: str) -> str:
    return f"SELECT {what}, count(DISTINCT t.trace_id) FROM {population} t JOIN annotations a USING (trace_id) WHERE {ROOT} GROUP BY 1"


@fact("agentrx", "R3")
def _(q: Query) -> Any:
    return dict(q(_roots(LABELLED, "a.name")))


@fact("agentrx", "R4")
def _(q: Query) -> Any:
    return dict(q(_roots(LABELLED, "a.name").replace(ROOT, "kind = 'failure'")))


@fact("agentrx", "R5")
def _(q: Query) -> Any:
    return spread(
        [r[0] for r in q(f"SELECT a.seq + 1 FROM {LABELLED} t JOIN annotations a USING (trace_id) WHERE {ROOT}")]
    )


@fact("agentrx", "R6")
def _(q: Query) -> Any:
    rows = dict(q(f"SELECT success, count(*) FROM {RETAIL} WHERE n_tool_errors > 0 GROUP BY 1"))
    messages = q(
        f"SELECT left(result_text, 50), count(*) n FROM tool_calls JOIN {RETAIL} USING (trace_id) WHERE status = 'error'"
        " GROUP BY 1 ORDER BY n DESC"
    )
    k = sum(rows.values())
    return {
        "n": k,
        "of": 100,
        "pct": float(k),
        "failed": [rows[False], 27],
        "passed": [rows[True], 73],
        "messages": messages,
    }


@fact("agentrx", "R7")
def _(q: Query) -> Any:
    rows = q(
        f"SELECT DISTINCT trace_id, success FROM {RETAIL} JOIN tool_calls USING (trace_id) WHERE name = 'transfer_to_human_agents'"
    )
    return {"n": len(rows), "of": 100, "pct": float(len(rows)), "failed": [sum(not r[1] for r in rows), 27]}


@fact("agentrx", "R8")
def _(q: Query) -> Any:
    rows = q(
        f"SELECT arg_min(name, (call_seq, call_index)) first FROM {RETAIL} JOIN tool_calls USING (trace_id) GROUP BY trace_id"
        " HAVING NOT starts_with(first, 'find_user_id')"
    )
    return {"n": len(rows), "of": 100, "pct": float(len(rows))}


RETAIL_CHANGES = (
    "'cancel_pending_order','exchange_delivered_order_items','modify_pending_order_address','modify_pending_order_items',"
    "'modify_pending_order_payment','modify_user_address','return_delivered_order_items'"
)


@fact("agentrx", "R9")
def _(q: Query) -> Any:
    rows = q(f"SELECT success, unasked FROM traces JOIN ({unconfirmed(RETAIL_CHANGES, RETAIL)}) USING (trace_id)")
    k, failed = sum(u for _, u in rows), [u for passed, u in rows if not passed]
    return {"n": k, "of": len(rows), "pct": round(100 * k / len(rows), 1), "failed": [sum(failed), len(failed)]}


@traces("agentrx", "R9")
def _(q: Query) -> Any:
    return q(
        f"SELECT 'agentrx-tau-retail#' || task_id FROM traces JOIN ({unconfirmed(RETAIL_CHANGES, RETAIL)}) USING (trace_id) WHERE unasked"
    )


@fact("agentrx", "R10")
def _(q: Query) -> Any:
    rows = q(
        f"SELECT coalesce((SELECT list(name) FROM tool_calls c WHERE c.trace_id = t.trace_id AND status = 'ok' AND name IN"
        f" ({RETAIL_CHANGES})), []), coalesce((SELECT list(name) FROM expected e WHERE e.trace_id = t.trace_id AND kind = 'action'"
        f" AND name IN ({RETAIL_CHANGES})), []) FROM {RETAIL} t WHERE NOT success"
    )
    groups: Counter[str] = Counter()
    for made, needed in rows:
        done, want = Counter(made), Counter(needed)
        groups[
            "same kinds"
            if done == want
            else "required, none made"
            if not done
            else "missing some"
            if want - done
            else "extra"
        ] += 1
    return dict(groups)


@fact("agentrx", "R11")
def _(q: Query) -> Any:
    retail = "dataset = 'tau_dataset_full'"
    return {"messages": spread([r[0] for r in q(f"SELECT n_steps FROM {RETAIL}")]), "tokens": spread(tokens(q, retail))}


@fact("agentrx", "R12")
def _(q: Query) -> Any:
    return q(
        "SELECT DISTINCT 'agentrx-tau-retail#' || task_id, unnest(regexp_extract_all(text, '(?i)(\\d+) (?:available |different )?t-shirt', 1))"
        f"::INT, success FROM {RETAIL} JOIN steps USING (trace_id) WHERE role = 'assistant' ORDER BY ALL"
    )


@fact("agentrx", "M1")
def _(q: Query) -> Any:
    annotated = (
        f"SELECT count(DISTINCT trace_id) FROM {MAGENTIC} JOIN annotations USING (trace_id) WHERE kind = 'failure'"
    )
    [[joined]] = q(annotated)
    lengths = [r[0] for r in q(f"SELECT n_steps FROM {MAGENTIC}")]
    return {"files": len(lengths), "annotated": joined, "joined": joined, "messages": spread(lengths)}


@fact("agentrx", "M2")
def _(q: Query) -> Any:
    return dict(q(_roots(MAGENTIC, "a.name")))


@fact("agentrx", "M3")
def _(q: Query) -> Any:
    return dict(q(_roots(MAGENTIC, "a.name").replace(ROOT, "kind = 'failure'")))


@fact("agentrx", "M4")
def _(q: Query) -> Any:
    return dict(q(_roots(MAGENTIC, "a.label")))
