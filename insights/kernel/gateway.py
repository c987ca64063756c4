"""The host's end of the gateway: the only way by which a cell can act, spend or ask.

Newline-delimited JSON over a Unix socket: {"id", "cell", "method", "params"} answered by {"id", "result"} or
{"id", "error": {"type", "message"}}. The cell's end is primitives/gateway.py.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from insights.errors import GatewayRefused

MAX_MESSAGE_BYTES = 16_000_000  # one request or reply; primitives/gateway.py has the same bound
MAX_UNDER_WAY = 64  # calls of one kernel at once; further requests are left unread until one ends

Handler = Callable[..., Awaitable[Any] | Any]


class Gateway:
    """Serves one kernel. `handlers` are what its role may call, by name; they get the request's params as keywords.

    A handler may be async and slow; what it returns must be JSON. What it raises goes to the cell as an error. A call
    belongs to the cell that made it: when the cell ends its handlers are cancelled and no answer is sent later.
    `log` gets one dict per call: cell, method, params, seconds, and error (None when it went well). `waited` is how long
    the cell has had a call under way: time that is the host's and not the cell's.
    """

    def __init__(self, handlers: Mapping[str, Handler], *, log: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._handlers = dict(handlers)
        self._log = log
        self._cell: str | None = None
        self._under_way = 0
        self._since = self._waited = 0.0
        self._calls: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def serve(self, path: Path) -> None:
        """Listen at the Unix socket `path`, which must be at most 107 bytes long."""
        self._server = await asyncio.start_unix_server(self._talk, str(path), limit=MAX_MESSAGE_BYTES)

    def begin(self, cell: str) -> None:
        """From now on calls of `cell`, and of no other, are answered."""
        self.end()
        self._cell = cell
        self._waited, self._since = 0.0, time.monotonic()

    @property
    def waited(self) -> float:
        """Seconds of this cell during which at least one of its calls was under way."""
        return self._waited + (time.monotonic() - self._since if self._under_way else 0.0)

    def end(self) -> None:
        """The cell has ended: cancel what it asked for."""
        self._cell = None
        for call in self._calls:
            call.cancel()

    async def close(self) -> None:
        self.end()
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._connections):
            writer.close()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        places = asyncio.Semaphore(MAX_UNDER_WAY)
        self._connections.add(writer)
        try:
            while line := await reader.readline():
                await places.acquire()
                call = asyncio.create_task(self._answer(line, writer))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
                call.add_done_callback(lambda _: places.release())
        except ValueError:
            too_long = f"a request may be at most {MAX_MESSAGE_BYTES} bytes; the gateway has closed"
            writer.write(_encode({"id": None, "error": {"type": "GatewayRefused", "message": too_long}}))
        except ConnectionError:
            pass  # the kernel is gone
        except asyncio.CancelledError:
            pass  # the run is ending; asyncio would log this as a failure of the connection
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        started = time.monotonic()
        request: dict[str, Any] = {}
        reply: dict[str, Any]
        error: str | None = None
        try:
            request = _parse(line)
            reply = {"id": request["id"], "result": await self._perform(request)}
            encoded = _encode(reply)
        except asyncio.CancelledError:
            error = "the cell that asked has ended"
            encoded = _encode(_failure(request, "Cancelled", error))
        except Exception as failure:
            error = f"{failure}" or type(failure).__name__
            encoded = _encode(_failure(request, type(failure).__name__, error))
        if self._log is not None:
            about = {"cell": request.get("cell"), "method": request.get("method"), "params": request.get("params")}
            self._log({**about, "seconds": round(time.monotonic() - started, 4), "error": error})
        if not writer.is_closing():
            writer.write(encoded)

    async def _perform(self, request: dict[str, Any]) -> Any:
        method, params = request["method"], request["params"]
        if request["cell"] is None or request["cell"] != self._cell:
            raise GatewayRefused("the cell that asked has ended: call the gateway while the cell runs, and wait for it")
        handler = self._handlers.get(method)
        if handler is None:
            allowed = ", ".join(sorted(self._handlers)) or "nothing"
            raise GatewayRefused(f"{method!r} is not something this role may call; it may call: {allowed}")
        try:
            inspect.signature(handler).bind(**params)
        except TypeError as mismatch:
            raise GatewayRefused(f"{method}: {mismatch}; it takes {inspect.signature(handler)}") from mismatch
        if not self._under_way:
            self._since = time.monotonic()
        self._under_way += 1
        try:
            outcome = handler(**params)
            return await outcome if inspect.isawaitable(outcome) else outcome
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._waited += time.monotonic() - self._since


def _parse(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        shaped = isinstance(request["method"], str) and isinstance(request["params"], dict) and "cell" in request
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise GatewayRefused("a request is one line of JSON with id, cell, method and params") from error
    if not shaped or not isinstance(request.get("id"), int):
        raise GatewayRefused("a request is one line of JSON with id, cell, method and params")
    return dict(request)


def _failure(request: dict[str, Any], kind: str, message: str) -> dict[str, Any]:
    return {"id": request.get("id"), "error": {"type": kind, "message": message}}


def _encode(reply: dict[str, Any]) -> bytes:
    encoded = json.dumps(reply).encode() + b"\n"
    if len(encoded) > MAX_MESSAGE_BYTES:
        raise GatewayRefused(
            f"the answer is {len(encoded)} bytes, at most {MAX_MESSAGE_BYTES} can be sent: ask for less"
        )
    return encoded
