"""A model behind an SDK: settings, one client per event loop, and features that a server may not have.

Structured outputs and the return of reasoning are optional in the protocols and absent in many
compatible servers. They are used until the server refuses a request because of them (which costs
nothing), then left out for the rest of the process; a schema is left out alone. The log says so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import weakref
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import orjson

from insights.errors import ModelError, ModelUnavailable
from insights.models.messages import Model, Reply, Request, Usage, priced
from insights.models.prices import price_of
from insights.models.wire import Overflow, Server

log = logging.getLogger(__name__)

NO_KEY = "no-key"
"""Sent to a server of the user's own when no key is set: most such servers want none, the SDKs want something."""

FEATURES = {
    "schema": re.compile(
        r"response_format|json_schema|output_config|output_format|text\.format|structured|schema", re.I
    ),
    "reasoning": re.compile(r"encrypted|reasoning|thinking|signature", re.I),
    "max_tokens": re.compile(r"max_completion_tokens", re.I),
}
"""Optional feature -> what the message of a server says that does not have it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`timeout`: seconds without a byte from the server. `deadline`: seconds for a call with all its retries.

    `protocol` overrides the rule for OpenAI (see open_model). `prices` overrides configs/prices.yaml.
    """

    base_url: str | None = None
    timeout: float = 600.0
    deadline: float = 1200.0
    max_retries: int = 8
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    protocol: Literal["responses", "chat"] | None = None
    prices: Mapping[str, Any] | None = None


class Provider(Model):
    vendor: ClassVar[str]
    vendor_url: ClassVar[str]
    url_variable: ClassVar[str]
    key_variables: ClassVar[tuple[str, ...]]

    def __init__(self, model_id: str, settings: Settings | None = None) -> None:
        self.model_id = model_id
        self.name = f"{self.vendor}/{model_id}"
        self.settings = settings or Settings()
        url = self.settings.base_url or os.environ.get(self.url_variable) or self.vendor_url
        self.own_server = url.rstrip("/") != self.vendor_url
        self.server = Server(self.name, url.rstrip("/"), self.key_variables[0], self.settings.deadline)
        self.server.check()
        self.price = price_of(self.name, self.settings.prices)
        self.refused: set[str] = set()
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()
        self._reached = False

    @property
    def identity(self) -> str:
        return f"{self.name} {type(self).__name__} {self.server.url} {self.settings.effort or ''}".strip()

    def key(self) -> str:
        """From the environment. A server of the user's own may do without; raises ModelUnavailable otherwise."""
        for variable in self.key_variables:
            if key := os.environ.get(variable, "").strip():
                return key
        if self.own_server:
            return NO_KEY
        variable = self.key_variables[0]
        raise ModelUnavailable(
            f"{self.name} needs a key and {variable} is not set", f"export {variable}=…, or put it in .env"
        )

    def ready(self) -> None:
        self.key()

    @abstractmethod
    def connect(self) -> Any:
        """The SDK's client. Raises ModelUnavailable when there is no key."""

    @abstractmethod
    async def send(self, client: Any, request: Request) -> Reply:
        """One call with the features that are left. Raises Overflow and ModelError."""

    async def turn(self, request: Request) -> Reply:
        client = self._client()
        if not self._reached:
            await self.server.reach()
            self._reached = True
        asked_without: set[str] = set()
        while True:
            try:
                reply = await self.send(client, request)
            except Overflow as error:
                log.info("%s", error)
                return Reply(text="", stop="overflow", model=self.name, usage=Usage(usd=0.0))
            except ModelError as error:
                refused = refused_feature(error, request)
                if refused is None or refused in asked_without:
                    raise
                if refused not in self.refused:
                    log.warning("%s; going on without %s", error.message, refused.partition(" ")[0])
                asked_without.add(refused)
                self.refused.add(refused)
                continue
            return replace(reply, usage=priced(reply.usage, self.price))

    def takes_schema(self, request: Request) -> bool:
        return schema_feature(request) not in self.refused

    def _client(self) -> Any:
        """Connections belong to the event loop that opened them."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = self.connect()
        return client


def refused_feature(error: ModelError, request: Request) -> str | None:
    """The optional feature because of which a server says it refused a request; None: for another reason."""
    if not re.search(r"HTTP (400|422)\b", error.message):
        return None
    for feature, words in FEATURES.items():
        if words.search(error.message):
            return schema_feature(request) if feature == "schema" and request.schema else feature
    return None


def schema_feature(request: Request) -> str:
    return f"schema {orjson.dumps(request.schema, option=orjson.OPT_SORT_KEYS).decode()}"
