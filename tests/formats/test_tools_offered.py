"""Definitions of the tools a model was offered are kept once a trace, whatever the shape, and named by every call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from insights.corpus.load import ingest
from tests.formats.reading import read, write

SCHEMA = {"type": "object", "properties": {"q": {"type": "string", "description": "What to look for, in words."}}}
FLAT = {"name": "search", "description": "Search all of the shop's pages.", "input_schema": SCHEMA}
OPENAI = {"type": "function", "function": {"name": "search", "description": FLAT["description"], "parameters": SCHEMA}}
ASKED = [{"role": "user", "content": "Find it."}]


def _span(attributes: dict[str, Any]) -> dict[str, Any]:
    told = [
        {"key": k, "value": {"stringValue": v if isinstance(v, str) else json.dumps(v)}} for k, v in attributes.items()
    ]
    span = {
        "traceId": "0d" * 16,
        "spanId": "0e" * 8,
        "name": "chat",
        "startTimeUnixNano": "1772359200000000000",
        "attributes": told,
    }
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [span]}]}]}


SHAPES: dict[str, Any] = {
    "openai_chat": {"messages": ASKED, "tools": [OPENAI], "response": {"choices": [{"message": {"role": "assistant", "content": "No."}}]}},
    "openai_chat without an answer": {"messages": [*ASKED, {"role": "assistant", "content": "No."}], "tools": [OPENAI]},
    "anthropic_messages": {"request": {"messages": ASKED, "tools": [FLAT]}, "response": {
        "type": "message", "role": "assistant", "content": [{"type": "text", "text": "No."}], "stop_reason": "end_turn", "usage": {"output_tokens": 1}}},  # noqa: E501
    "openai_responses": {"object": "response", "id": "resp_1", "status": "completed", "tools": [{"type": "function", **FLAT}], "output": [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "No."}]}]},
    "bedrock": {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "Find it."}]}], "toolConfig": {"tools": [{"toolSpec": FLAT}]},
                "output": {"message": {"role": "assistant", "content": [{"text": "No."}]}}},
    "otel_genai": _span({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.tool.definitions": [OPENAI]}),
    "openinference": _span({"openinference.span.kind": "LLM", "llm.model_name": "m", "llm.tools.0.tool.json_schema": OPENAI}),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_definitions_are_kept_in_every_shape(tmp_path: Path, shape: str) -> None:
    name, [t], _ = read(write(tmp_path / "a.json", SHAPES[shape]))
    assert name == shape.split(" ", 1)[0]
    [(own, mime, _, text, _, _)] = t.blobs.values()
    assert mime == "application/json" and "What to look for, in words." in (text or "")
    assert t.extra["tools_offered"] == ["search"]
    assert all(c["tools_hash"] == own for c in t.llm_calls)


def test_definitions_reach_the_corpus_once(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / "in" / f"{i}.json", {**SHAPES["openai_chat"], "id": f"run-{i}"})
    ingest([tmp_path / "in"], tmp_path / "c", jobs=1)
    with duckdb.connect(str(tmp_path / "c" / "traces.duckdb"), read_only=True) as con:
        query = "SELECT count(*), count(DISTINCT b.hash), any_value(b.text) FROM llm_calls c JOIN blobs b ON b.hash = c.tools_hash"
        n, distinct, text = con.execute(query).fetchall()[0]
        assert (n, distinct) == (3, 1) and json.loads(text) == [OPENAI]
        assert con.execute("SELECT min(text_share) FROM sources").fetchone() == (1.0,)
