"""tau-bench results: one JSON list (or JSONL) of runs of a customer-service agent against a simulated user.

    {"task_id": 3, "reward": 0.0, "info": {"task": {"user_id": "…", "actions": [{"name": "book_reservation",
     "kwargs": {…}}], "instruction": "…", "outputs": []}, "reward_info": {…}}, "traj": [OpenAI messages], "trial": 1}

No times, usage or model (the file's name often holds it). Tool errors are text only ("Error: …"). `info.task` is the
reference: its actions and outputs go to `expected`, outputs with the grader's verdict where it checked them. The "user" is
a language model; "###STOP###" ends its side.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from insights.corpus.formats import agentrx, reader
from insights.corpus.formats.openai_chat import add_messages
from insights.corpus.parse import mapping, mappings, number, sequence
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace


def _detect(head: Head):
    first = head.first
    if {"task_id", "reward"} <= first.keys() and ("traj" in first or "info" in first) and "messages" not in first:
        return "certain" if "traj" in first else "likely"
    return None


@reader("tau_bench", title="tau-bench results", rank=20, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    for record in source.records():
        run = record.value
        if not isinstance(run, dict) or "traj" not in run:
            source.n_bad += 1
            source.issue("not_a_run", f"record at {record.pointer or record.offset} has no traj")
            continue
        yield from source.attempt(record, _trace, source, run, record)


def _trace(source: Source, run: dict[str, Any], record: Record) -> Trace:
    trial = run.get("trial")
    native = f"{source.stem}/{run.get('task_id')}" + (f"/{trial}" if trial is not None else "")
    t = Trace(
        "tau_bench", native, dataset=source.stem, task_id=str(run.get("task_id")), trial=trial, framework="tau-bench"
    )
    for m in add_messages(t, sequence(run.get("traj")), pointer=f"{record.pointer or ''}/traj"):
        if m.role == "user":
            m.origin = "simulated_user"
    reward = run.get("reward")
    if isinstance(reward, (int, float)):
        t.score, t.score_name, t.success = float(reward), "reward", reward >= 1 - 1e-6
    info = mapping(run.get("info"))
    task, graded = mapping(info.get("task")), info.get("reward_info")
    parts = mapping(mapping(graded).get("info"))
    for action in mappings(task.get("actions")):
        t.expect("action", name=action.get("name"), args=action.get("kwargs") or action.get("arguments"))
    for output in sequence(task.get("outputs")):
        t.expect("output", value=str(output), met=mapping(parts.get("outputs")).get(str(output)))
    for name in ("r_actions", "r_outputs"):
        if number(parts.get(name)) is not None:
            t.annotate("score", name, value=parts[name], passed=bool(parts[name]), basis="ground_truth")
    if task.get("instruction"):
        t.extra["instruction"] = task["instruction"]
    if "user_id" in task:
        t.metadata["user_id"] = task["user_id"]
    if graded:
        t.extra["reward_info"] = {k: v for k, v in mapping(graded).items() if k != "actions"}
    if info.get("error"):
        t.error_message, t.error_type, t.end_reason = str(info["error"])[:2000], "error", "error"
    elif "info" in run and graded is None and t.success is False:
        t.end_reason, t.native_end_reason = "limit_steps", "no reward_info: cut off before grading"
    elif any("###STOP###" in (s.text or "") for s in t.steps[-3:]):
        t.end_reason, t.native_end_reason = "completed", "###STOP###"
    elif graded is not None and t.calls:
        t.end_reason, t.native_end_reason = "completed", f"after {t.calls[-1].name}"
    if isinstance(trial, int):
        agentrx.annotate(t, source, trial)
    return t
