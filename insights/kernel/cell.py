"""What running one cell gave, and the limits a kernel runs under."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """What one kernel may use. Memory is per process; processes and threads are counted together.

    `cell_seconds` is wall time of one cell, `cpu_seconds` processor time of the whole session (None: no bound),
    `output_chars` what one cell may give its reader, stdout, result and error together.
    """

    memory_bytes: int = 3 * GIB
    cpu_seconds: int | None = None
    cell_seconds: float = 120.0
    processes: int = 64
    file_bytes: int = GIB
    output_chars: int = 20_000


@dataclass(frozen=True, slots=True)
class Cell:
    """`error` is a bounded traceback or the reason the cell was stopped, None when it ran through.

    `lost_state`: the kernel was restarted before or because of this cell; names set by earlier ones are gone.
    """

    code: str
    stdout: str
    result: str | None
    error: str | None
    seconds: float
    truncated: bool
    lost_state: bool = False

    def text(self) -> str:
        """What an agent reads. Bounded by `Limits.output_chars`, what was left out is counted where it stood."""
        parts = [part.rstrip("\n") for part in (self.stdout, self.result, self.error) if part]
        return "\n".join(parts) or "(no output)"


class Collected:
    """Output of one cell as it arrives. The kernel bounds what it sends; this bounds a kernel that does not."""

    def __init__(self, output_chars: int) -> None:
        self.results: list[str] = []
        self.errors: list[str] = []
        self.notes: list[str] = []
        self.truncated = False
        self._printed: list[str] = []
        self._room = 2 * output_chars
        self._dropped = 0

    @property
    def excess(self) -> int:
        """Characters that arrived beyond any bound the kernel should have kept."""
        return self._dropped

    def add(self, into: list[str], text: str) -> None:
        kept = text[: self._room]
        self._room -= len(kept)
        self._dropped += len(text) - len(kept)
        if kept:
            into.append(kept)

    def printed(self, text: str) -> None:
        self.add(self._printed, text)

    def stdout(self) -> str:
        text = "".join(self._printed)
        if self._dropped:
            text += f"\n… {self._dropped:,} characters elided …\n"
        for note in self.notes:
            text += ("\n" if text and not text.endswith("\n") else "") + note + "\n"
        return text
