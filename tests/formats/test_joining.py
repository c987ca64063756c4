"""Traces told in several files are one trace, in whatever order and ingest the files come."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest

from insights.corpus.load import ingest
from tests.formats.reading import write


def _span(trace: str, id: str, parent: str, at: int, **attributes: Any) -> dict[str, Any]:
    told = [
        {"key": k, "value": {"stringValue": v if isinstance(v, str) else json.dumps(v)}} for k, v in attributes.items()
    ]
    return {"traceId": trace, "spanId": id, "parentSpanId": parent, "name": id, "startTimeUnixNano": str(at * 10**9),
            "endTimeUnixNano": str((at + 1) * 10**9), "attributes": told}  # fmt: skip


def _chat(trace: str, id: str, at: int, asked: str, said: str) -> dict[str, Any]:
    def messages(role: str, text: str) -> list[Any]:
        return [{"role": role, "parts": [{"type": "text", "content": text}]}]

    return _span(trace, id, "f00f00f00f00f00f", at, **{
        "gen_ai.operation.name": "chat", "gen_ai.input.messages": messages("user", asked),
        "gen_ai.output.messages": messages("assistant", said)})  # fmt: skip


def _envelope(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {"name": "x"}, "spans": list(spans)}]}]}


ONE = "0a" * 16
SPANS = {
    "root": _span(ONE, "f00f00f00f00f00f", "", 1, **{"gen_ai.operation.name": "invoke_agent"}),
    "first": _chat(ONE, "a" * 16, 2, "Where is it?", "I shall look."),
    "last": _chat(ONE, "b" * 16, 4, "And now?", "It is here."),
    "other": _chat("0b" * 16, "c" * 16, 3, "Another trace", "Yes, another."),
}


def _told(corpus: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(corpus / "traces.duckdb"), read_only=True) as con:
        return con.execute(
            "SELECT trace_id, list(text ORDER BY seq) FROM steps WHERE text IS NOT NULL GROUP BY 1 ORDER BY 1"
        ).fetchall()


WHOLE = [
    (f"otel_genai:{ONE}", ["Where is it?", "I shall look.", "And now?", "It is here."]),
    ("otel_genai:" + "0b" * 16, ["Another trace", "Yes, another."]),
]


@pytest.mark.parametrize("order", list(itertools.permutations(SPANS))[::5])
def test_spans_of_a_trace_join_across_files_in_any_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    for i, name in enumerate(order):
        write(tmp_path / "in" / f"{i}.json", _envelope(SPANS[name]))
    summary = ingest([tmp_path / "in"], tmp_path / "c", jobs=1)
    assert _told(tmp_path / "c") == WHOLE
    assert summary.by_format == {"otel_genai": [4, 2]}
    assert ingest([tmp_path / "in"], tmp_path / "c", jobs=1).n_unchanged == 4


def test_spans_join_what_an_earlier_ingest_read_and_go_on_doing_so(tmp_path: Path) -> None:
    for name, span in SPANS.items():
        ingest([write(tmp_path / f"{name}.json", _envelope(span))], tmp_path / "c", jobs=1)
    assert _told(tmp_path / "c") == WHOLE
    os.utime(tmp_path / "last.json", (1e9, 1e9))
    ingest([tmp_path / "last.json"], tmp_path / "c", jobs=1)
    assert _told(tmp_path / "c") == WHOLE


def test_workers_read_joined_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insights.corpus.readers.PARALLEL_ABOVE", 0)
    for name, span in SPANS.items():
        write(tmp_path / "in" / f"{name}.json", _envelope(span))
    ingest([tmp_path / "in"], tmp_path / "c", jobs=2)
    assert _told(tmp_path / "c") == WHOLE


def _requests(session: str | None, run: int) -> list[dict[str, Any]]:
    """Three requests of one conversation, as a proxy logs them."""
    history: list[dict[str, Any]] = [{"role": "user", "content": "Count up to three."}]
    found = []
    for n in range(3):
        answer = {"role": "assistant", "content": f"{n} in run {run}"}
        meta = {"metadata": {"session_id": session}} if session else {}
        usage = {"prompt_tokens": 10 * (n + 1), "completion_tokens": 2}
        found.append({**meta, "model": "m", "messages": history, "response": {
            "id": f"r{run}{n}", "choices": [{"message": answer, "finish_reason": "stop"}], "usage": usage}})  # fmt: skip
        history = [*history, answer, {"role": "user", "content": "Go on."}]
    return found


@pytest.mark.parametrize("named", [True, False])
def test_requests_with_a_file_each_fold_into_their_conversations(tmp_path: Path, named: bool) -> None:
    rows = [row for run in range(2) for row in _requests(f"s{run}" if named else None, run)]
    for i, row in enumerate(reversed(rows)):
        write(tmp_path / "in" / f"{i}.json", row)
    ingest([tmp_path / "in"], tmp_path / "c", jobs=1)
    told = [texts for _, texts in _told(tmp_path / "c")]
    said = [
        ["Count up to three.", f"0 in run {r}", "Go on.", f"1 in run {r}", "Go on.", f"2 in run {r}"] for r in (0, 1)
    ]
    assert sorted(told) == said
    with duckdb.connect(str(tmp_path / "c" / "traces.duckdb"), read_only=True) as con:
        assert con.execute("SELECT n_llm_calls, input_tokens FROM traces").fetchall() == [(3, 60), (3, 60)]


def test_responses_with_a_file_each_follow_the_response_they_name(tmp_path: Path) -> None:
    for n in range(3):
        item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": f"part {n}"}]}
        before = {"previous_response_id": f"resp_{n - 1}"} if n else {}
        row = {"id": f"resp_{n}", "object": "response", **before, "created_at": 100 + n, "status": "completed", "output": [item]}  # fmt: skip
        write(tmp_path / "in" / f"{9 - n}.json", row)
    ingest([tmp_path / "in"], tmp_path / "c", jobs=1)
    assert _told(tmp_path / "c") == [("openai_responses:resp_0", ["part 0", "part 1", "part 2"])]


def test_the_outcome_of_a_harbor_trial_is_that_of_its_agents_own_log(tmp_path: Path) -> None:
    trial = tmp_path / "job" / "fix__a1"
    result = {"trial_name": "fix__a1", "task_name": "fix", "agent_info": {"name": "claude-code", "model_info": {"name": "bedrock/m"}},
              "agent_result": {"cost_usd": None}, "verifier_result": {"rewards": {"reward": 1.0}}, "exception_info": None,
              "finished_at": "2026-01-01T00:00:09"}  # fmt: skip
    message = {
        "id": "m1",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "I fixed it."}],
        "usage": {"input_tokens": 3},
    }
    write(trial / "result.json", result)
    log = [{"type": "system", "subtype": "init", "session_id": "s1", "tools": [], "model": "m"},
           {"type": "assistant", "session_id": "s1", "message": message}]  # fmt: skip
    write(trial / "agent" / "claude-code.txt", "".join(json.dumps(row) + "\n" for row in log))
    ingest([str(tmp_path / "job")], tmp_path / "x.corpus", jobs=1)
    with duckdb.connect(str(tmp_path / "x.corpus" / "traces.duckdb"), read_only=True) as con:
        rows = con.execute("SELECT trace_id, task_id, success, model FROM traces").fetchall()
    assert rows == [("claude_code:s1", "fix", True, "m")]
