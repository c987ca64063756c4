"""Aider: chat histories (`.aider.chat.history.md` or one `.md` a task) and the results of its benchmark harness.

    # aider chat started at 2024-05-21 09:53:59

    > Models: m1 with diff edit format
    #### Fix the parser
    > 3,675 prompt tokens, 67 completion tokens, $0.16 cost

    I will change `a.py`. …
    > Applied edit to a.py
    {"instance_id": "org__repo-1", "model": "m1", "edit_outcome": true, "lint_outcome": true, "test_outcome": false, "resolved":
     false, "tries": 2, "gold_files": ["a.py"], "edited_files": ["b.py"], "all_results": […], "cost": 0.4}

A result (.json) is the trace and takes the chat of the same name beside it as its steps; without a chat it is a trace
of metadata only. A chat without a result is a trace with no outcome. Outcome: `resolved`. Each chat started in the file
is a segment. Quoted lines (`> `) are what aider itself says: an edit that was applied or refused becomes a call `edit_file`
of the answer before it, a test run a call `run_tests` of the harness with its return code.
Pitfalls: answers hold fenced code in which `>` and `#` mean nothing; a user line is `#### ` with two blanks at its end, a
heading of the model has none; the token line stands before the answer in old versions, after it in new ones.
Dropped: token lines (they are in llm_calls). `extra.attempts` has the outcomes of every attempt, its patch as `blob:<sha256>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus import blobs, parse
from insights.corpus.formats import Confidence, mark, reader, swe_outcomes
from insights.corpus.formats.chat import timestamp
from insights.corpus.parse import sequence
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

START = "# aider chat started at "
OLD_USAGE = re.compile(r"([\d,.]+k?) prompt tokens, ([\d,.]+k?) completion tokens(?:, \$([\d.]+) cost)?")
NEW_USAGE = re.compile(r"Tokens: ([\d,.]+k?) sent,(?:.*?) ([\d,.]+k?) received\.(?: Cost: \$([\d.]+) message)?")
MODEL = re.compile(r"^(?:Models?|Main model): (\S+)", re.M)
VERSION = re.compile(r"^Aider v(\S+)", re.M)
APPLIED = re.compile(r"^Applied edit to (.+)$", re.M)
RETURN_CODE = re.compile(r"Return Code: (-?\d+)")
PARTS = re.compile(  # what aider says in one breath, each thing by itself
    r"^(?=Applied edit to |Test Script:|Attempt to fix |The LLM did not conform|[\d,.]+k? prompt tokens, |Tokens: )",
    re.M,
)
REFUSED = ("did not conform to the edit format", "SearchReplaceNoExactMatch", "failed to exactly match")


def _is_result(first: Mapping[str, Any]) -> bool:
    return "instance_id" in first and len({"edit_outcome", "lint_outcome", "test_outcome"} & first.keys()) >= 2


def _is_chat(head: Head) -> bool:
    return head.text.lstrip()[:400].startswith(START) or f"\n{START}" in head.text[:4096]


def _has_result(head: Head) -> bool:
    path = head.path.with_suffix(".json")
    return head.path.suffix == ".md" and path.is_file() and b'"edit_outcome"' in path.read_bytes()


def _detect(head: Head) -> Confidence | None:
    if _is_result(head.first):
        return "certain"
    return "certain" if not head.magic and _is_chat(head) and not _has_result(head) else None


def _detect_part(head: Head) -> Confidence | None:
    return "certain" if not head.magic and _is_chat(head) and _has_result(head) else None


mark("aider_chat", title="aider chat whose result stands beside it", rank=19, role="part", detect=_detect_part)


@reader("aider", title="aider chats and benchmark results", rank=14, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    if not _is_result(source.head.first):
        t = Trace("aider", source.stem or source.name, framework="aider", agent="aider")
        _chat(t, _text(source, source.path.read_bytes()))
        t.slice("repository", swe_outcomes.repository(source.stem), "id")
        yield t
        return
    for record in source.records():
        if isinstance(record.value, dict) and _is_result(record.value):
            yield from source.attempt(record, _result, source, record.value)
        else:
            source.n_bad += 1
            source.issue("not_a_result", f"record at {record.pointer or record.offset} has no outcome")


def _text(source: Source, data: bytes) -> str:
    text, repair = parse.decode(data)
    if repair:
        source.issue(repair, "undecodable bytes were replaced", severity="info")
    return parse.clean_text(text)


def _result(source: Source, run: dict[str, Any]) -> Trace:
    instance = str(run["instance_id"])
    t = Trace("aider", instance, task_id=instance, framework="aider", agent="aider")
    chat = source.sibling(source.path.with_suffix(".md").name) if source.stem == instance else None
    text = _text(source, chat.read_bytes()) if chat is not None else ""
    _chat(t, text)
    t.metadata["model_recorded"] = bool(run.get("model"))
    t.model = run.get("model") or t.model
    t.metadata["transcript_chars"] = len(text)
    if not t.steps:
        t.fidelity = "metadata_only"
        source.issue("no_chat", f"{instance} has a result but no chat beside it", severity="info")
    if isinstance(run.get("resolved"), bool):
        t.success, t.score_name, t.score = run["resolved"], "resolved", float(run["resolved"])
    for key in ("edit_outcome", "lint_outcome", "test_outcome"):
        value = run[key] if isinstance(run.get(key), bool) else None
        t.annotate("score", key, passed=value, value=None if value is None else float(value), basis="ground_truth")
    edited, added = ({str(f) for f in sequence(run.get(key))} for key in ("edited_files", "added_files"))
    for path in map(str, sequence(run.get("gold_files"))):
        t.expect(
            "assertion", name="edits", value=path, grp="gold_files", met=path in edited, extra={"added": path in added}
        )
    t.final_output = run.get("model_patch") or t.final_output
    attempts = sequence(run.get("all_results"))
    t.metadata.update(
        attempts=len(attempts), chosen_try=run.get("try"), empty_patch=not str(run.get("model_patch") or "").strip()
    )
    t.extra.update(edited_files=sorted(edited), added_files=sorted(added))
    t.extra["attempts"] = [_attempt(t, a) for a in attempts if isinstance(a, dict)]
    spent = [a["cost"] for a in attempts if isinstance(a, dict) and isinstance(a.get("cost"), (int, float))]
    t.cost_usd, t.cost_basis = (sum(spent) if spent else run.get("cost")), "reported"
    t.slice("repository", swe_outcomes.repository(instance), "id")
    t.slice("system", run.get("model_name_or_path"))
    return t


def _attempt(t: Trace, attempt: dict[str, Any]) -> dict[str, Any]:
    """An attempt with its patch in a blob."""
    patch = attempt.get("model_patch")
    if not isinstance(patch, str) or not patch.strip():
        return attempt
    return {**attempt, "model_patch": f"blob:{blobs.keep(patch, 'text/x-diff', t.blobs)}"}


def _chat(t: Trace, text: str) -> None:
    pending: re.Match[str] | None = None  # usage told before the answer it belongs to
    chats = 0
    for kind, block in _blocks(text):
        if kind == "start":
            if chats:
                t.next_segment()
            chats += 1
            t.step("environment", block, kind="log", origin="harness", ts=timestamp(block.removeprefix(START).strip()))
        elif kind == "user":
            t.step("user", block, origin="human")
        elif kind == "assistant":
            seq = t.step("assistant", block, origin="model")
            if pending is not None:
                t.steps[seq].llm_call_id = _model_call(t, seq, pending)
                pending = None
        else:
            for part in PARTS.split(block):
                told = _said(t, part.strip("\n"))
                if told and pending:
                    _model_call(t, None, pending)  # an answer that the chat does not hold
                pending = told or pending
    if pending is not None:
        _model_call(t, None, pending)
    t.metadata["chats"] = chats
    t.time_basis = "naive_as_utc" if any(s.ts for s in t.steps) else None


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of runs of lines of one speaker: start, user, quoted (aider itself), assistant."""
    kind, fenced = "", False
    lines: list[str] = []
    for line in text.split("\n"):
        now = _kind(line, fenced and kind == "assistant")
        if now is None:  # a blank line belongs to whoever speaks
            now = kind or "assistant"
        if now != kind or now == "start":
            if body := "\n".join(lines).strip("\n"):
                yield kind, body
            kind, lines, fenced = now, [], False
        if kind == "assistant" and line.lstrip().startswith("```"):
            fenced = not fenced
        lines.append(line[5:].rstrip() if kind == "user" else line[2:].rstrip() if kind == "quoted" else line)
    if body := "\n".join(lines).strip("\n"):
        yield kind, body


