"""HAL (Holistic Agent Leaderboard) uploads: one file a run of a benchmark, its model calls as Weave calls.

    {"config": {"agent_name": "A (m1)", "benchmark_name": "gaia", "run_id": "r1", "agent_args": {"model_name": "m1"}}, "results":
     {"accuracy": 0.5, "successful_tasks": ["t1"], "failed_tasks": ["t2"]}, "raw_eval_results": {…}, "raw_logging_results": [{"id":
     "c1", "weave_task_id": "t1", "inputs": {"model": "m1", "messages": […]}, "output": {"choices": […], "usage": {…}},
     "started_at": "…"}], "total_cost": 1.2}

A task is a trace: the messages of its longest call and its answer; every call gives its usage. Outcome: `successful_tasks` and
`failed_tasks`. Tasks that are scored and have no call are traces of metadata only. Files reach gigabytes: the calls are streamed and
only the longest one of each task is held. Errors: `exception` of a call is the error of the run. Dropped: the shorter
calls' prompts (prefixes of the longest), git and system information.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import add_messages, timestamp
from insights.corpus.parse import mapping, sequence
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace


@dataclass
class Task:
    """What is kept of a task while its calls stream by."""

    messages: list[Any] = field(default_factory=list)
    usage: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None


def _detect(head: Head) -> Confidence | None:
    config = mapping(head.first.get("config"))
    if "benchmark_name" in config and ("results" in head.first or "raw_logging_results" in head.first):
        return "certain"
    return "likely" if {"benchmark_name", "agent_name"} <= config.keys() else None


@reader("hal", title="HAL leaderboard uploads", rank=15, detect=_detect, single=True)
def read(source: Source) -> Iterator[Trace]:
    header = source.header("raw_logging_results", "raw_eval_results", "git_info")
    config, results = mapping(header.get("config")), mapping(header.get("results"))
    verdicts = {str(k): False for k in sequence(results.get("failed_tasks"))}
    verdicts |= {str(k): True for k in sequence(results.get("successful_tasks"))}
    tasks: dict[str, Task] = {k: Task() for k in verdicts}
    for i, record in enumerate(source.records("raw_logging_results")):
        call = mapping(record.value)
        task = call.get("weave_task_id") or mapping(call.get("attributes")).get("weave_task_id")
        if task is None:
            source.issue("no_task", f"call {i} names no task", severity="info")
            continue
        _take(tasks.setdefault(str(task), Task()), call)
    for name, task in tasks.items():
        yield _trace(source, config, name, task, verdicts.get(name))


def _take(task: Task, call: dict[str, Any]) -> None:
    inputs, output = mapping(call.get("inputs")), mapping(call.get("output"))
    choices = output.get("choices")
    answer = mapping(mapping(choices[0] if isinstance(choices, list) and choices else None).get("message"))
    given = inputs.get("messages")
    messages = given if isinstance(given, list) else []
    if len(messages) + bool(answer) >= len(task.messages):
        task.messages = [*messages, *([answer] if answer else [])]
    usage = mapping(output.get("usage"))
    task.usage.append(
        {
            "model": output.get("model") or inputs.get("model"),
            "input_tokens": usage.get("prompt_tokens", usage.get("input_tokens")),
            "output_tokens": usage.get("completion_tokens", usage.get("output_tokens")),
            "cache_read_tokens": mapping(usage.get("prompt_tokens_details")).get("cached_tokens"),
            "started_at": timestamp(call.get("started_at")),
            "ended_at": timestamp(call.get("ended_at")),
            "status": "error" if call.get("exception") else "ok",
        }
    )
    task.error = str(call["exception"])[:2000] if call.get("exception") else None


def _trace(source: Source, config: dict[str, Any], name: str, task: Task, passed: bool | None) -> Trace:
    run = str(config.get("run_id") or source.stem)
    arguments = mapping(config.get("agent_args"))
    t = Trace("hal", f"{run}/{name}", task_id=name, dataset=config.get("benchmark_name"), framework="hal")
    t.agent, t.model = config.get("agent_name"), arguments.get("model_name")
    t.slice("agent", config.get("agent_name"))
    add_messages(t, task.messages, pointer="/messages")
    for usage in task.usage:
        t.llm(**usage)
    starts = [u["started_at"] for u in task.usage if u["started_at"]]
    ends = [u["ended_at"] for u in task.usage if u["ended_at"]]
    t.started_at, t.ended_at = min(starts, default=None), max(ends, default=None)
    if passed is not None:
        t.success, t.score_name, t.score = passed, "task", float(passed)
    if not t.steps:
        t.fidelity = "metadata_only"
    if task.error:
        t.error_type, t.error_message, t.end_reason = "exception", task.error, "error"
    return t
