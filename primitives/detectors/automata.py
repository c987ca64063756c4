"""The automata behind rules: each takes events that fit its terms and says where a match began and ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from primitives.detectors.event import Event, Signal, line, masked
from primitives.detectors.rules import Rule
from primitives.detectors.run import Family, Run
from primitives.detectors.terms import Term, parse

KEYS = 1_024  # different values of `same` followed at a time; the oldest is dropped
OPEN = 32  # unfinished sequences or windows followed at a time
PREFIX_CHARS = 40
Key = Callable[[Event], object]
_KEYS: dict[str | None, Key] = {
    None: lambda e: None,
    "args": lambda e: (e.name, e.args_hash),
    "hash": lambda e: hash((e.name, e.args_hash, e.text)),
    "prefix": lambda e: (e.name, (e.args_text or "")[:PREFIX_CHARS]),
    "name": lambda e: e.name,
}


@dataclass(frozen=True, slots=True)
class Match:
    start_seq: int
    n: int
    detail: str


class Automaton(ABC):
    """`step` is called with every event, in order; `clock` counts them."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.clock = 0
        self.key = _KEYS[rule.same]

    @abstractmethod
    def step(self, e: Event, run: Run) -> Match | None: ...


class Repeat(Automaton):
    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.term, self.times = parse(rule.repeat or ""), rule.times or 2
        self.seen: OrderedDict[object, deque[tuple[int, int]]] = OrderedDict()

    def step(self, e: Event, run: Run) -> Match | None:
        self.clock += 1
        if not self.term.fits(e, run):
            return None
        key = self.key(e)
        seen = self.seen.get(key)
        if seen is None:
            if len(self.seen) >= KEYS:
                self.seen.popitem(last=False)
            seen = self.seen[key] = deque(maxlen=self.times)
        seen.append((self.clock, e.seq))
        if len(seen) < self.times or (self.rule.within and self.clock - seen[0][0] > self.rule.within):
            return None
        start = seen[0][1]
        seen.clear()
        return Match(start, self.times, f"{self.times} times: {e.name or e.kind} {line(e.args_text or e.text)}")


