"""Items of OpenAI's Responses API to steps: messages, reasoning, calls and their outputs, in the order they stand.

Shared by stored responses (openai_responses) and Codex rollouts (codex_cli), which log the same items line by line.
Reasoning and calls join the assistant message they belong to; an output, a user message or the end of the model call
(`close()`) starts a new assistant step.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from insights.corpus.formats.chat import flatten
from insights.corpus.parse import mapping
from insights.corpus.trace import Trace

CALLS = {
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "tool_call",
    "tool_search_call",
    "mcp_approval_request",
}
OUTPUTS = {
    "function_call_output",
    "custom_tool_call_output",
    "local_shell_call_output",
    "computer_call_output",
    "tool_search_output",
    "tool_result",
    "function_result",
    "shell_call_output",
    "apply_patch_call_output",
}
HOSTED = {  # calls that the provider runs and answers inside the same item: key of the arguments, key of the result
    "web_search_call": ("action", "results"),
    "file_search_call": ("queries", "results"),
    "code_interpreter_call": ("code", "outputs"),
    "image_generation_call": ("revised_prompt", None),
    "mcp_call": ("arguments", "output"),
    "mcp_list_tools": ("server_label", "tools"),
    "computer_call": ("action", None),
}
EXIT_CODE = re.compile(r"(?:^|\n)\s*(?:Process exited with code|Exit code:?|exit code:?)\s*(-?\d{1,9})\b", re.I)
ABORTED = re.compile(r"\s*(?:aborted by user|Wall time: [\d.]+ seconds\s*\n\s*aborted by user)", re.I)
REJECTED = re.compile(
    r"\s*(?:exec command |patch |command |tool call |request )?(?:was )?(?:rejected|denied|declined) by (?:the )?(?:user|guardian|policy)|"
    r"\s*user (?:rejected|denied|declined)",
    re.I,
)


class Items:
    """Adds items to `trace`. `here` holds the step columns of the item being read (time, place, path, origin)."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.here: dict[str, Any] = {}
        self.open: int | None = None  # the assistant step that calls and text may still join
        self.thoughts: list[str] = []
        self.hidden = False
        self.told: set[str] = set()  # reasoning already placed

    def close(self) -> None:
        """End the model call: what follows belongs to another."""
        if self.thoughts or self.hidden:
            self._assistant(None)
        self.open = None

    def item(self, value: dict[str, Any]) -> bool:
        """Place one item; False where its type is not known."""
        kind = str(value.get("type") or ("message" if "role" in value else ""))
        if kind == "message" or kind == "agent_message":
            self._message(value, kind)
        elif kind == "reasoning":
            self._reasoning(value)
        elif kind in CALLS:
            self._call(value)
        elif kind in OUTPUTS or kind.endswith("_output"):
            self._output(value)
        elif kind in HOSTED:
            self._hosted(value, kind)
        elif kind in ("compaction", "compaction_summary", "context_compaction"):
            self.close()
            self.trace.step("system", None, kind="compaction", **{"origin": "harness", **self.here})
        else:
            return False
        return True

    def think(self, text: str | None) -> None:
        """Reasoning told beside the items; what they hold already is left out."""
        if text and text not in self.told:
            self.told.add(text)
            self.thoughts.append(text)

    def origin(self, role: str, text: str) -> str:
        return {"assistant": "model", "user": "human"}.get(role, "harness")

    def _message(self, value: dict[str, Any], kind: str) -> None:
        role = str(value.get("role") or "assistant")
        content = value.get("content", value.get("message"))
        text, parts, _ = flatten(_texts(content))
        if kind == "agent_message":  # one agent writes to another
            self.close()
            columns = {"origin": "model", **self.here}
            self.trace.step("user", text, kind="handoff", agent=value.get("author"), **columns)
        elif role == "assistant":
            if text is None and isinstance(content, list):
                text = next((p.get("refusal") for p in content if isinstance(p, dict) and p.get("refusal")), None)
            self._assistant(text, parts, value.get("id"))
        else:
            self.close()
            self.say(role, text, parts)

    def say(self, role: str, text: str | None, parts: Any = None) -> None:
        columns = {"origin": self.origin(role, text or ""), **self.here}
        self.trace.step(role, text, parts=parts, **columns)

    def _assistant(self, text: str | None, parts: Any = None, own: Any = None) -> int:
        thoughts, hidden = "\n\n".join(self.thoughts) or None, self.hidden or None
        self.thoughts, self.hidden = [], False
        step = self.trace.steps[self.open] if self.open is not None else None
        if step is not None and step.text is None and not thoughts:
            step.text, step.parts = text, parts
            return step.seq
        columns = {"origin": "model", **self.here}
        if isinstance(own, str):
            columns.setdefault("native_id", own)
        self.open = self.trace.step(
            "assistant", text, parts=parts, reasoning=thoughts, reasoning_hidden=hidden, **columns
        )
        return self.open

    def _reasoning(self, value: dict[str, Any]) -> None:
        said = [*_list(value.get("summary")), *_list(value.get("content"))]
        texts = [p if isinstance(p, str) else str(p.get("text") or "") for p in said if isinstance(p, (str, dict))]
        found = [t for t in texts if t]
        if self.open is not None and self.trace.steps[self.open].n_tool_calls:
            self.open = None  # a new thought after calls is a new model call
        self.told.update(found)
        self.thoughts += [t for t in found if t not in self.thoughts]
        self.hidden = self.hidden or (not found and bool(value.get("encrypted_content")))

    def _call(self, value: dict[str, Any]) -> str:
        function = value.get("function")
        name = value.get("name") or (function.get("name") if isinstance(function, dict) else function)
        if value.get("namespace"):
            name = f"{value['namespace']}.{name}"
        args = value.get("arguments", value.get("input", value.get("action")))
        kind = str(value.get("type"))
        if name is None and kind.endswith("_call"):
            name = kind.removesuffix("_call")
        seq = self.open if self.open is not None and not self.thoughts and not self.hidden else self._assistant(None)
        columns: dict[str, Any] = {"started_at": self.here.get("ts")}
        if kind == "custom_tool_call" and isinstance(args, str) and args[:1] != "{":
            args = {"input": args}  # free text by design, not arguments gone wrong
        return self.trace.call(seq, name, args, id=value.get("call_id") or value.get("id"), **columns)

    def _output(self, value: dict[str, Any]) -> None:
        self.close()
        raw = value.get("output", value.get("result", value.get("tools")))
        text, parts, code, took = read_output(raw)
        status, basis = output_status(text or "", code)
        if value.get("status") in ("failed", "incomplete") or value.get("error"):
            status, basis = "error", "flag"
        self.result(text, value.get("call_id"), value.get("name"), status, basis, code, took, parts)

    def result(
        self,
        text: str | None,
        id: Any,
        name: Any = None,
        status: str | None = None,
        basis: str | None = None,
        code: int | None = None,
        took: float | None = None,
        parts: Any = None,
    ) -> int:
        t = self.trace
        seq = t.result(
            text,
            id=id if isinstance(id, str) else None,
            name=name if isinstance(name, str) else None,
            status=status,
            error_basis=basis,
            exit_code=code,
            parts=parts,
            **self.here,
        )
        call = next((c for c in reversed(t.calls) if c.result_seq == seq), None)
        if call is not None:
            call.ended_at = self.here.get("ts")
            if took is not None:
                call.duration_ms = took
            elif call.started_at and call.ended_at:
                call.duration_ms = (call.ended_at - call.started_at).total_seconds() * 1000
            call.error_type = status if status in ("denied", "cancelled") else None
        return seq

    def _hosted(self, value: dict[str, Any], kind: str) -> None:
        given, answer = HOSTED[kind]
        args = value.get(given)
        seq = self.open if self.open is not None and not self.thoughts else self._assistant(None)
        own = value.get("call_id") or value.get("id")
        name = value.get("name") or kind.removesuffix("_call")
        wrapped = args if isinstance(args, (dict, str)) and given == "arguments" else {given: args}
        self.trace.call(seq, name, args if isinstance(args, dict) else wrapped, id=own, requestor="provider")
        call = self.trace.calls[-1]
        failed = value.get("status") == "failed" or bool(value.get("error"))
        status, basis = "error" if failed else "ok", "flag" if failed else None
        call.status = status
        call.error_basis = basis
        out = value.get("error") or (value.get(answer) if answer else None)
        if out is not None:
            self.result(flatten(out)[0] or _dump(out), own, name, status, basis)


