"""What a user reads when a provider cannot be used, and what never happens: a crash, a hang, a leaked key."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from insights.errors import AnswerLost, ModelError, ModelUnavailable
from insights.models import open_model
from tests.models.conftest import ask, connect

KEYS = {"anthropic": "ANTHROPIC_API_KEY", "responses": "OPENAI_API_KEY", "chat": "OPENAI_API_KEY"}


def failure(model, request=None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        asyncio.run(model.complete(request or ask()))
    assert caught.value.remedy, "every failure says what to do next"
    assert "sk-test" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_wrong_key(serve, protocol):
    server = serve([{"status": 401, "message": "Incorrect API key provided: sk-test-openai-0123456789."}])
    error = failure(connect(protocol, server.url))
    assert (
        isinstance(error, ModelUnavailable)
        and "401: Incorrect API key provided" in error.message
        and KEYS[protocol] in error.remedy
    )
    assert len(server.bodies) == 1


def test_no_key(monkeypatch, protocol):
    for name in (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "ANTHROPIC_BASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    vendor = "anthropic" if protocol == "anthropic" else "openai"
    with pytest.raises(ModelUnavailable):
        open_model(f"{vendor}/x").ready()
    error = failure(open_model(f"{vendor}/x"))
    assert isinstance(error, ModelUnavailable) and f"{KEYS[protocol]} is not set" in error.message


def test_a_server_of_ones_own_needs_no_key(serve, monkeypatch):
    server = serve([{"text": "Yes."}])
    monkeypatch.delenv("OPENAI_API_KEY")
    assert asyncio.run(connect("chat", server.url).complete(ask())).text == "Yes."


def test_an_unknown_model(serve, protocol):
    server = serve([{"status": 404, "message": "model: no-such-model", "code": "not_found_error"}])
    error = failure(connect(protocol, server.url))
    assert isinstance(error, ModelUnavailable) and "no-such-model" in error.message and "name" in error.remedy


@pytest.mark.parametrize(
    ("protocol", "status", "code", "message"),
    [
        ("responses", 429, "insufficient_quota", "You exceeded your current quota, check your plan and billing."),
        ("chat", 402, None, "Insufficient credits."),
        ("anthropic", 400, "invalid_request_error", "Your credit balance is too low to access the API."),
        ("anthropic", 402, "billing_error", "Payment required."),
    ],
)
def test_an_exhausted_quota(serve, protocol, status, code, message):
    server = serve([{"status": status, "code": code, "message": message}])
    error = failure(connect(protocol, server.url))
    assert len(server.bodies) == 1
    assert isinstance(error, ModelUnavailable) and "credit or quota" in error.remedy and message in error.message


def test_nothing_listens_there(serve, protocol):
    serve([])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    error = failure(connect(protocol, f"http://127.0.0.1:{port}", max_retries=8))
    assert isinstance(error, ModelUnavailable) and f"127.0.0.1:{port}" in error.message and "network" in error.remedy
    assert time.monotonic() - began < 3


def test_no_such_host(serve):
    serve([])
    error = failure(connect("chat", "http://no-such-host.invalid:9"))
    assert isinstance(error, ModelUnavailable) and "no-such-host.invalid" in error.message


def test_a_password_in_the_base_url_is_not_shown(serve):
    serve([])
    error = failure(connect("chat", "http://user:hunter2@127.0.0.1:9"))
    assert "hunter2" not in str(error)


def test_429_with_retry_after_is_waited_for(serve, protocol):
    busy = {"status": 429, "message": "slow down", "headers": {"retry-after": "1"}}
    server = serve([busy, {"text": "Yes."}])
    began = time.monotonic()
    assert asyncio.run(connect(protocol, server.url).complete(ask())).text == "Yes."
    assert 0.95 < time.monotonic() - began < 3 and len(server.bodies) == 2


def test_429_without_end(serve, protocol):
    server = serve([{"status": 429, "message": "slow down", "headers": {"retry-after-ms": "20"}}])
    error = failure(connect(protocol, server.url))
    assert "slow down" in error.message and "requests_per_minute" in error.remedy and len(server.bodies) == 3


def test_a_wait_longer_than_the_deadline_is_not_waited_for(serve, protocol):
    server = serve([{"status": 429, "message": "tomorrow", "headers": {"retry-after": "86400"}}])
    error = failure(connect(protocol, server.url))
    assert "tomorrow" in error.message and "requests_per_minute" in error.remedy and len(server.bodies) == 1


def test_waits_that_add_up_beyond_the_deadline(serve):
    server = serve([{"status": 429, "message": "soon", "headers": {"retry-after-ms": "200"}}])
    error = failure(connect("anthropic", server.url, deadline=0.5, max_retries=50))
    assert "429" in error.message and "requests_per_minute" in error.remedy


def test_a_failing_server_is_asked_again_then_reported(serve, protocol):
    broken = {"status": 503, "message": "overloaded", "headers": {"retry-after-ms": "20"}}
    server = serve([broken, {"text": "Yes."}])
    assert asyncio.run(connect(protocol, server.url).complete(ask())).text == "Yes."
    error = failure(connect(protocol, serve([broken]).url))
    assert "503" in error.message and "later" in error.remedy


def test_a_server_that_is_silent(serve, protocol):
    server = serve([{"hang": 5, "text": "Yes."}])
    began = time.monotonic()
    error = failure(connect(protocol, server.url, timeout=0.3, max_retries=0))
    assert isinstance(error, AnswerLost) and time.monotonic() - began < 3 and "charged" in error.remedy


def test_a_model_that_never_stops_is_stopped_by_the_deadline(serve):
    server = serve([{"hang": 5, "text": "Yes."}])
    began = time.monotonic()
    error = failure(connect("chat", server.url, deadline=0.4))
    assert isinstance(error, AnswerLost) and time.monotonic() - began < 3 and "max_tokens" in error.remedy


def test_every_request_bounds_its_output(serve, protocol):
    server = serve([{"text": "Yes."}])
    asyncio.run(connect(protocol, server.url).complete(ask(max_tokens=123)))
    limits = {"anthropic": "max_tokens", "responses": "max_output_tokens", "chat": "max_tokens"}
    assert server.bodies[0][limits[protocol]] == 123


def test_a_connection_that_breaks_before_the_answer(serve, protocol):
    server = serve([{"drop": True}])
    error = failure(connect(protocol, server.url, max_retries=1))
    assert isinstance(error, AnswerLost) and "127.0.0.1" in error.message


@pytest.mark.parametrize("cut", [0, 200, 600])
def test_a_stream_that_breaks(serve, cut):
    server = serve([{"text": "Yes. " * 100, "cut": cut}])
    error = failure(connect("anthropic", server.url, max_retries=0), ask(max_tokens=64_000))
    assert isinstance(error, AnswerLost)


def test_a_stream_that_ends_too_early(serve):
    server = serve([{"raw": 'event: ping\ndata: {"type": "ping"}\n\n', "kind": "text/event-stream"}])
    assert "base-url" in failure(connect("anthropic", server.url), ask(max_tokens=64_000)).remedy


@pytest.mark.parametrize("raw", ["<html>Sign in to the hotel's network</html>", "{}", "[]", "null", '{"choices": []}'])
def test_an_answer_of_another_kind(serve, protocol, raw):
    for kind in ("text/html", "application/json"):
        server = serve([{"raw": raw, "kind": kind}])
        error = failure(connect(protocol, server.url))
        assert "base-url" in error.remedy


def test_json_that_is_cut(serve, protocol):
    server = serve([{"raw": '{"id": "x", "content": [', "kind": "application/json"}])
    assert "base-url" in failure(connect(protocol, server.url)).remedy


def test_a_request_the_provider_will_not_take(serve, protocol):
    server = serve([{"status": 400, "message": "messages: at least one message is required", "code": "bad"}])
    error = failure(connect(protocol, server.url))
    assert "at least one message" in error.message and not isinstance(error, ModelUnavailable)


def test_a_giant_error_page_is_bounded(serve, protocol):
    server = serve([{"status": 400, "message": "x" * 1_000_000}])
    assert len(str(failure(connect(protocol, server.url)))) < 1000


def test_text_that_is_no_unicode(serve, tmp_path):
    from insights.models import Budget, Ledger, Metered

    server = serve([{"text": "Yes."}])
    with Ledger(tmp_path / "calls.sqlite") as ledger:
        for model in (connect("chat", server.url), connect("anthropic", server.url)):
            assert "Unicode" in failure(model, ask("\ud800")).remedy
            assert "Unicode" in failure(Metered(model, Budget(ledger)), ask("\ud800")).remedy
    assert not server.bodies
