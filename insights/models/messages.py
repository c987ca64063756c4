"""The nouns of a model call, and the Model that every provider, script and recording is.

A Request says everything that can change an answer; `key` is its identity in caches and recordings.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from insights.errors import ModelError
from insights.models.prices import Price

Stop = Literal["end", "tool", "length", "refusal", "overflow"]
KEY_VERSION = 1
MIN_OUTPUT_TOKENS = 16
"""The least that OpenAI's service accepts as a bound."""

UNICODE_REMEDY = "text must be valid Unicode: s.encode('utf-8', 'replace').decode()"


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the model asks for. The tool may not exist: the caller answers that as data.

    `broken` is the text of arguments that were no JSON object; `arguments` is then empty.
    """

    id: str
    name: str
    arguments: dict[str, Any]
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """`parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """`call_id` names the call that a message of role "tool" answers.

    `state` is what a provider wants back verbatim (its reasoning, signed or encrypted), under the
    provider's name; another provider ignores it.
    """

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    calls: tuple[Call, ...] = ()
    call_id: str | None = None
    state: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model.

    `schema` is the JSON Schema of a structured answer. `max_tokens` bounds the output, reasoning
    included. `role` says who asks, for the ledger only. `salt` tells repeats of the same question apart.
    """

    system: str
    messages: tuple[Message, ...]
    max_tokens: int
    role: str
    tools: tuple[Tool, ...] = ()
    schema: dict[str, Any] | None = None
    salt: str = ""

    def key(self, identity: str) -> str:
        """Hex digest of all that can change the answer of the model called `identity`."""
        asked = [KEY_VERSION, identity, self.system, self.messages, self.tools, self.schema, self.max_tokens, self.salt]
        try:
            text = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
        except TypeError as error:
            raise ModelError(
                f"the request of {self.role} cannot be sent: {error}",
                UNICODE_REMEDY,
            ) from error
        return hashlib.sha256(text).hexdigest()

    def texts(self) -> list[str]:
        """Every piece of text that is sent, for counting."""
        pieces = [self.system]
        for message in self.messages:
            pieces.append(message.text)
            pieces += [orjson.dumps(call.arguments).decode() + call.name for call in message.calls]
            if message.state:
                pieces.append(orjson.dumps(message.state).decode())
        pieces += [tool.name + tool.description + orjson.dumps(tool.parameters).decode() for tool in self.tools]
        if self.schema is not None:
            pieces.append(orjson.dumps(self.schema).decode())
        return pieces


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `input_tokens` includes those read from and written to the provider's cache.

    `usd` is None where no price is known. `estimated`: the server did not say, the counts are ours.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = None
    cache_write_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            None if self.usd is None or other.usd is None else self.usd + other.usd,
            self.cache_write_tokens + other.cache_write_tokens,
            self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    `parsed` is the validated structured answer, None where no schema was asked for or where `stop` is
    not "end" (a truncated answer that is valid all the same is kept). `stop`: "length" is truncated at
    max_tokens, its calls dropped because they may be cut; "overflow" means the request, or request and
    answer, exceed the context window. `cached`: nothing was paid, `usage.usd` is 0 and the token counts
    are those of the original answer.
    """

    text: str
    calls: tuple[Call, ...] = ()
    parsed: Any = None
    stop: Stop = "end"
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    model: str = ""
    cached: bool = False
    state: dict[str, Any] | None = None

    def message(self) -> Message:
        """This reply as the assistant's message in the next request."""
        return Message("assistant", self.text, self.calls, state=self.state)

    def to_json(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Reply:
        data = orjson.loads(text)
        calls = tuple(Call(**call) for call in data.pop("calls"))
        return cls(calls=calls, usage=Usage(**data.pop("usage")), **data)


class Model(ABC):
    """`turn` is one call as the provider answers it; `complete` is what callers use.

    Both raise ModelError: InsightsError's tree says which kinds there are.
    """

    name: str
    price: Price | None = None

    @property
    def identity(self) -> str:
        """What tells this model from any other that could answer differently; part of cache keys."""
        return self.name

    def ready(self) -> None:  # noqa: B027  (a script or a recording needs nothing)
        """Raises ModelUnavailable when no call can succeed for want of a key. Sends nothing."""

    @abstractmethod
    async def turn(self, request: Request) -> Reply:
        """One call. `parsed` stays None."""

    async def complete(self, request: Request) -> Reply:
        """One answer; where a schema is asked for, validated, after at most one turn of repair."""
        if request.schema is None:
            return await self.turn(request)
        from insights.models.structured import complete_structured

        return await complete_structured(self, request)


def priced(usage: Usage, price: Price | None) -> Usage:
    """The same usage with its money filled in."""
    if price is None:
        return usage
    usd = price.cost(usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens)
    return replace(usage, usd=usd)
