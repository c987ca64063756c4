"""Facts of ../shared/corpora/sweagent."""

from __future__ import annotations

from typing import Any

from tests.facts.registry import Query, by_outcome, calls, fact, spread, traces


@fact("sweagent", "S1")
def _(q: Query) -> Any:
    return by_outcome(q, "success")["all"]


@fact("sweagent", "S2")
def _(q: Query) -> Any:
    return {
        e: [k, n]
        for e, k, n in q("SELECT native_end_reason, count(*) FILTER (success), count(*) FROM traces GROUP BY 1")
    }


@fact("sweagent", "S3")
def _(q: Query) -> Any:
    return by_outcome(q, "end_reason = 'limit_cost'")


REFUSED = "contains(result_text, 'Your proposed edit has introduced new syntax error')"


@fact("sweagent", "S4")
def _(q: Query) -> Any:
    [[refused, edits]] = q(f"SELECT count(*) FILTER ({REFUSED}), count(*) FROM tool_calls WHERE name = 'edit'")
    return by_outcome(q, calls(REFUSED)) | {"edits_refused": refused, "edits": edits}


@fact("sweagent", "S5")
def _(q: Query) -> Any:
    return by_outcome(q, f"(SELECT count(*) FROM tool_calls c WHERE c.trace_id = t.trace_id AND {REFUSED}) >= 3")


def scratch_files() -> str:
    """A predicate: the patch leaves new files that look like scratch."""
    new = r"regexp_extract_all(final_output, '(?m)^diff --git a/\S+ b/(\S+)\nnew file', 1)"
    scratch = r"regexp_matches(parse_filename(f), '(?i)repro|test_|issue|debug|demo|example') AND NOT regexp_matches(f, '(^|/)tests/')"
    return f"len(list_filter({new}, lambda f: {scratch})) > 0"


@fact("sweagent", "S6")
def _(q: Query) -> Any:
    return by_outcome(q, scratch_files())


@traces("sweagent", "S6")
def _(q: Query) -> Any:
    return q(f"SELECT task_id FROM traces WHERE {scratch_files()}")


@fact("sweagent", "S15")
def _(q: Query) -> Any:
    said = "role IN ('assistant', 'tool', 'environment')"
    return spread(
        [int(n / 4) for (n,) in q(f"SELECT sum(length(text)) FROM steps WHERE on_path AND {said} GROUP BY trace_id")]
    )


@fact("sweagent", "S7")
def _(q: Query) -> Any:
    tests = r"pytest|runtests\.py|manage\.py test|bin/test|tox|python -m unittest"
    return by_outcome(q, "NOT " + calls(f"regexp_matches(args->>'command', '{tests}')"))


@fact("sweagent", "S8")
def _(q: Query) -> Any:
    return by_outcome(q, calls("contains(result_text, 'ModuleNotFoundError')"))


@fact("sweagent", "S9")
def _(q: Query) -> Any:
    return by_outcome(q, calls("contains(result_text, 'EXECUTION TIMED OUT')"))


@fact("sweagent", "S10")
def _(q: Query) -> Any:
    thrice = (
        "t.trace_id IN (SELECT trace_id FROM tool_calls WINDOW w AS (PARTITION BY trace_id ORDER BY call_seq)"
        " QUALIFY args_text = lag(args_text, 1) OVER w AND args_text = lag(args_text, 2) OVER w)"
    )
    return by_outcome(q, thrice)


LENGTH = "SELECT success, (SELECT count(*) FROM steps s WHERE s.trace_id = t.trace_id AND on_path AND role = 'assistant') FROM traces t"


@fact("sweagent", "S11")
def _(q: Query) -> Any:
    rows = q(LENGTH)
    return {
        "all": spread([n for _, n in rows]),
        "resolved": spread([n for ok, n in rows if ok]),
        "unresolved": spread([n for ok, n in rows if not ok]),
    }


@fact("sweagent", "S12")
def _(q: Query) -> Any:
    rows = q(
        "SELECT split_part(value, '/', 1), count(*) FILTER (success), count(*) FROM slices JOIN traces USING (trace_id)"
        " WHERE name = 'repository' GROUP BY 1"
    )
    return {owner: [k, n] for owner, k, n in rows}


@fact("sweagent", "S13")
def _(q: Query) -> Any:
    return by_outcome(q, "json_extract(metadata, '$.submitted_patch') = false")


@fact("sweagent", "S14")
def _(q: Query) -> Any:
    rows = q(
        "SELECT bool_or(grp = 'FAIL_TO_PASS' AND NOT met), bool_or(grp = 'PASS_TO_PASS' AND NOT met),"
        " bool_and(json_extract(metadata, '$.patch_successfully_applied') = true), task_id"
        " FROM traces JOIN expected USING (trace_id) WHERE NOT success GROUP BY trace_id, task_id"
    )
    return {
        "with_report": len(rows),
        "patch_not_applied": sum(not r[2] for r in rows),
        "target_tests_still_fail_only": sum(bool(r[0] and not r[1]) for r in rows),
        "regression_only": sum(bool(r[1] and not r[0]) for r in rows),
        "both": sum(bool(r[0] and r[1]) for r in rows),
        "regression_ids": sorted(r[3] for r in rows if r[1]),
    }


@fact("sweagent", "S16")
def _(q: Query) -> Any:
    bands = {
        "0-15": range(16),
        "16-25": range(16, 26),
        "26-35": range(26, 36),
        "36-50": range(36, 51),
        "51-999": range(51, 1000),
    }
    rows = q(LENGTH)
    return {b: [sum(ok for ok, n in rows if n in r), sum(n in r for _, n in rows)] for b, r in bands.items()}
