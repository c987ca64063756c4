"""Templates of short machine texts: what varies is masked in SQL, then near-equal templates are joined.

The joining is Drain's (He et al., ICWS 2017) without its tree: texts of equal length and first word are compared word
by word, and words that differ become `<*>`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ALIKE = 0.7  # share of equal words from which two templates are one
TEMPLATE_CHARS = 200  # unit: characters
COMPARED = 300  # templates of one length and first word that a text is compared with at most

MASKS = (
    (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
    (r"https?://[^\s\"')>]+", "<url>"),
    (r"[\w.+-]+@[\w-]+\.[\w.]+", "<email>"),
    (r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b", "<id>"),
    (r"(?:[A-Za-z]:)?(?:[~.]{0,2}[/\\])(?:[\w.@+-]+[/\\])+[\w.@+-]*", "<path>"),
    (r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:[\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?", "<time>"),
    (r"\b0x[0-9a-fA-F]+\b", "<hex>"),
    (r"\b[A-Za-z_]+[_-]?\d[\w-]*\b", "<id>"),
    (r"\b\d+[A-Za-z_][\w-]*\b", "<id>"),
    (r"[-+]?\d(?:[\d.,:]*\d)?", "<n>"),
    (r"\s+", " "),
)
EXCEPTION_LINE = (  # the last line that begins with the name of an exception, a list mark and a rule's number before it
    r"(?s).*(?:^|\n)[^A-Za-z\n]{0,12}(?:[A-Z]\d+ )?((?:[\w.]*[a-z](?:Error|Exception|Interrupt|Exit)|fatal|FAILED)\b[^\n]*)"
)

REPEATED = re.compile(r"<\*>(?: <\*>)+")


def template_sql(text: str) -> str:
    """SQL expression: the masked signature of a text expression, the last line that names an exception or else its start."""
    masked = f"left({salient_sql(text)}, 600)"
    for pattern, replacement in MASKS:
        masked = f"regexp_replace({masked}, {_quoted(pattern)}, {_quoted(replacement)}, 'g')"
    return f"left(trim({masked}), {TEMPLATE_CHARS})"


def salient_sql(text: str) -> str:
    """SQL expression: the part of a text that its signature is made of, verbatim."""
    return f"coalesce(nullif(regexp_extract({text}, {_quoted(EXCEPTION_LINE)}, 1), ''), {text})"


def merge(masked: Sequence[str], counts: Sequence[int]) -> list[str]:
    """The template of each masked text, in the order given. Frequent texts are templates first; deterministic."""
    found: dict[tuple[int, str], list[list[str]]] = {}
    chosen: dict[str, list[str]] = {}
    for _, text in sorted(zip((-n for n in counts), masked, strict=True)):
        words = text.split(" ")
        known = found.setdefault((len(words), words[0]), [])
        match = next((t for t in known[:COMPARED] if _alike(t, words)), None)
        if match is None:
            match = list(words)
            known.append(match)
        else:
            match[:] = [a if a == b else "<*>" for a, b in zip(match, words, strict=True)]
        chosen[text] = match
    return [REPEATED.sub("<*>", " ".join(chosen[text])) for text in masked]


def _alike(template: list[str], words: list[str]) -> bool:
    equal = sum(a == b or a == "<*>" for a, b in zip(template, words, strict=True))
    return equal >= ALIKE * len(words)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
