"""The answer in at most five lines, worded from findings; every number comes from a finding or the corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from insights.diagnose.board import Board
from insights.diagnose.question import Question
from insights.records import Cause, Finding

MOST_LINES = 5


def lines(question: Question, board: Board, findings: Sequence[Finding], causes: Sequence[Cause]) -> list[str]:
    """What a reader who stops after five lines should know."""
    opening = {
        "comparison": _comparison,
        "cost": _of_class("waste"),
        "conduct": _conduct,
        "habit": _of_class("habit"),
        "survey": _most_common,
    }.get(question.intent)
    out = [_outcomes(board)]
    if opening is not None:
        out += opening(findings)
    if board.labelled:
        out += _causes(board, findings, causes)
    elif len(out) < 3:
        out += _most_common(findings)
    return out[:MOST_LINES]


def _outcomes(board: Board) -> str:
    if not board.labelled:
        return f"{board.n_traces} runs without verdicts: the findings say how often things happen, not why runs fail."
    known = board.n_passed + len(board.failed)
    unlabelled = f"; {board.n_traces - known} more have no verdict" if known < board.n_traces else ""
    return f"{len(board.failed)} of {known} runs fail ({len(board.failed) / known:.0%}){unlabelled}."


def _causes(board: Board, findings: Sequence[Finding], causes: Sequence[Cause]) -> list[str]:
    out = []
    told = [c for c in causes if c.finding_id]
    if told:
        out.append("Where the failures go: " + "; ".join(f"{c.label} ({c.n}) [{c.finding_id}]" for c in told[:4]) + ".")
    suspect = [f for f in findings if f.kind == "label_defect" and f.terminal]
    if suspect:
        out.append("Look at the tasks and the grader first: " + "; ".join(_counted(f) for f in suspect[:2]) + ".")
    causal = [
        f
        for f in findings
        if f.kind == "contrast" and f.verdict == "confirmed" and f.contrast and f.contrast.outcome == "success"
    ]
    if causal:
        out.append("Goes with failing at equal tasks: " + "; ".join(f"{f.title} [{f.id}]" for f in causal[:3]) + ".")
    else:
        out.append("No contrast survives the adjustment for task difficulty and for the number of hypotheses tried.")
    unexplained = next((c.n for c in causes if c.label == "unexplained"), 0)
    if unexplained:
        out.append(f"{unexplained} of {len(board.failed)} failures match no confirmed cause.")
    return out


def _comparison(findings: Sequence[Finding]) -> list[str]:
    against = [f for f in findings if f.taxonomy.get("cause") == "comparison" and " against " in f.title]
    return [f"{f.title}: {f.mechanism.rstrip('.')} [{f.id}]." for f in against[:3]]


def _conduct(findings: Sequence[Finding]) -> list[str]:
    of = [f for f in findings if f.taxonomy.get("cause") in ("injection_obeyed", "denied", "interrupted", "corrected")]
    return [f"{_counted(f)}." for f in of[:3]]


def _of_class(cause: str) -> Callable[[Sequence[Finding]], list[str]]:
    def say(findings: Sequence[Finding]) -> list[str]:
        return [f"{_counted(f)}." for f in findings if f.taxonomy.get("cause") == cause][:3]

    return say


def _most_common(findings: Sequence[Finding]) -> list[str]:
    return ["Most telling: " + "; ".join(_counted(f) for f in findings[:3]) + "."] if findings else []


def _counted(f: Finding) -> str:
    return f"{f.title} ({f.prevalence.k} of {f.prevalence.n}) [{f.id}]"
