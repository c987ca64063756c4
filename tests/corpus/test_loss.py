"""What share of a source's text its traces hold, and that readers see each text of their samples."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from insights.corpus.formats import recognise
from insights.corpus.loss import IN_ALL, SAMPLE, Watch, allot
from insights.corpus.readers import read_all
from insights.corpus.source import Source
from insights.corpus.texts import sample, strings
from tests.formats.reading import write

DATA = Path(__file__).parents[1] / "formats" / "data"
FORMATS = ("openai_chat", "otel_genai", "openinference", "traceloop", "langfuse", "langsmith", "inspect", "mlflow", "weave",
           "braintrust", "opik")  # fmt: skip
FILES = [p for name in FORMATS for p in sorted((DATA / name).rglob("*.json*")) if p.parent.name != "scores"]
SAID_ELSEWHERE = {  # texts a reader leaves out on purpose: repetitions of what counts, older versions, cut previews
    "otel_genai/collector.jsonl": {"[].resourceSpans.[].scopeSpans.[].spans.[].name"},  # a span stored twice
    "otel_genai/logs.jsonl": {
        "[].resourceLogs.[].scopeLogs.[].logRecords.[].body.stringValue"
    },  # says the event's name
    "openinference/phoenix.jsonl": {"[].attributes.llm.input_messages.3.message.content"},  # the tool span's result
    "inspect/locks.json": {
        "samples.[].input",  # the first message
        "samples.[].output.choices.[].message.content",  # the last message
        "samples.[].events.[].output.choices.[].message.content",  # the message with the same id
    },
    "mlflow/v3.json": {"info.request_preview"},
    "braintrust/logs.jsonl": {"[].input"},  # a row written again
}
MARK = "altered text of its own"


def _watched(path: Path) -> Watch:
    source = Source(path, path.name, path.parent)
    found = recognise(source.head)
    assert found is not None
    watch = Watch(source)
    for trace in watch.over(found[0].read(source)):
        trace.finish("s")
    return watch


def test_text_that_no_trace_holds_is_told_with_its_path(tmp_path: Path) -> None:
    kept = [
        {"role": "user", "content": "a question with words"},
        {"role": "assistant", "content": "an answer with words"},
    ]
    path = write(tmp_path / "chat.json", {"messages": kept, "choices": [{"note": "what nobody asked to keep"}]})
    found = _watched(path).loss()
    assert found is not None and found.missing == [("choices[].note", 1, 25)]
    assert found.share == pytest.approx(1 - 25 / (25 + 21 + 20))


def test_the_share_stands_with_the_source_and_lost_paths_in_its_issues(tmp_path: Path) -> None:
    kept = [
        {"role": "user", "content": "a question with words"},
        {"role": "assistant", "content": "an answer with words"},
    ]
    whole = write(tmp_path / "whole.json", {"messages": kept})
    part = write(tmp_path / "part.json", {"messages": kept, "choices": [{"note": "what nobody asked to keep"}]})
    done = [d for batch in read_all([Source(p, p.name, tmp_path) for p in (whole, part)], jobs=1) for d in batch.done]
    assert done[0].source_row["text_share"] == 1.0 and done[0].issues == []
    assert done[1].source_row["text_share"] < 0.99
    assert [(i.code, i.detail) for i in done[1].issues] == [
        ("unmapped", "choices[].note: 25 characters are in no trace")
    ]


def test_text_inside_json_in_a_string_is_looked_for_by_itself() -> None:
    inner = json.dumps([{"content": "words in a string", "id": "x1"}])
    assert list(strings({"input": json.dumps(inner), "time": "2026-01-01T00:00:00Z"})) == [
        ("input[].content", "words in a string")
    ]


def test_times_are_no_text_and_what_python_wrote_is_read() -> None:
    said = {"at": "2026-03-01 10:00:00.123 +0000", "input": "{'q': 'where is it now', 'n': None}"}
    assert list(strings(said)) == [("input.q", "where is it now")]
    assert list(strings({"m": "role='user' content='where is it now' name=None"})) == [("m.content", "where is it now")]


def test_lines_of_a_log_count_by_what_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(
        '2026-03-01 10:00:00: task="Find the order", agent="Shop clerk one", output="It is shipped."\n'
        'Agent: {"name": "get_order", "why": "nobody knows yet"}\n'
    )
    texts = [t for _, t in sample(Source(path, path.name, tmp_path), 1 << 20).texts]
    assert texts == ["Find the order", "Shop clerk one", "It is shipped.", "nobody knows yet"]


def test_every_source_is_measured_and_many_of_them_on_less_each() -> None:
    sources = [Source(Path(str(i)), str(i), Path()) for i in range(1001)]
    allot(sources)
    assert {s.measured for s in sources} == {IN_ALL // 1001}
    allot(sources[:3])
    assert sources[0].measured == SAMPLE


def _large(folder: Path, name: str, lost: int, n: int = 3000) -> Source:
    """A file of 7 MB or more in which one text of every `lost` is where no reader looks."""
    runs = []
    for i in range(n):
        said = [f"question {i}: " + "what of it " * 60, f"answer {i}: " + 'that is so \\" ' * 60]
        run = {
            "id": f"run-{i}",
            "messages": [{"role": r, "content": t} for r, t in zip(("user", "assistant"), said, strict=True)],
        }
        runs.append({**run, "choices": [{"note": f"tool {i} " + "no one keeps " * 50}]} if i % lost == 0 else run)
    text = "\n".join(map(json.dumps, runs)) if name.endswith("l") else json.dumps({"runs": runs, "kind": "x"}, indent=1)
    path = folder / name
    path.write_text(text)
    source = Source(path, name, folder)
    source.measured = 256 << 10
    return source


@pytest.mark.parametrize("name", ["runs.jsonl", "runs.json"])
def test_a_large_source_is_sampled_throughout(tmp_path: Path, name: str) -> None:
    source = _large(tmp_path, name, lost=2)
    found = sample(source, source.measured)
    assert 0.01 < found.share < 0.2
    numbers = {int(t.split()[1].strip(":")) for _, t in found.texts if t.startswith(("question", "answer", "tool"))}
    assert min(numbers) < 100 and max(numbers) > 2800
    lost = sum(len(t) for _, t in found.texts if t.startswith("tool"))
    whole = 1500 * 660 / (1500 * 660 + 3000 * (675 + 795))
    assert lost / sum(len(t) for _, t in found.texts) == pytest.approx(whole, rel=0.25)
    assert {p for p, t in found.texts if t.startswith("tool")} == {"… note"}


def test_what_a_large_source_lost_is_told_with_the_share_that_was_looked_at(tmp_path: Path) -> None:
    source = _large(tmp_path, "runs.jsonl", lost=2)
    done = next(d for batch in read_all([source], jobs=1) for d in batch.done)
    assert 0.7 < done.source_row["text_share"] < 0.9 and 0.1 < done.source_row["text_sampled"] < 0.3
    told = [i.detail for i in done.issues if i.code == "unmapped"]
    assert len(told) == 1 and told[0].startswith("… note: ") and "% of it that was looked at" in told[0]


def test_a_window_inside_a_long_string_takes_nothing_from_it(tmp_path: Path) -> None:
    inside = json.dumps({"a": "not a text of its own", "b": ["x y z w v u"]})
    big = {
        "messages": [
            {"role": "user", "content": inside * 40_000},
            {"role": "assistant", "content": "the very end of it"},
        ]
    }
    path = write(tmp_path / "big.json", big)
    texts = sample(Source(path, "big.json", tmp_path), 1 << 20).texts
    assert [p for p, _ in texts] == ["… content"] and texts[0][1] == inside * 40_000


def test_parquet_and_archives_are_measured(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"id": str(i), "said": f"row number {i} says it", "no": i} for i in range(5000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet", row_group_size=500)
    found = sample(Source(tmp_path / "t.parquet", "t.parquet", tmp_path), 1 << 20)
    assert found.share == pytest.approx(640 / 5000) and found.texts[0] == ("said", "row number 0 says it")
    with zipfile.ZipFile(tmp_path / "a.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(20):
            archive.writestr(f"samples/{i}_epoch_1.json", json.dumps({"input": f"text of sample {i}", "id": i}))
    found = sample(Source(tmp_path / "a.eval", "a.eval", tmp_path), 1 << 20)
    assert len(found.texts) == 20 and found.texts[3] == ("samples … input", "text of sample 3") and found.share == 1.0


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(inner, (*at, key))
    if isinstance(value, str) and " " in value and value[:1] not in '{["':
        yield at


def _named(place: tuple[Any, ...]) -> str:
    return ".".join("[]" if isinstance(p, int) else p for p in place)


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.relative_to(DATA).as_posix())
def test_a_reader_sees_every_text_that_is_altered(file: Path, tmp_path: Path) -> None:
    """Each text in turn is replaced by one that stands nowhere else; the traces then hold it."""
    lines = file.suffix == ".jsonl"
    text = file.read_text(encoding="utf-8")
    value = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    unseen = set()
    for place in _places(value):
        changed = copy.deepcopy(value)
        holder = changed
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = MARK
        watch = _watched(write(tmp_path / file.name, changed))
        found = watch.loss()
        if found is not None and MARK in watch.left:
            unseen.add(_named(place))
    assert unseen == SAID_ELSEWHERE.get(file.relative_to(DATA).as_posix(), set())
