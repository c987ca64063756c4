"""Logs of model requests in other shapes than OpenAI's own, read as if they were: gateways, providers, optimisers, rollouts.

    helicone   {"request_body": {"model", "messages"}, "response_body": {"choices", "usage"}, "request_created_at", "request_properties"}
    portkey    {"trace_id", "request": {"body": {…}}, "response": {"body": {…}}, "ai_model", "cost"}
    dspy       {"messages": […], "outputs": ["…"], "usage", "cost", "timestamp", "uuid", "model"}        entries of `lm.history`
    bedrock    {"modelId", "messages": [{"role", "content": [{"text"}, {"toolUse": {…}}, {"toolResult": {…}}]}], "system", "output"};
               {"schemaType": "ModelInvocationLog", "input": {"inputBodyJson": {…}}, "output": {"outputBodyJson": {…}}}
    gemini_api {"contents": [{"role", "parts"}], "systemInstruction", "response": {"candidates", "usageMetadata"}}; AI Studio's
               {"chunkedPrompt": {"chunks": […]}}
    cohere     {"chat_history": [{"role": "CHATBOT", "message", "tool_calls"}, {"role": "TOOL", "tool_results": […]}]}
    rollouts   {"prompt": [messages], "completion": [messages], "reward", "answer", "task"}              verifiers, TRL

Lines that repeat a history are folded as in openai_chat. `reward` 0 or 1 is the verdict of a rollout, `answer` what was expected.
Gemini counts thoughts beside the output and Bedrock cached tokens beside the input (both added). Tool definitions: a blob.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import flatten
from insights.corpus.formats.openai_chat import conversation_trace
from insights.corpus.formats.payload import decoded, messages
from insights.corpus.formats.request_log import Conversation, Request, log_of, shares
from insights.corpus.parse import mapping, mappings, number, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import STREAM_ABOVE, Record, Source
from insights.corpus.trace import Trace, as_name, as_text

Row = Mapping[str, Any]
STOPPED = {"end_turn": "stop", "stop_sequence": "stop", "STOP": "stop", "max_tokens": "length", "MAX_TOKENS": "length",
           "guardrail_intervened": "content_filter", "content_filtered": "content_filter", "SAFETY": "content_filter",
           "tool_use": "tool_calls"}  # fmt: skip


def _is_helicone(row: Row) -> bool:
    return isinstance(decoded(row.get("request_body")), dict) and "response_body" in row


def _helicone(row: Row) -> dict[str, Any]:
    request, response = mapping(decoded(row.get("request_body"))), mapping(decoded(row.get("response_body")))
    about = mapping(decoded(row.get("request_properties") or row.get("properties")))
    session = about.get("Helicone-Session-Id")
    told = {**about, **({"session_id": session} if session else {})}
    return {"messages": messages(request), "tools": request.get("tools"), "model": request.get("model"), "response": response, "metadata": told,
            "timestamp": row.get("request_created_at"), "cost": row.get("cost_usd", row.get("cost")),
            "latency_ms": row.get("delay_ms"), "id": row.get("request_id")}  # fmt: skip


def _is_portkey(row: Row) -> bool:
    return "messages" in _inner(row.get("request")) and {"ai_model", "ai_org", "portkey_trace_id"} & row.keys() != set()


def _inner(value: Any) -> Row:
    held = mapping(decoded(value))
    return mapping(decoded(held.get("body"))) or held


def _portkey(row: Row) -> dict[str, Any]:
    request = _inner(row.get("request"))
    told = {**mapping(decoded(row.get("metadata")))}
    return {"messages": messages(request), "tools": request.get("tools"), "model": row.get("ai_model") or request.get("model"), "metadata": told,
            "response": _inner(row.get("response")), "timestamp": row.get("created_at"), "cost": row.get("cost"),
            "trace_id": row.get("trace_id") or row.get("portkey_trace_id"), "latency_ms": row.get("response_time")}  # fmt: skip


def _is_dspy(row: Row) -> bool:
    return (
        isinstance(row.get("outputs"), list)
        and "messages" in row
        and {"uuid", "kwargs", "model_type"} & row.keys() != set()
    )


def _dspy(row: Row) -> dict[str, Any]:
    said = [o if isinstance(o, dict) else {"text": o} for o in sequence(row.get("outputs"))]
    given = messages(row.get("messages") or row.get("prompt"))
    answer = [{"role": "assistant", "content": as_text(o.get("text")), "reasoning_content": as_text(o.get("reasoning_content")),
               "tool_calls": o.get("tool_calls")} for o in said]  # fmt: skip
    response = {"model": row.get("response_model") or row.get("model"), "usage": mapping(row.get("usage"))}
    return {"messages": given, "model": row.get("model"), "timestamp": row.get("timestamp"), "cost": row.get("cost"),
            "id": row.get("uuid"), "response": {**response, "choices": [{"message": m} for m in answer]}}  # fmt: skip


def _is_converse(items: Any) -> bool:
    """Whether messages are Bedrock's: blocks without a type, calls in `toolUse`, results in `toolResult`."""
    blocks = [b for m in mappings(items)[:6] for b in mappings(m.get("content"))]
    return bool(blocks) and all("type" not in b for b in blocks) and all(
        {"text", "toolUse", "toolResult", "reasoningContent", "image", "document", "cachePoint", "guardContent"} & b.keys() for b in blocks
    )  # fmt: skip


