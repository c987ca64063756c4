"""What went into a model call and what came out of it, in any provider's shape, as chat messages.

Platforms store the request and the response of a call as the framework gave them: JSON in text (sometimes twice), OpenAI,
Responses, Anthropic, Gemini, LangChain, Vercel or OpenTelemetry messages, or bare text. `messages` gives messages that
`chat.add_messages` takes: role, content, reasoning_content, tool_calls, tool_call_id, name, error. A message that holds several
tool results becomes several messages. What has no known shape becomes one message with its JSON as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from insights.corpus.formats import python_repr
from insights.corpus.formats.langchain_messages import TYPES, plain
from insights.corpus.parse import Unparseable, loads, mapping, mappings, sequence, word
from insights.corpus.trace import as_json, as_name, as_text

ROLES = {
    **TYPES,
    "model": "assistant",
    "assistant": "assistant",
    "bot": "assistant",
    "user": "user",
    "tool_response": "tool",
    "toolResult": "tool",
}
SYSTEM = ("system", "system_instruction", "systemInstruction", "system_instructions", "instructions", "system_prompt")
INNER = ("messages", "contents", "choices", "candidates", "generations", "message", "history", "chat_history")
OUTER = (
    "output",
    "input",
    "prompt",
    "response",
    "inputs",
    "outputs",
    "value",
    "text",
    "content",
    "result",
    "completion",
)
IS_TEXT = {"text", "input_text", "output_text", "refusal", "summary_text"}
IS_THOUGHT = {"thinking", "reasoning", "thought", "reasoning_content", "think"}
IS_CALL = {"tool_use", "tool_call", "tool-call", "function_call", "functionCall", "server_tool_use", "custom_tool_call"}
IS_RESULT = {"tool_result", "tool-result", "tool_call_response", "function_call_output", "functionResponse",
             "function_response", "custom_tool_call_output", "function_result"}  # fmt: skip
OF_GENERATION = {"text", "generation_info", "message", "type"}  # keys of LangChain's answers
OF_BEDROCK = {"toolUse", "toolResult", "reasoningContent"}
OF_VERCEL = ("dynamic-tool", "tool-invocation")  # and `tool-` with the name of the tool
DOTNET = {"TextContent": "text", "TextReasoningContent": "reasoning", "ReasoningContent": "reasoning",
          "FunctionCallContent": "function_call", "FunctionResultContent": "function_result",
          "functionResult": "function_result"}  # fmt: skip
DEEPEST = 12  # unit: levels of holders within holders; a payload is never deeper


def decoded(value: Any) -> Any:
    """JSON in text as its value, also where it was encoded twice; other text as it is."""
    for _ in range(3):
        if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
            return value
        try:
            value = loads(value.encode("utf-8", "replace"))[0]
        except Unparseable:
            return value
    return value


def messages(value: Any, role: str = "user", depth: int = 0) -> list[dict[str, Any]]:
    """Chat messages of a payload; `role` is who speaks where the payload does not say."""
    value = decoded(value)
    if value is None or value == "" or value == [] or value == {}:
        return []
    if isinstance(value, dict):
        found = list(_of_object(value, role, depth)) if depth < DEEPEST else []
        told = any(value.get(k) for k in INNER)  # holders that hold nothing to show
        return found if found or told else [{"role": role, "content": as_json(value)}]
    if isinstance(value, list):
        return list(_of_list(value, role, depth)) if depth < DEEPEST else [{"role": role, "content": as_json(value)}]
    written = python_repr.message(value) if isinstance(value, str) else None
    return list(_message(written)) if written is not None else [{"role": role, "content": as_text(value)}]


def _of_list(items: list[Any], role: str, depth: int) -> Iterator[dict[str, Any]]:
    first = next((decoded(i) for i in items if i is not None), None)
    items = [i for i in items if not _is_definition(i)]
    if not items:
        return
    if isinstance(first, str) and python_repr.message(first) is not None:
        for item in items:
            yield from messages(item, role, depth + 1)
    elif all(isinstance(i, str) for i in items) and not isinstance(first, dict):
        yield {"role": role, "content": "\n".join(items)}
    elif isinstance(first, dict) and _is_block(first):
        yield from _message({"role": role, "content": [decoded(i) for i in items]})
    elif isinstance(first, dict) and not _is_known(first) and not ("text" in first and first.keys() <= OF_GENERATION):
        yield {"role": role, "content": as_json(items)}
    else:
        for item in items:
            yield from messages(item, role, depth + 1)


def _is_definition(value: Any) -> bool:
    """Whether a message tells only which tools there are, as Langfuse's own callback writes them, or only its class."""
    row = mapping(value)
    if row.get("type") == "constructor" and row.keys() <= {"lc", "type", "id"}:
        return True
    content = mapping(row.get("content"))
    return row.get("role") == "tool" and content.get("type") == "function" and "function" in content


