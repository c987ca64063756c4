"""Scripts and recordings, for tests and for users."""

from __future__ import annotations

import asyncio

import pytest

from insights.errors import ModelError, UsageError
from insights.models import (
    Budget,
    Call,
    Ledger,
    Metered,
    Recorder,
    ReplayModel,
    Reply,
    ScriptedModel,
    map_calls,
    open_model,
)
from tests.models.conftest import VERDICT, ask


def complete(model, *requests):
    async def all_of_them():
        return [await model.complete(request) for request in requests]

    return asyncio.run(all_of_them())


def test_a_script_of_every_kind_of_line():
    call = {"tool_calls": [{"name": "run", "arguments": {"code": "1"}}]}
    model = ScriptedModel(["text", call, Reply("whole", stop="length"), '{"verdict": "yes", "why": ""}'])
    first, second, third, fourth = complete(model, ask(), ask(), ask(), ask(schema=VERDICT))
    assert (first.text, first.stop) == ("text", "end") and first.usage.input_tokens > 0
    assert (second.stop, second.calls) == ("tool", (Call("call_2_0", "run", {"code": "1"}),))
    assert third.stop == "length" and fourth.parsed == {"verdict": "yes", "why": ""}
    assert [request.role for request in model.requests] == ["test"] * 4


def test_the_end_of_the_script_is_loud():
    with pytest.raises(ModelError, match="the script has 1 lines and test asks for line 2"):
        complete(ScriptedModel(["one"]), ask(), ask())


@pytest.mark.parametrize("line", [3, {"texts": "typo"}, None])
def test_a_line_that_is_no_reply(line):
    with pytest.raises(UsageError, match="line 1 is no reply"):
        complete(ScriptedModel([line]), ask())


def test_a_script_may_be_a_function_or_a_coroutine():
    async def slow(request):
        await asyncio.sleep(0)
        return request.messages[0].text.upper()

    assert complete(ScriptedModel(slow), ask("abc"))[0].text == "ABC"
    assert complete(ScriptedModel(lambda r: r.system), ask(system="s"))[0].text == "s"


def test_a_recording_gives_the_same_answers_and_refuses_what_is_new(tmp_path):
    path = tmp_path / "run.jsonl"
    script = [
        "yes",
        {"text": "hm", "tool_calls": [{"name": "f", "arguments": {"x": 1}}]},
        "broken",
        '{"verdict": "no", "why": ""}',
    ]
    requests = [ask("a"), ask("b"), ask("c", schema=VERDICT)]
    recorded = complete(Recorder(ScriptedModel(script), path), *requests)
    for model in (ReplayModel(path), open_model(f"replay/{path}")):
        assert complete(model, *reversed(requests)) == recorded[::-1]
    with pytest.raises(ModelError, match="holds no answer to this request of test: 'new'") as caught:
        complete(ReplayModel(path), ask("new"))
    assert "record again" in caught.value.remedy
    with pytest.raises(ModelError):
        complete(ReplayModel(path), ask("a", system="changed"))


def test_a_recording_under_the_meter(tmp_path):
    requests = [ask(str(i)) for i in range(5)]
    complete(Recorder(ScriptedModel(lambda r: r.messages[0].text), tmp_path / "r.jsonl"), *requests)
    with Ledger(tmp_path / "calls.sqlite") as ledger:
        model = Metered(ReplayModel(tmp_path / "r.jsonl"), Budget(ledger))
        outcomes = asyncio.run(map_calls(model, [*requests, ask("new")]))
    assert [o.text for o in outcomes[:5]] == list("01234") and isinstance(outcomes[5], ModelError)


@pytest.mark.parametrize("content", [None, b"", b"{}\n", b"not json\n", b'{"recording": 1, "model": "m"}\n'])
def test_a_file_that_is_no_recording(tmp_path, content):
    path = tmp_path / "r.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match="is no recording"):
        ReplayModel(path)
