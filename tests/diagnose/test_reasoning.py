"""A run whose roles reason with a scripted model."""

from __future__ import annotations

from collections.abc import Callable

from tests.diagnose.conftest import Asked
from tests.diagnose.script import careful


def test_a_careful_model_explains_the_failures(asked: Callable[..., Asked]) -> None:
    run = asked(careful)
    assert run.board.failures == []
    titles = {f.title: f for f in run.report.findings}
    found = titles["The clerk gives up on a long form"]
    assert (found.prevalence.k, found.prevalence.n) == (4, 12)
    assert "gold" in found.prevalence.method
    assert found.verdict == "confirmed" and all(c.verified for c in found.citations)
    assert "stratified" in found.prevalence.method
    assert "The clerk calls the form too long and stops" in titles
    assert run.report.answer[0].startswith("Of 4 failures, the clerk's giving up explains 4 of 12 traces")
    assert sum(c.n for c in run.report.partition) == 4
