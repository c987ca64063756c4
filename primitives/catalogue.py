"""The catalogue of verbs that goes into prompts and the README, rendered from signatures and docstrings.

How a verb's docstring is laid out, which the contract tests hold every verb to:

    First line: the catalogue entry, one sentence.
    (then arguments, with units)
    Columns: a, b (what it is), c.          for verbs that give a DataFrame; "Columns, one row: …" is fine too
    Raises … Methods: …                     errors and the source of the method
    >>> example(…)                          runs as a test on a tiny corpus
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from primitives.registry import VERBS, Verb, verb

if TYPE_CHECKING:
    from primitives.corpus import Corpus

CHARS_PER_TOKEN = 3.5  # an estimate on the safe side for English and signatures


def catalogue(max_tokens: int = 4000, names: Sequence[str] | None = None) -> str:
    """Signatures with first lines and columns, as much of it as fits: columns go first, then arguments.

    `names` are the verbs a role may call, in their order; None is every verb, by name. Tokens are estimated at 3.5
    characters. Raises KeyError for a name that is no verb, ValueError when not even the first lines fit.
    """
    chosen = [VERBS[name] for name in (names if names is not None else sorted(VERBS))]
    for entry in (_full, _short, _first):
        text = "\n".join(entry(v) for v in chosen)
        if len(text) / CHARS_PER_TOKEN <= max_tokens:
            return text
    raise ValueError(f"{len(chosen)} verbs do not fit into {max_tokens} tokens; name fewer")


def table() -> list[tuple[str, str]]:
    """(name, first line of the docstring) of every verb, by name: the README's table."""
    return [(name, first_line(VERBS[name])) for name in sorted(VERBS)]


@verb
def manual(corpus: Corpus, name: str | None = None) -> str:
    """The manual of one verb (arguments, columns, errors, an example), or the catalogue of all verbs.

    name: a verb; None lists every verb with its first line.
    Returns text. Raises KeyError for a name that is no verb.

    >>> manual("read")
    """
    if name is None:
        return catalogue()
    if name not in VERBS:
        raise KeyError(f"no verb {name!r}; there are {', '.join(sorted(VERBS))}")
    return f"{signature(VERBS[name])}\n\n{inspect.getdoc(VERBS[name].function)}"


def signature(v: Verb) -> str:
    """`name(args) -> Type` as an agent calls it: without the corpus."""
    s = inspect.signature(v.function)
    rest = list(s.parameters.values())[1:]
    text = f"{v.name}{s.replace(parameters=rest)}"
    return text.replace("'", "").replace("pd.DataFrame", "DataFrame").replace(": Any", "")


def first_line(v: Verb) -> str:
    return (inspect.getdoc(v.function) or "").split("\n", 1)[0]


def columns(v: Verb) -> list[str] | None:
    """The columns a verb's docstring promises; None where it promises none (text, or those of the query)."""
    doc = inspect.getdoc(v.function) or ""
    found = re.search(r"^Columns[^:\n]*:", doc, re.M)
    if not found or doc[found.end() :].startswith(" those of the query"):
        return None
    listed = doc[found.end() :].split("\n\n", 1)[0]
    while (bare := re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", listed)) != listed:
        listed = bare
    listed = re.split(r"\.(?:\s|$)", listed, maxsplit=1)[0]
    parts = [part.split() for part in re.split(r",|\s(?:and|of)\s", listed)]
    names = [part[0] if part else "" for part in parts]
    return names if all(re.fullmatch(r"[a-z_][a-z0-9_]*", n) for n in names) and len(names) > 1 else None


def _arguments(v: Verb) -> str:
    """The signature without annotations, which the manual has: `search(query, *, mode='hybrid', k=20)`."""
    s = inspect.signature(v.function)
    rest = [p.replace(annotation=inspect.Parameter.empty) for p in list(s.parameters.values())[1:]]
    return f"{v.name}{inspect.Signature(rest)}"


def _full(v: Verb) -> str:
    named = columns(v)
    spends = " Spends money." if v.spends else ""
    gives = f" -> {', '.join(named)}" if named else ""
    return f"{_arguments(v)}{gives}\n    {first_line(v)}{spends}"


def _short(v: Verb) -> str:
    return f"{_arguments(v)}\n    {first_line(v)}{' Spends money.' if v.spends else ''}"


def _first(v: Verb) -> str:
    return f"{v.name}: {first_line(v)}"
