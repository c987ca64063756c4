"""Anthropic's Messages protocol through the vendor's SDK.

Prompts are marked for caching at the end of the system prompt, which calls of a map share, and, in a
conversation, at its last block, which the next turn repeats. No sampling parameters: the SDK has none.
"""

from __future__ import annotations

from typing import Any

from insights.models.messages import Call, Message, Reply, Request, Stop, Usage
from insights.models.provider import Provider
from insights.models.schemas import for_anthropic
from insights.models.structured import schema_prompt
from insights.models.wire import Server, http_client, not_a_reply, within

STREAM_ABOVE = 16_000
"""Output tokens above which the answer is streamed: a silent connection of many minutes is cut by proxies."""

STOPS: dict[str, Stop] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "pause_turn": "end",
    "tool_use": "tool",
    "max_tokens": "length",
    "refusal": "refusal",
    "model_context_window_exceeded": "overflow",
}
CACHE = {"type": "ephemeral"}


class AnthropicMessages(Provider):
    vendor = "anthropic"
    vendor_url = "https://api.anthropic.com"
    url_variable = "ANTHROPIC_BASE_URL"
    key_variables = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")

    def connect(self) -> Any:
        import anthropic

        return anthropic.AsyncAnthropic(
            api_key=self.key(),
            base_url=self.server.url,
            max_retries=self.settings.max_retries,
            http_client=http_client(self.settings.timeout, self.settings.deadline),
        )

    async def send(self, client: Any, request: Request) -> Reply:
        import anthropic

        body = self.body(request)

        async def call() -> Any:
            if request.max_tokens <= STREAM_ABOVE:
                return await client.messages.create(**body, timeout=self.settings.timeout)
            async with client.messages.stream(**body, timeout=self.settings.timeout) as stream:
                return await stream.get_final_message()

        return read_message(await within(self.server, anthropic, call), self.server, request)

    def body(self, request: Request) -> dict[str, Any]:
        system = request.system
        output: dict[str, Any] = {"effort": self.settings.effort} if self.settings.effort else {}
        if request.schema is not None:
            native = for_anthropic(request.schema) if self.takes_schema(request) else None
            if native is not None:
                output["format"] = {"type": "json_schema", "schema": native}
            else:
                system = f"{system}\n\n{schema_prompt(request.schema)}"
        body: dict[str, Any] = {
            "model": self.model_id,
            "max_tokens": request.max_tokens,
            "messages": wire_messages(request.messages, verbatim="reasoning" not in self.refused),
        }
        if system:
            body["system"] = [{"type": "text", "text": system, "cache_control": CACHE}]
        if request.tools:
            body["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
                for tool in request.tools
            ]
        if request.tools or len(request.messages) > 1:
            body["cache_control"] = CACHE
        if output:
            body["output_config"] = output
        return body


def wire_messages(messages: tuple[Message, ...], *, verbatim: bool) -> list[dict[str, Any]]:
    """Messages as turns: results of tools and the text after them are one turn of the user."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        blocks = _blocks(message, verbatim)
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message, verbatim: bool) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.call_id, "content": message.text}]
    if verbatim and message.state and "anthropic" in message.state:
        return list(message.state["anthropic"])
    blocks: list[dict[str, Any]] = [{"type": "text", "text": message.text}] if message.text.strip() else []
    blocks += [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments} for c in message.calls]
    return blocks


def read_message(message: Any, server: Server, request: Request) -> Reply:
    content, stop_reason = getattr(message, "content", None), getattr(message, "stop_reason", None)
    if not isinstance(content, list):
        raise not_a_reply(server, str(message))
    stop = STOPS.get(stop_reason or "end_turn", "end")
    text = "".join(block.text or "" for block in content if block.type == "text")
    calls = tuple(_call(block) for block in content if block.type == "tool_use")
    state = None
    if stop == "length":
        calls = ()
    elif any(block.type in ("thinking", "redacted_thinking") for block in content):
        state = {"anthropic": [block.model_dump(mode="json", exclude_none=True) for block in content]}
    return Reply(
        text=text, calls=calls, stop=stop, model=server.model, state=state,
        usage=_usage(getattr(message, "usage", None), request, text),
    )  # fmt: skip


def _call(block: Any) -> Call:
    if isinstance(block.input, dict):
        return Call(block.id, block.name, block.input)
    return Call(block.id, block.name, {}, broken=str(block.input))


def _usage(usage: Any, request: Request, text: str) -> Usage:
    from insights.models.estimates import counted

    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return counted(request, text)
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    return Usage(
        input_tokens=usage.input_tokens + read + written,
        cached_tokens=read,
        cache_write_tokens=written,
        output_tokens=usage.output_tokens,
    )
