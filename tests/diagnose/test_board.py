"""The board: what it keeps does not depend on which of several agents is quicker."""

from __future__ import annotations

from pathlib import Path

from insights.diagnose.board import Board
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
