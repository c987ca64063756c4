"""What a tau2-bench task holds to be right, and the grader's verdict on each item: rows of `expected` (see tau2_bench)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from insights.corpus.parse import mapping, mappings, sequence
from insights.corpus.trace import Trace


def add_reference(t: Trace, graded: Mapping[str, Any], criteria: Mapping[str, Any]) -> None:
    """Checked items with their verdicts; what was not checked comes from the task, with `met` unknown."""
    checks = mappings(graded.get("action_checks")) or [{"action": a} for a in mappings(criteria.get("actions"))]
    _compare_task(t, checks)
    for check in checks:
        action = mapping(check.get("action"))
        extra = {"requestor": action.get("requestor"), "tool_type": check.get("tool_type")}
        t.expect(
            "action",
            name=action.get("name"),
            args=action.get("arguments"),
            grp="ACTION",
            met=check.get("action_match"),
            extra={k: v for k, v in extra.items() if v},
        )
    for check in mappings(graded.get("communicate_checks")) or [
        {"info": i} for i in sequence(criteria.get("communicate_info"))
    ]:
        t.expect("output", value=str(check.get("info")), grp="COMMUNICATE", met=check.get("met"), extra=_why(check))
    asserted = sequence(criteria.get("nl_assertions"))
    for check in mappings(graded.get("nl_assertions")) or [{"nl_assertion": a} for a in asserted]:
        t.expect(
            "assertion",
            value=str(check.get("nl_assertion")),
            grp="NL_ASSERTION",
            met=check.get("met"),
            extra=_why(check),
        )
    states = sequence(criteria.get("env_assertions"))
    for check in mappings(graded.get("env_assertions")) or [{"env_assertion": a} for a in states]:
        state = mapping(check.get("env_assertion"))
        t.expect(
            "assertion",
            name=state.get("func_name"),
            args=state.get("arguments"),
            grp="ENV_ASSERTION",
            met=check.get("met"),
            extra={"env_type": state.get("env_type"), "assert_value": state.get("assert_value")},
        )


def _why(check: Mapping[str, Any]) -> dict[str, Any] | None:
    return {"justification": check["justification"]} if check.get("justification") else None


def _compare_task(t: Trace, checks: Sequence[Mapping[str, Any]]) -> None:
    """Note where the ids of the checked actions ("27_0") say another task than the one recorded: files get mixed up."""
    said = re.match(r"(\d+)_\d+$", str(mapping(checks[0].get("action")).get("action_id"))) if checks else None
    if said and str(t.task_id).isdigit() and said[1] != str(t.task_id):
        t.annotate(
            "label",
            "task_id_differs",
            label=said[1],
            basis="heuristic",
            explanation="the checked actions belong to this task",
        )
        t.issue("task_id_differs", f"recorded as task {t.task_id}, but its checked actions are of task {said[1]}")
