"""What a token costs: configs/prices.yaml, overridden by the user's own configuration; else unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from insights.errors import UsageError

PER = 1_000_000
DATED = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens. `cached` is read from the provider's cache, `cache_write` written to it."""

    input: float
    output: float
    cached: float
    cache_write: float


@dataclass(frozen=True, slots=True)
class Price:
    """`rates`, and `long_rates` for every token of a request of more than `long_above` input tokens."""

    rates: Rates
    long_above: int | None = None
    long_rates: Rates | None = None

    def at(self, input_tokens: int) -> Rates:
        if self.long_rates is not None and self.long_above is not None and input_tokens > self.long_above:
            return self.long_rates
        return self.rates

    def cost(self, input_tokens: int, cached: int, cache_write: int, output_tokens: int) -> float:
        """USD of one call; `input_tokens` includes the cached and the written ones."""
        rates = self.at(input_tokens)
        fresh = input_tokens - cached - cache_write
        spent = fresh * rates.input + cached * rates.cached + cache_write * rates.cache_write
        return (spent + output_tokens * rates.output) / PER

    def ceiling(self, input_tokens: int, output_tokens: int) -> float:
        """The most that a call of at most so many tokens can cost."""
        rates = self.at(input_tokens)
        return (input_tokens * max(rates.input, rates.cache_write) + output_tokens * rates.output) / PER


def price_of(name: str, overrides: Mapping[str, Any] | None = None) -> Price | None:
    """The price of `provider/model`, or None: unknown. A date at the end of the name is ignored.

    `overrides` has the shape of `models` in configs/prices.yaml and is looked up first. Prices hold for the
    provider's own service; a compatible server that bills otherwise needs an override.
    """
    from primitives.settings import shipped

    for table in (overrides or {}, shipped("prices")["models"]):
        for known in (name, DATED.sub("", name)):
            if known in table:
                return parse_price(known, table[known])
    return None


def parse_price(name: str, entry: Any) -> Price:
    """One entry of a price table. Raises UsageError when it is not one."""
    try:
        above = entry.get("long_above")
        return Price(_rates(entry), int(above) if above else None, _rates(entry["long"]) if above else None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"the price of {name} is not a price: {entry!r}",
            "write {input: 3, output: 15}, USD per million tokens, and optionally cached and cache_write",
        ) from error


def _rates(entry: Mapping[str, Any]) -> Rates:
    paid = float(entry["input"])
    rates = Rates(paid, float(entry["output"]), float(entry.get("cached", paid)), float(entry.get("cache_write", paid)))
    if min(rates.input, rates.output, rates.cached, rates.cache_write) < 0:
        raise ValueError("a price below zero")
    return rates
