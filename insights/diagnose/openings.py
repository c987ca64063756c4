"""What many traces of a corpus begin with (a system prompt, as a rule): given to readers once, in the prefix that providers cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from primitives.corpus import Corpus

LEAST_CHARS = 200  # a shorter text is not worth a reference to it
LEAST_TRACES = 2  # with the same system prompt; any other text opens at least half of the traces
EARLY = """SELECT s.trace_id, s.seq, s.role, s.text, md5(s.text) AS code FROM steps s
    WHERE ($ids::VARCHAR[] IS NULL OR s.trace_id IN (SELECT unnest($ids::VARCHAR[]))) AND length(s.text) >= $chars
    AND s.origin IS DISTINCT FROM 'copied' AND s.kind <> 'tool_result' AND s.role <> 'assistant'
    AND s.seq < coalesce((SELECT min(f.seq) FROM steps f WHERE f.trace_id = s.trace_id AND f.role = 'assistant'
        AND f.origin IS DISTINCT FROM 'copied'), 1)"""


@dataclass(frozen=True, slots=True)
class Opening:
    """`letters`: step -> the letter by which the step's text stands in `text`, which is the same for traces that begin alike."""

    letters: Mapping[int, str]
    text: str


NOTHING = Opening({}, "")


def shared_texts(corpus: Corpus) -> dict[str, tuple[str, str]]:
    """Texts before the agent's first word that many traces share: md5 -> (letter, text), the most common first."""
    rows = corpus.con.execute(
        f"""WITH early AS ({EARLY}),
        shared AS (SELECT code, count(DISTINCT trace_id) AS n, any_value(text) AS text FROM early GROUP BY 1
            HAVING n >= $least AND (bool_or(role IN ('system', 'developer')) OR 2 * n >= (SELECT count(*) FROM traces)))
        SELECT code, text FROM shared ORDER BY n DESC, code""",
        {"chars": LEAST_CHARS, "least": LEAST_TRACES, "ids": None},
    ).fetchall()
    return {code: (_letter(place), text) for place, (code, text) in enumerate(rows, 1)}


def openings(corpus: Corpus, trace_ids: Sequence[str], shared: Mapping[str, tuple[str, str]]) -> dict[str, Opening]:
    """trace_id -> what it begins with of the texts that are shared; traces that share nothing are absent."""
    if not shared:
        return {}
    rows = corpus.con.execute(
        f"SELECT trace_id, seq, code FROM ({EARLY}) WHERE code IN (SELECT unnest($codes::VARCHAR[])) ORDER BY 1, 2",
        {"chars": LEAST_CHARS, "ids": list(trace_ids), "codes": list(shared)},
    ).fetchall()
    letters: dict[str, dict[int, str]] = {}
    texts: dict[str, dict[str, str]] = {}
    for trace_id, seq, code in rows:
        letter, text = shared[code]
        letters.setdefault(trace_id, {})[seq] = letter
        texts.setdefault(trace_id, {})[letter] = f"[text {letter}]\n{text}"
    return {t: Opening(of, "\n".join(text for _, text in sorted(texts[t].items()))) for t, of in letters.items()}


def _letter(place: int) -> str:
    """1 is A, 26 is Z, 27 is AA."""
    letters = ""
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
