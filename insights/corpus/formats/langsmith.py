"""LangSmith: runs, flat or nested, from the SDK, the UI or a bulk export.

    {"id": "r2", "trace_id": "r1", "parent_run_id": "r1", "dotted_order": "…", "name": "ChatOpenAI", "run_type": "llm",
     "start_time": "2026-03-01T10:00:01", "inputs": {"messages": [[{"lc": 1, "id": […, "HumanMessage"], "kwargs": {…}}]]},
     "outputs": {"generations": [[{"text": "…", "message": {…}}]]}, "error": null, "feedback_stats": {"correctness": {"avg": 1.0}}}
    {"name": "my trace", "runs": [{"name": "…", "inputs": {…}, "outputs": {…}}]}

Containers: one run a line, a list, nested `child_runs`, `runs` of one trace, Parquet with payloads as JSON text. Times without a
zone are UTC. Runs without a type are told by their payloads; without ids they are taken in the order of the file. Tool inputs
that are Python literals are read as literals, never run. `session_id` of a run is its project; the thread stands in the metadata.
Errors: `error`. Token totals of chains are sums of their children and not counted. Outcome: feedback of the root named for
correctness whose average is 0 or 1. Dropped: serialized components, manifests, events but for their errors.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.otel_attributes import KINDS
from insights.corpus.formats.otlp import parquet_rows
from insights.corpus.formats.payload import decoded
from insights.corpus.formats.span_steps import build
from insights.corpus.formats.spans import Gather, Span, score, trace_ids
from insights.corpus.parse import mapping, mappings, number, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_name, as_text

RUN_TYPES = {"llm", "chain", "tool", "retriever", "prompt", "parser", "embedding"}
LONGEST_LITERAL = 100_000  # unit: characters of a Python literal that is still read
PARENTS = ("parent_run_id", "trace_id", "dotted_order", "child_runs", "child_run_ids")


def _is_run(row: Mapping[str, Any]) -> bool:
    typed = word(row.get("run_type")) in RUN_TYPES
    return typed and bool({"inputs", "outputs", "dotted_order"} & row.keys()) and "name" in row


def _detect(head: Head) -> Confidence | None:
    if head.magic == "parquet":
        import pyarrow.parquet as pq

        try:
            names = set(pq.read_schema(head.path).names)
        except (OSError, ValueError):
            return None
        return "likely" if {"run_type", "inputs"} <= names and names & set(PARENTS) else None
    first = head.first
    if _is_run(first):
        return "certain" if set(PARENTS) & first.keys() else "likely"
    runs = mappings(first.get("runs"))
    return (
        "likely" if "name" in first and runs and {"inputs", "outputs"} & runs[0].keys() and "name" in runs[0] else None
    )


def _shares(source: Source) -> dict[str, Any]:
    return {f"langsmith:{id}": 0 for id in trace_ids(source, "trace_id")}


@reader("langsmith", title="LangSmith runs", rank=26, detect=_detect, shares=_shares)
def read(source: Source) -> Iterator[Trace]:
    gather = Gather()
    loose: dict[str, dict[str, Any]] = {}
    for record in source.joined(_rows):
        row = mapping(record.value)
        if isinstance(row.get("runs"), list):
            yield from source.attempt(record, _listed, source, row, record)
            continue
        if not _is_run(row) and not word(row.get("run_type")):
            source.n_bad += 1
            source.issue("not_a_run", f"a record is no run: {str(row)[:80]!r}", offset=record.offset)
            continue
        trace = as_name(row.get("trace_id"))
        for i, run in enumerate(_flat(row, None)):
            place = {"_offset": record.offset, "_length": record.length, "_pointer": record.pointer}
            run = {**run, **place, "id": as_name(run.get("id")) or f"{record.pointer or record.offset}/{i}"}
            if trace is not None:
                gather.add(trace, run)
            else:
                loose[run["id"]] = run
    for run in loose.values():
        gather.add(_root(run, loose), run)
    for trace, runs in gather.groups():
        yield _trace(trace, runs)


def _rows(source: Source) -> Iterator[Record]:
    yield from parquet_rows(source) if source.head.magic == "parquet" else source.records()


def _flat(run: Mapping[str, Any], parent: str | None, depth: int = 0) -> Iterator[dict[str, Any]]:
    """A run and its nested children, each with its parent's id."""
    own = {k: v for k, v in run.items() if k != "child_runs"}
    if own.get("parent_run_id") is None and parent is not None:
        own["parent_run_id"] = parent
    yield own
    for child in mappings(run.get("child_runs")) if depth < 200 else ():
        yield from _flat(child, as_name(run.get("id")), depth + 1)


