"""Detectors and a user's rules run over a corpus again, their signals swapped in atomically."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from insights.corpus.standing import keep_signals
from insights.errors import CorpusError

if TYPE_CHECKING:
    from primitives.detectors import Signal
    from primitives.detectors.rules import Rule


def rescan(folder: Path, found: Sequence[tuple[str, Signal]], rules: Sequence[Rule] | None) -> None:
    """Replace the signals of the detectors, or of rules written before, by `found` = (trace_id, signal) pairs.

    Rules stay with the corpus: the next ingest runs them over what it reads.

    Readers keep what they opened; the next to open the corpus sees the new signals. Raises CorpusError while another
    program writes the corpus.
    """
    import duckdb

    current, fresh = folder / "traces.duckdb", folder / "traces.duckdb.new"
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CorpusError(f"{folder} is being written by another program", "wait for it to end") from None
        try:
            shutil.copyfile(current, fresh)
            with duckdb.connect(str(fresh)) as con:
                keep_signals(con, found, rules)
            fresh.replace(current)
        finally:
            fresh.unlink(missing_ok=True)
