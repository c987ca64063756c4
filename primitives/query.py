"""What a keyword query asks for: words, "phrases", AND, OR, NOT, +must, -not, brackets, and role:, tool:, field:.

Words without an operator between them are alternatives; AND binds closer than OR. The parser never refuses: an operator or a
bracket that makes no sense is left out. A word of several parts (`get_order`, `12:14`) is the phrase of its parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

PIECE = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<name>role|tool|field|text):)?"
    r"(?:\"(?P<phrase>[^\"]*)(?:\"|$)|(?P<open>\()|(?P<word>[^\s()\"]+))|(?P<close>\))"
)
DEEPEST = 50  # unit: brackets within brackets


@dataclass(frozen=True, slots=True)
class Words:
    """Text that stands in one field of the index: "text" by its words, "role", "tool" and "field" as a whole."""

    text: str
    name: str = "text"


@dataclass(frozen=True, slots=True)
class Clauses:
    """All of `must`, none of `excluded`; where nothing must be, at least one of `should`."""

    must: tuple[Node, ...] = ()
    should: tuple[Node, ...] = ()
    excluded: tuple[Node, ...] = ()


Node = Words | Clauses
Signed = tuple[str, Node]  # "+", "-" or "" and what it goes with


def parse(query: str) -> Clauses:
    """The tree of a query."""
    return _clauses(PIECE.finditer(query), 0)


def _clauses(pieces: Iterator[re.Match[str]], depth: int) -> Clauses:
    """Up to the bracket that closes, or the end."""
    runs: list[list[Signed]] = []  # joined by AND within, by OR or by nothing between
    joined, sign = False, ""
    for piece in pieces:
        if piece["close"]:
            if depth:
                break
            continue
        word = piece["word"]
        if word in ("AND", "OR", "NOT") and not piece["sign"] and not piece["name"]:
            joined = word == "AND" or (joined and word == "NOT")
            sign = "-" if word == "NOT" else sign
            continue
        if piece["open"]:
            node: Node = _clauses(pieces, depth + 1) if depth < DEEPEST else Clauses()
        else:
            text = piece["phrase"] if piece["phrase"] is not None else word
            node = Words(text, piece["name"] or "text")
        signed = (piece["sign"] or sign, node)
        if joined and runs:
            runs[-1].append(signed)
        else:
            runs.append([signed])
        joined, sign = False, ""
    return _sorted([_joined(run) for run in runs])


def _joined(run: list[Signed]) -> Signed:
    if len(run) == 1:
        return run[0]
    return "", _sorted([(sign or "+", node) for sign, node in run])


def _sorted(signed: list[Signed]) -> Clauses:
    return Clauses(*(tuple(node for sign, node in signed if sign == wanted) for wanted in ("+", "", "-")))
