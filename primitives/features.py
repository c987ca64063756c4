"""The features of traces that `compare` tries, as SQL: properties a trace has or not, and numbers.

A property is a SELECT giving key and trace_id; a number is a SELECT giving trace_id and value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from primitives.events import CALLS

if TYPE_CHECKING:
    from primitives.corpus import Corpus

NUMBERS = (
    "n_steps", "n_llm_calls", "n_tool_calls", "n_tool_errors", "n_user_turns", "input_tokens", "cache_read_tokens",
    "output_tokens", "reasoning_tokens", "cost_usd", "duration_s",
)  # fmt: skip
CATEGORIES = ("dataset", "split", "agent", "agent_version", "framework", "model", "end_reason", "error_type")
FAMILIES = (
    "numbers",
    "categories",
    "slices",
    "tools",
    "tool_errors",
    "signals",
    "labels",
    "terms:task",
    "terms:answer",
)
TERM_CHARACTERS = 20_000  # of each text are read: what tells tasks apart stands early, and one text can be megabytes
# Words that say nothing of a task; four letters and more only, shorter ones are rarely terms.
STOP = (
    "about after also another because been before being could does each from have here into just like make more most \
must need only other please should some such than that their them then there these they this those want were what when \
where which while will with would your yours"
)
# A word: four letters and more of an alphabet; of scripts without spaces, a run of Chinese characters or of Katakana.
WORD = (
    r"'\p{Han}{2,12}|[\p{Katakana}ー]{2,20}|[\p{Latin}\p{Greek}\p{Cyrillic}\p{Hangul}\p{Arabic}\p{Hebrew}\p{Devanagari}\p{Thai}\p{M}_]"
    r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{Hangul}\p{Arabic}\p{Hebrew}\p{Devanagari}\p{Thai}\p{M}\p{Nd}_-]{3,30}'"
)
SEES_OUTCOME = ("success_against_verdict",)  # detectors that read the verdict: they tell outcomes apart by definition
NUMERIC_TYPES = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "HUGEINT", "REAL")


class FeatureUnknown(ValueError):
    """A feature that is no family, column, slice, label or SQL. The message lists what there is."""


@dataclass(slots=True)
class Features:
    """`present`: SELECTs giving key (kind, a space, name) and trace_id. `numbers`: name to SELECT.

    `partial`: pairs of such a SELECT and one giving the trace_ids for which it is known at all: a trace nobody labelled
    is not one labelled no.
    """

    present: list[str] = field(default_factory=list)
    numbers: dict[str, str] = field(default_factory=dict)
    partial: list[tuple[str, str]] = field(default_factory=list)


def gather(corpus: Corpus, features: Iterable[str] | Mapping[str, str] | None) -> Features:
    """Read the `features` argument of `compare`. Raises FeatureUnknown."""
    found = Features()
    asked: Iterable[str] = FAMILIES if features is None else [features] if isinstance(features, str) else features
    for name in asked:
        if isinstance(features, Mapping):
            _add_sql(corpus, found, name, features[name])
        else:
            _add_named(corpus, found, name)
    return found


def terms(texts: str, kind: str) -> str:
    """Words of texts. `texts`: a SELECT giving trace_id and text, several rows per trace allowed."""
    stop = ", ".join(f"'{word}'" for word in STOP.split())
    return (
        f"SELECT '{kind} ' || word AS key, trace_id FROM (SELECT trace_id, unnest(list_distinct(regexp_extract_all("
        f"lower(left(text, {TERM_CHARACTERS})), {WORD}))) AS word FROM ({texts})) "
        f"WHERE word NOT IN ({stop})"
    )


TEXTS = {
    "task": "SELECT trace_id, input_text AS text FROM traces",
    "answer": "SELECT trace_id, final_output AS text FROM traces",
    "user": "SELECT trace_id, text FROM steps WHERE role = 'user' AND kind = 'message'",
    "assistant": "SELECT trace_id, text FROM steps WHERE role = 'assistant' AND kind = 'message'",
    "results": "SELECT trace_id, result_text AS text FROM tool_calls",
}


def _add_named(corpus: Corpus, found: Features, name: str) -> None:
    columns = {r[0]: r[1] for r in corpus.con.execute("DESCRIBE traces").fetchall()}
    kind, _, rest = name.partition(":")
    if name == "numbers":
        found.numbers.update({c: f"SELECT trace_id, {c} AS value FROM traces" for c in NUMBERS if c in columns})
    elif name == "categories":
        found.present += [_category(c) for c in CATEGORIES]
    elif name == "slices":
        own = ", ".join(_quoted(c) for c in columns)
        found.present.append(
            f"SELECT 'slice ' || name || ' = ' || value AS key, trace_id FROM slices WHERE name NOT IN ({own})"
        )
    elif name == "tools":
        found.present.append(
            f"SELECT 'tool ' || regexp_replace(token, '!(err|empty)$', '') AS key, trace_id FROM ({CALLS})"
        )
    elif name == "tool_errors":
        found.present.append(
            f"SELECT 'tool_error ' || replace(token, '!err', '') AS key, trace_id FROM ({CALLS}) WHERE token LIKE '%!err'"
        )
    elif name == "signals":
        seen_outcome = ", ".join(_quoted(d) for d in SEES_OUTCOME)
        found.present.append(
            f"SELECT 'signal ' || detector AS key, trace_id FROM signals WHERE detector NOT IN ({seen_outcome})"
        )
    elif name == "labels":
        found.partial += [_label(label) for label in _label_names(corpus)]
    elif kind == "label" and rest in _label_names(corpus):
        found.partial.append(_label(rest))
    elif name == "passed":
        known = "SELECT trace_id FROM traces WHERE success IS NOT NULL"
        found.partial.append(("SELECT 'outcome passed' AS key, trace_id FROM traces WHERE success", known))
    elif kind == "terms" and rest in TEXTS:
        found.present.append(terms(TEXTS[rest], f"term:{rest}"))
    elif name in columns:
        _add_sql(corpus, found, name, name)
    elif _is_slice(corpus, name):
        found.present.append(
            f"SELECT 'slice ' || name || ' = ' || value AS key, trace_id FROM slices WHERE name = {_quoted(name)}"
        )
    else:
        raise FeatureUnknown(
            f"there is no feature {name!r}; there are the families {', '.join(FAMILIES)}, terms:user, terms:assistant, "
            f"terms:results, label:NAME, passed, the columns of traces, slice names, and a mapping of names to SQL"
        )


def _add_sql(corpus: Corpus, found: Features, name: str, sql: str) -> None:
    """A SELECT giving trace_id (a property) or trace_id and value; else an expression over `traces`."""
    import duckdb

    text = sql.strip().rstrip(";")
    if not text.upper().startswith(("SELECT", "WITH", "FROM")):
        text = f"SELECT trace_id, ({text}) AS value FROM traces"
    try:
        columns = {r[0]: str(r[1]) for r in corpus.con.execute(f"DESCRIBE {text}").fetchall()}
    except duckdb.Error as error:
        raise FeatureUnknown(f"feature {name!r} does not run: {str(error)[:500]}") from error
    if "trace_id" not in columns:
        raise FeatureUnknown(f"feature {name!r}: the SELECT must give trace_id, it gives {', '.join(columns)}")
    key = _quoted(f"own {name}")
    if "value" not in columns:
        found.present.append(f"SELECT {key} AS key, trace_id FROM ({text})")
    elif columns["value"] == "BOOLEAN":
        found.present.append(f"SELECT {key} AS key, trace_id FROM ({text}) WHERE value")
    elif any(t in columns["value"] for t in NUMERIC_TYPES) and "[" not in columns["value"]:
        found.numbers[name] = f"SELECT trace_id, value FROM ({text})"
    else:
        found.present.append(
            f"SELECT {key} || ' = ' || left(value::VARCHAR, 80) AS key, trace_id FROM ({text}) WHERE value IS NOT NULL"
        )


def _category(column: str) -> str:
    return f"SELECT 'column {column} = ' || left({column}, 80) AS key, trace_id FROM traces WHERE {column} IS NOT NULL"


def _label(name: str) -> tuple[str, str]:
    given = f"FROM labels WHERE name = {_quoted(name)} AND value IS NOT NULL AND kind <> 'cohort'"
    key = f"'label ' || {_quoted(name)} || ' = ' || left(value, 80)"
    return f"SELECT {key} AS key, trace_id {given}", f"SELECT trace_id {given}"


def _label_names(corpus: Corpus) -> list[str]:
    sql = "SELECT DISTINCT name FROM labels WHERE kind <> 'cohort' AND value IS NOT NULL ORDER BY 1"
    return [str(r[0]) for r in corpus.con.execute(sql).fetchall()]


def _is_slice(corpus: Corpus, name: str) -> bool:
    return corpus.con.execute("SELECT 1 FROM slices WHERE name = ? LIMIT 1", [name]).fetchone() is not None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
