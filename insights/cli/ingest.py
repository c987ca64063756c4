"""insights ingest: traces into a corpus."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from insights.cli import app
from insights.cli.printing import safe

if TYPE_CHECKING:
    from insights.corpus.load import Summary

ENOUGH = 0.99  # share of a source's text below which it is told; as in insights.corpus.loss
SHOWN = 12  # rows of each part of the closing summary


@app.command()
def ingest(
    paths: list[str] = typer.Argument(
        ...,
        metavar="PATH",
        help="Files, folders or globs of traces, archives (.gz .zst .bz2 .xz .zip .tar), - for standard input, or an address "
        "(https://, s3://; needs the extra `remote`).",
    ),
    output: Path = typer.Option(
        ..., "-o", "--output", metavar="CORPUS", help="The corpus folder to make or extend, e.g. week.corpus."
    ),
    format: str | None = typer.Option(
        None,
        "--format",
        metavar="NAME",
        help="Read every file as this format instead of recognising it; the README lists the names.",
    ),
    map: str | None = typer.Option(
        None,
        "--map",
        metavar="NAME=KEY,…",
        help="What the keys of a log of your own mean, e.g. role=author,text=body,time=at,group=chat.",
    ),
    jobs: int | None = typer.Option(None, "-j", "--jobs", help="Reader processes; default: the number of cores."),
    strict: bool = typer.Option(False, "--strict", help="Exit with 1 when anything was lost, repaired or not read."),
    no_progress: bool = typer.Option(False, "--no-progress", help="No progress bar."),
) -> None:
    """Read traces into a corpus, and say what was read, what was dropped and why.

    \b
    insights ingest runs/ results.json -o week.corpus
    insights ingest 'logs/*.jsonl.gz' -o week.corpus           again: only what is new, has grown or changed
    zcat traces.jsonl.gz | insights ingest - -o week.corpus
    insights ingest https://example.org/traces.zip -o week.corpus --strict
    """
    summary = run(paths, output, format=format, fields=fields_of(map), jobs=jobs, progress=not no_progress)
    print_summary(summary)
    if strict and not summary.clean:
        raise typer.Exit(1)


def fields_of(text: str | None) -> dict[str, str] | None:
    """role=author,text=body as a mapping; raises UsageError where it is none."""
    from insights.corpus.formats.guessed import FIELDS
    from insights.errors import UsageError

    if not text:
        return None
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    wrong = [name.strip() for name, sign, key in pairs if not sign or not key or name.strip() not in FIELDS]
    if wrong:
        raise UsageError(f"--map cannot mean {', '.join(wrong)!r}", "NAME=KEY with NAME one of " + ", ".join(FIELDS))
    fields = {name.strip(): key.strip() for name, _, key in pairs}
    if not fields.keys() & {"text", "asked"}:
        raise UsageError("--map names no text", "say text=KEY (and role=KEY), or asked=KEY,answered=KEY")
    return fields


def run(
    paths: list[str],
    output: Path,
    *,
    format: str | None = None,
    fields: dict[str, str] | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Summary:
    """Ingest with a progress bar on stderr where that is a terminal."""
    from insights.corpus.formats import FORMATS
    from insights.corpus.load import ingest as load
    from insights.errors import UsageError

    if format is not None and format not in FORMATS:
        raise UsageError(f"no format {format!r}", "one of " + ", ".join(sorted(FORMATS)))
    if not (progress and sys.stderr.isatty()):
        return load(paths, output, format=format, fields=fields, jobs=jobs)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def show(uri: str, done: int, total: int) -> None:
            bar.update(task, description=safe(f"reading {Path(uri).name[:40]}"), completed=done, total=total)

        return load(paths, output, format=format, fields=fields, jobs=jobs, progress=show)


def _print_text_share(summary: Summary, out: Callable[[str], None]) -> None:
    """How much of the text of the sources is in the corpus, and how much of them that was measured on."""
    import duckdb

    with duckdb.connect(str(summary.corpus / "traces.duckdb"), read_only=True) as con:
        rows = con.execute(
            "SELECT sum(text_share * bytes) / sum(bytes), count(*), sum(text_sampled * bytes) / sum(bytes), "
            f"count(*) FILTER (text_share < {ENOUGH}), arg_min(coalesce(member, uri), text_share), min(text_share) "
            "FROM sources WHERE text_share IS NOT NULL AND bytes > 0"
        ).fetchall()
    share, n, sampled, below, worst, least = rows[0]
    if not n:
        return
    part = "" if sampled >= 0.9995 else f", measured on {100 * sampled:.2g} % of it"
    said = f"  text: {_floor(share)} % of that of {n:,} {'source' if n == 1 else 'sources'} is in the traces{part}"
    lost = f"; under {100 * ENOUGH:.0f} % in {below:,}, least in {worst}: {_floor(least)} % (ingest_issues, unmapped)"
    out(said + (lost if below else ""))


def _floor(share: float) -> str:
    """A share in per cent that is 100 only where nothing is missing."""
    return f"{math.floor(share * 1000) / 10:g}"


def print_summary(summary: Summary, file: Any = None) -> None:
    """What was read, dropped and why: a screenful."""
    to = file or sys.stdout

    def out(line: str) -> None:
        print(safe(line).replace("\n", "⏎"), file=to)

    t = summary.totals
    if not t:
        out(f"{summary.corpus}: nothing new; {summary.n_unchanged} sources unchanged, {summary.n_traces} traces")
        return
    out(
        f"{summary.corpus}: {t['traces']} traces, {t['steps']} steps, {t['tool_calls']} tool calls ({t['tool_errors']} errors)"
    )
    out(f"  outcomes: {t['passed']} passed, {t['failed']} failed, {t['unlabelled']} unlabelled; {t['tasks']} tasks")
    out(
        f"  read now: {summary.n_new} traces from {summary.n_sources - summary.n_unchanged} files in {summary.seconds:.1f} s"
        + (f"; {summary.n_unchanged} files unchanged" if summary.n_unchanged else "")
    )
    for name, (files, traces) in sorted(summary.by_format.items(), key=lambda f: -f[1][1]):
        out(f"    {name}: {traces} traces from {files} {'file' if files == 1 else 'files'}")
    _print_text_share(summary, out)
    if summary.not_read:
        out(f"  not read: {len(summary.not_read)}")
        for refusal in summary.not_read[:SHOWN]:
            out(f"    {refusal.uri}: {refusal.reason}")
        if len(summary.not_read) > SHOWN:
            out(f"    … and {len(summary.not_read) - SHOWN} more (table sources, status)")
    if summary.issues:
        out("  lost, repaired or odd (table ingest_issues):")
        for code, severity, n, detail in summary.issues[:SHOWN]:
            out(f"    {code} ({severity}): {n} x, e.g. {detail[:140]}")
        if len(summary.issues) > SHOWN:
            out(f"    … and {len(summary.issues) - SHOWN} more kinds")
