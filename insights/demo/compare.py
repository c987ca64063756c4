"""Which planted things a report found: plants and findings matched by the traces they name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from insights.demo.simulate import Plant, Plants
from insights.records import Finding, Report

MATCH_F1 = 0.5  # from this F1 of the two sets of traces on, a finding is taken to be about the plant


@dataclass(frozen=True, slots=True)
class Row:
    """One plant with the finding matched to it, or one finding that matches no plant (`plant` is None)."""

    plant: Plant | None
    finding: Finding | None
    f1: float
    outcome: Literal["found", "missed", "left alone", "raised wrongly", "not planted"]


def compare_with_findings(plants: Plants, report: Report) -> list[Row]:
    """A row for each plant, then one for each finding put forward that matches none.

    Put forward is what the report calls confirmed or names as a cause of failures.
    Plants and findings are assigned one to one so that the sum of F1 is largest. A finding may name all traces in
    which a fault happens or only those which failed: the better of both F1 counts. A decoy is raised wrongly when such a finding
    matches it.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    causes = {cause.finding_id for cause in report.partition}
    raised = [f for f in report.findings if f.verdict == "confirmed" or f.id in causes]
    scores = np.array([[_agreement(p, f) for f in raised] for p in plants.plants]).reshape(
        len(plants.plants), len(raised)
    )
    matched = {int(i): int(j) for i, j in zip(*linear_sum_assignment(-scores), strict=True) if scores[i, j] >= MATCH_F1}
    rows = []
    for i, plant in enumerate(plants.plants):
        j = matched.get(i)
        best = float(scores[i].max()) if raised else 0.0
        if plant.kind == "fault":
            outcome: Literal["found", "missed", "left alone", "raised wrongly"] = "missed" if j is None else "found"
        else:
            outcome = "left alone" if j is None else "raised wrongly"
        rows.append(Row(plant, None if j is None else raised[j], best if j is None else float(scores[i, j]), outcome))
    rest = [f for j, f in enumerate(raised) if j not in matched.values()]
    return [*rows, *(Row(None, f, 0.0, "not planted") for f in rest)]


def _agreement(plant: Plant, finding: Finding) -> float:
    return max(f1(set(plant.trace_ids), set(finding.trace_ids)), f1(set(plant.failed), set(finding.trace_ids)))


def f1(a: set[str], b: set[str]) -> float:
    """The F1 of two sets: twice what they share over what they hold together."""
    return 2 * len(a & b) / (len(a) + len(b)) if a and b else 0.0
