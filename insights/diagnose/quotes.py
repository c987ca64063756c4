"""A quotation found in its trace: what readers cite counts only when it stands there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from primitives.corpus import Corpus

QUOTE_CHARS = 400
LEAST_WORDS, LEAST_CHARS = 3, 20  # of a quotation: one of the two, unless it is all that the step says
MOST_WORDS = 120
AROUND = "\"'“”‘’`… "


def find_quote(corpus: Corpus, trace_id: str, seq: int | None, quote: str) -> tuple[int, str] | None:
    """(step, verbatim text) of a quotation: at the step named, else at the place nearest to it; None if nowhere.

    White space may differ, as may quotation marks, dots and the mark of a call around it; what is returned is what the trace
    says. A quotation of fewer words and characters than the least proves nothing and counts only where it is a whole text.
    """
    words = re.sub(r"^[→←] *", "", quote.strip()).strip(AROUND).removesuffix("...").removeprefix("...").split()
    if not words:
        return None
    wanted = r"\s+".join(re.escape(word) for word in words[:MOST_WORDS])
    pattern, whole = re.compile(wanted), re.compile(wanted + r"[.!?]*")
    short = len(words) < LEAST_WORDS and len(" ".join(words)) < LEAST_CHARS
    rows = corpus.con.execute(
        """SELECT seq, text FROM steps WHERE trace_id = $t AND text IS NOT NULL AND origin IS DISTINCT FROM 'copied'
        UNION ALL SELECT seq, reasoning FROM steps WHERE trace_id = $t AND reasoning IS NOT NULL AND origin IS DISTINCT FROM 'copied'
        UNION ALL SELECT call_seq, args_text FROM tool_calls WHERE trace_id = $t AND args_text IS NOT NULL""",
        {"t": trace_id},
    ).fetchall()
    places = [
        (at, found[0])
        for at, text in rows
        if (found := (whole.fullmatch(text.strip().strip(AROUND)) if short else pattern.search(text)))
    ]
    here = [place for place in places if place[0] == seq]
    best = here or sorted(places, key=lambda place: (abs(place[0] - (seq if seq is not None else 0)), place[0]))
    return (best[0][0], best[0][1][:QUOTE_CHARS]) if best else None
