"""What an agent's answer says of itself: success, trouble, hedging. English wording; texts are read lower-cased.

Each pattern is tried only when one of its cheap words occurs. Of a long text the head and the tail are read.
"""

from __future__ import annotations

import re
from functools import cached_property

ENDS_CHARS = 2_000  # of an answer, characters read from each end

_DEEDS = (
    "cancell?ed|booked|updated|changed|added|removed|deleted|refunded|returned|exchanged|modified|processed|sent|"
    "scheduled|created|completed|fixed|resolved|implemented|corrected|transferred|submitted|placed|applied|paid|"
    "upgraded|downgraded|replaced|installed|enabled|disabled|issued|written|saved|moved|renamed|solved|finished"
)
_SUCCESS = re.compile(
    rf"(?<!not )(?<!not been )(?<!un)successfully\b"
    rf"|\bi(?:'ve|’ve| have)(?: now| also| just)? (?:{_DEEDS})\b"
    rf"|\b(?:has|have) (?:now )?been (?:now )?(?:{_DEEDS})\b(?! by the airline)"
    rf"|\b(?:all|the) tests? (?:now )?(?:pass\b|passed|are passing)"
    rf"|\b(?:task|issue|bug|problem|request|fix|change|implementation|everything)s? (?:is|are|was|were) (?:now )?(?:{_DEEDS}|complete|done|working)\b"
    rf"|\bworks? (?:correctly|as expected)\b|\bis now working\b|^done\b"
)
_SUCCESS_HINTS = ("successfully", "ve ", "been ", "pass", "done", "complete", "fixed", "work", "resolved")
_TROUBLE = (
    *("error", "fail", "unable", "could not", "couldn", "cannot", "can't", "can’t", "sorry", "apolog", "issue"),
    *(
        "problem",
        "unfortunately",
        "not found",
        "invalid",
        "not available",
        "unavailable",
        "did not",
        "didn",
        "n't ",
        "n’t ",
    ),
    *(
        "not possible",
        "insufficient",
        "exceed",
        "wrong",
        "mistake",
        "again",
        "instead",
        "however",
        "not enough",
        "denied",
    ),
    *(
        "not allowed",
        "not permitted",
        "warning",
        "missing",
        "reject",
        "not supported",
        "timed out",
        "timeout",
        "no longer",
    ),
)
_HEDGE = re.compile(
    r"\bshould (?:now )?(?:be (?:fixed|resolved|working|correct)|work|fix|resolve|solve|address|pass|handle)\b"
    r"|\b(?:hopefully|in theory|theoretically|presumably)\b"
    r"|\bi (?:believe|think) (?:this|that|the|it)\b[^.\n]{0,60}\b(?:fix|work|resolve|correct|solve)"
    r"|\b(?:not|un)(?: been)? ?(?:tested|verified)\b|\b(?:likely|probably|may|might) (?:fix|resolve|solve|work)"
    r"|\b(?:could|did|was|were|am|have)(?: not|n't|n’t) (?:been )?(?:able to )?(?:run|test|verify|verified|tested)\b"
)
_HEDGE_HINTS = (
    "should",
    "hopefully",
    "theor",
    "presumably",
    "believe",
    "think",
    "test",
    "verif",
    "likely",
    "probably",
    "might",
    "may ",
    "run",
)


def ends(text: str) -> str:
    """Head and tail of a text, lower-cased."""
    if len(text) > 2 * ENDS_CHARS:
        text = text[:ENDS_CHARS] + "\n" + text[-ENDS_CHARS:]
    return text.lower()


class Answer:
    """A text by which the agent hands the turn back, read at most once for each question asked of it."""

    def __init__(self, seq: int, text: str) -> None:
        self.seq, self.text = seq, text

    @cached_property
    def low(self) -> str:
        return ends(self.text)

    @cached_property
    def success(self) -> str | None:
        """The words that claim success; None where there are none."""
        low = self.low
        if any(h in low for h in _SUCCESS_HINTS):
            found = _SUCCESS.search(low)
            if found:
                return quote(low, found)
        return None

    @cached_property
    def trouble(self) -> bool:
        """Whether any word of failure, apology or trying again occurs."""
        low = self.low
        return any(word in low for word in _TROUBLE)

    @cached_property
    def hedge(self) -> str | None:
        """The words that hedge a claim of success."""
        low = self.low
        if any(h in low for h in _HEDGE_HINTS):
            found = _HEDGE.search(low)
            if found:
                return quote(low, found)
        return None


def quote(text: str, found: re.Match[str], around: int = 40) -> str:
    """The match with a little of what stands around it, in one line."""
    return " ".join(text[max(0, found.start() - around) : found.end() + around].split())
