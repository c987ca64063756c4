"""Evidence: what the agent made of what its tools returned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from primitives.detectors.action import FINISH, SHELL, THINK, WRITE
from primitives.detectors.event import Event, line
from primitives.detectors.registry import declare
from primitives.detectors.run import Family, Run

TRUNCATED = declare(
    "evidence",
    "truncated_output_used",
    "low",
    "a result was cut short and the agent answers or changes something without reading on",
)
EMPTY = declare(
    "evidence",
    "empty_result_ignored",
    "medium",
    "a search or read returned nothing and the answer that follows has no word of absence",
)
UNSEEN = declare(
    "evidence",
    "claims_not_in_output",
    "medium",
    "the answer names ids, addresses, links or files that no message, call or result before it contains",
)

CUT_CHARS = 200  # of a result, read at each end for the mark of a cut
SEARCHED_CHARS = 50_000_000  # after which a run's answers are no longer judged against its sources
KNOWN = 4_096  # specifics remembered as judged
TOKENS = 40  # specifics checked in one answer
_CUT_HINTS = (
    "runcat",
    "mitted",
    "lided",
    "lipped",
    "oo l",
    "ot shown",
)  # truncated, omitted, elided, clipped, too long
_CUT = re.compile(
    r"\btruncated\b|\b\d[\d,]* (?:characters|chars|lines|bytes|tokens)[^.\n]{0,20}(?:omitted|elided|not shown)"
    r"|\b(?:output|response|result|content)[^.\n]{0,40}(?:clipped|too (?:long|large))|elided_chars"
)
_READ_ON = (
    "head",
    "tail",
    "sed ",
    "grep",
    "less",
    "more",
    "awk",
    "wc ",
    ">",
    "cut ",
    "find ",
    "open ",
    "scroll",
    "goto",
    "view",
    "read",
)
_LOOKS = re.compile(r"search|find|list|get|query|lookup|grep|select|fetch|read|retriev", re.I)
_NOTHING = frozenset(
    {
        "",
        "[]",
        "{}",
        "null",
        "none",
        '""',
        "()",
        "no results",
        "no results found",
        "no results found.",
        "no matches found",
        "no matches found.",
        "[ ]",
        "nan",
        "not found",
    }
)
_NOTHING_CHARS = 80  # of a result, for it to be an object that holds nothing
_HOLDS_NOTHING = re.compile(r'\{\s*"\w+": ?(?:\[\]|\{\}|null)(?:, ?"\w+": ?(?:\[\]|\{\}|null|0|false|true))*\s*\}')
_CLASSES = bytes(
    ord("0")
    if chr(c).isdigit() and c < 128
    else ord("A")
    if chr(c).isupper() and c < 128
    else c
    if chr(c) == "-"
    else 32
    for c in range(256)
)  # digits, capitals, hyphens; all else a space
_NUMBERED = re.compile(r"_[0-9]{4,}\b")  # mia_li_3668
_PLACED = re.compile(r"https?://\S+|[\w.+-]+@[\w-]+\.[\w.-]*\w|[~.]?/?(?:[\w.-]+/)+[\w-]+\.[A-Za-z]{1,5}")
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_GLUE = set("_$€£.,:/")  # before digits: an amount, a time, a part of something else
_EDGES = " \n\t\r\"'`()[]{}<>|*,;"


class Evidence(Family):
    declared = (TRUNCATED, EMPTY, UNSEEN)

    def __init__(self, run: Run, settings: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(run, settings)
        self._cut: Event | None = None
        self._cut_calls = 0
        self._patience = settings["truncated_output_used"]["calls"]
        self._empty: Event | None = None
        self._least = settings["claims_not_in_output"]["items"]
        self._judged_calls = 0
        self._searched = 0
        self._known: set[str] = set()  # judged before

    def on_user(self, e: Event) -> None:
        self._cut = self._empty = None

    def on_call(self, e: Event) -> None:
        self._empty = None
        cut = self._cut
        if cut is None:
            return
        if self._reads_on(cut, e):
            self._cut = None
        elif self.run.flags & WRITE:
            self._used(cut, e.seq, f"{e.name} is called")
        else:
            self._cut_calls += 1
            if self._cut_calls > self._patience:
                self._cut = None

    def _reads_on(self, cut: Event, e: Event) -> bool:
        if not self.run.flags & SHELL:
            return e.name == cut.name
        args = e.args_text or ""
        return any(word in args for word in _READ_ON)

    def _used(self, cut: Event, seq: int, how: str) -> None:
        self._cut = None
        self.emit(
            TRUNCATED, seq, cut.seq, 1, f"the result of {cut.name} at {cut.seq} was cut short; {how} without reading on"
        )

    def on_result(self, e: Event) -> None:
        text = e.text
        if e.truncated or (text and _is_cut(text)):
            self._cut, self._cut_calls = e, 0
        flags = self.run.flags
        if self.run.failed or flags & (WRITE | SHELL | THINK | FINISH):
            return
        if _is_nothing(text) and _LOOKS.search(e.name or ""):
            self._empty = e

    def on_answer(self, e: Event) -> None:
        answer = self.run.answer
        if answer is None:
            return
        cut, empty = self._cut, self._empty
        if cut is not None:
            self._used(cut, answer.seq, "the agent answers")
        if (
            empty is not None
            and len(answer.text) > 40
            and not answer.negative()
            and not answer.trouble()
            and not answer.asks()
        ):
            self.emit(
                EMPTY,
                answer.seq,
                empty.seq,
                1,
                f"{empty.name} found nothing for {line(empty.args_text, 80)}; the answer does not say so",
            )
        self._empty = None
        if self.run.calls > self._judged_calls and self.run.sources and self._searched < SEARCHED_CHARS:
            self._judged_calls = self.run.calls
            self._unseen(answer.seq, answer.text)

    def _unseen(self, seq: int, text: str) -> None:
        known = self._known
        named = [t for t in specifics(text)[:TOKENS] if t not in known]
        unseen = [t for t in named if not self._is_known(t)]
        if len(known) < KNOWN:
            known.update(named)
        if len(unseen) >= self._least:
            self.emit(UNSEEN, seq, seq, len(unseen), f"named nowhere before: {', '.join(unseen[:8])}")

    def _is_known(self, token: str) -> bool:
        """Whether a source holds it: a code whole, a numbered name by its number, a path by its last part."""
        sources = self.run.sources
        self._searched += self.run.kept_chars
        if any(token in text for _, text in reversed(sources)):
            return True
        part = token.rsplit("_", 1)[-1] if "_" in token and token[-1].isdigit() else token.rsplit("/", 1)[-1]
        low = part.lower()
        return any(low in text.lower() for _, text in sources)


def specifics(text: str) -> list[str]:
    """Codes, numbered names, addresses, links and files in a text; no amounts, dates or plain words."""
    found = _codes(text)
    for match in _NUMBERED.finditer(text):
        start = match.start()
        while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
            start -= 1
        if text[match.end() : match.end() + 2] != '":':
            found.append(text[start : match.end()])
    for joint in "/@":
        at = text.find(joint)
        while at >= 0:
            start, end = at, at + 1
            while start and text[start - 1] not in _EDGES:
                start -= 1
            while end < len(text) and text[end] not in _EDGES:
                end += 1
            word = text[start:end].rstrip(".:!?")
            if len(word) < 200 and _PLACED.fullmatch(word):
                found.append(word)
            at = text.find(joint, end)
    return list(dict.fromkeys(found))


def _codes(text: str) -> list[str]:
    """Runs of capitals, digits and hyphens: XF7Q2, HAT-136, 4468291.

    They are found in a copy of equal length that keeps only the class of each character: fixed bytes are found a
    hundred times faster than classes.
    """
    found = []
    shapes = text.encode("latin-1", "replace").translate(_CLASSES) + b" "
    at = shapes.find(b"0")
    while at >= 0:
        end = shapes.find(b" ", at)
        start = shapes.rfind(b" ", 0, at) + 1
        at = shapes.find(b"0", end)
        if end - start < 5:
            continue
        shape = shapes[start:end]
        if b"A" not in shape and (end - start < 6 or b"-" in shape):
            continue
        before, after = text[start - 1 : start], text[end : end + 1]
        if before.isalnum() or before in _GLUE or after.isalnum() or after == "_":
            continue
        token = text[start:end].strip("-")
        if len(token) > 4 and len(set(token.replace("-", "").strip(CAPITALS))) > 1:
            found.append(token)
    return found


def _is_nothing(text: str | None) -> bool:
    if text is None or (len(text) < 30 and text.strip().lower() in _NOTHING):
        return True
    return len(text) < _NOTHING_CHARS and text[:1] == "{" and _HOLDS_NOTHING.fullmatch(text.strip()) is not None


def _is_cut(text: str) -> bool:
    if len(text) < CUT_CHARS:
        return False
    edges = text[:CUT_CHARS] + text[-CUT_CHARS:]
    for hint in _CUT_HINTS:
        if hint in edges:
            return _CUT.search(edges.lower()) is not None
    return False
