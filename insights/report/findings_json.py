"""A Report as findings.json and back; docs/findings.md documents every name."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from insights.errors import InsightsError
from insights.records import (
    Cause,
    Citation,
    Contrast,
    Count,
    FailedRun,
    Finding,
    Predicate,
    Prevalence,
    Report,
    TestedHypothesis,
)
from insights.report import outline

SCHEMA_VERSION = 1
FILE_NAME = "findings.json"
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def trace_ids_file(finding_id: str) -> str:
    """Where a finding's trace ids are, relative to the run's folder. Raises ValueError for an id unfit for a file name."""
    if not SAFE_ID.fullmatch(finding_id):
        raise ValueError(f"the finding id {finding_id!r} cannot be a file name; letters, digits, dots and dashes can")
    return f"findings/{finding_id}.txt"


def write_ids(trace_ids: tuple[str, ...]) -> str:
    """One id a line; an id that a line cannot hold (a line break in it, a leading quote) is written as JSON."""
    held = (json.dumps(i) if "\n" in i or i.startswith('"') else i for i in trace_ids)
    return "".join(f"{line}\n" for line in held)


def read_ids(text: str) -> tuple[str, ...]:
    return tuple(json.loads(line) if line.startswith('"') else line for line in text.split("\n") if line)


def to_json(report: Report) -> dict[str, Any]:
    """The report as findings.json holds it; trace ids of findings are in their own files."""
    unexplained = outline.unexplained(report)
    failed = sum(cause.n for cause in report.partition)
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": report.run_id,
        "question": report.question,
        "intent": report.intent,
        "answer": list(report.answer),
        "corpus": report.corpus,
        "model": report.model,
        "cost": report.cost,
        "coverage": {
            "failed": failed,
            "explained": failed - len(unexplained),
            "unexplained_trace_ids": list(unexplained),
        },
        "partition": [asdict(cause) for cause in report.partition],
        "failures": [asdict(run) for run in report.failures],
        "not_analysed": report.not_analysed,
        "findings": [_finding(f) for f in report.findings],
        "hypotheses": [asdict(h) for h in report.hypotheses],
        "made": report.made,
    }


def _finding(f: Finding) -> dict[str, Any]:
    value = asdict(f)
    del value["trace_ids"]
    if f.contrast is not None:
        contrast = value["contrast"]
        value["contrast"] = {("with" if name == "with_" else name): contrast[name] for name in contrast}
    value["trace_ids_file"] = trace_ids_file(f.id)
    return value


def load(run_dir: Path | str) -> Report:
    """The report of a run. Raises InsightsError when findings.json is missing, damaged or of another version."""
    run_dir = Path(run_dir)
    file = run_dir / FILE_NAME
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InsightsError(f"{run_dir} holds no finished run: there is no {FILE_NAME} in it") from error
    except ValueError as error:
        raise InsightsError(f"{file} is not readable JSON: {error}", "make the run again") from error
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version != SCHEMA_VERSION:
        raise InsightsError(f"{file} has schema version {version}, this program reads {SCHEMA_VERSION}")
    try:
        return _report(value, run_dir)
    except (KeyError, TypeError, AttributeError) as error:
        detail = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InsightsError(f"{file} is not a complete report: {detail}", "make the run again") from error


def _report(value: dict[str, Any], run_dir: Path) -> Report:
    return Report(
        run_id=value["run_id"],
        question=value["question"],
        intent=value["intent"],
        answer=tuple(value["answer"]),
        corpus=value["corpus"],
        model=value["model"],
        cost=value["cost"],
        partition=tuple(Cause(**{**c, "trace_ids": tuple(c["trace_ids"])}) for c in value["partition"]),
        findings=tuple(_read_finding(f, run_dir) for f in value["findings"]),
        hypotheses=tuple(
            TestedHypothesis(**{**h, "predicate": Predicate(**h["predicate"])}) for h in value["hypotheses"]
        ),
        not_analysed=value["not_analysed"],
        made=value["made"],
        failures=tuple(FailedRun(**run) for run in value.get("failures", ())),
    )


def _read_finding(value: dict[str, Any], run_dir: Path) -> Finding:
    ids = run_dir / trace_ids_file(value["id"])
    try:
        trace_ids = read_ids(ids.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InsightsError(
            f"{ids} is missing: the trace ids of finding {value['id']}", "make the run again"
        ) from error
    rest = {k: v for k, v in value.items() if k != "trace_ids_file"}
    return Finding(
        **{
            **rest,
            "predicate": Predicate(**value["predicate"]),
            "prevalence": Prevalence(**value["prevalence"]),
            "contrast": _read_contrast(value["contrast"]),
            "citations": tuple(Citation(**c) for c in value["citations"]),
            "trace_ids": trace_ids,
            "notes": tuple(value["notes"]),
        }
    )


def _read_contrast(value: dict[str, Any] | None) -> Contrast | None:
    if value is None:
        return None
    rest = {k: v for k, v in value.items() if k not in ("with", "without")}
    return Contrast(with_=Count(**value["with"]), without=Count(**value["without"]), **rest)
