"""The parts of keyword search: words and their places, what queries mean, ranking, segments."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from primitives import open_corpus
from primitives.index import build
from primitives.postings import LONGEST, Segment, hashes_of, segment
from primitives.query import Clauses, Words, parse
from tests.primitives import small

ODD = [
    "",
    "…",
    "über-Straße don’t “go” — now",
    "x" * 50 + " y",
    "漢字 テスト abc",
    "a",
    "A_B c3",
    "z" * 39 + " " + "z" * 40,
    "",
]


def plainly(text: str) -> list[str]:
    return [w for w in re.findall(r"[^\W_]+", text.lower()) if len(w.encode()) < LONGEST]


def test_every_word_of_every_text_is_found_there_and_nowhere_else() -> None:
    dice = random.Random(1)
    texts = ODD + ["".join(dice.choices("ab cD9é—_漢 ", k=dice.randint(0, 60))) for _ in range(500)]
    made = segment(pa.array(texts))
    total = 0
    for i, text in enumerate(texts):
        words = Counter(plainly(text))
        assert (made.lengths[i], made.read(i)) == (words.total(), text)
        for word, times in words.items():
            (h,) = hashes_of(word)
            assert (made.texts_of(made.of(h)) == i).sum() == times
        total += words.total()
    assert total == len(made.tokens)
    assert len(made.of(hashes_of("nowhere")[0])) == 0


def test_long_words_that_share_a_beginning_differ() -> None:
    words = ["prefix" * 3 + str(i) for i in range(2_000)] + ["w" * n for n in range(1, LONGEST)]
    assert len({int(hashes_of(w)[0]) for w in words}) == len(words)


def test_a_segment_comes_back_from_its_files(tmp_path: Path) -> None:
    made = segment(pa.array(ODD))
    made.save(tmp_path, 3)
    back = Segment.load(tmp_path, 3)
    assert [back.read(i) for i in range(len(ODD))] == ODD
    assert back.of(hashes_of("abc")[0]).tolist() == made.of(hashes_of("abc")[0]).tolist() != []


a, b, c = Words("a"), Words("b"), Words("c")


@pytest.mark.parametrize(
    ("query", "meaning"),
    [
        ("a b", Clauses(should=(a, b))),
        ("a OR b", Clauses(should=(a, b))),
        ("a AND b c", Clauses(should=(Clauses(must=(a, b)), c))),
        ("a AND NOT b", Clauses(should=(Clauses(must=(a,), excluded=(b,)),))),
        ("a -b +c", Clauses(must=(c,), should=(a,), excluded=(b,))),
        ("(a OR b) AND c", Clauses(should=(Clauses(must=(Clauses(should=(a, b)), c)),))),
        ('"a b" role:user', Clauses(should=(Words("a b"), Words("user", "role")))),
        ('tool:"a b', Clauses(should=(Words("a b", "tool"),))),
        ("Error: a", Clauses(should=(Words("Error:"), a))),
        ("AND ) a OR", Clauses(should=(a,))),
    ],
)
def test_what_a_query_means(query: str, meaning: Clauses) -> None:
    assert parse(query) == meaning


def test_brackets_without_end_are_no_recursion() -> None:
    parse("(" * 100_000 + "a")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    texts = [
        "apple pie",
        "apple apple pie with cream",
        "pie",
        "cream cheese",
        "get_order 12:14",
        "an apple a day " * 200,
    ]
    steps = [
        {"trace_id": f"t{i}", "seq": 0, "role": "user" if i % 2 else "assistant", "text": t}
        for i, t in enumerate(texts)
    ]
    made = small.corpus(
        tmp_path_factory.mktemp("keyword"), traces=[{"trace_id": f"t{i}", "n_steps": 1} for i in range(6)], steps=steps
    )
    build(made.path)
    return open_corpus(made.path)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("apple AND pie", ["t0", "t1"]),
        ("apple AND NOT pie", ["t5"]),
        ("(cream OR pie) AND NOT apple", ["t2", "t3"]),
        ('"pie with"', ["t1"]),
        ('"pie apple"', []),
        ("get_order", ["t4"]),
        ("12:14", ["t4"]),
        ("-apple", []),
        ("cheese role:nobody", ["t3"]),
        ("+pie role:user", ["t0", "t1", "t2"]),
    ],
)
def test_booleans_and_phrases_find_what_they_say(corpus, query: str, found: list[str]) -> None:  # type: ignore[no-untyped-def]
    assert sorted(corpus.search(query, mode="keyword")["trace_id"]) == found


def test_rare_words_and_short_texts_rank_higher(corpus) -> None:  # type: ignore[no-untyped-def]
    assert corpus.search("pie", mode="keyword")["trace_id"][0] == "t2"
    assert corpus.search("apple cheese", mode="keyword")["trace_id"][0] == "t3"
    assert corpus.search("apple", mode="keyword")["same"].tolist() == [1, 1, 1]  # t5 has two windows, shown once
