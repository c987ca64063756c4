"""What people and agents say of the work: success, trouble, hedging, assuming, correcting. English; read lower-cased.

A pattern is tried only where its anchor occurs: finding a fixed string costs a hundredth of a search. Of a long text
the head and the tail are read.
"""

from __future__ import annotations

import re

BEFORE_CHARS, AFTER_CHARS, PLACES = 40, 120, 6  # where a pattern is tried around its anchor
ENDS_CHARS = 2_000  # read from each end of an answer

_DEED = (
    "(?:cancell?ed|booked|updated|changed|added|removed|deleted|refunded|returned|exchanged|modified|processed|sent|"
    "scheduled|created|completed|fixed|resolved|implemented|corrected|transferred|submitted|placed|applied|paid|"
    "upgraded|downgraded|replaced|installed|enabled|disabled|issued|written|saved|moved|renamed|solved|finished)"
)
_CHANGE = (
    "(?:cancell?ed|booked|updated|changed|added|removed|deleted|refunded|returned|exchanged|modified|processed|sent|"
    "scheduled|created|submitted|placed|paid|upgraded|downgraded|issued|saved|moved|renamed|fixed|implemented)"
)
_SOFT = "(?:now |also |just |already |successfully )*"
Anchored = tuple[tuple[str, re.Pattern[str]], ...]

_SUCCESS: Anchored = (
    ("successfully", re.compile(r"successfully(?<!unsuccessfully)(?<!not successfully)")),
    ("been ", re.compile(rf"been {_SOFT}{_DEED}\b(?<!not been )(?! by the airline)")),
    ("'ve ", re.compile(rf"'ve {_SOFT}{_DEED}\b")),
    ("i have ", re.compile(rf"i have {_SOFT}{_DEED}\b")),
    ("tests ", re.compile(r"tests (?:are )?(?:now )?(?:pass\b|passed|passing)")),
    ("is now ", re.compile(r"is now (?:complete|completed|fixed|resolved|solved|done|working|booked|cancell?ed)\b")),
    ("is complete", re.compile(r"is completed?\b")),
    ("is fixed", re.compile(r"is fixed\b")),
    ("is resolved", re.compile(r"is resolved\b")),
    ("work", re.compile(r"works? (?:correctly|as expected|properly)\b")),
    ("all set", re.compile(r"all set\b")),
    ("all done", re.compile(r"all done\b")),
)
_DONE: Anchored = (
    ("i've ", re.compile(rf"i've {_SOFT}{_CHANGE}\b")),
    ("we've ", re.compile(rf"we've {_SOFT}{_CHANGE}\b")),
    ("i have ", re.compile(rf"i have {_SOFT}{_CHANGE}\b")),
    ("been successfully ", re.compile(rf"been successfully {_CHANGE}\b")),
)
_TROUBLE = tuple(
    """error|fail|unable|could not|couldn|cannot|can't|sorry|apolog|issue|problem|unfortunately|not found|invalid|
    not available|unavailable|did not|n't |not possible|insufficient|not sufficient|exceed|wrong|mistake|again|instead|
    however|not enough|denied|not allowed|not permitted|warning|missing|reject|not supported|timed out|timeout|
    no longer|trouble|difficult|incorrect|does not|not be |not installed|blocked|need your|i need|need to|manually|
    transferr|discrepancy|no channel|there is no|there are no|yes/no""".replace("\n    ", "").split("|")
)
_HEDGE: Anchored = (
    (
        "should ",
        re.compile(
            r"should (?:now )?(?:be (?:fixed|resolved|working|correct)|work|fix|resolve|solve|address|pass|handle)\b"
        ),
    ),
    ("hopefully", re.compile(r"hopefully\b")),
    ("in theory", re.compile(r"in theory\b")),
    ("i believe ", re.compile(r"i believe (?:this|that|the|it)\b[^.\n]{0,60}\b(?:fix|work|resolve|correct|solve)")),
    ("i think ", re.compile(r"i think (?:this|that|the|it)\b[^.\n]{0,60}\b(?:fix|work|resolve|correct|solve)")),
    ("not ", re.compile(r"not (?:been )?(?:able to )?(?:run|test|tested|verify|verified)\b")),
    ("untested", re.compile(r"untested\b")),
    ("n't ", re.compile(r"n't (?:been )?(?:able to )?(?:run|test|tested|verify|verified)\b")),
    ("likely ", re.compile(r"likely (?:fix|resolve|solve|work)")),
    ("might ", re.compile(r"might (?:fix|resolve|solve|work)")),
)
_ASSUMED: Anchored = (
    (
        "assum",
        re.compile(
            r"(?:\bi(?:'ll|’ll| will| have|'ve)? (?:just |simply |therefore )?assum(?:e"
            r"|ed)|\bi(?:'m| am) assuming|\bassuming you (?:want|mean|prefer))\b[^.\n]{0,60}"
        ),
    ),
    (
        "default",
        re.compile(
            r"\b(?:i(?:'ll|’ll| will| have|'ve)? (?:use[d]?|go(?:ne)? with|went with|pick(?:ed)?"
            r"|default(?:ed)?)|defaulting)\b[^.\n]{0,40}\bdefault|\bdefault(?:ed|ing) to\b"
        ),
    ),
    (
        "specif",
        re.compile(
            r"\b(?:since|as|because) [^.\n]{0,30}(?:n't| not)[^.\n]{0,12} specif(?:y|ied)[^.\n]{0,20}[, ]i(?:'ll|'ve| )"
        ),
    ),
)
_CORRECTED: Anchored = (
    (
        "",
        re.compile(
            r"i (?<!\wi )(?<!like i )(?:already (?:said|told|gave|provided"
            r"|mentioned|asked|explained|answered|confirmed)|told you|said\b"
            r"|(?:only |just |explicitly )?asked (?:you |for |to )"
            r"|(?:didn't|did not|never) (?:ask|want|request|say|said|tell|told|authori[sz]|mean|meant|agree))"
        ),
    ),
    (
        "",
        re.compile(
            r"you (?:(?:didn't|did not) (?!mention|say)\w|forgot|missed|ignored|misunderstood|broke|misread"
            r"|(?:weren't|were not|were|aren't|are not) supposed to|shouldn't have|(?:got"
            r"|have) (?:it|that|this) wrong)"
        ),
    ),
    ("", re.compile(r"not (?:what i (?:asked|wanted|meant|said|requested|need)|right\b(?=[,.!]|$))")),
    (
        "wrong",
        re.compile(r"\b(?:that|this|it)(?:'s| is| was| looks| seems)?(?: just| still| simply)? wrong\b|^wrong\b"),
    ),
    ("undo ", re.compile(r"(?<!to )\bundo (?:that|this|it|your|the last|those|these)\b")),
    ("revert ", re.compile(r"(?<!to )\brevert (?:that|this|it|your|the last|those|these)\b")),
    (
        "still ",
        re.compile(
            r"(?<!if it )\bstill (?:not working|doesn't work|does not work|fails|failing|broken|wrong"
            r"|(?:get|see|getting|seeing|have|having) the same)\b"
        ),
    ),
    ("n't work", re.compile(r"(?<!if )\b(?:it|that|this) (?:doesn't|didn't) work\b")),
)
_REFUSED = re.compile(
    r"no, (?:i (?:said|meant|asked|wanted)|that(?:'s| is) (?:not|wrong)|not |you |this is (?:not|wrong))"
)
_NEGATIVE = re.compile(
    r"\b(?:no|not|none|nothing|never|cannot|unable|zero|empty|without|0|neither"
    r"|nor|fail\w*|unfortunately|n't)\b|n't\b|n’t\b"
)


