"""Objects that were written by Python's str() or repr(): `role='user' content='Hi' tool_calls=None metrics=Metrics(…)`.

Values that are literals are read by `ast.literal_eval`, in bounded pieces; everything else stays text. Nothing is run.
"""

from __future__ import annotations

import ast
import re
from typing import Any

LONGEST = 2_000_000  # unit: characters of one object
LITERAL = 400_000  # unit: characters of one literal
MOST = 400  # fields of one object
_NAME = re.compile(r"[\s,]*([A-Za-z_]\w*)=")
_WORD = re.compile(r"[^\s,()\[\]{}<>'\"]+")
_CLOSES = {"(": ")", "[": "]", "{": "}", "<": ">"}
_MESSAGE = re.compile(r"(?:\w*Message\w*\()?role=['\"]")


def message(text: str) -> dict[str, Any] | None:
    """The fields of a chat message written by str(); None for any other text."""
    if not _MESSAGE.match(text) or len(text) > LONGEST:
        return None
    found = fields(text[text.index("role=") :])
    if not isinstance(found.get("role"), str) or "content" not in found:
        return None
    kept = ("role", "content", "name", "tool_call_id", "tool_calls", "reasoning_content", "thinking")
    out = {k: found[k] for k in kept if found.get(k) is not None}
    if found.get("tool_name") and "name" not in out:
        out["name"] = found["tool_name"]
    return {"content": None, **out}


def literal(text: str) -> Any:
    """The mapping, list or message that a text is the str() of; None for any other text."""
    if (said := message(text)) is not None:
        return said
    found = _value(text) if text[:2] in ("{'", "[{", "['") else None
    return found if isinstance(found, (dict, list)) else None


def fields(text: str) -> dict[str, Any]:
    """Names and values as far as they can be told apart."""
    found: dict[str, Any] = {}
    at = 0
    while len(found) < MOST and (named := _NAME.match(text, at)):
        end = _end(text, named.end())
        found[named[1]] = _value(text[named.end() : end])
        at = end
    return found


def _end(text: str, at: int) -> int:
    """Where the value that begins at `at` ends."""
    word = _WORD.match(text, at)
    at = word.end() if word else at
    if word and text[at : at + 1] not in ("(", "'", '"'):
        return at
    waiting: list[str] = []
    while at < len(text):
        char = text[at]
        if char in "'\"":
            at = _string(text, at)
            if not waiting:
                return at
            continue
        if char in _CLOSES:
            waiting.append(_CLOSES[char])
        elif waiting and char == waiting[-1]:
            waiting.pop()
            if not waiting:
                return at + 1
        elif not waiting:
            return at
        at += 1
    return at


def _string(text: str, at: int) -> int:
    """Where the string literal that opens at `at` ends."""
    quote, at = text[at], at + 1
    while at < len(text) and text[at] != quote:
        at += 2 if text[at] == "\\" else 1
    return min(at + 1, len(text))


def _value(text: str) -> Any:
    if len(text) > LITERAL:
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text
