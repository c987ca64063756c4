"""The ceiling of a run: money, tokens, or both, reserved before each call and settled after it.

A call holds the most it can cost. One that does not fit beside what others hold waits until they settle;
one that would not fit beside what is spent is refused. So the cap holds under any concurrency, and what
an earlier, killed process of the same run spent or may have spent counts.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from insights.errors import BudgetExhausted, UsageError
from insights.models.ledger import Ledger

KEPT = 0.1
"""Share of the ceiling that bulk calls leave, so that agents can still write down what they have found."""

CENT_DUST = 1e-9
"""USD by which sums of floating point may differ; a billionth is no money."""


@dataclass(frozen=True, slots=True, eq=False)
class Hold:
    usd: float
    tokens: int


class Budget:
    """The ledger's run may spend `usd` and `tokens` (input and output), where given. Safe to use from threads."""

    def __init__(self, ledger: Ledger, *, usd: float | None = None, tokens: int | None = None) -> None:
        for name, cap in (("money", usd), ("tokens", tokens)):
            if cap is not None and not cap >= 0:
                raise UsageError(f"a budget of {cap} {name} cannot be meant", "give a number that is not negative")
        self.ledger = ledger
        self.usd = usd
        self.tokens = tokens
        before = ledger.spent()
        self.spent_usd = before.usd
        self.spent_tokens = before.tokens
        self._holds: set[Hold] = set()
        self._waiting: list[Future[None]] = []
        self._refused = False
        self._lock = threading.Lock()

    @property
    def wrap_up(self) -> bool:
        """True once a call was refused or only the kept share is left: finish with what there is."""
        share = 1 - KEPT
        money = self.usd is None or self.spent_usd < self.usd * share
        return self._refused or not (money and (self.tokens is None or self.spent_tokens < self.tokens * share))

    async def reserve(self, usd: float, tokens: int, share: float = 1.0) -> Hold:
        """Hold so much of `share` of the ceiling. Raises BudgetExhausted when it can no longer fit."""
        while True:
            with self._lock:
                if self._fits(usd, tokens, share, held=True):
                    hold = Hold(usd, tokens)
                    self._holds.add(hold)
                    return hold
                if not self._fits(usd, tokens, share, held=False):
                    self._refused = True
                    raise self._exhausted(usd, tokens, share)
                settled: Future[None] = Future()
                settled.set_running_or_notify_cancel()
                self._waiting.append(settled)
            await asyncio.wrap_future(settled)

    def settle(self, hold: Hold, usd: float, tokens: int) -> None:
        """Release a hold and count what was really spent."""
        with self._lock:
            self._holds.discard(hold)
            self.spent_usd += usd
            self.spent_tokens += tokens
            waiting, self._waiting = self._waiting, []
        for settled in waiting:
            settled.set_result(None)

    def _fits(self, usd: float, tokens: int, share: float, *, held: bool) -> bool:
        holds = self._holds if held else ()
        if self.usd is not None:
            taken = self.spent_usd + sum(hold.usd for hold in holds)
            if taken + usd > self.usd * share + CENT_DUST:
                return False
        if self.tokens is not None:
            taken_tokens = self.spent_tokens + sum(hold.tokens for hold in holds)
            if taken_tokens + tokens > self.tokens * share:
                return False
        return True

    def _exhausted(self, usd: float, tokens: int, share: float) -> BudgetExhausted:
        parts = []
        if self.usd is not None:
            parts.append(f"${self.spent_usd:.4f} of ${self.usd:.2f} spent, the next call can cost ${usd:.4f}")
        if self.tokens is not None:
            parts.append(f"{self.spent_tokens:,} of {self.tokens:,} tokens used, the next call can take {tokens:,}")
        kept = f"; {1 - share:.0%} is kept for closing turns" if share < 1 else ""
        return BudgetExhausted(
            f"the budget is reached: {'; '.join(parts)}{kept}",
            "raise --budget-usd or --max-tokens and run again: answers already paid are not paid twice",
        )
