"""Request and token rates: calls are spaced evenly, and all of them pause when a provider says so."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass

from insights.errors import UsageError


@dataclass(frozen=True, slots=True)
class Limits:
    """Per minute; None is no limit. Tokens are input and output together."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} is {value}", "give a number above zero, or none for no limit")


class Limiter:
    """Hands out start times. Tokens are charged as expected before a call and corrected after it."""

    def __init__(self, limits: Limits) -> None:
        self._request_seconds = 60 / limits.requests_per_minute if limits.requests_per_minute else 0.0
        self._token_seconds = 60 / limits.tokens_per_minute if limits.tokens_per_minute else 0.0
        self._next_request = self._next_token = self._paused_until = 0.0
        self._mean_output = 0.0
        self._lock = threading.Lock()

    async def wait(self, input_tokens: int) -> float:
        """Sleep until a call may start. Returns the tokens charged, for `settle`."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next_request, self._next_token)
            charged = input_tokens + self._mean_output
            self._next_request = start + self._request_seconds
            self._next_token = start + charged * self._token_seconds
        while (delay := max(start, self._paused_until) - time.monotonic()) > 0:
            await asyncio.sleep(delay)
        return charged

    def settle(self, charged: float, tokens: int, output_tokens: int) -> None:
        """Correct what a call was charged once its tokens are known."""
        with self._lock:
            self._next_token += (tokens - charged) * self._token_seconds
            if output_tokens:
                weight = 0.1 if self._mean_output else 1.0
                self._mean_output += weight * (output_tokens - self._mean_output)

    def pause(self, seconds: float) -> None:
        """Start nothing for so long: the provider answered 429 and named the time."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)
