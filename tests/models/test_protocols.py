"""What goes over the wire and what is read back, the same for the three protocols."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from insights.errors import ModelError, UsageError
from insights.models import Call, Message, Tool, open_model
from tests.models.conftest import VERDICT, ask, connect

TOOL = Tool("run_python", "Run code.", {"type": "object", "properties": {"code": {"type": "string"}}})
GOOD = '{"verdict": "yes", "why": "it is"}'


def test_a_text_its_tokens_and_its_price(serve, protocol):
    server = serve([{"text": "Yes.", "usage": {"in": 1000, "cached": 600, "written": 100, "out": 50}}])
    reply = asyncio.run(connect(protocol, server.url).complete(ask()))
    assert (reply.text, reply.stop, reply.calls, reply.parsed) == ("Yes.", "end", (), None)
    used = reply.usage
    assert (used.input_tokens, used.cached_tokens, used.cache_write_tokens, used.output_tokens) == (1000, 600, 100, 50)
    assert used.usd == pytest.approx((300 * 3 + 600 * 0.3 + 100 * 3.75 + 50 * 15) / 1e6, abs=1e-12)


def test_one_path_for_each_protocol_and_no_sampling_parameters(serve, protocol):
    server = serve([{"text": "Yes."}])
    asyncio.run(connect(protocol, server.url).complete(ask()))
    paths = {"anthropic": "/v1/messages", "responses": "/v1/responses", "chat": "/v1/chat/completions"}
    assert server.paths == [paths[protocol]]
    assert not {"temperature", "top_p", "top_k", "seed"} & set(server.bodies[0])


def test_a_tool_call_its_result_and_the_next_turn(serve, protocol):
    server = serve(
        [
            {"text": "Let me count.", "tool_calls": [{"name": "run_python", "arguments": {"code": "1+1"}}]},
            {"text": "Two."},
        ]
    )
    model = connect(protocol, server.url)
    request = ask("How many?", tools=(TOOL,))

    async def two_turns():
        first = await model.complete(request)
        assert first.stop == "tool"
        assert first.calls[0].name == "run_python" and first.calls[0].arguments == {"code": "1+1"}
        result = Message("tool", "2", call_id=first.calls[0].id)
        more = (*request.messages, first.message(), result, Message("user", "Go on."))
        return await model.complete(replace(request, messages=more))

    assert asyncio.run(two_turns()).text == "Two."
    sent = json.dumps(server.bodies[1])
    assert sent.index("Let me count.") < sent.index("1+1") < sent.index("Go on.")
    if protocol == "anthropic":
        roles = [turn["role"] for turn in server.bodies[1]["messages"]]
        assert roles == ["user", "assistant", "user"]
        assert [block["type"] for block in server.bodies[1]["messages"][2]["content"]] == ["tool_result", "text"]


def test_a_tool_that_does_not_exist_comes_back_as_data(serve, protocol):
    server = serve([{"tool_calls": [{"name": "rm_rf", "arguments": {"path": "/"}}]}])
    reply = asyncio.run(connect(protocol, server.url).complete(ask(tools=(TOOL,))))
    assert reply.stop == "tool" and reply.calls[0].name == "rm_rf"


@pytest.mark.parametrize("openai_protocol", ["responses", "chat"])
@pytest.mark.parametrize("arguments", ['{"code": "1+', "[1, 2]", "null"])
def test_arguments_that_are_no_object_are_kept_as_broken(serve, openai_protocol, arguments):
    server = serve([{"tool_calls": [{"name": "run_python", "arguments": arguments}]}])
    reply = asyncio.run(connect(openai_protocol, server.url).complete(ask(tools=(TOOL,))))
    assert reply.calls[0] == Call(reply.calls[0].id, "run_python", {}, broken=arguments)


def test_truncated_output_is_said_and_its_calls_are_dropped(serve, protocol):
    server = serve(
        [{"text": "It is b", "tool_calls": [{"name": "run_python", "arguments": {}}], "stop": "length"}],
    )
    reply = asyncio.run(connect(protocol, server.url).complete(ask(tools=(TOOL,))))
    assert (reply.stop, reply.text, reply.calls) == ("length", "It is b", ())


def test_a_truncated_structured_answer_is_not_repaired(serve, protocol):
    server = serve([{"text": '{"verdict": "y', "stop": "length"}])
    reply = asyncio.run(connect(protocol, server.url).complete(ask(schema=VERDICT)))
    assert reply.stop == "length" and reply.parsed is None and len(server.bodies) == 1


def test_a_refusal_is_a_reply(serve, protocol):
    server = serve([{"text": "I cannot help with that.", "stop": "refusal"}])
    reply = asyncio.run(connect(protocol, server.url).complete(ask(schema=VERDICT)))
    assert reply.stop == "refusal" and reply.parsed is None and len(server.bodies) == 1


OVERFLOWS = {
    "anthropic": ("prompt is too long: 210000 tokens > 200000 maximum", "invalid_request_error"),
    "responses": ("Your input exceeds the context window of this model.", "context_length_exceeded"),
    "chat": ("This model's maximum context length is 8192 tokens. However, you requested 9000.", "BadRequestError"),
}


def test_a_request_beyond_the_context_window_is_a_reply_that_costs_nothing(serve, protocol):
    message, code = OVERFLOWS[protocol]
    server = serve([{"status": 400, "message": message, "code": code}])
    reply = asyncio.run(connect(protocol, server.url).complete(ask()))
    assert (reply.stop, reply.text, reply.usage.usd) == ("overflow", "", 0.0)


def test_the_context_window_filled_while_answering_is_overflow_too(serve):
    server = serve([{"text": "It is", "stop": "overflow"}])
    reply = asyncio.run(connect("anthropic", server.url).complete(ask()))
    assert (reply.stop, reply.text) == ("overflow", "It is")


def test_a_structured_answer_is_asked_for_natively_and_validated(serve, protocol):
    server = serve([{"text": GOOD}])
    reply = asyncio.run(connect(protocol, server.url).complete(ask(schema=VERDICT)))
    assert reply.parsed == {"verdict": "yes", "why": "it is"}
    body = server.bodies[0]
    schema = {
        "anthropic": lambda: body["output_config"]["format"]["schema"],
        "responses": lambda: body["text"]["format"]["schema"],
        "chat": lambda: body["response_format"]["json_schema"]["schema"],
    }[protocol]()
    assert schema["properties"].keys() == VERDICT["properties"].keys()


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{GOOD}\n```",
        f"<think>{{not this}}</think>\n{GOOD}",
        f"Here it is: {GOOD} as you asked.",
    ],
)
def test_json_in_a_fence_after_reasoning_or_amid_prose_is_read(serve, text):
    server = serve([{"text": text}])
    reply = asyncio.run(connect("chat", server.url).complete(ask(schema=VERDICT)))
    assert reply.parsed["verdict"] == "yes" and len(server.bodies) == 1


@pytest.mark.parametrize(
    "bad", ['{"verdict": "ye', '{"verdict": "maybe", "why": "?"}', "I think so.", "", '{"verdict": NaN}']
)
def test_an_unusable_answer_is_repaired_once(serve, protocol, bad):
    server = serve([{"text": bad}, {"text": GOOD}])
    reply = asyncio.run(connect(protocol, server.url).complete(ask(schema=VERDICT)))
    assert reply.parsed == {"verdict": "yes", "why": "it is"}
    assert len(server.bodies) == 2 and "cannot be used" in json.dumps(server.bodies[1])
    assert reply.usage.input_tokens == 200 and reply.usage.output_tokens == 40


def test_still_unusable_after_one_repair_is_a_model_error(serve, protocol):
    server = serve([{"text": '{"verdict": "maybe", "why": 3}'}])
    with pytest.raises(ModelError, match=r"test.*\$\.verdict.*\$\.why") as caught:
        asyncio.run(connect(protocol, server.url).complete(ask(schema=VERDICT)))
    assert caught.value.remedy and len(server.bodies) == 2


def test_a_server_without_structured_outputs_gets_the_schema_in_words(serve, protocol):
    def script(number, body):
        if {"output_config", "response_format", "text"} & set(body):
            return {
                "status": 400,
                "message": "unknown parameter: response_format output_config text.format",
                "code": "bad",
            }
        return {"text": GOOD}

    server = serve(script)
    model = connect(protocol, server.url)

    async def twice():
        return [await model.complete(ask(text, schema=VERDICT)) for text in ("a", "b")]

    assert [reply.parsed["verdict"] for reply in asyncio.run(twice())] == ["yes", "yes"]
    assert len(server.bodies) == 3, "the refused feature is tried once, not at each call"
    assert "JSON Schema" in json.dumps(server.bodies[-1])


NULLABLE = {
    "type": "object",
    "properties": {"at": {"type": ["integer", "null"], "description": "step"}, "kind": {"enum": ["a", None]}},
    "required": ["at"],
}
FREE = {"type": "object", "additionalProperties": {"type": "string"}}


def test_a_nullable_field_is_said_in_a_way_the_vendor_takes(serve):
    server = serve([{"text": '{"at": null}'}])
    assert asyncio.run(connect("anthropic", server.url).complete(ask(schema=NULLABLE))).parsed == {"at": None}
    sent = server.bodies[0]["output_config"]["format"]["schema"]["properties"]["at"]
    assert sent == {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "step"}


@pytest.mark.parametrize("schema", [FREE, {"type": "object", "properties": {"a": FREE}}, {"properties": {"a": {}}}])
def test_a_schema_the_vendors_format_would_narrow_is_said_in_words(serve, schema):
    server = serve([{"text": '{"a": {"b": "c"}}' if "properties" in schema else '{"b": "c"}'}])
    reply = asyncio.run(connect("anthropic", server.url).complete(ask(schema=schema)))
    assert reply.parsed and "output_config" not in server.bodies[0]
    assert json.dumps(schema) in server.bodies[0]["system"][0]["text"]


def test_openai_is_strict_only_about_closed_schemas(serve, protocol):
    if protocol == "anthropic":
        pytest.skip("strictness is OpenAI's")
    server = serve([{"text": GOOD}, {"text": "{}"}])
    model = connect(protocol, server.url)
    asyncio.run(model.complete(ask(schema=VERDICT)))
    asyncio.run(model.complete(ask(schema={"type": "object"})))
    forms = [body["text"]["format"] if protocol == "responses" else body["response_format"]["json_schema"]
             for body in server.bodies]  # fmt: skip
    assert [form["strict"] for form in forms] == [True, False]


def test_one_refused_schema_does_not_cost_the_others(serve, protocol):
    def script(number, body):
        if "minimum" in json.dumps(body) and {"output_config", "response_format", "text"} & set(body):
            return {"status": 400, "message": "Invalid schema for response_format 'answer': minimum is not permitted"}
        return {"text": '{"n": 3}' if "minimum" in json.dumps(body) else GOOD}

    server = serve(script)
    model = connect(protocol, server.url)
    odd = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
    assert asyncio.run(model.complete(ask(schema=odd))).parsed == {"n": 3}
    asyncio.run(model.complete(ask(schema=VERDICT)))
    assert {"output_config", "response_format", "text"} & set(server.bodies[-1])


def test_a_schema_that_is_none_is_the_callers_error(serve):
    server = serve([{"text": "{}"}])
    with pytest.raises(UsageError, match="no JSON Schema"):
        asyncio.run(connect("chat", server.url).complete(ask(schema={"type": "nonsense"})))
    assert not server.bodies, "and it costs nothing"


def test_a_schema_never_makes_us_fetch_an_address(serve):
    server = serve([{"text": "{}"}])
    schema = {"type": "object", "$ref": f"{server.url}/v1/secret"}
    with pytest.raises(UsageError, match="refers to"):
        asyncio.run(connect("chat", server.url).complete(ask(schema=schema)))
    with pytest.raises(UsageError, match="refers to"):
        asyncio.run(connect("chat", server.url).complete(ask(schema={"$ref": "#/$defs/none"})))
    assert set(server.paths) <= {"/v1/chat/completions"}


def test_reasoning_is_given_back_as_it_came(serve):
    thinking = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    calls = [{"name": "run_python", "arguments": {}}]
    server = serve([{"blocks": [thinking], "tool_calls": calls}, {"text": "Two."}])
    again = _answer_a_call(connect("anthropic", server.url), server)
    assert again["messages"][1]["content"][0] == thinking


def test_encrypted_reasoning_is_asked_for_and_given_back(serve):
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "abc"}
    calls = [{"name": "run_python", "arguments": {}}]
    server = serve([{"items": [item], "tool_calls": calls}, {"text": "Two."}])
    again = _answer_a_call(connect("responses", server.url), server)
    assert again["include"] == ["reasoning.encrypted_content"] and again["store"] is False
    assert again["input"][1] == item and again["input"][2]["type"] == "function_call"


def _answer_a_call(model, server):
    async def two_turns():
        first = await model.complete(ask(tools=(TOOL,)))
        messages = (*ask().messages, first.message(), Message("tool", "2", call_id=first.calls[0].id))
        await model.complete(replace(ask(tools=(TOOL,)), messages=messages))

    asyncio.run(two_turns())
    return server.bodies[1]


def test_a_model_without_encrypted_reasoning_is_asked_without(serve):
    def script(number, body):
        if "include" in body:
            return {"status": 400, "message": "Encrypted content is not supported with this model.", "code": "bad"}
        return {"text": "Yes."}

    server = serve(script)
    assert asyncio.run(connect("responses", server.url).complete(ask(tools=(TOOL,)))).text == "Yes."


def test_a_server_that_wants_max_completion_tokens_gets_it(serve):
    def script(number, body):
        if "max_tokens" in body:
            return {"status": 400, "message": "'max_tokens' is not supported. Use 'max_completion_tokens' instead."}
        return {"text": "Yes."}

    server = serve(script)
    asyncio.run(connect("chat", server.url).complete(ask(max_tokens=77)))
    assert server.bodies[1]["max_completion_tokens"] == 77


def test_prompts_are_marked_for_caching_where_the_next_call_repeats_them(serve):
    server = serve([{"text": "Yes."}])
    model = connect("anthropic", server.url)
    asyncio.run(model.complete(ask()))
    asyncio.run(model.complete(ask(tools=(TOOL,))))
    alone, conversation = server.bodies
    assert alone["system"][0]["cache_control"] == {"type": "ephemeral"} and "cache_control" not in alone
    assert conversation["cache_control"] == {"type": "ephemeral"}


def test_calls_that_share_a_prompt_share_openais_cache_key(serve):
    server = serve([{"text": "Yes."}])
    model = connect("responses", server.url)
    asyncio.run(model.complete(ask("a")))
    asyncio.run(model.complete(ask("b")))
    asyncio.run(model.complete(ask("b", system="Another.")))
    keys = [body["prompt_cache_key"] for body in server.bodies]
    assert keys[0] == keys[1] != keys[2]


def test_long_answers_are_streamed(serve):
    server = serve([{"text": "Yes."}])
    reply = asyncio.run(connect("anthropic", server.url).complete(ask(max_tokens=64_000)))
    assert reply.text == "Yes." and server.bodies[0]["stream"] is True and reply.usage.output_tokens == 20


def test_a_server_that_reports_no_tokens_has_them_estimated(serve):
    body = {"id": "1", "object": "chat.completion", "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}]}  # fmt: skip

    server = serve([{"raw": json.dumps(body), "kind": "application/json"}])
    reply = asyncio.run(connect("chat", server.url).complete(ask("word " * 100)))
    assert reply.usage.estimated and reply.usage.input_tokens > 100


def test_a_server_that_reads_far_less_than_was_sent_is_reported(serve, caplog):
    server = serve([{"text": "Yes.", "usage": {"in": 4096}}])
    model = connect("chat", server.url)
    for text in ("word " * 20_000, "words " * 20_000):
        asyncio.run(model.complete(ask(text)))
    assert len(caplog.records) == 1
    assert "read 4096 of about" in caplog.text and "context window" in caplog.text
    caplog.clear()
    asyncio.run(connect("chat", server.url).complete(ask("word " * 3_000)))
    assert not caplog.text


def test_the_rule_which_protocol_is_spoken(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert type(open_model("openai/x")).__name__ == "OpenAIResponses"
    assert type(open_model("openai/x", base_url="https://api.openai.com/v1/")).__name__ == "OpenAIResponses"
    assert type(open_model("openai/meta/llama", base_url="http://127.0.0.1:1/v1")).__name__ == "OpenAIChat"
    assert (
        type(open_model("openai/x", base_url="http://127.0.0.1:1", protocol="responses")).__name__ == "OpenAIResponses"
    )
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert type(open_model("openai/x")).__name__ == "OpenAIChat"


@pytest.mark.parametrize("name", ["gpt", "", "openai/", "google/gemini"])
def test_a_name_that_cannot_be_meant(name):
    with pytest.raises(UsageError, match="anthropic/NAME"):
        open_model(name)


def test_settings_that_cannot_be_meant():
    with pytest.raises(UsageError, match="base URL"):
        open_model("openai/x", base_url="localhost:8000")
    with pytest.raises(UsageError, match="settings are"):
        open_model("openai/x", temperature=0)
