"""Corpus-level diagnosis of AI-agent execution traces.

Importing this package is cheap and has no side effects; each subpackage is a stage of the data flow
drawn in docs/design.md: corpus, kernel, models, diagnose, findings, report, watch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insights.records import Report

__version__ = "0.1.0"


def load(run: str | Path) -> Report:
    """The report of a run: of its folder, its findings.json, or a corpus (its latest run). See docs/commands.md.

    Raises InsightsError when there is none, or it is damaged or of another version.
    """
    from insights.report import load as load_report
    from insights.report.place import run_folder

    return load_report(run_folder(Path(run)))
