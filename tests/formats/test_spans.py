"""Spans of observability formats: Parquet, the order they come in, what is counted once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from insights.corpus.formats import payload
from insights.corpus.formats.span_steps import build, result_text
from insights.corpus.formats.spans import Span
from insights.corpus.trace import Trace
from tests.formats.reading import lines, read, write

DATA = Path(__file__).parent / "data"


def test_a_phoenix_data_frame_in_parquet_gives_the_trace_that_its_jsonl_gives(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = DATA / "openinference" / "phoenix.jsonl"
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    columns = sorted({key for row in rows for key in row})
    for row in rows:
        row["events"] = json.dumps(row["events"])
        tokens = "attributes.llm.token_count.prompt", "attributes.llm.token_count.completion"
        row.update({k: int(row[k]) for k in tokens if k in row})
    pq.write_table(pa.table({c: [row.get(c) for row in rows] for c in columns}), tmp_path / "spans.parquet")
    name, [there], _ = read(tmp_path / "spans.parquet")
    _, [here], _ = read(source)
    assert name == "openinference"
    assert lines(there) == lines(here) and there.input_tokens == here.input_tokens == 82


def test_the_order_of_lines_does_not_matter(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (DATA / "otel_genai" / "collector.jsonl").read_text().splitlines()]
    _, forward, _ = read(DATA / "otel_genai" / "collector.jsonl")
    _, backward, _ = read(write(tmp_path / "backward.jsonl", rows[::-1]))
    assert {t.trace_id: lines(t) for t in forward} == {t.trace_id: lines(t) for t in backward}


def _llm(id: str, at: int, given: list[dict[str, Any]], said: str, parent: str = "root", **more: Any) -> Span:
    from datetime import UTC, datetime

    stamp = datetime(2026, 1, 1, 0, 0, at, tzinfo=UTC)
    answer = [{"role": "assistant", "content": said}]
    return Span(id, parent, "chat", "llm", start=stamp, end=stamp, given=given, said=answer, **more)


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def test_a_history_repeated_in_every_call_is_shown_once_and_equal_messages_as_often_as_they_were_said() -> None:
    t = Trace("otel_genai", "t")
    told = [_user("yes"), {"role": "assistant", "content": "Sure?"}, _user("yes")]
    build(t, [Span("root", kind="agent"), _llm("a", 1, told[:1], "Sure?"), _llm("b", 2, told, "Done.")])
    t.finish("s")
    assert [s.text for s in t.steps] == ["yes", "Sure?", "yes", "Done."]
    assert t.n_llm_calls == 2 and t.n_user_turns == 2


def test_what_an_outer_model_span_adds_up_is_not_counted_again() -> None:
    t = Trace("otel_genai", "t")
    used = {"input_tokens": 10, "output_tokens": 2}
    outer = _llm("outer", 1, [_user("hi")], "ho", usage={"input_tokens": 10, "output_tokens": 2})
    build(
        t, [Span("root", kind="chain", usage=used), outer, _llm("inner", 2, [_user("hi")], "ho", "outer", usage=used)]
    )
    t.finish("s")
    assert (t.n_llm_calls, t.input_tokens, t.output_tokens, t.usage_basis) == (1, 10, 2, "calls")
    assert [s.text for s in t.steps] == ["hi", "ho"] and len(t.spans) == 3


def test_agents_each_have_their_own_history() -> None:
    t = Trace("otel_genai", "t")
    spans = [Span("root", kind="chain"), Span("x", "root", "x", "agent"), Span("y", "root", "y", "agent")]
    build(t, [*spans, _llm("a", 1, [_user("hi")], "from x", "x"), _llm("b", 2, [_user("hi")], "from y", "y")])
    assert [(s.agent, s.text) for s in t.steps] == [(None, "hi"), ("x", "from x"), (None, "hi"), ("y", "from y")]


def test_a_circle_of_parents_ends() -> None:
    t = Trace("otel_genai", "t")
    build(t, [Span("a", "b", kind="chain"), Span("b", "a", kind="chain")])
    assert len(t.spans) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ('"[{\\"role\\": \\"user\\", \\"content\\": \\"twice\\"}]"', "twice"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "blocks"}]}]}, "blocks"),
        ({"contents": [{"role": "user", "parts": [{"text": "gemini"}]}]}, "gemini"),
        ([[{"lc": 1, "id": ["x", "HumanMessage"], "kwargs": {"content": "chain"}}]], "chain"),
        ({"choices": [{"message": {"role": "assistant", "content": "chosen"}}]}, "chosen"),
        ([{"role": "user", "parts": [{"type": "text", "content": "otel"}]}], "otel"),
        ([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "responses"}]}], "responses"),
    ],
)
def test_a_payload_is_read_in_any_shape(value: Any, text: str) -> None:
    [message] = payload.messages(value)
    assert message["content"] == text


def test_a_call_and_its_result_are_read_in_any_shape() -> None:
    anthropic = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "no", "is_error": True}]},
    ]
    responses = [
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"x": 1}'},
        {"type": "function_call_output", "call_id": "a", "output": "no"},
    ]
    gemini = {"contents": [{"role": "model", "parts": [{"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}}]},
                           {"role": "user", "parts": [{"functionResponse": {"id": "a", "name": "f", "response": "no"}}]}]}  # fmt: skip
    for shape in (anthropic, responses, gemini):
        call, result = payload.messages(shape)
        assert [(c["id"], c["function"]["name"]) for c in call["tool_calls"]] == [("a", "f")], shape
        assert (result["role"], result["tool_call_id"], result["content"]) == ("tool", "a", "no"), shape


def test_a_tool_span_may_tell_its_call_and_result_as_messages(tmp_path: Path) -> None:
    asked = [{"role": "tool", "parts": [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {"q": 1}}]}]
    gave = [
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": [{"text": "not there"}]}]}
    ]

    def event(key: str, value: Any) -> dict[str, Any]:
        told = [{"key": key, "value": {"stringValue": json.dumps(value)}}]
        return {"name": "gen_ai.client.inference.operation.details", "attributes": told}

    names = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look", "gen_ai.tool.status": "error"}
    span = {"traceId": "a" * 32, "spanId": "b" * 16, "name": "execute_tool look", "startTimeUnixNano": "1000000000",
            "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in names.items()],
            "events": [event("gen_ai.input.messages", asked), event("gen_ai.output.messages", gave)]}  # fmt: skip
    rows = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    _, traces, _ = read(write(tmp_path / "t.json", rows))
    call = traces[0].calls[0]
    assert (call.name, call.args, call.result_text, call.status) == ("look", {"q": 1}, "not there", "error")


def test_a_result_is_taken_out_of_what_callbacks_wrap_around_it() -> None:
    message = {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "ToolMessage"],
               "kwargs": {"content": "42 rows", "type": "tool", "tool_call_id": "c"}}  # fmt: skip
    assert result_text(json.dumps({"output": message, "kwargs": {"color": "green"}})) == "42 rows"
