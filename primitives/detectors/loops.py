"""Loops: the same thing done, seen or read again and again."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from primitives.detectors.action import READ, SHELL, THINK, WRITE
from primitives.detectors.event import Event, line
from primitives.detectors.registry import declare
from primitives.detectors.run import Family, Run

RETRY = declare(
    "loops",
    "retry_loop",
    "medium",
    "the same call with the same result several times in a row since the last user message",
)
CYCLE = declare(
    "loops",
    "alternating_cycle",
    "medium",
    "a cycle of two to twelve calls, with the same results, gone round several times",
)
ERRORS = declare(
    "loops", "error_loop", "medium", "the same call fails several times in a row since the last user message"
)
REPEATED = declare(
    "loops",
    "repeated_call",
    "info",
    "the same call (name and arguments) made several times in the run, in a row or not",
)
READ_AGAIN = declare(
    "loops",
    "repeated_read",
    "low",
    "the same read with the same result several times, nothing having been changed in between",
)

MAX_PERIOD = 12
WITHIN = {
    p: [d for d in range(2, p) if p % d == 0] for p in range(2, MAX_PERIOD + 1)
}  # shorter cycles that are also one of p
REMEMBERED = 4_096  # distinct calls kept for counting


class Loops(Family):
    """Works on (call, result) pairs. `_same[p]` counts how long each pair has equalled the one p before it."""

    declared = (RETRY, CYCLE, ERRORS, REPEATED, READ_AGAIN)

    def __init__(self, run: Run, settings: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(run, settings)
        self._retry = settings["retry_loop"]["times"]
        self._rounds = settings["alternating_cycle"]["rounds"]
        self._errors = settings["error_loop"]["times"]
        self._repeated = settings["repeated_call"]["times"]
        self._read = settings["repeated_read"]["times"]
        self._recent: deque[tuple[int, int]] = deque(maxlen=MAX_PERIOD * 4)
        self._near: deque[int] = deque(maxlen=MAX_PERIOD)  # the last pairs: one that is not among them ends every cycle
        self._same, self._running = [0] * (MAX_PERIOD + 1), False
        self._failing, self._failures, self._failing_since = 0, 0, 0
        self._made: dict[int, tuple[int, int]] = {}
        self._seen: dict[int, tuple[int, int]] = {}
        self._seen_at_write = -1

    def on_user(self, e: Event) -> None:
        self._recent.clear()
        self._near.clear()
        self._same, self._running = [0] * (MAX_PERIOD + 1), False
        self._failures = 0

    on_reset = on_user

    def on_call(self, e: Event) -> None:
        if self.run.flags & THINK:
            return
        action = self.run.action
        first, n = self._made.get(action, (e.seq, 0))
        n += 1
        if n == 1 and len(self._made) >= REMEMBERED:
            del self._made[next(iter(self._made))]
        self._made[action] = (first, n)
        if n >= self._repeated and milestone(n, self._repeated):
            self.emit(REPEATED, e.seq, first, n, f"{e.name} called {n} times with {line(e.args_text)}")

    def on_result(self, e: Event) -> None:
        run = self.run
        if run.flags & THINK:
            return
        pair = run.pair
        self._cycles(e, pair)
        if run.failed:
            self._failed(e)
        else:
            self._failures = 0
            if not run.flags & WRITE:
                self._reread(e, pair)

    def _cycles(self, e: Event, pair: int) -> None:
        recent, same = self._recent, self._same
        if pair not in self._near:
            if self._running:
                self._same, self._running = [0] * (MAX_PERIOD + 1), False
            self._near.append(pair)
            recent.append((pair, e.seq))
            return
        self._running = True
        self._near.append(pair)
        for period in range(1, MAX_PERIOD + 1):
            if len(recent) >= period and recent[-period][0] == pair:
                same[period] += 1
            else:
                same[period] = 0
        recent.append((pair, e.seq))
        n = same[1] + 1
        if n > 1:
            if n >= self._retry and milestone(n, self._retry):
                self.emit(
                    RETRY,
                    e.seq,
                    self._start(n),
                    n,
                    f"{e.name} {n} times in a row, same arguments, same result: {line(e.args_text)}",
                )
            return
        for period in range(2, MAX_PERIOD + 1):
            rounds, within = divmod(same[period] + period, period)
            if within == 0 and rounds >= self._rounds and milestone(rounds, self._rounds):
                if any(same[d] >= period for d in WITHIN[period]):
                    continue
                self.emit(
                    CYCLE,
                    e.seq,
                    self._start(rounds * period),
                    rounds,
                    f"a cycle of {period} calls went round {rounds} times, last {e.name}",
                )
                return

    def _start(self, pairs: int) -> int:
        return self._recent[-min(pairs, len(self._recent))][1]

    def _failed(self, e: Event) -> None:
        action = self.run.action
        if self._failures and self._failing == action:
            self._failures += 1
        else:
            self._failing, self._failures, self._failing_since = action, 1, e.seq
        n = self._failures
        if n >= self._errors and milestone(n, self._errors):
            self.emit(
                ERRORS,
                e.seq,
                self._failing_since,
                n,
                f"{e.name} failed {n} times in a row with the same arguments: {line(e.text)}",
            )

    def _reread(self, e: Event, pair: int) -> None:
        if self._seen_at_write != self.run.write_seq:
            self._seen.clear()
            self._seen_at_write = self.run.write_seq
        first, n = self._seen.get(pair, (e.seq, 0))
        n += 1
        if n == 1 and len(self._seen) >= REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._seen[pair] = (first, n)
        if n >= self._read and milestone(n, self._read) and self.run.flags in (READ, SHELL):
            self.emit(
                READ_AGAIN, e.seq, first, n, f"{e.name} read the same {n} times, nothing changed: {line(e.args_text)}"
            )


def milestone(n: int, first: int) -> bool:
    """At the threshold and at each doubling of it: a loop of a thousand rounds gives ten signals, not a thousand."""
    times, rest = divmod(n, first)
    return rest == 0 and times & (times - 1) == 0
