"""Texts as unit vectors: latent semantic analysis fitted on the texts themselves.

TF-IDF of words, then a truncated singular value decomposition (Deerwester et al. 1990). No weights are downloaded; the
price is that words which never occur together in the corpus are not known to be alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

DIMENSIONS = 128
VOCABULARY = 30_000
FIT_ON = 20_000  # texts; the decomposition is fitted on a seeded sample of this size, the rest is projected
BATCH = 5_000  # texts projected at once, so that the sparse matrix stays small
WORD = r"(?u)\b[^\W\d]\w+\b"  # words and identifiers; bare numbers say nothing of meaning


@dataclass
class Lsa:
    """A fitted projection. `embed` gives float32 unit rows (zero rows for texts without a known word)."""

    tfidf: Any
    svd: Any

    def embed(self, texts: Iterable[str]) -> np.ndarray:
        import numpy as np

        blocks = [self._project(part) for part in _batches(texts)]
        width = self.svd.n_components if self.svd is not None else len(self.tfidf.vocabulary_)
        return np.vstack(blocks) if blocks else np.zeros((0, width), dtype=np.float32)

    def _project(self, texts: list[str]) -> np.ndarray:
        import numpy as np

        sparse = self.tfidf.transform(texts)
        dense = self.svd.transform(sparse) if self.svd is not None else sparse.toarray()
        dense = dense.astype(np.float32)
        norms = np.linalg.norm(dense, axis=1, keepdims=True)
        return dense / np.where(norms < 1e-6, 1, norms)


@dataclass
class Fitted:
    model: Lsa | None  # None where no text has a word
    vectors: np.ndarray


def fit(texts: Sequence[str], *, seed: int = 0, dimensions: int = DIMENSIONS) -> Lsa | None:
    """Fit on the texts (a seeded sample above FIT_ON). None when no text holds a word."""
    import random

    import numpy as np
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    chosen = list(texts) if len(texts) <= FIT_ON else random.Random(seed).sample(list(texts), FIT_ON)
    tfidf = TfidfVectorizer(
        token_pattern=WORD,
        sublinear_tf=True,
        min_df=2 if len(chosen) >= 50 else 1,
        max_df=0.5 if len(chosen) >= 50 else 1.0,
        max_features=VOCABULARY,
        dtype=np.float32,
    )
    try:
        sparse = tfidf.fit_transform(chosen)
    except ValueError:  # sklearn's way to say: empty vocabulary
        return None
    width = min(dimensions, min(sparse.shape) - 1)
    if width < 2:
        return Lsa(tfidf, None)
    svd = TruncatedSVD(width, random_state=seed, n_iter=3)
    svd.fit(sparse)
    return Lsa(tfidf, svd)


def fit_lsa(texts: Sequence[str], *, seed: int = 0, dimensions: int = DIMENSIONS) -> Fitted:
    """Fit on the texts and give their vectors, one row each."""
    import numpy as np

    model = fit(texts, seed=seed, dimensions=dimensions)
    if model is None:
        return Fitted(None, np.zeros((len(texts), 1), dtype=np.float32))
    return Fitted(model, model.embed(texts))


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
