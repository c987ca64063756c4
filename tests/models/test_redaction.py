"""What is masked, and what is not."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from insights.models import Call, Message, Redacted, ScriptedModel
from insights.models.redaction import mask
from tests.models.conftest import ask

SECRETS = {
    "provider key": "OPENAI_API_KEY is sk-proj-" + "Ab3_" * 10,
    "access token": "git clone with ghp_" + "x9" * 18,
    "AWS key": "id AKIA" + "ABCD1234" * 2,
    "JWT": "cookie eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "authorization": "Authorization: Bearer abcdef0123456789",
    "password in an address": "postgres://admin:hunter22@db.internal/prod",
    "password": '{"user": "bob", "password": "Tr0ub4dor&3"}',
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_masked_by_its_kind(kind):
    masked, count = mask(f"before {SECRETS[kind]} after")
    assert count == 1 and f"[masked: {kind}]" in masked
    assert masked.startswith("before ") and masked.endswith(" after")


@pytest.mark.parametrize(
    "text",
    [
        "The user forgot the password: reset it.",
        "password=None, token=tokens[3], secret: str",
        "api_key = os.environ['OPENAI_API_KEY']",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b, task sk-12, order #W2378156, id 9523456873",
        "see https://example.com/a:b@c and http://127.0.0.1:8000/v1",
        "uuid 123e4567-e89b-12d3-a456-426614174000 at 2026-11-21T08:13:36Z",
    ],
)
def test_ordinary_text_is_left_alone(text):
    assert mask(text) == (text, 0)


def test_results_of_tools_and_arguments_of_calls_are_masked_too():
    script = ScriptedModel(["ok"])
    model = Redacted(script)
    secret = SECRETS["access token"]
    call = Call("1", "run", {"code": [secret, {"deep": secret}], "n": 3})
    messages = (Message("user", "x"), Message("assistant", calls=(call,)), Message("tool", secret, call_id="1"))
    asyncio.run(model.complete(replace(ask(), system=secret, messages=messages)))
    assert "ghp_" not in repr(script.requests) and model.masked == 4
    assert script.requests[0].messages[1].calls[0].arguments["n"] == 3


@pytest.mark.parametrize(
    "piece", ["password=", "a1", "sk-", "eyJa.", "://a:", "-----BEGIN PRIVATE KEY-----", " ", "aws_secret_access_key"]
)
def test_hostile_text_does_not_hang_it(piece):
    began = time.process_time()
    mask(piece * (300_000 // len(piece)))
    assert time.process_time() - began < 2
