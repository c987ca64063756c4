"""Logs nobody specified: events by their names, steps of thought and action, strangers who speak."""

from __future__ import annotations

from pathlib import Path

import pytest

from insights.corpus.formats.event_words import meaning
from tests.formats.reading import read, write


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("user_message", "user"), ("UserInput", "user"), ("llm_request", "asked"), ("on_llm_start", "asked"), ("llm.response", "model"),
        ("Supervisor decision", "model"), ("tool_start", "call"), ("toolCall", "call"), ("Worker started", "call"),
        ("on_tool_end", "result"), ("tool_error", "result"), ("observation", "result"), ("Token usage", "usage"),
        ("thinking", "thought"), ("run_failed", "error"), ("final_result", "end"), ("session_start", "begin"),
        ("cache_flushed", None), ("http.get", None),
    ],
)  # fmt: skip
def test_the_name_of_an_event_says_what_it_is(name: str, told: str | None) -> None:
    assert meaning(name) == told


def test_runs_within_a_run_are_one_trace_of_callbacks(tmp_path: Path) -> None:
    def event(name: str, own: str, above: str | None, **more: object) -> dict[str, object]:
        return {"event": name, "run_id": own, "parent_run_id": above, **more}

    rows = [
        event("on_chain_start", "r1", None, inputs={"input": "Is it raining in Oslo?"}),
        event("on_llm_start", "r2", "r1", prompts=["Is it raining in Oslo?"]),
        event("on_llm_end", "r2", "r1", response={"generations": [[{"text": "I look it up."}]],
                                                   "llm_output": {"token_usage": {"prompt_tokens": 9, "completion_tokens": 4}}}),
        event("on_tool_start", "r3", "r1", serialized={"name": "weather"}, input_str="Oslo"),
        event("on_tool_error", "r3", "r1", error="503 from the weather service"),
        event("on_chain_end", "r1", None, outputs={"output": "I cannot say."}),
    ]  # fmt: skip
    format, traces, _ = read(write(tmp_path / "run.jsonl", rows))
    (t,) = traces
    assert format == "event_log" and (t.native_id, t.input_tokens, t.output_tokens) == ("r1", 9, 4)
    assert (t.calls[0].name, t.calls[0].args, t.calls[0].status) == ("weather", {"input": "Oslo"}, "error")
    assert t.final_output == "I cannot say."


def test_events_between_messages_are_not_left_out(tmp_path: Path) -> None:
    rows = [
        {"session": "s", "type": "message", "role": "user", "content": "Cancel order 7."},
        {"session": "s", "type": "tool_call", "tool": "cancel", "args": {"id": 7}},
        {"session": "s", "type": "tool_result", "tool": "cancel", "result": "already shipped", "success": False},
        {"session": "s", "type": "message", "role": "assistant", "content": "It has been shipped."},
    ]
    _, traces, _ = read(write(tmp_path / "own.jsonl", rows))
    assert [(s.role, s.text) for s in traces[0].steps if s.text] == [
        ("user", "Cancel order 7."), ("tool", "already shipped"), ("assistant", "It has been shipped.")]  # fmt: skip
    assert traces[0].calls[0].status == "error"


def test_bare_lists_of_speakers_with_names_are_conversations(tmp_path: Path) -> None:
    rows = [
        [
            {"role": "host", "text": "What about energy?"},
            {"role": "ann", "text": "More wind."},
            {"role": "bo", "text": "Less of it."},
        ],
        [{"role": "host", "text": "And schools?"}, {"role": "bo", "text": "Smaller classes."}],
    ]
    _, traces, _ = read(write(tmp_path / "debate.json", rows))
    assert [len(t.steps) for t in traces] == [3, 2]
    assert traces[0].steps[0].role == "user" and traces[0].steps[2].agent == "bo"


def test_a_table_of_things_is_no_log_of_an_agent(tmp_path: Path) -> None:
    from insights.corpus.formats import recognise
    from insights.corpus.sniff import look

    rows = [{"name": f"part {i}", "type": "screw", "price": i, "message": "in stock"} for i in range(5)]
    assert recognise(look(write(tmp_path / "parts.json", rows), "parts.json")) is None


def test_speakers_and_texts_may_stand_deeper(tmp_path: Path) -> None:
    rows = [
        {"author": {"role": "user"}, "content": {"parts": ["Where is order 7?"]}, "create_time": 1750000000.5},
        {"author": {"role": "assistant"}, "content": {"parts": ["On its way."]}, "create_time": 1750000001.5},
    ]
    _, traces, _ = read(write(tmp_path / "own.json", {"chat": {"title": "Order", "list": rows}}))
    assert [(s.role, s.text) for s in traces[0].steps] == [("user", "Where is order 7?"), ("assistant", "On its way.")]
    assert traces[0].steps[0].ts is not None


def test_a_result_with_an_id_finds_the_call_without_one() -> None:
    from insights.corpus.trace import Trace

    t = Trace("x", "1")
    t.call(t.step("assistant"), "list_directory", {"path": "/"})
    t.result("not there", id="list_directory-1", name="list_directory", status="error")
    assert t.calls[0].status == "error" and not t.issues
