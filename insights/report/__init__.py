"""A run as people and programs read it: report.md, report.html, findings.json, notebook.ipynb and files of trace ids."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insights.records import Report
from insights.report.findings_json import load, to_json, trace_ids_file, write_ids
from insights.report.terminal import head

if TYPE_CHECKING:
    from primitives.corpus import Corpus

__all__ = ["check", "head", "load", "render_again", "write"]


def write(report: Report, run_dir: Path, *, corpus: Corpus, cells: Sequence[Any] = ()) -> None:
    """Write every form of the report into `run_dir`; findings.json comes last, so its presence means all is there.

    `cells` are objects with `agent`, `code`, `stdout`, `result` and `error`, in the order in which they ran.
    Raises ValueError when the report contradicts itself: see `check`.
    """
    from insights.report.context import around_citations
    from insights.report.html import render as html
    from insights.report.markdown import render as markdown
    from insights.report.masking import masked
    from insights.report.notebook import render as notebook

    check(report)
    report = masked(report, corpus)
    around = around_citations(report, corpus)
    files = {trace_ids_file(f.id): write_ids(f.trace_ids) for f in report.findings}
    files["report.md"] = markdown(report)
    files["report.html"] = html(report, around)
    files["notebook.ipynb"] = notebook(report, cells)
    files["findings.json"] = json.dumps(to_json(report), ensure_ascii=False, indent=1, default=str) + "\n"
    _write(run_dir, files)


def render_again(report: Report, run_dir: Path, corpus: Corpus) -> None:
    """Write report.md and report.html afresh from a loaded report; findings.json and the notebook stay as they are."""
    from insights.report.context import around_citations
    from insights.report.html import render as html
    from insights.report.markdown import render as markdown
    from insights.report.masking import masked

    report = masked(report, corpus)
    _replace(run_dir / "report.md", markdown(report))
    _replace(run_dir / "report.html", html(report, around_citations(report, corpus)))


def check(report: Report) -> None:
    """Raise ValueError when the partition does not sum to the failures, or a cause names no finding or miscounts."""
    failed = report.corpus.get("n_failed") or 0
    total = sum(cause.n for cause in report.partition)
    if report.partition and total != failed:
        raise ValueError(f"the partition sums to {total} failures, the corpus has {failed}")
    known = {f.id for f in report.findings}
    for cause in report.partition:
        if cause.n != len(cause.trace_ids):
            raise ValueError(f"the cause {cause.label!r} counts {cause.n} traces and lists {len(cause.trace_ids)}")
        if cause.finding_id is not None and cause.finding_id not in known:
            raise ValueError(
                f"the cause {cause.label!r} names finding {cause.finding_id!r}, which is not in the report"
            )


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Each file whole or not at all; files of ids that belong to no finding any more are removed."""
    ids = folder / "findings"
    ids.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        _replace(folder / name, text)
    for stale in ids.glob("*.txt"):
        if f"findings/{stale.name}" not in files:
            stale.unlink()


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8", "replace"))
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
