"""All detectors over one run, event by event, or over a whole corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from primitives.detectors.action import PLAN, RUN, WRITE
from primitives.detectors.dialogue import Dialogue
from primitives.detectors.errors import Errors
from primitives.detectors.event import KINDS, Event, Signal, events_of
from primitives.detectors.evidence import Evidence
from primitives.detectors.loops import Loops
from primitives.detectors.outcome import Outcome
from primitives.detectors.progress import Progress
from primitives.detectors.registry import thresholds as thresholds_of
from primitives.detectors.run import Family, Run
from primitives.detectors.safety import Safety
from primitives.detectors.wording import Answer

if TYPE_CHECKING:
    from primitives.detectors.rules import Rule

FAMILIES: tuple[type[Family], ...] = (Loops, Progress, Errors, Evidence, Outcome, Dialogue, Safety)
CUT_OFF = ("limit_", "user_abort")  # how a run ends that had no chance to answer
DERIVED = ("write", "plan", "failure", "ran", "answer", "silence")
Handler = Callable[[Family, Event], None]
Listeners = dict[str, list[tuple[int, Handler]]]


def listeners(families: Sequence[type[Family]]) -> Listeners:
    """For each kind of event, which of the families hear it (by place) and the method that does."""
    return {
        kind: [(i, getattr(f, f"on_{kind}")) for i, f in enumerate(families) if hasattr(f, f"on_{kind}")]
        for kind in (*KINDS, *DERIVED)
    }


_LISTENERS = listeners(FAMILIES)


class Scan:
    """Feed the events of one run in order; each `step` returns the signals that the event gave rise to.

    `thresholds` {detector: {name: value}} changes shipped ones. With `rules` the user's rules run in place of the
    detectors. The "end" event closes the run. Memory is bounded whatever the length of the run.
    """

    def __init__(
        self,
        thresholds: Mapping[str, Mapping[str, Any]] | None = None,
        rules: Sequence[Rule] | None = None,
    ) -> None:
        self.run = run = Run()
        self._families: list[Family]
        if rules is None:
            settings = _shipped() if not thresholds else thresholds_of(thresholds)
            self._families, self._listeners = [family(run, settings) for family in FAMILIES], _LISTENERS
        else:
            from primitives.detectors.automata import Written

            self._families, self._listeners = [Written(run, rules)], listeners([Written])

    def step(self, event: Event) -> list[Signal]:
        run, kind = self.run, event.kind
        if kind == "result":
            run.returned(event)
            if run.failed:
                self._tell("failure", event)
            if run.flags & RUN:
                self._tell("ran", event)
        elif kind == "call":
            run.called(event)
            if run.flags & WRITE:
                self._tell("write", event)
            if run.flags & PLAN:
                self._tell("plan", event)
        elif kind == "assistant":
            run.said = run.spoken = event
        elif kind in ("user", "interrupt", "end"):
            if run.said is not None:
                if not (event.end_reason or "").startswith(CUT_OFF):
                    self._hand_over(run.said, event)
                run.said = None
            if kind == "user":
                run.heard(event)
        elif kind in ("system", "note", "user_result"):
            run.keep(event.seq, event.text)
        elif kind == "reset":
            run.said = run.spoken = None
            run.user_turns = 0
        families = self._families
        for i, handle in self._listeners[kind]:
            handle(families[i], event)
        if run.signals:
            out, run.signals = run.signals, []
            return out
        return []

    def end(self, end_reason: str | None = None, success: bool | None = None, seq: int = -1) -> list[Signal]:
        """Close a run that was watched live."""
        return self.step(Event(seq, "end", end_reason=end_reason, success=success))

    def _tell(self, kind: str, event: Event) -> None:
        for i, handle in self._listeners[kind]:
            handle(self._families[i], event)

    def _hand_over(self, said: Event, event: Event) -> None:
        run = self.run
        if said.text and not said.text.isspace():
            run.answer = Answer(said.seq, said.text)
            self._tell("answer", event)
            run.keep(said.seq, said.text)
            run.answer = None
        else:
            self._tell("silence", event)


_cache: dict[str, dict[str, Any]] = {}


def _shipped() -> dict[str, dict[str, Any]]:
    if not _cache:
        _cache.update(thresholds_of())
    return _cache


def scan_trace(trace: Any, thresholds: Mapping[str, Mapping[str, Any]] | None = None) -> list[Signal]:
    """Every signal of one trace (an object with `steps`, `calls`, `end_reason`, `success`), in order."""
    step = Scan(thresholds).step
    return [signal for event in events_of(trace) for signal in step(event)]
