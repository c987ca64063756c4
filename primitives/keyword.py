"""Keyword search over the index that an ingest built: BM25 over the documents of every segment, by whole arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING

from primitives.documents import Documents
from primitives.index import Places
from primitives.passages import FIELDS
from primitives.postings import Segment, hashes_of
from primitives.query import Clauses, Node, Words, parse

if TYPE_CHECKING:
    import numpy as np

K1, B = 1.2, 0.75  # of BM25 (Robertson and Zaragoza 2009)
DEEPER = 4  # times the hits wanted that are ranked first, since several windows may be of one text


@dataclass(frozen=True, slots=True)
class Hit:
    """A window of a text: `start` is its first character in the field."""

    text_no: int
    start: int
    score: float
    document: int


@dataclass(frozen=True, slots=True)
class Matching:
    """For every document, whether it matches and how well; a score counts only where it does."""

    found: np.ndarray
    scores: np.ndarray

    def both(self, other: Matching) -> Matching:
        return Matching(self.found & other.found, self.scores + other.scores)

    def either(self, other: Matching) -> Matching:
        return Matching(self.found | other.found, self.scores + other.scores)


class KeywordIndex:
    """An opened index. Files are mapped, not read."""

    def __init__(self, home: Path) -> None:
        import numpy as np

        meta = json.loads((home / "keyword.json").read_text(encoding="utf-8"))
        self.segments = [Segment.load(home / "keyword", n) for n in range(meta["segments"])]
        self.documents = Documents.load(home / "keyword")
        self._names: dict[str, list[str]] = {**meta["names"], "field": list(FIELDS)}
        self._firsts = np.cumsum(
            [0, *(len(s.firsts) for s in self.segments)]
        )  # the number of each segment's first document
        self._alive = self.documents.text_no >= 0
        with np.load(home / "places.npz") as arrays:
            self.places = Places(arrays["bases"], arrays["pointers"], arrays["keys"])

    def search(self, query: str, limit: int, allowed: np.ndarray | None = None) -> list[Hit]:
        """The best window of each text, best first, of texts with `allowed[text_no]`; equal scores in order of the corpus."""
        import numpy as np

        matching = self._clauses(parse(query))
        if matching is None:
            return []
        found = matching.found & self._alive
        if allowed is not None:
            found &= allowed[self.documents.text_no]  # those of no text were taken out above
        at = np.flatnonzero(found)
        scores, wanted = matching.scores[at], limit * DEEPER
        while True:
            best = at
            if len(at) > wanted:
                best = at[scores >= np.partition(scores, len(scores) - wanted)[len(scores) - wanted]]
            numbers, starts = self.documents.text_no[best], self.documents.start[best]
            best = best[np.lexsort((starts, numbers, -matching.scores[best]))]
            first = np.sort(np.unique(self.documents.text_no[best], return_index=True)[1])
            if len(first) >= limit or len(at) <= wanted:
                return [self._hit(i, matching) for i in best[first[:limit]].tolist()]
            wanted *= 8

    def text(self, hit: Hit) -> str:
        """The window's text, verbatim."""
        return self._text(hit.document)

    def window(self, first: int, start: int) -> str | None:
        """The window at `start` of the text whose first place is `first`; None where there is none."""
        import numpy as np

        text_no = self._by_first.get(first)
        if text_no is None:
            return None
        at = np.flatnonzero((self.documents.text_no == text_no) & (self.documents.start == start))
        return self._text(int(at[0])) if len(at) else None

    @cached_property
    def _by_first(self) -> dict[int, int]:
        import numpy as np

        held = np.flatnonzero(np.diff(self.places.pointers))
        return dict(zip(self.places.keys[self.places.pointers[held]].tolist(), held.tolist(), strict=True))

    @cached_property
    def _norms(self) -> np.ndarray:
        """What a document's length does to its score, lengths in the steps of Lucene's one byte."""
        import numpy as np

        lengths = np.concatenate([np.zeros(0, np.uint32), *(s.lengths for s in self.segments)])
        mean = lengths[self._alive].mean() if self._alive.any() else 1.0
        steps = _steps()
        told = steps[np.searchsorted(steps, lengths, "right") - 1]
        return np.asarray(K1 * (1 - B + B * told / max(mean, 1e-9)), dtype=np.float32)

    def _hit(self, i: int, matching: Matching) -> Hit:
        return Hit(int(self.documents.text_no[i]), int(self.documents.start[i]), float(matching.scores[i]), i)

    def _text(self, document: int) -> str:
        n = int(self._firsts.searchsorted(document, "right")) - 1
        return self.segments[n].read(document - int(self._firsts[n]))

    def _node(self, node: Node) -> Matching | None:
        return self._clauses(node) if isinstance(node, Clauses) else self._words(node)

    def _clauses(self, clauses: Clauses) -> Matching | None:
        """None where nothing is asked for: a part without a word asks for nothing."""
        must, should, excluded = (
            [m for m in map(self._node, nodes) if m is not None]
            for nodes in (clauses.must, clauses.should, clauses.excluded)
        )
        if not must and not should:
            return None
        matching = reduce(Matching.both, must) if must else reduce(Matching.either, should)
        if must and should:
            extra = reduce(Matching.either, should)
            matching = Matching(matching.found, matching.scores + extra.scores)
        for other in excluded:
            matching = Matching(matching.found & ~other.found, matching.scores)
        return matching

    def _words(self, words: Words) -> Matching | None:
        if words.name != "text":
            return self._named(words)
        hashes = hashes_of(words.text)
        if not hashes:
            return None
        documents, times = self._standing(lambda s: _phrase([s.of(h) for h in hashes]))
        counts = (
            [len(documents)]
            if len(hashes) == 1
            else [len(self._standing(partial(Segment.of, term=h))[0]) for h in hashes]
        )
        rarity = sum(map(self._rarity, counts))
        found, scores = self._blank()
        found[documents] = True
        scores[documents] = rarity * (1 + K1) * (times / (times + self._norms[documents]))
        return Matching(found, scores)

    def _named(self, words: Words) -> Matching:
        """Documents whose role, tool or field is this very word."""
        names = self._names[words.name]
        codes = getattr(self.documents, words.name)
        found = codes == (names.index(words.text) if words.text in names else -1)
        _, scores = self._blank()
        has = self._alive if words.name == "field" else self._alive & (codes > 0)
        length = K1 * (1 - B + B / max(has.sum() / max(self._alive.sum(), 1), 1e-9))
        scores[found] = self._rarity(int((found & self._alive).sum())) * (1 + K1) / (1 + length)
        return Matching(found, scores)

    def _standing(self, tokens_in: Callable[[Segment], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(the documents in which the words found by `tokens_in` stand, how many in each)."""
        import numpy as np

        documents, times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for n, segment in enumerate(self.segments):
            tokens = tokens_in(segment)
            if len(tokens):
                found = segment.texts_of(tokens)  # ascending, as the words are
                first = np.flatnonzero(np.append(True, found[1:] != found[:-1]))
                documents.append(found[first] + self._firsts[n])
                times.append(np.diff(first, append=len(found)))
        every, counted = np.concatenate(documents), np.concatenate(times)
        alive = self._alive[every]
        return every[alive], counted[alive]

    def _rarity(self, n: int) -> float:
        import math

        total = int(self._alive.sum())
        return math.log(1 + (total - n + 0.5) / (n + 0.5))

    def _blank(self) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        size = len(self.documents.text_no)
        return np.zeros(size, dtype=bool), np.zeros(size, dtype=np.float32)


def _phrase(tokens: list[np.ndarray]) -> np.ndarray:
    """The first words of the places where these words stand in a row."""
    import numpy as np

    found = tokens[0]
    for i, following in enumerate(tokens[1:], start=1):
        if not len(found) or not len(following):
            return found[:0]
        at = np.minimum(following.searchsorted(found + i), len(following) - 1)
        found = found[following[at] == found + i]
    return found


def _steps() -> np.ndarray:
    """The lengths that Lucene's one byte can tell: all up to 40, then eight to each doubling."""
    import numpy as np

    told = [i & 7 if i < 8 else (i & 7 | 8) << (i >> 3) - 1 for i in range(232)]
    return np.array([*range(24), *(24 + n for n in told)], dtype=np.int64)
