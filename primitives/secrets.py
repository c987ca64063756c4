"""What looks like a secret: keys, tokens and passwords that agents met, by kind. Masked in text, counted in columns.

The patterns are narrow, of known forms, because a mask over ordinary text would spoil the analysis; this is a net
under carelessness, not a guarantee.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

PASSWORD_WORDS = ("password", "passwd", "pwd", "secret", "api_key", "apikey", "access_token", "auth_token")


@dataclass(frozen=True, slots=True)
class Kind:
    """One of `needles` (lower case) must be in a text for `pattern` to be tried; `anchor` says so closer, for RE2."""

    needles: tuple[str, ...]
    anchor: str
    pattern: str


KINDS = {
    "private key": Kind(
        ("private key",),
        "private key-----",
        r"-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY-----.*?(?:-----END (?:[A-Z]{1,20} ){0,3}PRIVATE KEY-----|\Z)",
    ),
    "provider key": Kind(
        ("sk-", "k_live", "k_test", "aiza"),
        r"\bsk-[a-z0-9_-]{20}|\b[sr]k_live_|\b[sr]k_test_|\baiza[a-z0-9_-]{20}",
        r"\bsk-[A-Za-z0-9_\-]{20,}|\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|\bAIza[A-Za-z0-9_\-]{35}",
    ),
    "access token": Kind(
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat", "xox", "hf_", "npm_", "pypi-"),
        r"\bgh[pousr]_|\bgithub_pat_|\bglpat-|\bxox[abeoprs]-|\bhf_[a-z0-9]{20}|\bnpm_[a-z0-9]{20}|\bpypi-[a-z0-9_-]{20}",
        r"\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{40,}|\bglpat-[A-Za-z0-9_\-]{20,}|"
        r"\bxox[abeoprs]-[A-Za-z0-9\-]{10,}|\bhf_[A-Za-z0-9]{30,}|\bnpm_[A-Za-z0-9]{36}|\bpypi-[A-Za-z0-9_\-]{50,}",
    ),
    "AWS key": Kind(
        ("akia", "asia", "aws_secret"),
        r"\bakia[a-z0-9]{16}|\basia[a-z0-9]{16}|aws_secret_access_key",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|(?<=aws_secret_access_key)\W{1,4}[A-Za-z0-9/+=]{40}",
    ),
    "JWT": Kind(
        ("eyj",),
        r"\beyj[a-z0-9_-]{10,}\.eyj",
        r"\beyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}",
    ),
    "authorization": Kind(
        ("authorization",),
        "authorization: (?:bearer|basic) ",
        r"(?<=authorization: )(?:bearer|basic) [A-Za-z0-9._~+/=\-]{12,}",
    ),
    "password in an address": Kind(
        ("://",), r"://[^\s:/@]+:[^\s:/@]+@", r"(?<=://)[^\s:/@]{1,64}:[^\s:/@]{3,128}(?=@)"
    ),
    "password": Kind(
        PASSWORD_WORDS,
        r"(?:password|passwd|pwd|secret|api_?key|access_token|auth_token)[\"']?\s?\s?[:=]",
        r"(?<![A-Za-z])(?:password|passwd|pwd|secret|api_?key|access_token|auth_token)[\"']?\s{0,2}[:=]\s{0,2}[\"']?"
        r"(?=[^\s\"',;]{0,99}\d)(?=[^\s\"',;]{0,99}[A-Za-z])[^\s\"',;(){}<>\[\]]{8,200}",
    ),
}

PATTERNS = {kind: (of.needles, re.compile(of.pattern, re.I | re.S)) for kind, of in KINDS.items()}
ANCHOR = "(?i)" + "|".join(of.anchor for of in KINDS.values())


def mask(text: str) -> tuple[str, int]:
    """The text with `[masked: kind]` in the place of secrets, and how many there were."""
    total = 0
    lower = text.lower()
    for kind, (needles, pattern) in PATTERNS.items():
        if any(needle in lower for needle in needles):
            text, count = pattern.subn(f"[masked: {kind}]", text)
            total += count
    return text, total


def count(text: str) -> Counter[str]:
    """How many secrets of each kind stand in a text; one that two kinds could claim counts once."""
    found: Counter[str] = Counter()
    lower = text.lower()
    for kind, (needles, pattern) in PATTERNS.items():
        if any(needle in lower for needle in needles):
            text, n = pattern.subn("", text)
            if n:
                found[kind] = n
    return found


def suspects(column: pa.Array) -> list[int]:
    """The rows of a column of text that are worth `count`: one pass by an automaton, at some hundred MB/s."""
    import pyarrow.compute as pc

    if column.null_count == len(column):
        return []
    return pc.indices_nonzero(pc.match_substring_regex(column, ANCHOR)).to_pylist()
