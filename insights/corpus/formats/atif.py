"""ATIF trajectories (Agent Trajectory Interchange Format, 1.0 to 1.8), as Harbor writes them.

    {"schema_version": "ATIF-v1.7", "session_id": "s1", "agent": {"name": "a", "version": "1", "model_name": "m"}, "steps":
     [{"step_id": 1, "source": "user", "message": "Do it"}, {"step_id": 2, "source": "agent", "message": "", "tool_calls":
     [{"tool_call_id": "c1", "function_name": "bash", "arguments": {"cmd": "ls"}}], "observation": {"results":
     [{"source_call_id": "c1", "content": "a.py"}]}, "metrics": {"prompt_tokens": 9, "completion_tokens": 2, "cost_usd": 0.1}}],
     "final_metrics": {…}}

Outcome: none in the file; the trial's result and the verifier's reward beside it are joined (module harbor). Tool errors:
`tool_result_is_error` in `extra` where the writer puts it, else exit code or text. Prompt tokens include cached ones.
Copied steps (`is_copied_context`: the history again after a compaction) are kept off the path and count for nothing.
Sub-agents, embedded or in files, are traces of their own with the parent's id; a continuation too. Totals come from the
steps where they have metrics (`final_metrics` counts sub-agents as well, so it is only the fallback).
Pitfalls: `session_id` is shared by parent and sub-agents, so ids come from the trial's folder or the file; agents that type
into a terminal have no tool calls: their JSON `commands` become calls of `terminal`.
Dropped: token ids, logprobs, tool definitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import orjson

from insights.corpus.formats import Confidence, harbor, reader
from insights.corpus.formats.chat import flatten, timestamp
from insights.corpus.parse import mapping, mappings, sequence
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

MANY_SIBLINGS = 60  # more files than that beside a trajectory are not searched for the one that refers to it


def _detect(head: Head) -> Confidence | None:
    version = head.first.get("schema_version")
    return "certain" if isinstance(version, str) and version.startswith("ATIF") else None


@reader("atif", title="ATIF trajectories", rank=10, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    for record in source.records():
        run = record.value
        if not isinstance(run, dict) or not isinstance(run.get("steps"), list):
            source.n_bad += 1
            source.issue("not_a_trajectory", f"record at {record.pointer or record.offset} has no steps")
            continue
        native = _native(source.name, record.pointer)
        t = _trace(run, native)
        _relate(t, source)
        if t.relation is None:  # the verdict is the trial's, so only the trajectory that stands for it carries one
            harbor.join(t, source)
        yield t
        yield from _embedded(t, run, native)


def _native(name: str, pointer: str | None = None) -> str:
    """`<trial>` of `<trial>/agent/trajectory.json`; the path below the root otherwise."""
    path = PurePosixPath(name)
    stem = path.name.removesuffix(".json").removesuffix(".jsonl")
    parts = [p for p in path.parent.parts if p not in ("agent", "logs")]
    if stem == "trajectory" and parts:
        stem = ""
    return "/".join(p for p in (*parts[-3:], stem) if p) + (pointer or "")


def _trace(run: dict[str, Any], native: str) -> Trace:
    agent = mapping(run.get("agent"))
    t = Trace("atif", native, session_id=run.get("session_id"), framework=agent.get("name"), agent=agent.get("name"))
    t.agent_version, t.model = agent.get("version"), agent.get("model_name")
    t.metadata["schema_version"] = run.get("schema_version")
    t.offer(agent.get("tool_definitions"))
    for i, item in enumerate(run["steps"]):
        if isinstance(item, dict):
            _step(t, item, f"/steps/{i}")
        else:
            t.issue("not_a_step", f"/steps/{i} is {type(item).__name__}")
    final = mapping(run.get("final_metrics"))
    if not t.llm_calls and (final.get("total_prompt_tokens") or final.get("total_completion_tokens")):
        t.usage_basis, t.input_tokens = "reported_total", final.get("total_prompt_tokens")
        t.output_tokens, t.cache_read_tokens = final.get("total_completion_tokens"), final.get("total_cached_tokens")
    if t.cost_usd is None and not any(c.get("cost_usd") is not None for c in t.llm_calls):
        t.cost_usd = final.get("total_cost_usd")
    for key in ("notes", "final_metrics", "extra"):
        if run.get(key):
            t.extra[key] = run[key]
    return t


def _step(t: Trace, item: Mapping[str, Any], where: str) -> None:
    source, copied = item.get("source"), bool(item.get("is_copied_context"))
    text, parts, _ = flatten(item.get("message"))
    results = sequence(mapping(item.get("observation")).get("results"))
    refers = any(isinstance(r, dict) and r.get("subagent_trajectory_ref") for r in results)
    seq = t.step(
        "assistant" if source == "agent" else source,
        text,
        kind="compaction" if source == "system" and refers and "summar" in (text or "").lower() else "message",
        origin="copied" if copied else {"agent": "model", "user": "human"}.get(str(source), "harness"),
        on_path=not copied,
        ts=timestamp(item.get("timestamp")),
        reasoning=item.get("reasoning_content"),
        parts=parts,
        native_id=str(item.get("step_id")),
        src_pointer=where,
    )
    if copied:
        return
    if source == "agent":
        _model_call(t, seq, item)
    calls = mappings(item.get("tool_calls"))
    for call in calls:
        t.call(seq, call.get("function_name"), call.get("arguments"), id=call.get("tool_call_id"))
    typed = _typed(text) if source == "agent" and not calls and results else None
    if typed is not None:
        t.call(seq, "terminal", {"commands": typed})
    for result in results:
        _result(t, result, item, seq, where)


def _typed(text: str | None) -> list[Any] | None:
    """Keystrokes of an agent that answers in JSON; None where the text is no such answer."""
    if not text or '"commands"' not in text:
        return None
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    commands = answer.get("commands") if isinstance(answer, dict) else None
    return commands if isinstance(commands, list) else None


def _model_call(t: Trace, seq: int, item: Mapping[str, Any]) -> None:
    metrics, count = mapping(item.get("metrics")), item.get("llm_call_count")
    if not metrics or count == 0:
        return
    t.steps[seq].llm_call_id = t.llm(
        first_seq=seq,
        model=item.get("model_name") or t.model,
        ended_at=t.steps[seq].ts,
        input_tokens=metrics.get("prompt_tokens"),
        output_tokens=metrics.get("completion_tokens"),
        cache_read_tokens=metrics.get("cached_tokens"),
        cost_usd=metrics.get("cost_usd"),
        extra={"calls": count} if isinstance(count, int) and count > 1 else None,
    )


def _result(t: Trace, result: Any, item: Mapping[str, Any], seq: int, where: str) -> None:
    if not isinstance(result, dict):
        t.issue("not_a_result", f"{where} has a result that is {type(result).__name__}", seq=seq)
        return
    text, parts, _ = flatten(result.get("content"))
    refs = mappings(result.get("subagent_trajectory_ref"))
    if not t.steps[seq].n_tool_calls:
        if text is not None:
            t.step("environment", text, kind="tool_result", origin="tool", parts=parts, src_pointer=where)
        for ref in refs:
            t.extra.setdefault("subagents", []).append(ref)
        return
    failed = mapping(result.get("extra")).get(
        "tool_result_is_error", mapping(item.get("extra")).get("tool_result_is_error")
    )
    child = _child_of(t.native_id, refs[0]) if refs else None
    t.result(
        text,
        id=result.get("source_call_id"),
        status=None if failed is None else "error" if failed else "ok",
        error_basis="flag" if failed else None,
        parts=parts,
        call_columns={"child_trace_id": f"atif:{child}"} if child else None,
        src_pointer=where,
    )


def _child_of(native: str, ref: Mapping[str, Any]) -> str | None:
    if ref.get("trajectory_id"):
        return f"{native}/{ref['trajectory_id']}"
    path = ref.get("trajectory_path")
    if not isinstance(path, str) or path.startswith("/") or ".." in PurePosixPath(path).parts:
        return None
    folder = "/".join(native.split("/")[:-1]) if "trajectory" in native.rsplit("/", 1)[-1] else native
    return _native(f"{folder}/{path}" if folder else path)


def _embedded(parent: Trace, run: dict[str, Any], native: str) -> Iterator[Trace]:
    for i, inner in enumerate(sequence(run.get("subagent_trajectories"))):
        if not isinstance(inner, dict) or not isinstance(inner.get("steps"), list):
            parent.issue("not_a_trajectory", f"/subagent_trajectories/{i} has no steps")
            continue
        child = f"{native}/{inner.get('trajectory_id') or i}"
        t = _trace(inner, child)
        t.parent_trace_id, t.relation, t.root_trace_id = parent.trace_id, "subagent", parent.root_trace_id
        t.parent_tool_call_key = next((c.tool_call_key for c in parent.calls if c.child_trace_id == t.trace_id), None)
        yield t
        yield from _embedded(t, inner, child)


def _relate(t: Trace, source: Source) -> None:
    """Link a trajectory file to the one beside it that refers to it."""
    name = source.path.name
    beside = sorted(source.path.parent.glob("*.json")) if not source.member else []
    if len(beside) > MANY_SIBLINGS:
        return
    for path in beside:
        if path == source.path or f'"{name}"'.encode() not in path.read_bytes():
            continue
        data = path.read_bytes()
        if b'"schema_version"' not in data:
            continue
        continued = b'"continued_trajectory_ref"' in data and _continues(data, name)
        t.relation = "continuation" if continued else "subagent"
        folder = PurePosixPath(source.name).parent
        t.parent_trace_id = f"atif:{_native(str(folder / path.name))}"
        return


def _continues(data: bytes, name: str) -> bool:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and value.get("continued_trajectory_ref") == name
