"""Static word embeddings (model2vec) in place of LSA: words that never meet in the corpus can be alike.

The model is a folder on this disk, distilled or fetched by the user; nothing is downloaded. Needs the extra `embed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from primitives.vectors import batches

if TYPE_CHECKING:
    import numpy as np


class EmbeddingNotUsable(Exception):
    """The embedding that was asked for is not there or cannot be read; the message says what to do."""


class Static:
    def __init__(self, folder: Path) -> None:
        try:
            from model2vec import StaticModel
        except ImportError as error:
            raise EmbeddingNotUsable(
                "a static embedding needs model2vec (pip install 'insights-agent[embed]')"
            ) from error
        if not (folder / "model.safetensors").is_file():
            raise EmbeddingNotUsable(
                f"{folder} holds no model2vec model (no model.safetensors): name the folder of one, or 'lsa'"
            )
        self._model = StaticModel.from_pretrained(folder)

    def embed(self, texts: Iterable[str]) -> np.ndarray:
        """float32 unit rows, one per text; a row of zeros for a text without a known word."""
        import numpy as np

        parts = [self._model.encode(part, show_progress_bar=False) for part in batches(texts)]
        rows = np.vstack(parts).astype(np.float32) if parts else np.zeros((0, 1), dtype=np.float32)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(norms < 1e-6, 1, norms)

    def save(self, folder: Path) -> None:
        """A copy that a sandboxed kernel can read beside the index."""
        self._model.save_pretrained(folder)
