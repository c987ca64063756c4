"""What is asked, matched by plain rules that the report states."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Intent = Literal["failure", "comparison", "cost", "conduct", "habit", "survey"]

RULES: tuple[tuple[Intent, str], ...] = (
    ("comparison", r"\b(compar\w*|differ\w*|versus|vs\.?|better|worse|regress\w*|changed|between)\b"),
    (
        "conduct",
        r"\b(attack\w*|inject\w*|hijack\w*|secur\w*|cheat\w*|gam(e|es|ing)|hack\w*|polic(y|ies)|violat\w*|unsafe|harm\w*|leak\w*|honest\w*|l(ie|ies|ying))\b",
    ),
    (
        "cost",
        r"\b(cost\w*|money|expens\w*|wast\w*|slow\w*|latenc\w*|tokens?|dear|time|long|spen[dt]\w*|budget\w*|efficien\w*)\b",
    ),
    (
        "failure",
        r"\b(fail\w*|wrong|error\w*|break\w*|broken|crash\w*|bugs?|mistake\w*|unsuccessful|problem\w*|issues?|go(es)? wrong|"
        r"fix\w*|repair\w*|improv\w*|priorit\w*|(to|should (we|i)) (change|do) first|root causes?)\b",
    ),
    ("habit", r"\bhow (does|do|did|is|are)\b|\bwhen does\b|\bwhat does\b"),
)
STOP = set(
    "a an the of in on at by for to from and or not is are was were be been do does did it its this that these those with what why "
    "how which who when where we our you your they them their there most more many much any all some than then so as about into out "
    "can could would should will may might has have had agent agents run runs trace traces model models two both compare".split()
)


@dataclass(frozen=True, slots=True)
class Question:
    """`terms` drive search and the ranking of what is shown; `named` are slice values that the question names."""

    text: str
    intent: Intent
    rule: str
    terms: tuple[str, ...]
    named: tuple[tuple[str, str], ...] = ()


def understand(text: str, slices: Iterable[tuple[str, str]] = ()) -> Question:
    """Match a question to an intent by the first rule whose words occur; `slices` are the (name, value) the corpus has."""
    low = text.lower()
    named = tuple((n, v) for n, v in slices if len(v) > 2 and re.search(rf"(?<!\w){re.escape(v.lower())}(?!\w)", low))
    terms = tuple(dict.fromkeys(w for w in re.findall(r"[a-z][a-z0-9_-]{2,}", low) if w not in STOP))
    for intent, pattern in RULES:
        found = re.search(pattern, low)
        if found and (intent != "comparison" or found[0] != "between" or named):
            return Question(text, intent, f"the word “{found[0]}”", terms, named)
    if len({n for n, _ in named}) < len(named):
        return Question(text, "comparison", "two values of one slice are named", terms, named)
    return Question(text, "survey", "no rule matched, so a general survey", terms, named)
