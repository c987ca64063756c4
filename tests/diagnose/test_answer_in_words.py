"""Lines of a model's answer: which may stand, and what they are told of the findings."""

from __future__ import annotations

import pytest

from insights.diagnose.synthesize import fill, refusal

VALUES = {"F1": "F1", "F1.count": "4 of 12 traces (10% to 60%)", "F1.failed": "4", "failed": "4"}


@pytest.mark.parametrize(
    "line, why",
    [
        ("The clerk gives up in {F1.count}; {F1.failed} of these fail [F1].", None),
        ("The clerk gives up before the form is complete [F1].", None),
        ("Look at page-turning first: change all prompts [F1].", None),
        ("It happens in 4 traces [F1].", "types a number"),
        ("{F2.count} fail [F1].", "no F2.count"),
        ("Nobody knows [F7].", "no F7"),
        ("Most of these runs fail [F1].", "without a placeholder"),
        ("{F1.failed} of these stop. Runs without it nearly always pass [F1].", "without a placeholder"),
        ("Runs with it fail more [F1].", "without a placeholder"),
    ],
)
def test_what_says_an_amount_has_a_placeholder(line: str, why: str | None) -> None:
    found = refusal(line, VALUES)
    assert found is None if why is None else found is not None and why in found


def test_placeholders_are_filled_in() -> None:
    assert fill("{F1.failed} of {failed} [F1]", VALUES) == "4 of 4 [F1]"
