"""A run for test_map.py to kill: label N texts under a budget. Run as a program: URL LEDGER N OUT."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from insights.models import Budget, Ledger, Message, Metered, Model, Request, map_calls, open_model

PRICES = {"openai/known": {"input": 3, "output": 15}}
SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}


def requests(n: int) -> list[Request]:
    return [Request("Label it.", (Message("user", f"text {i}"),), 100, "classify", schema=SCHEMA) for i in range(n)]


def model(url: str) -> Model:
    return open_model("openai/known", base_url=f"{url}/v1", prices=PRICES)


async def label(url: str, path: Path, n: int) -> list[str]:
    with Ledger(path) as ledger:
        metered = Metered(model(url), Budget(ledger, usd=10.0))
        replies = await map_calls(metered, requests(n), concurrency=8)
    return [getattr(reply, "parsed", None) or str(reply) for reply in replies]


if __name__ == "__main__":
    url, path, n, out = sys.argv[1:]
    Path(out).write_text(json.dumps(asyncio.run(label(url, Path(path), int(n)))))
