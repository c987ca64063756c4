"""promptfoo evaluations: results.json of `promptfoo eval -o`, also one result a line.

    {"evalId": "eval-1", "results": {"version": 3, "results": [{"prompt": {"raw": "…", "label": "p"}, "provider": {"id": "openai:m"}, "vars": {…},
     "response": {"output": "…", "tokenUsage": {"prompt": 5, "completion": 4}}, "success": true, "score": 1, "namedScores": {…},
     "gradingResult": {"pass": true, "reason": "…", "componentResults": […]}, "testIdx": 0, "promptIdx": 0}]}, "config": {…}}

One trace a result: a prompt (text, or messages as JSON) and its answer. `success` is the verdict, every assertion an annotation. The
task is the test, the trial its repetition. Errors: `error` where there is no response. Dropped: the evaluation's configuration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import add_messages, timestamp
from insights.corpus.formats.payload import messages
from insights.corpus.parse import mapping, mappings, number
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_name, as_text


def _is_result(row: Mapping[str, Any]) -> bool:
    return "prompt" in row and {"gradingResult", "namedScores", "testCase"} & row.keys() != set() and "success" in row


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if _is_result(first):
        return "certain"
    held = mapping(first.get("results"))
    listed = mappings(held.get("results")) + mappings(held.get("outputs"))
    return "certain" if "evalId" in first or (listed and _is_result(listed[0])) else None


@reader("promptfoo", title="promptfoo evaluations", rank=18, detect=_detect, single=True)
def read(source: Source) -> Iterator[Trace]:
    whole = mapping(source.head.first)
    eval_id = as_name(whole.get("evalId")) if "results" in whole else None
    trials: Counter[tuple[Any, ...]] = Counter()
    for i, record in enumerate(_records(source)):
        row = mapping(record.value)
        if not _is_result(row):
            source.n_bad += 1
            source.issue("not_a_result", f"a record is no result: {str(row)[:80]!r}", offset=record.offset)
            continue
        own = as_name(row.get("id")) or f"{eval_id or source.label}#{i}"
        yield from source.attempt(record, _trace, own, eval_id, row, record, trials)


def _records(source: Source) -> Iterator[Record]:
    if source.head.is_jsonl or _is_result(source.head.first):
        yield from source.records()
        return
    document = mapping(source.document())
    held = mapping(document.get("results"))
    for i, row in enumerate(mappings(held.get("results")) or mappings(held.get("outputs"))):
        yield Record(row, pointer=f"/results/results/{i}")


def _trace(
    own: str, eval_id: str | None, row: Mapping[str, Any], record: Record, trials: Counter[tuple[Any, ...]]
) -> Trace:
    t = Trace("promptfoo", own, dataset=eval_id, framework="promptfoo")
    prompt, response, grade = (
        mapping(row.get("prompt")),
        mapping(row.get("response")),
        mapping(row.get("gradingResult")),
    )
    provider = mapping(row.get("provider"))
    t.model = as_name(provider.get("label") or provider.get("id") or row.get("provider"))
    test = mapping(row.get("testCase"))
    t.task_id = as_name(test.get("description") or row.get("description") or row.get("testIdx"))
    key = (t.task_id, row.get("promptIdx"), t.model)
    t.trial = trials[key]
    trials[key] += 1
    t.metadata.update({k: v for k, v in mapping(row.get("vars")).items() if isinstance(v, (str, int, float, bool))})
    t.slice("prompt", as_name(prompt.get("label")))
    add_messages(t, messages(prompt.get("raw") or row.get("prompt")), pointer=f"{record.pointer or ''}/prompt")
    first = len(t.steps)
    add_messages(t, messages(response.get("output"), "assistant"), pointer=f"{record.pointer or ''}/response")
    usage = mapping(response.get("tokenUsage") or row.get("tokenUsage"))
    took = number(row.get("latencyMs"))
    t.duration_s = took / 1000 if took is not None else None
    t.started_at = timestamp(row.get("createdAt"))
    t.llm(first_seq=first if len(t.steps) > first else None, model=t.model, input_tokens=usage.get("prompt"), output_tokens=usage.get("completion"),
          cache_read_tokens=usage.get("cached"), cost_usd=number(row.get("cost", response.get("cost"))))  # fmt: skip
    failed = row.get("error") or response.get("error")
    if failed and not response.get("output"):
        t.step("environment", as_text(failed), kind="error", origin="harness", is_error=True)
        t.end_reason, t.error_message = "error", (as_text(failed) or "")[:2000]
    if isinstance(row.get("success"), bool):
        t.success = row["success"]
    t.score, t.score_name = number(row.get("score")), "score" if number(row.get("score")) is not None else None
    _grades(t, row, grade, test)
    return t


def _grades(t: Trace, row: Mapping[str, Any], grade: Mapping[str, Any], test: Mapping[str, Any]) -> None:
    if grade.get("reason"):
        t.annotate("score", "promptfoo", value=number(grade.get("score")), passed=grade.get("pass") if isinstance(grade.get("pass"), bool) else None,
                   explanation=as_text(grade.get("reason")), basis="heuristic")  # fmt: skip
    for part in mappings(grade.get("componentResults")):
        kind = mapping(part.get("assertion"))
        model_graded = str(kind.get("type")).startswith(
            ("llm-rubric", "model-graded", "g-eval", "factuality", "answer-relevance")
        )
        t.annotate("score", as_name(kind.get("metric") or kind.get("type")) or "assertion", value=number(part.get("score")),
                   passed=part.get("pass") if isinstance(part.get("pass"), bool) else None, explanation=as_text(part.get("reason")),
                   basis="judge" if model_graded else "ground_truth")  # fmt: skip
    for name, value in mapping(row.get("namedScores")).items():
        if number(value) is not None:
            t.annotate("score", str(name), value=float(value), basis="heuristic")
    for check in mappings(test.get("assert")):
        if check.get("value") is not None:
            t.expect("assertion", name=as_name(check.get("type")), value=as_text(check.get("value")))
