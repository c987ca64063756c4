"""How much of a source's text reached the corpus: texts of the source (see texts) against those of its traces.

Text is a string with white space in it (ids, times and names are not); JSON in text counts by the strings inside. A text is
placed where a trace holds it, whole, inside a longer one or line by line. Of a large source, and of each of many, only a sample is looked
for; what share of the source that was stands beside the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from insights.corpus.parse import is_text
from insights.corpus.source import Source
from insights.corpus.texts import lines, sample, strings

if TYPE_CHECKING:
    from insights.corpus.trace import Trace

SAMPLE = 1 << 20  # unit: bytes of a source whose texts are looked for, at most
LEAST = 32_768  # unit: bytes, of each where the sources are many
IN_ALL = 64 << 20  # unit: bytes of all sources of an ingest
HELD = (
    8 << 20
)  # unit: characters of the traces kept to look inside: the first HELD_FIRST, then of traces that hold something
HELD_FIRST = 4 << 20
ENOUGH = 0.99  # share of the text below which the paths that were left out are told
TOLD = 20  # paths told of one source
SEARCHED = 300  # strings that are looked for inside longer ones
TRACE_TEXTS = ("input_text", "final_output", "error_message", "metadata", "extra", "llm_calls", "spans", "annotations",
               "expected", "tags", "blobs", "native_end_reason", "agent")  # fmt: skip
STEP_TEXTS = ("text", "reasoning", "parts", "extra")
CALL_TEXTS = ("args", "args_text", "result_text", "result", "error_message", "extra")
_of_step, _of_call = attrgetter(*STEP_TEXTS), attrgetter(*CALL_TEXTS)
MAY_HOLD = ("{", "[", '"', "r")  # how a text begins that may hold others (see texts.strings)


@dataclass(frozen=True, slots=True)
class Loss:
    """`share` of the characters of text that traces hold; `missing` are (path, strings, characters), most first.

    `sampled` is the share of the source that was looked at.
    """

    share: float
    missing: list[tuple[str, int, int]]
    sampled: float = 1.0


def allot(sources: list[Source]) -> None:
    """Say of each source how many bytes of it are looked for in its traces."""
    each = max(LEAST, min(SAMPLE, IN_ALL // max(len(sources), 1)))
    for source in sources:
        source.measured = each


class Watch:
    """Looks at the traces of a source, and of those read with it, as they go by."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._wanted: dict[str, list[str]] = {}
        self._total = 0
        self._by_line = False
        looked_at, size = 0.0, 0
        for member in source.members:
            found = sample(member, (source.measured or SAMPLE) // len(source.members))
            self._by_line = self._by_line or found.by_line
            looked_at, size = looked_at + found.share * member.head.size, size + member.head.size
            for path, text in found.texts:
                self._total += len(text)
                self._wanted.setdefault(text, []).append(path)
        self._sampled = min(1.0, looked_at / size) if size else 1.0
        self._held: list[str] = []
        self._chars = 0

    def over(self, traces: Iterator[Trace]) -> Iterator[Trace]:
        for trace in traces:
            if self._wanted:
                self._take(trace)
            yield trace

    def _take(self, trace: Trace) -> None:
        texts = _texts(trace)
        seen = False
        for text in texts:
            seen = self._wanted.pop(text, None) is not None or seen
            for line in lines(text) if self._by_line else ():
                seen = self._wanted.pop(line, None) is not None or seen
        room = HELD if seen else HELD_FIRST
        if self._chars < room:
            self._held += texts
            self._chars += sum(map(len, texts))

    @property
    def left(self) -> set[str]:
        """The texts no trace was found to hold."""
        return set(self._wanted)

    def loss(self) -> Loss | None:
        """None where the source held no text that could be looked for."""
        if not self._total:
            return None
        missing: Counter[str] = Counter()
        times: Counter[str] = Counter()
        for text, chars in self._not_held().items():
            for path in self._wanted[text]:
                missing[path] += chars
                times[path] += 1
        share = 1 - sum(missing.values()) / self._total
        return Loss(share, [(path, times[path], n) for path, n in missing.most_common()], self._sampled)

    def _not_held(self) -> dict[str, int]:
        """Texts that stand in no longer one, the longest first, and how many of their characters are in lines of no trace."""
        left = sorted(self._wanted, key=len, reverse=True)
        if not left:
            return {}
        whole, held = "\n".join(self._held), {line for text in self._held for line in lines(text)}
        found = {text: len(text) for text in left}
        for text in left[:SEARCHED]:
            if text in whole:
                found[text] = 0
            elif "\n" in text:
                found[text] = sum(len(line) for line in lines(text) if line not in held)
        return {text: chars for text, chars in found.items() if chars}

    def tell(self) -> dict[str, Any]:
        """The columns of the source's row; paths that were left out become issues of the source."""
        found = self.loss()
        if found is None:
            return {}
        part = "" if found.sampled >= 1 else f", in the {100 * found.sampled:.2g} % of it that was looked at"
        for path, n, chars in found.missing[:TOLD] if found.share < ENOUGH else ():
            told = f"{path or 'lines of text'}: {chars:,} characters are in no trace{part}"
            self._source.issue("unmapped", told, severity="info", n=n)
        return {"text_share": found.share, "text_sampled": found.sampled}


def _texts(trace: Trace) -> list[str]:
    """The texts of a trace. Arguments that were read are not read again, nor is a result that a step tells."""
    values = [getattr(trace, name, None) for name in TRACE_TEXTS]
    for step in trace.steps:
        values += _of_step(step)
    for call in trace.calls:
        args, args_text, result_text, *others = _of_call(call)
        values += (args, None if args and not call.args_error else args_text, *others)
        if call.result_seq is None or result_text is not trace.steps[call.result_seq].text:
            values.append(result_text)
    texts = []
    for value in values:
        if isinstance(value, str) and value[:1] not in MAY_HOLD:
            text = value.strip()
            if is_text(text):
                texts.append(text)
        elif value:
            texts += [text for _, text in strings(value)]
    return texts
