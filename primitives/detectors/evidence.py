"""Evidence: what the agent made of what its tools returned."""

from __future__ import annotations

import re
from collections import deque
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

CUT_CHARS = 300  # of a result, read at each end for the mark of a cut
KEPT_CHARS = 4_000_000  # of source texts held for one run; beyond, claims are not judged
TOKENS = 40  # specifics checked in one answer
_CUT_HINTS = ("truncat", "omitted", "elided", "clipped", "too l")
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
_CODE = re.compile(r"[A-Z\d][A-Z\d-]{4,}")  # XF7Q2, HAT-136, 4468291
_NUMBERED = re.compile(r"_\d{4,}\b")  # mia_li_3668
_JOINT = re.compile(r"[/@]\w")  # inside of an address, a link, a path
_PLACED = re.compile(r"https?://\S+|[\w.+-]+@[\w-]+\.[\w.-]*\w|[~.]?/?(?:[\w.-]+/)+[\w-]+\.[A-Za-z]{1,5}")
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
        self._sources: deque[str] = deque()
        self._size = 0
        self._judged_calls = 0

    def _keep(self, text: str | None) -> None:
        if text and self._size <= KEPT_CHARS:
            self._sources.append(text)
            self._size += len(text)
            if self._size > KEPT_CHARS:
                self._sources.clear()

    def on_system(self, e: Event) -> None:
        self._keep(e.text)

    def on_note(self, e: Event) -> None:
        self._keep(e.text)

    on_user_result = on_note

    def on_user(self, e: Event) -> None:
        self._keep(e.text)
        self._cut = self._empty = None

    def on_call(self, e: Event) -> None:
        self._empty = None
        if not self.run.flags & FINISH:
            self._keep(e.args_text)
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
        self._keep(text)
        if e.truncated or (text and _is_cut(text)):
            self._cut, self._cut_calls = e, 0
        flags = self.run.flags
        if self.run.failed or flags & (WRITE | SHELL | THINK | FINISH):
            return
        if (text is None or (len(text) < 30 and text.strip().lower() in _NOTHING)) and _LOOKS.search(e.name or ""):
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
        if self.run.calls > self._judged_calls and self._size <= KEPT_CHARS:
            self._judged_calls = self.run.calls
            self._unseen(answer.seq, answer.text)
        self._keep(answer.text)

    def _unseen(self, seq: int, text: str) -> None:
        unseen = [t for t in specifics(text)[:TOKENS] if not self._is_known(t)]
        if len(unseen) >= self._least:
            self.emit(UNSEEN, seq, seq, len(unseen), f"named nowhere before: {', '.join(unseen[:8])}")

    def _is_known(self, token: str) -> bool:
        """Whether a source holds it: a code whole, a numbered name by its number, a path by its last part."""
        if any(token in source for source in reversed(self._sources)):
            return True
        part = token.rsplit("_", 1)[-1] if "_" in token and token[-1].isdigit() else token.rsplit("/", 1)[-1]
        low = part.lower()
        return any(low in source.lower() for source in self._sources)


def specifics(text: str) -> list[str]:
    """Codes, numbered names, addresses, links and files in a text; no amounts, dates or plain words."""
    found = []
    for match in _CODE.finditer(text):
        token, start, end = match[0], match.start(), match.end()
        if token.isalpha() or text[end : end + 1].isalnum() or text[end : end + 1] == "_":
            continue
        if start and (text[start - 1].isalnum() or text[start - 1] in "_$€£.,:/-"):
            continue
        bare = token.replace("-", "")
        digits = bare.strip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        if bare.isalpha() or (bare.isdigit() and (len(token) < 6 or bare != token)) or len(set(digits)) < 2:
            continue
        found.append(token.rstrip("-"))
    for match in _NUMBERED.finditer(text):
        start = match.start()
        while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
            start -= 1
        if text[match.end() : match.end() + 2] != '":':
            found.append(text[start : match.end()])
    for match in _JOINT.finditer(text) if "/" in text or "@" in text else ():
        start, end = match.span()
        while start and text[start - 1] not in _EDGES:
            start -= 1
        while end < len(text) and text[end] not in _EDGES:
            end += 1
        word = text[start:end].rstrip(".:!?")
        if len(word) < 200 and _PLACED.fullmatch(word):
            found.append(word)
    return list(dict.fromkeys(found))


def _is_cut(text: str) -> bool:
    if len(text) < CUT_CHARS:
        return False
    edges = (text[:CUT_CHARS] + text[-CUT_CHARS:]).lower()
    for hint in _CUT_HINTS:
        if hint in edges:
            return _CUT.search(edges) is not None
    return False
