"""Search by meaning: a vector per window of each distinct text, compared exactly.

Built at the first search that needs it (or by `build`, which a host calls before it starts kernels), because it costs some
seconds that an ingest should not. Kept in CORPUS/index/semantic/ where that can be written, else for the session only.
The embedding is LSA fitted on the corpus, or a static model that `build` was given (setting search.embedding); the index
remembers which, and holds a copy of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from primitives.documents import windows
from primitives.index import VERSION, Places, number, places
from primitives.passages import KEY, PASSAGES, STAMP, TEXT_HASH
from primitives.static import Static
from primitives.vectors import FIT_ON, Lsa, fit

if TYPE_CHECKING:
    import duckdb
    import numpy as np

MOST = 200_000  # distinct texts embedded; above that a sample by hash, and the search says how much it covers
READ_CHARS = 20_000  # unit: characters of a text that are embedded; the keyword index has the rest
SEED = 0


@dataclass
class SemanticIndex:
    """`vectors` are unit rows; row i is the window of text `numbers[i]` that begins at `starts[i]`."""

    model: Lsa | Static | None  # None where no text has a word
    vectors: np.ndarray
    numbers: np.ndarray
    starts: np.ndarray
    places: Places
    covered: float  # share of the distinct texts that have a vector

    def search(self, query: str, limit: int, allowed: np.ndarray | None = None) -> list[tuple[int, int, float]]:
        """(text_no, start, cosine), best first, of texts with `allowed[text_no]` and a cosine above 0."""
        import numpy as np

        if self.model is None or not len(self.vectors):
            return []
        scores = self.vectors @ self.model.embed([query])[0]
        if allowed is not None:
            scores = np.where(allowed[self.numbers], scores, -1)
        best = np.argpartition(-scores, min(limit, len(scores) - 1))[:limit]
        best = best[np.lexsort((best, -scores[best]))]
        return [(int(self.numbers[i]), int(self.starts[i]), float(scores[i])) for i in best if scores[i] > 1e-6]


def opened(folder: Path, con: duckdb.DuckDBPyConnection) -> SemanticIndex:
    """The index of this corpus: loaded when it is current, else built, and kept when the folder can be written."""
    home = folder / "index" / "semantic"
    stamp = _stamp(con)
    kept = _load(home, stamp)
    if kept is not None:
        return kept
    built = _build(con)
    try:
        home.mkdir(parents=True, exist_ok=True)
        _save(home, stamp, built)
    except OSError:  # a kernel sees the corpus read-only: the index lives as long as the session
        pass
    return built


def build(folder: Path | str, *, embedding: str = "lsa") -> float:
    """Build and keep the index of CORPUS, unless it is there; the share of its distinct texts that are in it.

    `embedding` is 'lsa' or the folder of a model2vec model. Raises EmbeddingNotUsable.
    """
    from primitives.corpus import open_corpus

    corpus = open_corpus(folder)
    try:
        home, stamp = corpus.path / "index" / "semantic", _stamp(corpus.con)
        kept = _load(home, stamp)
        if kept is not None and (embedding == "lsa") == (not isinstance(kept.model, Static)):
            return kept.covered
        built = _build(corpus.con, Static(Path(embedding)) if embedding != "lsa" else None)
        home.mkdir(parents=True, exist_ok=True)
        _save(home, stamp, built)
        return built.covered
    finally:
        corpus.con.close()


def _stamp(con: duckdb.DuckDBPyConnection) -> str:
    row = con.execute(STAMP).fetchone()
    return f"{VERSION}-{row[0] if row else ''}"


def _build(con: duckdb.DuckDBPyConnection, static: Static | None = None) -> SemanticIndex:
    import numpy as np

    number(con)
    row = con.execute("SELECT count(*) FROM search_texts").fetchone()
    texts = row[0] if row else 0
    share = min(1.0, MOST / max(texts, 1))
    model: Lsa | Static | None = static
    if model is None:
        sample = sorted(_windows(con, min(share, FIT_ON / max(texts, 1))))
        model = fit([text for _, _, text in sample], seed=SEED)
    rows: list[tuple[int, int]] = []

    def noted() -> Iterator[str]:
        for text_no, start, text in _windows(con, share):
            rows.append((text_no, start))
            yield text

    vectors = model.embed(noted()) if model is not None else np.zeros((0, 1), dtype=np.float32)
    at = np.array(rows, dtype=np.int64).reshape(-1, 2)
    order = np.lexsort((at[:, 1], at[:, 0]))
    covered = len(np.unique(at[:, 0])) / texts if texts else 1.0
    where = places(con)
    for name in ("search_bases", "search_places", "search_texts", "old"):
        con.execute(f"DROP TABLE {name}")
    return SemanticIndex(model, vectors[order], at[order, 0], at[order, 1], where, covered)


def _windows(con: duckdb.DuckDBPyConnection, share: float) -> Iterator[tuple[int, int, str]]:
    """(text_no, start, window) of the texts whose hash falls into the share; in no fixed order."""
    seen: set[int] = set()
    con.execute(
        f"""SELECT t.text_no, left(p.text, {READ_CHARS}) FROM ({PASSAGES}) p JOIN search_bases b USING (trace_id)
        JOIN search_texts t ON t.first = {KEY} AND t.h = {TEXT_HASH} WHERE (t.h >> 32) <= {int(share * (2**32 - 1))}"""
    )
    while found := con.fetchmany(2_048):
        for text_no, text in found:
            if text_no not in seen:
                seen.add(text_no)
                for start, end in windows(text):
                    yield text_no, start, text[start:end]


def _save(home: Path, stamp: str, built: SemanticIndex) -> None:
    import numpy as np

    (home / "semantic.json").unlink(missing_ok=True)
    arrays = {
        "vectors": built.vectors.astype(np.float16),
        "numbers": built.numbers,
        "starts": built.starts,
        **asdict(built.places),
    }
    words: list[str] = []
    if isinstance(built.model, Static):
        built.model.save(home / "model")
    elif built.model is not None:
        words = sorted(built.model.words, key=built.model.words.__getitem__)
        arrays["idf"] = built.model.idf
        if built.model.components is not None:
            arrays["components"] = built.model.components
    np.savez(home / "vectors.npz", **arrays)
    embedding = "static" if isinstance(built.model, Static) else "lsa"
    meta = {"stamp": stamp, "embedding": embedding, "covered": built.covered, "words": words}
    (home / "semantic.json").write_text(json.dumps(meta), encoding="utf-8")


def _load(home: Path, stamp: str) -> SemanticIndex | None:
    import numpy as np

    try:
        meta = json.loads((home / "semantic.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    if meta.get("stamp") != stamp:
        return None
    with np.load(home / "vectors.npz") as arrays:
        model: Lsa | Static | None = None
        if meta["embedding"] == "static":
            model = Static(home / "model")
        elif "idf" in arrays:
            words = {word: i for i, word in enumerate(meta["words"])}
            model = Lsa(words, arrays["idf"], arrays.get("components"))
        vectors = arrays["vectors"].astype(np.float32)
        where = Places(arrays["bases"], arrays["pointers"], arrays["keys"])
        return SemanticIndex(model, vectors, arrays["numbers"], arrays["starts"], where, meta["covered"])
