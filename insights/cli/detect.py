"""insights detect: the detectors, or rules of one's own, over a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insights.cli import app
from insights.cli.options import CorpusArgument, NoRedactOption, TableFormatOption, open_corpus
from insights.cli.printing import print_rows, say
from insights.errors import UsageError

if TYPE_CHECKING:
    from primitives.detectors import Signal
    from primitives.detectors.rules import Rule


@app.command()
def detect(
    corpus: CorpusArgument,
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FILE", help="Run these rules (YAML) instead of the detectors.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Replace the signals in the corpus by what was seen.")] = False,
    signals: Annotated[bool, typer.Option("--signals", help="List every signal, not the count by detector.")] = False,
    format: TableFormatOption = "pretty",
    no_redact: NoRedactOption = False,
) -> None:
    """Run the detectors over a corpus again, or rules of one's own.

    \b
    insights detect airline.corpus
    insights detect airline.corpus --rules my-rules.yaml --write
    """
    from primitives.detectors import scan_corpus

    opened = open_corpus(corpus)
    own = _rules(rules) if rules else None
    found = list(scan_corpus(opened.con, own))
    if signals:
        names = ["trace_id", "seq", "start_seq", "detector", "severity", "n", "detail"]
        print_rows(names, [(t, s.seq, s.start_seq, s.detector, s.severity, s.n, s.detail) for t, s in found], format)
    else:
        outcomes = dict(opened.con.execute("SELECT trace_id, success FROM traces").fetchall())
        print_rows(
            ["detector", "signals", "traces", "failed", "passed", "what it sees"], _counts(found, outcomes, own), format
        )
    if write:
        from insights.corpus.rescan import rescan

        opened.con.close()
        rescan(opened.path, found, own)
        say(f"written: {len(found):,} signals")


def _rules(file: Path) -> list[Rule]:
    from primitives.detectors.rules import load_rules
    from primitives.detectors.terms import RuleNotUnderstood

    try:
        return load_rules(file)
    except RuleNotUnderstood as error:
        raise UsageError(str(error)) from error


def _counts(
    found: list[tuple[str, Signal]], outcomes: dict[str, bool | None], own: list[Rule] | None
) -> list[tuple[Any, ...]]:
    """(detector, signals, traces, failed, passed, its line), the commonest first; a rule that saw nothing is listed."""
    from primitives.detectors import DETECTORS

    lines = {r.name: r.line for r in own} if own is not None else {n: d.line for n, d in DETECTORS.items()}
    seen: dict[str, list[str]] = {name: [] for name in lines}
    for trace_id, signal in found:
        seen.setdefault(signal.detector, []).append(trace_id)
    rows = []
    for name, ids in seen.items():
        traces = set(ids)
        verdicts = [outcomes.get(t) for t in traces]
        rows.append((name, len(ids), len(traces), verdicts.count(False), verdicts.count(True), lines.get(name, "")))
    return sorted(rows, key=lambda r: (-r[2], r[0]))