def _is_bedrock(row: Row) -> bool:
    if row.get("schemaType") == "ModelInvocationLog":
        return isinstance(decoded(mapping(row.get("input")).get("inputBodyJson")), dict)
    return _is_converse(row.get("messages")) or _is_converse(mapping(row.get("request")).get("messages"))


def _bedrock(row: Row) -> dict[str, Any]:
    logged = row.get("schemaType") == "ModelInvocationLog"
    into, out = mapping(row.get("input")), mapping(row.get("output"))
    request: Row = mapping(decoded(into.get("inputBodyJson"))) if logged else mapping(row.get("request")) or row
    response: Row = mapping(decoded(out.get("outputBodyJson"))) if logged else mapping(row.get("response")) or row
    answer = mapping(mapping(response.get("output")).get("message"))
    if not answer and isinstance(response.get("content"), list):
        answer = dict(response)
    model = row.get("modelId") or request.get("modelId")
    stop = word(response.get("stopReason") or response.get("stop_reason"))
    said = messages({**answer, "role": "assistant"}, "assistant") if answer else []
    system = flatten(request.get("system"))[0]
    lead = [{"role": "system", "content": system}] if system else []
    return {
        "messages": [*lead, *messages(request.get("messages"))],
        "tools": mapping(request.get("toolConfig")).get("tools") or request.get("tools"),
        "model": model,
        "timestamp": row.get("timestamp"),
        "session_id": mapping(row.get("requestMetadata")).get("session_id"),
        "response": {
            "id": row.get("requestId"),
            "model": model,
            "usage": _bedrock_usage(response, into),
            "choices": [{"message": m, "finish_reason": STOPPED.get(stop, stop or None)} for m in said],
        },
    }


def _bedrock_usage(response: Row, logged: Row) -> dict[str, Any]:
    usage = mapping(response.get("usage"))
    into = number(usage.get("inputTokens", logged.get("inputTokenCount")))
    if into is None:
        return {}
    read, write = (number(usage.get(k)) or 0 for k in ("cacheReadInputTokens", "cacheWriteInputTokens"))
    return {
        "prompt_tokens": into + read + write,
        "completion_tokens": number(usage.get("outputTokens")),
        "prompt_tokens_details": {"cached_tokens": read or None},
        "cache_creation_input_tokens": write or None,
    }


def _is_gemini(row: Row) -> bool:
    if isinstance(mapping(row.get("chunkedPrompt")).get("chunks"), list):
        return True
    for held in (row, mapping(row.get("request"))):
        contents = mappings(held.get("contents"))
        about = {"systemInstruction", "system_instruction", "generationConfig", "tools", "response", "candidates"} & (
            held.keys() | row.keys()
        )
        if contents and all("parts" in c for c in contents) and about:
            return True
    return False


