"""The options of `insights ask`: plan, population, resume, a server that answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from insights.cli import main
from insights.cli.ask import _fresh
from insights.models import Message, Request
from tests.diagnose.conftest import GIVES_UP, desk, without_playbook
from tests.diagnose.script import careful

ROLES = (
    ("You lead the", "orchestrator"),
    ("You are a Scout", "scout"),
    ("You are an Inv", "investigator"),
    ("You write the answer", "synthesizer"),
)


class Careful(BaseHTTPRequestHandler):
    """Chat completions, answered as the careful script would."""

    asked: list[dict[str, Any]]

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        system = body["messages"][0]["content"]
        role = next((name for opening, name in ROLES if system.startswith(opening)), "judge")
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        messages = tuple(Message(m["role"], m["content"] or "") for m in body["messages"][1:])
        line = careful(Request(system, messages, 100, role, schema=schema))
        said = {"content": line} if isinstance(line, str) else {"content": None, "tool_calls": [
            {"id": f"c{len(self.asked)}", "type": "function", "function": {"name": c["name"], "arguments": json.dumps(c["arguments"])}}
            for c in line["tool_calls"]]}  # fmt: skip
        reply = {"id": "r", "object": "chat.completion", "created": 1, "model": body["model"],
                 "choices": [{"index": 0, "message": {"role": "assistant", **said},
                              "finish_reason": "stop" if isinstance(line, str) else "tool_calls"}],
                 "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}}  # fmt: skip
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    Careful.asked = []
    found = ThreadingHTTPServer(("127.0.0.1", 0), Careful)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    yield f"http://127.0.0.1:{found.server_port}/v1", Careful.asked
    found.shutdown()
    found.server_close()


def test_ask_a_server_and_resume(
    tmp_path: Path, server: tuple[str, list[dict[str, Any]]], capfd: pytest.CaptureFixture[str]
) -> None:
    address, asked = server
    corpus, run = desk(tmp_path, 12), tmp_path / "run"
    options = ["-m", "openai/careful", "--base-url", address, "--max-tokens", "1000000", "--no-progress", "-y"]
    agents = ["--agents", str(without_playbook(tmp_path)), "-o", str(run)]
    assert main(["ask", str(corpus), "Why do runs fail?", *options, *agents]) == 0
    assert "The clerk gives up on a long form" in capfd.readouterr().out
    report = json.loads((run / "findings.json").read_text())
    assert report["model"] == "openai/careful" and report["cost"]["calls"] > 0
    n = len(asked)
    assert main(["ask", "--resume", str(run), "--no-progress", "--format", "json"]) == 0
    assert len(asked) == n
    assert [f["title"] for f in json.loads(capfd.readouterr().out)["findings"]] == [
        f["title"] for f in report["findings"]
    ]


@pytest.mark.parametrize("shown", [False, True])
def test_a_secret_reaches_neither_the_model_nor_a_file_of_the_run(
    tmp_path: Path, server: tuple[str, list[dict[str, Any]]], capfd: pytest.CaptureFixture[str], shown: bool
) -> None:
    address, asked = server
    secret = "sk-proj-" + "Qz7_" * 10
    corpus, run = desk(tmp_path, 12, dict.fromkeys(range(0, 12, 3), f"{GIVES_UP} The key is {secret}.")), tmp_path / "run"
    options = ["-m", "openai/careful", "--base-url", address, "--no-progress", "-y", *(["--no-redact"] if shown else [])]
    agents = ["--agents", str(without_playbook(tmp_path)), "-o", str(run)]
    assert main(["ask", str(corpus), "Why do runs fail?", *options, *agents, "--format", "json"]) == 0
    told = capfd.readouterr()
    assert len(asked) > 10 and (secret in json.dumps(asked)) is shown
    files = [p for p in run.rglob("*") if p.is_file()]
    bared = {p.name for p in files if secret.encode() in p.read_bytes()}
    assert bool(bared) is shown and (secret in told.out + told.err) <= shown
    assert {"findings.json", "notebook.ipynb", "calls.sqlite"} <= {p.name for p in files}


def test_dry_run_asks_nothing(
    tmp_path: Path, server: tuple[str, list[dict[str, Any]]], capfd: pytest.CaptureFixture[str]
) -> None:
    address, asked = server
    corpus = desk(tmp_path, 12)
    command = ["ask", str(corpus), "Why do runs fail?", "-m", "openai/careful", "--base-url", address, "--dry-run"]
    assert main([*command, "--format", "json"]) == 0
    plan = json.loads(capfd.readouterr().out)
    assert (
        not asked
        and plan["reading"]["explained"] == 4
        and plan["reading"]["labelled"] == 12
        and plan["reading"]["usd"] is None
    )
    assert main(command) == 0 and "12 traces; openai/careful" in capfd.readouterr().out
    assert not (corpus / "runs").exists()


def test_filter_and_limit_choose_the_population(tmp_path: Path) -> None:
    corpus, run = desk(tmp_path, 30), tmp_path / "run"
    agents = str(without_playbook(tmp_path))
    chosen = ["--filter", "task_id <> 'form0'", "--limit", "20", "--agents", agents, "--no-progress", "-o", str(run)]
    assert main(["ask", str(corpus), "Why do runs fail?", *chosen]) == 0
    found = json.loads((run / "findings.json").read_text())["corpus"]
    assert found["n_traces"] == 20 and found["path"].endswith("population.corpus")


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = [_fresh(tmp_path / "runs" / "20260101-120000-why") for _ in range(3)]
    assert [f.name for f in folders] == ["20260101-120000-why", "20260101-120000-why.2", "20260101-120000-why.3"]
    assert all(f.is_dir() for f in folders)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{corpus}", " "], "the question is empty"),
        (["--resume", "nowhere"], "nowhere is no run that can be resumed"),
        (["{corpus}", "Why?", "--filter", "no_such_column = 1"], "--filter"),
        (["{corpus}", "Why?", "--filter", "task_id = 'none'"], "no trace of"),
        (["{corpus}", "Why?", "-m", "anthropic/claude"], "ANTHROPIC_API_KEY"),
        (["{corpus}", "Why?", "-m", "nonsense"], "nonsense"),
        (["{corpus}", "Why?", "-m", "openai/unpriced", "--budget-usd", "1"], "price"),
    ],
)
def test_what_cannot_be_meant(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    corpus = desk(tmp_path, 6)
    status = main(["ask", *(a.replace("{corpus}", str(corpus)) for a in arguments), "--no-progress"])
    error = capfd.readouterr().err
    assert status in (1, 2) and said in error and error.strip().count("\n") == 0
