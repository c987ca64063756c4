"""OpenAI's Responses protocol through the vendor's SDK. Nothing is stored with the provider."""

from __future__ import annotations

import hashlib
from typing import Any

from insights.errors import ModelError
from insights.models.messages import MIN_OUTPUT_TOKENS, Message, Reply, Request, Stop, Usage
from insights.models.openai_chat import OpenAI, read_call
from insights.models.schemas import for_openai
from insights.models.structured import schema_prompt
from insights.models.wire import Server, not_a_reply, scrub, within


class OpenAIResponses(OpenAI):
    async def send(self, client: Any, request: Request) -> Reply:
        import openai

        body = self.body(request)
        response = await within(self.server, openai, lambda: client.responses.create(**body))
        return read_response(response, self.server, request)

    def body(self, request: Request) -> dict[str, Any]:
        system = request.system
        prefix = hashlib.sha256(f"{system}{request.tools}".encode("utf-8", "replace")).hexdigest()[:32]
        body: dict[str, Any] = {
            "model": self.model_id,
            "max_output_tokens": max(MIN_OUTPUT_TOKENS, request.max_tokens),
            "input": wire_items(request.messages, verbatim="reasoning" not in self.refused),
            "store": False,
            "prompt_cache_key": prefix,
        }
        if request.schema is not None and self.takes_schema(request):
            body["text"] = {"format": {"type": "json_schema", **for_openai(request.schema)}}
        elif request.schema is not None:
            system = f"{system}\n\n{schema_prompt(request.schema)}"
        if system:
            body["instructions"] = system
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "name": t.name,
                    "description": t.description,
                    "parameters": t.parameters,
                    "strict": False,
                }
                for t in request.tools
            ]
            if "reasoning" not in self.refused:
                body["include"] = ["reasoning.encrypted_content"]
        if self.settings.effort:
            body["reasoning"] = {"effort": self.settings.effort}
        return body


def wire_items(messages: tuple[Message, ...], *, verbatim: bool) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "tool":
            items.append({"type": "function_call_output", "call_id": message.call_id, "output": message.text})
        elif verbatim and message.state and "openai" in message.state:
            items += message.state["openai"]
        else:
            if message.text.strip():
                items.append({"role": message.role, "content": message.text})
            items += [
                {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": _dump(call.arguments)}
                for call in message.calls
            ]
    return items


def _dump(arguments: dict[str, Any]) -> str:
    import orjson

    return orjson.dumps(arguments).decode()


def read_response(response: Any, server: Server, request: Request) -> Reply:
    output = getattr(response, "output", None)
    if not isinstance(output, list):
        raise not_a_reply(server, str(response))
    if response.status == "failed":
        said = response.error.message if response.error else "no reason given"
        raise ModelError(
            f"{server.model}: the answer failed: {scrub(said)}", "run again: finished calls are not paid again"
        )
    parts = [part for item in output if item.type == "message" for part in item.content or ()]
    text = "".join(part.text for part in parts if part.type == "output_text")
    refused = [part.refusal for part in parts if part.type == "refusal"]
    calls = tuple(read_call(i.call_id, i.name, i.arguments) for i in output if i.type == "function_call")
    stop = _stop(response, bool(refused), bool(calls))
    state = None
    if stop == "length":
        calls = ()
    elif any(item.type == "reasoning" and getattr(item, "encrypted_content", None) for item in output):
        state = {"openai": [item.model_dump(mode="json", exclude_none=True) for item in output]}
    return Reply(
        text=text or "".join(refused), calls=calls, stop=stop, model=server.model, state=state,
        usage=_usage(response.usage, request, text),
    )  # fmt: skip


def _stop(response: Any, refused: bool, called: bool) -> Stop:
    if response.status == "incomplete":
        reason = response.incomplete_details.reason if response.incomplete_details else None
        return "refusal" if reason == "content_filter" else "length"
    if refused:
        return "refusal"
    return "tool" if called else "end"


def _usage(usage: Any, request: Request, text: str) -> Usage:
    from insights.models.estimates import counted

    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return counted(request, text)
    details = usage.input_tokens_details
    return Usage(
        input_tokens=usage.input_tokens,
        cached_tokens=getattr(details, "cached_tokens", None) or 0,
        cache_write_tokens=getattr(details, "cache_write_tokens", None) or 0,
        output_tokens=usage.output_tokens,
    )
