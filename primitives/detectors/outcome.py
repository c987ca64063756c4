"""Outcome: what the agent said of its work, against checks and against the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from primitives.detectors.action import RUN
from primitives.detectors.event import Event
from primitives.detectors.registry import declare
from primitives.detectors.run import Family, Run
from primitives.detectors.wording import Answer

UNVERIFIED = declare(
    "outcome", "unverified_success", "medium", "success is claimed after a file edit with nothing run since the edit"
)
AGAINST = declare(
    "outcome",
    "success_against_verdict",
    "high",
    "the last answer with a claim claims success and the corpus says the run failed",
)
BUDGET = declare(
    "outcome", "budget_exhausted", "medium", "the run was cut off by a limit on steps, tokens, time or cost"
)


class Outcome(Family):
    declared = (UNVERIFIED, AGAINST, BUDGET)

    def __init__(self, run: Run, settings: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(run, settings)
        self._claim: Answer | None = None
        self._run_seq = -1

    def on_call(self, e: Event) -> None:
        if self.run.flags & RUN:
            self._run_seq = e.seq

    def on_answer(self, e: Event) -> None:
        answer = self.run.answer
        if answer is None or not answer.success:
            return
        self._claim = answer
        edited = self.run.edit_seq
        if edited >= 0 and self._run_seq < edited:
            self.emit(
                UNVERIFIED,
                answer.seq,
                edited,
                1,
                f'claims "{answer.success}"; nothing was run since the edit at {edited}',
            )

    def on_end(self, e: Event) -> None:
        if e.success is False and self._claim is not None:
            claim = self._claim
            self.emit(AGAINST, claim.seq, claim.seq, 1, f'claims "{claim.success}"; the verdict is failed')
        if e.end_reason is not None and e.end_reason.startswith("limit_"):
            self.emit(BUDGET, e.seq, e.seq, 1, f"ended by {e.end_reason}")