def _gemini(row: Row) -> dict[str, Any]:
    request, response = mapping(row.get("request")) or row, mapping(row.get("response")) or row
    lead = request.get("systemInstruction") or request.get("system_instruction")
    given = [{**m, "role": "system"} for m in messages(lead, "system")] if lead else []
    contents = _chunks(row) or request.get("contents")
    model = as_name(
        response.get("modelVersion") or request.get("model") or mapping(row.get("runSettings")).get("model")
    )
    choices = []
    for c in mappings(response.get("candidates")):
        stop = word(c.get("finishReason"))
        answered = messages(c.get("content"), "assistant")[:1]
        choices += [{"message": {**m, "role": "assistant"}, "finish_reason": STOPPED.get(stop, stop)} for m in answered]
    told = {"id": response.get("responseId"), "model": model, "choices": choices, "usage": _gemini_usage(response)}
    time = row.get("timestamp") or row.get("createTime")
    return {
        "messages": [*given, *messages(contents)],
        "tools": request.get("tools"),
        "model": model,
        "timestamp": time,
        "response": told,
        "metadata": mapping(row.get("metadata")),
    }


def _chunks(row: Row) -> list[dict[str, Any]]:
    """The turns of an AI Studio prompt as contents."""
    found = []
    for c in mappings(mapping(row.get("chunkedPrompt")).get("chunks")):
        part = {"text": c.get("text"), "thought": c.get("isThought")}
        rest = {k: v for k, v in c.items() if k not in ("text", "role", "isThought", "tokenCount", "finishReason")}
        parts = [part] if part["text"] is not None else [rest]
        found.append({"role": c.get("role"), "parts": parts})
    return found


def _gemini_usage(response: Row) -> dict[str, Any]:
    usage = mapping(response.get("usageMetadata") or response.get("usage_metadata"))
    if not usage:
        return {}

    def n(key: str) -> float:
        return number(usage.get(key)) or 0

    return {
        "prompt_tokens": n("promptTokenCount") + n("toolUsePromptTokenCount"),
        "completion_tokens": n("candidatesTokenCount") + n("thoughtsTokenCount"),
        "prompt_tokens_details": {"cached_tokens": usage.get("cachedContentTokenCount")},
        "completion_tokens_details": {"reasoning_tokens": usage.get("thoughtsTokenCount")},
    }


def _is_cohere(row: Row) -> bool:
    listed = mappings(row.get("chat_history"))
    return bool(listed) and all(m.get("role") in ("USER", "CHATBOT", "SYSTEM", "TOOL") for m in listed)


def _cohere(row: Row) -> dict[str, Any]:
    """Results name the call they answer by its name and parameters; they come in the order of the calls."""
    found: list[dict[str, Any]] = []
    if row.get("preamble"):
        found.append({"role": "system", "content": row["preamble"]})
    roles = {"USER": "user", "CHATBOT": "assistant", "SYSTEM": "system"}
    turns = [
        *mappings(row.get("chat_history")),
        *([{"role": "USER", "message": row["message"]}] if row.get("message") else []),
    ]
    for m in turns:
        calls = [
            {"function": {"name": c.get("name"), "arguments": c.get("parameters")}}
            for c in mappings(m.get("tool_calls"))
        ]
        for r in mappings(m.get("tool_results")):
            found.append(
                {"role": "tool", "name": mapping(r.get("call")).get("name"), "content": as_text(r.get("outputs"))}
            )
        if m.get("role") != "TOOL":
            found.append({"role": roles[str(m.get("role"))], "content": as_text(m.get("message")), "tool_calls": calls})
    said = row.get("text") or mapping(row.get("response")).get("text")
    answer = [{"message": {"role": "assistant", "content": said}}] if said else []
    return {"messages": found, "model": row.get("model"), "response": {"choices": answer}}


def _is_rollout(row: Row) -> bool:
    sides = mappings(row.get("prompt")), mappings(row.get("completion"))
    return all(side and all("role" in m for m in side) for side in sides)


