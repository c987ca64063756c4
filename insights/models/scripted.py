"""A model that answers from a script: for tests, and to try a prompt or a role without a provider."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from insights.errors import ModelError, UsageError
from insights.models.estimates import counted
from insights.models.messages import Call, Model, Reply, Request, priced
from insights.models.prices import Price

Line = str | Mapping[str, Any] | Reply | Exception
"""A text; {"text": …, "tool_calls": [{"name": …, "arguments": {…}}], "stop": …}; a Reply; an error to raise."""


class ScriptedModel(Model):
    """Answers one line after the other, or what the callable makes of the request.

    `requests` keeps what was asked. Where a line has no usage, tokens are counted and priced by `price`.
    Raises ModelError when the script is at its end. `seconds` is how long each call takes.
    """

    def __init__(
        self,
        script: Iterable[Line] | Callable[[Request], Line | Awaitable[Line]],
        *,
        name: str = "scripted/model",
        price: Price | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.name = name
        self.price = price
        self.seconds = seconds
        self.requests: list[Request] = []
        self._answer = script if callable(script) else None
        self._lines = [] if callable(script) else list(script)

    async def turn(self, request: Request) -> Reply:
        self.requests.append(request)
        number = len(self.requests)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if self._answer is not None:
            line = self._answer(request)
            line = await line if inspect.isawaitable(line) else line
        elif number <= len(self._lines):
            line = self._lines[number - 1]
        else:
            raise ModelError(
                f"{self.name}: the script has {len(self._lines)} lines and {request.role} asks for line {number}",
                "add a line, or find out why there is one call more than expected",
            )
        if isinstance(line, Exception):
            raise line
        return self._reply(line, number, request)

    def _reply(self, line: Line, number: int, request: Request) -> Reply:
        if isinstance(line, Reply):
            return line
        if isinstance(line, str):
            line = {"text": line}
        if not isinstance(line, Mapping) or set(line) - {"text", "tool_calls", "stop"}:
            raise UsageError(
                f"{self.name}: line {number} is no reply: {line!r}",
                'write a text, a Reply, an exception, or {"text": …, "tool_calls": […], "stop": …}',
            )
        calls = tuple(
            Call(f"call_{number}_{i}", call["name"], call.get("arguments", {}))
            for i, call in enumerate(line.get("tool_calls", ()))
        )
        text = line.get("text", "")
        usage = priced(counted(request, text), self.price)
        return Reply(text, calls, stop=line.get("stop", "tool" if calls else "end"), usage=usage, model=self.name)
