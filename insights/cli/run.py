"""A finished run: report, verify, gate, compare, regress."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insights.cli import app
from insights.cli.options import FormatOption, NoRedactOption, RunArgument, open_corpus
from insights.cli.printing import print_json, print_rows, safe, say
from insights.errors import UsageError

if TYPE_CHECKING:
    from insights.records import Prevalence
    from insights.watch.compare import Compared, InBoth
    from insights.watch.verify import Difference, Remeasured
    from primitives.corpus import Corpus

FindingOption = Annotated[
    list[str] | None, typer.Option("--finding", metavar="ID", help="Only this finding; may be given again.")
]
OnOption = Annotated[Path | None, typer.Option("--on", metavar="CORPUS", help="Another corpus than the run's own.")]
ROWS = 40  # of a comparison for reading; json has all


@app.command()
def report(
    run: RunArgument,
    write: Annotated[bool, typer.Option("--write", help="Render report.md and report.html again.")] = False,
    format: FormatOption = "pretty",
    no_redact: NoRedactOption = False,
) -> None:
    """Print a run's report: its head, or all of it as Markdown or JSON.

    \b
    insights report airline.corpus
    insights report airline.corpus/runs/20260101-why-do-runs-fail --format md
    """
    from insights.report import head, load, render_again
    from insights.report.findings_json import FILE_NAME
    from insights.report.markdown import render
    from insights.report.place import corpus_of, run_folder

    folder = run_folder(run)
    loaded = load(folder)
    if write:
        render_again(loaded, folder, open_corpus(corpus_of(loaded, folder)))
        say(f"written: {folder / 'report.md'}, {folder / 'report.html'}")
    if format == "json":
        print_json(json.loads((folder / FILE_NAME).read_text(encoding="utf-8")))
    else:
        print(render(loaded) if format == "md" else head(loaded, folder))


@app.command()
def verify(
    run: RunArgument,
    on: OnOption = None,
    finding: FindingOption = None,
    format: FormatOption = "pretty",
    no_redact: NoRedactOption = False,
) -> None:
    """Count a run's findings again: same, moved or gone.

    On the run's own corpus, or with --on on another.

    \b
    insights verify airline.corpus
    insights verify airline.corpus --on next-week.corpus --format json

    Status 1 when a finding of the run's own corpus does not count the same any more.
    """
    measured = _measured(run, on, finding)
    if format == "json":
        print_json([m.to_json() for m in measured])
    else:
        _print_measured(measured, format)
    own = [m for m in measured if m.why.startswith("the corpus is the same")]
    if own:
        raise typer.Exit(1)


@app.command()
def gate(
    run: RunArgument,
    on: Annotated[Path, typer.Option("--on", metavar="CORPUS", help="The corpus of the release under test.")],
    finding: FindingOption = None,
    format: FormatOption = "pretty",
    no_redact: NoRedactOption = False,
) -> None:
    """Fail when a finding of a run is back in another corpus.

    Status 1 while a finding happens about as often as then or more often, 3 when that cannot be told, else 0.

    \b
    insights gate airline.corpus --on release-42.corpus
    insights gate baseline/findings.json --on release-42.corpus --finding F1 --finding F3
    """
    from insights.watch.gate import EXIT_STATUS
    from insights.watch.gate import gate as decide

    measured = _measured(run, on, finding)
    result = decide(measured)
    if format == "json":
        rows = [{**m.to_json(), "decision": decision} for m, decision in result.by_finding]
        print_json({"decision": result.decision, "findings": rows})
    else:
        _print_measured(measured, format, [decision for _, decision in result.by_finding])
        print(
            f"gate: {result.decision}" if result.by_finding else "gate: inconclusive, the run has no finding to watch"
        )
    if EXIT_STATUS[result.decision]:
        raise typer.Exit(EXIT_STATUS[result.decision])


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A corpus or a run.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another of the same sort.")],
    limit: Annotated[int, typer.Option(help="Rows for reading; json has all.", min=1)] = ROWS,
    format: FormatOption = "pretty",
    no_redact: NoRedactOption = False,
) -> None:
    """Compare two corpora, or the findings of two runs.

    Differences are B minus A, within tasks where both have the same tasks.

    \b
    insights compare v1.corpus v2.corpus
    insights compare v1.corpus/runs/r1 v2.corpus/runs/r1 --format json
    """
    from insights.report.place import is_corpus

    if is_corpus(a) and is_corpus(b):
        _compare_corpora(open_corpus(a), open_corpus(b), limit, format)
    elif is_corpus(a) or is_corpus(b):
        raise UsageError(f"{a} and {b} are not of one sort", "name two corpora or two runs")
    else:
        _compare_runs(a, b, limit, format)


@app.command()
def regress(
    run: RunArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the set; made if need be.")],
    per_finding: Annotated[int, typer.Option(help="Exemplar tasks of one finding.", min=1)] = 10,
    format: FormatOption = "pretty",
    no_redact: NoRedactOption = False,
) -> None:
    """Write a regression set: the tasks that show a finding best.

    One file of JSON lines for each confirmed finding.

    \b
    insights regress airline.corpus -o regression/
    """
    from insights.report import load
    from insights.report.place import corpus_of, run_folder
    from insights.watch.regress import regress as make

    folder = run_folder(run)
    loaded = load(folder)
    counts = make(loaded, open_corpus(corpus_of(loaded, folder)), output, per_finding=per_finding)
    if format == "json":
        print_json(counts)
    else:
        titles = {f.id: f.title for f in loaded.findings}
        rows = [(i, n, str(output / f"{i}.jsonl"), titles[i]) for i, n in counts.items()]
        print_rows(["finding", "cases", "file", "title"], rows, format)
    if not counts:
        say("the run has no confirmed finding: the set is empty")


def _measured(run: Path, on: Path | None, only: list[str] | None) -> list[Remeasured]:
    from insights.report import load
    from insights.report.place import corpus_of, run_folder
    from insights.watch.verify import verify as measure

    folder = run_folder(run)
    loaded = load(folder)
    missing = set(only or ()) - {f.id for f in loaded.findings}
    if missing:
        known = ", ".join(f.id for f in loaded.findings) or "none"
        raise UsageError(f"run {loaded.run_id} has no finding {', '.join(sorted(missing))}", f"it has {known}")
    return measure(loaded, open_corpus(on or corpus_of(loaded, folder)), only or ())


def _print_measured(measured: list[Remeasured], style: str, decisions: list[Any] | None = None) -> None:
    names = ["finding", "status", "then", "now", "difference", "why", "title"]
    rows = [
        [m.finding_id, m.status, _count(m.then), _count(m.now), _points(m.difference), m.why, m.title] for m in measured
    ]
    if decisions is not None:
        names.insert(1, "gate")
        for row, decision in zip(rows, decisions, strict=True):
            row.insert(1, decision)
    print_rows(names, rows, style)


def _compare_corpora(a: Corpus, b: Corpus, limit: int, style: str) -> None:
    from dataclasses import asdict

    from insights.watch.compare import compare_corpora

    rows = compare_corpora(a, b)
    if style == "json":
        print_json([asdict(r) for r in rows])
        return
    say(f"A {a.path.name}, B {b.path.name}: {_told(rows)}")
    shown = [
        [r.family, r.name, _side(r, "a"), _side(r, "b"), _interval(r), "" if r.q is None else f"{r.q:.2g}"]
        for r in rows
    ]
    print_rows(["of", "property", "A", "B", "B - A", "q"], shown[:limit], style)
    if len(shown) > limit:
        say(f"{len(shown) - limit} more; --limit N or --format json shows them")


def _told(rows: list[Compared]) -> str:
    adjusted = bool(rows) and rows[0].adjusted
    return (
        "differences within tasks that both have"
        if adjusted
        else "no tasks in common: not adjusted for task difficulty"
    )


def _side(r: Compared, side: str) -> str:
    value, k = (r.a, r.k_a) if side == "a" else (r.b, r.k_b)
    return f"{value:,.6g}" if k is None else f"{k:,} ({100 * value:.1f} %)"


def _interval(r: Compared) -> str:
    return (
        _points(r.difference)
        if r.k_a is not None
        else f"{r.difference.value:+.2f} ({r.difference.low:+.2f} to {r.difference.high:+.2f})"
    )


def _compare_runs(a: Path, b: Path, limit: int, style: str) -> None:
    from dataclasses import asdict

    from insights.report import load
    from insights.report.place import corpus_of, run_folder
    from insights.watch.compare import compare_runs

    folders = [run_folder(path) for path in (a, b)]
    reports = [load(folder) for folder in folders]
    corpora = [open_corpus(corpus_of(r, folder)) for r, folder in zip(reports, folders, strict=True)]
    rows: list[InBoth] = compare_runs(reports[0], corpora[0], reports[1], corpora[1])
    if style == "json":
        print_json([asdict(r) for r in rows])
        return
    shown = [[" and ".join(r.found_in), _count(r.a), _count(r.b), _points(r.difference), r.why, r.title] for r in rows]
    print_rows(["found in", "on A", "on B", "B - A", "why not", "finding"], shown[:limit], style)
    both = sum(len(r.found_in) == 2 for r in rows)
    say(f"{both} of {len(rows)} findings are in both runs")


def _count(p: Prevalence | None) -> str:
    if p is None:
        return ""
    return f"{p.k:,} of {p.n:,} ({100 * p.low:.0f} to {100 * p.high:.0f} %)"


def _points(d: Difference | None) -> str:
    return "" if d is None else safe(f"{100 * d.value:+.1f} ({100 * d.low:+.1f} to {100 * d.high:+.1f}) points")
