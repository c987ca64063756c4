"""What running one cell gave, and the limits a kernel runs under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GIB = 1 << 30
MIME_NOTES = "application/x-insights-notes"  # inside/boot.py sends {"truncated", "restored"} so at the end of a cell


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

    `stdout` holds stderr and displayed objects too, in their order. `lost_state`: the kernel was restarted before or
    because of this cell; names set by earlier ones are gone.
    """

    code: str
    stdout: str
    result: str | None
    error: str | None
    seconds: float
    truncated: bool
    lost_state: bool = False

    def text(self) -> str:
        """What an agent reads. Bounded by `Limits.output_chars`; what was left out is counted where it stood."""
        parts = [part.rstrip("\n") for part in (self.stdout, self.result, self.error) if part]
        return "\n".join(parts) or "(no output)"


class Collected:
    """Output of one cell as it arrives. The kernel bounds what it sends; this bounds a kernel that does not."""

    def __init__(self, output_chars: int) -> None:
        self.notes: list[str] = []
        self.reason: str | None = None  # why the cell was stopped
        self.truncated = False
        self.excess = 0  # characters beyond any bound the kernel should have kept
        self._parts: dict[str, list[str]] = {"stdout": [], "result": [], "error": []}
        self._room = dict.fromkeys(self._parts, 2 * output_chars)

    def take(self, said: dict[str, Any]) -> bool:
        """Add one message of the iopub channel; True when it is the last of its cell."""
        kind, content = said["msg_type"], said["content"]
        if kind == "stream":
            self._add("stdout", str(content["text"]))
        elif kind == "execute_result":
            self._add("result", str(content["data"].get("text/plain", "")))
        elif kind == "error":
            self._add("error", "\n".join(map(str, content["traceback"])))
        elif kind == "display_data" and isinstance(content["data"].get(MIME_NOTES), dict):
            self._note(content["data"][MIME_NOTES])
        return bool(kind == "status" and content["execution_state"] == "idle")

    def _add(self, part: str, text: str) -> None:
        kept = text[: self._room[part]]
        self._room[part] -= len(kept)
        self.excess += len(text) - len(kept)
        if kept:
            self._parts[part].append(kept)

    def _note(self, notes: dict[str, Any]) -> None:
        self.truncated |= bool(notes.get("truncated"))
        restored = ", ".join(map(str, notes.get("restored", ())))[:500]
        if restored:
            self.notes.append(f"({restored}: reserved, set back to what it was; use another name)")

    def cell(self, code: str, seconds: float, lost_state: bool) -> Cell:
        stdout = "".join(self._parts["stdout"])
        if self.excess:
            stdout += f"\n… {self.excess:,} characters elided …\n"
        for note in self.notes:
            stdout += ("\n" if stdout and not stdout.endswith("\n") else "") + note + "\n"
        errors = [self.reason, *self._parts["error"]] if self.reason else self._parts["error"]
        return Cell(
            code=code,
            stdout=stdout,
            result="\n".join(self._parts["result"]) or None,
            error="\n".join(errors) or None,
            seconds=round(seconds, 4),
            truncated=self.truncated or self.excess > 0,
            lost_state=lost_state,
        )
