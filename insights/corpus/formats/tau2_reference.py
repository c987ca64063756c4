"""What a tau2-bench task holds to be right, and the grader's verdict on each item: rows of `expected` (see tau2_bench)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from insights.corpus.parse import mapping, mappings, sequence
from insights.corpus.trace import Trace


def add_reference(t: Trace, graded: Mapping[str, Any], criteria: Mapping[str, Any]) -> None:
    """Checked items with their verdicts; what was not checked comes from the task, with `met` unknown."""
    checks = mappings(graded.get("action_checks")) or [{"action": a} for a in mappings(criteria.get("actions"))]
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


def task_of(run: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]], mixed: bool) -> Mapping[str, Any] | None:
    """The task a run was graded by: the one recorded, unless its checked actions are those of another; None where unknown.

    In a file whose ids are `mixed` up, a run without checked actions can be of any task.
    """
    own = tasks.get(str(run.get("task_id")))
    checks = mappings(mapping(run.get("reward_info")).get("action_checks"))
    if not checks:
        return None if mixed else own
    checked = [_called(mapping(check.get("action"))) for check in checks]
    if own is None or _actions(own) == checked:
        return own
    same = [task for task in tasks.values() if _actions(task) == checked]
    if len(same) < 2:
        return same[0] if same else own
    said = str(mapping(checks[0].get("action")).get("action_id")).rpartition("_")[0]
    return next((task for task in same if str(task.get("id")) == said), None)


def mixed_up(runs: Iterable[Any], tasks: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the first run that can tell bears the id of another task than its checked actions are of."""
    for run in runs:
        own = tasks.get(str(mapping(run).get("task_id")))
        found = task_of(mapping(run), tasks, True) if own else None
        if found is not None:
            return found is not own
    return False


def _actions(task: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    return [_called(a) for a in mappings(mapping(task.get("evaluation_criteria")).get("actions"))]


def _called(action: Mapping[str, Any]) -> tuple[Any, Any]:
    return action.get("name"), action.get("arguments")


def own_task_id(t: Trace, task: Mapping[str, Any] | None, mixed: bool) -> None:
    """Give the trace the id of the task that it was graded by, and keep the one recorded in the metadata."""
    recorded = t.task_id
    if (task is None and not mixed) or (task is not None and str(task.get("id")) == recorded):
        return
    t.task_id = None if task is None else str(task.get("id"))
    t.metadata["recorded_task_id"] = recorded
    if t.task_id is None:
        t.issue(
            "task_id_differs",
            f"recorded as task {recorded}, in a file whose task ids are mixed up: its task is unknown",
        )
        return
    t.annotate(
        "label",
        "task_id_differs",
        label=t.task_id,
        basis="ground_truth",
        explanation=f"recorded as task {recorded}; the checked actions are of this one",
    )
    t.issue("task_id_differs", f"recorded as task {recorded}, but its checked actions are of task {t.task_id}")
