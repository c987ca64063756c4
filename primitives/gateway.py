"""The cell's end of the gateway: a callable over a Unix socket to the host, which alone may act and spend.

    call = connect("/tmp/insights-x/gateway")
    call("classify", trace_ids=[...], question="...")

One line of JSON each way, matched by id, so that several threads of a cell may call at once. A call carries the
id of the cell that was running when it was made; the host drops what belongs to a cell that has ended.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import socket
import threading
from concurrent.futures import Future
from typing import Any

CLOSED = "the host has closed the gateway"
MAX_MESSAGE_BYTES = 16_000_000  # one request or reply; the host enforces the same bound


class GatewayError(Exception):
    """The host refused or failed the call; the message says why and what is allowed."""


class Connection:
    """Callable: `call(method, **params)` blocks for the result. `cell` is set by the kernel before each cell."""

    def __init__(self, path: str) -> None:
        self.cell: str | None = None
        self._closed = False
        self._owner = os.getpid()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._outgoing: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._ids = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        for work in (self._send, self._receive):
            threading.Thread(target=work, name="gateway", daemon=True).start()

    def __call__(self, method: str, /, **params: Any) -> Any:
        if os.getpid() != self._owner:
            raise GatewayError("the gateway cannot be used from a child process: call it from the cell or its threads")
        number = next(self._ids)
        try:
            line = json.dumps({"id": number, "cell": self.cell, "method": method, "params": params}).encode() + b"\n"
        except (TypeError, ValueError) as error:
            raise GatewayError(f"arguments of {method} must be plain JSON values: {error}") from error
        if len(line) > MAX_MESSAGE_BYTES:
            raise GatewayError(f"arguments of {method} are {len(line)} bytes, at most {MAX_MESSAGE_BYTES} can be sent")
        future: Future[Any] = Future()
        self._waiting[number] = future
        if self._closed:
            raise GatewayError(CLOSED)
        try:
            self._outgoing.put(line)
            reply = future.result()
        finally:
            self._waiting.pop(number, None)
        if "error" in reply:
            raise GatewayError(reply["error"]["message"])
        return reply["result"]

    def _send(self) -> None:
        """A thread of its own, as an interrupt of the cell must not cut a line in two."""
        with contextlib.suppress(OSError):  # the receiving thread tells those who wait
            while True:
                self._socket.sendall(self._outgoing.get())

    def _receive(self) -> None:
        with contextlib.suppress(OSError), self._socket.makefile("rb") as lines:
            for line in lines:
                reply = json.loads(line)
                future = self._waiting.pop(reply["id"], None)
                if future is not None:
                    future.set_result(reply)
        self._closed = True
        for future in list(self._waiting.values()):
            future.set_result({"error": {"message": CLOSED}})


def connect(path: str) -> Connection:
    """Open the gateway at the Unix socket `path`. Raises OSError where nobody listens."""
    return Connection(path)
