"""Langfuse's own reading of twenty framework traces is the oracle for the payloads of model calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from insights.corpus.formats import payload
from insights.corpus.formats.langfuse import usage

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "samples" / "langfuse"
UNREAD = {"autogen-2025-06-06", "llamaindex-2025-06-05"}  # Langfuse could not read any call of these
APART = {
    "agno-2025-06-11": {"input"}
}  # messages written by str(): we read them, Langfuse tells only the tools (as we do)


def _of_oracle(data: list[Any]) -> list[dict[str, Any]]:
    """Langfuse's messages; an event that it shows as JSON (`gen_ai.choice`) is read on."""
    return [x for m in data for x in payload.messages(m["json"] if set(m) == {"json"} else m, "assistant")]


def _with_results(told: list[tuple[Any, ...]], calls: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Langfuse's messages with a user's text that answers a call as a tool's, where ours is one (Gemini's function_response)."""
    if len(told) != len(calls):
        return told
    answers = [ours[0] == "tool" and theirs[0] == "user" for ours, theirs in zip(calls, told, strict=True)]
    after = [i > 0 and bool(told[i - 1][2]) for i in range(len(told))]
    return [("tool", *t[1:]) if a and b else t for t, a, b in zip(told, answers, after, strict=True)]


def _plain(messages: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Role, text and calls; JSON by its value."""
    found = []
    for m in messages:
        calls = [c.get("function", c) for c in m.get("tool_calls") or []]
        content = m.get("content") or ""
        text = payload.decoded(content.strip() if isinstance(content, str) else content)
        found.append((m["role"], text, [(c["name"], payload.decoded(c["arguments"])) for c in calls]))
    return found


def _names(tools: list[dict[str, Any]]) -> list[str]:
    return [t.get("function", t)["name"] for t in tools]


def _tools(data: list[Any]) -> list[str]:
    return [name for m in data for name in _names(m.get("tools") or [])]


@pytest.mark.skipif(not FOLDER.is_dir(), reason="../shared/samples is absent")
def test_the_calls_of_the_twenty_traces_are_read_as_langfuse_reads_them():
    compared, different = 0, {}
    for path in sorted(FOLDER.glob("*.trace.json")):
        name = path.name.removesuffix(".trace.json")
        oracle = json.loads((FOLDER / f"{name}.chatml.json").read_text())
        calls = [o for o in json.loads(path.read_text())["observations"] if o["type"] == "GENERATION"]
        read = 0
        for call in calls:
            for side, role in (("input", "user"), ("output", "assistant")):
                expected = (oracle.get(call["id"]) or {}).get(side) or {}
                if not expected.get("success"):
                    continue
                read += 1
                ours = _plain(payload.messages(call[side], role))
                if name in APART and side in APART[name]:
                    assert set(_tools(expected["data"])) == set(_names(payload.tools_of(call[side])))
                if ours != _with_results(_plain(_of_oracle(expected["data"])), ours):
                    different.setdefault(name, set()).add(side)
        assert (read == 0) == (name in UNREAD), name
        compared += read
    assert compared > 50
    assert different == APART


def test_cached_input_is_added_where_the_total_says_it_stands_apart():
    apart = {"usageDetails": {"input": 40, "input_cached_tokens": 20, "output": 5, "total": 65}}
    within = {"usageDetails": {"input": 40, "input_cached_tokens": 20, "output": 5, "total": 45}}
    assert usage(apart)["input_tokens"] == 60 and usage(within)["input_tokens"] == 40
    assert usage({"promptTokens": 7, "completionTokens": 2}) == {"input_tokens": 7, "output_tokens": 2}
    assert usage({"usageDetails": {}}) == {}
