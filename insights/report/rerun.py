"""The command that runs a finding's predicate again, fit to be pasted into a shell."""

from __future__ import annotations

import re
import shlex

INLINE_CHARS = 160
SHELL_SPECIAL = re.compile(r'["$`\\!\n]')


def command(corpus_path: str, code: str) -> str:
    """`insights sql CORPUS "SELECT …"`, or the same with the predicate on standard input where quoting would spoil it."""
    code = code.strip().rstrip(";").rstrip()
    path = shlex.quote(corpus_path)
    if len(code) <= INLINE_CHARS and not SHELL_SPECIAL.search(code):
        return f'insights sql {path} "{code}"'
    end = "SQL"
    while end in code.split("\n"):
        end += "_"
    return f"insights sql {path} - <<'{end}'\n{code}\n{end}"
