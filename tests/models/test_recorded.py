"""A run recorded once, answered by hand, replayed over real HTTP: what is sent is, byte for byte, what was sent then.

A deliberate change of what goes over the wire is accepted with `python -m tests.models.test_recorded`.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from insights.errors import ModelError
from insights.models import Budget, Ledger, Message, Metered, Model, Recorder, ReplayModel, Request, open_model
from tests.models.conftest import PROTOCOLS
from tests.models.fake_server import FakeServer, replay
from tests.models.small_run import small_run

RECORDED = Path(__file__).parent / "recorded"
EXPECTED = {
    "answer": "12 runs fail.",
    "turns": 3,
    "labels": [
        {"gave_up": True, "quote": "I cannot find the booking, goodbye."},
        {"gave_up": False, "quote": "Your seat is changed."},
        {"gave_up": True, "quote": "Transferring you to a human."},
    ],
}


def connect(protocol: str, url: str) -> Model:
    if protocol == "anthropic":
        return open_model("anthropic/by-hand", base_url=url)
    return open_model("openai/by-hand", base_url=f"{url}/v1", protocol=protocol)


def recording(protocol: str) -> list[dict]:
    return json.loads((RECORDED / f"{protocol}.json").read_text())


def test_the_recorded_run_gives_the_recorded_result(serve, protocol, tmp_path):
    server = serve(replay(recording(protocol)))
    with Ledger(tmp_path / "calls.sqlite") as ledger:
        model = Metered(connect(protocol, server.url), Budget(ledger))
        assert json.loads(asyncio.run(small_run(model))) == EXPECTED
        assert json.loads(asyncio.run(small_run(model))) == EXPECTED
        rows = {row["role"]: row["calls"] - row["cached_calls"] for row in ledger.totals()}
    assert rows == {"investigator": 3, "classify": 3, "classify (repair)": 1}
    assert len(server.bodies) == 7 and {exchange["path"] for exchange in recording(protocol)} == set(server.paths)


def test_what_was_not_recorded_fails(serve, protocol):
    server = serve(replay(recording(protocol)))
    request = Request("You investigate runs.", (Message("user", "Something else?"),), 300, "investigator")
    with pytest.raises(ModelError, match="request 1 is not in the recording"):
        asyncio.run(connect(protocol, server.url).complete(request))


def test_a_live_run_and_its_replay_from_a_file_are_the_same(serve, protocol, tmp_path):
    server = serve(replay(recording(protocol)))
    live = asyncio.run(small_run(Recorder(connect(protocol, server.url), tmp_path / "run.jsonl")))
    assert asyncio.run(small_run(ReplayModel(tmp_path / "run.jsonl"))) == live
    assert len(server.bodies) == 7


def record_again(protocol: str) -> None:
    """Send the run again, answered with the recorded replies in their order, and keep what was sent."""
    old = recording(protocol)
    with FakeServer([exchange["reply"] for exchange in old]) as server:
        assert json.loads(asyncio.run(small_run(connect(protocol, server.url)))) == EXPECTED
        new = [
            {"path": path, "body": body, "reply": exchange["reply"]}
            for path, body, exchange in zip(server.paths, server.bodies, old, strict=True)
        ]
    (RECORDED / f"{protocol}.json").write_text(json.dumps(new, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    import os

    os.environ |= {"ANTHROPIC_API_KEY": "by-hand", "OPENAI_API_KEY": "by-hand"}
    for name in PROTOCOLS:
        record_again(name)
