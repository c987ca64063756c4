"""One async map: many requests, so many at a time, every failure a value in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from insights.errors import ModelError, UsageError
from insights.models.messages import Model, Reply, Request
from insights.models.metered import Metered

OnDone = Callable[[int, Reply | ModelError], None]


async def map_calls(
    model: Model, requests: Sequence[Request], *, concurrency: int = 16, on_done: OnDone | None = None
) -> list[Reply | ModelError]:
    """The answers in the order of `requests`. A failed call is its ModelError, and the rest go on.

    Under a budget the map stops short of the share kept for closing turns: what no longer fits is a
    BudgetExhausted in its place, answers in the cache are still given. `on_done(index, outcome)` is called
    as each finishes. An exception that is no ModelError is a fault of ours: it cancels the map and raises.
    """
    if concurrency < 1:
        raise UsageError(f"a concurrency of {concurrency} cannot be meant", "give at least 1")
    asked = model.bulk() if isinstance(model, Metered) else model
    outcomes: list[Reply | ModelError] = [ModelError("not asked")] * len(requests)
    waiting: Iterator[tuple[int, Request]] = iter(enumerate(requests))

    async def worker() -> None:
        for index, request in waiting:
            try:
                outcomes[index] = await asked.complete(request)
            except ModelError as error:
                outcomes[index] = error
            if on_done is not None:
                on_done(index, outcomes[index])

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(requests))):
                group.create_task(worker())
    except BaseExceptionGroup as faults:
        raise faults.exceptions[0] from None
    return outcomes
