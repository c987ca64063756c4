"""A regression set: for each finding the tasks that show it best, as JSON lines that a test can start from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insights.records import Finding, Report
from insights.report.facts import trace_facts
from insights.report.findings_json import trace_ids_file
from primitives.secrets import unsecret

if TYPE_CHECKING:
    from primitives.corpus import Corpus

PER_FINDING = 10  # exemplar tasks of one finding
PREFIX_CHARS = 60_000  # of the conversation before the fault; of a longer one head and tail are given
TASKS = """
SELECT coalesce(task_id, trace_id) AS task, count(*) AS trials, count(*) FILTER (hit) AS hits,
  count(*) FILTER (hit AND NOT success) AS failed, count(*) FILTER (NOT hit AND success) AS clean_passes,
  arg_min(trace_id, (n_steps, trace_id)) FILTER (hit AND success IS DISTINCT FROM true) AS worst,
  arg_min(trace_id, (n_steps, trace_id)) FILTER (hit) AS any_hit,
  arg_min(trace_id, (n_steps, trace_id)) FILTER (NOT hit AND success) AS counter
FROM (SELECT *, trace_id IN (SELECT unnest($ids::VARCHAR[])) AS hit FROM traces)
GROUP BY 1 HAVING hits > 0
ORDER BY failed * 1.0 / trials DESC, failed DESC, clean_passes DESC, task LIMIT $most"""


def regress(report: Report, corpus: Corpus, out: Path, *, per_finding: int = PER_FINDING) -> dict[str, int]:
    """Write `out`/<finding>.jsonl for each confirmed finding and `out`/manifest.json; returns how many cases each has.

    A case is the task where the finding fails most of the trials, told by its shortest trace: the input, the
    conversation up to the step of the fault, what the task's reference expects, and a passing trace of the same task.
    """
    out.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    for f in report.findings:
        if f.verdict != "confirmed":
            continue
        cases = list(_cases(f, corpus, per_finding))
        name = Path(trace_ids_file(f.id)).with_suffix(".jsonl").name
        (out / name).write_text(
            "".join(json.dumps(unsecret(c), ensure_ascii=False, default=str) + "\n" for c in cases), "utf-8"
        )
        counts[f.id] = len(cases)
    (out / "manifest.json").write_text(
        json.dumps(unsecret(_manifest(report, counts)), ensure_ascii=False, indent=1) + "\n", "utf-8"
    )
    return counts


def _manifest(report: Report, counts: dict[str, int]) -> dict[str, Any]:
    return {
        "run_id": report.run_id,
        "question": report.question,
        "corpus": {name: report.corpus.get(name) for name in ("path", "fingerprint")},
        "findings": [
            {
                "id": f.id,
                "title": f.title,
                "claim": f.claim,
                "what_to_change": f.suggested_fix,
                "predicate": f.predicate.code,
                "cases": counts[f.id],
            }
            for f in report.findings
            if f.id in counts
        ],
    }


def _cases(f: Finding, corpus: Corpus, most: int) -> Iterator[dict[str, Any]]:
    rows = corpus.con.execute(TASKS, {"ids": list(f.trace_ids), "most": most}).fetchall()
    at = _first_seq(f, corpus)
    for task, trials, hits, failed, _, worst, any_hit, counter in rows:
        trace_id = worst or any_hit
        found = trace_facts(corpus, trace_id)
        seq, quote = at.get(trace_id, (None, None))
        yield {
            "finding_id": f.id,
            "task_id": task,
            "trace_id": trace_id,
            "trials": trials,
            "trials_with_finding": hits,
            "trials_failed": failed,
            "input": found["trace"]["input_text"],
            "fault_seq": seq,
            "fault_quote": quote,
            "messages_before": _messages(found["steps"], seq),
            "expected": found["expected"],
            "passing_trace_id": counter,
        }


def _first_seq(f: Finding, corpus: Corpus) -> dict[str, tuple[int | None, str | None]]:
    """trace_id -> (first matching step, its quotation), as far as the predicate gives them."""
    from insights.findings import predicate as predicates

    found: dict[str, tuple[int | None, str | None]] = {}
    for match in predicates.run(corpus, f.predicate.code, population=f.population):
        found.setdefault(match.trace_id, (match.seq, match.quote))
    return found


def _messages(steps: list[dict[str, Any]], before: int | None) -> list[dict[str, Any]]:
    """The conversation before a step (the first user message when no step is known) in OpenAI's shape."""
    shown = [s for s in steps if s["role"] and (before is None or s["seq"] < before)]
    if before is None:
        first = next((i for i, s in enumerate(shown) if s["role"] == "user"), 0)
        shown = shown[: first + 1]
    messages = [_message(s) for s in shown]
    sizes = [len(json.dumps(m, default=str)) for m in messages]
    head = next((i for i in range(len(messages)) if sum(sizes[:i]) > PREFIX_CHARS // 3), len(messages))
    tail = len(messages)
    while tail > head and sum(sizes[tail - 1 :]) <= PREFIX_CHARS * 2 // 3:
        tail -= 1
    if head >= tail:
        return messages
    note = {"role": "system", "content": f"[{tail - head} messages left out here]"}
    return [*messages[:head], note, *messages[tail:]]


def _message(step: dict[str, Any]) -> dict[str, Any]:
    message = {"role": step["role"], "content": step["text"]}
    if step["tool_calls"]:
        message["tool_calls"] = [{"name": c["name"], "arguments": c["args_text"]} for c in step["tool_calls"]]
    return message
