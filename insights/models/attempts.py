"""What happens on the wire during one call, which the SDKs' retries hide."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Attempts:
    """HTTP requests of one call. `refused` were answered with 429; `lost` were sent and never answered,
    so the provider may have charged them. `pause` holds other calls back for so many seconds.
    """

    pause: Callable[[float], None] = lambda seconds: None
    sent: int = 0
    refused: int = 0
    lost: int = 0


ATTEMPTS: ContextVar[Attempts | None] = ContextVar("ATTEMPTS", default=None)
