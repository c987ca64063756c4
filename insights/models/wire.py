"""What the two vendors' SDKs share: an HTTP client that counts attempts, and their errors in our words.

Both SDKs are built on httpx2 and name their exceptions alike, so one translation serves both.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from insights.errors import AnswerLost, ModelError, ModelUnavailable, UsageError
from insights.models.attempts import ATTEMPTS, Attempts
from insights.models.messages import UNICODE_REMEDY

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 5.0
MESSAGE_SHOWN = 400
"""Characters of a provider's error message that are passed on: its sense, not the page of a proxy."""

OVERFLOW = re.compile(
    r"prompt is too long|context[ _-]?(length|limit|window|size)|maximum (context|number of tokens)|"
    r"too many (input )?tokens|input (is )?too long|exceeds? .{0,40}context",
    re.IGNORECASE,
)
QUOTA = re.compile(r"insufficient_quota|quota|credit balance|billing|spend(ing)? limit|out of credit", re.IGNORECASE)
SECRET = re.compile(r"\bsk-[A-Za-z0-9_\-*.]{4,}|(?<=Bearer )\S+")
KEY_VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY")


class Overflow(Exception):
    """The provider says that the request is longer than the model's context window."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where calls go. `key_variable` is the environment variable that holds the key."""

    model: str
    url: str
    key_variable: str
    deadline: float

    def check(self) -> None:
        """Raises UsageError when the address cannot be one."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{self.shown!r} is no base URL", "write it as http://host:port/v1")

    @property
    def shown(self) -> str:
        """The address without what may be a password."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}" if parts.hostname else self.url

    async def reach(self) -> None:
        """Raises ModelUnavailable when nothing answers there. The SDKs would retry that for a minute."""
        if {"http", "https", "all"} & getproxies().keys():
            return
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(parts.hostname, port)
        except (OSError, TimeoutError) as error:
            raise self.unreachable(error) from error
        writer.close()

    def unreachable(self, error: BaseException) -> ModelUnavailable:
        why = str(error) or type(error).__name__
        return ModelUnavailable(
            f"{self.model}: no connection to {self.shown}: {scrub(why)}",
            "check the network, the proxy and --base-url; without a model the playbooks still run",
        )


def http_client(timeout: float, deadline: float) -> httpx2.AsyncClient:
    """A client with the SDKs' own limits, which tells the current call's Attempts what happens to it."""
    import httpx2

    class Counted(httpx2.AsyncClient):
        async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
            attempts = ATTEMPTS.get() or Attempts()
            attempts.sent += 1
            try:
                response = await super().send(request, **options)
            except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout):
                raise
            except BaseException:
                attempts.lost += 1
                raise
            if response.status_code == 429:
                await _told_to_wait(response, attempts, deadline)
            return response

    return Counted(
        timeout=httpx2.Timeout(timeout, connect=CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100),
        follow_redirects=True,
    )


async def _told_to_wait(response: httpx2.Response, attempts: Attempts, deadline: float) -> None:
    """Hold other calls back too; and keep the SDK from waiting for what no wait brings: quota, or days."""
    attempts.refused += 1
    wait = retry_after(response.headers)
    body = (await response.aread()).decode("utf-8", "replace")
    if _quota_gone(body, wait) or (wait or 0) > deadline:
        response.headers["x-should-retry"] = "false"
    elif wait:
        attempts.pause(wait)


def _quota_gone(said: str, wait: float | None) -> bool:
    """Whether a refusal is about credit and not about pace. Some servers call a rate a quota, but name a wait."""
    return "insufficient_quota" in said or (wait is None and QUOTA.search(said) is not None)


