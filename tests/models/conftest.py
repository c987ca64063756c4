from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from insights.models import Message, Model, Request, open_model
from tests.models.fake_server import FakeServer

PROTOCOLS = ("anthropic", "responses", "chat")
PRICES = {"anthropic/known": {"input": 3, "output": 15, "cached": 0.3, "cache_write": 3.75}}
PRICES["openai/known"] = PRICES["anthropic/known"]
VERDICT = {
    "type": "object",
    "properties": {"verdict": {"enum": ["yes", "no"]}, "why": {"type": "string"}},
    "required": ["verdict", "why"],
    "additionalProperties": False,
}


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FakeServer]]:
    """Start a fake server with a script; keys are set, proxies are not."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-anthropic-0123456789")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-openai-0123456789")
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(FakeServer(script))


def connect(protocol: str, url: str, **settings: Any) -> Model:
    settings = {"prices": PRICES, "max_retries": 2, "timeout": 5.0, "deadline": 20.0, **settings}
    if protocol == "anthropic":
        return open_model("anthropic/known", base_url=url, **settings)
    return open_model("openai/known", base_url=f"{url}/v1", protocol=protocol, **settings)


def ask(text: str = "Is the sky blue?", **fields: Any) -> Request:
    fields = {"system": "Answer briefly.", "max_tokens": 200, "role": "test", **fields}
    return Request(messages=(Message("user", text),), **fields)
