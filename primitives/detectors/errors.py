"""Errors: what tools refused, and what the agent made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from primitives.detectors.action import THINK, WRITE
from primitives.detectors.event import Event, line
from primitives.detectors.registry import declare
from primitives.detectors.run import Family, Run

IGNORED = declare(
    "errors",
    "ignored_error",
    "medium",
    "a call fails, the tool never succeeds afterwards, and the answer has no word of trouble",
)

OPEN = 64  # failures remembered at a time


class Errors(Family):
    declared = (IGNORED,)

    def __init__(self, run: Run, settings: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(run, settings)
        self._open: dict[
            str, tuple[Event, bool]
        ] = {}  # tool -> its first unmended failure of this turn, whether it writes

    def on_result(self, e: Event) -> None:
        name = e.name or "?"
        if self.run.failed:
            if name not in self._open and len(self._open) < OPEN and not self.run.flags & THINK:
                self._open[name] = (e, bool(self.run.flags & WRITE))
        elif self._open:
            self._open.pop(name, None)

    def on_user(self, e: Event) -> None:
        self._open.clear()

    def on_answer(self, e: Event) -> None:
        answer = self.run.answer
        if not self._open or answer is None or answer.trouble:
            return
        for name, (failure, writes) in self._open.items():
            detail = f"{name} failed ({line(failure.text, 100)}) and the answer at {answer.seq} does not say so"
            self.emit(IGNORED, answer.seq, failure.seq, 1, detail, "high" if writes else None)
        self._open.clear()
