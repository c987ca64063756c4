"""What happens on the wire during one call, seen from outside the SDK: attempts, lost ones, waits asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Attempts:
    """`lost` attempts were sent and never answered: the provider may have charged them."""

    pause: Callable[[float], None]
    sent: int = 0
    lost: int = 0
    last_status: int | None = None
    retry_after: float | None = None


ATTEMPTS: ContextVar[Attempts | None] = ContextVar("ATTEMPTS", default=None)
