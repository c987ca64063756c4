"""Which traces to read: random, stratified, diverse or extreme, seeded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from primitives.cohort import resolve
from primitives.registry import verb

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

How = Literal["random", "stratified", "diverse", "extreme"]
SHOWN = "trace_id, task_id, success, score, n_steps, n_tool_calls, n_tool_errors, cost_usd, duration_s"
EXTREMES = ("n_steps", "cost_usd", "n_tool_errors", "duration_s", "output_tokens")
DIVERSE_FROM = 5_000  # traces; a larger population is first drawn down at random, as spread costs n times traces
DIVERSE_CHARS = 3_000  # unit: characters of a trace's request, answer and actions that its vector is made of


@verb
def sample(
    corpus: Corpus,
    n: int = 20,
    *,
    how: How = "random",
    by: str | Sequence[str] | None = None,
    population: Any = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Choose n traces to read: random, stratified (by outcome or any column), diverse in content, or extreme.

    n: traces, 1 to 1,000.
    how: random; stratified: in turn from every value of `by` (default success), so that rare values are seen; diverse:
        the next is always the one least like those chosen; extreme: in turn the highest of each of `by` (default
        n_steps, cost_usd, n_tool_errors, duration_s, output_tokens).
    by: columns of `traces` or names of `slices` (extreme: columns of `traces` that are numbers).
    population: which traces (a SELECT of trace_id, a WHERE over `traces`, a cohort's name, ids); all when None.
    seed: the same seed gives the same traces, whatever their order in the corpus.

    Columns: trace_id, task_id, success, score, n_steps, n_tool_calls, n_tool_errors, cost_usd, duration_s, why (what it
        was drawn for).
    Raises ValueError for an n out of range, an unknown `how` or a `by` that does not exist. Method of diverse: greedy
    farthest point (Gonzalez 1985) on LSA vectors of request, answer and tool names.

    >>> sample(2, how="stratified", by="success")
    """
    if not 1 <= n <= 1000:
        raise ValueError(f"n is {n}; a sample has 1 to 1,000 traces")
    names = [by] if isinstance(by, str) else list(by or ())
    eligible = resolve(corpus, population)
    if how == "random":
        drawn = _random(corpus, eligible, n, seed)
    elif how == "stratified":
        drawn = _stratified(corpus, eligible, n, names or ["success"], seed)
    elif how == "extreme":
        drawn = _extreme(corpus, eligible, n, names or list(EXTREMES), seed)
    elif how == "diverse":
        drawn = _diverse(corpus, eligible, n, seed)
    else:
        raise ValueError(f"how is {how!r}; it can be random, stratified, diverse or extreme")
    return corpus.con.execute(
        f"""SELECT {SHOWN}, why FROM (SELECT unnest($ids::VARCHAR[]) AS trace_id, unnest($why::VARCHAR[]) AS why,
            unnest(range(len($ids::VARCHAR[]))) AS place) JOIN traces USING (trace_id) ORDER BY place""",
        {"ids": [d[0] for d in drawn], "why": [d[1] for d in drawn]},
    ).df()


def shuffled(seed: int, column: str = "trace_id") -> str:
    """SQL to order by: a shuffle that depends on the seed and the ids alone."""
    return f"md5({int(seed)} || ':' || {column}), {column}"


def _random(corpus: Corpus, eligible: str, n: int, seed: int) -> list[tuple[str, str]]:
    rows = corpus.con.execute(f"SELECT trace_id FROM ({eligible}) ORDER BY {shuffled(seed)} LIMIT {n}").fetchall()
    return [(row[0], "random") for row in rows]


def _stratified(corpus: Corpus, eligible: str, n: int, names: list[str], seed: int) -> list[tuple[str, str]]:
    value = " || ', ' || ".join(_described(corpus, name) for name in names)
    return corpus.con.execute(
        f"""
        WITH drawn AS (SELECT trace_id, {value} AS stratum FROM traces WHERE trace_id IN ({eligible})),
        turns AS (SELECT *, row_number() OVER (PARTITION BY stratum ORDER BY {shuffled(seed)}) AS turn FROM drawn)
        SELECT trace_id, stratum FROM turns ORDER BY turn, {shuffled(seed, "stratum")}, trace_id LIMIT {n}"""
    ).fetchall()


