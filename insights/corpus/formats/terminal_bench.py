"""terminal-bench v1 trials: result, test outcomes, and the terminal as text.

    {"id": "…", "trial_name": "fix-git.1-of-1.a", "task_id": "fix-git", "instruction": "…", "is_resolved": true, "failure_mode":
     "agent_timeout", "parser_results": {"test_fixed": "passed"}, "total_input_tokens": 9, "total_output_tokens": 2,
     "trial_started_at": "…", "trial_ended_at": "…"}

Outcome: `is_resolved`; `failure_mode` says how the run ended and is independent of it. `parser_results` are tests of group
`tests` with `met`. The steps are the instruction and the terminal beside the result (`panes/*.txt`, `sessions/agent.log`,
control sequences stripped): text only. The results of a whole run (`results`, `n_resolved`) are a sidecar where the
folders of its trials are there, else they are the traces, metadata only. Dropped: asciinema recordings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus import parse
from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.parse import mapping
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

ENDS = {
    "unset": "completed",
    "none": "completed",
    "agent_timeout": "limit_time",
    "test_timeout": "completed",
    "parse_error": "completed",
    "context_length_exceeded": "limit_tokens",
    "output_length_exceeded": "limit_tokens",
    "fatal_llm_parse_error": "error",
    "unknown_agent_error": "error",
    "agent_installation_failed": "error",
    "unknown": "unknown",
}
CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])|\r(?!\n)")
TERMINALS = ("panes/pre-agent.txt", "sessions/agent.log", "panes/post-agent.txt", "panes/post-test.txt")


def _is_run(first: Mapping[str, Any]) -> bool:
    return isinstance(first.get("results"), list) and bool({"n_resolved", "accuracy", "pass_at_k"} & first.keys())


def _starts_as_run(head: Head) -> bool:
    first = head.first
    entries = first.get("results")
    inner = entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}
    return _is_run(first) or ("is_resolved" in inner and "trial_name" in inner)


def _has_trials(head: Head) -> bool:
    return any(head.path.parent.glob("*/*/results.json"))


def _detect(head: Head) -> Confidence | None:
    if {"is_resolved", "task_id"} <= head.first.keys() and "results" not in head.first:
        return "certain"
    return "certain" if _starts_as_run(head) and not _has_trials(head) else None


def _detect_sidecar(head: Head) -> Confidence | None:
    if _starts_as_run(head) and _has_trials(head):
        return "certain"
    return (
        "likely"
        if {"run_id", "dataset_name", "agent_name"} <= head.first.keys() and "results" not in head.first
        else None
    )


def _detect_part(head: Head) -> Confidence | None:
    """Terminal text, recordings and logs inside a trial's folder."""
    folder = head.path.parent
    inside = folder.name in ("panes", "sessions", "agent-logs") and (folder.parent / "results.json").is_file()
    return "certain" if inside else None


mark("terminal_bench_part", title="terminal of a terminal-bench trial", rank=12, role="part", detect=_detect_part)
mark("terminal_bench_run", title="results of a terminal-bench run", rank=15, role="sidecar", detect=_detect_sidecar)


@reader("terminal_bench", title="terminal-bench trials", rank=16, detect=_detect, single=True)
def read(source: Source) -> Iterator[Trace]:
    whole = _starts_as_run(source.head)
    for record in source.records("results" if whole else None):
        if not isinstance(record.value, dict) or "is_resolved" not in record.value:
            source.n_bad += 1
            source.issue("not_a_trial", f"record at {record.pointer or record.offset} has no is_resolved")
            continue
        yield from source.attempt(record, _trace, source, record.value, whole=whole)


def _trace(source: Source, trial: dict[str, Any], *, whole: bool) -> Trace:
    name = str(trial.get("trial_name") or trial.get("id"))
    t = Trace(
        "terminal_bench", name, task_id=trial.get("task_id"), dataset="terminal-bench", framework="terminal-bench"
    )
    t.input_text = trial.get("instruction")
    if t.input_text:
        t.step("user", t.input_text, origin="human", src_pointer="/instruction")
    if not whole:
        _terminal(t, source)
    t.fidelity = "text_only" if len(t.steps) > 1 else "metadata_only"
    if isinstance(trial.get("is_resolved"), bool):
        t.success, t.score_name, t.score = trial["is_resolved"], "is_resolved", float(trial["is_resolved"])
    mode = trial.get("failure_mode")
    t.native_end_reason, t.end_reason = mode, ENDS.get(str(mode), "unknown")
    if t.end_reason == "error":
        t.error_type = mode
    for test, outcome in mapping(trial.get("parser_results")).items():
        t.expect("test", name=test, grp="tests", met=outcome == "passed")
    if trial.get("total_input_tokens") or trial.get("total_output_tokens"):
        t.usage_basis = "reported_total"
        t.input_tokens, t.output_tokens = trial.get("total_input_tokens"), trial.get("total_output_tokens")
    t.started_at = timestamp(trial.get("agent_started_at") or trial.get("trial_started_at"))
    t.ended_at = timestamp(trial.get("agent_ended_at") or trial.get("trial_ended_at"))
    return t


def _terminal(t: Trace, source: Source) -> None:
    for name in TERMINALS:
        path = source.sibling(*name.split("/"))
        if path is None:
            continue
        text = CONTROL.sub("", parse.clean_text(parse.decode(path.read_bytes())[0])).strip()
        if text:
            t.step("environment", text, kind="log", origin="harness", extra={"file": name})
