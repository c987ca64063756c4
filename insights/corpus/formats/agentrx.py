"""AgentRx failure labels: where and why runs of tau-bench and Magentic-One went wrong, and which failure was decisive.

    [{"trajectory_id": 4, "failures": [{"failure_id": 1, "step_number": 7, "step_reason": "…", "failure_category":
      "Invalid Invocation", "category_reason": "…", "failed_agent": "Assistant"}], "root_cause": {"failure_id": 1,
      "reason_for_root_cause": "…"}, "failure_summary": "…"}]

A sidecar: the readers of tau-bench and Magentic-One files call `annotate`. It looks in `ground_truth/` beside the data's
folder or one above, and beside the file. A number names a run by its `trial`, a text by the file's stem.
`step_number` counts from 1 in the list of messages, so the step is `step_number - 1`. Every failure is an annotation of
kind `failure`, named by its category, the decisive one with `root_cause: true` in `extra`. Where two files label the same
run, the fuller file counts and the other is listed as an issue.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from insights.corpus import parse
from insights.corpus.formats import Confidence, mark
from insights.corpus.parse import mapping, mappings
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

PLACES = ("ground_truth", "../ground_truth", ".")


def _detect(head: Head) -> Confidence | None:
    return "certain" if {"trajectory_id", "failures"} <= head.first.keys() else None


mark("agentrx_labels", title="AgentRx failure labels", rank=15, role="sidecar", detect=_detect)


def annotate(t: Trace, source: Source, trajectory: str | int) -> None:
    """Put the labels of run `trajectory` (its number, or the id its file is named after) into the trace."""
    entries = []
    for place in PLACES:
        folder = source.sibling(*place.split("/"))
        if folder is not None and folder.is_dir():
            files = _files(str(folder), folder.stat().st_mtime_ns)
            entries = [labels[trajectory] for labels in files if trajectory in labels]
        if entries:
            break
    if not entries:
        return
    if len(entries) > 1:
        source.issue(
            "labelled_twice", f"{len(entries)} files label run {trajectory}; the fuller one is used", severity="info"
        )
    _add(t, entries[0])


def _add(t: Trace, entry: Mapping[str, Any]) -> None:
    root = mapping(entry.get("root_cause"))
    for failure in mappings(entry.get("failures")):
        number = failure.get("step_number")
        step = number - 1 if isinstance(number, int) and number > 0 else None
        if step is None or step >= len(t.steps):
            t.issue("bad_label", f"step_number {number!r} is no step of {len(t.steps)}")
        decisive = root.get("failure_id") is not None and failure.get("failure_id") == root.get("failure_id")
        t.annotate(
            "failure",
            str(failure.get("failure_category")),
            seq=step,
            label=failure.get("failed_agent"),
            passed=False,
            explanation=failure.get("step_reason"),
            basis="human",
            extra={
                "failure_id": failure.get("failure_id"),
                "root_cause": decisive,
                "category_reason": failure.get("category_reason"),
                **({"reason_for_root_cause": root.get("reason_for_root_cause")} if decisive else {}),
            },
        )
    if entry.get("failure_summary"):
        t.metadata["failure_summary"] = entry["failure_summary"]


@lru_cache(maxsize=32)
def _files(folder: str, mtime: int) -> tuple[dict[Any, dict[str, Any]], ...]:
    """The label files of a folder, the fuller first, each by trajectory id."""
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        with path.open("rb") as file:
            if b'"trajectory_id"' not in file.read(4096):
                continue
        try:
            value = parse.loads(path.read_bytes())[0]
        except parse.Unparseable:
            continue  # the file is a source of its own, which reports it
        if isinstance(value, list):
            found.append({e["trajectory_id"]: e for e in value if isinstance(e, dict) and "trajectory_id" in e})
    return tuple(sorted(found, key=len, reverse=True))