def retry_after(headers: Any) -> float | None:
    """Seconds, where the header gives seconds; a date is left to the SDK."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
    return None


async def within(server: Server, sdk: Any, call: Callable[[], Awaitable[Any]]) -> Any:
    """Run one SDK call. Raises Overflow or a ModelError; never an exception of the SDK or of httpx2."""
    import httpx2

    attempts = ATTEMPTS.get() or Attempts()
    before = ATTEMPTS.set(attempts)
    try:
        async with asyncio.timeout(server.deadline):
            return await call()
    except TimeoutError as error:
        raise _too_late(server, attempts) from error
    except httpx2.HTTPError as error:  # while a stream was being read, where the SDKs do not look
        attempts.lost += 1
        raise _connection_error(server, attempts, error) from error
    except sdk.APIConnectionError as error:
        raise _connection_error(server, attempts, error) from error
    except sdk.APIStatusError as error:
        raise status_error(server, error) from error
    except sdk.APIError as error:
        raise ModelError(
            f"{server.model}: {scrub(str(error))}", "try again; finished calls are not paid again"
        ) from error
    except UnicodeEncodeError as error:
        raise ModelError(f"{server.model}: the request cannot be sent: {error.reason}", UNICODE_REMEDY) from error
    except (ValueError, AssertionError) as error:  # the SDKs' own words for JSON or a stream that is cut
        raise not_a_reply(server, str(error)) from error
    finally:
        ATTEMPTS.reset(before)


def _too_late(server: Server, attempts: Attempts) -> ModelError:
    if attempts.refused == attempts.sent:
        return ModelError(
            f"{server.model}: {server.shown} still refused after {server.deadline:g} s: rate limit (HTTP 429)",
            "set requests_per_minute or a lower concurrency and run again: finished calls are not paid again",
        )
    return AnswerLost(
        f"{server.model}: no whole answer from {server.shown} within {server.deadline:g} s",
        "raise the timeout or lower max_tokens; the call may have been charged and counts in full",
    )


def _connection_error(server: Server, attempts: Attempts, error: Any) -> ModelError:
    cause = error.__cause__ or error
    if attempts.lost:
        why = scrub(str(cause)) or "no byte came in time"
        return AnswerLost(
            f"{server.model}: {server.shown} did not answer: {why}",
            "raise the timeout or run again; the call may have been charged and counts in full towards the budget",
        )
    return server.unreachable(cause)


def status_error(server: Server, error: Any) -> Exception:
    """The provider's refusal in our words. Its own message is kept, without what looks like a key."""
    status = error.status_code
    code = getattr(error, "code", None) or getattr(error, "error_code", None) or ""
    said = scrub(_said(error))
    place = f"{server.model}: {server.shown} answered HTTP {status}: {said}"
    if status == 413 or (status in (400, 422) and (code == "context_length_exceeded" or OVERFLOW.search(said))):
        return Overflow(place)
    kind = f"{code} {getattr(error, 'type', '')} {said}"
    if status == 402 or (status in (400, 403, 429) and _quota_gone(kind, retry_after(error.response.headers))):
        return ModelUnavailable(place, "the account has no credit or quota left: add some, or use another model")
    if status in (401, 403):
        return ModelUnavailable(place, f"check the key in {server.key_variable} and what it may use")
    if status == 404:
        return ModelUnavailable(place, "check the model's name; a compatible server's base URL usually ends in /v1")
    if status == 429:
        return ModelError(place, "set requests_per_minute or a lower concurrency; finished calls are not paid again")
    if status >= 500:
        return ModelError(
            place, "the provider is failing or overloaded: run again later, finished calls are not paid again"
        )
    return ModelError(place, "the request was refused as it is; see the provider's message")


def not_a_reply(server: Server, shown: str) -> ModelError:
    return ModelError(
        f"{server.model}: what {server.shown} answered is no reply of its protocol: {scrub(shown)}",
        "check --base-url: a proxy or another kind of server seems to answer there",
    )


def _said(error: Any) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        message = inner.get("message") if isinstance(inner, dict) else inner
        if message:
            return str(message)
    return str(error.message)


def scrub(text: str) -> str:
    """One bounded line without anything that looks like a key."""
    for variable in KEY_VARIABLES:
        if len(key := os.environ.get(variable, "").strip()) > 5:
            text = text.replace(key, "…")
    line = " ".join(SECRET.sub("…", text).split())
    return line if len(line) <= MESSAGE_SHOWN else line[:MESSAGE_SHOWN] + "…"
