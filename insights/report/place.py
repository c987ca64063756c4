"""Where a run and its corpus are on disk."""

from __future__ import annotations

from pathlib import Path

from insights.errors import InsightsError
from insights.records import Report
from insights.report.findings_json import FILE_NAME


def run_folder(path: Path) -> Path:
    """The folder of a run, named by itself, by its findings.json, or by a corpus (its latest finished run).

    Raises InsightsError when there is none.
    """
    if path.name == FILE_NAME and path.is_file():
        return path.parent
    if (path / FILE_NAME).is_file():
        return path
    finished = sorted((path / "runs").glob(f"*/{FILE_NAME}"), key=lambda f: (f.stat().st_mtime, str(f)))
    if finished:
        return finished[-1].parent
    if is_corpus(path):
        raise InsightsError(f"{path} holds no finished run", f'make one: insights ask {path} "Why do runs fail?"')
    raise InsightsError(f"{path} is neither a run nor a corpus", f"a run is a folder with {FILE_NAME} in it")


def is_corpus(path: Path) -> bool:
    return (path / "traces.duckdb").is_file()


def corpus_of(report: Report, folder: Path) -> Path:
    """The corpus that a run was made on: where it was then, or around the run's folder if both were moved.

    Raises InsightsError when it is at neither place.
    """
    told = Path(str(report.corpus.get("path", "")))
    around = folder.resolve().parent.parent
    for place in (told, around):
        if is_corpus(place):
            return place
    raise InsightsError(f"the corpus of run {report.run_id} is not at {told} any more", "name it with --on CORPUS")
