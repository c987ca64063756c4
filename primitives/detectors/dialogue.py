"""Dialogue: what the person had to do, and what the agent did without asking."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from typing import Any

from primitives.detectors.action import EDIT, FINISH, SHELL
from primitives.detectors.event import Event, line
from primitives.detectors.registry import declare
from primitives.detectors.run import Family, Run
from primitives.detectors.wording import Answer, correction, plain

INTERRUPT = declare("dialogue", "user_interrupt", "low", "the person stops the agent in the middle of its work")
CORRECTION = declare(
    "dialogue",
    "user_correction",
    "medium",
    "a later message of the user says that the agent did something wrong or not asked for",
)
REPEATED = declare("dialogue", "repeated_request", "low", "the user asks again in nearly the same words")
UNCONFIRMED = declare(
    "dialogue",
    "write_without_confirmation",
    "medium",
    "a change is made although the user's last message in the conversation holds no word of confirmation",
)
DEFAULT = declare(
    "dialogue", "default_without_asking", "low", "the agent says it assumed a value or took a default, and acts on it"
)
ABANDONED = declare(
    "dialogue", "abandoned_subtask", "low", "the run ends with items of the agent's own to-do list still open"
)

AGREEING = ("yes", "sure", "ok", "no, that", "thank", "great", "sounds good", "go ahead", "please proceed")
SPOKEN_CHARS = 1_000  # of a message before a call, read from its end
ITEMS = 1_000  # of a to-do list, remembered
ASKED = 8  # messages of the user that a new one is compared with
READ_CHARS = 1_200  # of a user's message
CONFIRMING = re.compile(
    r"\b(?:yes|yep|yeah|confirm|confirmed|proceed|go ahead|sure|please do|that works"
    r"|sounds good|ok|okay|correct|book it|do it)\b"
)
_WORD = re.compile(r"\w+")
_OPEN = {"pending", "in_progress", "in-progress", "not_started", "todo", "open", "active", "in progress"}
_CLOSED = {"completed", "complete", "done", "deleted", "cancelled", "canceled", "finished", "closed"}


class Dialogue(Family):
    declared = (INTERRUPT, CORRECTION, REPEATED, UNCONFIRMED, DEFAULT, ABANDONED)

    def __init__(self, run: Run, settings: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(run, settings)
        self._alike = settings["repeated_request"]["similarity"]
        self._least = settings["repeated_request"]["chars"]
        self._turns = settings["write_without_confirmation"]["user_turns"]
        self._asked: deque[tuple[int, str, int, int]] = deque(maxlen=ASKED)
        self._answered = -1
        self._unconfirmed_at = self._assumed_at = -1
        self._todo: dict[str, tuple[str, str]] = {}  # item -> its status, its words
        self._todo_seq = -1

    def on_reset(self, e: Event) -> None:
        self._asked.clear()

    def on_interrupt(self, e: Event) -> None:
        self.emit(INTERRUPT, e.seq, e.seq, 1, line(e.text) or "interrupted")

    def on_user(self, e: Event) -> None:
        low = plain((e.text or "")[:READ_CHARS])
        spoken = self.run.spoken
        if self.run.user_turns > 1 and spoken is not None:
            words_of_it = correction(low)
            if words_of_it:
                self.emit(CORRECTION, e.seq, spoken.seq, 1, words_of_it)
        size = len(low)
        if size >= self._least and not low.startswith(AGREEING):
            self._compare(e, low, size, low.count("e"))

    def _compare(self, e: Event, low: str, size: int, es: int) -> None:
        """Against the last messages: those of another length, or with another number of e's, cannot be alike."""
        room = (1 - self._alike) * 1.5
        for seq, before, its_size, its_es in self._asked:
            if abs(size - its_size) <= room * size and abs(es - its_es) <= room * es + 2:
                words, others = set(_WORD.findall(low)), set(_WORD.findall(before))
                if len(words & others) >= self._alike * len(words | others):
                    self.emit(REPEATED, e.seq, seq, 2, line(e.text))
                    break
        self._asked.append((e.seq, low, size, es))

    def on_write(self, e: Event) -> None:
        run = self.run
        if run.spoken is not None and run.spoken.text and self._assumed_at != run.spoken.seq:
            self._default(Answer(run.spoken.seq, run.spoken.text[-SPOKEN_CHARS:]))
        if run.flags & (EDIT | SHELL | FINISH) or run.user_turns < self._turns or self._unconfirmed_at == run.user_seq:
            return
        if not CONFIRMING.search(run.user_text.lower()):
            self._unconfirmed_at = run.user_seq
            self.emit(UNCONFIRMED, e.seq, run.user_seq, 1, f"{e.name} after the user said: {line(run.user_text)}")

    def _default(self, answer: Answer) -> None:
        self._assumed_at = answer.seq
        words = answer.assumed()
        if words:
            self.emit(DEFAULT, answer.seq, answer.seq, 1, words)

    def on_answer(self, e: Event) -> None:
        answer = self.run.answer
        if answer is not None and self.run.write_seq > self._answered and self._assumed_at != answer.seq:
            self._default(answer)
        self._answered = e.seq

    def on_plan(self, e: Event) -> None:
        name = (e.name or "").lower()
        try:
            args = json.loads(e.args_text or "")
        except ValueError:
            return
        if not isinstance(args, dict):
            return
        lists = [
            v
            for v in args.values()
            if isinstance(v, list) and v and all(isinstance(i, dict) and "status" in i for i in v)
        ]
        if lists:
            self._todo = {
                str(i): (str(item["status"]).lower(), line(_words_of(item), 60)) for i, item in enumerate(lists[0])
            }
            self._todo_seq = e.seq
        elif "taskcreate" in name and args.get("subject") and len(self._todo) < ITEMS:
            self._todo[str(len(self._todo) + 1)] = ("pending", line(str(args["subject"]), 60))
            self._todo_seq = e.seq
        elif "taskupdate" in name and str(args.get("taskId")) in self._todo and args.get("status"):
            key = str(args["taskId"])
            self._todo[key] = (str(args["status"]).lower(), self._todo[key][1])
            self._todo_seq = e.seq

    def on_end(self, e: Event) -> None:
        open_items = [words for status, words in self._todo.values() if status in _OPEN]
        if open_items:
            self.emit(
                ABANDONED,
                e.seq,
                self._todo_seq,
                len(open_items),
                f"{len(open_items)} of {len(self._todo)} items open: {'; '.join(open_items[:4])}",
            )


def _words_of(item: Mapping[str, Any]) -> str:
    return str(
        next((item[k] for k in ("content", "step", "title", "subject", "description", "task") if item.get(k)), item)
    )
