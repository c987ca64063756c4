"""The ranking of steps by blame: on runs made up here, where it is plain what each step is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from primitives import Corpus
from primitives.blame import coefficients, shares
from primitives.blame_features import FEATURES, features
from primitives.read import TraceNotFound
from primitives.sql import Bounded
from tests.primitives import small

Row = dict[str, Any]
TEXTS = (  # role, agent, text
    ("user", None, "How many parcels left the depot in March?"),
    ("assistant", "Planner", "We look the parcels up in the register of the depot and count those that left in March."),
    (
        "assistant",
        "Counter",
        "Let me assume some figures: say 4711 parcels in week 1 and 815 in week 2. ```print(4711 + 815)```",
    ),
    ("tool", None, "5526"),
    ("assistant", "Checker", "It works. The answer is 5526, as Counter found; we have verified it and can stop here."),
    ("assistant", "Checker", "STOP"),
)


def tables(trace_id: str = "r1", *, success: bool | None = False, status: str = "ok") -> dict[str, list[Row]]:
    return {
        "traces": [{"trace_id": trace_id, "success": success, "n_steps": len(TEXTS)}],
        "steps": [
            {
                "trace_id": trace_id, "seq": seq, "role": role, "agent": agent, "text": text, "text_len": len(text),
                "kind": "tool_result" if role == "tool" else "message",
            }
            for seq, (role, agent, text) in enumerate(TEXTS)
        ],
        "tool_calls": [
            {
                "trace_id": trace_id, "call_seq": 2, "call_index": 0, "result_seq": 3, "name": "run", "status": status,
                "args": {"code": "print(4711 + 815)"}, "result_text": TEXTS[3][2],
            }
        ],
    }  # fmt: skip


def joined(*parts: dict[str, list[Row]]) -> dict[str, list[Row]]:
    return {name: [row for part in parts for row in part[name]] for name in parts[0]}


def by_step(corpus: Corpus) -> Any:
    return features(corpus, "SELECT trace_id FROM traces").set_index("seq")


def test_every_step_of_an_agent_and_no_other_has_a_share_of_the_blame(tmp_path: Path) -> None:
    found = small.corpus(tmp_path, **tables()).blame("r1", top=20)
    assert sorted(found["seq"]) == [1, 2, 4, 5]
    assert found["score"].sum() == pytest.approx(1, abs=1e-3)
    assert list(found["rank"]) == [1, 2, 3, 4] and found["score"].is_monotonic_decreasing
    assert dict(zip(found["seq"], found["agent"], strict=True))[2] == "Counter"


def test_who_made_up_the_data_comes_first_and_the_reasons_say_so(tmp_path: Path) -> None:
    first = small.corpus(tmp_path, **tables()).blame("r1", top=1).iloc[0]
    assert first["seq"] == 2
    assert "first call of the run" in first["why"] and "assumes or makes up data" in first["why"]


def test_features_say_what_their_words_say(tmp_path: Path) -> None:
    f = by_step(small.corpus(tmp_path, **tables()))
    assert list(f["late"]) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert list(f["first_call"]) == [0, 1, 0, 0] and list(f["call_empty"]) == [0, 1, 0, 0]  # four characters came back
    assert list(f["assumes"]) == [0, 1, 0, 0] and list(f["code"]) == [0, 1, 0, 0]
    assert list(f["concludes"]) == [0, 0, 1, 0] and list(f["first_conclusion"]) == [0, 0, 1, 0]
    assert list(f["agent_is_new"]) == [1, 1, 1, 0] and list(f["agent_changes"]) == [0, 1, 1, 0]
    assert list(f["short"]) == [0, 0, 0, 1]
    assert f["answer"][2] == pytest.approx(1 / 3)  # of The, 5526 and Counter the number came back on its call
    assert f["answer"][4] == pytest.approx(2 / 3)


def test_a_failed_call_marks_what_stands_before_at_and_after_it(tmp_path: Path) -> None:
    f = by_step(small.corpus(tmp_path, **tables(status="error")))
    assert list(f["before_any_failure"]) == [1, 0, 0, 0]
    assert list(f["after_failure"]) == [0, 0, 1, 0]
    assert list(f["failures_before"]) == [0, 0, 1 / 4, 1 / 4]
    assert f["call_succeeded"].sum() == 0 and f["call_empty"].sum() == 0


def test_a_detector_counts_where_its_pattern_starts_and_where_it_ends(tmp_path: Path) -> None:
    rows = tables() | {
        "signals": [
            {"trace_id": "r1", "seq": 4, "start_seq": 2, "detector": "x", "severity": "low"},
            {"trace_id": "r1", "seq": 1, "start_seq": 1, "detector": "y", "severity": "info"},
        ]
    }
    assert list(by_step(small.corpus(tmp_path, **rows))["signal"]) == [0, 1, 1, 0]


def test_the_first_change_and_the_first_departure_from_a_reference_count(tmp_path: Path) -> None:
    rows = tables()
    calls = [
        rows["tool_calls"][0] | {"call_seq": seq, "name": "cancel_order", "args": {"id": order}}
        for seq, order in ((2, "A1"), (4, "A2"))
    ]
    expected = [{"trace_id": "r1", "idx": 0, "name": "cancel_order", "args": {"id": "A1"}}]
    corpus = small.corpus(tmp_path, **rows | {"tool_calls": calls, "expected": expected})
    f = by_step(corpus)
    assert list(f["first_change"]) == [0, 1, 0, 0]
    assert list(f["first_deviation"]) == [0, 0, 1, 0]
    why = corpus.blame("r1", top=2).set_index("seq")["why"]
    assert why[4].startswith("first departure from the reference") and "first call that changes something" in why[2]


def test_all_features_lie_between_0_and_1(tmp_path: Path) -> None:
    f = by_step(small.corpus(tmp_path, **joined(tables("a"), tables("b", status="error"))))[list(FEATURES)]
    assert f.notna().all(axis=None) and (f >= 0).all(axis=None) and (f <= 1).all(axis=None)


def test_a_trace_is_ranked_alike_alone_and_among_others(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    alone = small.corpus(tmp_path / "alone", **tables()).blame("r1")
    among = small.corpus(tmp_path, **joined(tables("r0", status="error"), tables(), tables("r2", success=True)))
    assert list(among.blame()["trace_id"].unique()) == ["r0", "r1"], "the failed ones unless said"
    assert among.blame("r1").equals(alone)
    assert len(among.blame(population="success", top=2)) == 2


def test_bounds_and_unknown_traces_are_said(tmp_path: Path) -> None:
    corpus = small.corpus(tmp_path, **joined(tables("r0"), tables("r1")))
    with pytest.warns(Bounded, match="1 of 2 traces"):
        assert corpus.blame(limit=1)["trace_id"].nunique() == 1
    with pytest.raises(ValueError, match="top can be 1 to 20"):
        corpus.blame(top=0)
    with pytest.raises(TraceNotFound, match="no trace 'zzz'"):
        corpus.blame("zzz")
    assert corpus.blame(population="success").empty


def test_every_feature_has_a_coefficient() -> None:
    assert np.isfinite(coefficients()).all() and len(coefficients()) == len(FEATURES)


def test_the_weights_in_the_documentation_are_those_in_use() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "blame.md").read_text(encoding="utf-8")
    for (name, (_, words, _)), weight in zip(FEATURES.items(), coefficients(), strict=True):
        assert f"| `{name}` | {weight:+.2f} | {words} |" in text, "python benchmarks/who_and_when.py --write"


def test_shares_add_up_to_one_in_each_run_even_where_utilities_are_huge() -> None:
    p = shares(np.array([1e4, 1e4, 0.0, -1e4, 3.0]), np.array([0, 0, 1, 1, 2]))
    assert p == pytest.approx([0.5, 0.5, 1, 0, 1])
