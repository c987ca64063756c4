"""The reading verbs: sql, read, chunk, sample, overview."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primitives import Corpus
from primitives.read import TraceNotFound
from primitives.splitting import format_of, split
from primitives.sql import Bounded, QueryError
from primitives.tokens import count_tokens
from tests.primitives import small, tiny


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return small.corpus(tmp_path_factory.mktemp("reading"), **tiny.rows())


def one_trace(path: Path, steps: list[dict[str, Any]], calls: list[dict[str, Any]] | None = None) -> Corpus:
    return small.corpus(
        path,
        traces=[{"trace_id": "run:a/1", "n_steps": len(steps)}],
        steps=[{"trace_id": "run:a/1", "seq": i, **s} for i, s in enumerate(steps)],
        tool_calls=[{"trace_id": "run:a/1", **c} for c in calls or []],
    )


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("DELETE FROM traces", "read-only"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT nonesuch FROM traces", "n_steps"),
        ("SELECT * FROM nonesuch", "tool_calls("),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled"),
        ("COPY traces TO '/tmp/x.csv'", "read-only"),
        ("SET threads = 1", "read-only"),
        ("", "empty"),
    ],
)
def test_sql_refuses_with_a_reason(corpus: Corpus, query: str, says: str) -> None:
    with pytest.raises(QueryError, match=says.replace("(", r"\(")):
        corpus.sql(query)


def test_sql_keeps_order_comments_and_bounds(corpus: Corpus) -> None:
    table = corpus.sql("SELECT trace_id FROM traces ORDER BY cost_usd DESC; -- the dearest first")
    assert list(table["trace_id"]) == [f"t{i}" for i in range(7, -1, -1)]
    assert corpus.sql("SELECT 'überlastet ；' AS said; -- für alle")["said"][0] == "überlastet ；"
    with pytest.warns(Bounded, match="first 3 rows"):
        assert len(corpus.sql("FROM traces", max_rows=3)) == 3
    assert "more characters]" in corpus.sql("SELECT repeat('x', 50000) AS x")["x"][0]
    assert corpus.sql("SELECT 1 AS a, 2 AS a").shape == (1, 2)


def test_read_shows_calls_results_errors_and_reasoning(corpus: Corpus) -> None:
    text = corpus.read("t1")
    assert "failed (score 0)" in text and "detectors fired: ignored_error #4" in text
    assert "#2 assistant\n(thinking) The order number is known.\n→ get_order [error]" in text
    assert "#3 tool (get_order error)\nError: order A117 not found" in text
    assert "← get_order [ok] saved" in text
    assert "#1 " not in corpus.read("t1", start=2) and "#3 " not in corpus.read("t1", end=3)


@pytest.mark.parametrize("max_chars", [800, 3_000, 12_000])
def test_read_is_bounded_and_says_what_it_left_out(tmp_path: Path, max_chars: int) -> None:
    steps = [{"role": "user", "text": f"begin{i} " + "long " * 3_000 + f"end{i}"} for i in range(60)]
    text = one_trace(tmp_path, steps).read("run:a/1", max_chars=max_chars)
    assert len(text) <= max_chars
    assert "characters left out: read(…, start=0, end=1)]" in text
    assert "are not shown: read(…, start=" in text
    assert "begin0" in text and "end0" in text


def test_read_of_little_leaves_out_nothing(tmp_path: Path) -> None:
    corpus = one_trace(tmp_path, [{"role": "user", "text": "x" * 5_000}, {"role": "assistant", "text": "y" * 5_000}])
    text = corpus.read("run:a/1")
    assert "x" * 5_000 in text and "y" * 5_000 in text and "left out" not in text


def test_read_finds_a_trace_by_its_ending(corpus: Corpus, tmp_path: Path) -> None:
    assert one_trace(tmp_path, [{"role": "user", "text": "hello"}]).read("a/1").startswith("trace run:a/1\n")
    with pytest.raises(TraceNotFound, match="t1"):
        corpus.read("nonesuch")


def rebuilt(table: Any) -> dict[tuple[int, str, Any], str]:
    found: dict[tuple[int, str, Any], str] = {}
    for row in table.itertuples():
        key = (row.seq, row.field, row.tool_call_key if isinstance(row.tool_call_key, str) else None)
        assert len(found.get(key, "")) == row.start
        assert row.end - row.start == len(row.text)
        found[key] = found.get(key, "") + row.text
    return found


def test_chunks_lose_nothing_and_stay_in_budget(tmp_path: Path) -> None:
    result = "[" + ", ".join(f'{{"id": {i}, "note": "item number {i}, in stock"}}' for i in range(200)) + "]"
    steps = [
        {"role": "system", "text": "# Policy\n\n" + "A rule.\n\n" * 300 + "## Refunds\n\n```\ncode here\n```\n" * 30},
        {"role": "user", "text": "hello"},
        {"role": "assistant", "text": "", "reasoning": "think " * 20},
        {"role": "tool", "kind": "tool_result", "text": result, "tool_call_key": "k"},
        {"role": "assistant", "text": "x" * 9_000},
    ]
    call = {
        "tool_call_key": "k",
        "name": "list",
        "call_seq": 2,
        "call_index": 0,
        "result_seq": 3,
        "args_text": '{"a": 1}',
    }
    corpus = one_trace(tmp_path, steps, [call])
    table = corpus.chunk("run:a/1", budget=150)
    texts = rebuilt(table)
    assert texts[(3, "result", "k")] == result and texts[(4, "text", None)] == "x" * 9_000
    assert [text for (seq, field, _), text in texts.items() if seq == 0] == [steps[0]["text"]]
    assert table.groupby("chunk")["tokens"].sum().max() <= 150
    assert list(table["chunk"]) == sorted(table["chunk"])
    cuts = list(table[table["field"] == "result"]["text"])
    assert all(t.startswith(("[{", "{")) for t in cuts), "JSON is cut between items"
    first_result = table[table["field"] == "result"].iloc[0]
    assert first_result["chunk"] == table[table["field"] == "args"].iloc[0]["chunk"], "a call stays with its result"
    with pytest.warns(Bounded, match="start="):
        assert corpus.chunk("run:a/1", budget=150, max_chunks=2)["chunk"].max() == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text(alphabet=st.sampled_from('{}[]",:# \n`ab1é\\'), max_size=400) | st.text(max_size=300),
    st.integers(5, 60),
    st.none() | st.integers(1, 60),
)
def test_split_covers_any_text(text: str, limit: int, first: int | None) -> None:
    pieces = split(text, limit, count_tokens, first=first)
    assert "".join(text[a:b] for a, b in pieces) == text
    assert all(b > a for a, b in pieces)
    assert all(count_tokens(text[a:b]) <= limit or b - a == 1 for a, b in pieces)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"a": [1, 2]}', "json"),
        ("# One\n\ntext\n\n## Two\n", "markdown"),
        ("import os\n\ndef f():\n    pass\n", "code"),
        ("diff --git a/x b/x\n@@ -1 +1 @@\n", "diff"),
        ("Just a sentence.", "text"),
        ("", "text"),
    ],
)
def test_formats_are_told_apart(text: str, kind: str) -> None:
    assert format_of(text) == kind


def test_samples_are_seeded_and_what_they_say(corpus: Corpus) -> None:
    assert list(corpus.sample(4, seed=1)["trace_id"]) == list(corpus.sample(4, seed=1)["trace_id"])
    assert {tuple(corpus.sample(4, seed=s)["trace_id"]) for s in range(6)} != {tuple(corpus.sample(4)["trace_id"])}
    strata = corpus.sample(4, how="stratified", by=["success", "region"])
    assert strata["why"].nunique() >= 3 and strata["why"].str.match(r"success = \w+, region = \w+").all()
    assert corpus.sample(1, how="extreme", by="cost_usd")["trace_id"][0] == "t7"
    spread = corpus.sample(4, how="diverse")
    assert spread["trace_id"].is_unique and spread["why"][0] == "most typical"
    assert set(corpus.sample(20, population="NOT success")["trace_id"]) == {"t1", "t3", "t5"}


@pytest.mark.parametrize(
    "arguments", [{"n": 0}, {"how": "best"}, {"how": "stratified", "by": "nonesuch"}, {"how": "extreme", "by": "model"}]
)
def test_samples_refuse_what_they_cannot_do(corpus: Corpus, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        corpus.sample(**arguments)


def test_overview_counts(corpus: Corpus) -> None:
    text = corpus.overview()
    for line in (
        "8 traces, 48 steps",
        "OUTCOMES 4 passed (57% of those judged), 3 failed, 1 without a verdict",
        "TASKS 4 in 1 dataset(s), 4 run more than once (at most 2)",
        "get_order: 12 calls in 8 traces, 4 errors",
        "ignored_error: 4 traces (4 times), 1 of 4 pass",
        "action: 8 in 8 traces",
        "invalid_utf8 (warning): 1",
    ):
        assert line in text
