"""What looks like a secret is masked before text leaves the machine.

Traces hold keys, tokens and passwords that agents met. The patterns are narrow, of known forms, because a
mask over ordinary text would spoil the analysis; this is a net under carelessness, not a guarantee.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from insights.models.messages import Message, Model, Reply, Request

PASSWORD_WORDS = ("password", "passwd", "pwd", "secret", "api_key", "apikey", "access_token", "auth_token")
KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "private key": (
        ("private key",),
        r"-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY-----.*?(?:-----END (?:[A-Z]{1,20} ){0,3}PRIVATE KEY-----|\Z)",
    ),
    "provider key": (
        ("sk-", "k_live", "k_test", "aiza"),
        r"\bsk-[A-Za-z0-9_\-]{20,}|\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|\bAIza[A-Za-z0-9_\-]{35}",
    ),
    "access token": (
        ("gh", "glpat", "xox", "hf_", "npm_", "pypi-"),
        r"\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{40,}|\bglpat-[A-Za-z0-9_\-]{20,}|"
        r"\bxox[abeoprs]-[A-Za-z0-9\-]{10,}|\bhf_[A-Za-z0-9]{30,}|\bnpm_[A-Za-z0-9]{36}|\bpypi-[A-Za-z0-9_\-]{50,}",
    ),
    "AWS key": (
        ("akia", "asia", "aws_secret"),
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|(?<=aws_secret_access_key)\W{1,4}[A-Za-z0-9/+=]{40}",
    ),
    "JWT": (("eyj",), r"\beyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}"),
    "authorization": (("authorization",), r"(?<=authorization: )(?:bearer|basic) [A-Za-z0-9._~+/=\-]{12,}"),
    "password in an address": (("://",), r"(?<=://)[^\s:/@]{1,64}:[^\s:/@]{3,128}(?=@)"),
    "password": (
        PASSWORD_WORDS,
        r"(?<![A-Za-z])(?:password|passwd|pwd|secret|api_?key|access_token|auth_token)[\"']?\s{0,2}[:=]\s{0,2}[\"']?"
        r"(?=[^\s\"',;]{0,99}\d)(?=[^\s\"',;]{0,99}[A-Za-z])[^\s\"',;(){}<>\[\]]{8,200}",
    ),
}
"""Kind -> the text one of which must be there, lower case, for the slower pattern to be tried; the pattern."""

PATTERNS = {kind: (needles, re.compile(pattern, re.I | re.S)) for kind, (needles, pattern) in KINDS.items()}


def mask(text: str) -> tuple[str, int]:
    """The text with `[masked: kind]` in the place of secrets, and how many there were."""
    total = 0
    lower = text.lower()
    for kind, (needles, pattern) in PATTERNS.items():
        if any(needle in lower for needle in needles):
            text, count = pattern.subn(f"[masked: {kind}]", text)
            total += count
    return text, total


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
