"""A model with its cache, ledger, budget and rate limits: nothing is asked, or paid, outside of it."""

from __future__ import annotations

import copy
import threading
import time
from asyncio import wrap_future
from concurrent.futures import Future
from dataclasses import replace

from insights.errors import AnswerLost, ModelError, ModelUnavailable
from insights.models.attempts import ATTEMPTS, Attempts
from insights.models.budget import KEPT, Budget, Hold
from insights.models.ledger import as_cached
from insights.models.limits import Limiter, Limits
from insights.models.messages import MIN_OUTPUT_TOKENS, Model, Reply, Request

OVERHEAD_TOKENS = 600
"""Input tokens that a provider adds unseen: its own instructions for tools and structured answers."""


class Metered(Model):
    """`model` under `budget`. Several (a strong and a fast one) may share one budget.

    An answer in the cache costs nothing; identical requests in flight are asked once. After a failure that
    no further call can escape (key, name, quota, network) every later call fails at once with the same error.
    Raises ModelError at once when the budget is in money and the model's price is unknown.
    """

    def __init__(self, model: Model, budget: Budget, limits: Limits | None = None) -> None:
        if budget.usd is not None and model.price is None:
            raise ModelError(
                f"the price of {model.name} is unknown, so a budget in money cannot be kept",
                "give its price under `prices` in the configuration, or set a budget in tokens instead",
            )
        self.model = model
        self.name = model.name
        self.price = model.price
        self.budget = budget
        self.ledger = budget.ledger
        self._limiter = Limiter(limits or Limits())
        self._in_flight: dict[str, Future[Reply | ModelError | None]] = {}
        self._lock = threading.Lock()
        self._broken: list[ModelUnavailable] = []
        self._share = 1.0

    @property
    def identity(self) -> str:
        return self.model.identity

    def ready(self) -> None:
        self.model.ready()

    def bulk(self) -> Metered:
        """The same model for bulk work: it stops short of the share kept for closing turns."""
        same = copy.copy(self)
        same._share = 1 - KEPT
        return same

    def has(self, request: Request) -> bool:
        """Whether the answer is in the cache."""
        return self.ledger.has(request.key(self.identity))

    async def turn(self, request: Request) -> Reply:
        key = request.key(self.identity)
        while True:
            with self._lock:
                stored = self.ledger.reply(key)
                leader = self._in_flight.get(key)
                if stored is None and leader is None:
                    mine: Future[Reply | ModelError | None] = Future()
                    mine.set_running_or_notify_cancel()  # one caller's cancellation must not reach the others
                    self._in_flight[key] = mine
                    break
            if stored is None:
                assert leader is not None
                answer = await wrap_future(leader)
                if isinstance(answer, ModelError):
                    raise answer
                if answer is None:
                    continue
                stored = as_cached(answer)
            self.ledger.hit(key, request.role, self.name, stored.stop)
            return stored
        outcome: Reply | ModelError | None = None
        try:
            outcome = await self._pay(key, request)
            return outcome
        except ModelError as error:
            outcome = error
            raise
        finally:
            with self._lock:
                del self._in_flight[key]
            mine.set_result(outcome)

    async def _pay(self, key: str, request: Request) -> Reply:
        if self._broken:
            raise self._broken[0]
        input_tokens = input_ceiling(request)
        output_tokens = max(MIN_OUTPUT_TOKENS, request.max_tokens)
        usd = self.price.ceiling(input_tokens, output_tokens) if self.price else 0.0
        hold = await self.budget.reserve(usd, input_tokens + output_tokens, self._share)
        try:
            charged = await self._limiter.wait(input_tokens // 2)
            if self._broken:
                raise self._broken[0]
        except BaseException:
            self.budget.settle(hold, 0.0, 0)
            raise
        return await self._ask(key, request, hold, charged)

    async def _ask(self, key: str, request: Request, hold: Hold, charged: float) -> Reply:
        attempts = Attempts(self._limiter.pause)
        before = ATTEMPTS.set(attempts)
        row = self.ledger.start(key, request.role, self.name, hold.usd, hold.tokens)
        began = time.perf_counter()
        usd, tokens, output_tokens, lost = 0.0, 0, 0, 1
        try:
            reply = await self.model.turn(request)
            reply = replace(reply, seconds=time.perf_counter() - began)
            lost = attempts.lost
            self.ledger.finish(row, key, reply, attempts.sent, lost)
            usd, tokens = reply.usage.usd or 0.0, reply.usage.input_tokens + reply.usage.output_tokens
            output_tokens = reply.usage.output_tokens
            return reply
        except ModelError as error:
            lost = max(attempts.lost, int(isinstance(error, AnswerLost)))
            self.ledger.fail(row, str(error), time.perf_counter() - began, attempts.sent, lost)
            if isinstance(error, ModelUnavailable):
                self._broken.append(error)
            raise
        except BaseException as error:
            lost = max(attempts.lost, 1)
            self.ledger.fail(row, f"interrupted: {error!r}", time.perf_counter() - began, attempts.sent, lost)
            raise
        finally:
            ATTEMPTS.reset(before)
            self.budget.settle(hold, usd + lost * hold.usd, tokens + lost * hold.tokens)
            self._limiter.settle(charged, tokens, output_tokens)


def input_ceiling(request: Request) -> int:
    """More input tokens than the request can have: half a token per ASCII character, one per byte of the rest.

    Text averages a quarter of a token per ASCII character; dense JSON and code stay under a half.
    """
    total = float(OVERHEAD_TOKENS)
    for text in request.texts():
        if text.isascii():
            total += len(text) / 2
        else:
            plain = len(text.encode("ascii", "ignore"))
            total += plain / 2 + len(text.encode("utf-8", "replace")) - plain
    return int(total)
