"""What the names of events in home-made logs mean, and where their records keep names, arguments, texts and counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from insights.corpus.parse import mapping, number
from insights.corpus.trace import as_text

EVENT = ("event", "event_type", "eventType", "type", "kind", "step_type", "action_type", "action", "stage", "phase", "name",
         "message", "msg")  # fmt: skip
GROUP = ("trace_id", "run_id", "session_id", "sessionId", "conversation_id", "conv_id", "thread_id", "chat_id", "session",
         "conversation", "thread", "run", "trace", "chat", "episode", "episode_id", "instance_id", "task_id", "job_id",
         "workflow_id", "request_id", "turn_id", "correlation_id")  # fmt: skip
PARENT = ("parent_run_id", "parent_id", "parent_span_id")
HOLDERS = ("data", "details", "payload", "attributes", "body", "event_data", "metadata", "context", "input", "output", "inputs",
           "outputs", "serialized")  # fmt: skip
TIME = ("timestamp", "ts", "time", "created_at", "at", "date", "datetime", "@timestamp", "asctime")
AGENT = ("agent", "agent_name", "node", "actor", "speaker")
MODEL = ("model", "model_name", "model_id")
ASKED = ("question", "query", "user_input", "user_query", "user_message", "problem_statement", "task", "goal", "instruction",
         "prompt", "text", "content", "message", "input")  # fmt: skip
OPENING = ASKED[:10]  # keys that hold a question in a record that is none
PROMPTED = ("messages", "prompt", "prompts", "input", "request", "contents")
SAID = ("response", "completion", "content", "text", "output", "answer", "reply", "final_answer", "message", "decision",
        "plan", "result", "summary")  # fmt: skip
ANSWERED = ("response", "completion", "output", "answer", "reply")
THOUGHT = ("thought", "thoughts", "think", "thinking", "reasoning", "rationale", "reflection")
TOOL = (
    "tool",
    "tool_name",
    "toolName",
    "function",
    "function_name",
    "action",
    "command",
    "api",
    "skill",
    "worker",
    "name",
    "node",
)
ARGS = ("args", "arguments", "params", "parameters", "tool_input", "toolInput", "action_input", "tool_args", "kwargs", "input",
        "input_str", "query")  # fmt: skip
CALL_ID = ("tool_call_id", "toolCallId", "call_id", "tool_use_id", "tool_id", "id")
RESULT = ("result", "observation", "output", "response", "tool_output", "tool_result", "result_preview", "returned", "stdout",
          "content", "text")  # fmt: skip
FAULT = ("error", "error_message", "exception", "stderr", "traceback")
FINAL = ("final_answer", "answer", "final_output", "output", "result", "response", "final_patch", "patch")
TOOK = ("duration_ms", "latency_ms", "elapsed_ms", "took_ms")
COST = ("cost_usd", "cost", "total_cost")
TOKENS = {
    "input_tokens": ("input_tokens", "prompt_tokens", "tokens_in", "in_tokens", "prompt", "input"),
    "output_tokens": ("output_tokens", "completion_tokens", "tokens_out", "out_tokens", "completion", "output"),
    "cache_read_tokens": ("cached_tokens", "cache_read_input_tokens", "cache_read_tokens"),
    "reasoning_tokens": ("reasoning_tokens",),
}
FAILED, FINE = (
    {"error", "failed", "failure", "fail", "exception", "timeout"},
    {"ok", "success", "succeeded", "completed", "done"},
)
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
OF_TOOL = set("tool function action command shell bash mcp skill worker retrieve retrieval search execute exec".split())
OF_MODEL = set("llm model completion generation inference chat gpt claude openai anthropic gemini".split())
OF_END = set("end ended result results response output finish finished complete completed done return returned success succeeded "
             "observation received reply".split())  # fmt: skip
OF_FAULT = set("error errors failed failure fail exception crash crashed timeout traceback".split())
OF_ASKING = set("request start started call prompt input invoke begin send sent".split())
OF_THOUGHT = set("thought thoughts think thinking reasoning reflection rationale".split())
OF_USER = set("user human customer question query instruction goal".split())
OF_ANSWER = set("assistant ai bot answer reply response decision plan planning".split())
OF_START = set("start started begin init initialization initialized session open opened created setup".split())
SPEAKING = {"user", "model", "thought", "call", "result", "asked"}


@lru_cache(10_000)
def meaning(name: str) -> str | None:
    """What an event of this name is: user, system, asked, model, thought, call, result, error, usage, begin, end; None: a log line."""
    words = {w.lower() for w in WORD.findall(name)}
    if words & {"usage", "tokens", "token", "cost", "billing"} and not words & OF_TOOL:
        return "usage"
    if words & OF_TOOL:
        return "result" if words & (OF_END | OF_FAULT) else "call"
    if "observation" in words:
        return "result"
    if words & OF_FAULT:
        return "error"
    if words & OF_THOUGHT:
        return "thought"
    if words & OF_MODEL:
        return "asked" if words & OF_ASKING or words & {"received"} else "model"
    if "system" in words and words & {"prompt", "message"}:
        return "system"
    for told, of in (("user", OF_USER), ("model", OF_ANSWER), ("user", {"prompt", "input"})):
        if words & of:
            return told
    return "end" if words & OF_END | words & {"stop", "stopped", "final"} else "begin" if words & OF_START else None


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {}


class Row:
    """One record; looks keys up at its top, then in the objects it holds, and remembers which were used."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self.value = value
        self.used: set[tuple[str, str]] = set()

    def get(self, keys: tuple[str, ...], fits: Any = None) -> Any:
        """The first value under one of the keys that is not empty; None where there is none."""
        for holder in ("", *HOLDERS):
            held = self.value if not holder else mapping(self.value.get(holder))
            for key in keys:
                found = held.get(key)
                if _is_empty(found) or (holder, key) in self.used or (fits and not fits(found)):
                    continue
                self.used.add((holder, key))
                return found
        return None

    def text(self, keys: tuple[str, ...]) -> str | None:
        found: str | None = self.get(keys, lambda v: isinstance(v, str))
        return found

    def count(self, keys: tuple[str, ...]) -> float | None:
        return number(self.get(keys, lambda v: number(v) is not None))

    def usage(self) -> dict[str, int]:
        """Token counts as columns of `llm_calls`, at the top or under `usage` or `tokens`."""
        answer = mapping(self.value.get("response"))
        told = self.get(("usage", "token_usage", "tokens", "usage_metadata"), lambda v: isinstance(v, dict))
        own = Row(mapping(told or answer.get("usage") or mapping(answer.get("llm_output")).get("token_usage")))
        found = {}
        for column, keys in TOKENS.items():
            n = own.count(keys)
            n = self.count(keys) if n is None else n
            if n is not None:
                found[column] = int(n)
        return found

    def failed(self) -> bool | None:
        """Whether the record says that what it tells of failed; None where it does not say."""
        flag = self.get(("success", "ok", "is_error", "isError"), lambda v: isinstance(v, bool))
        if flag is not None:
            return bool(flag) if {("", "is_error"), ("", "isError")} & self.used else not flag
        told = self.get(
            ("status", "state", "response_status"), lambda v: isinstance(v, str) and v.lower() in FAILED | FINE
        )
        return None if told is None else told.lower() in FAILED

    def rest(self) -> dict[str, Any] | None:
        """What was not used."""
        left: dict[str, Any] = {}
        for key, value in self.value.items():
            inner = {k for holder, k in self.used if holder == key}
            if ("", key) in self.used:
                continue
            if inner and isinstance(value, dict):
                value = {k: v for k, v in value.items() if k not in inner}
            if not _is_empty(value):
                left[key] = value
        return left or None


def is_act(value: Mapping[str, Any]) -> bool:
    """Whether a record is a step that thinks, acts and observes: an action beside its reason, its arguments or what came of it."""
    acts = any(isinstance(value.get(k), (str, dict)) for k in TOOL[:7])
    return acts and any(value.get(k) is not None for k in (*THOUGHT, "observation", "action_input", "tool_input"))


def plain(value: Any) -> str | None:
    """Text of a value; an object that holds nothing but one text gives that text."""
    if isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), str):
        return str(next(iter(value.values())))
    return as_text(value)
