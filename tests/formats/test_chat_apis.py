"""Chat messages of OpenAI and Anthropic, Responses items, request logs that repeat their history, guessed logs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from insights.corpus.formats import FORMATS
from insights.corpus.source import Source
from tests.formats.reading import codes, lines, read, write

CALL = {"id": "call_1", "type": "function", "function": {"name": "get", "arguments": '{"id": 7}'}}
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Where is 7?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "Error: not found"},
    {"role": "assistant", "content": "Gone."},
]
GOLDEN = [
    "0 system/harness: Be kind.",
    "0 user/human: Where is 7?",
    '0 assistant/model:  -> get({"id": 7}) error',
    "0 tool/tool: Error: not found",
    "0 assistant/model: Gone.",
]


@pytest.mark.parametrize(
    ("file", "rows"),
    [
        ("object.json", {"messages": CHAT}),
        ("list.json", CHAT),
        ("lines.jsonl", CHAT),
        ("a_list_a_line.jsonl", [CHAT]),
        ("objects.jsonl", [{"messages": CHAT}]),
        ("encoded_twice.jsonl", [json.dumps({"messages": CHAT})]),
        ("request.json", {"request": {"messages": CHAT[:4]}, "response": {"choices": [{"message": CHAT[4]}]}}),
    ],
)
def test_containers_of_openai_chat(tmp_path, file, rows):
    name, (t,), source = read(write(tmp_path / file, rows))
    assert (name, lines(t)) == ("openai_chat", GOLDEN)
    assert set(codes(source)) <= {"double_encoded"}


def test_arguments_encoded_twice_invalid_or_absent(tmp_path):
    def call(own: str, **function: Any) -> dict[str, Any]:
        return {"id": own, "function": {"name": "f", **function}}

    calls = [
        call("1", arguments=json.dumps(json.dumps({"a": 1}))),
        call("2", arguments="{oops"),
        call("3"),
        call("1", arguments=""),
    ]
    chat = [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "2", "content": "b"}, {"role": "tool", "tool_call_id": "1", "content": "a"},
            {"role": "tool", "tool_call_id": "1", "content": "d"}]  # fmt: skip
    _, (t,), _ = read(write(tmp_path / "x.json", {"messages": chat}))
    assert [(c.tool_call_key, c.args, bool(c.args_error), c.result_text) for c in t.calls] == [
        ("1", {"a": 1}, False, "a"), ("2", None, True, "b"), ("3", {}, False, None), ("1.3", {}, False, "d")]  # fmt: skip


def logged(n: int, answer: str, **more: Any) -> dict[str, Any]:
    response = {"id": f"r{n}", "model": "m", "choices": [{"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10 * n, "completion_tokens": n, "prompt_tokens_details": {"cached_tokens": n}}}  # fmt: skip
    return {
        "request": {"messages": more.pop("messages")},
        "response": response,
        "timestamp": 1772359200 + n,
        "cost": 0.5,
        **more,
    }


def test_a_log_that_repeats_the_history_is_one_conversation(tmp_path):
    a, b, c = ({"role": "user", "content": text} for text in "abc")
    said = {"role": "assistant", "content": "1", "refusal": None}
    rows = [
        logged(1, "1", messages=[a]),
        logged(2, "other", messages=[a]),  # the same prompt again: another trial
        logged(3, "2", messages=[a, said, b]),
        logged(4, "3", messages=[a, said, b, {"role": "assistant", "content": "2, told differently"}, c]),
    ]
    _, traces, source = read(write(tmp_path / "log.jsonl", rows))
    longest = next(t for t in traces if len(t.llm_calls) == 3)
    assert len(traces) == 2 and codes(source) == {"history_folded": 2}
    assert [s.text for s in longest.steps] == ["a", "1", "b", "2, told differently", "c", "3"]
    assert [(x["input_tokens"], x["first_seq"], x["cost_usd"]) for x in longest.llm_calls] == [
        (10, 1, 0.5),
        (30, 3, 0.5),
        (40, 5, 0.5),
    ]
    assert (longest.input_tokens, longest.cache_read_tokens, longest.cost_usd, longest.end_reason) == (
        80,
        8,
        1.5,
        "completed",
    )
    assert (longest.ended_at - longest.started_at).total_seconds() == 3


def test_runs_with_an_outcome_or_a_name_are_never_folded(tmp_path):
    short, long = CHAT[:2], CHAT
    _, traces, source = read(
        write(tmp_path / "runs.jsonl", [{"messages": short, "score": 0.0}, {"messages": long, "score": 1.0}])
    )
    assert [t.score for t in traces] == [0.0, 1.0] and not codes(source)
    rows = [{"session_id": "s1", "messages": short}, {"session_id": "s2", "messages": long}]
    _, traces, _ = read(write(tmp_path / "named.jsonl", rows))
    assert sorted(t.session_id for t in traces) == ["s1", "s2"]


def test_stream_chunks_and_batch_output(tmp_path):
    def chunk(**choice: Any) -> dict[str, Any]:
        return {
            "id": "c1",
            "object": "chat.completion.chunk",
            "created": 1772359200,
            "model": "m",
            "choices": [choice] if choice else [],
        }

    part = {"index": 0, "id": "call_1", "function": {"name": "get", "arguments": '{"id"'}}
    rows = [chunk(delta={"role": "assistant", "content": "Let me "}), chunk(delta={"content": "look."}), chunk(delta={"tool_calls": [part]}),
            chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": ": 7}"}}]}, finish_reason="tool_calls"),
            {**chunk(), "usage": {"prompt_tokens": 20, "completion_tokens": 9}}]  # fmt: skip
    golden = ['0 assistant/model: Let me look. -> get({"id": 7}) pending']
    sent = "".join(f"data: {json.dumps(row)}\n\n" for row in rows) + "data: [DONE]\n"
    for path in (write(tmp_path / "s.jsonl", rows), write(tmp_path / "s.txt", sent)):
        name, (t,), _ = read(path)
        assert (name, lines(t), t.input_tokens, t.native_end_reason) == ("openai_chat", golden, 20, "tool_calls")
    batch = [{"custom_id": "t1", "response": {"status_code": 200, "body": logged(1, "ok", messages=[])["response"]}, "error": None},
             {"custom_id": "t2", "response": None, "error": {"code": "server_error", "message": "boom"}}]  # fmt: skip
    _, (good, bad), _ = read(write(tmp_path / "batch.jsonl", batch))
    assert (good.trace_id, lines(good)) == ("openai_chat:t1", ["0 assistant/model: ok"])
    assert (bad.end_reason, bad.error_type, lines(bad)) == ("error", "server_error", ["0 [error] system/harness: boom"])


USE = {"type": "tool_use", "id": "toolu_1", "name": "get", "input": {"id": 7}}
CLAUDE: list[dict[str, Any]] = [
    {"role": "user", "content": "Where is 7?"},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "Look."}, USE]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "gone"}], "is_error": True},
                                 {"type": "text", "text": "and 8?"}]},
]  # fmt: skip


def test_anthropic_messages_and_their_log(tmp_path):
    golden = [
        "0 user/human: Where is 7?",
        '0 assistant/model:  ~Look.~ -> get({"id": 7}) error',
        "0 tool/tool: gone",
        "0 user/human: and 8?",
    ]
    name, (t,), _ = read(write(tmp_path / "list.json", CLAUDE))
    assert (name, lines(t)) == ("anthropic_messages", golden)
    usage = {
        "input_tokens": 12,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 1000,
        "output_tokens": 55,
    }
    answer = {
        "id": "msg_1",
        "type": "message",
        **CLAUDE[1],
        "model": "claude-x",
        "stop_reason": "tool_use",
        "usage": usage,
    }
    last = {**answer, "id": "msg_2", "content": [{"type": "text", "text": "No."}], "stop_reason": "end_turn"}
    system = [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]
    rows = [{"request": {"model": "claude", "system": system, "messages": CLAUDE[:1]}, "response": answer},
            {"request": {"model": "claude", "system": system, "messages": CLAUDE}, "response": last}]  # fmt: skip
    name, (t,), source = read(write(tmp_path / "log.jsonl", rows))
    assert (name, lines(t)) == ("anthropic_messages", ["0 system/harness: Be kind.", *golden, "0 assistant/model: No."])
    assert [(c["llm_call_id"], c["input_tokens"], c["first_seq"]) for c in t.llm_calls] == [
        ("msg_1", 1312, 2),
        ("msg_2", 1312, 5),
    ]
    assert (t.end_reason, codes(source)) == ("completed", {"history_folded": 1})


def test_anthropic_event_stream(tmp_path):
    start = {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "c",
        "usage": {"input_tokens": 25, "output_tokens": 1},
    }
    events = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 1, "content_block": {**USE, "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"id": 7}'}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 30}},
        {"type": "message_stop"},
    ]
    text = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    name, (t,), _ = read(write(tmp_path / "sse.txt", text))
    assert (name, lines(t)) == ("anthropic_messages", ['0 assistant/model: Hi -> get({"id": 7}) pending'])
    assert (t.input_tokens, t.output_tokens) == (25, 30)
    _, (t,), source = read(write(tmp_path / "cut.txt", text[: text.index("event: message_delta")]))
    assert lines(t) == ['0 assistant/model: Hi -> get({"id": 7}) pending'] and "stream_cut_off" in codes(source)


def test_responses_chained_by_id(tmp_path):
    def response(own: str, before: str | None, *output: dict[str, Any]) -> dict[str, Any]:
        usage = {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 25}, "output_tokens": 40}
        return {"id": own, "object": "response", "previous_response_id": before, "model": "m", "status": "completed", "usage": usage,
                "instructions": "Be kind.", "created_at": 1772359200, "output": list(output)}  # fmt: skip

    first = response("r1", None, {"type": "reasoning", "summary": [], "encrypted_content": "x"},
                     {"type": "function_call", "call_id": "c1", "name": "get", "arguments": '{"id":7}'})  # fmt: skip
    second = response(
        "r2", "r1", {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Gone."}]}
    )
    answer = {"type": "function_call_output", "call_id": "c1", "output": "not here"}
    rows = [
        {"request": {"input": "Where is 7?"}, "response": first},
        {"request": {"input": [answer]}, "response": second},
    ]
    name, (t,), _ = read(write(tmp_path / "log.jsonl", rows))
    assert (name, t.trace_id) == ("openai_responses", "openai_responses:r1")
    assert lines(t) == [
        "0 system/harness: Be kind.",
        "0 user/human: Where is 7?",
        '0 assistant/model:  -> get({"id":7}) ok',
        "0 tool/tool: not here",
        "0 assistant/model: Gone.",
    ]
    assert [(c["llm_call_id"], c["input_tokens"], c["first_seq"]) for c in t.llm_calls] == [
        ("r1", 100, 2),
        ("r2", 100, 4),
    ]
    assert (t.cache_read_tokens, t.steps[2].reasoning_hidden, t.end_reason) == (50, True, "completed")


def test_a_home_made_log_is_guessed_and_says_so(tmp_path):
    rows = [
        {"chat": 7, "author": "customer", "body": "Where is my order?", "at": "2026-03-01T10:00:00Z", "channel": "web"},
        {
            "chat": 7,
            "author": "bot",
            "body": "Let me look.",
            "tool": "lookup",
            "args": {"id": 1},
            "result": "Error: none",
        },
        {"chat": 8, "author": "customer", "body": "Hi"},
        {"chat": 8, "author": "bot", "body": "Hello"},
    ]
    path = write(tmp_path / "own.jsonl", rows)
    name, traces, source = read(path)
    assert (name, [t.trace_id for t in traces]) == ("guessed", ["guessed:7", "guessed:8"])
    assert lines(traces[0]) == [
        "0 user/human: Where is my order?",
        '0 assistant/model: Let me look. -> lookup({"id": 1}) error',
        "0 tool/tool: Error: none",
    ]
    assert traces[0].steps[0].extra == {"channel": "web"} and traces[0].steps[0].ts is not None
    assert "role=author, text=body" in source.issues[0].detail and "4 of 4" in source.issues[0].detail
    told = Source(path, str(path), tmp_path, fields={"role": "author", "text": "channel"})
    (t,) = FORMATS["guessed"].read(told)
    assert [s.text for s in t.steps] == ["web", None, None, None] and not told.issues
    mistyped = Source(path, str(path), tmp_path, fields={"role": "autor", "text": "body"})
    assert not list(FORMATS["guessed"].read(mistyped))
    assert (
        "no record has autor, which --map names" in mistyped.issues[0].detail and "author" in mistyped.issues[0].detail
    )


def test_nested_lists_and_question_answer_pairs(tmp_path):
    run = {
        "run": "a1",
        "score": 1,
        "log": {"turns": [{"speaker": "human", "utterance": "q"}, {"speaker": "bot", "utterance": "a"}]},
    }
    name, traces, _ = read(write(tmp_path / "runs.json", [run, {**run, "run": "a2", "score": 0}]))
    assert (name, [(t.trace_id, t.score, t.steps[1].src_pointer) for t in traces]) == (
        "guessed", [("guessed:a1", 1.0, "/0/log/turns/1"), ("guessed:a2", 0.0, "/1/log/turns/1")])  # fmt: skip
    name, (t,), _ = read(write(tmp_path / "qa.jsonl", [{"question": "2+2", "answer": "5", "correct": False}]))
    assert (name, lines(t), t.success, t.fidelity) == (
        "guessed",
        ["0 user/human: 2+2", "0 assistant/model: 5"],
        False,
        "io_only",
    )


def test_what_is_no_log_is_explained(tmp_path):
    from insights.corpus.formats import recognise
    from insights.corpus.formats.guessed import explain

    head = Source(write(tmp_path / "x.json", {"task_id": 3, "reward": 1, "colour": "red"}), "x", tmp_path).head
    assert recognise(head) is None
    assert "tau_bench (missing traj, trial)" in explain(head) and "colour" in explain(head)
    package = Source(
        write(tmp_path / "package.json", {"name": "shop", "version": "1", "type": "module"}), "x", tmp_path
    ).head
    assert recognise(package) is None
