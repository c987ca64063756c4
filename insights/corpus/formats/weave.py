"""Weights & Biases Weave: calls as the API and `weave export` write them, one a line or in a list.

    {"id": "c2", "op_name": "weave:///acme/shop/op/openai.chat.completions.create:def4", "trace_id": "t1", "parent_id": "c1",
     "started_at": "…Z", "ended_at": "…Z", "exception": null, "attributes": {"kind": "tool"}, "inputs": {…}, "output": {…},
     "summary": {"usage": {"gpt-4o": {"prompt_tokens": 50, "completion_tokens": 12}}, "weave": {"costs": {…}}}}

What a call is, is said by `attributes.kind`, else by its op's name and payload. The usage of a call sums those below it: only
model calls without others inside are counted. Errors: `exception`. Outcome: boolean scores named for correctness of
`predict_and_score`, and feedback of the root. Deleted calls are left out (counted). Dropped: references to stored objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.mlflow import usage
from insights.corpus.formats.otel_attributes import KINDS
from insights.corpus.formats.payload import decoded
from insights.corpus.formats.span_steps import build
from insights.corpus.formats.spans import Gather, Span, score, trace_ids
from insights.corpus.parse import mapping, mappings, number, word
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_json, as_name, as_text

JUDGED = "predict_and_score"  # the op of an evaluation's example
EXPECTED = ("expected", "expected_output", "answer", "target", "label", "ground_truth", "reference")
MODEL_OPS = ("chat.completions.create", "messages.create", "Messages.create", "responses.create", "generate_content",
             "litellm.completion", "ChatOpenAI", "completions.create", "chat.complete")  # fmt: skip


def _is_call(row: Mapping[str, Any]) -> bool:
    return "op_name" in row and "trace_id" in row and bool({"inputs", "started_at"} & row.keys())


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if not _is_call(first):
        calls = first.get("calls")
        return "likely" if isinstance(calls, list) and calls and _is_call(mapping(calls[0])) else None
    return "certain" if word(first.get("op_name")).startswith("weave:///") else "likely"


def _shares(source: Source) -> dict[str, Any]:
    return {f"weave:{id}": 0 for id in trace_ids(source)}


def _rows(source: Source) -> Iterator[Record]:
    yield from source.records("calls" if isinstance(source.head.first.get("calls"), list) else None)


@reader("weave", title="Weave calls", rank=21, detect=_detect, shares=_shares)
def read(source: Source) -> Iterator[Trace]:
    gather, deleted = Gather(), 0
    for record in source.joined(_rows):
        row = mapping(record.value)
        trace = as_name(row.get("trace_id"))
        if trace is None or not _is_call(row):
            source.n_bad += 1
            source.issue("not_a_call", f"a record is no call: {str(row)[:80]!r}", offset=record.offset)
        elif row.get("deleted_at"):
            deleted += 1
        else:
            gather.add(trace, {**row, "_at": [record.offset, record.length, record.pointer]})
    if deleted:
        source.issue("deleted", "calls that were deleted", severity="info", n=deleted)
    for trace, rows in gather.groups():
        calls = [mapping(r) for r in rows]
        examples = [r for r in calls if op(r).endswith(JUDGED)]
        if len(examples) > 1 or (examples and any(op(r).endswith("Evaluation.evaluate") for r in calls)):
            yield from _evaluation(trace, calls, examples)
        else:
            yield _trace(trace, calls)


def _evaluation(trace: str, calls: list[dict[str, Any]], examples: list[dict[str, Any]]) -> Iterator[Trace]:
    """An evaluation holds a trace for each of its examples; what it made of them all stands in `extra.evaluation`."""
    below: dict[str | None, list[dict[str, Any]]] = {}
    for r in calls:
        below.setdefault(as_name(r.get("parent_id")), []).append(r)
    whole = next((r for r in calls if op(r).endswith("Evaluation.evaluate")), {})
    trials: Counter[str] = Counter()
    taken: set[str | None] = set()
    for example in examples:
        own = as_name(example.get("id"))
        members, stack = [], [example]
        while stack:
            r = stack.pop()
            if as_name(r.get("id")) not in taken:
                taken.add(as_name(r.get("id")))
                members.append(r)
                stack += below.get(as_name(r.get("id")), [])
        t = _trace(f"{trace}/{own}", [{**m, "parent_id": None} if m is example else m for m in members])
        given = mapping(mapping(decoded(example.get("inputs"))).get("example"))
        task = as_name(given.get("id") or given.get("task_id")) or as_json(given) or own
        t.task_id, t.trial = t.task_id or task, trials[str(task)]
        trials[str(task)] += 1
        t.session_id = t.session_id or trace
        t.dataset = as_name(whole.get("display_name")) or t.dataset
        expected = next((given[k] for k in EXPECTED if given.get(k) is not None), None)
        if expected is not None:
            t.expect("answer", value=as_text(expected))
        if whole:
            told = {
                "trace_id": trace,
                "name": as_name(whole.get("display_name")),
                "output": decoded(whole.get("output")),
            }
            t.extra["evaluation"] = {k: v for k, v in told.items() if v is not None}
        yield t
    rest = [
        r for r in calls if as_name(r.get("id")) not in taken and r is not whole and not op(r).endswith("summarize")
    ]
    if any(_kind(r, mapping(decoded(r.get("inputs"))), decoded(r.get("output"))) in ("llm", "tool") for r in rest):
        yield _trace(trace, rest)


def op(row: Mapping[str, Any]) -> str:
    """The name of a call's op without its address and digest."""
    name = word(row.get("op_name"))
    return name.rsplit("/", 1)[-1].rsplit(":", 1)[0] if name.startswith("weave:///") else name


