"""The map: its speed, that it survives rate limits, and that a killed run goes on without paying twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from insights.errors import ModelError, ModelUnavailable, UsageError
from insights.models import Budget, Ledger, Metered, Reply, ScriptedModel, map_calls
from tests.models.conftest import ask, connect

ROOT = Path(__file__).resolve().parents[2]


def test_order_is_kept_failures_are_values_and_progress_is_told():
    def script(request):
        number = int(request.messages[0].text)
        return ModelError(f"no {number}") if number % 10 == 3 else f"answer {number}"

    told = {}
    model = ScriptedModel(script, seconds=0.001)
    outcomes = asyncio.run(map_calls(model, [ask(str(i)) for i in range(50)], concurrency=7, on_done=told.__setitem__))
    for i, outcome in enumerate(outcomes):
        assert str(outcome) == f"no {i}" if i % 10 == 3 else outcome.text == f"answer {i}"
        assert told[i] is outcome


def test_no_requests_and_no_workers():
    assert asyncio.run(map_calls(ScriptedModel([]), [])) == []
    with pytest.raises(UsageError):
        asyncio.run(map_calls(ScriptedModel([]), [ask()], concurrency=0))


def test_a_fault_of_ours_is_raised():
    def script(request):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(map_calls(ScriptedModel(script), [ask(str(i)) for i in range(9)], concurrency=3))


def test_never_more_at_once_than_asked():
    now, most = 0, 0

    async def script(request):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.002)
        now -= 1
        return "ok"

    asyncio.run(map_calls(ScriptedModel(script), [ask(str(i)) for i in range(60)], concurrency=9))
    assert most == 9


def test_two_thousand_calls_cost_little_work_of_our_own(tmp_path):
    """CPU time, which a loaded machine does not stretch much; benchmarks/model_map.py holds the wall time to the ideal."""
    with Ledger(tmp_path / "calls.sqlite") as ledger:
        model = Metered(ScriptedModel(lambda r: Reply("yes")), Budget(ledger))
        busy = time.process_time()
        outcomes = asyncio.run(map_calls(model, [ask(f"question {i}") for i in range(2000)], concurrency=64))
        work = (time.process_time() - busy) / 2000
    assert all(outcome.text == "yes" for outcome in outcomes)
    assert work < 0.002  # seconds per call; 0.0003 where measured


def test_with_429s_it_finishes_pays_no_call_twice_and_keeps_the_budget(serve, tmp_path, protocol):
    paid: Counter[str] = Counter()
    lock = threading.Lock()
    dice = random.Random(7)

    def script(number, body):
        with lock:
            if dice.random() < 0.25:
                return {"status": 429, "message": "slow down", "headers": {"retry-after-ms": "30"}}
            paid[json.dumps(body, sort_keys=True)] += 1
            return {"text": "yes", "usage": {"in": 50, "cached": 0, "written": 0, "out": 10}}

    server = serve(script)
    with Ledger(tmp_path / "calls.sqlite") as ledger:
        model = Metered(connect(protocol, server.url, max_retries=10), Budget(ledger, usd=0.5))
        outcomes = asyncio.run(map_calls(model, [ask(f"question {i}") for i in range(150)], concurrency=16))
        assert [outcome.text for outcome in outcomes] == ["yes"] * 150
        assert len(paid) == 150 and set(paid.values()) == {1}
        assert ledger.cost()["usd"] == pytest.approx(150 * (50 * 3 + 10 * 15) / 1e6) and ledger.cost()["usd"] < 0.5


def test_a_wrong_key_in_a_map_of_thousands_sends_a_handful(serve, tmp_path):
    server = serve([{"status": 401, "message": "invalid x-api-key"}])
    with Ledger(tmp_path / "calls.sqlite") as ledger:
        model = Metered(connect("anthropic", server.url), Budget(ledger))
        outcomes = asyncio.run(map_calls(model, [ask(str(i)) for i in range(3000)], concurrency=8))
    assert all(isinstance(outcome, ModelUnavailable) for outcome in outcomes) and len(server.bodies) <= 8


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_a_random_moment_it_goes_on_and_pays_nothing_twice(serve, tmp_path, seed):
    n, path, out = 120, tmp_path / "calls.sqlite", tmp_path / "labels.json"
    asked: Counter[str] = Counter()
    lock = threading.Lock()

    def script(number, body):
        time.sleep(0.03)
        text = body["messages"][-1]["content"]
        with lock:
            asked[text] += 1
        return {"text": json.dumps({"label": f"label of {text}"})}

    server = serve(script)
    command = [sys.executable, "-m", "tests.models.killed_run", server.url, str(path), str(n), str(out)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    goal = random.Random(seed).randint(5, n - 20)
    while len(server.bodies) < goal and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not out.exists()

    before = sum(asked.values())
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=30)
    assert json.loads(out.read_text()) == [{"label": f"label of text {i}"} for i in range(n)]
    repeated = {text: count for text, count in asked.items() if count > 1}
    assert before >= goal - 8 and len(repeated) <= 8, "only what was in flight at the kill is asked again"
    with Ledger(path) as ledger:
        cost, spent = ledger.cost(), ledger.spent()
    assert cost["lost_calls"] <= 8 and len(repeated) <= cost["lost_calls"]
    each = (100 * 3 + 20 * 15) / 1e6
    assert cost["usd"] == pytest.approx(n * each) and spent.usd >= cost["usd"] + len(repeated) * each
