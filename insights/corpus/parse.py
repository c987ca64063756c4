"""Bytes to JSON values that the corpus can hold: fast where the input is clean, repaired and counted where not.

orjson reads first; where it refuses (NaN, lone surrogates, depth, invalid UTF-8) the standard library reads and
the value is cleaned: NaN and infinities become None, lone surrogates and NUL become U+FFFD. A repair is reported by
its code, never silent.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
SHORTEST = 12  # unit: characters; below it a string is taken for a name
TIME = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d[\d:.,]* ?(?:Z|UTC|[+-]\d\d:?\d\d)?")
LONGEST_NUMBER = 400  # unit: digits; a longer integer stays text, as Python takes long over it and no column holds it


class Unparseable(ValueError):
    """Not JSON. `at` is the character where reading stopped."""

    def __init__(self, reason: str, at: int = 0) -> None:
        super().__init__(reason)
        self.at = at


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_NUMBER else digits


_DECODER = json.JSONDecoder(strict=False, parse_int=_integer)


def clean_text(text: str) -> str:
    """Text without NUL and lone surrogates, which neither DuckDB nor UTF-8 can hold."""
    return _UNSTORABLE.sub("\ufffd", text)


def clean(value: Any) -> Any:
    """A parsed value with every string storable and every NaN or infinity None."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {clean_text(str(k)): clean(v) for k, v in value.items()}
    if isinstance(value, list):
        return [clean(v) for v in value]
    return value


def is_text(text: str) -> bool:
    """Whether a string is text and no id, time or name."""
    if len(text) < SHORTEST or not (" " in text or any(map(str.isspace, text))):
        return False
    return not (text[0].isdigit() and TIME.fullmatch(text))


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one: sources promise objects and deliver anything."""
    return value if isinstance(value, dict) else {}


def word(value: Any) -> str:
    """The value where it is text, else "": what may be looked up in a set or a mapping."""
    return value if isinstance(value, str) else ""


def sequence(value: Any) -> list[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def mappings(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; what else it holds is left out."""
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def number(value: Any) -> float | None:
    """A number that counts something; None for everything else, booleans too."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def loads(data: bytes) -> tuple[Any, str | None]:
    """(value, repair code or None). Raises Unparseable."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _loads_slowly(data)
    if b"\\u0000" in data:
        return clean(value), "text_sanitised"
    return value, None


def repeated_keys(data: bytes, value: Any) -> list[str]:
    """Keys that an object of the document `data` holds more than once. Read again only where the keys do not add up."""
    try:
        kept = orjson.dumps(value).count(b'":')
    except (TypeError, orjson.JSONEncodeError):
        return []
    if data.count(b'":') + data.count(b'" :') <= kept:
        return []
    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found.extend(key for key, n in Counter(key for key, _ in items).items() if n > 1)
        return dict(items)

    try:
        json.loads(decode(data)[0], object_pairs_hook=pairs, parse_int=_integer, strict=False)
    except (ValueError, RecursionError):
        return []
    return found


def _loads_slowly(data: bytes) -> tuple[Any, str | None]:
    text, repair = decode(data)
    try:
        value = _DECODER.decode(text)
        cleaned = clean(value)
    except json.JSONDecodeError as error:
        raise Unparseable(error.msg, error.pos) from None
    except RecursionError:
        raise Unparseable("nested too deeply") from None
    return cleaned, repair or (None if cleaned == value else "text_sanitised")


def decode(data: bytes) -> tuple[str, str | None]:
    """Text of UTF-8 (or BOM-marked UTF-16) bytes, undecodable ones replaced and reported."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace"), None
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError:
        return data.decode("utf-8-sig", errors="replace"), "invalid_utf8"


def concatenated(text: str) -> Iterator[tuple[int, int, Any]]:
    """(start, end, value) of JSON values that stand one after another, white space between. Stops with Unparseable."""
    at, size = 0, len(text)
    while True:
        while at < size and text[at] in " \t\r\n\ufeff":
            at += 1
        if at >= size:
            return
        try:
            value, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise Unparseable(error.msg, error.pos) from None
        except RecursionError:
            raise Unparseable("nested too deeply", at) from None
        yield at, end, clean(value)
        at = end


def prefix(data: bytes) -> Any:
    """The first JSON value of `data` as far as it goes: a document cut off anywhere gives its longest prefix.

    None where not even a value begins.
    """
    import ijson
    from ijson.common import ObjectBuilder

    builder = ObjectBuilder()
    started = False
    try:
        for event, value in ijson.basic_parse(data, use_float=True, multiple_values=False):
            builder.event(event, value)
            started = True
    except (ijson.JSONError, UnicodeDecodeError, ValueError):
        pass
    return getattr(builder, "value", None) if started else None


def lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(byte offset, line without its end) of a binary stream, blank lines left out."""
    offset = 0
    for line in stream:
        body = line.strip()
        if offset == 0 and body.startswith(b"\xef\xbb\xbf"):
            body = body[3:]
        if body:
            yield offset, body
        offset += len(line)
