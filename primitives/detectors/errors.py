"""Errors: what tools refused, and what the agent made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from primitives.detectors.action import SHELL, THINK, WRITE
from primitives.detectors.event import Event, line
from primitives.detectors.registry import declare
from primitives.detectors.run import Family, Run
from primitives.detectors.wording import Anchored, anchored

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
_INVALID: Anchored = (
    (
        "tool",
        re.compile(r"(?:unknown|no such|invalid|unrecogni[sz]ed|unsupported|non-?existent|not a valid|no) tool\b"),
    ),
    (
        "tool",
        re.compile(
            r"tool ['\"`]?[\w.\-]+['\"`]? (?:is |was |does )?(?:not (?:found|exist|available|recogni[sz]ed)|unknown)"
        ),
    ),
    (
        "function",
        re.compile(
            r"(?:unknown|no such|invalid|unrecogni[sz]ed) function\b|function ['\"`]?[\w.\-]+['\"`]? (?:is )?not found"
        ),
    ),
    ("validation", re.compile(r"inputvalidationerror|validation errors? for")),
    ("keyword argument", re.compile(r"unexpected keyword argument")),
    ("missing", re.compile(r"missing \d* ?required (?:positional |keyword-only )?(?:argument|parameter)")),
    ("required", re.compile(r"required (?:parameter|argument|property)[^.\n]{0,60}missing")),
    ("invalid", re.compile(r"invalid (?:tool )?arguments")),
    ("arguments", re.compile(r"failed to parse arguments")),
    ("valid json", re.compile(r"not valid json")),
)
_ORDER: Anchored = (
    (
        "has not been",
        re.compile(
            r"has not been (?:read|opened|initiali[sz]ed|authenticated"
            r"|started|loaded|created|logged) ?(?:in |yet|first|before)"
        ),
    ),
    (
        "must ",
        re.compile(
            r"must (?:first\b|be called (?:first|before|after)\b"
            r"|(?:be )?\w+(?: \w+){0,5} (?:first\b|before (?:\w+ing|you)\b))"
        ),
    ),
    ("before ", re.compile(r"before (?:you can|calling|using|running|writing|editing)\b")),
    ("first", re.compile(r"(?:please|you need to|you have to|log ?in) (?:\w+ )?first\b")),
    ("not ", re.compile(r"not (?:logged|signed) in\b")),
    (
        "no ",
        re.compile(
            r"no (?:file|database|connection|session|page|tab)(?: is"
            r"| has been)? (?:currently )?(?:open|opened|loaded|active)\b"
        ),
    ),
)
_DENIED: Anchored = (
    ("user ", re.compile(r"user (?:doesn't want to (?:proceed|take this action)|rejected|denied|declined|refused)")),
    ("by ", re.compile(r"(?:rejected|denied|declined|cancelled) by (?:the )?user")),
    ("permission", re.compile(r"permission (?:to use [\w ]{1,60} )?(?:has been |was )?denied")),
    ("requested permission", re.compile(r"requested permissions? to .{1,200} but you haven't granted")),
    ("approval", re.compile(r"approval (?:denied|rejected)")),
)


class Errors(Family):
    declared = (IGNORED, INVALID, ORDER, DENIED)

    def __init__(self, run: Run, settings: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(run, settings)
        self._open: dict[
            str, tuple[Event, bool]
        ] = {}  # tool -> its first unmended failure of this turn, whether it acts
        self._last_failed = False  # the last result of the turn

    def on_result(self, e: Event) -> None:
        self._last_failed = self.run.failed
        if self._open and not self.run.failed:
            self._open.pop(e.name or "?", None)

    def on_failure(self, e: Event) -> None:
        run, name = self.run, e.name or "?"
        low = (e.text or "")[:HEAD_CHARS].lower()
        if e.status == "denied" or anchored(low, _DENIED):
            self.emit(DENIED, e.seq, e.seq, 1, f"{name} was not allowed: {line(e.text)}")
            return
        if name not in self._open and len(self._open) < OPEN and not run.flags & THINK and " already " not in low:
            self._open[name] = (e, bool(run.flags & (WRITE | SHELL)))
        unreadable = run.unreadable
        if unreadable is not None and unreadable.key == e.key:
            self.emit(INVALID, e.seq, unreadable.seq, 1, f"arguments of {name} cannot be read: {line(unreadable.text)}")
            return
        if run.flags & SHELL:
            return
        if anchored(low, _INVALID):
            self.emit(INVALID, e.seq, e.seq, 1, f"{name}: {line(e.text)}")
        elif anchored(low, _ORDER):
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
