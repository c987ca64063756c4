"""What looks like a secret: keys, tokens and passwords that agents met, by kind. Masked in text, counted in columns.

The patterns are narrow, of known forms, because a mask over ordinary text would spoil the analysis; this is a net
under carelessness, not a guarantee. A password counts where something names it (`password=`, `"api_key": `) and it has
a letter, a digit and eight characters, and is no name in a program. This is the only list: ingest counts by it,
detectors, models, commands and reports mask by it.
"""

from __future__ import annotations

import re
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN: ContextVar[bool] = ContextVar("SHOWN", default=False)  # set by `--no-redact`: see `unsecret`
MASK = "[masked: "
_NAMES = (
    r"(?:password|passwd|passphrase|pwd|secret(?:[_-]?(?:access[_-]?)?key)?|(?:api|access|account|auth|encryption|signing)[_-]?key|"
    r"(?:access|auth|refresh|bearer|api|bot|session|github|gitlab|hf|slack|npm|deploy|personal|private|secret)[_-]?token)"
)
_MIXED = r"(?=[^\s\"',;\\(){}<>\[\]]{0,99}\d)(?=[^\s\"',;\\(){}<>\[\]]{0,99}[A-Za-z])"  # a letter and a digit


@dataclass(frozen=True, slots=True)
class Kind:
    """One of `needles` (lower case) must be in a text for `pattern` to be tried; `anchor` says so closer, for RE2.

    What is masked is the group `value` of the pattern, or all of it where it has none.
    """

    needles: tuple[str, ...]
    anchor: str
    pattern: str


KINDS = {
    "private key": Kind(
        ("private key",),
        "private key(?: block)?-----",
        r"(?i:-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----).*?"
        r"(?:(?i:-----END (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----)|\Z)",
    ),
    "provider key": Kind(
        ("sk-", "k_live", "k_test", "aiza", "gsk_", "xai-", "r8_", "pplx-", "sg.", "ya29."),
        r"\bsk-[a-z0-9_-]{16}|\b[sr]k_live_|\b[sr]k_test_|\baiza[a-z0-9_-]{20}|\bgsk_[a-z0-9]{20}|\bxai-[a-z0-9]{20}|"
        r"\br8_[a-z0-9]{20}|\bpplx-[a-z0-9]{20}|\bsg\.[a-z0-9_-]{16}|\bya29\.",
        r"\bsk-(?=[A-Za-z_\-]{0,40}\d)[A-Za-z0-9_\-]{16,}|\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|\bAIza[A-Za-z0-9_\-]{35}|"
        r"\bgsk_[A-Za-z0-9]{32,}|\bxai-[A-Za-z0-9]{32,}|\br8_[A-Za-z0-9]{32,}|\bpplx-[A-Za-z0-9]{32,}|"
        r"\bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}|\bya29\.[A-Za-z0-9_\-]{20,}",
    ),
    "access token": Kind(
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat", "xox", "xapp-", "hf_", "npm_", "pypi-", "dckr_pat_",
         "dop_v1_", "dapi", "hvs.", "shpat_", "hooks.slack.com"),
        r"\bgh[pousr]_|\bgithub_pat_|\bglpat-|\bxox[abeoprs]-|\bxapp-|\bhf_[a-z0-9]{20}|\bnpm_[a-z0-9]{20}|"
        r"\bpypi-[a-z0-9_-]{20}|\bdckr_pat_|\bdop_v1_|\bdapi[a-f0-9]{20}|\bhvs\.|\bshpat_|hooks\.slack\.com/services/",
        r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_\-]{20,}|"
        r"\bxox[abeoprs]-[A-Za-z0-9\-]{10,}|\bxapp-\d-[A-Za-z0-9\-]{20,}|\bhf_[A-Za-z0-9]{30,}|\bnpm_[A-Za-z0-9]{36}|"
        r"\bpypi-[A-Za-z0-9_\-]{50,}|\bdckr_pat_[A-Za-z0-9_\-]{20,}|\bdop_v1_[a-f0-9]{40,}|\bdapi[a-f0-9]{32}|"
        r"\bhvs\.[A-Za-z0-9_\-]{24,}|\bshpat_[A-Fa-f0-9]{32}|(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}",
    ),
    "AWS key": Kind(
        ("akia", "asia", "aws_secret", "secretaccesskey"),
        r"\bakia[a-z0-9]{16}|\basia[a-z0-9]{16}|aws_secret_access_key|secretaccesskey",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|(?i:aws_secret_access_key|SecretAccessKey)[\W]{1,8}(?P<value>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])",
    ),
    "JWT": Kind(
        ("eyj",),
        r"\beyj[a-z0-9_-]{10,}\.eyj",
        r"\beyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}",
    ),
    "authorization": Kind(
        ("authorization", "bearer "),
        r"authorization[\\\"']*\s?[:=]|\bbearer [a-z0-9._~+/=-]{16}",
        r"(?i:authorization[\\\"']{0,4}\s?[:=]\s?[\\\"']{0,4}(?:bearer|basic|token) )(?P<value>[A-Za-z0-9._~+/=\-]{12,})|"
        r"\b(?i:bearer) (?P<value2>(?=[A-Za-z._~+/=\-]{0,60}\d)(?=[0-9._~+/=\-]{0,60}[A-Za-z])[A-Za-z0-9._~+/=\-]{16,})",
    ),
    "password in an address": Kind(
        ("://",),
        r"://[^\s:/@]+:[^\s:/@]+@",
        r"://(?P<value>[^\s:/@\"'<>{}$]{1,64}:(?!(?i:pass|passwd|password|pwd|secret)@)[^\s:/@\"'<>{}$]{3,128})(?=@)",
    ),
    "password": Kind(
        ("passw", "passphrase", "pwd", "secret", "apikey", "api_key", "api-key", "access_key", "accountkey", "_token", "-token",
         "accesstoken", "authtoken", "auth_key", "signing_key", "encryption_key"),
        rf"{_NAMES}[\\\"']*\s?\s?[:=]",
        rf"(?<![A-Za-z])(?i:{_NAMES})[\\\"']{{0,4}}\s{{0,2}}[:=]\s{{0,2}}(?!\\?[\"']?https?:)"
        rf"(?:(?P<value>\\{{0,2}}[\"']{_MIXED}[^\s\"'\\(){{}}<>\[\]]{{8,200}})(?=\\{{0,2}}[\"'])|"
        rf"(?P<value2>{_MIXED}(?!\w{{0,60}}(?:[(\[]|\.[A-Za-z_]))[^\s\"',;\\(){{}}<>\[\]]{{8,200}}(?![(\[{{])))",
    ),
}  # fmt: skip
PATTERNS = {kind: re.compile(of.pattern, re.S) for kind, of in KINDS.items()}
NEEDLES = [(needle, kind) for kind, of in KINDS.items() for needle in of.needles]
ANCHOR = "(?i)" + "|".join(of.anchor for of in KINDS.values())


