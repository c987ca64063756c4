"""Agent CLIs that log typed events, each with a vocabulary of its own.

    kimi         {"type": "context.append_loop_event", "event": {"type": "tool.call", "toolCallId", "name", "args"}, "time": ms}
    grok         {"type": "assistant", "content", "tool_calls": [{"id", "name", "arguments"}], "model_id"}; {"type": "tool_result"}
    antigravity  {"step_index": 2, "source": "MODEL", "type": "PLANNER_RESPONSE", "tool_calls", "created_at"}
    droid_stream {"type": "tool_call", "session_id", "toolCallId", "toolName", "parameters"}; {"type": "completion"}

- Kimi: a step (step.begin … step.end) is one model call; `inputOther` excludes the cache (added here); turn.cancel is an
  interrupt; a rejected approval denies its call; apply_compaction is a compaction. Prompts are told twice: the message counts.
- Grok: `synthetic_reason` marks the harness's text; `prior_turn_interrupt` an interrupt before the message.
- Antigravity: results carry no ids and answer the oldest open call; argument values are encoded twice; CHECKPOINT is a
  compaction; truncated_fields gives result_truncated.
Dropped and counted: snapshots, settings, usage records that repeat a step's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import flatten, timestamp
from insights.corpus.parse import mapping, mappings, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_text

Add = Callable[[Trace, dict[str, Any], dict[str, Any]], bool]
KIMI = {"context.append_message", "context.append_loop_event", "turn.prompt", "llm.request", "config.update"}


def _lines(head: Head) -> list[dict[str, Any]]:
    return [v for v in head.records if isinstance(v, dict)]


def _detect_kimi(head: Head) -> Confidence | None:
    hits = sum(isinstance(v.get("type"), str) and v["type"] in KIMI for v in _lines(head))
    return "certain" if hits >= 2 or (hits and "protocol_version" in head.first) else None


def _detect_grok(head: Head) -> Confidence | None:
    lines = _lines(head)
    typed = [
        v
        for v in lines
        if v.get("type") in ("user", "assistant", "system", "tool_result", "reasoning") and "role" not in v
    ]
    marked = any(k in v for v in typed for k in ("model_id", "synthetic_reason", "prompt_index"))
    return "likely" if len(typed) >= 2 and marked and not any("message" in v or "data" in v for v in typed) else None


def _detect_antigravity(head: Head) -> Confidence | None:
    return "certain" if {"step_index", "source", "type", "status"} <= head.first.keys() else None


def _detect_droid(head: Head) -> Confidence | None:
    lines = _lines(head)
    kinds = {word(v.get("type")) for v in lines if "session_id" in v}
    marked = any(v.get("subtype") == "init" or {"toolId", "finalText"} & v.keys() for v in lines)
    return "certain" if marked and kinds & {"tool_call", "completion"} and kinds & {"message", "system"} else None


def _read(source: Source, brand: str, own: str, add: Add) -> Iterator[Trace]:
    t = Trace(brand.removesuffix("_stream"), own, session_id=own, agent=brand.removesuffix("_stream"))
    t.framework = t.agent
    dropped: Counter[str] = Counter()
    for record in source.records():
        value = mapping(record.value)
        stamp = timestamp(value.get("time") or value.get("timestamp") or value.get("created_at"))
        where: dict[str, Any] = {"ts": stamp, "src_offset": record.offset, "src_len": record.length}
        if not add(t, value, where):
            dropped[str(value.get("type"))] += 1
    if dropped:
        told = ", ".join(f"{kind} {n}" for kind, n in dropped.most_common())
        source.issue("no_step", f"lines outside the conversation: {told}", severity="info", n=dropped.total())
    last = next((s for s in reversed(t.steps) if s.kind not in ("log", "compaction")), None)
    if last is not None and last.kind == "interrupt":
        t.end_reason = "user_abort"
    elif t.end_reason is None and last is not None and last.role == "assistant" and last.text and not last.n_tool_calls:
        t.end_reason = "completed"
    if t.steps:
        yield t
    else:
        source.issue("no_conversation", "no messages", severity="info")


@reader("kimi", title="Kimi CLI sessions", rank=21, detect=_detect_kimi)
def read_kimi(source: Source) -> Iterator[Trace]:
    folders = source.path.parent.parts
    if source.stem != "wire":
        yield from _read(source, "kimi", source.stem, _kimi)
    elif folders[-2:-1] == ("agents",) and len(folders) > 2:
        session, agent = folders[-3], folders[-1]
        for t in _read(source, "kimi", session if agent == "main" else f"{session}/{agent}", _kimi):
            t.session_id = session
            if agent != "main":
                t.relation, t.agent = "subagent", agent
                t.parent_trace_id = t.root_trace_id = f"kimi:{session}"
            yield t
    else:
        yield from _read(source, "kimi", source.path.parent.name or source.stem, _kimi)


def _kimi(t: Trace, value: dict[str, Any], where: dict[str, Any]) -> bool:
    kind = value.get("type")
    if kind == "context.append_loop_event":
        return _kimi_event(t, mapping(value.get("event")), where)
    if kind == "context.append_message":
        message = mapping(value.get("message"))
        text, parts, _ = flatten(message.get("content"))
        by = mapping(message.get("origin")).get("kind")
        origin = "human" if by in (None, "user") and message.get("role") == "user" else "harness"
        t.step(message.get("role"), text, origin=origin, parts=parts, **where)
    elif kind == "turn.cancel":
        t.step("user", "turn cancelled", kind="interrupt", origin="human", **where)
        for call in t.calls:
            if call.result_seq is None and call.status is None:
                call.status = "cancelled"
    elif kind == "context.apply_compaction":
        names = {"tokens_before": "tokensBefore", "tokens_after": "tokensAfter", "told": "contextSummary"}
        extra = {ours: value.get(theirs) for ours, theirs in names.items()}
        t.step("system", value.get("summary"), kind="compaction", origin="harness", extra=extra, **where)
    elif kind == "permission.record_approval_result":
        _kimi_approval(t, value)
    elif kind in ("config.update", "profile.bind", "llm.request", "llm.tools_snapshot"):
        _kimi_settings(t, value, where)
    else:
        return False
    return True


def _kimi_settings(t: Trace, value: dict[str, Any], where: dict[str, Any]) -> None:
    t.model = value.get("model") or t.model or value.get("modelAlias")
    t.provider = value.get("provider") or t.provider
    if value.get("tools"):
        t.offer(value["tools"])
    prompt = value.get("systemPrompt")
    if isinstance(prompt, str) and not any(s.text == prompt for s in t.steps[:3]):
        t.step("system", prompt, origin="harness", **where)
    if "/" in str(value.get("attempt") or "") and not str(value["attempt"]).startswith("1/"):
        t.metadata["llm_retries"] = t.metadata.get("llm_retries", 0) + 1


def _kimi_approval(t: Trace, value: dict[str, Any]) -> None:
    result = mapping(value.get("result"))
    if result.get("decision") in (None, "approved", "approve"):
        return
    t.extra.setdefault("denied", []).append(value.get("toolCallId"))
    if result.get("feedback"):
        t.annotate(
            "feedback", "tool_use_rejected", explanation=str(result["feedback"]), annotator="user", basis="human"
        )


def _kimi_event(t: Trace, event: dict[str, Any], where: dict[str, Any]) -> bool:
    kind = event.get("type")
    last = t.steps[-1] if t.steps else None
    is_open = last is not None and last.role == "assistant" and last.native_id == event.get("stepUuid")
    if kind == "content.part" or kind == "tool.call":
        part = mapping(event.get("part"))
        if not is_open or last is None:
            seq = t.step("assistant", None, origin="model", native_id=event.get("stepUuid"), **where)
            last = t.steps[seq]
        if kind == "tool.call":
            t.call(last.seq, event.get("name"), event.get("args"), id=event.get("toolCallId"), started_at=where["ts"])
        elif part.get("type") == "think":
            last.reasoning = "\n\n".join(filter(None, (last.reasoning, as_text(part.get("think")))))
        else:
            last.text = "\n\n".join(filter(None, (last.text, as_text(part.get("text")))))
    elif kind == "tool.result":
        _kimi_result(t, event, where)
    elif kind == "step.end":
        _kimi_call(t, event, where)
    else:
        return kind == "step.begin"
    return True


def _kimi_result(t: Trace, event: dict[str, Any], where: dict[str, Any]) -> None:
    result, own = mapping(event.get("result")), event.get("toolCallId")
    output = result.get("output")
    text = flatten(output)[0] if isinstance(output, list) else as_text(output)
    failed = bool(result.get("isError") or result.get("is_error"))
    status = "denied" if own in t.extra.get("denied", []) else "error" if failed else "ok"
    columns: dict[str, Any] = {"ended_at": where["ts"]}
    made = next((c for c in reversed(t.calls) if c.native_id == own), None)
    if made is not None and made.started_at and where["ts"]:
        columns["duration_ms"] = (where["ts"] - made.started_at).total_seconds() * 1000
    basis = "flag" if status != "ok" else None
    t.result(
        text or as_text(result.get("message")), id=own, status=status, error_basis=basis, call_columns=columns, **where
    )


def _kimi_call(t: Trace, event: dict[str, Any], where: dict[str, Any]) -> None:
    usage = {k: n for k, n in mapping(event.get("usage")).items() if isinstance(n, int)}
    read, write = usage.get("inputCacheRead"), usage.get("inputCacheCreation")
    mine = [s for s in t.steps[-60:] if s.native_id == event.get("uuid") and s.role == "assistant"]
    name = t.llm(
        first_seq=mine[0].seq if mine else None,
        model=t.model,
        provider=t.provider,
        ended_at=where["ts"],
        ttft_ms=event.get("llmFirstTokenLatencyMs"),
        input_tokens=usage["inputOther"] + (read or 0) + (write or 0) if "inputOther" in usage else None,
        cache_read_tokens=read,
        cache_write_tokens=write,
        output_tokens=usage.get("output"),
        finish_reason=event.get("finishReason"),
        native_finish_reason=event.get("finishReason"),
        status="ok",
    )
    for step in mine:
        step.llm_call_id = name


@reader("grok", title="Grok CLI sessions", rank=23, detect=_detect_grok)
def read_grok(source: Source) -> Iterator[Trace]:
    generic = source.stem in ("chat_history", "events", "messages")
    yield from _read(source, "grok", source.path.parent.name if generic else source.stem, _grok)


def _grok(t: Trace, value: dict[str, Any], where: dict[str, Any]) -> bool:
    kind = value.get("type")
    text, parts, _ = flatten(value.get("content"))
    if kind == "user":
        if value.get("prior_turn_interrupt"):
            t.step("user", str(value["prior_turn_interrupt"]), kind="interrupt", origin="human", **where)
        t.step("user", text, origin="harness" if value.get("synthetic_reason") else "human", parts=parts, **where)
    elif kind == "reasoning":
        said = flatten(value.get("summary"))[0]
        t.step("assistant", None, origin="model", reasoning=said, reasoning_hidden=said is None or None, **where)
    elif kind == "assistant":
        last = t.steps[-1] if t.steps else None
        if last is not None and last.role == "assistant" and last.text is None and not last.n_tool_calls:
            seq, last.text = last.seq, text or None
        else:
            seq = t.step("assistant", text or None, origin="model", **where)
        t.steps[seq].llm_call_id = t.llm(first_seq=seq, model=value.get("model_id"), provider="xai", status="ok")
        for held in mappings(value.get("tool_calls")):
            t.call(seq, held.get("name"), held.get("arguments"), id=held.get("id"))
    elif kind == "tool_result":
        t.result(text, id=value.get("tool_call_id"), status="error" if value.get("is_error") else None, **where)
    elif kind == "backend_tool_call":
        held = mapping(value.get("kind"))
        seq = t.step("assistant", None, origin="model", **where)
        t.call(seq, held.get("tool_type"), held.get("action"), id=held.get("id"), requestor="provider")
        t.calls[-1].status = "ok" if held.get("status") == "completed" else "unknown"
    elif kind == "system":
        t.step("system", text, origin="harness", **where)
    else:
        return False
    return True


@reader("antigravity", title="Antigravity CLI steps", rank=20, detect=_detect_antigravity)
def read_antigravity(source: Source) -> Iterator[Trace]:
    yield from _read(source, "antigravity", source.stem, _antigravity)


def _antigravity(t: Trace, value: dict[str, Any], where: dict[str, Any]) -> bool:
    kind, text = str(value.get("type")), value.get("content")
    if kind == "USER_INPUT":
        t.step("user", text, origin="human", **where)
    elif kind == "PLANNER_RESPONSE":
        seq = t.step("assistant", text, origin="model", reasoning=value.get("thinking"), **where)
        for held in mappings(value.get("tool_calls")):
            args = {k: _decoded(v) for k, v in mapping(held.get("args")).items()}
            t.call(seq, held.get("name"), args, started_at=where["ts"])
    elif kind == "CHECKPOINT":
        t.step("system", text, kind="compaction", origin="harness", **where)
    elif value.get("source") == "SYSTEM" and text:
        t.step("system", text, origin="harness", **where)
    elif value.get("source") == "MODEL" or (text and kind != "CONVERSATION_HISTORY"):
        if not any(c.result_seq is None for c in t.calls):
            seq = t.step("assistant", None, origin="model", **where)
            t.call(seq, kind.lower(), None, started_at=where["ts"])
        status = None if value.get("status") == "DONE" else "error"
        cut = "content" in sequence(value.get("truncated_fields"))
        t.result(
            text, status=status, error_basis=status and "flag", call_columns={"result_truncated": cut or None}, **where
        )
    else:
        return False
    return True


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in '"[{' and value:
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


@reader("droid_stream", title="Factory Droid exec stream", rank=20, detect=_detect_droid)
def read_droid_stream(source: Source) -> Iterator[Trace]:
    own = next((str(v["session_id"]) for v in _lines(source.head) if v.get("session_id")), source.stem)
    yield from _read(source, "droid_stream", own, _droid)


def _droid(t: Trace, value: dict[str, Any], where: dict[str, Any]) -> bool:
    kind = value.get("type")
    if kind == "message":
        role = str(value.get("role"))
        t.step(role, value.get("text"), origin="model" if role == "assistant" else "human", **where)
    elif kind == "tool_call":
        last = t.steps[-1] if t.steps else None
        seq = (
            last.seq
            if last is not None and last.role == "assistant"
            else t.step("assistant", None, origin="model", **where)
        )
        t.call(seq, value.get("toolName"), value.get("parameters"), id=value.get("toolCallId"), started_at=where["ts"])
    elif kind == "tool_result":
        held = mapping(value.get("value"))
        text = (
            "\n".join(str(held[k]) for k in ("stdout", "stderr") if held.get(k))
            if held
            else as_text(value.get("value"))
        )
        code = held.get("exitCode")
        failed = value.get("isError") is True
        t.result(text, id=value.get("toolCallId"), status="error" if failed else None, error_basis="flag" if failed else None,
                 exit_code=code if isinstance(code, int) else None, **where)  # fmt: skip
    elif kind == "completion":
        final = value.get("finalText")
        if final and not any(s.text == final for s in t.steps[-2:]):
            t.step("assistant", final, origin="model", **where)
        t.end_reason = "completed"
    elif kind == "system":
        t.model, t.metadata["cwd"] = value.get("model"), value.get("cwd")
    elif kind == "error":
        t.step("system", as_text(value.get("message")), kind="error", origin="harness", is_error=True, **where)
        t.end_reason = "error"
    else:
        return False
    return True
