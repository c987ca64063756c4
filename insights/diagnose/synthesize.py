"""The answer in a model's words. Every number in it is filled in from the findings; a line that types one is not used."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from insights.diagnose.answer import MOST_LINES
from insights.diagnose.board import WHO
from insights.diagnose.think import say
from insights.models import Message, Request

if TYPE_CHECKING:
    from insights.diagnose.board import Board
    from insights.diagnose.marks import Marks
    from insights.diagnose.roles import Role
    from insights.models import Model
    from insights.records import Cause, Finding

OUTPUT_TOKENS = 6_000
SCHEMA = {
    "type": "object",
    "properties": {"lines": {"type": "array", "items": {"type": "string"}}},
    "required": ["lines"],
    "additionalProperties": False,
}
PLACE = re.compile(r"\{([A-Za-z0-9_.]+)\}")
NUMBER = re.compile(r"(?<![\w{.\[-])\d[\d.,]*\s*%?(?![\w}\]-])")
AMOUNT = re.compile(
    r"\b(most(?:ly)?|nearly all|almost (?:all|always|never)|all|none|half|a (?:third|quarter)|majority|minority|always|never|rarely|seldom|often)\b"
    r"[^.;]{0,60}\b(pass(?:es|ed|ing)?|fail(?:s|ed|ing|ures?)?|succeed\w*)\b"
    r"|\b(pass(?:es|ed|ing)?|fail(?:s|ed|ing)?|succeed\w*)\s+(?:more|less|rarely|seldom|often|always|never|mostly|nearly|almost)\b",
    re.I,
)
MOST_OVERLAPS = 3  # of a finding, told to the model


async def write(
    role: Role,
    model: Model,
    marks: Marks,
    question: str,
    findings: Sequence[Finding],
    causes: Sequence[Cause],
    board: Board,
) -> list[str]:
    """At most five lines. Lines that cite no finding there is, or type a number, are left out and counted on the board."""
    told = {"failures": _causes(causes, board), "findings": [_told(f, findings, causes, board) for f in findings]}
    material = json.dumps(told, ensure_ascii=False, indent=0)
    message = Message("user", marks.around(material, "findings"))
    request = Request(role.render(question=question), (message,), OUTPUT_TOKENS, role.name, schema=SCHEMA)
    reply = await model.complete(request)
    values = _values(findings, causes, board)
    lines, refused = _filled(reply.parsed, values)
    if refused and reply.parsed is not None:
        again = Message("user", say("numbers") + "\n" + "\n".join(f"- {line}: {why}" for line, why in refused))
        second = await model.complete(replace(request, messages=(message, reply.message(), again)))
        if second.parsed is not None:
            lines, refused = _filled(second.parsed, values)
    board.failures += [f"synthesizer: a line was left out, {why}: {line[:160]}" for line, why in refused]
    return lines[:MOST_LINES]


def _filled(parsed: Any, values: dict[str, str]) -> tuple[list[str], list[tuple[str, str]]]:
    """(lines filled in, lines refused and why)."""
    said = [str(line) for line in parsed["lines"]] if parsed is not None else []
    wrong = [(line, why) for line in said if (why := refusal(line, values))]
    return [fill(line, values) for line in said if not refusal(line, values)], wrong


def refusal(line: str, values: dict[str, str]) -> str | None:
    """Why a line cannot be used: it types a number, names what is not there, or says in words how often runs pass or fail."""
    if unknown := [name for name in (*PLACE.findall(line), *re.findall(r"\[(F\d+)\]", line)) if name not in values]:
        return f"there is no {unknown[0]}"
    bare = PLACE.sub("", line)
    if number := NUMBER.search(bare):
        return f"it types a number ({number[0].strip()})"
    sentences = re.split(r"(?<=[.;!?])\s+", line)
    for sentence in sentences:
        if not PLACE.search(sentence) and (amount := AMOUNT.search(sentence)):
            return f"it says how often runs pass or fail without a placeholder ({amount[0]})"
    return None


def fill(line: str, values: dict[str, str]) -> str:
    """The line with its placeholders filled in."""
    return PLACE.sub(lambda m: values[m[1]], line)


def _told(f: Finding, findings: Sequence[Finding], causes: Sequence[Cause], board: Board) -> dict[str, Any]:
    """A finding as its reader gets it, with the counts that its placeholders stand for."""
    p, c = f.prevalence, f.contrast
    return {
        "id": f.id, "title": f.title, "claim": f.claim, "mechanism": f.mechanism[:600], "kind": f.kind, "verdict": f.verdict,
        "severity": f.severity, "actor": f.taxonomy.get("actor", ""), "k": p.k, "n": p.n, "failed": f.terminal, "passed": f.recovered,
        "root_cause_of": sum(x.n for x in causes if x.finding_id == f.id), "overlaps": _overlaps(f, findings, set(board.failed)),
        "at_equal_tasks": None if c is None else {"risk_difference": round(c.risk_difference, 2), "q": c.q, "adjusted": c.adjusted},
        "fix": f.suggested_fix[:300], "notes": [note[:200] for note in f.notes[:3]], "quotes": [q.quote[:160] for q in f.citations[:2]],
    }  # fmt: skip


def _overlaps(f: Finding, findings: Sequence[Finding], failed: set[str]) -> list[str]:
    """Findings that hold at least half of this one's failures, as `inside F1 (9 of 10)`."""
    mine = failed.intersection(f.trace_ids)
    shared = [(len(mine.intersection(g.trace_ids)), g.id) for g in findings if g.id != f.id]
    held = sorted((n, i) for n, i in shared if mine and n >= 0.5 * len(mine))
    return [f"inside {i} ({n} of {len(mine)})" for n, i in held[::-1][:MOST_OVERLAPS]]


def _causes(causes: Sequence[Cause], board: Board) -> dict[str, Any]:
    rows = [{"cause": c.label, "finding": c.finding_id, "actor": c.actor, "n": c.n} for c in causes]
    return {"failed": len(board.failed), "of": board.n_traces, "each_counted_once": rows}


def _values(findings: Sequence[Finding], causes: Sequence[Cause], board: Board) -> dict[str, str]:
    left = next((c.n for c in causes if c.label == "unexplained"), 0)
    values = {"failed": f"{len(board.failed):,}", "n": f"{board.n_traces:,}", "unexplained": f"{left:,}"}
    by_actor: Counter[str] = Counter(dict.fromkeys((*WHO, "limit"), 0))
    for c in causes:
        by_actor[c.actor] += c.n
    values |= {f"by_{actor}": f"{by_actor[actor]:,}" for actor in by_actor}
    rooted: Counter[str | None] = Counter()
    for c in causes:
        rooted[c.finding_id] += c.n
    for f in findings:
        p = f.prevalence
        count = f"{p.k:,} of {p.n:,} traces ({p.low:.0%} to {p.high:.0%})" if p.n else "no eligible trace"
        values |= {f.id: f.id, f"{f.id}.count": count, f"{f.id}.k": f"{p.k:,}", f"{f.id}.n": f"{p.n:,}"}
        values |= {f"{f.id}.failed": f"{f.terminal or 0:,}", f"{f.id}.passed": f"{f.recovered or 0:,}"}
        values[f"{f.id}.root"] = f"{rooted[f.id]:,}"
    return values
