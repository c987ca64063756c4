"""The answer in a model's words. Every number in it is filled in from the findings; a line that types one is not used."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from insights.diagnose.answer import MOST_LINES
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
FIELDS = ("count", "failed", "passed", "k", "n")


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
    material = json.dumps([_told(f) for f in findings], ensure_ascii=False, indent=0)
    message = Message("user", marks.around(material, "findings"))
    request = Request(role.render(question=question), (message,), OUTPUT_TOKENS, role.name, schema=SCHEMA)
    reply = await model.complete(request)
    values = _values(findings, causes, board)
    lines, refused = _filled(reply.parsed, values)
    if refused and reply.parsed is not None:
        again = Message("user", say("numbers") + "\n" + "\n".join(f"- {line}" for line in refused))
        second = await model.complete(replace(request, messages=(message, reply.message(), again)))
        if second.parsed is not None:
            lines, refused = _filled(second.parsed, values)
    board.failures += [
        f"synthesizer: a line was left out, it types a number or names what is not there: {x[:160]}" for x in refused
    ]
    return lines[:MOST_LINES]


def _filled(parsed: Any, values: dict[str, str]) -> tuple[list[str], list[str]]:
    """(lines filled in, lines refused)."""
    said = [str(line) for line in parsed["lines"]] if parsed is not None else []
    filled = [(line, fill(line, values)) for line in said]
    return [text for _, text in filled if text is not None], [line for line, text in filled if text is None]


def fill(line: str, values: dict[str, str]) -> str | None:
    """The line with its placeholders filled in; None when it types a number or uses what is not among `values`."""
    names = set(PLACE.findall(line)) | set(re.findall(r"\[(F\d+)\]", line))
    if NUMBER.search(PLACE.sub("", line)) or any(name not in values for name in names):
        return None
    return PLACE.sub(lambda m: values[m[1]], line)


def _told(f: Finding) -> dict[str, Any]:
    """A finding as its reader gets it: no numbers beyond what places it."""
    return {
        "id": f.id, "title": f.title, "claim": f.claim, "mechanism": f.mechanism[:600], "kind": f.kind, "verdict": f.verdict,
        "severity": f.severity, "actor": f.taxonomy.get("actor", ""), "most_of_its_traces_fail": (f.terminal or 0) > (f.recovered or 0),
        "fix": f.suggested_fix[:300], "quotes": [c.quote[:160] for c in f.citations[:2]],
    }  # fmt: skip


def _values(findings: Sequence[Finding], causes: Sequence[Cause], board: Board) -> dict[str, str]:
    left = next((c.n for c in causes if c.label == "unexplained"), 0)
    values = {"failed": f"{len(board.failed):,}", "n": f"{board.n_traces:,}", "unexplained": f"{left:,}"}
    for f in findings:
        p = f.prevalence
        count = f"{p.k:,} of {p.n:,} traces ({p.low:.0%} to {p.high:.0%})" if p.n else "no eligible trace"
        values |= {f.id: f.id, f"{f.id}.count": count, f"{f.id}.k": f"{p.k:,}", f"{f.id}.n": f"{p.n:,}"}
        values |= {f"{f.id}.failed": f"{f.terminal or 0:,}", f"{f.id}.passed": f"{f.recovered or 0:,}"}
    return values
