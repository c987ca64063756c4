"""A provider on loopback for tests: three protocols over real HTTP, each request answered from a script.

A step of the script is {"text", "tool_calls": [{"name", "arguments"}], "stop", "usage": {"in", "cached", "written",
"out"}}, or {"status", "message", "code", "headers"}, {"raw": text}, {"hang": seconds} or {"drop": True}. A callable
makes the step from the number of the request and its body. The last step of a list repeats.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Step = dict[str, Any]
USAGE = {"in": 100, "cached": 0, "written": 0, "out": 20}


def replay(recording: list[dict[str, Any]]) -> Callable[[int, dict[str, Any]], Step]:
    """A script that answers recorded bodies, and refuses loudly what was not recorded.

    A recording is a list of {"path", "body", "reply"}: what was sent, and the step that answered it.
    """
    replies = {json.dumps(exchange["body"], sort_keys=True): exchange["reply"] for exchange in recording}

    def answer(number: int, body: dict[str, Any]) -> Step:
        step = replies.get(json.dumps(body, sort_keys=True))
        return step or {"status": 400, "message": f"request {number} is not in the recording"}

    return answer


class FakeServer:
    def __init__(self, script: list[Step] | Callable[[int, dict[str, Any]], Step]) -> None:
        self.script = script
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.answered = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> FakeServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def step(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> Step:
        with self._lock:
            self.paths.append(path)
            self.bodies.append(body)
            self.headers.append(headers)
            number = len(self.bodies)
        chosen = self.script(number, body) if callable(self.script) else self.script[min(number, len(self.script)) - 1]
        return {"number": number, **chosen}

    def count(self) -> None:
        with self._lock:
            self.answered += 1


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path = self.path.split("?")[0]
            step = fake.step(path, body, dict(self.headers))
            if "hang" in step:
                time.sleep(step["hang"])
            if step.get("drop"):
                self.close_connection = True
                return
            if "status" in step:
                error = {"type": step.get("code", "error"), "code": step.get("code"), "message": step["message"]}
                return self.reply(step["status"], {"type": "error", "error": error}, step.get("headers"))
            if "raw" in step:
                return self.send(200, step["raw"].encode(), step.get("kind", "text/html"), None)
            if body.get("stream"):
                events = anthropic_events(anthropic(body, step))
                text = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
                fake.count()
                return self.send(200, text.encode(), "text/event-stream", None, cut=step.get("cut"))
            shape = {"/v1/messages": anthropic, "/v1/responses": responses, "/v1/chat/completions": chat}[path]
            self.reply(200, shape(body, step), None)
            fake.count()

        def reply(self, status: int, value: Any, headers: dict[str, str] | None) -> None:
            self.send(status, json.dumps(value).encode(), "application/json", headers)

        def send(
            self, status: int, data: bytes, kind: str, headers: dict[str, str] | None, cut: int | None = None
        ) -> None:
            try:
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data[:cut])
                self.close_connection = cut is not None
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    return Handler


def _usage(step: Step) -> dict[str, int]:
    return {**USAGE, **step.get("usage", {})}


def anthropic(body: dict[str, Any], step: Step) -> dict[str, Any]:
    content = list(step.get("blocks", ()))
    if step.get("text"):
        content.append({"type": "text", "text": step["text"]})
    for i, call in enumerate(step.get("tool_calls", ())):
        content.append(
            {"type": "tool_use", "id": f"toolu_{step['number']}_{i}", "name": call["name"], "input": call["arguments"]}
        )
    stops = {"length": "max_tokens", "refusal": "refusal", "overflow": "model_context_window_exceeded"}
    stop = stops.get(step.get("stop", ""), "tool_use" if step.get("tool_calls") else "end_turn")
    used = _usage(step)
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": content,
        "stop_reason": stop, "stop_sequence": None,
        "usage": {
            "input_tokens": used["in"] - used["cached"] - used["written"], "cache_read_input_tokens": used["cached"],
            "cache_creation_input_tokens": used["written"], "output_tokens": used["out"],
        },
    }  # fmt: skip


def anthropic_events(message: dict[str, Any]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    ]
    for i, block in enumerate(message["content"]):
        events.append({"type": "content_block_start", "index": i, "content_block": {"type": "text", "text": ""}})
        events.append(
            {"type": "content_block_delta", "index": i, "delta": {"type": "text_delta", "text": block["text"]}}
        )
        events.append({"type": "content_block_stop", "index": i})
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    usage = {"output_tokens": message["usage"]["output_tokens"]}
    return [*events, {"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


def _arguments(call: dict[str, Any]) -> str:
    return call["arguments"] if isinstance(call["arguments"], str) else json.dumps(call["arguments"])


def responses(body: dict[str, Any], step: Step) -> dict[str, Any]:
    output = list(step.get("items", ()))
    refused = step.get("stop") == "refusal"
    if step.get("text"):
        part = {"type": "refusal", "refusal": step["text"]} if refused else {
            "type": "output_text", "text": step["text"], "annotations": []}  # fmt: skip
        output.append({"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]})
    for i, call in enumerate(step.get("tool_calls", ())):
        output.append(
            {"type": "function_call", "id": f"fc_{i}", "call_id": f"call_{step['number']}_{i}", "name": call["name"],
             "arguments": _arguments(call), "status": "completed"}
        )  # fmt: skip
    used, cut = _usage(step), step.get("stop") == "length"
    return {
        "id": "resp_1", "object": "response", "created_at": 0, "model": body["model"], "output": output,
        "status": "incomplete" if cut else "completed", "error": None, "parallel_tool_calls": True, "tool_choice": "auto",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None, "tools": [],
        "usage": {
            "input_tokens": used["in"], "output_tokens": used["out"], "total_tokens": used["in"] + used["out"],
            "input_tokens_details": {"cached_tokens": used["cached"], "cache_write_tokens": used["written"]},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }  # fmt: skip


def chat(body: dict[str, Any], step: Step) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": step.get("text")}
    calls = [
        {
            "id": f"call_{step['number']}_{i}",
            "type": "function",
            "function": {"name": call["name"], "arguments": _arguments(call)},
        }
        for i, call in enumerate(step.get("tool_calls", ()))
    ]
    if calls:
        message["tool_calls"] = calls
    reason = {"length": "length", "refusal": "content_filter"}.get(
        step.get("stop", ""), "tool_calls" if calls else "stop"
    )
    used = _usage(step)
    return {
        "id": "chat_1", "object": "chat.completion", "created": 0, "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": used["in"], "completion_tokens": used["out"], "total_tokens": used["in"] + used["out"],
            "prompt_tokens_details": {"cached_tokens": used["cached"], "cache_write_tokens": used["written"]},
        },
    }  # fmt: skip
