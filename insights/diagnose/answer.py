"""The answer in at most five lines, worded from findings; every number comes from a finding or the corpus."""

from __future__ import annotations

from collections.abc import Sequence

from insights.diagnose.board import Board
from insights.diagnose.question import Question
from insights.records import Cause, Finding


def lines(question: Question, board: Board, findings: Sequence[Finding], causes: Sequence[Cause]) -> list[str]:
    out = []
    if board.labelled:
        known = board.n_passed + len(board.failed)
        out.append(f"{len(board.failed)} of {known} runs fail ({len(board.failed) / known:.0%}).")
        told = [c for c in causes if c.finding_id]
        if told:
            out.append("Where they go: " + "; ".join(f"{c.label} {c.n} [{c.finding_id}]" for c in told[:4]) + ".")
        unexplained = next((c.n for c in causes if c.label == "unexplained"), 0)
        if unexplained:
            out.append(f"{unexplained} of {len(board.failed)} failures match no confirmed finding.")
    else:
        out.append(f"{board.n_traces} runs without verdicts: findings are how often things happen, not why runs fail.")
    causal = [f for f in findings if f.kind == "contrast" and f.verdict == "confirmed"]
    if causal:
        out.append("Goes with failing at equal tasks: " + "; ".join(f"{f.title} [{f.id}]" for f in causal[:3]) + ".")
    elif board.labelled:
        out.append("No contrast survives the adjustment for task difficulty and for the number of hypotheses tried.")
    return out[:5]
