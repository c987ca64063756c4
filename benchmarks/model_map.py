"""How near the model map comes to the ideal schedule: its wall time over that of the ideal.

    python benchmarks/model_map.py [--calls 2000] [--at-once 64] [--seconds 0.05] [--runs 3]

The ideal is calls / at-once, rounded up, times the seconds of one call; with a rate limit, the time the
limit takes alone. Calls are scripted (they sleep), so what is measured is ours: cache, ledger on the disk,
budget, limits, validation. `bare` is asyncio with a semaphore and nothing else, on the same machine at
the same time. The aim is a ratio of 1.05 at most. JSON with --json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from insights.models import Budget, Ledger, Limits, Message, Metered, Price, Reply, Request, ScriptedModel, map_calls
from insights.models.prices import Rates

SCHEMA = {"type": "object", "properties": {"label": {"enum": ["yes", "no"]}}, "required": ["label"]}
PRICE = Price(Rates(input=1, output=5, cached=0.1, cache_write=1.25))


def requests(n: int, structured: bool) -> list[Request]:
    text = "A step of a trace, with a tool call and what it returned. " * 20
    schema = SCHEMA if structured else None
    return [Request("Label it.", (Message("user", f"{i} {text}"),), 200, "classify", schema=schema) for i in range(n)]


def timed(work: Coroutine[Any, Any, Any]) -> float:
    async def run() -> float:
        began = time.perf_counter()
        await work
        return time.perf_counter() - began

    return asyncio.run(run())


async def bare(calls: int, at_once: int, seconds: float) -> None:
    gate = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with gate:
            await asyncio.sleep(seconds)

    await asyncio.gather(*(one() for _ in range(calls)))


def mapped(folder: Path, asked: list[Request], at_once: int, seconds: float, limits: Limits | None = None) -> float:
    with Ledger(folder / "calls.sqlite") as ledger:
        script = ScriptedModel(lambda request: '{"label": "yes"}', seconds=seconds, price=PRICE)
        model = Metered(script, Budget(ledger, usd=1000.0), limits)
        wall = timed(check(map_calls(model, asked, concurrency=at_once)))
    return wall


async def check(work: Coroutine[Any, Any, list[Any]]) -> None:
    assert all(isinstance(outcome, Reply) for outcome in await work)


def measure(calls: int, at_once: int, seconds: float) -> dict[str, float]:
    ideal = math.ceil(calls / at_once) * seconds
    limit = Limits(requests_per_minute=60_000)
    few = min(calls, 1000)
    result = {"ideal_seconds": ideal, "bare": timed(bare(calls, at_once, seconds)) / ideal}
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("text", "structured", "limited")]
        result["text"] = mapped(places[0], requests(calls, False), at_once, seconds) / ideal
        result["structured"] = mapped(places[1], requests(calls, True), at_once, seconds) / ideal
        result["from_cache_seconds"] = mapped(places[1], requests(calls, True), at_once, seconds)
        paced = (few - 1) / 1000 + seconds
        result["at_1000_a_second"] = mapped(places[2], requests(few, False), few, seconds, limit) / paced
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    mapped_warm = measure(8, 8, 0.001)
    assert mapped_warm
    runs = [measure(args.calls, args.at_once, args.seconds) for _ in range(args.runs)]
    best = {name: round(min(run[name] for run in runs), 4) for name in runs[0]}
    if args.json:
        print(json.dumps(best))
        return
    print(f"{args.calls} calls of {args.seconds} s, {args.at_once} at once; best of {args.runs}, ratio to the ideal")
    for name, value in best.items():
        print(f"  {name:20} {value}")


if __name__ == "__main__":
    main()
