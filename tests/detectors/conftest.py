"""A run written down as tuples: ("user", text) ("says", text) ("call", tool, args) ("ok", text) ("end", …)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from primitives.detectors import Event, Scan, Signal


def events(*lines: tuple[Any, ...]) -> list[Event]:
    made: list[Event] = []
    tool, args = None, None
    for seq, (what, *rest) in enumerate(lines):
        if what == "call":
            tool, args = rest[0], json.dumps(rest[1] if len(rest) > 1 else {})
            made.append(Event(seq, "call", "assistant", name=tool, args_text=args, args_hash=hash(args)))
        elif what in ("ok", "fails", "denied", "cut"):
            status = {"fails": "error", "denied": "denied"}.get(what, "ok")
            made.append(
                Event(
                    seq,
                    "result",
                    "tool",
                    text=rest[0],
                    name=tool,
                    args_text=args,
                    args_hash=hash(args),
                    status=status,
                    truncated=what == "cut",
                )
            )
        elif what == "end":
            options = rest[0] if rest else {}
            made.append(Event(seq, "end", end_reason=options.get("end_reason"), success=options.get("success")))
        else:
            kind = {"says": "assistant"}.get(what, what)
            made.append(Event(seq, kind, kind, text=rest[0] if rest else None))
    return made


@pytest.fixture
def watch() -> Callable[..., list[Signal]]:
    """Signals of a run; an end without verdict is added where none is given."""

    def run(*lines: tuple[Any, ...], thresholds: Any = None) -> list[Signal]:
        scan = Scan(thresholds)
        whole = lines if lines[-1][0] == "end" else (*lines, ("end",))
        return [signal for event in events(*whole) for signal in scan.step(event)]

    return run


@pytest.fixture
def fired(watch: Callable[..., list[Signal]]) -> Callable[..., list[str]]:
    """Names of the detectors that fired, in order."""

    def names(*lines: tuple[Any, ...], thresholds: Any = None) -> list[str]:
        return [signal.detector for signal in watch(*lines, thresholds=thresholds)]

    return names
