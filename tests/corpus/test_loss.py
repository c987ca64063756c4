"""What share of a source's text its traces hold, and that readers see each text of their samples."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from insights.corpus.formats import recognise
from insights.corpus.loss import Watch, spaced, strings
from insights.corpus.readers import read_all
from insights.corpus.source import Source
from tests.formats.reading import write

DATA = Path(__file__).parents[1] / "formats" / "data"
FORMATS = ("openai_chat", "otel_genai", "openinference", "traceloop", "langfuse", "langsmith", "inspect", "mlflow", "weave",
           "braintrust", "opik")  # fmt: skip
FILES = [p for name in FORMATS for p in sorted((DATA / name).rglob("*.json*")) if p.parent.name != "scores"]
SAID_ELSEWHERE = {  # texts a reader leaves out on purpose: repetitions of what counts, older versions, cut previews
    "otel_genai/collector.jsonl": {"[].resourceSpans.[].scopeSpans.[].spans.[].name"},  # a span stored twice
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
    path = write(tmp_path / "chat.json", {"messages": kept, "tools": [{"description": "what nobody asked to keep"}]})
    found = _watched(path).loss()
    assert found is not None and found.missing == [("tools[].description", 1, 25)]
    assert found.share == pytest.approx(1 - 25 / (25 + 21 + 20))


def test_the_share_stands_with_the_source_and_lost_paths_in_its_issues(tmp_path: Path) -> None:
    kept = [
        {"role": "user", "content": "a question with words"},
        {"role": "assistant", "content": "an answer with words"},
    ]
    whole = write(tmp_path / "whole.json", {"messages": kept})
    part = write(tmp_path / "part.json", {"messages": kept, "tools": [{"description": "what nobody asked to keep"}]})
    done = [d for batch in read_all([Source(p, p.name, tmp_path) for p in (whole, part)], jobs=1) for d in batch.done]
    assert done[0].source_row["text_share"] == 1.0 and done[0].issues == []
    assert done[1].source_row["text_share"] < 0.99
    assert [(i.code, i.detail) for i in done[1].issues] == [
        ("unmapped", "tools[].description: 25 characters are in no trace")
    ]


def test_text_inside_json_in_a_string_is_looked_for_by_itself() -> None:
    inner = json.dumps([{"content": "words in a string", "id": "x1"}])
    assert list(strings({"input": json.dumps(inner), "time": "2026-01-01T00:00:00Z"})) == [
        ("input[].content", "words in a string")
    ]


def test_no_more_than_so_many_sources_are_measured() -> None:
    sources = [Source(Path(str(i)), str(i), Path()) for i in range(1001)]
    assert len(spaced(sources, 200)) <= 200 and spaced(sources[:3]) == sources[:3]


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