def read_output(raw: Any) -> tuple[str | None, Any, int | None, float | None]:
    """(text, other parts, exit code, duration in ms) of a call's output in any of its shapes."""
    if isinstance(raw, str) and raw[:1] == "{" and '"output"' in raw[:20_000]:
        try:
            held = orjson.loads(raw)
        except orjson.JSONDecodeError:
            held = None
        if isinstance(held, dict) and isinstance(held.get("output"), str):
            meta = mapping(held.get("metadata"))
            took = meta.get("duration_seconds")
            return (
                held["output"],
                None,
                _int(meta.get("exit_code")),
                took * 1000 if isinstance(took, (int, float)) else None,
            )
    if isinstance(raw, dict) and ("stdout" in raw or "stderr" in raw):
        shown = "\n".join(str(raw[k]) for k in ("stdout", "stderr") if raw.get(k))
        return shown, None, _int(raw.get("exitCode", raw.get("exit_code"))), None
    if isinstance(raw, dict) and isinstance(raw.get("content"), (str, list)):
        raw = raw["content"]
    text, parts, _ = flatten(_texts(raw))
    if text is None and parts:
        text, parts = _dump(raw), None
    found = EXIT_CODE.search((text or "")[:400].split("\nOutput:")[0])  # the header, never what the command printed
    return text, parts, int(found[1]) if found else None, None


def output_status(text: str, code: int | None) -> tuple[str | None, str | None]:
    """(status, basis); status None leaves the verdict to the exit code or the text."""
    if ABORTED.match(text[:200]):
        return "cancelled", "text"
    if REJECTED.match(text[:200]):
        return "denied", "text"
    return None, None if code is None else "exit_code"


def _texts(content: Any) -> Any:
    """Content parts whose text flatten() reads; parts without any text (null image urls) stay parts."""
    if isinstance(content, dict) and isinstance(content.get("text"), str):
        return content["text"]
    if isinstance(content, (int, float)):
        return str(content)
    return content


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _dump(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
