"""Progress: whether the run still learns, changes or says anything new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from primitives.detectors.action import THINK, WRITE
from primitives.detectors.event import Event, line
from primitives.detectors.loops import REMEMBERED, milestone
from primitives.detectors.registry import declare
from primitives.detectors.run import Family, Run

NOTHING_NEW = declare(
    "progress",
    "no_progress",
    "medium",
    "several results in a row that failed, were empty or had been seen before, and nothing changed",
)
SAME_WORDS = declare(
    "progress", "repeated_message", "medium", "the agent says the same thing, word for word, several times in the run"
)
EMPTY = declare("progress", "empty_reply", "medium", "the agent hands the turn back with no text and no call")
STATE = declare(
    "progress",
    "state_loss",
    "low",
    "several reads are made again after a compaction or many calls later, with nothing new in them",
)
BUDGET = declare(
    "progress", "budget_exhausted", "medium", "the run was cut off by a limit on steps, tokens, time or cost"
)

SHORT = 40  # characters: a shorter answer may repeat without meaning anything
LONG = 100  # characters: a shorter message before a call may, too ("Now let me run the script again:")


class Progress(Family):
    declared = (NOTHING_NEW, SAME_WORDS, EMPTY, STATE, BUDGET)

    def __init__(self, run: Run, settings: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(run, settings)
        self._stale_after = settings["no_progress"]["results"]
        self._says = settings["repeated_message"]["times"]
        self._apart = settings["state_loss"]["calls_apart"]
        self._lost = settings["state_loss"]["reads"]
        self._results: dict[int, tuple[int, int, int]] = {}  # result seen -> step, calls made by then, segment
        self._stale, self._stale_since = 0, -1
        self._said: dict[int, tuple[int, int]] = {}
        self._segment = 0
        self._again, self._again_since = 0, -1

    def on_compaction(self, e: Event) -> None:
        self._segment += 1

    def on_user(self, e: Event) -> None:
        self._stale = 0

    def on_reset(self, e: Event) -> None:
        self._stale = 0
        self._results.clear()
        self._said.clear()

    def on_result(self, e: Event) -> None:
        run = self.run
        if run.flags & THINK:
            return
        seen = run.pair
        before = self._results.get(seen)
        if before is None:
            if len(self._results) >= REMEMBERED:
                del self._results[next(iter(self._results))]
            self._results[seen] = (e.seq, run.calls, self._segment)
        elif not run.failed and not run.flags & WRITE and e.text:
            self._remember(e, before)
        if not run.failed and (run.flags & WRITE or (before is None and e.text)):
            self._stale = 0
            return
        if self._stale == 0:
            self._stale_since = e.seq
        self._stale += 1
        n = self._stale
        if n >= self._stale_after and milestone(n, self._stale_after):
            self.emit(
                NOTHING_NEW,
                e.seq,
                self._stale_since,
                n,
                f"{n} results in a row brought nothing new, last {e.name}: {line(e.text)}",
            )

    def _remember(self, e: Event, before: tuple[int, int, int]) -> None:
        seq, calls, segment = before
        if segment == self._segment and self.run.calls - calls < self._apart:
            return
        self._results[self.run.pair] = (e.seq, self.run.calls, self._segment)
        if self.run.write_seq > seq:
            return
        if self._again == 0:
            self._again_since = seq
        self._again += 1
        if self._again >= self._lost and milestone(self._again, self._lost):
            self.emit(
                STATE,
                e.seq,
                self._again_since,
                self._again,
                f"{self._again} reads made again, last {e.name} first made at {seq}: {line(e.args_text)}",
            )

    def on_assistant(self, e: Event) -> None:
        if e.text is not None and len(e.text) >= LONG:
            self._count(e.seq, e.text)

    def on_answer(self, e: Event) -> None:
        answer = self.run.answer
        if answer is not None and SHORT <= len(answer.text) < LONG:
            self._count(answer.seq, answer.text)

    def _count(self, seq: int, text: str) -> None:
        words = hash(text)
        first, n = self._said.get(words, (seq, 0))
        n += 1
        if n == 1 and len(self._said) >= REMEMBERED:
            del self._said[next(iter(self._said))]
        self._said[words] = (first, n)
        if n >= self._says and milestone(n, self._says):
            self.emit(SAME_WORDS, seq, first, n, f"said {n} times: {line(text)}")

    def on_silence(self, e: Event) -> None:
        said = self.run.said
        if said is not None:
            self.emit(EMPTY, said.seq, said.seq, 1, "no text and no call")

    def on_end(self, e: Event) -> None:
        if e.end_reason is not None and e.end_reason.startswith("limit_"):
            self.emit(BUDGET, e.seq, e.seq, 1, f"ended by {e.end_reason}")