def anchored(text: str, patterns: Anchored) -> str | None:
    """The first match with a little of what stands around it; None where no pattern matches.

    A pattern is tried near the first PLACES places of its anchor only; without an anchor, in the whole text.
    """
    for anchor, pattern in patterns:
        if not anchor:
            found = pattern.search(text)
            if found:
                return quote(text, found)
            continue
        if anchor not in text:  # quicker than to ask where
            continue
        at = text.find(anchor)
        places = 0
        while at >= 0 and places < PLACES:
            end = at + AFTER_CHARS
            found = pattern.search(text, max(0, at - BEFORE_CHARS), end)
            if found:
                return quote(text, found)
            at, places = text.find(anchor, at + len(anchor)), places + 1
    return None


def correction(low: str) -> str | None:
    """The words of a user's message (lower-cased) that say the agent did something wrong or not asked for."""
    refused = _REFUSED.match(low)
    return quote(low, refused) if refused else anchored(low, _CORRECTED)


def quote(text: str, found: re.Match[str], around: int = 40) -> str:
    """The match with a little of what stands around it, in one line."""
    return " ".join(text[max(0, found.start() - around) : found.end() + around].split())


def plain(text: str) -> str:
    """Lower-cased; apostrophes straight and other characters beyond ASCII as "?", for the patterns are English."""
    if not text.isascii():
        text = text.replace("’", "'").encode("ascii", "replace").decode()
    return text.lower()


class Answer:
    """A text by which the agent hands the turn back."""

    __slots__ = ("_low", "seq", "text")

    def __init__(self, seq: int, text: str) -> None:
        self.seq, self.text = seq, text
        self._low: str | None = None

    @property
    def low(self) -> str:
        """Head and tail, in plain lower case."""
        if self._low is None:
            text = self.text
            if len(text) > 2 * ENDS_CHARS:
                text = text[:ENDS_CHARS] + "\n" + text[-ENDS_CHARS:]
            self._low = plain(text)
        return self._low

    def success(self) -> str | None:
        """The words that claim success, of the agent's doing or of the work."""
        return anchored(self.low, _SUCCESS)

    def deed(self) -> str | None:
        """The words by which the agent says it has itself changed something: "I've booked"."""
        return anchored(self.low, _DONE)

    def trouble(self) -> bool:
        """Whether any word of failure, apology or trying again occurs."""
        low = self.low
        return any(word in low for word in _TROUBLE)

    def asks(self) -> bool:
        """Whether it ends with a question or a request to confirm or choose."""
        tail = self.text[-200:]
        return "?" in tail or "confirm" in tail

    def negative(self) -> bool:
        """Whether anything is denied or said to be absent."""
        return _NEGATIVE.search(self.low) is not None

    def hedge(self) -> str | None:
        """The words that hedge a claim of success."""
        return anchored(self.low, _HEDGE)

    def assumed(self) -> str | None:
        """The words by which the agent says it took a value without asking."""
        return anchored(self.low, _ASSUMED)
