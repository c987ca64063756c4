"""Detectors and a user's rules run over a corpus again, their signals swapped in atomically."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from insights.corpus.standing import keep_signals, rewritten

if TYPE_CHECKING:
    from primitives.detectors import Signal
    from primitives.detectors.rules import Rule


def rescan(folder: Path, found: Sequence[tuple[str, Signal]], rules: Sequence[Rule] | None) -> None:
    """Replace the signals of the detectors, or of rules written before, by `found` = (trace_id, signal) pairs.

    Rules stay with the corpus: the next ingest runs them over what it reads. Raises CorpusError.
    """
    with rewritten(folder) as con:
        keep_signals(con, found, rules)
