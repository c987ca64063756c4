"""What every verb promises, checked for each that is registered: a new verb is tested because it exists."""

from __future__ import annotations

import ast
import copy
import doctest
import hashlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from primitives import VERBS, Corpus, Verb, open_corpus
from primitives.catalogue import columns, first_line
from primitives.index import build
from primitives.sql import Bounded
from tests.primitives import small, tiny

MOST_CHARS = 25_000  # of a text, or of one cell of a frame
MOST_ROWS = 50_000
EACH = [pytest.param(v, id=name) for name, v in sorted(VERBS.items())]

# What a host answers: the part of a run that a contract test cannot have.
ANSWERS: dict[str, Any] = {
    "save_cohort": 3,
    "submit_hypothesis": "h1",
    "submit_finding": {"id": "f1", "verdict": "inconclusive"},
    "dispatch": [{"role": "scout", "summary": "nothing"}],
    "finish": None,
    "explain": {"kept": 1, "refused": {}, "unread": 2},
    "coverage": {"failed": 3, "explained": 0, "unexplained": ["t1"]},
    "classify": {"rows": [{"trace_id": "t1", "name": "gave_up", "value": "yes", "seq": 5, "quote": "I could not"}]},
    "extract": {"rows": [{"trace_id": "t1", "value": {"cause": "no order"}, "seq": 5, "quote": "I could not"}]},
    "summarize": {"answer": "They are slow."},
}


def host(method: str, **params: Any) -> Any:
    return copy.deepcopy(ANSWERS[method])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = small.folder(tmp_path_factory.mktemp("contract"), **tiny.rows())
    build(home)
    return home


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.many(tmp_path_factory.mktemp("wide"), 1_200, "a long and hostile line ]]> </script> " * 800)


def opened(folder: Path, v: Verb) -> Corpus:
    return open_corpus(folder, threads=1, gateway=host if (v.acts or v.spends) and v.name != "save_cohort" else None)


def examples(v: Verb) -> list[str]:
    return [e.source for e in doctest.DocTestParser().get_examples(inspect.getdoc(v.function) or "")]


def run_examples(v: Verb, corpus: Corpus) -> Iterator[Any]:
    """The value of the last expression of each example, on a connection where a user left a query half read."""
    corpus.con.execute("SELECT * FROM range(2)").fetchone()
    names = corpus.namespace()
    corpus.con.execute("SELECT * FROM range(2)").fetchone()
    for source in examples(v):
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, v.name, "exec"), names)
        if last is not None:
            yield eval(compile(ast.Expression(last.value), v.name, "eval"), names)


def refused_well(error: Exception) -> bool:
    """An error that a caller can act on: one of ours, or a plain one about a value."""
    return type(error).__module__.startswith("primitives") or isinstance(error, ValueError | LookupError)


@pytest.mark.parametrize("v", EACH)
def test_typed(v: Verb) -> None:
    signature = inspect.signature(v.function)
    assert next(iter(signature.parameters)) == "corpus"
    untyped = [n for n, p in signature.parameters.items() if p.annotation is inspect.Parameter.empty]
    assert not untyped
    assert signature.return_annotation is not inspect.Signature.empty


@pytest.mark.parametrize("v", EACH)
def test_documented(v: Verb) -> None:
    doc = inspect.getdoc(v.function) or ""
    assert first_line(v).endswith(".") and len(first_line(v)) <= 140
    prose = doc.split(">>>")[0]
    unnamed = [n for n in list(inspect.signature(v.function).parameters)[1:] if not re.search(rf"\b{n}\b", prose)]
    assert not unnamed
    assert examples(v), "an example is missing"
    if inspect.signature(v.function).return_annotation == "pd.DataFrame" and "by: " not in prose:
        assert columns(v) or "Columns: those of the query" in doc, "the columns are not documented, or not parseable"


@pytest.mark.parametrize("v", EACH)
def test_example_runs_and_gives_what_is_documented(v: Verb, folder: Path) -> None:
    for value in run_examples(v, opened(folder, v)):
        if isinstance(value, pd.DataFrame) and columns(v) is not None:
            assert list(value.columns) == columns(v)


@pytest.mark.parametrize("v", EACH)
def test_deterministic_and_inputs_unchanged(v: Verb, folder: Path) -> None:
    before = hashlib.sha256((folder / "traces.duckdb").read_bytes()).hexdigest()
    first, again = opened(folder, v), opened(folder, v)
    kept = first.traces.copy(deep=True)
    for one, other in zip(run_examples(v, first), run_examples(v, again), strict=True):
        if isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other)
        else:
            assert one == other
    pd.testing.assert_frame_equal(first.traces, kept)
    assert hashlib.sha256((folder / "traces.duckdb").read_bytes()).hexdigest() == before


@pytest.mark.parametrize("v", EACH)
@pytest.mark.parametrize("tables", [{}, tiny.one()], ids=["empty", "one trace"])
@pytest.mark.filterwarnings("ignore::primitives.sql.Bounded")
def test_small_corpora(v: Verb, tables: dict[str, Any], tmp_path: Path) -> None:
    corpus = opened(small.folder(tmp_path, **tables), v)
    try:
        for value in run_examples(v, corpus):
            if isinstance(value, pd.DataFrame) and columns(v) is not None:
                assert list(value.columns) == columns(v)
    except Exception as error:
        assert refused_well(error), f"{v.name} fails on a small corpus with {type(error).__name__}: {error}"


@pytest.mark.parametrize("v", EACH)
@pytest.mark.filterwarnings("ignore::primitives.sql.Bounded")
def test_bounded(v: Verb, wide: Path) -> None:
    try:
        values = list(run_examples(v, opened(wide, v)))
    except Exception as error:
        assert refused_well(error), f"{v.name} fails on long texts with {type(error).__name__}: {error}"
        return
    for value in values:
        if isinstance(value, str):
            assert len(value) <= MOST_CHARS
        if isinstance(value, pd.DataFrame):
            assert len(value) <= MOST_ROWS
            texts = [cell for name in value.columns for cell in value[name] if isinstance(cell, str)]
            assert max(map(len, texts), default=0) <= MOST_CHARS


def test_a_warning_is_ours() -> None:
    assert issubclass(Bounded, UserWarning)