def _trace(id: str, rows: list[dict[str, Any]]) -> Trace:
    t = Trace("weave", id)
    ids = {as_name(r.get("id")) for r in rows}
    root = next((r for r in rows if as_name(r.get("parent_id")) not in ids), {})
    t.session_id = as_name(root.get("thread_id"))
    attributes = mapping(root.get("attributes"))
    t.metadata.update(
        {k: v for k, v in attributes.items() if isinstance(v, (str, int, float, bool)) and len(str(v)) < 500}
    )
    t.task_id = as_name(t.metadata.pop("task_id", None))
    for name, key in (("project", "project_id"), ("run", "wb_run_id"), ("user", "wb_user_id")):
        if root.get(key):
            t.metadata[name] = as_name(root[key])
    t.slice("name", op(root))
    build(t, [_span(r) for r in rows])
    judged = [r for r in rows if op(r).endswith(JUDGED)]
    for r in judged:
        _scores(
            t,
            mapping(mapping(decoded(r.get("output"))).get("scores")),
            whole=len(judged) == 1,
            span=as_name(r.get("id")),
        )
    for r in rows:
        for f in mappings(mapping(mapping(r.get("summary")).get("weave")).get("feedback")):
            said = mapping(f.get("payload"))
            value = said.get("output", said.get("value"))
            score(t, f.get("feedback_type"), value if isinstance(value, (bool, int, float)) else None, whole=r is root,
                  label=as_text(said.get("emoji") or said.get("note")), span_id=as_name(r.get("id")), basis="human")  # fmt: skip
    return t


def _scores(t: Trace, scores: Mapping[str, Any], *, whole: bool, span: str | None) -> None:
    for name, held in scores.items():
        parts = {f"{name}.{k}": v for k, v in held.items()} if isinstance(held, dict) else {name: held}
        for part, value in parts.items():
            if isinstance(value, (bool, int, float)):
                score(t, part, value, whole=whole, span_id=span, basis="judge")


def _kind(row: Mapping[str, Any], inputs: Mapping[str, Any], output: Any) -> str:
    stated = word(mapping(row.get("attributes")).get("kind")).lower()
    if stated in KINDS:
        return KINDS[stated]
    name = op(row)
    answered = {"choices", "content", "usage"} & mapping(output).keys()
    if name.endswith(MODEL_OPS) or ("messages" in inputs and "model" in inputs and answered):
        return "llm"
    return "tool" if name.startswith(("tool.", "mcp.")) else "chain"


def _span(row: Mapping[str, Any]) -> Span:
    inputs, output = mapping(decoded(row.get("inputs"))), decoded(row.get("output"))
    summary = mapping(row.get("summary"))
    own = mapping(summary.get("weave"))
    counts: dict[str, Any] = {}
    for told in mapping(summary.get("usage")).values():
        for k, v in usage(mapping(told)).items():
            counts[k] = counts.get(k, 0) + v
    costs = [number(c) for held in mapping(own.get("costs")).values() for k, c in mapping(held).items()
             if k.endswith(("tokens_total_cost", "input_total_cost", "output_total_cost"))]  # fmt: skip
    error = as_text(row.get("exception") or None)
    kind = _kind(row, inputs, output)
    at = row.get("_at")
    offset, length, pointer = at if isinstance(at, list) and len(at) == 3 else (None, None, None)
    answered = next(iter(mapping(summary.get("usage"))), None)
    return Span(
        id=as_name(row.get("id")) or str(pointer or offset),
        parent=as_name(row.get("parent_id")),
        name=as_name(row.get("display_name")) or op(row),
        kind=kind,
        native_kind=word(mapping(row.get("attributes")).get("kind")),
        convention="weave",
        start=timestamp(row.get("started_at")),
        end=timestamp(row.get("ended_at")),
        failed=True if error else False if own.get("status") == "success" else None,
        error=error,
        error_type=_raised(error),
        input=inputs or None,
        output=output,
        tool=op(row) if kind == "tool" else None,
        model=as_name(mapping(output).get("model") or answered or inputs.get("model")) if kind == "llm" else None,
        model_requested=as_name(inputs.get("model")) if kind == "llm" else None,
        usage=counts,
        cost=sum(c for c in costs if c is not None) if costs and kind == "llm" else None,
        finish=as_name(mapping(output).get("stop_reason")),
        attributes=mapping(row.get("attributes")),
        offset=offset,
        length=length,
        pointer=pointer,
    )


def _raised(error: str | None) -> str | None:
    """The class an exception's last line names."""
    last = error.strip().rsplit("\n", 1)[-1].split(":", 1)[0].rsplit(" ", 1)[-1] if error else ""
    return last if last.isidentifier() and last.endswith(("Error", "Exception", "Warning", "Timeout")) else None
