"""AgentDojo runs: one file per (pipeline, suite, user task, attack, injection task).

    {"suite_name": "travel", "pipeline_name": "model-a-tool_filter", "user_task_id": "user_task_2", "injection_task_id":
     "injection_task_1", "attack_type": "direct", "injections": {"slot": "…"}, "messages": [{"role": "assistant", "tool_calls":
     [{"function": "book_hotel", "args": {"name": "A"}, "id": "c1"}]}, {"role": "tool", "tool_call_id": "c1", "content": "",
     "error": "ValueError: no room"}], "error": null, "utility": true, "security": false, "duration": 3.1}

Outcome: `utility` (the user's task was solved) is `success`. `security` true in a run with an attack means that the
injection reached its goal: kept as the annotation and slice `attack_succeeded`; without an attack it says nothing and
stays in the metadata. Tool errors: `error` of the tool message, exactly. No usage, cost or times but `duration`.
Pitfalls: looks like OpenAI chat, but `function` is a string and arguments stand in `args`. A run whose "user task" is
an injection task (the attacker's goal asked openly) is told by the slice `task_kind`.
Dropped: `tool_call` inside tool messages, which repeats the call.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import add_messages
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace

DEFENSES = (  # a pipeline is named `<model>-<defense>`
    "tool_filter",
    "transformers_pi_detector",
    "spotlighting_with_delimiting",
    "repeat_user_prompt",
)


def _detect(head: Head) -> Confidence | None:
    if {"suite_name", "user_task_id"} <= head.first.keys():
        return "certain" if {"pipeline_name", "messages"} & head.first.keys() else "likely"
    return None


@reader("agentdojo", title="AgentDojo runs", rank=20, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    for record in source.records():
        run = record.value
        if not isinstance(run, dict) or not isinstance(run.get("messages"), list):
            source.n_bad += 1
            source.issue("not_a_run", f"record at {record.pointer or record.offset} has no messages")
            continue
        yield _trace(run, record)


def _trace(run: dict[str, Any], record: Record) -> Trace:
    suite, task = run.get("suite_name"), str(run.get("user_task_id"))
    attack, injection = run.get("attack_type"), run.get("injection_task_id")
    pipeline = str(run.get("pipeline_name"))
    defense = next((d for d in DEFENSES if pipeline.endswith(f"-{d}")), None)
    native = "/".join(str(p) for p in (pipeline, suite, task, attack or "none", injection or "none"))
    t = Trace("agentdojo", native, dataset=suite, task_id=f"{suite}/{task}", framework="agentdojo", agent=pipeline)
    t.model = pipeline.removesuffix(f"-{defense}") if defense else pipeline
    messages = [
        {**m, "error": m.get("error") or False} if isinstance(m, dict) and m.get("role") == "tool" else m
        for m in run["messages"]
    ]
    add_messages(t, messages, pointer=f"{record.pointer or ''}/messages")
    if isinstance(run.get("utility"), bool):
        t.success, t.score_name, t.score = run["utility"], "utility", float(run["utility"])
    t.slice("suite", suite)
    t.slice("attack", attack or "none")
    t.slice("defense", defense or "none", "id")
    t.slice("task_kind", "injection_task" if task.startswith("injection") else "user_task", "id")
    t.slice("injection_task", injection)
    _security(t, run)
    t.duration_s = run.get("duration")
    if run.get("error"):
        t.error_type, t.error_message, t.end_reason = "error", str(run["error"])[:2000], "error"
    elif t.steps and t.steps[-1].role == "assistant" and not t.steps[-1].n_tool_calls:
        t.end_reason = "completed"
    if run.get("injections"):
        t.extra["injections"] = run["injections"]
    return t


def _security(t: Trace, run: dict[str, Any]) -> None:
    security = run.get("security")
    if not isinstance(security, bool):
        return
    if run.get("attack_type"):
        t.annotate(
            "label", "attack_succeeded", value=float(security), label=str(security).lower(), basis="ground_truth"
        )
        t.slice("attack_succeeded", str(security).lower())
    else:
        t.metadata["security"] = security
