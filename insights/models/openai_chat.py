"""Chat completions: what vLLM, Ollama, LiteLLM, OpenRouter and their like speak, through OpenAI's SDK."""

from __future__ import annotations

import json
import logging
from typing import Any

from insights.models.messages import Call, Message, Reply, Request, Stop, Usage
from insights.models.provider import Provider
from insights.models.schemas import for_openai
from insights.models.structured import schema_prompt
from insights.models.wire import Server, http_client, not_a_reply, within
from primitives.tokens import CHARACTERS_PER_TOKEN

log = logging.getLogger(__name__)

SMALL_REQUEST = 4000
READ_AT_LEAST = 0.4
"""Some servers cut a long prompt in silence. Counts of tokens differ by a quarter, never by more than half."""

STOPS: dict[str, Stop] = {"length": "length", "content_filter": "refusal"}


class OpenAI(Provider):
    vendor = "openai"
    vendor_url = "https://api.openai.com/v1"
    url_variable = "OPENAI_BASE_URL"
    key_variables = ("OPENAI_API_KEY",)

    def connect(self) -> Any:
        import openai

        return openai.AsyncOpenAI(
            api_key=self.key(),
            base_url=self.server.url,
            timeout=self.settings.timeout,
            max_retries=self.settings.max_retries,
            http_client=http_client(self.settings.timeout, self.settings.deadline),
        )


class OpenAIChat(OpenAI):
    _cut_told = False

    async def send(self, client: Any, request: Request) -> Reply:
        import openai

        body = self.body(request)
        completion = await within(self.server, openai, lambda: client.chat.completions.create(**body))
        reply = read_completion(completion, self.server, request)
        sent = sum(map(len, request.texts())) / CHARACTERS_PER_TOKEN
        if not self._cut_told and sent > SMALL_REQUEST and reply.usage.input_tokens < sent * READ_AT_LEAST:
            self._cut_told = True
            log.warning(
                "%s: %s read %d of about %d tokens: it may cut what exceeds its context window (Ollama: num_ctx)",
                self.name, self.server.shown, reply.usage.input_tokens, sent,
            )  # fmt: skip
        return reply

    def body(self, request: Request) -> dict[str, Any]:
        system = request.system
        limit = "max_tokens" if "max_tokens" not in self.refused else "max_completion_tokens"
        body: dict[str, Any] = {"model": self.model_id, limit: request.max_tokens}
        if request.schema is not None and self.takes_schema(request):
            body["response_format"] = {"type": "json_schema", "json_schema": for_openai(request.schema)}
        elif request.schema is not None:
            system = f"{system}\n\n{schema_prompt(request.schema)}"
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": t.name, "description": t.description, "parameters": t.parameters},
                }
                for t in request.tools
            ]
        if self.settings.effort:
            body["reasoning_effort"] = self.settings.effort
        first = [{"role": "system", "content": system}] if system else []
        body["messages"] = first + [wire_message(message) for message in request.messages]
        return body


def wire_message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
    wire: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.calls:
        wire["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": json.dumps(c.arguments)}}
            for c in message.calls
        ]
    return wire


def read_completion(completion: Any, server: Server, request: Request) -> Reply:
    choices = getattr(completion, "choices", None)
    if not isinstance(choices, list) or not choices or choices[0].message is None:
        raise not_a_reply(server, str(completion))
    message, reason = choices[0].message, choices[0].finish_reason
    calls = tuple(
        read_call(call.id, call.function.name, call.function.arguments)
        for call in message.tool_calls or ()
        if getattr(call, "function", None) is not None
    )
    refusal = getattr(message, "refusal", None)
    text = message.content or refusal or ""
    stop = STOPS.get(reason) or ("refusal" if refusal else "tool" if calls else "end")
    if stop == "length":
        calls = ()
    return Reply(text=text, calls=calls, stop=stop, model=server.model, usage=_usage(completion.usage, request, text))


def read_call(call_id: str | None, name: str, arguments: Any) -> Call:
    """A call whose arguments are the text of a JSON object; anything else is kept as `broken`."""
    shown = arguments if isinstance(arguments, str) else json.dumps(arguments)
    try:
        parsed = json.loads(shown) if shown.strip() else {}
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        return Call(call_id or "", name, parsed)
    return Call(call_id or "", name, {}, broken=shown)


def _usage(usage: Any, request: Request, text: str) -> Usage:
    from insights.models.estimates import counted

    if usage is None or usage.prompt_tokens is None or usage.completion_tokens is None:
        return counted(request, text)
    details = usage.prompt_tokens_details
    return Usage(
        input_tokens=usage.prompt_tokens,
        cached_tokens=getattr(details, "cached_tokens", None) or 0,
        cache_write_tokens=getattr(details, "cache_write_tokens", None) or 0,
        output_tokens=usage.completion_tokens,
    )
