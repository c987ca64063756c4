"""insights ask: a question of a corpus, answered with findings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from insights.cli import app


@app.command()
def ask(
    source: list[str] = typer.Argument(..., metavar="SOURCE... QUESTION", help="A corpus or files of traces, then the question."),
    output: Path | None = typer.Option(None, "-o", "--output", help="The run's folder; default: CORPUS/runs/<id>."),
    seed: int | None = typer.Option(None, "--seed", help="Seed of the split into halves and of sampling."),
    jobs: int | None = typer.Option(None, "-j", "--jobs", help="Agents at work at once."),
    no_sandbox: bool = typer.Option(False, "--no-sandbox", help="Run cells without a sandbox. Only for traces you trust."),
    no_progress: bool = typer.Option(False, "--no-progress", help="No progress on stderr."),
) -> None:
    """Ask why runs fail, what they waste, how two models differ; read the report.

    Example:  insights ask week.corpus "Why do runs fail?"
    """
    from insights.errors import UsageError

    if len(source) < 2:
        raise UsageError("a source and a question are needed", 'insights ask week.corpus "Why do runs fail?"')
    *paths, question = source
    run_dir, report = answer(paths, question, output, seed=seed, jobs=jobs, no_sandbox=no_sandbox, progress=not no_progress)
    from insights.report import head

    print(head(report, run_dir))


def answer(
    paths: list[str], question: str, output: Path | None, *, seed: int | None = None, jobs: int | None = None,
    no_sandbox: bool = False, progress: bool = True,
) -> tuple[Path, Any]:  # fmt: skip
    """Ingest if need be, run the agents, write the report; returns the run's folder and the report."""
    from insights.cli.options import open_corpus
    from insights.config import settings
    from insights.diagnose.run import ask as run_agents
    from insights.diagnose.run import run_id
    from insights.report import write

    corpus_path = corpus_of(paths, progress)
    section = {k: v for k, v in (("seed", seed), ("agents_at_once", jobs)) if v is not None}
    chosen = settings({"diagnose": section} if section else None)["diagnose"]
    corpus = open_corpus(corpus_path)
    run_dir = output or corpus_path / "runs" / run_id(question)
    run_dir.mkdir(parents=True, exist_ok=True)
    sandbox = "none" if no_sandbox else "auto"
    tell = (lambda line: print(f"  {line}", file=sys.stderr, flush=True)) if progress else (lambda line: None)
    report, board = run_agents(corpus, question, run_dir, chosen, sandbox=sandbox, tell=tell)
    write(report, run_dir, corpus=corpus, cells=board.cells)
    return run_dir, report


def corpus_of(paths: list[str], progress: bool) -> Path:
    """The corpus named, or the one made of the files named: NAME.corpus in the working folder."""
    from insights.cli.ingest import print_summary, run

    first = Path(paths[0])
    if len(paths) == 1 and (first / "traces.duckdb").is_file():
        return first
    target = Path(f"{first.resolve().name.split('.')[0] or 'traces'}.corpus")
    print_summary(run(paths, target, progress=progress), sys.stderr)
    return target