def _rollout(row: Row) -> dict[str, Any]:
    told = ("prompt", "completion", "info", "metrics", "example_id", "task")
    rest = {k: v for k, v in row.items() if k not in told}
    task = row.get("example_id", row.get("task"))
    return {
        **rest,
        "task_id": as_name(task),
        "dataset": as_name(row.get("task")) if "example_id" in row else None,
        "messages": [*messages(row.get("prompt")), *messages(row.get("completion"))],
        "metadata": {**mapping(row.get("info")), **mapping(row.get("metrics"))},
    }


def _register(
    name: str, title: str, is_one: Callable[[Row], bool], plain: Callable[[Row], dict[str, Any]], rank: int = 55
) -> None:
    def detect(head: Head) -> Confidence | None:
        return "likely" if any(isinstance(r, dict) and is_one(r) for r in _listed(head)[:3]) else None

    def share(source: Source) -> dict[str, Any]:
        if source.head.is_jsonl or source.head.size > STREAM_ABOVE or not isinstance(source.head.doc, dict):
            return {}
        value = mapping(source.document())
        return shares(source, _request(plain(value), Record(value), 0)) if is_one(value) else {}

    @reader(name, title=title, rank=rank, detect=detect, shares=share)
    def read(source: Source) -> Iterator[Trace]:
        yield from _read(source, name, is_one, plain)


def _listed(head: Head) -> list[Any]:
    """The records of a file; of an API's page what it lists."""
    held = head.first.get("data") or head.first.get("results")
    return held if isinstance(held, list) and not head.is_jsonl else head.records


def _records(source: Source) -> Iterator[Record]:
    key = next((k for k in ("data", "results") if isinstance(source.head.first.get(k), list)), None)
    yield from source.records(None if source.head.is_jsonl else key)


def _read(
    source: Source, name: str, is_one: Callable[[Row], bool], plain: Callable[[Row], dict[str, Any]]
) -> Iterator[Trace]:
    log = log_of(source)
    for index, record in enumerate(source.joined(_records)):
        value = record.value
        request = next(source.attempt(record, _plainly, value, plain, record, index), None)
        if request is None or not (request.messages or request.answer):
            source.n_bad += 1
            source.issue("not_a_request", f"a record is no {name} request: {str(value)[:80]!r}", offset=record.offset)
        else:
            for conversation in log.add(request, apart="reward" in value):
                yield _trace(source, conversation, name)
    if log.n_folded:
        source.issue("history_folded", "requests that repeat an earlier conversation", severity="info", n=log.n_folded)
    for conversation in log.rest():
        yield _trace(source, conversation, name)


def _trace(source: Source, conversation: Conversation, name: str) -> Trace:
    t = conversation_trace(source, conversation, name)
    expected = t.metadata.pop("answer", None) or t.extra.pop("answer", None)
    if expected is not None and "reward" in conversation.value:
        t.expect("answer", value=as_text(expected))
    return t


def _plainly(value: Any, plain: Callable[[Row], dict[str, Any]], record: Record, index: int) -> Request:
    return _request(plain(mapping(value)), record, index)


def _request(value: dict[str, Any], record: Record, index: int) -> Request:
    choices = mappings(mapping(value.get("response")).get("choices"))
    answer = [mapping(c.get("message")) for c in choices[:1]]
    return Request(value["messages"], answer, {k: v for k, v in value.items() if v is not None}, record, index)


_register("helicone", "Helicone request exports", _is_helicone, _helicone)
_register("portkey", "Portkey log exports", _is_portkey, _portkey)
_register("dspy", "DSPy `lm.history`", _is_dspy, _dspy)
_register("bedrock", "Amazon Bedrock Converse messages and invocation logs", _is_bedrock, _bedrock)
_register("gemini_api", "Gemini API requests and AI Studio prompts", _is_gemini, _gemini, 21)
_register("cohere", "Cohere chat histories", _is_cohere, _cohere)
_register("rollouts", "rollouts of prompt and completion (verifiers, TRL)", _is_rollout, _rollout)
