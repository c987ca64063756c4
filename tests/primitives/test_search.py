"""Search: what is found, where it is, what the filters leave, and that an index stays true to its corpus."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from primitives import Corpus, open_corpus
from primitives.documents import OVERLAP, WINDOW, windows
from primitives.index import build, is_current
from primitives.passages import PASSAGES
from primitives.semantic import build as build_semantic
from primitives.sql import Bounded
from primitives.static import EmbeddingNotUsable
from tests.primitives import small, tiny

MODES = ("hybrid", "keyword", "semantic", "phrase", "regex")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = small.folder(tmp_path_factory.mktemp("search"), **tiny.rows())
    build(home)
    return home


@pytest.fixture
def corpus(folder: Path) -> Corpus:
    return open_corpus(folder, threads=1)


def field_text(corpus: Corpus, trace_id: str, seq: int, field: str) -> list[str]:
    rows = corpus.con.execute(
        f"SELECT text FROM ({PASSAGES}) WHERE trace_id = ? AND seq = ? AND field = ?", [trace_id, seq, field]
    ).fetchall()
    return [row[0] for row in rows]


@pytest.mark.parametrize("mode", MODES)
def test_every_hit_is_verbatim_at_its_offsets(corpus: Corpus, mode: str) -> None:
    hits = corpus.search("order" if mode != "regex" else r"ord\w+", mode=mode, k=30)
    assert len(hits) >= 8
    for hit in hits.itertuples():
        texts = field_text(corpus, hit.trace_id, hit.seq, hit.field)
        assert any(text[hit.start : hit.end] == hit.snippet for text in texts)


@pytest.mark.parametrize("mode", MODES)
def test_filters_hold_in_every_mode(corpus: Corpus, mode: str) -> None:
    hits = corpus.search("order", mode=mode, where="NOT success AND role = 'tool'", k=50)
    assert set(hits["trace_id"]) <= {"t1", "t3", "t5"} and set(hits["field"]) == {"result"}
    hits = corpus.search("order", mode=mode, where="success", trace_ids=["t0", "t1"], k=50)
    assert set(hits["trace_id"]) == {"t0"}
    assert corpus.search("order", mode=mode, where="n_steps > 1000").empty


def test_an_equal_text_is_shown_once_with_its_count(corpus: Corpus) -> None:
    hits = corpus.search("photograph", mode="keyword", k=20)
    assert len(hits) == 1 and hits["same"][0] == 8
    assert corpus.search("photograph", mode="keyword", trace_ids=["t3", "t6"])["same"][0] == 2
    assert corpus.search("photograph", mode="keyword", trace_ids=["t3", "t6"])["trace_id"][0] == "t3"


def test_booleans_fields_and_phrases(corpus: Corpus) -> None:
    assert set(corpus.search("tool:get_order AND found", mode="keyword")["field"]) == {"result"}
    assert set(corpus.search("role:user AND refund", mode="keyword")["seq"]) == {1}
    assert corpus.search("refund -please", mode="keyword", where="role = 'user'").empty
    assert len(corpus.search("order A117 not found", mode="phrase")) == 1
    assert corpus.search("found not", mode="phrase").empty
    assert set(corpus.search("field:args AND baggage", mode="keyword")["field"]) == {"args"}


@pytest.mark.parametrize("query", ['"unclosed', "foo: AND (", "a:b:c [", "*", "NOT", "\\", "' OR 1=1 --", "🙂"])
def test_hostile_queries_do_not_break_it(corpus: Corpus, query: str) -> None:
    for mode in ("hybrid", "keyword", "semantic", "phrase"):
        corpus.search(query, mode=mode)


def test_bad_arguments_say_what_to_do(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="empty"):
        corpus.search("  ")
    with pytest.raises(ValueError, match="RE2"):
        corpus.search("(unclosed", mode="regex")
    with pytest.raises(ValueError, match="hybrid"):
        corpus.search("x", mode="fuzzy")
    with pytest.raises(ValueError, match="nonesuch"):
        corpus.search("x", where="nonesuch = 1")


def test_meaning_joins_words_that_keep_company(tmp_path: Path) -> None:
    talk = {
        "cat": ["the cat chased a mouse", "a kitten and a cat sleep", "the kitten chased a mouse"],
        "car": ["the engine of the car broke", "a garage mends the engine", "the garage sold a car"],
    }
    steps = [
        {"trace_id": kind, "seq": i, "role": "user", "text": f"{text} {i % 3}"}
        for kind, texts in talk.items()
        for i, text in enumerate(texts * 5)
    ]
    corpus = small.corpus(tmp_path, traces=[{"trace_id": k, "n_steps": 15} for k in talk], steps=steps)
    build(corpus.path)
    found = corpus.search("kitten", mode="semantic", k=9)
    assert "the cat chased a mouse 0" in set(found["snippet"])
    assert set(found["trace_id"][:6]) == {"cat"}


def test_without_an_index_it_scans_and_says_so(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "bare.corpus", ignore=shutil.ignore_patterns("index"))
    bare = open_corpus(tmp_path / "bare.corpus")
    with pytest.warns(Bounded, match="no current search index"):
        hits = bare.search('refund AND "not found"', mode="keyword", k=5)
    assert hits["trace_id"][0] == "t1"
    assert hits["field"][0] == "result"


@pytest.mark.parametrize("mode", ["hybrid", "keyword", "phrase"])
def test_words_of_scripts_without_spaces_are_found_inside_a_clause(tmp_path: Path, mode: str) -> None:
    said = ["申し訳ございません、システムの都合で変更できません。", "配送先を変更いたしました。"]
    steps = [{"trace_id": f"t{i}", "seq": 0, "role": "assistant", "text": text} for i, text in enumerate(said)]
    home = small.folder(tmp_path, traces=[{"trace_id": f"t{i}"} for i in range(2)], steps=steps)
    build(home)
    corpus = open_corpus(home)
    assert corpus.search("変更できません", mode=mode)["trace_id"].tolist() == ["t0"]
    assert corpus.search("変更", mode=mode)["snippet"].tolist() == [said[1], said[0]]


def test_an_index_is_extended_and_goes_stale(tmp_path: Path) -> None:
    tables = tiny.rows()
    home = small.folder(tmp_path, **tables)
    first = build(home)
    con = duckdb.connect(str(home / "traces.duckdb"))
    con.execute("UPDATE steps SET text = 'an entirely new remark' WHERE trace_id = 't2' AND seq = 5")
    con.execute("UPDATE traces SET fingerprint = 'changed' WHERE trace_id = 't2'")
    con.close()
    with pytest.warns(Bounded, match="no current search index"):
        stale = open_corpus(home)
        assert not is_current(home, stale.con)
        stale.search("remark", mode="keyword")
    stale.con.close()
    second = build(home)
    assert (second.added, second.removed, second.texts) == (1, 1, first.texts)
    fresh = open_corpus(home)
    assert list(fresh.search("remark", mode="keyword")["trace_id"]) == ["t2"]
    assert fresh.search('"Your rebook is done. The reference is R-2."', mode="keyword").empty
    rebuilt = open_corpus(small.folder(tmp_path / "again", **tables))
    build(rebuilt.path)
    kept, anew = (c.search("order found", mode="keyword", k=100) for c in (fresh, rebuilt))
    assert set(zip(kept["trace_id"], kept["seq"], strict=True)) == set(zip(anew["trace_id"], anew["seq"], strict=True))


def test_a_read_only_corpus_can_be_searched(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "frozen.corpus"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "index" / "semantic", ignore_errors=True)
    (copy / "index" / "semantic").write_text("a file where the folder would be: it cannot be written")
    frozen = open_corpus(copy)
    assert len(frozen.search("refund", mode="hybrid")) > 0


def test_windows_cover_the_text_and_overlap() -> None:
    text = "word " * 3_000 + "x" * 5_000
    at = list(windows(text))
    assert at[0][0] == 0 and at[-1][1] == len(text)
    assert all(b[0] <= a[1] and a[1] - b[0] == OVERLAP for a, b in pairwise(at))
    assert max(end - start for start, end in at) <= WINDOW + OVERLAP


def test_a_static_embedding_can_take_the_place_of_lsa(folder: Path, tmp_path: Path) -> None:
    model2vec = pytest.importorskip("model2vec", reason="the extra `embed` is not installed")
    import numpy as np
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"[UNK]": 0, "refund": 1, "money": 2, "seat": 3, "chair": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    rows = np.array([[0, 0, 0], [1, 0, 0.1], [1, 0.1, 0], [0, 1, 0.1], [0.1, 1, 0]], dtype=np.float32)
    model2vec.StaticModel(rows, tokenizer).save_pretrained(tmp_path / "model")
    copy = tmp_path / "static.corpus"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("semantic"))
    assert build_semantic(copy, embedding=str(tmp_path / "model")) == 1.0
    shutil.rmtree(tmp_path / "model")
    found = open_corpus(copy).search("money", mode="semantic", k=4)
    assert len(found) == 4 and found["snippet"].str.contains("refund").all()
    with pytest.raises(EmbeddingNotUsable, match="safetensors"):
        build_semantic(folder, embedding=str(tmp_path / "nonesuch"))
