"""A small run with everything in it: tools, one that does not exist, structured answers, one to be repaired."""

from __future__ import annotations

import json
from dataclasses import replace

from insights.models import Message, Model, Reply, Request, Tool, map_calls

RUN_SQL = Tool("sql", "Run one SELECT.", {"type": "object", "properties": {"query": {"type": "string"}}})
LABEL = {
    "type": "object",
    "properties": {"gave_up": {"type": "boolean"}, "quote": {"type": "string"}},
    "required": ["gave_up", "quote"],
    "additionalProperties": False,
}
RESULTS = {"SELECT count(*) FROM traces WHERE NOT success": "12"}
TEXTS = ("I cannot find the booking, goodbye.", "Your seat is changed.", "Transferring you to a human.")


async def agent(model: Model) -> list[Reply]:
    """Ask, run what is called, until it answers; six turns at most."""
    request = Request(
        "You investigate runs.", (Message("user", "How many runs fail?"),), 300, "investigator", (RUN_SQL,)
    )
    replies = []
    for _ in range(6):
        replies.append(await model.complete(request))
        results = [Message("tool", observe(call.name, call.arguments), call_id=call.id) for call in replies[-1].calls]
        if not results:
            break
        request = replace(request, messages=(*request.messages, replies[-1].message(), *results))
    return replies


def observe(name: str, arguments: dict[str, str]) -> str:
    if name != RUN_SQL.name:
        return f"there is no tool {name!r}; there is sql"
    return RESULTS.get(arguments.get("query", ""), "no such query")


async def labels(model: Model) -> list[object]:
    requests = [
        Request("Say whether the agent gave up, with a quote.", (Message("user", text),), 200, "classify", schema=LABEL)
        for text in TEXTS
    ]
    outcomes = await map_calls(model, requests, concurrency=1)
    return [outcome.parsed if isinstance(outcome, Reply) else str(outcome) for outcome in outcomes]


async def small_run(model: Model) -> str:
    turns = await agent(model)
    return json.dumps({"answer": turns[-1].text, "turns": len(turns), "labels": await labels(model)})
