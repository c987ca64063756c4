"""Every fact of ../shared/corpora/*/facts*.json that is a count comes out of SQL over the ingested corpus, exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from insights.corpus.load import ingest
from tests.facts.registry import CANNOT, CORRECTED, FACTS, IDS, Query

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"
pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason="../shared/corpora is absent")
BESIDE = ("id", "question", "definition", "value", "trace_ids")  # what stands beside these is part of the value
RANKED = ("top", "messages")  # lists of (name, count) that the facts cut off among equals


@cache
def _facts() -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for path in sorted(CORPORA.glob("*/facts*.json")):
        for fact in json.loads(path.read_text())["facts"]:
            found[path.parent.name, fact["id"]] = fact
    return found


@pytest.fixture(scope="session")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Query]:
    """`ask(corpus)` gives a query function over that corpus, ingested once a session."""
    folder, open_ = tmp_path_factory.mktemp("facts"), {}

    def over(name: str) -> Query:
        if name not in open_:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("primitives.index.build", lambda *a, **k: None)  # nothing is searched here
                ingest([CORPORA / name], folder / f"{name}.corpus", jobs=1)
            open_[name] = duckdb.connect(str(folder / f"{name}.corpus" / "traces.duckdb"), read_only=True)
        return lambda sql: [list(row) for row in open_[name].execute(sql).fetchall()]

    return over


def _plain(value: Any) -> Any:
    """As JSON has it: keys are text, rows are lists."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _expected(fact: dict[str, Any]) -> Any:
    value = fact["value"]
    if not isinstance(value, dict):
        return value
    return value | {k: v for k, v in fact.items() if k not in BESIDE}


def _same_ranking(got: list[Any], want: list[Any]) -> None:
    assert [n for _, n in got][: len(want)] == [n for _, n in want]
    assert all(row in got for row in want)


@pytest.mark.parametrize("key", sorted(FACTS), ids="-".join)
def test_a_fact_comes_out_of_the_corpus_exactly(key: tuple[str, str], ask: Callable[[str], Query]):
    got = _plain(FACTS[key](ask(key[0])))
    want = CORRECTED.get(key, _expected(_facts()[key]))
    if key == ("whowhen", "W5"):
        want = want | {"mismatch": [row[0] for row in want["mismatch"]]}
    for name in RANKED if isinstance(want, dict) else ():
        if isinstance(want.get(name), list):
            _same_ranking(got.pop(name), want[name])
            want = {k: v for k, v in want.items() if k != name}
    if isinstance(got, dict) and "mismatch" in got:
        got["mismatch"].sort(), want["mismatch"].sort()
    assert got == want


@pytest.mark.parametrize("key", sorted(k for k in IDS if k not in CORRECTED), ids="-".join)
def test_the_traces_that_a_fact_counts_are_the_same(key: tuple[str, str], ask: Callable[[str], Query]):
    got = sorted(row[0] for row in IDS[key](ask(key[0])))
    assert got == sorted(_facts()[key]["trace_ids"])


def test_every_fact_is_answered_or_said_not_to_be():
    answered = {key for key in FACTS if key not in CORRECTED}
    assert set(_facts()) == answered | set(CANNOT)
    assert not answered & set(CANNOT)
