"""Errors: what tools refused, and what the agent made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from primitives.detectors.action import SHELL, THINK, WRITE
from primitives.detectors.event import Event, line
from primitives.detectors.registry import declare
from primitives.detectors.run import Family, Run

IGNORED = declare(
    "errors",
    "ignored_error",
    "medium",
    "a call fails, the tool never succeeds afterwards, and the answer has no word of trouble",
)
INVALID = declare(
    "errors",
    "invalid_tool_call",
    "medium",
    "a call names a tool that does not exist or arguments that it does not take",
)
ORDER = declare("errors", "order_violation", "low", "a tool refuses because something else had to come first")
DENIED = declare("errors", "denied_permission", "low", "the person or the harness refuses to let a call run")

OPEN = 64  # failures remembered at a time
SHORT = 40  # characters: a shorter answer ("TERMINATE") says nothing either way
HEAD_CHARS = 600
_INVALID = re.compile(
    r"(?:unknown|no such|invalid|unrecogni[sz]ed|unsupported|non-?existent) (?:tool|function)\b"
    r"|\b(?:tool|function) ['\"`]?[\w.\-]+['\"`]? (?:is |was |does )?(?:not (?:found"
    r"|exist|available|recogni[sz]ed|registered|supported)|unknown)"
    r"|no tool (?:named|called)|not a valid tool|inputvalidationerror|validation errors? for"
    r"|unexpected keyword argument|missing \d* ?required (?:positional |keyword-only )?(?:argument|parameter)"
    r"|required (?:parameter|argument|property)[^.\n]{0,60}missing|invalid (?:tool )?arguments"
    r"|failed to parse arguments"
    r"|arguments? (?:is|are) not valid json|not valid json",
)
_ORDER = re.compile(
    r"has not been (?:read|opened|initiali[sz]ed|authenticated|started|loaded"
    r"|created|verified|logged) ?(?:in |yet|first|before)"
    r"|\bmust (?:first|be called (?:first|before|after))\b|\bmust (?:be )?\w+(?: \w+){0,5} (?:first"
    r"|before (?:\w+ing|you|it|the))\b"
    r"|\bbefore (?:you can|calling|using|running|writing|editing)\b|\b(?:please"
    r"|you need to|you have to) (?:first|\w+ first)\b"
    r"|\bnot (?:logged|signed) in\b|\blog ?in first\b|\bno (?:file|database|connection"
    r"|session|page|tab)(?: is| has been)? (?:currently )?(?:open|opened|loaded"
    r"|active)\b"
)
_ORDER_HINTS = (
    "must",
    "before",
    "first",
    "has not been",
    "not logged",
    "not signed",
    "no file",
    "no page",
    "no session",
    "no connection",
)
_DENIED = re.compile(
    r"user doesn't want to (?:proceed|take this action)|permission (?:to use [\w ]{1,40} )?(?:has been "
    r"|was )?denied by"
    r"|(?:rejected|denied|declined|cancelled) by (?:the )?user|user (?:rejected|denied|declined|refused)"
    r"|requested permissions? to .{1,200} but you haven't granted|permission to use \w+(?: \w+)* has been denied"
    r"|approval (?:denied|rejected)"
)


class Errors(Family):
    declared = (IGNORED, INVALID, ORDER, DENIED)

    def __init__(self, run: Run, settings: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(run, settings)
        self._open: dict[
            str, tuple[Event, bool]
        ] = {}  # tool -> its first unmended failure of this turn, whether it acts
        self._last_failed = False  # the last result of the turn
        self._unreadable: Event | None = None

    def on_call(self, e: Event) -> None:
        self._unreadable = e if e.text else None  # the reader's word on arguments that are no JSON

    def on_result(self, e: Event) -> None:
        self._last_failed = self.run.failed
        if self._open and not self.run.failed:
            self._open.pop(e.name or "?", None)

    def on_failure(self, e: Event) -> None:
        run, name = self.run, e.name or "?"
        low = (e.text or "")[:HEAD_CHARS].lower()
        if e.status == "denied" or _DENIED.search(low):
            self.emit(DENIED, e.seq, e.seq, 1, f"{name} was not allowed: {line(e.text)}")
            return
        if name not in self._open and len(self._open) < OPEN and not run.flags & THINK and " already " not in low:
            self._open[name] = (e, bool(run.flags & (WRITE | SHELL)))
        unreadable = self._unreadable
        if unreadable is not None and unreadable.key == e.key:
            self.emit(INVALID, e.seq, unreadable.seq, 1, f"arguments of {name} cannot be read: {line(unreadable.text)}")
            return
        if run.flags & SHELL:
            return
        if _INVALID.search(low):
            self.emit(INVALID, e.seq, e.seq, 1, f"{name}: {line(e.text)}")
        elif any(hint in low for hint in _ORDER_HINTS) and _ORDER.search(low):
            self.emit(ORDER, e.seq, e.seq, 1, f"{name}: {line(e.text)}")

    def on_user(self, e: Event) -> None:
        self._open.clear()

    on_reset = on_user

    def on_answer(self, e: Event) -> None:
        answer = self.run.answer
        if not self._open or answer is None or len(answer.text) < SHORT or answer.trouble():
            return
        if answer.asks() and not answer.deed():
            return
        for name, (failure, acts) in self._open.items():
            if acts or self._last_failed:
                detail = f"{name} failed ({line(failure.text, 100)}) and the answer does not say so"
                self.emit(IGNORED, answer.seq, failure.seq, 1, detail, "high" if acts else None)
        self._open.clear()
