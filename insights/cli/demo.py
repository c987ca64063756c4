"""insights demo: a simulated support desk with planted faults, asked and answered."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from insights.cli import app
from insights.cli.options import FormatOption
from insights.cli.printing import print_json, print_rows, say

if TYPE_CHECKING:
    from insights.demo import Plants, Row

QUESTION = "Why do runs fail?"


@app.command()
def demo(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for it all; default: a temporary one.")
    ] = None,
    tasks: Annotated[int, typer.Option(help="Tasks of the simulated customers.", min=20, max=5000)] = 200,
    trials: Annotated[int, typer.Option(help="Conversations of each task.", min=1, max=50)] = 4,
    seed: Annotated[int, typer.Option(help="Of the simulation and of the analysis.")] = 0,
    simulate_only: Annotated[bool, typer.Option("--simulate-only", help="Write the logs and stop.")] = False,
    no_sandbox: Annotated[bool, typer.Option("--no-sandbox", help="Run cells without a sandbox.")] = False,
    format: FormatOption = "pretty",
) -> None:
    """Try it all on a simulated support desk with planted faults.

    Asks why runs fail, writes the report, and says what was planted and which of it was found.

    \b
    insights demo
    insights demo -o desk --tasks 100
    """
    from insights.demo import compare_with_findings, simulate

    folder = output or Path(tempfile.mkdtemp(prefix="insights-demo-"))
    say(f"simulating {tasks * trials:,} conversations of a support desk in {folder}")
    plants = simulate(folder, tasks=tasks, trials=trials, seed=seed)
    if simulate_only:
        print_json({"logs": str(plants.logs), "manifest": str(plants.manifest), "traces": plants.n_traces, "failed": plants.n_failed})  # fmt: skip
        return
    from insights.cli.ask import answer
    from insights.cli.ingest import run as ingest
    from insights.report import head

    corpus = folder / "desk.corpus"
    ingest([str(plants.logs)], corpus)
    run_dir, report = answer([str(corpus)], QUESTION, None, seed=seed, no_sandbox=no_sandbox)
    rows = compare_with_findings(plants, report)
    if format == "json":
        print_json({"run": str(run_dir), "plants": [_as_json(r) for r in rows]})
        return
    print(head(report, run_dir))
    print()
    _print_plants(plants, rows, format)


def _print_plants(plants: Plants, rows: list[Row], style: str) -> None:
    faults = [r for r in rows if r.plant and r.plant.kind == "fault"]
    found = sum(r.outcome == "found" for r in faults)
    decoys = [r for r in rows if r.plant and r.plant.kind == "decoy"]
    wrongly = sum(r.outcome == "raised wrongly" for r in decoys)
    print(f"planted: {found} of {len(faults)} faults found, {wrongly} of {len(decoys)} decoys raised wrongly")
    shown = [
        (r.outcome, r.plant.kind, f"{len(r.plant.trace_ids):,} of {plants.n_traces:,}", f"{r.f1:.2f}",
         r.finding.id if r.finding else "", r.plant.what)
        for r in rows
        if r.plant
    ]  # fmt: skip
    print_rows(["outcome", "kind", "traces", "F1", "finding", "what was planted"], shown, style)
    extra = [r.finding.id for r in rows if r.plant is None and r.finding]
    if extra:
        print(f"findings that match no single plant: {', '.join(extra)}")


def _as_json(r: Row) -> dict[str, object]:
    return {
        "plant": r.plant.name if r.plant else None,
        "kind": r.plant.kind if r.plant else None,
        "what": r.plant.what if r.plant else None,
        "traces": len(r.plant.trace_ids) if r.plant else None,
        "failed": len(r.plant.failed) if r.plant else None,
        "finding": r.finding.id if r.finding else None,
        "f1": r.f1,
        "outcome": r.outcome,
    }