def _is_known(value: Mapping[str, Any]) -> bool:
    if isinstance(value.get("content"), dict):  # a candidate of Gemini
        return True
    return _is_message(value) or any(k in value for k in (*INNER, "event.name")) or _is_item(value)


def _is_message(value: Mapping[str, Any]) -> bool:
    if plain(value) is not None or value.get("lc") == 1:
        return True
    speaks = isinstance(value.get("role"), str)
    return speaks and bool(
        {"content", "parts", "contents", "tool_calls", "text", "function_call", "toolCalls"} & value.keys()
    )


def _is_item(value: Mapping[str, Any]) -> bool:
    """An item of OpenAI's Responses or of a flat log: a call, a result or a thought on its own."""
    return "role" not in value and word(value.get("type")) in IS_CALL | IS_RESULT | {"message", "reasoning"}


def _kind(block: Mapping[str, Any]) -> str:
    """The type of a content block; of .NET's long names what they stand for."""
    kind = word(block.get("type")) or word(block.get("$type"))
    return DOTNET.get(kind.rsplit(".", 1)[-1], kind)


def _is_vercel(kind: str) -> bool:
    return kind in OF_VERCEL or (kind.startswith("tool-") and kind not in IS_CALL | IS_RESULT)


def _is_block(value: Mapping[str, Any]) -> bool:
    kind = _kind(value)
    if "role" in value or "call_id" in value:
        return False
    if {"toolCallId", "toolName"} <= value.keys():
        return True
    if {"functionCall", "functionResponse", "function_call", "function_response", *OF_BEDROCK} & value.keys():
        return True
    return kind in IS_TEXT | IS_THOUGHT | IS_CALL | IS_RESULT and "data" not in value


def _of_object(value: dict[str, Any], role: str, depth: int) -> Iterator[dict[str, Any]]:
    event = word(value.get("event.name"))
    if event.startswith("gen_ai."):
        inner = decoded(value.get("message")) if event == "gen_ai.choice" else value
        named = {"choice": "assistant"}.get(event.removeprefix("gen_ai."), event.split(".")[1])
        yield from _message({"role": ROLES.get(named, named), **mapping(inner)})
        return
    if _is_message(value):
        yield from _message(value)
        return
    if _is_item(value) and word(value.get("type")) != "message":
        asked = word(value.get("type")) in IS_CALL | {"reasoning"}
        yield from _message({"role": "assistant" if asked else role, "content": [value]})
        return
    if isinstance(value.get("content"), dict) and "role" not in value:
        yield from messages({"role": role, **value["content"]}, role, depth + 1)
        return
    for key in SYSTEM if role != "assistant" else ():
        said = value.get(key) or mapping(value.get("config")).get(key)
        if said and any(k in value for k in (*INNER, *OUTER)):
            yield from ({**m, "role": "system"} for m in messages(said, "system", depth + 1))
            break
    for key in (*INNER, *OUTER):
        if value.get(key) not in (None, "", [], {}) and not _is_definition(value[key]):
            answering = key in ("choices", "candidates", "generations", "completion", "response", "outputs", "output")
            yield from _held(value, key, "assistant" if answering and depth == 0 else role, depth)
            return


def _held(value: dict[str, Any], key: str, role: str, depth: int) -> Iterator[dict[str, Any]]:
    """What stands under a key that holds messages; calls told beside a text belong to that text."""
    found = messages(value[key], role, depth + 1)
    calls = value.get("tool_calls") or value.get("toolCalls")
    if calls and found and key in (*OUTER, "message") and not found[-1].get("tool_calls"):
        found[-1] = {**found[-1], "tool_calls": [_call(c) for c in mappings(decoded(calls))]}
    reason = value.get("finish_reason") or mapping(value.get("generation_info")).get("finish_reason")
    if reason and found:
        found[-1] = {**found[-1], "finish_reason": as_name(reason)}
    yield from found


