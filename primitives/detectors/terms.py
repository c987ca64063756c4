"""Terms: what one event of a rule looks like, written as one line of text.

    cancel_*                        a call whose name fits the glob
    cancel_* args(\\bforce\\b)        … whose arguments fit the pattern
    cancel_* result(error)          the result of such a call: error, ok, denied or empty
    result(match No such file)      any result whose text fits the pattern
    @mutating  @edit  @test  @run   a call that changes something, edits a file, runs tests, runs code
    @call  @result  @user  @says    any call, result, message of the user, message of the agent
    @answer match(fixed|done)       a text by which the agent hands the turn back; match() looks at the text
    @interrupt  @compaction  @reset  @end
    a | b                           either

Patterns are Python's, without regard to case, and read the first PATTERN_CHARS characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import translate

from primitives.detectors.action import EDIT, RUN, TEST, WRITE
from primitives.detectors.event import Event
from primitives.detectors.run import FAILED, Run

PATTERN_CHARS = 20_000
Test = Callable[[Event, Run], bool]
_KINDS = {
    "call": "call",
    "result": "result",
    "user": "user",
    "says": "assistant",
    "answer": "answer",
    "system": "system",
    "interrupt": "interrupt",
    "compaction": "compaction",
    "reset": "reset",
    "end": "end",
}
_FLAGS = {"mutating": WRITE, "edit": EDIT, "test": TEST, "run": RUN}
_NAME = re.compile(r"[^\s()|]+(?![^\s]*\()")
_QUALIFIER = re.compile(r"(args|match|result)\(")
_EMPTY = {"", "[]", "{}", "null", "none", '""'}


class RuleNotUnderstood(ValueError):
    """A rule or a term cannot be read. The message names the rule, the part and what can be written there."""


@dataclass(frozen=True, slots=True)
class Term:
    """Alternatives, each a kind of event and the tests it has to pass."""

    text: str
    alternatives: tuple[tuple[str, tuple[Test, ...]], ...] = field(compare=False)

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(kind for kind, _ in self.alternatives)

    def fits(self, e: Event, run: Run) -> bool:
        return any(kind == e.kind and all(test(e, run) for test in tests) for kind, tests in self.alternatives)


def parse(text: str) -> Term:
    """Read a term. Raises RuleNotUnderstood."""
    return Term(text, tuple(_alternative(part.strip(), text) for part in _split(text)))


def _split(text: str) -> list[str]:
    """At each | outside of parentheses."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if c == "|" and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def _alternative(part: str, whole: str) -> tuple[str, tuple[Test, ...]]:
    kind, rest = "call", part
    tests: list[Test] = []
    name = _NAME.match(part)
    if name:
        rest = part[name.end() :].strip()
        kind, tests = _subject(name[0], whole)
    elif not part.startswith(("result(", "args(")):
        raise RuleNotUnderstood(f"term {whole!r}: {part!r} is no tool, @kind or qualifier")
    while rest:
        word = _QUALIFIER.match(rest)
        if not word:
            raise RuleNotUnderstood(f"term {whole!r}: {rest!r} is none of args(…), match(…), result(…)")
        inner, rest = _parenthesis(rest, word.end(), whole)
        if word[1] == "result":
            if kind not in ("call", "result"):
                raise RuleNotUnderstood(f"term {whole!r}: result(…) goes with a tool or @result, not with @{kind}")
            kind = "result"
            tests += _result(inner.strip(), whole)
        else:
            tests.append(_pattern(inner, "args_text" if word[1] == "args" else "text", whole))
    return kind, tuple(tests)


def _subject(name: str, whole: str) -> tuple[str, list[Test]]:
    if not name.startswith("@"):
        fits = re.compile(translate(name), re.I).match
        return "call", [lambda e, run: fits(e.name or "") is not None]
    if name[1:] in _KINDS:
        return _KINDS[name[1:]], []
    flag = _FLAGS.get(name[1:])
    if flag is None:
        known = ", ".join("@" + n for n in (*_FLAGS, *_KINDS))
        raise RuleNotUnderstood(f"term {whole!r}: {name} is none of {known}")
    return "call", [lambda e, run: bool(run.flags & flag)]


def _parenthesis(text: str, start: int, whole: str) -> tuple[str, str]:
    """What stands up to the closing parenthesis, and what follows it. A backslash takes the next character along."""
    depth, i = 1, start
    while i < len(text):
        c = text[i]
        if c == "\\":
            i += 1
        elif c in "()":
            depth += 1 if c == "(" else -1
            if depth == 0:
                return text[start:i], text[i + 1 :].strip()
        i += 1
    raise RuleNotUnderstood(f"term {whole!r}: a parenthesis is not closed")


def _result(what: str, whole: str) -> list[Test]:
    if what == "":
        return []
    if what == "error":
        return [lambda e, run: e.status in FAILED]
    if what == "ok":
        return [lambda e, run: e.status not in FAILED]
    if what == "denied":
        return [lambda e, run: e.status == "denied"]
    if what == "empty":
        return [lambda e, run: e.text is None or (len(e.text) < 10 and e.text.strip().lower() in _EMPTY)]
    if what.startswith("match "):
        return [_pattern(what[6:].strip(), "text", whole)]
    raise RuleNotUnderstood(f"term {whole!r}: result({what}) is none of error, ok, denied, empty, match PATTERN")


def _pattern(pattern: str, attribute: str, whole: str) -> Test:
    try:
        search = re.compile(pattern, re.I).search
    except re.error as error:
        raise RuleNotUnderstood(f"term {whole!r}: pattern {pattern!r}: {error}") from error
    return lambda e, run: search((getattr(e, attribute) or "")[:PATTERN_CHARS]) is not None
