"""The answer in at most five lines, worded from findings; every number comes from a finding or the corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from insights.diagnose.board import Board
from insights.diagnose.question import Question
from insights.records import Cause, Finding

MOST_LINES = 5
NAMED = 4  # causes, findings in one line
WORTH = 0.05  # share of the failures below which a cause is no place to begin
FEW = 60  # runs with a verdict; with fewer only a large difference can show
DOUBTED = 2  # failures from which on a doubt about the verdicts is told in the answer
CONDUCT = ("injection_obeyed", "denied", "interrupted", "corrected")


def lines(question: Question, board: Board, findings: Sequence[Finding], causes: Sequence[Cause]) -> list[str]:
    """What a reader who stops after five lines should know."""
    opening = {
        "comparison": _comparison,
        "cost": _of_cause("waste"),
        "conduct": _of_cause(*CONDUCT),
        "habit": _of_cause("habit"),
        "survey": _most_common,
    }.get(question.intent)
    out = [_outcomes(board)]
    if question.intent == "comparison":
        out += _compared(board)
    if opening is not None:
        found = opening(findings)
        out += found or (
            [] if len(out) > 1 else [f"Nothing was found that answers a question about {question.intent}."]
        )
    if board.labelled:
        out += _causes(board, findings, causes)
    elif len(out) < 3 and opening is not _most_common:
        out += _most_common(findings)
    return out[:MOST_LINES]


def _outcomes(board: Board) -> str:
    if not board.labelled:
        (scored,) = board.corpus.con.execute("SELECT count(score) FROM traces").fetchone() or (0,)
        remedy = "`insights label` takes them from a file"
        if scored:
            remedy = f"{scored} have a score, of which `insights label CORPUS --pass-at SCORE` makes verdicts"
        return f"{board.n_traces} runs without verdicts: the findings say how often things happen, not why runs fail; {remedy}."
    known = board.n_passed + len(board.failed)
    unlabelled = f"; {board.n_traces - known} more have no verdict" if known < board.n_traces else ""
    return f"{len(board.failed)} of {known} runs fail ({len(board.failed) / known:.0%}){unlabelled}."


def _causes(board: Board, findings: Sequence[Finding], causes: Sequence[Cause]) -> list[str]:
    """Where the failures go and how many are unexplained; what to change first; what is tested; what to doubt."""
    out = []
    told = [c for c in causes if c.finding_id]
    unexplained = next((c.n for c in causes if c.label == "unexplained"), 0)
    rest = f"{unexplained} of {len(board.failed)} stay unexplained" if unexplained else "none stays unexplained"
    if told:
        named = "; ".join(f"{c.label} ({c.n}) [{c.finding_id}]" for c in told[:NAMED])
        out.append(f"Where the {len(board.failed)} failures go: {named}; {_others(causes, told[:NAMED])}{rest}.")
    elif board.failed:
        out.append(f"No cause was found by counting alone: {rest}.")
    out += _first_change(findings, causes, told)
    out.append(_tested(board, findings))
    suspect = [f for f in findings if f.kind == "label_defect" and (f.terminal or 0) >= DOUBTED]
    if suspect:
        out.append("Doubts about the verdicts, to settle first: " + "; ".join(_counted(f) for f in suspect[:2]) + ".")
    return out


def _others(causes: Sequence[Cause], told: Sequence[Cause]) -> str:
    more = [c for c in causes if c not in told and c.label != "unexplained"]
    few = "a smaller cause" if len(more) == 1 else f"{len(more)} smaller causes"
    return f"{sum(c.n for c in more)} under {few}; " if more else ""


def _first_change(findings: Sequence[Finding], causes: Sequence[Cause], told: Sequence[Cause]) -> list[str]:
    """The change that goes with the largest cause that is known to have one and holds enough failures to matter."""
    by_id = {f.id: f for f in findings}
    for cause in [c for c in told if c.n >= WORTH * sum(c.n for c in causes)]:
        f = by_id.get(cause.finding_id or "")
        if f is not None and f.suggested_fix:
            return [f"Change first: {f.suggested_fix.rstrip('.')}; {cause.n} failures are of this cause [{f.id}]."]
    return []


def _tested(board: Board, findings: Sequence[Finding]) -> str:
    if not board.failed:
        return "No run fails, so there is nothing to explain: ask where it wastes time, or what it does, instead."
    if not board.n_passed:
        return "Every run with a verdict fails, so nothing can be held against runs that pass: read counts as how common, not as why."
    tested = [f for f in findings if f.kind == "contrast" and f.contrast and f.contrast.outcome == "success"]
    sure = [f for f in tested if f.verdict == "confirmed"]
    if sure:
        named = "; ".join(f"{f.title} [{f.id}]" for f in sure[:3])
        return f"Runs of the same task fail more often where this happens (tested): {named}."
    crude = [f for f in tested if f.verdict == "descriptive"]
    if crude:
        named = "; ".join(f"{f.title} [{f.id}]" for f in crude[:3])
        return f"Goes with failing, but may only mark the harder tasks: {named}."
    known = board.n_passed + len(board.failed)
    few = f" {known} runs are few: only large differences would show." if known < FEW else ""
    return f"Nothing goes with failing more than chance would have it, given how much was tried.{few}"


def _compared(board: Board) -> list[str]:
    """Whether the two that are compared differ in success, in so many words, whatever the verdict."""
    for f in board.conclude()[0]:
        if f.taxonomy.get("main") and f.contrast is not None:
            c = f.contrast
            equal = "at equal tasks" if c.adjusted else "over tasks that are not the same"
            sure = f.verdict == "confirmed"
            said = (
                f"{-c.risk_difference:+.0%} failures {equal}, 95 % interval {-c.high:+.0%} to {-c.low:+.0%}"
                if sure
                else f"no difference is shown {equal} (95 % interval {-c.high:+.0%} to {-c.low:+.0%} failures)"
            )
            return [f"{f.title}: {f.mechanism.rstrip('.')}; {said}. {' '.join(n for n in f.notes[:1])}"]
    return ["Nothing in the corpus names two versions, models or groups that could be compared."]


def _comparison(findings: Sequence[Finding]) -> list[str]:
    """What else differs; success itself is told before."""
    against = [f for f in findings if f.taxonomy.get("cause") == "comparison" and not f.taxonomy.get("main")]
    against.sort(key=lambda f: not f.taxonomy.get("aspect"))  # what the data judges beside success comes first
    return [f"{f.title}: {f.mechanism.rstrip('.')} [{f.id}]." for f in against[:2]]


def _of_cause(*causes: str) -> Callable[[Sequence[Finding]], list[str]]:
    def say(findings: Sequence[Finding]) -> list[str]:
        return [f"{_counted(f)}." for f in findings if f.taxonomy.get("cause") in causes][:3]

    return say


def _most_common(findings: Sequence[Finding]) -> list[str]:
    return ["Most telling: " + "; ".join(_counted(f) for f in findings[:3]) + "."] if findings else []


def _counted(f: Finding) -> str:
    return f"{f.title} ({f.prevalence.k} of {f.prevalence.n}) [{f.id}]"
