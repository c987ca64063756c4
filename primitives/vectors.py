"""Texts as unit vectors: latent semantic analysis fitted on the texts themselves.

TF-IDF of words, then a truncated singular value decomposition (Deerwester et al. 1990). No weights are downloaded; the
price is that words which never occur together in the corpus are not known to be alike.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

DIMENSIONS = 128
VOCABULARY = 30_000
FIT_ON = 10_000  # texts; the decomposition is fitted on a seeded sample of this size, the rest is projected
BATCH = 5_000  # texts projected at once, so that the sparse matrix stays small
COMMON_FROM = 50  # texts from which words in only one text, or in more than half of them, are dropped
WORD = re.compile(r"\b[^\W\d]\w+\b")  # words and identifiers; bare numbers say nothing of meaning


@dataclass
class Lsa:
    """A fitted projection: plain arrays, so that it is kept without pickle and used without scikit-learn."""

    words: dict[str, int]
    idf: np.ndarray  # one per word
    components: np.ndarray | None  # dimensions x words; None where there are too few texts to decompose

    @property
    def dimensions(self) -> int:
        return len(self.idf) if self.components is None else len(self.components)

    def embed(self, texts: Iterable[str]) -> np.ndarray:
        """float32 unit rows, one per text; a row of zeros for a text without a known word."""
        import numpy as np

        blocks = [self._project(part) for part in batches(texts)]
        return np.vstack(blocks) if blocks else np.zeros((0, self.dimensions), dtype=np.float32)

    def _project(self, texts: list[str]) -> np.ndarray:
        import numpy as np

        sparse = weighted(texts, self.words, self.idf)
        dense = sparse.toarray() if self.components is None else sparse @ self.components.T
        norms = np.linalg.norm(dense, axis=1, keepdims=True)
        return np.asarray(dense / np.where(norms < 1e-6, 1, norms), dtype=np.float32)


@dataclass
class Fitted:
    model: Lsa | None  # None where no text has a word
    vectors: np.ndarray


def fit(texts: Sequence[str], *, seed: int = 0, dimensions: int = DIMENSIONS) -> Lsa | None:
    """Fit on the texts (a seeded sample above FIT_ON). None when no text holds a word."""
    import random

    import numpy as np

    chosen = list(texts) if len(texts) <= FIT_ON else random.Random(seed).sample(list(texts), FIT_ON)
    n = len(chosen)
    found = Counter(word for text in chosen for word in set(WORD.findall(text.lower())))
    least, most = (2, n // 2) if n >= COMMON_FROM else (1, n)
    usual = sorted((w for w, k in found.items() if least <= k <= most), key=lambda w: (-found[w], w))[:VOCABULARY]
    if not usual:
        return None
    idf = np.log((1 + n) / (1 + np.array([found[w] for w in usual], dtype=np.float32))) + 1
    words = {word: i for i, word in enumerate(usual)}
    width = min(dimensions, n - 1, len(words) - 1)
    components = _decompose(weighted(chosen, words, idf), width, seed) if width >= 2 else None
    return Lsa(words, idf, components)


def weighted(texts: Sequence[str], words: dict[str, int], idf: np.ndarray) -> csr_matrix:
    """Sublinear TF-IDF, rows of length one."""
    import numpy as np
    from scipy.sparse import csr_matrix

    values: list[int] = []
    columns: list[int] = []
    ends = [0]
    for text in texts:
        counts = Counter(words[w] for w in WORD.findall(text.lower()) if w in words)
        columns.extend(counts.keys())
        values.extend(counts.values())
        ends.append(len(columns))
    at = np.array(columns, dtype=np.int32)
    weights = (1 + np.log(np.array(values, dtype=np.float32))) * idf[at]
    sparse = csr_matrix((weights, at, np.array(ends, dtype=np.int32)), shape=(len(texts), len(idf)), dtype=np.float32)
    norms = np.sqrt(np.asarray(sparse.multiply(sparse).sum(axis=1))).ravel()
    sparse.data /= np.repeat(np.where(norms < 1e-12, 1, norms), np.diff(sparse.indptr)).astype(np.float32)
    return sparse


def _decompose(sparse: csr_matrix, width: int, seed: int) -> np.ndarray:
    """The first right singular vectors by randomised range finding with two power iterations (Halko et al. 2011)."""
    import numpy as np

    rng = np.random.default_rng(seed)
    base = _axes(sparse @ rng.standard_normal((sparse.shape[1], min(width + 10, min(sparse.shape)))))
    for _ in range(2):
        base = _axes(sparse @ _axes(sparse.T @ base))
    kept = _axes(sparse.T @ base)[:, :width]
    signs = np.sign(kept[np.abs(kept).argmax(axis=0), range(kept.shape[1])])  # else the machine's choice
    return np.ascontiguousarray((kept * signs).T, dtype=np.float32)


def _axes(tall: np.ndarray) -> np.ndarray:
    """Left singular vectors, strongest first: by the small Gram matrix, many times quicker than QR of a tall one."""
    import numpy as np

    values, vectors = np.linalg.eigh(tall.T @ tall)
    strong = np.flatnonzero(values > values[-1] * 1e-8)[::-1]
    return tall @ (vectors[:, strong] / np.sqrt(values[strong]))


def fit_lsa(texts: Sequence[str], *, seed: int = 0, dimensions: int = DIMENSIONS) -> Fitted:
    """Fit on the texts and give their vectors, one row each."""
    import numpy as np

    model = fit(texts, seed=seed, dimensions=dimensions)
    if model is None:
        return Fitted(None, np.zeros((len(texts), 1), dtype=np.float32))
    return Fitted(model, model.embed(texts))


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
