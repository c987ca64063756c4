"""The gate of CI: it does not pass while a finding still happens about as often as when it was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from insights.watch.verify import Remeasured

Decision = Literal["passed", "back", "inconclusive"]
EXIT_STATUS: dict[Decision, int] = {"passed": 0, "back": 1, "inconclusive": 3}


@dataclass(frozen=True, slots=True)
class Gate:
    """`decision` is that of the worst finding; `by_finding` says it for each."""

    decision: Decision
    by_finding: tuple[tuple[Remeasured, Decision], ...]


def gate(measured: Sequence[Remeasured]) -> Gate:
    """back: as often as then or more often. passed: gone, or clearly less often. inconclusive: it cannot be told.

    Without any finding to watch the gate is inconclusive: nothing was checked.
    """
    decided = tuple((m, decide(m)) for m in measured)
    found = {decision for _, decision in decided}
    worst: Decision = (
        "back" if "back" in found else "inconclusive" if "inconclusive" in found or not found else "passed"
    )
    return Gate(worst, decided)


def decide(m: Remeasured) -> Decision:
    if m.status == "unclear" or m.difference is None:
        return "inconclusive"
    if m.status == "gone" or (m.status == "moved" and m.difference.value < 0):
        return "passed"
    return "back"
