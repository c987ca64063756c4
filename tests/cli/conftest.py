from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from insights.cli import main
from insights.demo import Plants, simulate
from insights.findings.examine import as_finding, examine, verdict
from insights.records import Cause, Finding, Hypothesis, Predicate, Report
from insights.report import write
from primitives.corpus import open_corpus
from tests.report.sample import make_cells, make_report

ERRS_THEN_ENDS = (
    "SELECT trace_id, call_seq AS seq, error_message AS quote FROM tool_calls WHERE name = 'track_parcel' AND status = 'error' "
    "QUALIFY count(*) OVER (PARTITION BY trace_id) > 4"
)
REFUSES_ALDER = (
    "SELECT trace_id, seq, text AS quote FROM steps "
    "WHERE role = 'assistant' AND text ILIKE '%alder%' AND text ILIKE '%final sale%'"
)


class Result(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def go(*arguments: object) -> Result:
        status = main([str(a) for a in arguments])
        captured = capfd.readouterr()
        return Result(status, captured.out, captured.err)

    return go


@pytest.fixture(scope="session")
def plants(tmp_path_factory: pytest.TempPathFactory) -> Plants:
    return simulate(tmp_path_factory.mktemp("desk"), tasks=100, trials=2, seed=1)


@pytest.fixture(scope="session")
def corpus(plants: Plants) -> Path:
    """The simulated desk, ingested by the command."""
    path = plants.logs.parent / "desk.corpus"
    assert main(["ingest", str(plants.logs), "-o", str(path), "--no-progress"]) == 0
    return path


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another week of the same desk, in which the carrier never fails for long and Alder is never refused."""
    folder = tmp_path_factory.mktemp("other")
    lines = [
        line
        for file in sorted(simulate(folder, tasks=100, trials=2, seed=2).logs.glob("*.jsonl"))
        for line in file.read_text().splitlines()
        if line.count("503 carrier") < 3 and "final sale" not in line
    ]
    (folder / "fixed.jsonl").write_text("\n".join(lines))
    assert main(["ingest", str(folder / "fixed.jsonl"), "-o", str(folder / "other.corpus"), "--no-progress"]) == 0
    return folder / "other.corpus"


@pytest.fixture(scope="session")
def finished(corpus: Path) -> Path:
    """A run with two findings, measured by the code that measures every finding; its words are made by hand."""
    opened = open_corpus(corpus)
    findings = []
    for name, code in (("F1", ERRS_THEN_ENDS), ("F2", REFUSES_ALDER)):
        hypothesis = Hypothesis(
            name, f"hypothesis {name}", Predicate(code), kind="prevalence", about={"taxonomy": {"actor": "agent"}}
        )
        examined, _, why = verdict(examine(opened, hypothesis), 0.01, labelled=True)
        findings.append(replace(as_finding(examined, "confirmed", why, 50), id=name))
    folder = corpus / "runs" / "20260101-why"
    write(_report(opened, tuple(findings)), folder, corpus=opened, cells=make_cells())
    opened.con.close()
    return folder


def _report(opened, findings: tuple[Finding, ...]) -> Report:  # type: ignore[no-untyped-def]
    n, failed, fingerprint = opened.con.execute(
        "SELECT count(*), list(trace_id ORDER BY trace_id) FILTER (NOT success), (SELECT fingerprint FROM corpus_info) FROM traces"
    ).fetchone()
    counts = {"n_traces": n, "n_passed": n - len(failed), "n_failed": len(failed), "n_unlabelled": 0}
    return replace(
        make_report(str(opened.path)),
        run_id="20260101-why",
        corpus={"path": str(opened.path), "fingerprint": fingerprint, **counts},
        findings=findings,
        partition=(Cause("unexplained", None, "", len(failed), tuple(failed)),),
    )
