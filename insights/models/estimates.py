"""Tokens and money before anything is sent, and token counts where a server gives none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from insights.models.messages import Model, Request, Usage
from insights.models.metered import Metered
from primitives.tokens import count_tokens, is_estimate

MESSAGE_TOKENS = 8
"""What a protocol adds around each message, about."""


def request_tokens(request: Request) -> int:
    """Input tokens of a request, about: no vendor publishes its exact count."""
    return sum(count_tokens(text) for text in request.texts()) + MESSAGE_TOKENS * (len(request.messages) + 1)


def counted(request: Request, text: str) -> Usage:
    """The usage of an answer whose server reported none."""
    return Usage(input_tokens=request_tokens(request), output_tokens=count_tokens(text), estimated=True)


def estimate(requests: Iterable[Request], model: Model) -> dict[str, Any]:
    """What asking all of `requests` would take, repeats and cached answers counted once and not at all.

    calls, cached, input_tokens, max_output_tokens, usd (if every answer were as long as it may be; None where
    the price is unknown), usd_input (input alone), token_count ("tiktoken" or "characters / 3.5"). Repair
    turns, at most one for each call with a schema, come on top.
    """
    calls = cached = input_tokens = output_tokens = 0
    usd = usd_input = 0.0
    seen = set()
    for request in requests:
        key = request.key(model.identity)
        if key in seen:
            continue
        seen.add(key)
        if isinstance(model, Metered) and model.has(request):
            cached += 1
            continue
        tokens = request_tokens(request)
        calls += 1
        input_tokens += tokens
        output_tokens += request.max_tokens
        if model.price is not None:
            usd += model.price.cost(tokens, 0, 0, request.max_tokens)
            usd_input += model.price.cost(tokens, 0, 0, 0)
    known = model.price is not None
    return {
        "calls": calls,
        "cached": cached,
        "input_tokens": input_tokens,
        "max_output_tokens": output_tokens,
        "usd": usd if known else None,
        "usd_input": usd_input if known else None,
        "token_count": "characters / 3.5" if is_estimate() else "tiktoken",
    }
