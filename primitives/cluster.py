"""Groups of texts or traces: how many, which words set them apart, and the text nearest the middle of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve
from primitives.registry import verb
from primitives.sample import shuffled
from primitives.sql import columns_of
from primitives.vectors import fit_lsa, weighted

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from primitives.corpus import Corpus

MOST = 30_000  # texts; a seeded sample above
READ_CHARS = 2_000  # unit: characters of a text that count
QUOTE_CHARS = 300
TERMS = 6
DIMENSIONS = 64
STARTS = 4  # k-means runs of which the tightest is kept
NUMBERS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20)  # numbers of clusters tried when none is given
TRIED_ON = 4_000  # texts of which the number of clusters is chosen
COLUMNS = (
    "cluster", "n_texts", "n_traces", "passed", "judged", "terms", "cohesion", "trace_id", "seq", "quote", "trace_ids",
)  # fmt: skip
SOURCES = {
    "input_text": "SELECT trace_id, NULL::INTEGER AS seq, input_text AS text FROM traces WHERE input_text <> ''",
    "final_output": "SELECT trace_id, NULL::INTEGER AS seq, final_output AS text FROM traces WHERE final_output <> ''",
    "user": "SELECT trace_id, seq, text FROM steps WHERE kind = 'message' AND role = 'user' AND text <> ''",
    "assistant": "SELECT trace_id, seq, text FROM steps WHERE kind = 'message' AND role = 'assistant' AND text <> ''",
    "errors": "SELECT trace_id, coalesce(result_seq, call_seq) AS seq, coalesce(result_text, error_message) AS text "
    "FROM tool_calls WHERE status = 'error' AND coalesce(result_text, error_message) <> ''",
    "actions": "SELECT trace_id, NULL::INTEGER AS seq, string_agg(name, ' ' ORDER BY call_seq, call_index) AS text "
    "FROM tool_calls WHERE name <> '' GROUP BY trace_id",
}


@verb
def cluster(
    corpus: Corpus, source: str = "input_text", *, population: Any = None, k: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Group texts (or traces by one text each): sizes, distinguishing terms, outcomes, exemplars nearest the centre.

    source: input_text or final_output (one per trace), user or assistant (messages), errors (of tools), actions (the names
        of a trace's tool calls), or a SELECT giving trace_id, text and, where it can, seq.
    population: which traces (a SELECT of trace_id, a WHERE over `traces`, a cohort's name, ids); all when None.
    k: clusters, 2 to 50; chosen by silhouette up to 20 when None. seed: the same seed gives the same clusters.

    Columns: cluster (0 is the largest), n_texts, n_traces, passed, judged (of n_traces, those with a verdict), terms,
        cohesion (mean cosine to the centre), trace_id, seq, quote (the exemplar; verbatim where seq is given), trace_ids
        (all traces of the cluster, a list: a cohort for other verbs).
    At most 30,000 texts are grouped, a seeded sample above that; `attrs` has n_texts and sampled_from.
    Raises ValueError for an unknown source or k. Methods: spherical k-means on LSA vectors; simplified silhouette (Hruschka
    2004); terms by class-based TF-IDF (Grootendorst 2022).

    >>> cluster("final_output", k=2)
    """
    import pandas as pd

    if k is not None and not 2 <= k <= 50:
        raise ValueError(f"k is {k}; there can be 2 to 50 clusters")
    rows, total = _texts(corpus, source, population, seed)
    texts = [row[2] for row in rows]
    if not texts:
        return pd.DataFrame(columns=list(COLUMNS))
    fitted = fit_lsa(texts, seed=seed, dimensions=DIMENSIONS)
    labels, centres = group(fitted.vectors, k, seed)
    terms = _terms(fitted.model, texts, labels, len(centres))
    found = []
    for number, centre in enumerate(centres):
        members = [i for i, label in enumerate(labels) if label == number]
        nearness = fitted.vectors[members] @ centre
        best = members[int(nearness.argmax())]
        verdicts = {rows[i][0]: rows[i][3] for i in members}
        found.append(
            (number, len(members), len(verdicts), sum(v is True for v in verdicts.values()),
             sum(v is not None for v in verdicts.values()), terms[number], round(float(nearness.mean()), 3), rows[best][0],
             _seq(corpus, *rows[best][:3]), rows[best][2][:QUOTE_CHARS], sorted(verdicts))
        )  # fmt: skip
    table = pd.DataFrame(found, columns=list(COLUMNS)).astype({"seq": "Int64"})
    table.attrs.update(n_texts=len(texts), sampled_from=total)
    return table


def _texts(corpus: Corpus, source: str, population: Any, seed: int) -> tuple[list[tuple[Any, ...]], int]:
    """((trace_id, seq, text, success) in order of trace and step, number of texts before sampling)."""
    if source in SOURCES:
        query = SOURCES[source]
    elif source.lstrip("( \n").upper().startswith(("SELECT", "WITH", "FROM")):
        given = [name.lower() for name, _ in columns_of(corpus, source) or []]
        if "trace_id" not in given or "text" not in given:
            raise ValueError(f"the SELECT gives {', '.join(given)}; it must give trace_id and text")
        query = f"SELECT trace_id, {'seq' if 'seq' in given else 'NULL::INTEGER AS seq'}, text FROM ({source})"
    else:
        raise ValueError(f"source is {source!r}; it can be {', '.join(SOURCES)} or a SELECT giving trace_id and text")
    within = f"trace_id IN ({resolve(corpus, population)}) AND text IS NOT NULL"
    count = corpus.con.execute(f"SELECT count(*) FROM ({query}) WHERE {within}").fetchone()
    rows = corpus.con.execute(
        f"""SELECT trace_id, seq, text, success FROM (SELECT trace_id, seq, left(text, {READ_CHARS}) AS text FROM ({query})
            WHERE {within} ORDER BY {shuffled(seed)}, seq, text LIMIT {MOST}) JOIN traces USING (trace_id)
            ORDER BY trace_id, seq, text"""
    ).fetchall()
    return rows, int(count[0]) if count else 0


