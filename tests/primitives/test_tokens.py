from __future__ import annotations

import hashlib

import pytest

from primitives import tokens


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    tokens._encoding.cache_clear()
    yield
    tokens._encoding.cache_clear()


def test_without_an_encoding_on_the_disk_the_count_is_an_estimate_and_says_so():
    assert tokens.is_estimate()
    assert tokens.count_tokens("") == 0
    assert tokens.count_tokens("x" * 35) == 10
    assert tokens.count_tokens("日本語") == 3
    assert tokens.count_tokens("x" * 35 + "é") == 11


def test_a_damaged_file_is_not_used_and_nothing_is_downloaded(tmp_path, monkeypatch):
    name = hashlib.sha1(tokens.ADDRESS.encode()).hexdigest()
    (tmp_path / name).write_bytes(b"half a file")
    monkeypatch.setattr("tiktoken.load.read_file", lambda address: pytest.fail(f"downloads {address}"))
    assert tokens.is_estimate() and (tmp_path / name).exists()


def test_an_encoding_on_the_disk_is_what_tiktoken_would_read():
    """Address and hash are those of the installed tiktoken, else its cache would never be found."""
    from tiktoken_ext import openai_public

    constants = openai_public.o200k_base.__code__.co_consts
    assert tokens.ADDRESS in constants and tokens.SHA256 in constants