class Seq(Automaton):
    """Items in order; between two items none of the `not` terms that stand between them."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.items: list[tuple[Term, list[Term]]] = []
        barred: list[Term] = []
        for text in rule.seq or ():
            if text.startswith("not "):
                barred.append(parse(text[4:]))
            else:
                self.items.append((parse(text), barred))
                barred = []
        self.open: OrderedDict[tuple[object, int], tuple[int, int]] = OrderedDict()  # (key, items met) -> clock, seq

    def step(self, e: Event, run: Run) -> Match | None:
        self.clock += 1
        key, done = self.key(e), None
        for at in sorted(self.open, key=lambda k: -k[1]):
            its_key, met = at
            term, barred = self.items[met]
            clock, seq = self.open[at]
            if self.rule.within and self.clock - clock > self.rule.within:
                del self.open[at]
            elif its_key == key and term.fits(e, run):
                del self.open[at]
                if met + 1 == len(self.items):
                    done = Match(seq, len(self.items), f"{self.rule.line or 'sequence'}: ends with {_named(e)}")
                else:
                    self._follow((its_key, met + 1), (clock, seq))
            elif any(b.fits(e, run) for b in barred):
                del self.open[at]
        if self.items[0][0].fits(e, run):
            self._follow((key, 1), (self.clock, e.seq))
        return done

    def _follow(self, at: tuple[object, int], begun: tuple[int, int]) -> None:
        if at not in self.open and len(self.open) >= OPEN:
            self.open.popitem(last=False)
        self.open[at] = begun


class Cycle(Automaton):
    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.items = [parse(text) for text in rule.cycle or ()]
        self.kinds = frozenset(kind for item in self.items for kind in item.kinds)
        self.met, self.start = 0, -1

    def step(self, e: Event, run: Run) -> Match | None:
        if e.kind not in self.kinds:
            return None
        if self.met and self.items[self.met % len(self.items)].fits(e, run):
            self.met += 1
        else:
            self.met = int(self.items[0].fits(e, run))
            self.start = e.seq
        rounds, rest = divmod(self.met, len(self.items))
        if rest or rounds < (self.rule.rounds or 3):
            return None
        start, self.met = self.start, 0
        return Match(start, rounds, f"{rounds} rounds, last {_named(e)}")


class Absent(Automaton):
    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.term = parse(rule.absent or "")
        self.other = parse(rule.before or rule.after or "")
        self.until = parse(rule.until or "@end")
        self.seen = False
        self.waiting: tuple[int, str] | None = None

    def step(self, e: Event, run: Run) -> Match | None:
        if self.rule.before is not None:
            if not self.seen and self.other.fits(e, run):
                self.seen = True
                return Match(e.seq, 1, f"{_named(e)} and no {self.rule.absent} before it")
            self.seen = self.seen or self.term.fits(e, run)
            return None
        found = None
        if self.waiting is not None and self.term.fits(e, run):
            self.waiting = None
        elif self.waiting is not None and self.until.fits(e, run):
            start, named = self.waiting
            found, self.waiting = Match(start, 1, f"no {self.rule.absent} after {named}"), None
        if self.other.fits(e, run):
            self.waiting = (e.seq, _named(e))
        return found


class Count(Automaton):
    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.term, self.since = parse(rule.count or ""), parse(rule.since) if rule.since else None
        self.n, self.first, self.fired = 0, -1, False

    def step(self, e: Event, run: Run) -> Match | None:
        if self.since is not None and self.since.fits(e, run):
            self.n, self.fired = 0, False
        if self.term.fits(e, run):
            if self.n == 0:
                self.first = e.seq
            self.n += 1
            if self.rule.at_least is not None and self.n >= self.rule.at_least and not self.fired:
                self.fired = True
                return Match(self.first, self.n, f"{self.n} of {self.rule.count}")
        if e.kind == "end" and self.rule.at_most is not None and self.n <= self.rule.at_most:
            return Match(0, self.n, f"{self.n} of {self.rule.count} in the run")
        return None


class Ratio(Automaton):
    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.term, self.whole = parse(rule.ratio or ""), parse(rule.of or "")
        self.n = self.total = 0

    def step(self, e: Event, run: Run) -> Match | None:
        if self.whole.fits(e, run):
            self.total += 1
            self.n += self.term.fits(e, run)
        above = 0.5 if self.rule.above is None else self.rule.above
        if e.kind != "end" or self.total < (self.rule.at_least or 10) or self.n <= above * self.total:
            return None
        return Match(0, self.n, f"{self.n} of {self.total}: {self.rule.ratio} among {self.rule.of}")


AUTOMATA: dict[str, type[Automaton]] = {
    "seq": Seq,
    "repeat": Repeat,
    "cycle": Cycle,
    "absent": Absent,
    "count": Count,
    "ratio": Ratio,
}


class Written(Family):
    """The rules of a user, as a family that hears everything."""

    def __init__(self, run: Run, rules: Sequence[Rule]) -> None:
        super().__init__(run, {})
        self._automata = [AUTOMATA[rule.operator](rule) for rule in rules]

    def _feed(self, e: Event) -> None:
        for automaton in self._automata:
            match = automaton.step(e, self.run)
            if match is not None:
                rule = automaton.rule
                self.run.signals.append(
                    Signal(e.seq, match.start_seq, rule.name, rule.severity, match.n, masked(match.detail))
                )

    on_system = on_user = on_assistant = on_call = on_result = on_user_call = on_user_result = on_note = _feed
    on_interrupt = on_compaction = on_reset = on_end = _feed

    def on_answer(self, e: Event) -> None:
        answer = self.run.answer
        if answer is not None:
            self._feed(Event(answer.seq, "answer", "assistant", text=answer.text))


def _named(e: Event) -> str:
    return f"{e.name} {line(e.args_text, 80)}" if e.name else f"{e.kind} {line(e.text, 80)}"
