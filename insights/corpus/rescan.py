"""Detectors and a user's rules run over a corpus again, their signals swapped in atomically."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from insights.errors import CorpusError

if TYPE_CHECKING:
    from primitives.detectors import Signal
    from primitives.detectors.rules import Rule

COLUMNS = ("trace_id", "seq", "start_seq", "detector", "severity", "n", "detail")


def rescan(folder: Path, found: Sequence[tuple[str, Signal]], rules: Sequence[Rule] | None) -> None:
    """Replace the signals of every detector, or of `rules` alone, by `found` = (trace_id, signal) pairs.

    Readers keep what they opened; the next to open the corpus sees the new signals. Raises CorpusError while another
    program writes the corpus.
    """
    import duckdb
    import pandas as pd

    current, fresh = folder / "traces.duckdb", folder / "traces.duckdb.new"
    frame = pd.DataFrame(
        [(t, s.seq, s.start_seq, s.detector, s.severity, s.n, s.detail) for t, s in found], columns=list(COLUMNS)
    )
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CorpusError(f"{folder} is being written by another program", "wait for it to end") from None
        try:
            shutil.copyfile(current, fresh)
            with duckdb.connect(str(fresh)) as con:
                names = None if rules is None else [rule.name for rule in rules]
                con.execute(
                    "DELETE FROM signals WHERE $names IS NULL OR detector IN (SELECT unnest($names::VARCHAR[]))",
                    {"names": names},
                )
                con.register("found", frame)
                con.execute(f"INSERT INTO signals ({', '.join(COLUMNS)}) SELECT {', '.join(COLUMNS)} FROM found")
            fresh.replace(current)
        finally:
            fresh.unlink(missing_ok=True)
