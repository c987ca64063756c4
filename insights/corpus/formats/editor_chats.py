"""Chats that coding assistants in editors keep as files, and threads of Amp.

    continue_dev ~/.continue/sessions/*.json              {"sessionId", "workspaceDirectory", "history": [{"message": {"role", "content",
                 "toolCalls"}, "contextItems": […], "toolCallStates": […]}]}
    cline        tasks/<ms>/api_conversation_history.json (Cline, Roo, Kilo): Anthropic messages; calls of older versions are XML in the
                 text; ui_messages.json beside it has times, tokens, costs and the end, task_metadata.json the model
    amp          ~/.local/share/amp/threads/T-*.json       {"id", "messages": [{"role", "content": [blocks], "usage", "state"}]}

Errors: `is_error`, a status of error, an exit code. Cline's `<environment_details>` is the harness's. Dropped: editor states.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.anthropic_messages import add_anthropic, anthropic_usage
from insights.corpus.formats.chat import add_messages, timestamp
from insights.corpus.formats.payload import decoded, messages
from insights.corpus.parse import mapping, mappings, number, word
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name, as_text

STOPPED = {"end_turn": "completed", "max_tokens": "limit_tokens", "refusal": "refused"}
HARNESS = re.compile(r"\s*<(?:environment_details|feedback|task_resumption|explicit_instructions)\b")
CALL = re.compile(
    r"<(?P<name>[a-z][a-z_]+)>\s*(?P<inner>(?:<(?P<arg>[a-z][a-z_]*)>.*?</(?P=arg)>\s*)+)</(?P=name)>", re.S
)
ARGUMENT = re.compile(r"<([a-z][a-z_]*)>(.*?)</\1>", re.S)
NO_CALL = {"thinking", "task", "environment_details", "result", "answer", "attempt_completion"}
ANSWERS = re.compile(r"\[(?P<name>[a-z_]+)\b.{0,400}?\] Result:\s*", re.S)


def _detect_continue(head: Head) -> Confidence | None:
    first = head.first
    rows = mappings(first.get("history"))
    known = "sessionId" in first and {"workspaceDirectory", "title"} & first.keys() and "history" in first
    return "certain" if known and (not rows or "message" in rows[0]) else None


@reader("continue_dev", title="Continue sessions", rank=18, detect=_detect_continue, single=True)
def read_continue(source: Source) -> Iterator[Trace]:
    held = mapping(source.document())
    own = as_name(held.get("sessionId")) or source.stem
    t = Trace("continue_dev", own, session_id=own, agent="continue", framework="continue")
    t.metadata.update({k: as_text(held[k]) for k in ("title", "workspaceDirectory", "mode") if held.get(k)})
    answered: set[str | None] = set()
    for i, row in enumerate(mappings(held.get("history"))):
        m = mapping(row.get("message"))
        first = len(t.steps)
        id = as_name(m.get("toolCallId"))
        if m.get("role") == "tool" and id in answered:
            continue  # the assistant's row told the result already
        add_messages(
            t, [{**x, "tool_call_id": x.get("tool_call_id") or id} for x in messages(m)], pointer=f"/history/{i}"
        )
        context = [{k: c.get(k) for k in ("name", "description", "content")} for c in mappings(row.get("contextItems"))]
        if context and m.get("role") != "tool" and len(t.steps) > first:
            t.steps[first].extra = {"contextItems": context}
        for state in mappings(row.get("toolCallStates")):
            answered |= _answered(t, state)
    if t.steps:
        yield t


def _answered(t: Trace, state: Mapping[str, Any]) -> set[str | None]:
    """The result of a call as the assistant's row keeps it."""
    status, output = word(state.get("status")), mappings(state.get("output"))
    if status not in ("done", "errored", "canceled") and not output:
        return set()
    id = as_name(state.get("toolCallId"))
    text = "\n".join(as_text(o.get("content")) or "" for o in output)
    told = {"errored": "error", "canceled": "cancelled"}.get(status, "ok")
    t.result(text, id=id, status=told, error_basis="flag" if told == "error" else None)
    return {id}


def _detect_cline(head: Head) -> Confidence | None:
    return "certain" if head.name.endswith("api_conversation_history.json") and isinstance(head.doc, list) else None


def _detect_ui(head: Head) -> Confidence | None:
    if head.name.endswith(("task_metadata.json", "history_item.json")):
        return "likely" if {"files_in_context", "model_usage", "tokensIn"} & head.first.keys() else None
    return "certain" if {"ts", "type"} <= head.first.keys() and {"say", "ask"} & head.first.keys() else None


mark("cline_ui", title="Cline messages as shown, task description", rank=18, role="part", detect=_detect_ui)


@reader("cline", title="Cline, Roo Code and Kilo Code tasks", rank=18, detect=_detect_cline)
def read_cline(source: Source) -> Iterator[Trace]:
    folder = source.path.parent.name if source.member is None else source.label
    t = Trace("cline", folder, session_id=folder, agent="cline", framework="cline")
    for i, m in enumerate(mappings(source.document())):
        _said(t, m, {"src_pointer": f"/{i}", "ts": timestamp(m.get("ts"))})
    _shown(t, source)
    if t.steps:
        yield t