def spans(text: str) -> list[tuple[int, int, str]]:
    """(start, end, kind) of every secret in a text, in order; where two kinds claim the same place it is the first's."""
    found: list[tuple[int, int, str]] = []
    lower = text.lower()
    near = {kind for needle, kind in NEEDLES if needle in lower}
    for kind, pattern in PATTERNS.items() if near else ():
        if kind in near:
            for match in pattern.finditer(text):
                start, end = match.span(match.lastgroup or 0)
                start += len(text[start:end]) - len(text[start:end].lstrip("\\\"'"))
                if not any(start < e and s < end for s, e, _ in found):
                    found.append((start, end, kind))
    return sorted(found)


def mask(text: str) -> tuple[str, int]:
    """The text with `[masked: kind]` in the place of secrets, and how many there were."""
    found = spans(text)
    return (_put(text, found), len(found)) if found else (text, 0)


def count(text: str) -> Counter[str]:
    """How many secrets of each kind stand in a text; one that two kinds could claim counts once."""
    return Counter(kind for _, _, kind in spans(text))


def excerpt(text: str, start: int, end: int) -> str:
    """`text[start:end]` masked by what stands in the whole: a secret that an end of the excerpt cuts is masked too."""
    return _put(
        text[start:end],
        [(max(s - start, 0), min(e, end) - start, kind) for s, e, kind in spans(text) if s < end and e > start],
    )


def unsecret(value: Any) -> Any:
    """The value with every text in it masked, keys too, unless SHOWN is set (`--no-redact`)."""
    if SHOWN.get():
        return value
    if isinstance(value, str):
        return mask(value)[0]
    if isinstance(value, dict):
        return {unsecret(key): unsecret(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [unsecret(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def suspects(column: pa.Array) -> list[int]:
    """The rows of a column of text that are worth `count`: one pass by an automaton, at some hundred MB/s."""
    import pyarrow.compute as pc

    if column.null_count == len(column):
        return []
    return pc.indices_nonzero(pc.match_substring_regex(column, ANCHOR)).to_pylist()


def _put(text: str, found: list[tuple[int, int, str]]) -> str:
    pieces, at = [], 0
    for start, end, kind in found:
        pieces += [text[at:start], f"{MASK}{kind}]"]
        at = end
    return "".join([*pieces, text[at:]])
