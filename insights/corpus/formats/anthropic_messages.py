"""Anthropic messages (placeholder, being written)."""

from __future__ import annotations

from typing import Any

from insights.corpus.formats.openai_chat import flatten


def block_parts(content: Any) -> tuple[str | None, str | None, bool | None, list[dict[str, Any]], Any]:
    """(text, reasoning, whether reasoning is hidden, tool_use blocks, other parts) of an assistant's content."""
    if content is None or isinstance(content, str):
        return content, None, None, [], None
    if not isinstance(content, list):
        return flatten(content)[0], None, None, [], None
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    rest: list[Any] = []
    hidden: bool | None = None
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if isinstance(block, str):
            texts.append(block)
        elif kind == "text" or (kind is None and isinstance(block, dict) and isinstance(block.get("text"), str)):
            texts.append(str(block.get("text") or ""))
            if block.get("citations"):
                rest.append({"citations": block["citations"]})
        elif kind in ("thinking", "redacted_thinking"):
            said = block.get("thinking") or block.get("text")
            if said:
                thoughts.append(said)
            else:
                hidden = True
        elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            calls.append(block)
        else:
            rest.append(block)
    return "\n\n".join(t for t in texts if t) or None, "\n\n".join(thoughts) or None, hidden, calls, rest or None


def anthropic_usage(usage: Any) -> dict[str, int | None]:
    """Usage columns with the cache counted as input; {} where there is none."""
    if not isinstance(usage, dict):
        return {}
    plain, read, write = (
        n if isinstance(n := usage.get(k), int) else None
        for k in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    details = usage.get("output_tokens_details")
    return {
        "input_tokens": None if plain is None else plain + (read or 0) + (write or 0),
        "cache_read_tokens": read,
        "cache_write_tokens": write,
        "output_tokens": usage.get("output_tokens") if isinstance(usage.get("output_tokens"), int) else None,
        "reasoning_tokens": details.get("thinking_tokens") if isinstance(details, dict) else None,
    }