def _said(t: Trace, m: Mapping[str, Any], where: dict[str, Any]) -> None:
    blocks = m.get("content") if isinstance(m.get("content"), list) else [{"type": "text", "text": m.get("content")}]
    if m.get("role") == "assistant":
        seq = add_anthropic(t, {**m, "content": blocks}, where)
        if seq is not None and not t.steps[seq].n_tool_calls:
            for found in CALL.finditer(t.steps[seq].text or ""):
                if found["name"] not in NO_CALL:
                    t.call(seq, found["name"], {k: v.strip("\n") for k, v in ARGUMENT.findall(found["inner"])})
        return
    waiting: ANSWER = None
    for block in mappings(blocks):
        text = block.get("text")
        told = ANSWERS.match(text) if isinstance(text, str) else None
        if told is not None and any(c.result_seq is None for c in t.calls):
            rest = text[told.end() :] if isinstance(text, str) else ""
            waiting = told["name"]
            if rest.strip():
                t.result(rest, name=waiting, **where)
                waiting = None
        elif waiting is not None and isinstance(text, str) and not HARNESS.match(text):
            t.result(text, name=waiting, **where)
            waiting = None
        elif isinstance(text, str):
            t.step("user", text, origin="harness" if HARNESS.match(text) else "human", **where)
        else:
            add_anthropic(t, {"role": "user", "content": [block]}, where)


ANSWER = str | None


def _shown(t: Trace, source: Source) -> None:
    """Times, tokens and the end from the files beside the conversation."""
    ui, meta = source.sibling("ui_messages.json"), source.sibling("task_metadata.json")
    used = mappings(mapping(Source(meta, str(meta), source.root).document()).get("model_usage")) if meta else []
    t.model = as_name(used[-1].get("model_id")) if used else None
    shown = mappings(Source(ui, str(ui), source.root).document()) if ui else []
    stamps = [s for s in (timestamp(m.get("ts")) for m in shown) if s]
    t.started_at, t.ended_at = min(stamps, default=None), max(stamps, default=None)
    for m in shown:
        if m.get("say") == "api_req_started":
            told = mapping(decoded(m.get("text")))
            read, write = (number(told.get(k)) or 0 for k in ("cacheReads", "cacheWrites"))
            into = number(told.get("tokensIn"))
            t.llm(started_at=timestamp(m.get("ts")), model=t.model, output_tokens=told.get("tokensOut"), cost_usd=told.get("cost"),
                  input_tokens=None if into is None else into + read + write, cache_read_tokens=read or None,
                  cache_write_tokens=write or None)  # fmt: skip
    if any("completion_result" in (m.get("say"), m.get("ask")) for m in shown):
        t.end_reason = "completed"


def _detect_amp(head: Head) -> Confidence | None:
    first = head.first
    rows = mappings(first.get("messages"))
    named = word(first.get("id")).startswith("T-") or "messageId" in (rows[0] if rows else {})
    return "certain" if named and "created" in first and "v" in first and rows else None


@reader("amp", title="Amp threads", rank=18, detect=_detect_amp, single=True)
def read_amp(source: Source) -> Iterator[Trace]:
    held = mapping(source.document())
    own = as_name(held.get("id")) or source.stem
    t = Trace("amp", own, session_id=own, agent="amp", framework="amp", started_at=timestamp(held.get("created")))
    t.metadata.update({"title": held["title"]} if isinstance(held.get("title"), str) else {})
    for i, m in enumerate(mappings(held.get("messages"))):
        usage, state = mapping(m.get("usage")), mapping(m.get("state"))
        blocks = [_amp_result(b) if b.get("type") == "tool_result" else b for b in mappings(m.get("content"))]
        where = {
            "src_pointer": f"/messages/{i}",
            "ts": timestamp(usage.get("timestamp") or mapping(m.get("meta")).get("sentAt")),
        }
        seq = add_anthropic(t, {"role": m.get("role"), "content": blocks}, where)
        if usage and seq is not None:
            counts = {"input_tokens": "inputTokens", "output_tokens": "outputTokens", "cache_read_input_tokens": "cacheReadInputTokens",
                      "cache_creation_input_tokens": "cacheCreationInputTokens"}  # fmt: skip
            told: dict[str, Any] = dict(anthropic_usage({k: usage.get(v) for k, v in counts.items()}))
            name = t.llm(first_seq=seq, model=usage.get("model"), native_finish_reason=state.get("stopReason"), **told)
            t.steps[seq].llm_call_id = name
        if state:
            ended = {"cancelled": "user_abort", "error": "error"}.get(word(state.get("type")))
            t.end_reason, t.native_end_reason = (
                ended or STOPPED.get(word(state.get("stopReason"))),
                as_name(state.get("stopReason")),
            )
    if t.steps:
        yield t


def _amp_result(block: Mapping[str, Any]) -> dict[str, Any]:
    """Amp keeps a tool's run instead of its content."""
    run = mapping(block.get("run"))
    result = run.get("result", run.get("error"))
    failed = run.get("status") in ("error", "rejected-by-user") or number(mapping(result).get("exitCode")) not in (
        None,
        0,
    )
    only = mapping(result).get("output") if set(mapping(result)) <= {"output", "exitCode"} else None
    return {"type": "tool_result", "tool_use_id": block.get("toolUseID") or block.get("tool_use_id"), "is_error": failed,
            "content": as_text(only if only is not None else result if result is not None else block.get("content"))}  # fmt: skip
