"""The only way out of a kernel: what a cell may call, and what becomes of calls that come too late."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from insights.kernel import Gateway
from insights.kernel.gateway import MAX_MESSAGE_BYTES
from primitives.gateway import GatewayError, connect
from tests.kernel.conftest import Place


def test_a_cell_calls_and_every_call_is_logged(place: Place) -> None:
    place.asked.clear()
    cell = place.run("call = corpus.gateway\ncall('echo', value={'n': [1, None, 'é\\n']})")
    assert cell.result == "{'n': [1, None, 'é\\n']}"
    [logged] = place.asked
    assert logged["method"] == "echo" and logged["params"] == {"value": {"n": [1, None, "é\n"]}}
    assert logged["error"] is None and logged["cell"] and logged["seconds"] < 1


def test_what_is_not_allowed_is_refused_with_what_is(place: Place) -> None:
    refused = place.run("call('dispatch', role='scout')").error
    assert refused is not None and "'dispatch' is not something this role may call" in refused
    assert "echo, refuse, slowly" in refused and refused.count("File ") <= 2
    assert "takes (value)" in (place.run("call('echo', wrong=1)").error or "")
    assert "GatewayError: no money" in (place.run("call('refuse', why='no money')").error or "")
    assert "plain JSON" in (place.run("call('echo', value={1, 2})").error or "")
    assert "at most 16000000" in (place.run("call('echo', value='x' * 17_000_000)").error or "")
    assert place.run("len(call('echo', value='x' * 10_000_000))").result == "10000000"


def test_threads_of_a_cell_call_at_once(place: Place) -> None:
    cell = place.run(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(10) as pool:\n"
        "    print(list(pool.map(lambda i: call('slowly', value=i, seconds=0.3), range(10))))"
    )
    assert cell.stdout == f"{list(range(10))}\n" and cell.seconds < 1.5


def test_a_late_answer_is_not_credited_to_the_next_cell(place: Place) -> None:
    place.asked.clear()

    async def interrupted() -> Any:
        running = asyncio.create_task(place.kernel.run("call('slowly', value='late', seconds=1)"))
        await asyncio.sleep(0.3)
        await place.kernel.interrupt()
        return await running

    assert "KeyboardInterrupt" in (place.wait(interrupted()).error or "")
    assert place.run("import time; time.sleep(1); call('echo', value='own')").result == "'own'"
    assert [(entry["method"], entry["error"]) for entry in place.asked] == [
        ("slowly", "the cell that asked has ended"),
        ("echo", None),
    ]


def test_a_thread_left_over_cannot_act(place: Place) -> None:
    place.asked.clear()
    place.run(
        "import threading, time\nseen = []\n"
        "def later():\n    time.sleep(0.3)\n    try: call('echo', value=1)\n    except Exception as e: seen.append(str(e))\n"
        "threading.Thread(target=later).start()"
    )
    time.sleep(0.6)
    assert "the cell that asked has ended" in (place.run("seen").result or "")


def test_a_child_process_cannot_act(place: Place) -> None:
    code = (
        "import os\nread, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    try: call('echo', value=1)\n    except Exception as e: os.write(write, str(e).encode())\n    os._exit(0)\n"
        "os.wait(); os.read(read, 200)"
    )
    assert "cannot be used from a child process" in (place.run(code).result or "")


def test_without_a_gateway_there_is_none(fragile: Place) -> None:
    assert fragile.run("corpus.gateway is None").result == "True"


async def raw(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    replies = []
    for line in lines:
        writer.write(line + b"\n")
        replies.append(json.loads(await reader.readline()))
    writer.close()
    return replies


def test_requests_that_are_no_requests(tmp_path: Path, wait: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    async def main() -> list[dict[str, Any]]:
        gateway = Gateway(
            {"echo": lambda value: value, "big": lambda: "x" * MAX_MESSAGE_BYTES, "odd": lambda: object()}
        )
        await gateway.serve(tmp_path / "g")
        gateway.begin("c1")
        request = {"id": 1, "cell": "c1", "method": "big", "params": {}}
        odd = {**request, "method": "odd"}
        other = {**request, "cell": "c0"}
        lines = [b"{", b"[]", b'{"id": 1}', b"[" * 100_000, *(json.dumps(r).encode() for r in (request, odd, other))]
        replies = await raw(tmp_path / "g", *lines)
        replies += await raw(tmp_path / "g", b" " * (MAX_MESSAGE_BYTES + 1_000_000))
        await gateway.close()
        return replies

    messages = [reply["error"]["message"] for reply in wait(main())]
    assert all("one line of JSON" in message for message in messages[:4])
    assert "ask for less" in messages[4] and "not JSON serializable" in messages[5]
    assert "the cell that asked has ended" in messages[6] and "at most 16000000 bytes" in messages[7]


def test_the_cells_end_when_the_host_goes(tmp_path: Path, wait: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    async def main() -> None:
        gateway = Gateway({"slowly": asyncio.sleep})
        await gateway.serve(tmp_path / "g")
        gateway.begin("c")
        call = await asyncio.to_thread(connect, str(tmp_path / "g"))
        call.cell = "c"
        waiting = asyncio.create_task(asyncio.to_thread(call, "slowly", delay=30))
        await asyncio.sleep(0.1)
        await gateway.close()
        with pytest.raises(GatewayError, match=r"has ended|has closed"):
            await waiting
        with pytest.raises(GatewayError, match="closed"):
            await asyncio.to_thread(call, "slowly", delay=1)

    wait(main())
