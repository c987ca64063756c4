"""Facts of ../shared/corpora/taubench."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any

from tests.facts.registry import AIRLINE_CHANGES, Query, fact, share, spread, tokens, traces, unconfirmed

INDEX = "'gpt-4o-airline#' || split_part((SELECT src_pointer FROM steps s WHERE s.trace_id = t.trace_id AND s.seq = 0), '/', 2)"


@fact("taubench", "A1")
def _(q: Query) -> Any:
    [[k, n]] = q("SELECT count(*) FILTER (success), count(*) FROM traces")
    trials = q("SELECT trial, count(*) FILTER (success) FROM traces GROUP BY 1 ORDER BY 1")
    return {"all": share(k, n), "by_trial": {str(trial): k for trial, k in trials}}


@fact("taubench", "A2")
def _(q: Query) -> Any:
    rows = q("SELECT task_id, count(*) FILTER (success), count(*) FROM traces GROUP BY 1")
    never = sorted((task for task, k, _ in rows if k == 0), key=int)
    return {
        "all4": sum(k == n for _, k, n in rows),
        "never": len(never),
        "mixed": sum(0 < k < n for _, k, n in rows),
        "never_tasks": never,
    }


@fact("taubench", "A3")
def _(q: Query) -> Any:
    return {
        "messages": spread([r[0] for r in q("SELECT count(*) FROM steps GROUP BY trace_id")]),
        "tokens": spread(tokens(q)),
    }


@fact("taubench", "A4")
def _(q: Query) -> Any:
    rows = q(
        "SELECT success, count(DISTINCT trace_id) FILTER (name = 'transfer_to_human_agents'), count(DISTINCT trace_id)"
        " FROM traces JOIN tool_calls USING (trace_id) RIGHT JOIN (SELECT trace_id, success s FROM traces) USING (trace_id) GROUP BY 1"
    )
    found = {r[0]: r[1] for r in rows}
    n = dict(q("SELECT success, count(*) FROM traces GROUP BY 1"))
    return {
        "all": [found[True] + found[False], n[True] + n[False]],
        "failed": share(found[False], n[False]),
        "passed": share(found[True], n[True]),
    }


@traces("taubench", "A4")
def _(q: Query) -> Any:
    return q(
        f"SELECT {INDEX} FROM traces t WHERE EXISTS (FROM tool_calls c WHERE c.trace_id = t.trace_id AND name = 'transfer_to_human_agents')"
    )


@fact("taubench", "A5")
def _(q: Query) -> Any:
    [[k, n]] = q("SELECT count(*) FILTER (n_tool_errors > 0), count(*) FROM traces")
    sql = "SELECT success, count(*) FILTER (n_tool_errors > 0), count(*) FROM traces GROUP BY 1"
    ends = {r[0]: r[1:] for r in q(sql)}
    return {"n": k, "of": n, "pct": round(100 * k / n, 1), "failed": ends[False], "passed": ends[True]}


@traces("taubench", "A5")
def _(q: Query) -> Any:
    return q(f"SELECT {INDEX} FROM traces t WHERE n_tool_errors > 0")


@fact("taubench", "A7")
def _(q: Query) -> Any:
    rows = q(
        "SELECT name, count(*) FILTER (status = 'error'), count(*) FROM tool_calls GROUP BY 1 HAVING count(*) FILTER (status = 'error') > 0"
    )
    return {name: share(k, n) for name, k, n in rows}


REPEATED = (
    "SELECT trace_id, max(n) n FROM (SELECT trace_id, name, args, count(*) n FROM tool_calls WHERE name != 'think' AND"
    " requestor = 'assistant' GROUP BY 1, 2, 3) GROUP BY 1"
)


@fact("taubench", "A8")
def _(q: Query) -> Any:
    rows = dict(q(f"SELECT success, count(*) FROM traces JOIN ({REPEATED}) USING (trace_id) WHERE n >= 2 GROUP BY 1"))
    n = dict(q("SELECT success, count(*) FROM traces GROUP BY 1"))
    k = sum(rows.values())
    return {
        "n": k,
        "of": 200,
        "pct": round(k / 2, 1),
        "failed": [rows.get(False, 0), n[False]],
        "passed": [rows.get(True, 0), n[True]],
    }


@traces("taubench", "A8")
def _(q: Query) -> Any:
    return q(f"SELECT {INDEX} FROM traces t JOIN ({REPEATED}) USING (trace_id) WHERE n >= 2")


@fact("taubench", "A9")
def _(q: Query) -> Any:
    rows = q(f"SELECT success, unasked FROM traces JOIN ({unconfirmed(AIRLINE_CHANGES)}) USING (trace_id)")
    found = {
        name: [u for passed, u in rows if passed is outcome] for name, outcome in (("failed", False), ("passed", True))
    }
    k = sum(u for _, u in rows)
    return {"n": k, "of": len(rows), "pct": round(100 * k / len(rows), 1)} | {
        n: [sum(u), len(u)] for n, u in found.items()
    }


@traces("taubench", "A9")
def _(q: Query) -> Any:
    return q(f"SELECT {INDEX} FROM traces t JOIN ({unconfirmed(AIRLINE_CHANGES)}) USING (trace_id) WHERE unasked")


@fact("taubench", "A12")
def _(q: Query) -> Any:
    rows = {
        r[0]: r[1:]
        for r in q("SELECT success, round(avg(n_tool_calls), 2), round(avg(n_steps), 1) FROM traces GROUP BY 1")
    }
    return {
        "calls_failed": rows[False][0],
        "calls_passed": rows[True][0],
        "msgs_failed": rows[False][1],
        "msgs_passed": rows[True][1],
    }


UNSTOPPED = "NOT EXISTS (FROM steps s WHERE s.trace_id = t.trace_id AND s.seq = t.n_steps - 1 AND contains(s.text, '###STOP###'))"


@fact("taubench", "A13")
def _(q: Query) -> Any:
    [[k, n]] = q(f"SELECT count(*) FILTER ({UNSTOPPED}), count(*) FROM traces t")
    return {"n": k, "of": n, "pct": round(100 * k / n, 1)}


@traces("taubench", "A13")
def _(q: Query) -> Any:
    return q(f"SELECT {INDEX} FROM traces t WHERE {UNSTOPPED}")


@fact("taubench", "A14")
def _(q: Query) -> Any:
    return {n: [a, b] for n, a, b in q("SELECT name, count(*), count(DISTINCT trace_id) FROM tool_calls GROUP BY 1")}


@fact("taubench", "A15")
def _(q: Query) -> Any:
    rows = q(
        "SELECT trace_id FROM tool_calls WHERE name = 'book_reservation' AND status = 'ok' GROUP BY 1 HAVING count(*) >= 2"
    )
    return {"n": len(rows), "of": 200, "pct": round(len(rows) / 2, 1)}


@fact("taubench", "A6")
def _(q: Query) -> Any:
    calls: Counter[str] = Counter()
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for trace, text in q("SELECT trace_id, result_text FROM tool_calls WHERE status = 'error'"):
        key = re.sub(r"\b[A-Z]*\d[\w-]*\b|\b[a-z_]+_\d+\b", "#", text)
        calls[key] += 1
        seen[key].add(trace)
    return [[key, n, len(seen[key])] for key, n in calls.most_common(8)]


def _difference(q: Query, changes: str, success: str) -> list[list[Any]]:
    """Per trace: index, names of changes made without error, names of changes that the reference holds."""
    return q(
        f"SELECT {INDEX}, coalesce((SELECT list_sort(list(name)) FROM tool_calls c WHERE c.trace_id = t.trace_id AND status = 'ok'"
        f" AND name IN ({changes})), []), coalesce((SELECT list_sort(list(name)) FROM expected e WHERE e.trace_id = t.trace_id"
        f" AND kind = 'action' AND name IN ({changes})), []) FROM traces t WHERE success = {success}"
    )


def _divide(rows: list[list[Any]]) -> dict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for index, made, needed in rows:
        done, want = Counter(made), Counter(needed)
        if done == want:
            key = (
                "same kinds of change, wrong arguments or order or output"
                if want
                else "no change required, none made (wrong information or other)"
            )
        elif not want:
            key = "over-action: changed the database though nothing had to change"
        elif not done:
            key = "no action: a change was required, none was made"
        elif not want - done:
            key = "extra change(s) beyond the required"
        elif not done - want:
            key = "missing some required change(s)"
        else:
            key = "wrong kind of change"
        groups[key].append(index)
    return groups


@fact("taubench", "A10")
def _(q: Query) -> Any:
    return {k: len(v) for k, v in _divide(_difference(q, AIRLINE_CHANGES, "false")).items()}


@fact("taubench", "A11")
def _(q: Query) -> Any:
    return {k: len(v) for k, v in _divide(_difference(q, AIRLINE_CHANGES, "true")).items()}