def _kind(line: str, in_fence: bool) -> str | None:
    if line.startswith(START):
        return "start"
    if line.startswith("####") and line.endswith("  "):
        return "user"
    if line.startswith("> ") or line == ">":
        usage = OLD_USAGE.search(line) or NEW_USAGE.search(line)
        return "assistant" if in_fence and not usage and not line.startswith("> Applied edit") else "quoted"
    return None if not line.strip() else "assistant"


def _said(t: Trace, part: str) -> re.Match[str] | None:
    """Place one thing that aider says; returns a token line that belongs to the answer still to come."""
    here = t.steps[-1].segment if t.steps else 0
    answer = next((s.seq for s in reversed(t.steps) if s.role == "assistant" and s.segment == here), None)
    new, old = NEW_USAGE.search(part), OLD_USAGE.search(part)
    if new:
        id = _model_call(t, answer, new)
        if answer is not None:
            t.steps[answer].llm_call_id = id
    if new or old or not part.strip():
        return old
    if t.agent_version is None and (version := VERSION.search(part)):
        t.agent_version = version[1]
    if t.model is None and (model := MODEL.search(part)):
        t.model = model[1]
    applied, refused = APPLIED.match(part), any(r in part for r in REFUSED)
    code = RETURN_CODE.search(part)
    if answer is not None and (applied or refused):
        t.call(answer, "edit_file", {"path": applied[1]} if applied else None)
        t.result(part, name="edit_file", status="error" if refused else "ok", error_basis="text" if refused else None)
    elif code:
        seq = t.step("environment", "run the tests", kind="log", origin="harness")
        t.call(seq, "run_tests", None, requestor="harness")
        t.result(part, name="run_tests", exit_code=int(code[1]))
    else:
        t.step("environment", part, kind="error" if refused else "log", origin="harness", is_error=refused or None)
    return None


def _model_call(t: Trace, seq: int | None, usage: re.Match[str]) -> str:
    return t.llm(
        first_seq=seq,
        model=t.model,
        input_tokens=_tokens(usage[1]),
        output_tokens=_tokens(usage[2]),
        cost_usd=float(usage[3]) if usage[3] else None,
    )


def _tokens(text: str) -> int:
    number = float(text.rstrip("k").replace(",", ""))
    return round(number * 1000) if text.endswith("k") else int(number)
