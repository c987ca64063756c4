"""The grouping verbs and those that act: errors, cluster, signals, score, taxonomy, cohorts, submissions, catalogue."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from primitives import VERBS, Corpus, open_corpus
from primitives.catalogue import catalogue, table
from primitives.submit import NotInARun
from primitives.templates import merge
from tests.primitives import small, tiny


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return small.corpus(tmp_path_factory.mktemp("grouping"), **tiny.rows())


def test_errors_are_one_row_per_cause(corpus: Corpus) -> None:
    found = corpus.errors()
    assert len(found) == 1
    row = found.iloc[0]
    assert row["template"] == "Error: order <id> not found in <path>"
    assert (row["n_calls"], row["n_traces"], row["passed"], row["judged"]) == (4, 4, 1, 4)
    assert row["recovered"] == 0.75  # in t4 the later call is another tool's
    assert row["tools"] == "get_order 4"
    assert row["quote"] == "Error: order A117 not found in /data/refund/orders.json" and row["seq"] == 3
    assert corpus.errors("success")["n_traces"][0] == 1
    assert corpus.errors(tool="update_order").empty


def test_tracebacks_are_told_by_their_last_line(tmp_path: Any) -> None:
    texts = [
        f'Traceback (most recent call last):\n  File "/srv/{name}.py", line {i}\n    x = d["{name}"]\n{error}'
        for i, (name, error) in enumerate(
            [("a", "KeyError: 'alpha'"), ("b", "KeyError: 'beta'"), ("c", "ValueError: 12 is not in list")] * 4
        )
    ]
    corpus = small.corpus(
        tmp_path,
        traces=[{"trace_id": "t"}],
        tool_calls=[
            {"trace_id": "t", "call_seq": i, "name": "run", "status": "error", "result_text": text, "args_text": ""}
            for i, text in enumerate(texts)
        ],
    )
    assert set(corpus.errors()["template"]) == {
        "KeyError: 'alpha'",
        "KeyError: 'beta'",
        "ValueError: <n> is not in list",
    }


def test_templates_join_what_differs_in_a_word() -> None:
    texts = ["file red was not found here", "file blue was not found here", "disk full"]
    assert merge(texts, [5, 1, 2]) == ["file <*> was not found here"] * 2 + ["disk full"]
    assert merge([], []) == []


def topics(n: int) -> list[str]:
    rng = np.random.default_rng(3)
    words = [
        ["flight", "seat", "airport", "gate"],
        ["invoice", "refund", "payment", "card"],
        ["router", "cable", "signal"],
    ]
    return [" ".join(rng.choice(words[i % 3], 6)) + f" {i}" for i in range(n)]


def told(texts: list[str], tmp_path: Any) -> Corpus:
    return small.corpus(
        tmp_path,
        traces=[{"trace_id": f"t{i:05d}", "input_text": t, "success": i % 3 == 1} for i, t in enumerate(texts)],
    )


def test_clusters_are_the_topics_with_their_words_and_outcomes(tmp_path: Any) -> None:
    corpus = told(topics(60), tmp_path)
    found = corpus.cluster("input_text", k=3)
    assert sorted(found["n_texts"]) == [20, 20, 20]
    money = found[found["terms"].str.contains("refund")].iloc[0]
    assert money["passed"] == 20 and all(int(t[1:]) % 3 == 1 for t in money["trace_ids"])
    assert money["trace_id"] in money["trace_ids"]
    same = corpus.cluster("input_text", k=3)
    assert [list(ids) for ids in same["trace_ids"]] == [list(ids) for ids in found["trace_ids"]]
    assert corpus.cluster("SELECT trace_id, input_text AS text FROM traces", k=3)["n_texts"].sum() == 60


def test_cluster_chooses_a_number_and_stands_odd_texts(tmp_path: Any) -> None:
    assert len(told(topics(60), tmp_path / "a").cluster("input_text")) in (3, 4, 5)
    assert told(["12345"] * 3, tmp_path / "b").cluster("input_text")["n_texts"].sum() == 3
    assert len(told(["same words here"] * 9, tmp_path / "c").cluster("input_text", k=4)) == 1
    with pytest.raises(ValueError, match="trace_id and text"):
        told(["x"], tmp_path / "d").cluster("SELECT 1 AS a")
    with pytest.raises(ValueError, match="final_output"):
        told(["x"], tmp_path / "e").cluster("nonesuch")


def test_thirty_thousand_texts_are_grouped_in_time(tmp_path: Any) -> None:
    home = tiny.many(tmp_path, 30_000, "the order could not be found in the archive of parcels ")
    began = time.process_time()
    assert open_corpus(home).cluster("final_output", k=5)["n_texts"].sum() == 30_000
    assert time.process_time() - began < 20


def test_signals_give_both_sides(corpus: Corpus) -> None:
    row = corpus.signals().iloc[0]
    assert (row["n_traces"], row["n"], row["share"]) == (4, 8, 0.5)
    assert (row["passed_with"], row["judged_with"], row["passed_without"], row["judged_without"]) == (1, 4, 3, 3)
    assert (row["trace_id"], row["seq"]) == ("t1", 4)
    assert corpus.signals(detector="nonesuch").empty


def test_a_score_adds_up(corpus: Corpus) -> None:
    scores = corpus.score()
    assert list(scores["score"]) == [95.0] * 4 + [100.0] * 4
    assert scores["taken"][0] == "ignored_error -5 (1 x 5) at #4"


def test_a_score_is_capped_per_detector(tmp_path: Any) -> None:
    fired = [{"trace_id": "t", "seq": i, "detector": "retry_loop", "severity": "high"} for i in range(9)]
    fired += [{"trace_id": "t", "seq": 1, "detector": d, "severity": "high"} for d in "abcdefgh"]
    found = small.corpus(tmp_path, traces=[{"trace_id": "t"}], signals=fired[:9]).score()
    assert found["score"][0] == 70.0 and found["n_signals"][0] == 9
    assert small.corpus(tmp_path / "b", traces=[{"trace_id": "t"}], signals=fired).score()["score"][0] == 0.0


def test_taxonomy_names_who_and_what(tmp_path: Any) -> None:
    corpus = small.corpus(
        tmp_path,
        traces=[{"trace_id": "t", "end_reason": "limit_steps", "native_end_reason": "max_turns"}],
        signals=[{"trace_id": "t", "seq": 3, "detector": "retry_loop", "severity": "low", "detail": "4 times"}],
    )
    found = corpus.taxonomy().set_index("cause")
    assert found.loc["cut_off", ["actor", "class", "place", "detail"]].tolist() == [
        "limit", "environment", 1, "max_turns",
    ]  # fmt: skip
    assert found.loc["retry_loop", ["actor", "class", "seq", "place"]].tolist() == ["agent", "workflow", 3, 2]


def test_a_cohort_saved_in_a_notebook_is_understood_everywhere(tmp_path: Any) -> None:
    corpus = small.corpus(tmp_path, **tiny.rows())
    assert corpus.save_cohort("bad", "NOT success") == 3
    assert set(corpus.sample(9, population="bad")["trace_id"]) == {"t1", "t3", "t5"}
    assert corpus.save_cohort("bad", ["t0"]) == 1 and len(corpus.sample(9, population="bad")) == 1
    assert corpus.sql("SELECT trace_id FROM labels WHERE kind = 'cohort'")["trace_id"].tolist() == ["t0"]
    with pytest.raises(ValueError, match="letters"):
        corpus.save_cohort("a b", "success")


def test_acting_verbs_hand_everything_to_the_host(tmp_path: Any) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def host(method: str, **params: Any) -> Any:
        asked.append((method, params))
        return {"submit_hypothesis": "h7", "submit_finding": {"id": "f1"}, "dispatch": [1]}.get(method)

    home = small.folder(tmp_path, **tiny.rows())
    corpus = open_corpus(home, gateway=host)
    assert corpus.save_cohort("bad", "NOT success") == 3
    assert corpus.submit_hypothesis("s", "SELECT 1", about={"actor": "agent"}) == "h7"
    cited = {"trace_id": "t1", "seq": 3, "quote": "Error", "role": "support"}
    finding = corpus.submit_finding(
        "h7", title="t", claim="c", mechanism="m", predicate="p", kind="rare", citations=[cited]
    )
    assert finding == {"id": "f1"}
    assert corpus.dispatch("scout", [{"task": "x"}]) == [1]
    assert corpus.finish("done") is None
    assert [method for method, _ in asked] == [
        "save_cohort",
        "submit_hypothesis",
        "submit_finding",
        "dispatch",
        "finish",
    ]
    assert asked[0][1] == {"name": "bad", "trace_ids": ["t1", "t3", "t5"]}
    assert asked[2][1]["citations"] == [cited] and asked[2][1]["hypothesis_id"] == "h7"


def test_acting_outside_a_run_says_how_to_start_one(corpus: Corpus) -> None:
    with pytest.raises(NotInARun, match="insights ask"):
        corpus.finish()


def test_the_catalogue_has_every_verb_and_fits() -> None:
    text = catalogue(4_000)
    assert len(text) / 3.5 <= 4_000
    assert all(f"{name}(" in text for name in VERBS)
    assert [name for name, _ in table()] == sorted(VERBS)
    assert catalogue(names=["read", "sql"]).startswith("read(trace_id")
    with pytest.raises(ValueError, match="fit"):
        catalogue(20)


def test_a_notebook_has_the_names_of_a_kernel(tmp_path: Any) -> None:
    names: dict[str, Any] = {}
    corpus = open_corpus(small.folder(tmp_path, **tiny.rows()), into=names)
    assert set(names) >= {*VERBS, "corpus", "con", "traces"}
    assert names["corpus"] is corpus and len(names["traces"]) == 8
    assert "At most 50 rows" in names["manual"]("errors")
    with pytest.raises(KeyError, match="overview"):
        names["manual"]("nonesuch")


def test_every_detector_has_a_class_and_a_fix() -> None:
    from primitives.detectors import DETECTORS
    from primitives.settings import shipped

    known = shipped("taxonomy")
    assert not set(DETECTORS) - set(known["causes"])
    for cause in known["causes"].values():
        assert cause["class"] in known["classes"] and cause["fix"]
        assert cause["actor"] in ("agent", "limit", "simulated_user", "environment", "grader")
