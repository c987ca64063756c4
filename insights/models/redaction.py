"""What looks like a secret is masked before text leaves the machine (see `primitives.secrets`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from insights.models.messages import Message, Model, Reply, Request
from primitives.secrets import mask


class Redacted(Model):
    """`model`, to which no request goes unmasked. `masked` counts what was masked so far."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.name = model.name
        self.price = model.price
        self.masked = 0

    @property
    def identity(self) -> str:
        return f"{self.model.identity} redacted"

    def ready(self) -> None:
        self.model.ready()

    async def turn(self, request: Request) -> Reply:
        messages = tuple(self._message(message) for message in request.messages)
        return await self.model.turn(replace(request, system=self._text(request.system), messages=messages))

    def _text(self, text: str) -> str:
        masked, count = mask(text)
        self.masked += count
        return masked

    def _message(self, message: Message) -> Message:
        calls = tuple(replace(call, arguments=self._value(call.arguments)) for call in message.calls)
        return replace(message, text=self._text(message.text), calls=calls)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {key: self._value(part) for key, part in value.items()}
        return [self._value(part) for part in value] if isinstance(value, list) else value
