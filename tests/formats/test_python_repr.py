"""Messages that were written by Python's str() are read in bounded pieces, and nothing is run."""

from __future__ import annotations

import time

import pytest

from insights.corpus.formats import payload, python_repr


def test_messages_written_by_str_are_messages() -> None:
    written = [
        "role='assistant' content=None tool_calls=[{'id': 'c1', 'function': {'name': 'f', 'arguments': '{\"a\": 1}'}}] m=M(x=1, y='q)')",
        "role='tool' content=\"it's\\nhere\" tool_call_id='c1' tool_name='f' timer=<Timer at 0x30>",
    ]
    asked, answered = payload.messages({"messages": written})
    assert (asked["role"], asked["tool_calls"][0]["function"]) == ("assistant", {"name": "f", "arguments": '{"a": 1}'})
    assert (answered["role"], answered["content"], answered["tool_call_id"]) == ("tool", "it's\nhere", "c1")


@pytest.mark.parametrize(
    "text", ["role=", "role='x", "role=''", "a role='user' content='no'", "role=open('x') content='x'"]
)
def test_other_text_stays_text(text: str) -> None:
    assert python_repr.message(text) is None
    assert payload.messages(text)[0]["content"] == text


def test_depth_and_size_are_bounded() -> None:
    began = time.monotonic()
    for body in ("[" * 300_000, "'" * 300_001, "a=" * 300_000, "(" * 50_000 + ")" * 50_000):
        python_repr.fields(f"role='user' content={body}")
    assert time.monotonic() - began < 5
