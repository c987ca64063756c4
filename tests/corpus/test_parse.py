"""Bytes to values: whatever they are, they parse or are told of."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insights.corpus import parse
from insights.corpus.formats import FORMATS
from insights.corpus.readers import read_here
from insights.corpus.source import Source

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
JSONISH = st.lists(
    st.sampled_from(
        [b"{", b"}", b"[", b"]", b'"', b",", b":", b"\n", b'"role"', b'"user"', b'"content"', b'"messages"', b"NaN", b"1e999",
         b"\\u0000", b"\\ud800", b"\xff", b"\xef\xbb\xbf", b"\x00", b"null", b" ", b'{"role": "user", "content": "hi"}']
    ),
    max_size=30,
).map(b"".join)  # fmt: skip


@given(st.binary(max_size=200) | JSONISH)
def test_bytes_parse_to_something_storable_or_are_refused(data):
    try:
        value, _ = parse.loads(data)
    except parse.Unparseable as error:
        assert str(error)
    else:
        orjson.loads(orjson.dumps(parse.clean(value), option=orjson.OPT_NON_STR_KEYS) if _fits(value) else b"1")


def _fits(value: object) -> bool:
    """Whether orjson writes it: integers of more than 64 bits are kept, and it refuses them."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    if isinstance(value, dict):
        return all(map(_fits, value.values()))
    return all(map(_fits, value)) if isinstance(value, list) else True


@given(VALUES)
def test_a_clean_value_comes_back_unchanged(value):
    value = parse.clean(value)
    again, repair = parse.loads(json.dumps(value).encode())
    assert again == value and repair in (None, "text_sanitised")


@given(st.lists(VALUES, max_size=5))
def test_values_one_after_another_are_told_apart(values):
    values = [[parse.clean(v)] for v in values]
    text = "\n".join(map(json.dumps, values))
    found = list(parse.concatenated(text))
    assert [v for _, _, v in found] == values
    assert [json.loads(text[start:end]) for start, end, _ in found] == values


@pytest.mark.parametrize(
    ("data", "value", "repair"),
    [
        (b'{"a": NaN, "b": Infinity}', {"a": None, "b": None}, "text_sanitised"),
        (b'"\\ud800"', "\ufffd", "text_sanitised"),
        (b'"a\\u0000b"', "a\ufffdb", "text_sanitised"),
        (b'"\xff"', "\ufffd", "invalid_utf8"),
        ("\ufeff[1]".encode(), [1], None),
        ('{"a": 1}'.encode("utf-16"), {"a": 1}, None),
    ],
)
def test_a_repair_is_named(data, value, repair):
    assert parse.loads(data) == (value, repair)


def test_deep_nesting_is_refused():
    with pytest.raises(parse.Unparseable):
        parse.loads(b"[" * 100_000)


@given(VALUES.map(lambda v: json.dumps([v, v]).encode()), st.data())
def test_a_document_cut_off_anywhere_gives_what_stands(data, at):
    cut = data[: at.draw(st.integers(1, len(data)))]
    assert parse.prefix(cut) is None or isinstance(parse.prefix(cut), list)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.txt"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | JSONISH)
def test_any_file_gives_traces_or_says_why_not(tmp_path: Path, name: str, data: bytes):
    file = tmp_path / name
    file.write_bytes(data)
    batches = list(read_here([Source(file, str(file), tmp_path)]))
    (done,) = [done for batch in batches for done in batch.done]
    assert sum(len(batch.heads) for batch in batches) == done.n_traces
    row = done.source_row
    if not done.n_traces and (row["format"] == "unknown" or FORMATS[row["format"]].role == "trace"):
        assert row["status"] in ("empty", "unsupported") and row["error"]