def _root(run: Mapping[str, Any], runs: Mapping[str, Any]) -> str:
    seen: set[str] = set()
    at = str(run["id"])
    while at not in seen:
        seen.add(at)
        parent = as_name(mapping(runs.get(at)).get("parent_run_id"))
        if parent is None or parent not in runs:
            return parent or at
        at = parent
    return at


def _listed(source: Source, row: Mapping[str, Any], record: Record) -> Trace:
    """A trace that holds its runs in a list; runs without ids stand below no other."""
    runs = []
    for i, held in enumerate(mappings(row["runs"])):
        for j, run in enumerate(_flat(held, None)):
            pointer = f"{record.pointer or ''}/runs/{i}"
            runs.append({**run, "id": as_name(run.get("id")) or f"{i}.{j}", "_pointer": pointer})
    own = row.get("trace_id") or row.get("id") or next((r["trace_id"] for r in runs if r.get("trace_id")), None)
    t = _trace(as_name(own) or f"{source.label}{record.pointer or ''}", runs)
    t.metadata.setdefault("name", as_name(row.get("name")))
    return t


def _trace(id: str, runs: list[Any]) -> Trace:
    t = Trace("langsmith", id, framework="langchain")
    ids = {str(r.get("id")) for r in runs}
    root = next((r for r in runs if as_name(r.get("parent_run_id")) not in ids), mapping(runs[0] if runs else {}))
    meta = mapping(mapping(decoded(root.get("extra"))).get("metadata"))
    t.session_id = as_name(next((meta[k] for k in ("thread_id", "session_id", "conversation_id") if meta.get(k)), None))
    if "langgraph" in str(meta.get("ls_integration", "")) or any("langgraph_step" in _meta(r) for r in runs):
        t.framework = "langgraph"
    t.tags = [str(x) for x in sequence(decoded(root.get("tags")))]
    told = {k: v for k, v in meta.items() if isinstance(v, (str, int, float, bool)) and len(str(v)) < 500}
    t.metadata.update({**told, "name": as_name(root.get("name"))})
    if root.get("session_id") or root.get("session_name"):
        t.metadata["project"] = as_name(root.get("session_name") or root.get("session_id"))
    t.slice("name", as_name(root.get("name")))
    t.task_id = as_name(root.get("reference_example_id"))
    t.time_basis = "naive_as_utc" if isinstance(root.get("start_time"), str) else None
    if root.get("status") == "pending":
        t.end_reason = "still_running"
    build(t, [_span(mapping(r)) for r in runs])
    seqs = {s.span_id: s.seq for s in t.steps if s.span_id}
    for run in runs:
        for name, stat in mapping(decoded(run.get("feedback_stats"))).items():
            at = None if run is root else str(run.get("id"))
            value = mapping(stat).get("avg")
            score(t, name, value, whole=run is root, span_id=at, seq=seqs.get(at) if at else None, basis=None)
    return t


def _meta(run: Any) -> dict[str, Any]:
    return mapping(mapping(decoded(mapping(run).get("extra"))).get("metadata"))


def _kind(run: Mapping[str, Any], inputs: Any, outputs: Any) -> str:
    native = word(run.get("run_type"))
    if native:
        return KINDS.get(native, "chain")
    if "generations" in mapping(outputs):
        return "llm"
    alone = mapping(inputs).keys() == {"input"} and isinstance(mapping(inputs)["input"], str)
    return "tool" if alone and mapping(outputs).keys() == {"output"} else "chain"


