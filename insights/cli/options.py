"""Arguments and options that several commands share, and what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from insights.errors import CorpusError

if TYPE_CHECKING:
    from primitives.corpus import Corpus

Format = Literal["pretty", "json", "md"]
TableFormat = Literal["pretty", "json", "md", "csv"]

CorpusArgument = Annotated[
    Path, typer.Argument(metavar="CORPUS", help="A folder NAME.corpus, made by `insights ingest`.")
]
RunArgument = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The folder of a run, its findings.json, or a corpus (its latest run)."),
]
FormatOption = Annotated[Format, typer.Option("--format", help="json is complete and made for programs.")]
TableFormatOption = Annotated[
    TableFormat, typer.Option("--format", help="json (a list of objects) and csv are complete; pretty is for reading.")
]


def _show_secrets(wanted: bool) -> bool:
    if wanted:
        from primitives.secrets import SHOWN

        SHOWN.set(True)
    return wanted


NoRedactOption = Annotated[
    bool, typer.Option("--no-redact", help="Print and write what looks like a secret, too.", callback=_show_secrets)
]


def open_corpus(path: Path) -> Corpus:
    """Open a corpus for reading. Raises CorpusError when there is none at `path`."""
    from primitives.corpus import CorpusNotUsable
    from primitives.corpus import open_corpus as open_read_only

    try:
        return open_read_only(path)
    except CorpusNotUsable as error:
        raise CorpusError(str(error)) from error
