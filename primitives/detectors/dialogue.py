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
from primitives.detectors.wording import Answer

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

READ_CHARS = 1_200  # of a user's message
CONFIRMING = re.compile(
    r"\b(?:yes|yep|yeah|confirm|confirmed|proceed|go ahead|sure|please do|that works|sounds good|ok|okay|correct|book it|do it)\b"
)
_CORRECTING = re.compile(
    r"\b(?:that|this|it)(?:'s|’s| is| was)(?: just| still| simply)? (?:not (?:what|right|correct|it\b)|wrong|incorrect)"
    r"|\bnot what i (?:asked|wanted|meant|said|requested)|\bi (?:already )?(?:said|told you|asked you|asked for) (?:not|to|that|you)?"
    r"|\bi (?:didn't|didn’t|did not|never) (?:ask|want|request|say|tell|authori[sz]e|mean)\b"
    r"|\byou (?:didn't|didn’t|did not|forgot|missed|ignored|misunderstood|broke|shouldn't have|should not have|were not supposed|weren't supposed|were supposed)\b"
    r"|\bwhy did you\b|\b(?:undo|revert) (?:that|this|it|your|the last|those|these)\b|\bstill (?:not working|doesn't work|does not work|fails|failing|broken|wrong|the same (?:error|problem|issue))"
    r"|\b(?:it|that|this) (?:doesn't|doesn’t|does not|didn't|did not) work\b|\byou(?:'ve|’ve| have) (?:made a mistake|got it wrong|misread|misunderstood)"
    r"|^(?:no|nope|wrong|stop)\b[,.! ]+(?:i|that|not|you|don't|do not|this|it)\b"
)
_CORRECTING_HINTS = (
    "not ",
    "wrong",
    "incorrect",
    "i said",
    "told",
    "asked",
    "n't",
    "n’t",
    "never",
    "you ",
    "why did",
    "undo",
    "revert",
    "still",
    "no",
    "stop",
    "already",
)
_WORD = re.compile(r"[a-z0-9_]{3,}")
_OPEN = {"pending", "in_progress", "in-progress", "not_started", "todo", "open", "active", "in progress"}
_CLOSED = {"completed", "complete", "done", "deleted", "cancelled", "canceled", "finished", "closed"}


class Dialogue(Family):
    declared = (INTERRUPT, CORRECTION, REPEATED, UNCONFIRMED, DEFAULT, ABANDONED)

    def __init__(self, run: Run, settings: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(run, settings)
        self._alike = settings["repeated_request"]["similarity"]
        self._words = settings["repeated_request"]["words"]
        self._turns = settings["write_without_confirmation"]["user_turns"]
        self._asked: deque[tuple[int, frozenset[str]]] = deque(maxlen=20)
        self._unconfirmed_at = self._assumed_at = -1
        self._todo: dict[str, tuple[str, str]] = {}  # item -> its status, its words
        self._todo_seq = -1

    def on_interrupt(self, e: Event) -> None:
        self.emit(INTERRUPT, e.seq, e.seq, 1, line(e.text) or "interrupted")

    def on_user(self, e: Event) -> None:
        low = (e.text or "")[:READ_CHARS].lower()
        if self.run.user_turns > 1 and any(hint in low for hint in _CORRECTING_HINTS):
            found = _CORRECTING.search(low)
            if found and self.run.spoken is not None:
                self.emit(CORRECTION, e.seq, self.run.spoken.seq, 1, line(low[max(0, found.start() - 60) :]))
        words = frozenset(_WORD.findall(low))
        if len(words) < self._words:
            return
        for seq, before in self._asked:
            if len(words & before) >= self._alike * len(words | before):
                self.emit(REPEATED, e.seq, seq, 2, line(e.text))
                break
        self._asked.append((e.seq, words))

    def on_write(self, e: Event) -> None:
        run = self.run
        if run.spoken is not None and run.spoken.text and self._assumed_at != run.spoken.seq:
            self._default(Answer(run.spoken.seq, run.spoken.text))
        if run.flags & (EDIT | SHELL | FINISH) or run.user_turns < self._turns or self._unconfirmed_at == run.user_seq:
            return
        if not CONFIRMING.search(run.user_text.lower()):
            self._unconfirmed_at = run.user_seq
            self.emit(UNCONFIRMED, e.seq, run.user_seq, 1, f"{e.name} after the user said: {line(run.user_text)}")

    def _default(self, answer: Answer) -> None:
        self._assumed_at = answer.seq
        if answer.assumed:
            self.emit(DEFAULT, answer.seq, answer.seq, 1, answer.assumed)

    def on_answer(self, e: Event) -> None:
        answer = self.run.answer
        if answer is not None and self.run.writes and self._assumed_at != answer.seq:
            self._default(answer)

    def on_call(self, e: Event) -> None:
        name = (e.name or "").lower()
        if e.args_text and ("todo" in name or "plan" in name or "task" in name):
            self._note(name, e)

    def _note(self, name: str, e: Event) -> None:
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
        elif "taskcreate" in name and args.get("subject"):
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