def _described(corpus: Corpus, name: str) -> str:
    """SQL giving `name = value` of a trace, whether the name is a column or a slice. Raises ValueError."""
    con = corpus.con
    quoted = name.replace("'", "''")
    if _is_column(corpus, name):
        value = f"coalesce(\"{name}\"::VARCHAR, 'none')"
    elif con.execute("SELECT 1 FROM slices WHERE name = ? LIMIT 1", [name]).fetchone():
        value = (
            f"coalesce((SELECT any_value(s.value) FROM slices s "
            f"WHERE s.trace_id = traces.trace_id AND s.name = '{quoted}'), 'none')"
        )
    else:
        known = con.execute("SELECT string_agg(DISTINCT name, ', ' ORDER BY name) FROM slices").fetchone()
        raise ValueError(f"{name!r} is no column of traces and no slice; slices are: {known[0] if known else None}")
    return f"'{quoted} = ' || {value}"


def _is_column(corpus: Corpus, name: str, of: str = "") -> bool:
    found = corpus.con.execute(
        "SELECT data_type FROM duckdb_columns() WHERE table_name = 'traces' AND column_name = ?", [name]
    ).fetchone()
    return found is not None and (not of or str(found[0]) in of.split())


def _extreme(corpus: Corpus, eligible: str, n: int, names: list[str], seed: int) -> list[tuple[str, str]]:
    for name in names:
        if not _is_column(corpus, name, "INTEGER BIGINT DOUBLE SMALLINT"):
            raise ValueError(f"{name!r} is no column of numbers in traces; try n_steps, cost_usd, n_tool_errors")
    ranked = [
        corpus.con.execute(
            f"SELECT trace_id, '{name} = ' || round(\"{name}\", 4) FROM traces WHERE trace_id IN ({eligible}) "
            f'AND "{name}" > 0 ORDER BY "{name}" DESC, {shuffled(seed)} LIMIT {n}'
        ).fetchall()
        for name in names
    ]
    drawn: dict[str, str] = {}
    for turn in range(n):
        for rows in ranked:
            if turn < len(rows) and len(drawn) < n:
                drawn.setdefault(*rows[turn])
    return list(drawn.items())


def _diverse(corpus: Corpus, eligible: str, n: int, seed: int) -> list[tuple[str, str]]:
    import numpy as np

    from primitives.vectors import fit_lsa

    rows = corpus.con.execute(
        f"""
        WITH drawn AS (SELECT trace_id FROM ({eligible}) ORDER BY {shuffled(seed)} LIMIT {DIVERSE_FROM}),
        acted AS (SELECT trace_id, left(string_agg(name, ' ' ORDER BY call_seq, call_index), {DIVERSE_CHARS}) AS names
            FROM tool_calls JOIN drawn USING (trace_id) GROUP BY 1)
        SELECT trace_id, concat_ws(' ', left(input_text, {DIVERSE_CHARS}), left(final_output, {DIVERSE_CHARS}), names)
        FROM drawn JOIN traces USING (trace_id) LEFT JOIN acted USING (trace_id) ORDER BY trace_id"""
    ).fetchall()
    if not rows:
        return []
    vectors = fit_lsa([r[1] for r in rows], seed=seed).vectors
    middle = vectors.mean(axis=0)
    chosen = [int(np.argmax(vectors @ middle))]
    nearest = vectors @ vectors[chosen[0]]
    while len(chosen) < min(n, len(rows)):
        nearest[chosen] = np.inf
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    why = ["most typical", *("least like those before it" for _ in chosen[1:])]
    return [(rows[i][0], w) for i, w in zip(chosen, why, strict=True)]
