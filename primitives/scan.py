"""Search without an index: a pass over every text in DuckDB, and the snippets that hits are shown with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from primitives.passages import PASSAGES, is_of_steps

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

SNIPPET = 240  # unit: characters
COLUMNS = ("trace_id", "seq", "field", "score", "start", "end", "snippet", "same")
WORD = re.compile(r"\w+")
# Thai, Lao, kana and Chinese characters: written without spaces, so that an index of words does not find what stands in a clause.
UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def terms_of(query: str) -> list[str]:
    """The words a query asks for, lower case, without its operators and fields."""
    bare = re.sub(r"\b(?:role|tool|field):\S+", " ", query)
    bare = re.sub(r"(?:\bNOT\s+|(?:^|\s)-)(?:\"[^\"]*\"|\S+)", " ", bare)
    words = [w for w in WORD.findall(bare) if w not in ("AND", "OR", "NOT", "IN")]
    return [part for w in words for part in w.lower().split("_") if part] or [w.lower() for w in words]


def snippet(text: str, terms: list[str]) -> tuple[int, int]:
    """(start, end) of about SNIPPET characters around the place where most of the terms stand together."""
    pattern = "|".join(re.escape(t) for t in sorted(set(terms), key=len, reverse=True))
    marks = [(m.start(), m.group()) for m in re.finditer(rf"(?i)(?:{pattern})", text)] if pattern else []
    best, most = 0, 0
    for i, (at, _) in enumerate(marks):
        near = {word.lower() for other, word in marks[i : i + 40] if other < at + SNIPPET - 60}
        if len(near) > most:
            best, most = at, len(near)
    start = max(min(best - 40, len(text) - SNIPPET), 0)
    if start:
        start = text.find(" ", start, best) + 1 or start
    return start, min(start + SNIPPET, len(text))


def scan_pattern(corpus: Corpus, pattern: str, passing: str | None, k: int) -> pd.DataFrame:
    """Regular expression over every text, in order of trace and step."""
    import duckdb

    try:
        table = corpus.con.execute(
            f"""
            WITH hits AS (SELECT trace_id, seq, field, text FROM ({PASSAGES}) WHERE regexp_matches(text, $pattern)
                {_within(passing)} ORDER BY trace_id, seq, field, text LIMIT {k}),
            found AS (SELECT *, length(regexp_extract(text, $before, 1)) AS place,
                length(regexp_extract(text, $pattern)) AS size FROM hits),
            cut AS (SELECT *, greatest(place - 60, 0) AS start FROM found)
            SELECT trace_id, seq, field, 1.0::DOUBLE AS score, start::BIGINT AS start,
                least(start + greatest({SNIPPET}, least(60 + size, 1000)), length(text))::BIGINT AS "end",
                substr(text, start + 1, greatest({SNIPPET}, least(60 + size, 1000))) AS snippet, 1 AS same
            FROM cut ORDER BY trace_id, seq, field""",
            {"pattern": pattern, "before": rf"\A(?s:(.*?))(?:{pattern})"},
        ).df()
    except duckdb.Error as error:
        raise ValueError(f"{pattern!r} is no RE2 pattern: {str(error)[:300]}") from error
    return table


def _within(passing: str | None) -> str:
    if passing is None:
        return ""
    if is_of_steps(passing):
        return f"AND (trace_id, seq) IN (SELECT trace_id, seq FROM ({passing}))"
    return f"AND trace_id IN (SELECT trace_id FROM ({passing}))"


def scan_words(corpus: Corpus, query: str, passing: str | None, k: int) -> pd.DataFrame:
    """Texts with most of the words in them, shorter ones first."""
    phrases = [p for p in re.findall(r'"([^"]+)"', query) if p.strip()]
    terms = phrases + terms_of(re.sub(r'"[^"]*"', " ", query))
    if not terms:
        raise ValueError(f"{query!r} has no words to look for")
    score = " + ".join(f"contains(lower(text), $t{i})::INTEGER" for i in range(len(terms)))
    rows = corpus.con.execute(
        f"""WITH scored AS (SELECT trace_id, seq, field, text, ({score}) / {len(terms)}.0 AS score FROM ({PASSAGES})
            WHERE true {_within(passing)})
        SELECT trace_id, seq, field, round(score, 6)::DOUBLE, left(text, 20000) FROM scored WHERE score > 0
        ORDER BY score DESC, length(text), trace_id, seq, field LIMIT {k}""",
        {f"t{i}": t.lower() for i, t in enumerate(terms)},
    ).fetchall()
    import pandas as pd

    cut = [(*r[:4], *snippet(r[4], [w for t in terms for w in t.lower().split()]), r[4]) for r in rows]
    return pd.DataFrame([(*c[:6], c[6][c[4] : c[5]], 1) for c in cut], columns=list(COLUMNS))