def _span(run: Mapping[str, Any]) -> Span:
    inputs, outputs, extra = decoded(run.get("inputs")), decoded(run.get("outputs")), mapping(decoded(run.get("extra")))
    meta, params = mapping(extra.get("metadata")), mapping(extra.get("invocation_params"))
    kind = _kind(run, inputs, outputs)
    message = _answer(outputs)
    response = mapping(message.get("response_metadata"))
    info = mapping(_generation(outputs).get("generation_info"))
    asked = params.get("model") or params.get("model_name") or meta.get("ls_model_name")
    error = as_text(run.get("error") or None)
    return Span(
        id=str(run.get("id")),
        parent=as_name(run.get("parent_run_id")),
        name=as_name(run.get("name")) or "",
        kind=kind,
        native_kind=word(run.get("run_type")),
        convention="langsmith",
        start=timestamp(_time(run.get("start_time"))),
        end=timestamp(_time(run.get("end_time"))),
        failed=True if error else False if run.get("status") == "success" else None,
        error=error[:20_000] if error else None,
        error_type=error.split("(", 1)[0] if error and error.split("(", 1)[0].isidentifier() else None,
        input=_arguments(inputs) if kind == "tool" else inputs,
        output=outputs,
        tool=as_name(run.get("name")) if kind == "tool" else None,
        call_id=as_name(mapping(mapping(outputs).get("output")).get("tool_call_id")) if kind == "tool" else None,
        agent=as_name(meta.get("lc_agent_name")),
        model=as_name(response.get("model_name") or info.get("model_name") or asked),
        model_requested=as_name(asked),
        provider=as_name(meta.get("ls_provider")),
        usage=_usage(run, outputs, message),
        cost=_cost(run.get("total_cost")) if kind == "llm" else None,
        finish=as_name(response.get("finish_reason") or info.get("finish_reason")),
        tools=params.get("tools") or params.get("functions") or None,
        params={k: v for k, v in params.items() if k not in ("tools", "functions") and not k.startswith("_")} or None,
        attributes=meta,
        offset=run.get("_offset"),
        length=run.get("_length"),
        pointer=run.get("_pointer"),
    )


def _time(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _arguments(inputs: Any) -> Any:
    """The arguments of a tool: JSON, or a Python literal in text."""
    only = mapping(inputs).get("input") if mapping(inputs).keys() == {"input"} else inputs
    value = decoded(only)
    if isinstance(value, str) and value[:1] == "{" and len(value) < LONGEST_LITERAL:
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return only
    return value if isinstance(value, (dict, str)) else only


def _generation(outputs: Any) -> dict[str, Any]:
    held = sequence(mapping(outputs).get("generations"))
    first = held[0] if held else None
    return mapping(first[0]) if isinstance(first, list) and first else mapping(first)


def _answer(outputs: Any) -> dict[str, Any]:
    """The fields of the answering message."""
    message = mapping(_generation(outputs).get("message")) or mapping(mapping(outputs).get("output"))
    return mapping(message.get("kwargs")) or mapping(message.get("data")) or message


def _usage(run: Mapping[str, Any], outputs: Any, message: Mapping[str, Any]) -> dict[str, Any]:
    told = mapping(message.get("usage_metadata")) or mapping(mapping(outputs).get("usage_metadata"))
    llm = mapping(mapping(outputs).get("llm_output"))
    old = mapping(llm.get("token_usage")) or mapping(mapping(outputs).get("usage"))
    detail, out = mapping(told.get("input_token_details")), mapping(told.get("output_token_details"))
    found = {
        "input_tokens": told.get("input_tokens", old.get("prompt_tokens", run.get("prompt_tokens"))),
        "output_tokens": told.get("output_tokens", old.get("completion_tokens", run.get("completion_tokens"))),
        "cache_read_tokens": detail.get("cache_read"),
        "cache_write_tokens": detail.get("cache_creation"),
        "reasoning_tokens": out.get("reasoning"),
    }
    return {k: int(n) for k, n in ((k, number(v)) for k, v in found.items()) if n is not None}


def _cost(value: Any) -> float | None:
    try:
        return float(value) if value not in (None, "", True, False) else None
    except (TypeError, ValueError):
        return None
