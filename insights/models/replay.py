"""Recordings: a run's answers written down once and given again, exactly, to the same requests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from insights.errors import ModelError
from insights.models.messages import Model, Reply, Request
from insights.models.prices import parse_price

HEAD_SHOWN = 160
"""Characters of a request kept beside its answer, to tell a person which one it was."""


class Recorder(Model):
    """Passes calls to `model` and writes each request's key and reply to `path`, one JSON object a line."""

    def __init__(self, model: Model, path: str | Path) -> None:
        self.model = model
        self.name = model.name
        self.price = model.price
        self.path = Path(path)
        self.path.write_bytes(orjson.dumps({"recording": 1, "model": model.name, "identity": model.identity}) + b"\n")

    @property
    def identity(self) -> str:
        return self.model.identity

    def ready(self) -> None:
        self.model.ready()

    async def turn(self, request: Request) -> Reply:
        reply = await self.model.turn(request)
        line = {"key": request.key(self.identity), "role": request.role, "head": _head(request)}
        with self.path.open("ab") as file:
            file.write(orjson.dumps({**line, "reply": orjson.Fragment(reply.to_json())}) + b"\n")
        return reply


class ReplayModel(Model):
    """Answers from a recording. A request that was not recorded raises ModelError; nothing is made up."""

    def __init__(self, path: str | Path, prices: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        try:
            lines = [orjson.loads(line) for line in self.path.read_bytes().splitlines()]
            header, rest = lines[0], lines[1:]
            self.name, self._identity = header["model"], header["identity"]
            self._replies = {line["key"]: line["reply"] for line in rest}
            self._heads = [f"{line['role']}: {line['head']}" for line in rest]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ModelError(
                f"{self.path} is no recording: {error}", "make one with insights.models.Recorder"
            ) from error
        if prices and self.name in prices:
            self.price = parse_price(self.name, prices[self.name])

    @property
    def identity(self) -> str:
        return self._identity

    async def turn(self, request: Request) -> Reply:
        reply = self._replies.get(request.key(self._identity))
        if reply is None:
            alike = [head for head in self._heads if head.startswith(f"{request.role}: ")]
            raise ModelError(
                f"{self.path} holds no answer to this request of {request.role}: {_head(request)!r}; it holds "
                f"{len(self._replies)} answers, {len(alike)} of them to {request.role}",
                "record again, or find what changed in the prompt",
            )
        return replace(Reply.from_json(orjson.dumps(reply)), cached=False)


def _head(request: Request) -> str:
    return request.messages[-1].text[:HEAD_SHOWN] if request.messages else ""
