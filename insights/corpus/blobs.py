"""What is large or repeated becomes a row of `blobs`: base64 in a step's parts, where `blob:<sha256>` then stands, and texts."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

LONGEST_INLINE = 4_096  # unit: characters of base64 that may stay in a step's parts
DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?[^,]{0,60};base64,")
MIME_KEYS = ("media_type", "mime_type", "mimeType", "mime")
Blob = tuple[str, str | None, int, str | None, bytes | None, None]  # a row of the table `blobs`


def keep(text: str, mime: str, found: dict[str, Blob]) -> str:
    """Put a text into `found`; returns its hash."""
    data = text.encode("utf-8", "replace")
    own = hashlib.sha256(data).hexdigest()
    found[own] = (own, mime, len(data), text, None, None)
    return own


def take(value: Any, found: dict[str, Blob], mime: str | None = None) -> Any:
    """The value with its long base64 strings replaced; what they held goes to `found`, by hash."""
    if isinstance(value, dict):
        told = next((value[k] for k in MIME_KEYS if isinstance(value.get(k), str)), mime)
        return {k: take(v, found, told) for k, v in value.items()}
    if isinstance(value, list):
        return [take(v, found, mime) for v in value]
    if not isinstance(value, str) or len(value) <= LONGEST_INLINE:
        return value
    url = DATA_URL.match(value)
    try:
        data = base64.b64decode(value[url.end() :] if url else value, validate=True)
    except (binascii.Error, ValueError):
        return value
    own = hashlib.sha256(data).hexdigest()
    found[own] = (own, url[1] if url else mime, len(data), None, data, None)
    return f"blob:{own}"
