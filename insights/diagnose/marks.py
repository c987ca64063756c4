"""Markers around text that others wrote, so that a model can tell it from what we say.

A marker carries a code derived from a secret of the run: whoever wrote the text cannot know it, and it is the same when
the run is resumed, without which no answer would be found in the cache.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

FILE_NAME = "markers.key"
CODE_CHARS = 12


class Marks:
    """`run` is the run's folder; the secret is made there when there is none."""

    def __init__(self, run: Path) -> None:
        path = run / FILE_NAME
        if not path.is_file():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(secrets.token_bytes(32))
        self._secret = path.read_bytes()

    def around(self, text: str, kind: str = "data") -> str:
        """The text between markers of its own."""
        code = hmac.new(self._secret, f"{kind}\0{text}".encode("utf-8", "replace"), hashlib.sha256)
        mark = f"{kind} {code.hexdigest()[:CODE_CHARS]}"
        return f"<{mark}>\n{text}\n</{mark}>"
