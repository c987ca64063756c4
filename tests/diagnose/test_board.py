"""The board: what it keeps does not depend on which of several agents is quicker; what is said without failures or verdicts."""

from __future__ import annotations

from pathlib import Path

from insights.diagnose.answer import lines
from insights.diagnose.board import Board
from insights.diagnose.question import understand
from tests.diagnose.test_answer import finding
from tests.primitives import small, tiny


def test_findings_stand_in_the_order_of_their_hypotheses(tmp_path: Path) -> None:
    corpus = small.corpus(tmp_path, **tiny.rows())
    predicates = [f"SELECT trace_id FROM traces WHERE n_steps > {n}" for n in range(12)]
    orders = []
    for turn in (1, -1):
        board = Board(corpus, None)
        ids = [board.propose("scout", f"more than {n} steps", p, "prevalence") for n, p in enumerate(predicates)]
        board.propose("scout", "never examined", "SELECT trace_id FROM traces WHERE success", "prevalence")
        for id, predicate in list(zip(ids, predicates, strict=True))[::turn]:
            board.submit("investigator", id, (), {"title": id}, predicate=predicate, kind="prevalence", population=None)
        findings, tested = board.conclude()
        assert [f.title for f in findings] == ids and [t.id for t in tested] == [*ids, "H1.13"]
        orders.append(board.coverage())
    assert orders[0] == orders[1]


def test_without_verdicts_the_answer_says_how_to_get_them(tmp_path: Path) -> None:
    rows = [{"trace_id": f"t{i}", "score": 0.5 if i else None} for i in range(3)]
    scored = Board(small.corpus(tmp_path / "scored", traces=rows), None)
    line = lines(understand("Why do runs fail?"), scored, [], [])[0]
    assert "2 have a score, of which `insights label CORPUS --pass-at SCORE` makes verdicts" in line
    bare = Board(small.corpus(tmp_path / "bare", traces=[{"trace_id": "t"}]), None)
    assert "`insights label` takes them from a file" in lines(understand("Why?"), bare, [], [])[0]
    said = lines(understand("Warum scheitern sie?"), bare, [finding("F1")], [])
    assert sum(line.startswith("Most telling") for line in said) == 1


def test_where_nothing_fails_no_contrast_is_spoken_of(tmp_path: Path) -> None:
    passed = Board(small.corpus(tmp_path, traces=[{"trace_id": f"t{i}", "success": True} for i in range(3)]), None)
    said = lines(understand("Why do runs fail?"), passed, [], [])
    assert said[0].startswith("0 of 3 runs fail") and said[-1].startswith("No run fails") and len(said) == 2
