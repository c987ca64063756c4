"""Kimi CLI before 1.0 and Kimi Code: ~/.kimi/sessions/<work folder>/<session>/wire.jsonl.

    {"type": "metadata", "protocol_version": "1.3"}
    {"timestamp": 1772359200.1, "message": {"type": "TurnBegin", "payload": {"user_input": "…"}}}
    {"timestamp": 1772359201.4, "message": {"type": "ToolCall", "payload": {"id": "Bash_0", "function": {"name": "Bash", "arguments": "{…}"}}}}
    {"timestamp": 1772359202.4, "message": {"type": "ToolResult", "payload": {"tool_call_id": "Bash_0", "return_value": {"output": "…"}}}}

A step is one model call; its StatusUpdate tells the tokens, cached ones beside the input (added here). Text and thoughts come in pieces,
arguments too (ToolCallPart). Events of a sub-agent stand in SubagentEvent and are log steps. context.jsonl beside it tells the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import flatten, timestamp
from insights.corpus.parse import mapping, number, word
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name, as_text


def _is_wire(value: Any) -> bool:
    held = mapping(mapping(value).get("message"))
    return "timestamp" in mapping(value) and "payload" in held and word(held.get("type"))[:1].isupper()


def _detect(head: Head) -> Confidence | None:
    return "certain" if any(map(_is_wire, head.records[:4])) else None


def _is_context(head: Head) -> Confidence | None:
    beside = head.path.name == "context.jsonl" and head.path.with_name("wire.jsonl").exists()
    return "certain" if beside and "role" in head.first else None


mark("kimi_context", title="Kimi context, told by wire.jsonl beside it", rank=18, role="part", detect=_is_context)


@reader("kimi_wire", title="Kimi CLI wire logs", rank=18, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    own = source.path.parent.name if source.stem == "wire" else source.stem
    wire = _Wire(Trace("kimi_wire", own, session_id=own, agent="kimi", framework="kimi"))
    dropped: Counter[str] = Counter()
    for record in source.records():
        value = mapping(record.value)
        held = mapping(value.get("message"))
        kind = word(held.get("type"))
        where = {"ts": timestamp(value.get("timestamp")), "src_offset": record.offset, "src_len": record.length}
        if not kind or not wire.take(kind, mapping(held.get("payload")), where):
            dropped[kind or word(value.get("type"))] += 1
    if dropped:
        told = ", ".join(f"{kind} {n}" for kind, n in dropped.most_common())
        source.issue("no_step", f"lines outside the conversation: {told}", severity="info", n=dropped.total())
    if wire.t.steps:
        yield wire.t
    else:
        source.issue("no_conversation", "no messages", severity="info")


class _Wire:
    """The conversation as the events build it; `seq` is the step the model is writing."""

    def __init__(self, t: Trace) -> None:
        self.t = t
        self.seq: int | None = None
        self.args: dict[str, Any] | None = None  # of a call whose arguments still come

    def take(self, kind: str, payload: Mapping[str, Any], where: dict[str, Any]) -> bool:
        t = self.t
        if kind in ("TurnBegin", "SteerInput"):
            text, parts, _ = flatten(payload.get("user_input", payload.get("content")))
            t.step("user", text, origin="human", parts=parts, **where)
            self.seq, t.end_reason = None, None
        elif kind in ("StepBegin", "StepRetry"):
            self.seq = None
        elif kind == "ContentPart":
            self._part(payload, where)
        elif kind == "ToolCall":
            self._call(payload, where)
        elif kind == "ToolCallPart":
            self._more(payload)
        elif kind == "ToolResult":
            self._result(payload, where)
        elif kind == "StatusUpdate":
            self._status(payload, where)
        elif kind == "StepInterrupted":
            t.step("user", "interrupted", kind="interrupt", origin="human", **where)
            t.end_reason = "user_abort"
        elif kind == "CompactionEnd":
            t.step("system", as_text(payload.get("summary")), kind="compaction", origin="harness", **where)
        elif kind == "SubagentEvent":
            t.step("assistant", as_text(payload), kind="log", origin="model", **where)
        elif kind == "TurnEnd":
            t.end_reason = t.end_reason or "completed"
        else:
            return False
        return True

    def _open(self, where: dict[str, Any]) -> int:
        if self.seq is None:
            self.seq = self.t.step("assistant", None, origin="model", **where)
        return self.seq

    def _part(self, payload: Mapping[str, Any], where: dict[str, Any]) -> None:
        step = self.t.steps[self._open(where)]
        thought, said = payload.get("think"), payload.get("text", payload.get("content"))
        if isinstance(thought, str):
            step.reasoning = (step.reasoning or "") + thought
        elif isinstance(said, str):
            step.text = (step.text or "") + said
        else:
            step.parts = [*(step.parts or []), dict(payload)]

    def _call(self, payload: Mapping[str, Any], where: dict[str, Any]) -> None:
        function = mapping(payload.get("function"))
        seq = self._open(where)
        self.t.call(
            seq,
            as_name(function.get("name")),
            function.get("arguments"),
            id=as_name(payload.get("id")),
            started_at=where["ts"],
        )

    def _more(self, payload: Mapping[str, Any]) -> None:
        """A piece of the arguments of the call told last: the call is made again with all of them."""
        t = self.t
        if t.calls and isinstance(payload.get("arguments_part"), str):
            last = t.calls[-1]
            whole = ("" if last.args_text in ("{}", None) else last.args_text) + payload["arguments_part"]
            probe = Trace("kimi_wire", "arguments")
            probe.call(probe.step("assistant"), None, whole)
            last.args_text, last.args, last.args_error = whole, probe.calls[0].args, probe.calls[0].args_error

    def _result(self, payload: Mapping[str, Any], where: dict[str, Any]) -> None:
        told = mapping(payload.get("return_value")) or mapping(payload.get("result"))
        failed = told.get("is_error") is True or ("brief" in told and "output" not in told)
        text, parts, _ = flatten(told.get("output"))
        said = text or as_text(told.get("message"))
        shown = {k: told[k] for k in ("message", "brief") if told.get(k) and told[k] != said}
        self.t.result(said, id=as_name(payload.get("tool_call_id")), status="error" if failed else "ok", parts=parts,
                      error_basis="flag" if failed else None, extra=shown or None, **where)  # fmt: skip

    def _status(self, payload: Mapping[str, Any], where: dict[str, Any]) -> None:
        usage = mapping(payload.get("token_usage"))
        if not usage:
            return
        keys = ("input_other", "input_cache_read", "input_cache_creation", "output")
        other, read, write, out = (None if (n := number(usage.get(k))) is None else int(n) for k in keys)
        name = self.t.llm(as_name(payload.get("message_id")), first_seq=self.seq, started_at=where["ts"], output_tokens=out,
                          input_tokens=None if other is None else other + (read or 0) + (write or 0), cache_read_tokens=read or None,
                          cache_write_tokens=write or None, model=as_name(payload.get("model_name")))  # fmt: skip
        if self.seq is not None:
            self.t.steps[self.seq].llm_call_id = name
