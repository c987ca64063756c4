"""Reading a corpus: info, sql, search, show, replay."""

from __future__ import annotations

import re
import sys
import time
import warnings
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from insights.cli import app
from insights.cli.options import CorpusArgument, FormatOption, NoRedactOption, TableFormatOption, open_corpus
from insights.cli.printing import batches, print_json, print_rows, safe, say
from insights.errors import UsageError

if TYPE_CHECKING:
    from primitives.corpus import Corpus

PRETTY_ROWS = 50  # of a table for reading, without --limit
AROUND = 3  # steps on either side of a cited one
Mode = Literal["hybrid", "keyword", "semantic", "phrase", "regex"]
TraceArgument = Annotated[
    str, typer.Argument(metavar="TRACE", help="A trace id, an unambiguous ending of one, or a citation TRACE#STEP.")
]


@app.command()
def info(corpus: CorpusArgument, format: FormatOption = "pretty", no_redact: NoRedactOption = False) -> None:
    """Say what a corpus holds.

    Outcomes, agents, tasks, tools, cost, detectors, slices, and what could not be read; as JSON also every table.

    \b
    insights info airline.corpus
    insights info airline.corpus --format json
    """
    opened = open_corpus(corpus)
    if format == "json":
        from insights.report.facts import facts

        print_json(facts(opened))
        return
    text = safe(opened.overview())
    print(f"```\n{text}\n```" if format == "md" else text)


@app.command()
def sql(
    corpus: CorpusArgument,
    query: Annotated[
        str, typer.Argument(metavar="SQL", help="One SELECT, or - to read it from stdin. `insights info` lists tables.")
    ],
    limit: Annotated[int | None, typer.Option(help="At most so many rows.", min=1)] = None,
    format: TableFormatOption = "pretty",
    no_redact: NoRedactOption = False,
) -> None:
    """Run one read-only SQL query over a corpus.

    A finding's predicate runs again this way.

    \b
    insights sql airline.corpus "SELECT success, count(*) FROM traces GROUP BY ALL"
    insights sql airline.corpus "SELECT trace_id, seq, text FROM steps WHERE is_error" --format json
    """
    import duckdb

    from primitives.sql import QueryError, columns_of, explain

    opened = open_corpus(corpus)
    query = sys.stdin.read() if query == "-" else query
    columns_of(opened, query)  # refuses what is not one reading statement
    most = limit or (PRETTY_ROWS if format == "pretty" else None)
    try:
        result = opened.con.execute(query)
        rows = batches(result)
        print_rows([column[0] for column in result.description or []], islice(rows, most), format)
        more = most is not None and next(rows, None) is not None
    except duckdb.Error as error:
        raise QueryError(explain(opened, error)) from error
    if more:
        say(f"only the first {most:,} rows are shown; --limit N shows more, --format json all of them")


@app.command()
def search(
    corpus: CorpusArgument,
    query: Annotated[str, typer.Argument(help='Words, "a phrase", AND OR NOT, role:, tool:, field:; or a regex.')],
    mode: Annotated[Mode, typer.Option(help="hybrid joins keyword and semantic; regex scans every text.")] = "hybrid",
    where: Annotated[
        str | None, typer.Option("-F", "--filter", metavar="SQL", help="A condition over traces and steps.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many hits.", min=1, max=500)] = 20,
    format: TableFormatOption = "pretty",
    no_redact: NoRedactOption = False,
) -> None:
    """Find steps by words, meaning, phrase or regular expression.

    \b
    insights search airline.corpus "refund not possible" -F "NOT success"
    insights search airline.corpus "(?i)time.?out" --mode regex --format json
    """
    opened = open_corpus(corpus)
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        try:
            hits = opened.search(query, mode=mode, where=where, k=limit)
        except ValueError as error:
            raise UsageError(str(error)) from error
    for remark in remarks:
        say(str(remark.message))
    if not no_redact:
        hits["snippet"] = [_masked(opened, hit) for hit in hits.itertuples()]
    if format != "pretty":
        print_rows(list(hits.columns), list(hits.itertuples(index=False, name=None)), format)
        return
    for hit in hits.itertuples():
        same = f", the same text in {hit.same} steps" if (getattr(hit, "same", 1) or 1) > 1 else ""
        print(f"{safe(hit.trace_id)}#{hit.seq}  {hit.field}{same}\n    {' '.join(safe(hit.snippet).split())}")
    if hits.empty:
        say("nothing found")


