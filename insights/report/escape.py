"""Hostile text made harmless: what traces, models and file names hold, before it is shown.

`visible` is for every reader (terminal, Markdown, HTML): what cannot be seen or moves a terminal is named instead, and
what looks like a secret is masked, here at the last moment, so that what is stored and checked stays verbatim.
`markdown` besides makes text that no Markdown renderer turns into markup, a link or code.
"""

from __future__ import annotations

import re
from typing import Any

INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
MARKDOWN = re.compile(
    r"[\\`*\[\]<~]"  # emphasis, code, links, HTML, strikethrough
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore inside a word is only an underscore
    r"|&(?=#?\w+;)"  # entities
    r"|(?<=\w):(?=//)|(?<=www)\.|(?<=\w)@(?=\w)"  # addresses that renderers link by themselves
    r"|(?<=mailto):|(?<=xmpp):",
    re.I,
)
LINE_START = re.compile(r"^(?:>|\||#{1,6}(?=\s|$)|[-+=]+(?=\s|$)|\d{1,9}(?=[.)](?:\s|$)))")
SIMPLE_CODE = re.compile(r"`([\w][\w .,:=/'\"()%$#+-]{0,80})`")
COUNT = 40  # characters that telling of a cut takes: cutting fewer saves nothing


def visible(text: str) -> str:
    """The text with nothing hidden in it: control, bidirectional and invisible characters shown as ‹U+202E›."""
    return INVISIBLE.sub(lambda match: f"‹U+{ord(match[0]):04X}›", unsecret(text))


def unsecret(value: Any) -> Any:
    """The value with [masked: kind] where a secret seems to stand in a text of it (`primitives.secrets`, imported late)."""
    from primitives.secrets import unsecret

    return unsecret(value)


def one_line(text: str) -> str:
    """Visible text on one line; a line break in it is shown as ⏎."""
    lines = (" ".join(line.split()) for line in re.split(r"\r\n|[\r\n\u2028\u2029]", text))
    return visible(" ⏎ ".join(line for line in lines if line))


def shortened(text: str, limit: int) -> str:
    """The text, or its head and tail around a count of what was left out; `limit` is in characters, without the count.

    Masked before it is cut: a cut may part a secret from what tells that it is one.
    """
    text = unsecret(text)
    if len(text) <= limit + COUNT:
        return text
    head, tail = limit * 2 // 3, limit // 3
    return f"{text[:head]} … ({len(text) - head - tail:,} characters left out) … {text[-tail:]}"


def markdown(text: str, limit: int | None = None) -> str:
    """Text for one line of Markdown which renders as exactly its own characters."""
    flat = one_line(text)
    if limit is not None:
        flat = shortened(flat, limit)
    return _at_line_start(MARKDOWN.sub(_escape, flat))


def _escape(match: re.Match[str]) -> str:
    return f"\\{match[0]}"


def _at_line_start(text: str) -> str:
    """The text with nothing that opens a heading, list, quotation or table where a line begins with it."""
    return LINE_START.sub(lambda match: f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}", text)


def cell(text: str, limit: int | None = None) -> str:
    """Text for one cell of a Markdown table."""
    return markdown(text, limit).replace("|", "\\|")


def prose(text: str) -> str:
    """Our own sentences in Markdown: like `markdown`, but plain names set in `backticks` stay code."""
    out, end = [], 0
    flat = one_line(text)
    for match in SIMPLE_CODE.finditer(flat):
        out += [MARKDOWN.sub(_escape, flat[end : match.start()]), match[0]]
        end = match.end()
    return _at_line_start("".join([*out, MARKDOWN.sub(_escape, flat[end:])]))


def fenced(text: str, language: str = "") -> str:
    """A fenced code block that its own content cannot close."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{visible(text.strip(chr(10)))}\n{fence}"