def _seq(corpus: Corpus, trace_id: str, seq: int | None, text: str) -> int | None:
    """The step that holds a trace's text, where one does."""
    if seq is not None:
        return seq
    row = corpus.con.execute(
        "SELECT min(seq) FROM steps WHERE trace_id = ? AND kind = 'message' AND starts_with(text, ?)", [trace_id, text]
    ).fetchone()
    return row[0] if row else None


def group(vectors: np.ndarray, k: int | None, seed: int) -> tuple[list[int], np.ndarray]:
    """(cluster of each row, centres), the largest cluster first. k is chosen by silhouette when None."""
    import numpy as np

    distinct = len(np.unique(vectors.round(4), axis=0))
    number = min(k if k is not None else _number(vectors, distinct, seed), distinct)
    labels, centres = _k_means(vectors, number, seed)
    sizes = np.bincount(labels, minlength=len(centres))
    order = sorted((i for i in range(len(sizes)) if sizes[i]), key=lambda i: (-sizes[i], int(np.argmax(labels == i))))
    names = {old: new for new, old in enumerate(order)}
    return [names[int(label)] for label in labels], centres[order]


def _number(vectors: np.ndarray, distinct: int, seed: int) -> int:
    """The number of clusters with the best silhouette; a larger one must be better, not as good."""
    import numpy as np

    if len(vectors) > TRIED_ON:
        vectors = vectors[np.sort(np.random.default_rng(seed).choice(len(vectors), TRIED_ON, replace=False))]
    best, chosen = -1.0, 2
    for number in NUMBERS:
        if number > max(distinct // 3, 2):
            break
        quality = _silhouette(vectors, *_k_means(vectors, min(number, distinct), seed))
        if quality > best + 0.005:
            best, chosen = quality, number
    return chosen


def _k_means(vectors: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Spherical k-means with k-means++ starts (Arthur and Vassilvitskii 2007); the tightest of STARTS runs."""
    import numpy as np

    rng = np.random.default_rng(seed)
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for _ in range(STARTS):
        centres = _spread(vectors, k, rng)
        labels = np.zeros(len(vectors), dtype=np.int64)
        for _ in range(30):
            nearest = (vectors @ centres.T).argmax(axis=1)
            if (nearest == labels).all():
                break
            labels = nearest
            sums = np.zeros_like(centres)
            for i in range(k):
                sums[i] = vectors[labels == i].sum(axis=0)
            norms = np.linalg.norm(sums, axis=1, keepdims=True)
            centres = np.where(norms > 1e-9, sums / np.where(norms > 1e-9, norms, 1), centres)
        tightness = float((vectors * centres[labels]).sum())
        if best is None or tightness > best[0] + 1e-6:
            best = tightness, labels, centres
    assert best is not None
    return best[1], best[2]


def _spread(vectors: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    import numpy as np

    chosen = [int(rng.integers(len(vectors)))]
    gap = np.maximum(1 - vectors @ vectors[chosen[0]], 0)
    while len(chosen) < k:
        total = float(gap.sum())
        pick = int(rng.choice(len(vectors), p=gap / total)) if total > 1e-9 else int(rng.integers(len(vectors)))
        chosen.append(pick)
        gap = np.minimum(gap, np.maximum(1 - vectors @ vectors[pick], 0))
    return vectors[chosen].copy()


def _silhouette(vectors: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> float:
    """Mean of (other - own) / larger over distances to the nearest other centre and the own one."""
    import numpy as np

    if len(centres) < 2:
        return 0.0
    gaps = np.maximum(1 - vectors @ centres.T, 0)
    rows = np.arange(len(vectors))
    own = gaps[rows, labels]
    gaps[rows, labels] = np.inf
    other = gaps.min(axis=1)
    return float(np.mean((other - own) / np.maximum(np.maximum(own, other), 1e-9)))


def _terms(model: Any, texts: list[str], labels: list[int], k: int) -> list[str]:
    """The words of each cluster that are heavier in it than in the rest."""
    import numpy as np
    from scipy.sparse import csr_matrix

    if model is None:
        return [""] * k
    matrix = weighted(texts, model.words, model.idf)
    at = np.array(labels)
    member = csr_matrix((np.ones(len(at), dtype=np.float32), (at, np.arange(len(at)))), shape=(k, len(at)))
    sizes = np.bincount(at, minlength=k)[:, None]
    sums = np.asarray((member @ matrix).todense())
    inside = sums / sizes
    outside = (sums.sum(axis=0) - sums) / np.maximum(len(at) - sizes, 1)
    apart = inside - outside if k > 1 else inside
    words = list(model.words)
    return [
        ", ".join(words[j] for j in np.lexsort((np.arange(len(words)), -row))[:TERMS] if row[j] > 1e-6) for row in apart
    ]