@app.command()
def show(
    corpus: CorpusArgument,
    trace: TraceArgument,
    start: Annotated[int | None, typer.Option(help="First step shown.", min=0)] = None,
    end: Annotated[int | None, typer.Option(help="First step not shown any more.", min=1)] = None,
    max_chars: Annotated[int, typer.Option(help="Bound on the text for reading; json is complete.", min=500)] = 20_000,
    format: FormatOption = "pretty",
    no_redact: NoRedactOption = False,
) -> None:
    """Show a trace for reading, or the steps around a citation.

    \b
    insights show airline.corpus openai_chat:conv_17
    insights show airline.corpus 'conv_17#12' --format json
    """
    from insights.report.facts import trace_facts

    opened = open_corpus(corpus)
    trace_id, cited = _meant(opened, trace)
    if start is not None and end is not None and end <= start:
        raise UsageError(f"--end {end} is not after --start {start}", "--end names the first step not shown any more")
    first = cited if cited is not None else start or 0
    (n,) = opened.con.execute("SELECT n_steps FROM traces WHERE trace_id = ?", [trace_id]).fetchone() or (0,)
    if n and first >= n:
        raise UsageError(f"{trace_id} has no step {first}", f"its steps are 0 to {n - 1}")
    if cited is not None and start is None and end is None:
        start, end = max(0, cited - AROUND), cited + AROUND + 1
    if format == "json":
        print_json(trace_facts(opened, trace_id, start or 0, end))
        return
    text = safe(opened.read(trace_id, start=start or 0, end=end, max_chars=max_chars))
    print(f"```\n{text}\n```" if format == "md" else text)


@app.command()
def replay(
    corpus: CorpusArgument,
    trace: TraceArgument,
    delay: Annotated[float, typer.Option(help="Seconds to wait between steps.", min=0)] = 0.0,
    format: FormatOption = "pretty",
    no_redact: NoRedactOption = False,
) -> None:
    """Print a trace step by step, with what the detectors saw.

    \b
    insights replay airline.corpus openai_chat:conv_17
    insights replay airline.corpus conv_17 --delay 0.5
    """
    from insights.report.facts import trace_facts

    opened = open_corpus(corpus)
    trace_id, cited = _meant(opened, trace)
    found = trace_facts(opened, trace_id, 0, None if cited is None else cited + 1)
    if format == "json":
        print_json(found)
        return
    begun = found["trace"].get("started_at")
    for step in found["steps"]:
        print("\n".join(_step_lines(step, begun, format)), flush=True)
        time.sleep(delay)
    t = found["trace"]
    verdict = {True: "passed", False: "failed", None: "no verdict"}[t["success"]]
    print(f"end: {verdict}, {t['end_reason'] or 'unknown'}" if cited is None else f"stopped at step {cited}")


def _step_lines(step: dict[str, Any], begun: Any, style: str) -> list[str]:
    clock = f" +{(step['ts'] - begun).total_seconds():.0f}s" if step["ts"] and begun else ""
    bold = "**" if style == "md" else ""
    lines = [f"{bold}#{step['seq']} {safe(step['role'] or step['kind'])}{clock}{bold}"]
    text = "\n".join(filter(None, (step["reasoning"], step["text"])))
    lines += [f"    {line}" for line in safe(text).splitlines()]
    lines += [f"    -> {safe(c['name'] or '?')}({safe(c['args_text'] or '')})" for c in step["tool_calls"]]
    return lines + [f"  ! {s['detector']} ({s['severity']}): {safe(s['detail'] or '')}" for s in step["signals"]]


def _masked(corpus: Corpus, hit: Any) -> str:
    """The snippet of a hit, masked by what stands in the whole text: a snippet may begin in the midst of a secret."""
    from insights.findings.citations import texts_of
    from primitives.secrets import excerpt, mask

    start, end = int(hit.start), int(hit.end)
    whole = next((t for t in texts_of(corpus, hit.trace_id, hit.seq) if t[start:end] == hit.snippet), None)
    return mask(hit.snippet)[0] if whole is None else excerpt(whole, start, end)


def _meant(corpus: Corpus, trace: str) -> tuple[str, int | None]:
    """(full trace id, cited step or None) of a trace id, an ending of one, or a citation."""
    from primitives.read import TraceNotFound, find_trace

    trace = trace.strip("[]")
    try:
        return find_trace(corpus, trace), None
    except TraceNotFound:
        citation = re.fullmatch(r"(.+)#(\d+)", trace, re.S)
        if citation is None:
            raise
        return find_trace(corpus, citation[1]), int(citation[2])
