"""Search over every step: keywords, meaning, both, a phrase or a regular expression."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from primitives.passages import BASES, PASSAGES, allowed, is_of_steps
from primitives.registry import verb
from primitives.scan import COLUMNS, UNSPACED, scan_pattern, scan_words, snippet, terms_of
from primitives.sql import Bounded

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from primitives.corpus import Corpus
    from primitives.index import Places
    from primitives.keyword import KeywordIndex
    from primitives.semantic import SemanticIndex

Mode = Literal["hybrid", "keyword", "semantic", "phrase", "regex"]
FUSION = 60  # the constant of reciprocal-rank fusion (Cormack, Clarke and Büttcher 2009)
DEEPER = 4  # times k that is fetched first, as equal texts and filters take some away


@dataclass(frozen=True, slots=True)
class Found:
    """A window of a text that matches, and where the text first stands among the places allowed."""

    first: int
    key: int
    same: int
    start: int
    score: float
    text: str | None = None


@verb
def search(
    corpus: Corpus,
    query: str,
    *,
    mode: Mode = "hybrid",
    where: str | None = None,
    k: int = 20,
    trace_ids: Any = None,
) -> pd.DataFrame:
    """Find steps by words, meaning, phrase or regular expression; every hit has trace, step, offsets and a snippet.

    query: keyword and hybrid understand "a phrase", AND, OR, NOT, +must, -not, and the fields role:, tool: and field:
        (text, result, args or reasoning), as in `tool:book_flight AND "not found"`; regex takes RE2, as in (?i)time.?out.
    mode: hybrid (keyword and semantic, fused by rank), keyword (BM25), semantic (LSA fitted on the corpus; the first use
        builds it), phrase (the words in this order), regex (a scan of every text, in order of trace and step).
    where: a condition over the columns of `traces` and `steps` ("NOT success AND role = 'assistant'"; t. and s. where a
        name is in both).
    k: rows, 1 to 500. trace_ids: which traces (a SELECT of trace_id, a WHERE over `traces`, a cohort's name, ids).

    Columns: trace_id, seq, field (text, result, args, reasoning), score (higher is better; comparable within one search
        only), start, end (characters of that field; snippet is field[start:end], verbatim), snippet, same (how many steps
        hold this very text; all but regex show it once).
    Search finds examples; it does not count: for a prevalence write the condition in SQL. Without an index, or with a
    stale one, texts are scanned and a warning says so; so are they for a query in a script without spaces. Raises
    ValueError for an empty query, an unknown mode or a pattern that is no RE2, CohortNotUnderstood for a filter that
    does not run.
    Methods: BM25 (Robertson and Zaragoza 2009); LSA (Deerwester et al. 1990); reciprocal-rank fusion (Cormack et al. 2009).

    >>> search("refund OR error", mode="keyword", where="NOT success", k=5)
    """
    if not query.strip():
        raise ValueError("the query is empty: give words, or a regular expression with mode='regex'")
    if not 1 <= k <= 500:
        raise ValueError(f"k is {k}; a search gives 1 to 500 rows")
    if mode not in ("hybrid", "keyword", "semantic", "phrase", "regex"):
        raise ValueError(f"mode is {mode!r}; it can be hybrid, keyword, semantic, phrase or regex")
    passing = allowed(corpus, where, trace_ids)
    if mode == "regex":
        return scan_pattern(corpus, query, passing, k)
    opened = _opened(corpus)
    if mode == "phrase":
        query = '"' + query.replace('"', " ") + '"'
    ranked = []
    if mode != "semantic":
        if opened.keyword is None:
            warnings.warn(
                f"{corpus.path.name} has no current search index: every text was scanned, words only, without ranking by "
                "rarity (build it: insights ingest, or primitives.index.build)",
                Bounded,
                stacklevel=3,
            )
        if opened.keyword is None or UNSPACED.search(query):
            return scan_words(corpus, query, passing, k)
        ranked.append(_keyword(corpus, opened.keyword, query, passing, k))
    if mode in ("hybrid", "semantic"):
        ranked.append(_semantic(corpus, opened, query, passing, k))
    return _table(corpus, ranked[0][:k] if len(ranked) == 1 else _fuse(ranked)[:k], query)


class _Opened:
    """The indexes of one opened corpus: the keyword index when it is current, the semantic one when first asked for."""

    def __init__(self, corpus: Corpus) -> None:
        from primitives.index import is_current
        from primitives.keyword import KeywordIndex

        current = is_current(corpus.path, corpus.con)
        self.keyword: KeywordIndex | None = KeywordIndex(corpus.path / "index") if current else None
        corpus.con.execute(f"CREATE OR REPLACE TEMP TABLE step_bases AS {BASES}")
        self.trace_ids: list[str] = [
            row[0] for row in corpus.con.execute("SELECT trace_id FROM step_bases ORDER BY 1").fetchall()
        ]
        self._semantic: SemanticIndex | None = None

    def semantic(self, corpus: Corpus) -> SemanticIndex:
        from primitives import semantic

        if self._semantic is None:
            self._semantic = semantic.opened(corpus.path, corpus.con)
        return self._semantic


_OPENED: WeakKeyDictionary[Corpus, _Opened] = WeakKeyDictionary()


def _opened(corpus: Corpus) -> _Opened:
    if corpus not in _OPENED:
        _OPENED[corpus] = _Opened(corpus)
    return _OPENED[corpus]


def _keyword(corpus: Corpus, index: KeywordIndex, query: str, passing: str | None, k: int) -> list[Found]:
    """The best k distinct texts with an allowed place."""
    mask = _mask(corpus, index.places, passing)
    texts = None if mask is None else _texts_with(index.places, mask)
    found = []
    for hit in index.search(query, k, texts):
        place = _place(index.places, hit.text_no, mask)
        if place is not None:
            found.append(Found(*place, hit.start, hit.score, index.text(hit)))
    return found


def _semantic(corpus: Corpus, opened: _Opened, query: str, passing: str | None, k: int) -> list[Found]:

    index = opened.semantic(corpus)
    mask = _mask(corpus, index.places, passing)
    texts = None if mask is None else _texts_with(index.places, mask)
    words = " ".join(terms_of(query))
    found: dict[int, Found] = {}
    for text_no, start, score in index.search(words, k * DEEPER, texts):
        place = None if text_no in found else _place(index.places, text_no, mask)
        if place is not None and len(found) < k:
            found[text_no] = Found(place[0], place[1], place[2], start, score)
    return list(found.values())


def _mask(corpus: Corpus, places: Places, passing: str | None) -> np.ndarray | None:
    """For every step of the corpus by number, whether it passes; None without a filter."""
    import numpy as np

    if passing is None:
        return None
    size = int(places.keys.max()) // 4 + 1 if len(places.keys) else 0
    mask = np.zeros(size + 1, dtype=bool)
    if is_of_steps(passing):
        steps = corpus.con.execute(
            f"SELECT b.base + a.seq AS step FROM ({passing}) a JOIN step_bases b USING (trace_id)"
        ).fetchnumpy()["step"]
        mask[steps[steps < size]] = True
    else:
        traces = corpus.con.execute(
            f"SELECT base FROM step_bases WHERE trace_id IN (SELECT trace_id FROM ({passing}))"
        ).fetchnumpy()["base"]
        bounds = np.append(places.bases, size)
        for i in np.searchsorted(places.bases, traces):
            mask[bounds[i] : bounds[i + 1]] = True
    return mask


def _texts_with(places: Places, mask: np.ndarray) -> np.ndarray:
    """For every text by number, whether it has a place that the mask allows."""
    import numpy as np

    texts = np.zeros(len(places.pointers) - 1, dtype=bool)
    texts[places.text_of[mask[places.keys >> 2]]] = True
    return texts


def _place(places: Places, text_no: int, mask: np.ndarray | None) -> tuple[int, int, int] | None:
    """(first place of the text, first place allowed, number of places allowed); None where none is."""
    keys = places.of(text_no)
    kept = keys if mask is None else keys[mask[keys >> 2]]
    return (int(keys[0]), int(kept[0]), len(kept)) if len(kept) else None


def _fuse(ranked: list[list[Found]]) -> list[Found]:
    """Reciprocal-rank fusion; a text found both ways keeps the window of the first way, which has its words."""
    scores: dict[int, float] = {}
    kept: dict[int, Found] = {}
    for found in ranked:
        for rank, f in enumerate(found, start=1):
            scores[f.first] = scores.get(f.first, 0.0) + 1 / (FUSION + rank)
            kept.setdefault(f.first, f)
    order = sorted(scores, key=lambda first: (-scores[first], first))
    return [Found(f.first, f.key, f.same, f.start, scores[f.first], f.text) for f in (kept[i] for i in order)]


def _table(corpus: Corpus, found: list[Found], query: str) -> pd.DataFrame:
    import pandas as pd

    opened = _opened(corpus)
    places = opened.keyword.places if opened.keyword is not None else opened.semantic(corpus).places
    rows = []
    terms = terms_of(query)
    for f in found:
        trace, seq, field = places.decode(f.key)
        trace_id = opened.trace_ids[trace]
        text = f.text
        if text is None and opened.keyword is not None:
            text = opened.keyword.window(f.first, f.start)
        if text is None:
            text = _read(corpus, trace_id, seq, field, f.start)
        at, end = snippet(text, terms)
        rows.append((trace_id, seq, field, round(f.score, 6), f.start + at, f.start + end, text[at:end], f.same))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if opened._semantic is not None and opened._semantic.covered < 1:
        table.attrs["semantic_covers"] = round(opened._semantic.covered, 3)
    return table


def _read(corpus: Corpus, trace_id: str, seq: int, field: str, start: int) -> str:
    """The window of a field that begins at `start`."""
    from primitives.documents import WINDOW

    row = corpus.con.execute(
        f"SELECT substr(text, {start + 1}, {WINDOW}) FROM ({PASSAGES}) WHERE trace_id = ? AND seq = ? AND field = ?",
        [trace_id, seq, field],
    ).fetchone()
    return str(row[0]) if row else ""
