"""Verdicts that come from a file: `success` and `score` of traces, swapped in atomically."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Mapping
from pathlib import Path

from insights.corpus.standing import keep_verdicts
from insights.errors import CorpusError

# as at ingest: it changes with any verdict
FINGERPRINT = (
    "SELECT left(sha1(string_agg(concat_ws('|', trace_id, fingerprint, success, score), chr(10) ORDER BY trace_id)), 16) "
    "FROM traces"
)


def relabel(folder: Path, success: Mapping[str, bool], score: Mapping[str, float]) -> None:
    """Set `success` and `score` of the traces named by trace_id, for good (see `standing`).

    Raises CorpusError while another program writes the corpus.
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
                keep_verdicts(con, success, score)
                con.execute(f"UPDATE corpus_info SET fingerprint = ({FINGERPRINT})")
            fresh.replace(current)
        finally:
            fresh.unlink(missing_ok=True)