def _message(m: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    m = plain(m) or m
    said = word(m.get("role")) or word(m.get("type"))
    role = ROLES.get(said, said or "user")
    extra = mapping(m.get("additional_kwargs"))
    calls = decoded(m.get("tool_calls")) or decoded(m.get("toolCalls")) or extra.get("tool_calls")
    out: dict[str, Any] = {"role": role, "tool_calls": [_call(c) for c in mappings(calls)]}
    if isinstance(m.get("function_call"), dict) and not out["tool_calls"]:
        out["tool_calls"] = [_call(m["function_call"])]
    texts: list[str] = []
    rest: list[Any] = []
    thoughts = [as_text(m[k]) or "" for k in ("reasoning_content", "reasoning", "thinking", "tool_plan") if m.get(k)]
    results: list[dict[str, Any]] = []
    content = next((m[k] for k in ("parts", "contents") if isinstance(m.get(k), list)), m.get("content", m.get("text")))
    if isinstance(m.get("toolInvocations"), list) and not isinstance(m.get("parts"), list):
        content = [content, *({"type": "tool-invocation", "toolInvocation": i} for i in mappings(m["toolInvocations"]))]
    _content(content, out, texts, thoughts, rest, results)
    if role not in ROLES.values() and role not in ("system", "developer", "tool"):
        out["role"], out["name"] = ("tool", role) if m.get("tool_call_id") else ("user", role)
    if m.get("name"):
        out["name"] = as_name(m["name"])
    if role == "tool" and m.get("tool_call_id"):
        out["tool_call_id"] = as_name(m["tool_call_id"])
    if role == "tool" and m.get("status") == "error":
        out["error"] = True
    out["content"] = [*texts, *rest] if rest else "\n".join(texts) if texts else None
    if thoughts:
        out["reasoning_content"] = "\n".join(thoughts)
    if m.get("finish_reason"):
        out["finish_reason"] = as_name(m["finish_reason"])
    if texts or rest or out["tool_calls"] or thoughts or not results:
        yield out
    yield from results


def _content(
    content: Any,
    out: dict[str, Any],
    texts: list[str],
    thoughts: list[str],
    rest: list[Any],
    results: list[dict[str, Any]],
) -> None:
    if isinstance(content, dict) and isinstance(content.get("parts"), list):
        content = content["parts"]
    if isinstance(content, str) and content.lstrip()[:2] in ("[{", "[ {"):
        blocks = decoded(content)
        content = blocks if isinstance(blocks, list) and blocks and all(map(_is_block, mappings(blocks))) else content
    for block in content if isinstance(content, list) else [] if content is None else [content]:
        kind = _kind(mapping(block))
        if isinstance(block, dict) and "." in word(block.get("type")) and isinstance(block.get("content"), dict):
            block = {**block["content"], "type": kind}
        if not isinstance(block, dict):
            texts.append(as_text(block) or "")
        elif _is_vercel(kind):
            _vercel(block, kind, out, results)
        elif "reasoningContent" in block:
            thoughts.append(as_text(mapping(mapping(block["reasoningContent"]).get("reasoningText")).get("text")) or "")
        elif {"toolCallId", "toolName"} <= block.keys() and kind not in IS_RESULT and "result" not in block:
            out["tool_calls"].append(_call(block))
        elif kind in IS_CALL or {"functionCall", "function_call", "toolUse"} & block.keys():
            held = next((block[k] for k in ("functionCall", "function_call", "toolUse") if block.get(k)), block)
            out["tool_calls"].append(_call(held))
        elif kind in IS_RESULT or {"functionResponse", "function_response", "toolResult"} & block.keys():
            held = next(
                (block[k] for k in ("functionResponse", "function_response", "toolResult") if block.get(k)), block
            )
            results.append(_result(mapping(held)))
        elif kind in IS_THOUGHT or block.get("thought") is True:
            thoughts.append(_thought(block))
        elif isinstance(block.get("text", block.get("Text")), str):
            texts.append(block.get("text") or block.get("Text") or "")
        elif kind in IS_TEXT and isinstance(block.get("content"), str):
            texts.append(block["content"])
        elif kind != "step-start":
            rest.append(block)


def _vercel(block: Mapping[str, Any], kind: str, out: dict[str, Any], results: list[dict[str, Any]]) -> None:
    """A part of Vercel's UI messages that holds a call with, once it is there, its result."""
    held = mapping(block.get("toolInvocation")) or block
    name = held.get("toolName") or kind.removeprefix("tool-")
    id = as_name(held.get("toolCallId"))
    args = next((held[k] for k in ("input", "args", "rawInput") if held.get(k) is not None), None)
    out["tool_calls"].append({"id": id, "function": {"name": name, "arguments": args}})
    failed = held.get("errorText")
    said = failed if failed is not None else held.get("output", held.get("result"))
    if said is not None or held.get("state") in ("result", "output-available", "output-error"):
        done = {"role": "tool", "content": as_text(said), "tool_call_id": id, "name": as_name(name)}
        results.append({**done, "error": True} if failed is not None else done)


def _thought(block: Mapping[str, Any]) -> str:
    for key in ("thinking", "reasoning", "content", "text", "Text", "thought", "think"):
        if isinstance(block.get(key), str):
            return str(block[key])
    return "\n".join(str(s.get("text") or "") for s in mappings(block.get("summary")))


def _call(value: Any) -> dict[str, Any]:
    call = mapping(value)
    inner = call.get("function")
    function = inner if isinstance(inner, dict) else {**call, "name": inner} if isinstance(inner, str) else call
    name = function.get("name", function.get("toolName", function.get("tool_name")))
    if name is None and function.get("FunctionName"):  # Semantic Kernel
        name = "-".join(x for x in map(as_name, (function.get("PluginName"), function["FunctionName"])) if x)
    keys = ("arguments", "args", "input", "parameters", "Arguments")
    args = next((function[k] for k in keys if function.get(k) is not None), None)
    id = (
        call.get("call_id")
        or call.get("callId")
        or call.get("id")
        or call.get("toolCallId")
        or call.get("tool_call_id")
        or call.get("toolUseId")
        or call.get("Id")
    )
    return {"id": as_name(decoded_id(id)), "function": {"name": name, "arguments": args}}


def decoded_id(id: Any) -> Any:
    """The id of a call; frameworks on the Responses API write both of its ids as `["call_…", "fc_…"]`."""
    value = decoded(id)
    return value[0] if isinstance(value, list) and value and isinstance(value[0], str) else id


def _result(block: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("output", "response", "result", "content", "Result")
    held = next((block[k] for k in keys if block.get(k) is not None), None)
    if isinstance(held, dict) and set(held) <= {"type", "value"} and "value" in held:
        held = held["value"]
    told = block.get("response")
    raised = isinstance(told, dict) and set(told) == {"error"}
    if (
        held is told and isinstance(told, dict) and len(told) == 1 and set(told) <= {"result", "output", "error"}
    ):  # Gemini's
        held = next(iter(told.values()))
    if isinstance(held, list) and len(held) == 1 and set(mapping(held[0])) == {"json"}:
        held = held[0]["json"]
    if isinstance(held, list) and mappings(held) and all(isinstance(b.get("text"), str) for b in mappings(held)):
        held = "\n".join(b["text"] for b in mappings(held))
    id = next(
        (
            block[k]
            for k in ("tool_use_id", "call_id", "callId", "toolCallId", "tool_call_id", "toolUseId", "CallId", "id")
            if block.get(k)
        ),
        None,
    )
    failed = block.get("is_error") is True or block.get("isError") is True or block.get("status") == "error"
    name = block.get("name") or block.get("toolName")
    out = {"role": "tool", "content": as_text(held), "tool_call_id": as_name(decoded_id(id)), "name": as_name(name)}
    return {**out, "error": True} if failed or raised else out


def tools_of(value: Any) -> Any:
    """The definitions of tools that a payload holds beside its messages; None where there are none."""
    value = decoded(value)
    if isinstance(value, list):
        return [
            mapping(m.get("content")) for m in mappings(value) if m.get("role") == "tool" and _is_definition(m)
        ] or None
    held = mapping(value)
    for holder in (held, *(mapping(held.get(k)) for k in ("kwargs", "config", "invocation_params", "parameters"))):
        found = next((decoded(holder[k]) for k in ("tools", "functions") if holder.get(k)), None)
        if isinstance(found, (list, dict)):
            return found
    return tools_of(held["messages"]) if isinstance(held.get("messages"), list) else None


def key(m: Mapping[str, Any]) -> tuple[str, str, str]:
    """What makes two messages the same: who, what is said, what is called."""
    content = m.get("content")
    text = content if isinstance(content, str) else as_json(content) or ""
    calls = [(mapping(c.get("function")).get("name"), decoded(mapping(c.get("function")).get("arguments"))) for c in
             mappings(m.get("tool_calls"))]  # fmt: skip
    return str(m.get("role")), text.strip(), orjson.dumps(calls, default=str).decode() if calls else ""


def arguments(value: Any) -> Any:
    """The arguments of a tool span: what is wrapped in `input_str`, `kwargs`, `inputs` or `input` alone is taken out."""
    value = decoded(value)
    if isinstance(value, dict):
        if set(value) <= {"args", "kwargs"} and isinstance(value.get("kwargs"), dict):
            return value["kwargs"] if value["kwargs"] or not value.get("args") else {"args": sequence(value["args"])}
        for only in ("inputs", "input", "input_str"):
            if set(value) == {only}:
                return decoded(value[only])
    return value
