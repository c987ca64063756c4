"""What all detectors know of the run so far, kept once; and the class that families of detectors extend."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

from primitives.detectors.action import EDIT, FINISH, SHELL, WRITE, flags_of
from primitives.detectors.event import Event, Signal, masked
from primitives.detectors.registry import Detector
from primitives.detectors.wording import Answer

FAILED = frozenset({"error", "denied", "cancelled"})
_FLAGS: dict[tuple[str | None, int], int] = {}
_FLAGS_MAX = 8_192
_PROSE = (
    ".md",
    ".txt",
    ".rst",
    ".json",
    ".yml",
    ".yaml",
    ".csv",
    ".html",
    ".log",
    ".toml",
    ".cfg",
    ".lock",
    ".patch",
    "COMMIT",
)
BARE_EDIT = 120  # characters: an edit with shorter arguments does not say what it writes
KEPT_CHARS = 1_000_000  # of sources held for one run
FINISH_WORDS = 40  # characters: a tool that ends the run and carries more than this carries the answer


class Run:
    """Bounded state of one run, brought up to date before any family sees the event."""

    __slots__ = (
        "action",
        "answer",
        "calls",
        "edit_seq",
        "emitted",
        "failed",
        "flags",
        "kept_chars",
        "pair",
        "said",
        "shells",
        "signals",
        "sources",
        "spoken",
        "unreadable",
        "user_seq",
        "user_text",
        "user_turns",
        "write_seq",
        "writes",
    )

    def __init__(self) -> None:
        self.signals: list[Signal] = []
        self.calls = 0  # calls of the agent so far
        self.shells = 0  # shell commands that succeeded: they may have changed anything
        self.writes = 0  # calls that changed something and succeeded
        self.write_seq = self.edit_seq = -1  # step of the last such call; of the last edit of a file that is code
        self.user_seq, self.user_turns, self.user_text = -1, 0, ""
        self.said: Event | None = None  # a message of the agent which no call has followed yet
        self.spoken: Event | None = None  # its last message, whatever followed
        self.answer: Answer | None = None  # the text of the answer being handed over, during "answer"
        self.flags = 0  # of the current call or result, see action.py
        self.action = 0  # hash of the current call's name and arguments
        self.pair = 0  # hash of the current result's action and text
        self.failed = False  # whether the current result is a failure
        self.unreadable: Event | None = None  # the last call, where its arguments are no JSON
        self.sources: deque[tuple[int, str]] = deque()  # what was said, called and returned: (step, text)
        self.kept_chars = 0  # of the sources; beyond KEPT_CHARS they are given up and emptied

    def keep(self, seq: int, text: str | None) -> None:
        if text and self.kept_chars <= KEPT_CHARS:
            self.kept_chars += len(text)
            self.sources.append((seq, text))
            if self.kept_chars > KEPT_CHARS:
                self.sources.clear()

    def called(self, e: Event) -> None:
        self.calls += 1
        self._identify(e)
        self.unreadable = e if e.text else None  # the reader's word on arguments that are no JSON
        if not self.flags & FINISH:
            self.said = None
            self.keep(e.seq, e.args_text)
        elif e.args_text and len(e.args_text) > FINISH_WORDS:
            self.said = Event(e.seq, "assistant", agent=e.agent, text=e.args_text)

    def returned(self, e: Event) -> None:
        self._identify(e)
        self.keep(e.seq, e.text)
        self.pair = hash((self.action, e.text))
        self.failed = e.status in FAILED
        if self.failed:
            return
        if self.flags & SHELL:
            self.shells += 1
        if self.flags & WRITE:
            self.writes += 1
            self.write_seq = e.seq
            if self.flags & EDIT and not _is_prose((e.args_text or "")[:300] + " " + (e.text or "")[:200]):
                self.edit_seq = e.seq

    def _identify(self, e: Event) -> None:
        key = (e.name, e.args_hash)
        flags = _FLAGS.get(key)
        if flags is None:
            if len(_FLAGS) >= _FLAGS_MAX:
                _FLAGS.clear()
            flags = _FLAGS[key] = flags_of(e.name, e.args_text)
        self.flags = flags
        self.action = hash(key)
        if flags & EDIT and self.spoken is not None and len(e.args_text or "") < BARE_EDIT:
            self.action = hash((key, self.spoken.text))  # the new text stands in the message, not in the arguments

    def heard(self, e: Event) -> None:
        self.user_seq, self.user_text = e.seq, e.text or ""
        self.user_turns += 1
        self.keep(e.seq, e.text)


def _is_prose(place: str) -> bool:
    """Whether an edit is of notes, data or a commit message: what names the file names such a one."""
    return any(ending in place for ending in _PROSE)


class Family:
    """Detectors that share state. A method named on_<kind> receives the events of that kind.

    Beside the kinds of events there is "answer": the agent has handed the turn back with a text (`run.answer`); it
    comes before the "user", "interrupt" or "end" event that shows it; "silence": it has done so with no text; "write":
    a call that means to change something; "plan": one that keeps the to-do list; "failure": a result that is one;
    "ran": the result of a call that runs code.
    """

    declared: ClassVar[tuple[Detector, ...]] = ()

    def __init__(self, run: Run, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self.run = run
        self.settings = settings

    def emit(
        self, detector: Detector, seq: int, start_seq: int, n: int, detail: str, severity: str | None = None
    ) -> None:
        if self.settings[detector.name]["enabled"]:
            self.run.signals.append(
                Signal(seq, start_seq, detector.name, severity or detector.severity, n, masked(detail))
            )
