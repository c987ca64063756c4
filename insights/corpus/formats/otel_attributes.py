"""Attributes of OpenTelemetry spans in every vocabulary for agents, as fields of a `Span`.

Vocabularies: gen_ai (current and up to 1.36, with its events), OpenInference, Traceloop, Claude Code's own, Vercel's `ai.*`,
Google ADK, Logfire / Pydantic AI, MLflow, Langfuse. Several may stand on one span: what tells messages apart comes before what only
holds a value, as in Langfuse's own order. Cached tokens are part of the input everywhere but in Claude Code's spans,
where they are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from insights.corpus.formats.payload import decoded, messages
from insights.corpus.formats.spans import Message, Span
from insights.corpus.parse import mapping, mappings, number, sequence, word
from insights.corpus.trace import as_name, as_text

KINDS = {
    "agent": "agent", "llm": "llm", "tool": "tool", "chain": "chain", "retriever": "retriever", "embedding": "embedding",
    "reranker": "reranker", "guardrail": "guardrail", "evaluator": "evaluator", "workflow": "workflow", "task": "chain",
    "generation": "llm", "chat_model": "llm", "span": "chain", "interaction": "agent", "llm_request": "llm", "chat": "llm",
    "generate_content": "llm", "text_completion": "llm", "embeddings": "embedding", "retrieval": "retriever",
    "execute_tool": "tool", "invoke_agent": "agent", "create_agent": "other", "invoke_workflow": "workflow", "plan": "chain",
    "function": "tool", "completion": "llm", "rerank": "reranker", "parser": "chain", "memory": "other", "event": "other",
}  # fmt: skip
NATIVE = (
    ("openinference", "openinference.span.kind"),
    ("mlflow", "mlflow.spanType"),
    ("langfuse", "langfuse.observation.type"),
    ("traceloop", "traceloop.span.kind"),
    ("gen_ai", "gen_ai.operation.name"),
    ("claude_code", "span.type"),
    ("traceloop", "llm.request.type"),
)
LISTS = ("gen_ai.input.messages", "llm.input_messages", "gen_ai.prompt", "ai.prompt.messages", "ai.prompt",
         "gcp.vertex.agent.llm_request", "all_messages_events", "pydantic_ai.all_messages", "langfuse.observation.input",
         "mlflow.spanInputs", "input.value", "traceloop.entity.input", "user_prompt", "lk.input_text",
         "gen_ai.content.prompt")  # fmt: skip
ANSWERS = ("gen_ai.output.messages", "llm.output_messages", "gen_ai.completion", "gcp.vertex.agent.llm_response",
           "langfuse.observation.output", "mlflow.spanOutputs", "output.value", "traceloop.entity.output", "ai.response.text",
           "gen_ai.content.completion", "final_result")  # fmt: skip
TELL_APART = {"gen_ai.input.messages", "llm.input_messages", "gen_ai.prompt", "gen_ai.output.messages", "llm.output_messages",
              "gen_ai.completion"}  # fmt: skip
TOOL_IN = ("gen_ai.tool.call.arguments", "ai.toolCall.args", "gcp.vertex.agent.tool_call_args", "tool_arguments", "input.value",
           "mlflow.spanInputs", "traceloop.entity.input", "langfuse.observation.input", "tool.parameters", "full_command",
           "file_path", "tool_input", "input")  # fmt: skip
TOOL_OUT = ("gen_ai.tool.call.result", "ai.toolCall.result", "gcp.vertex.agent.tool_response", "tool_response", "output.value",
            "mlflow.spanOutputs", "traceloop.entity.output", "langfuse.observation.output", "output")  # fmt: skip
TOKENS = {
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt",
                     "ai.usage.promptTokens", "ai.usage.inputTokens"),
    "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion",
                      "ai.usage.completionTokens", "ai.usage.outputTokens"),
    "cache_read_tokens": ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
                          "llm.token_count.prompt_details.cache_read", "ai.usage.cachedInputTokens"),
    "cache_write_tokens": ("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens",
                           "llm.token_count.prompt_details.cache_write"),
    "reasoning_tokens": ("gen_ai.usage.reasoning.output_tokens", "llm.token_count.completion_details.reasoning",
                         "ai.usage.reasoningTokens"),
}  # fmt: skip
SESSION = ("gen_ai.conversation.id", "session.id", "traceloop.association.properties.session_id", "langfuse.session.id",
           "langfuse.trace.session_id", "thread.id", "mlflow.trace.session", "ai.telemetry.metadata.sessionId")  # fmt: skip
MODEL = ("gen_ai.response.model", "llm.response.model_name", "llm.model_name", "ai.response.model", "langfuse.observation.model.name",
         "mlflow.chat.model", "model")  # fmt: skip
REQUESTED = ("gen_ai.request.model", "llm.request.model_name", "ai.model.id", "llm.model_name")
TOOLS = ("gen_ai.tool.definitions", "llm.tools", "ai.prompt.tools", "mlflow.chat.tools", "llm.request.functions", "gen_ai.request.tools",
         "tools")  # fmt: skip
TEXTUAL = {*LISTS, *ANSWERS, *TOOL_IN, *TOOL_OUT, "gen_ai.system_instructions", *TOOLS}


def unflatten(value: Any) -> Any:
    """Dotted keys as objects, objects whose keys are all numbers as lists in the order of the numbers."""
    if isinstance(value, list):
        return [unflatten(v) for v in value]
    if not isinstance(value, Mapping):
        return value
    tree: dict[str, Any] = {}
    for key, inner in value.items():
        parts = str(key).split(".")
        at = tree
        for part in parts[:-1]:
            below = at.get(part)
            if not isinstance(below, dict):
                below = at[part] = {} if below is None else {"": below}
            at = below
        inner, held = unflatten(inner), at.get(parts[-1])
        if isinstance(held, dict):
            held.update(inner) if isinstance(inner, dict) else held.setdefault("", inner)
        else:
            at[parts[-1]] = inner
    return _lists(tree)


def _lists(tree: dict[str, Any]) -> Any:
    done = {k: _lists(v) if isinstance(v, dict) else v for k, v in tree.items()}
    if done and all(k.isdecimal() for k in done):
        return [done[k] for k in sorted(done, key=int)]
    return done


@cache
def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def at(tree: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    for part in _parts(path):
        if type(tree) is not dict:
            return None
        tree = tree.get(part)
    return tree


def leaf(tree: Any, path: str) -> Any:
    value = at(tree, path)
    return value.get("") if isinstance(value, dict) else value


def first(tree: Any, paths: tuple[str, ...]) -> Any:
    """The first value that holds something of those at the paths."""
    for path in paths:
        value = leaf(tree, path)
        if value is not None and value != "" and value != [] and value != {}:
            return value
    return None


def fill(span: Span, flat: Mapping[str, Any], events: list[dict[str, Any]]) -> Any:
    """Fill a span from its attributes and events; returns the tree of its attributes."""
    tree = unflatten(flat)
    tree = tree if isinstance(tree, dict) else {}
    span.convention, span.native_kind, span.kind = _kind(span, tree, flat)
    if span.kind == "tool":
        _tool(span, tree, events)
    else:
        _said(span, tree, events)
    span.agent = as_name(
        first(tree, ("gen_ai.agent.name", "agent.name", "inference.agent_name", "sdk.data.agent_name"))
    )
    if span.convention == "claude_code" and span.kind == "agent":
        span.agent = "claude-code"
    if span.kind not in ("agent", "llm", "tool"):
        span.agent = None
    requested, answered = first(tree, REQUESTED), first(tree, MODEL)
    span.model_requested, span.model = as_name(requested), as_name(answered)
    span.provider = as_name(first(tree, ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")))
    span.response_id = as_name(first(tree, ("gen_ai.response.id", "llm.response.id", "ai.response.id")))
    span.tools = _offered(tree)
    _numbers(span, tree)
    reasons = at(tree, "gen_ai.response.finish_reasons")
    reason = sequence(decoded(reasons))[:1] or [first(tree, ("llm.finish_reason", "ai.response.finishReason"))]
    span.finish = as_name(reason[0])
    _errors(span, tree, events)
    span.attributes = {k: v for k, v in flat.items() if not _is_text(k)}
    return tree


def _is_text(key: str) -> bool:
    messages = (
        "llm.input_messages",
        "llm.output_messages",
        "gen_ai.prompt.",
        "gen_ai.completion.",
        "llm.tools.",
        "llm.request.functions.",
    )
    return key in TEXTUAL or key.startswith(messages)


def _kind(span: Span, tree: Any, flat: Mapping[str, Any]) -> tuple[str, str, str]:
    for convention, path in NATIVE:
        native = decoded(leaf(tree, path))
        if isinstance(native, str) and native:
            kind = KINDS.get(native.lower().removeprefix("claude_code."), "other")
            if convention == "openinference" and kind == "chain" and _is_call(tree):
                kind = "llm"
            return convention, native, kind
    operation = word(leaf(tree, "ai.operationId"))
    if operation:
        inner = operation.rsplit(".", 1)[-1]
        kind = "llm" if inner.startswith("do") else "tool" if inner == "toolCall" else "chain"
        return "vercel_ai", operation, kind
    if isinstance(at(tree, "gen_ai.tool"), dict) and leaf(tree, "gen_ai.tool.name"):
        return "gen_ai", "", "tool"
    if _is_call(tree):
        spoken = any(k.startswith(("gen_ai.prompt.", "gen_ai.completion.")) for k in flat)
        return "traceloop" if spoken else "gen_ai", "", "llm"
    prefix = span.name.split(" ", 1)[0]
    known = KINDS.get(prefix) if prefix in ("chat", "execute_tool", "invoke_agent", "embeddings") else None
    return ("gen_ai" if known else "otel"), "", known or "other"


def _is_call(tree: Any) -> bool:
    asked = first(tree, ("gen_ai.request.model", "llm.model_name", "gen_ai.response.model"))
    told = any(
        at(tree, p) is not None for p in ("gen_ai.prompt", "gen_ai.completion", "llm.input_messages", "gen_ai.usage")
    )
    return bool(asked) and (told or first(tree, TOKENS["input_tokens"]) is not None)


def _tool(span: Span, tree: Any, events: list[dict[str, Any]]) -> None:
    names = ("gen_ai.tool.name", "tool.name", "tool_name", "ai.toolCall.name", "traceloop.entity.name")
    span.tool = as_name(first(tree, names))
    span.call_id = as_name(
        first(tree, ("gen_ai.tool.call.id", "tool_call.id", "ai.toolCall.id", "tool_use_id", "tool.id"))
    )
    span.input, span.output = first(tree, TOOL_IN), first(tree, TOOL_OUT)
    _exchanged(span, tree, events)
    if span.convention == "claude_code":
        args = {k: leaf(tree, k) for k in ("full_command", "file_path", "tool_input", "pattern") if leaf(tree, k)}
        span.input = args or None
        out = [mapping(e.get("attributes")) for e in events if e.get("name") == "tool.output"]
        texts = [as_text(a.get("content") or a.get("output") or a.get("result") or a) for a in out]
        span.output = "\n".join(x for x in texts if x) or span.output
        own = out[0].get("file_path") if out else None
        span.input = span.input or ({"file_path": own} if own else None)


def _exchanged(span: Span, tree: Any, events: list[dict[str, Any]]) -> None:
    """What a tool was given and gave back where a span tells it as messages, as Strands does; its status."""
    given, said = _events(events)
    given += messages(first(tree, ("gen_ai.input.messages", "gen_ai.prompt")), "tool")
    said += messages(first(tree, ("gen_ai.output.messages", "gen_ai.completion")), "tool")
    if span.input is None and given:
        asked = next((c for m in given for c in mappings(m.get("tool_calls"))), None)
        span.input = mapping(asked.get("function")).get("arguments") if asked else given[0].get("content")
    answer = next((m for m in said if m.get("role") == "tool"), said[0] if said else None)
    if span.output is None and answer is not None:
        span.output = answer.get("content")
    if span.failed is None and (word(leaf(tree, "gen_ai.tool.status")) == "error" or (answer or {}).get("error")):
        span.failed = True


def _said(span: Span, tree: Any, events: list[dict[str, Any]]) -> None:
    """Messages that the vocabulary tells apart go to `given` and `said`; anything else stays a value."""
    given, said = _events(events)
    system = first(tree, ("gen_ai.system_instructions", "gen_ai.system_instruction", "system_prompt"))
    for paths, found, role in ((LISTS, given, "user"), (ANSWERS, said, "assistant")):
        for path in () if found else paths:
            value = at(tree, path)
            if value in (None, "", [], {}):
                continue
            if path in TELL_APART and not (isinstance(value, dict) and set(value) == {""}):
                found += _listed(value, role)
            else:
                setattr(span, "input" if role == "user" else "output", leaf(tree, path))
            break
    if at(tree, "ai.response.toolCalls") and not said:
        said += messages({"text": first(tree, ("ai.response.text",)) or "", "tool_calls": at(tree, "ai.response.toolCalls"),
                          "role": "assistant"}, "assistant")  # fmt: skip
    if system and not any(m.get("role") == "system" for m in given):
        inner = messages(system, "system") if given or span.kind == "llm" else []
        given[:0] = [{**m, "role": "system"} for m in inner]
        if not given[len(inner) :] and span.input is not None:
            given += messages(span.input, "user")
    if span.kind == "llm" or span.convention == "claude_code":
        span.given = given or (messages(span.input, "user") if span.kind != "llm" and span.input else None)
        span.said = said or None
    elif given and span.input is None:
        span.input = given
    if span.kind != "llm" and said and span.output is None:
        span.output = said


def _listed(value: Any, role: str) -> list[Message]:
    """Messages of gen_ai or Traceloop, or of OpenInference with its own wrappers."""
    found: list[Message] = []
    for item in sequence(decoded(value)) or [decoded(value)]:
        inner = mapping(item).get("message")
        found += _openinference(mapping(inner)) if isinstance(inner, dict) else messages(item, role)
    return found


def _openinference(m: Mapping[str, Any]) -> list[Message]:
    blocks = [mapping(b.get("message_content")) for b in mappings(m.get("contents"))]
    content = m.get("content") if m.get("content") not in (None, "") else blocks or None
    calls = [mapping(c.get("tool_call")) for c in mappings(m.get("tool_calls"))]
    legacy = {"name": m.get("function_call_name"), "arguments": m.get("function_call_arguments_json")}
    shaped = {k: m[k] for k in ("role", "name", "tool_call_id") if m.get(k)}
    return messages(
        {"role": "assistant", **shaped, "content": content, "tool_calls": calls or ([legacy] if legacy["name"] else [])}
    )


def _events(events: list[dict[str, Any]]) -> tuple[list[Message], list[Message]]:
    """Messages of span events in the older gen_ai vocabulary, and of the event that carries the current one."""
    given: list[Message] = []
    said: list[Message] = []
    for e in events:
        name, a = word(e.get("name")), mapping(e.get("attributes"))
        body = {**mapping(decoded(a.get("event.body") or a.get("body"))), **a}
        if name == "gen_ai.client.inference.operation.details":
            system = messages(a.get("gen_ai.system_instructions"), "system")
            given += [{**m, "role": "system"} for m in system] + messages(a.get("gen_ai.input.messages"), "user")
            said += messages(a.get("gen_ai.output.messages"), "assistant")
        elif name == "gen_ai.choice":
            found = messages({"event.name": name, "message": body.get("message", {"content": body.get("content")})})
            said += [{**m, "role": "assistant", "finish_reason": as_name(body.get("finish_reason"))} for m in found]
        elif name == "gen_ai.content.prompt":
            given += messages(a.get("gen_ai.prompt"), "user")
        elif name == "gen_ai.content.completion":
            said += messages(a.get("gen_ai.completion"), "assistant")
        elif name.startswith("gen_ai.") and name.endswith(".message"):
            kept = {k: decoded(body[k]) for k in ("tool_calls",) if body.get(k)}
            id = body.get("tool_call_id") or body.get("id")
            given += messages({"event.name": name, "content": body.get("content"), "tool_call_id": id, **kept})
    return given, said


def _offered(tree: Any) -> Any:
    """The definitions of the tools a call was offered; each may be JSON in text."""
    found = decoded(first(tree, TOOLS))
    listed = [decoded(mapping(mapping(f).get("tool")).get("json_schema", f)) for f in sequence(found)]
    return listed or found


def _numbers(span: Span, tree: Any) -> None:
    usage = {}
    for column, paths in TOKENS.items():
        value = _number(first(tree, paths))
        if value is not None:
            usage[column] = int(value)
    if span.convention == "claude_code" and span.kind == "llm":
        read, write = (_number(leaf(tree, k)) for k in ("cache_read_tokens", "cache_creation_tokens"))
        bare, out = _number(leaf(tree, "input_tokens")), _number(leaf(tree, "output_tokens"))
        counts = {"cache_read_tokens": read, "cache_write_tokens": write, "output_tokens": out}
        usage = {k: int(v) for k, v in counts.items() if v is not None}
        if bare is not None:
            usage["input_tokens"] = int(bare + (read or 0) + (write or 0))
        span.ttft_ms = _number(leaf(tree, "ttft_ms"))
        if leaf(tree, "success") is False:
            span.failed = True
    span.usage = usage
    costs = ("gen_ai.usage.cost", "llm.cost.total", "inference.llm.cost.total", "cost_usd")
    span.cost = _number(first(tree, costs))
    params = mapping(at(tree, "gen_ai.request"))
    told = {k: v for k, v in params.items() if k != "model" and not isinstance(v, (dict, list))}
    span.params = told or mapping(decoded(first(tree, ("llm.invocation_parameters",)))) or None


def _number(value: Any) -> float | None:
    """A number, also where it stands as text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    value = number(value)
    return value if value is not None and abs(value) < 1e15 else None


def _errors(span: Span, tree: Any, events: list[dict[str, Any]]) -> None:
    raised = next((mapping(e.get("attributes")) for e in events if e.get("name") == "exception"), {})
    span.error_type = as_name(first(tree, ("error.type",)) or raised.get("exception.type"))
    if span.error_type is not None and span.failed is None and raised:
        span.failed = True
    span.error = as_text(span.error or raised.get("exception.message") or leaf(tree, "error"))
