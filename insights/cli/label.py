"""insights label: scores, verdicts and labels from a file; gold for a person to give."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insights.cli import app
from insights.cli.options import CorpusArgument, open_corpus
from insights.cli.printing import FORMULA, for_spreadsheet, say
from insights.cli.rows import rows_of
from insights.errors import UsageError

if TYPE_CHECKING:
    from primitives.corpus import Corpus

VERDICTS = ("success", "passed", "resolved", "correct")
SCORES = ("score", "reward")
WORDS = {"true": True, "yes": True, "1": True, "1.0": True, "pass": True, "passed": True,
         "false": False, "no": False, "0": False, "0.0": False, "fail": False, "failed": False}  # fmt: skip
GOLD_COLUMNS = ("trace_id", "name", "value", "quote", "explanation", "show")


@app.command()
def label(
    corpus: CorpusArgument,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="CSV, JSON, JSON lines or Parquet: a row for each trace or task."),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="COL[,COL…]",
            help="Columns of FILE that together say which traces: columns or metadata of traces, or an id they had where they "
            "came from. Default: trace_id, else id, native_id or task_id.",
        ),
    ] = None,
    pass_at: Annotated[
        float | None,
        typer.Option("--pass-at", metavar="SCORE", help="Make verdicts of scores: passed from this score on."),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option("--export", metavar="NAME", help="Write traces of this judged label for a person to read."),
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="Take in what --export wrote and a person filled in."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where --export writes; default: NAME.csv.")
    ] = None,
    n: Annotated[
        int, typer.Option("-n", help="Traces to export, half from the label's yes and half from its no.", min=2)
    ] = 40,
) -> None:
    """Give traces verdicts, scores or labels from a file, or be the gold of a judged label.

    \b
    insights label week.corpus results.csv --on task_id     columns success or passed, score or reward; others become labels
    insights label week.corpus results.json --on task_id,trial
    insights label week.corpus --pass-at 0.8                of the scores that the corpus has; or with a file of scores
    insights label week.corpus --export gave_up -o gave_up.csv
    insights label week.corpus --import gave_up.csv
    """
    given = sum(one is not None for one in (file, export, gold))
    if given > 1 or (given == 0 and pass_at is None) or (pass_at is not None and given and file is None):
        raise UsageError(
            "give one of a file, --export NAME, --import FILE and --pass-at SCORE",
            "insights label CORPUS results.csv --on task_id",
        )
    opened = open_corpus(corpus)
    if export is not None:
        say(_export(opened, export, n, output or Path(f"{export}.csv")))
    elif source := gold or file:
        say(_take(opened, source, on, pass_at))
    else:
        say(_pass_at(opened, float(pass_at or 0)))


def _take(corpus: Corpus, file: Path, named: str | None, pass_at: float | None) -> str:
    """Rows of a file into verdicts, scores and human labels; says what met nothing on either side."""
    rows = rows_of(file, (named or "trace_id").partition(",")[0])
    columns = list(dict.fromkeys(name for row in rows for name in row))
    on = [named] if named in columns else [c.strip() for c in (named or _default(columns)).split(",")]
    for column in on:
        if column not in columns:
            raise UsageError(f"{file} has no column {column!r}", f"it has {', '.join(columns)}; name one with --on")
    keys = [tuple(_word(row.get(c)) for c in on) for row in rows]
    places = _places(corpus, on, keys, file)
    met = [(trace_id, row) for key, row in zip(keys, rows, strict=True) for trace_id in places.get(key, ())]
    lost = [key for key in keys if key not in places]
    verdicts, scores = _verdicts(met, file), _scores(met, file)
    if pass_at is not None:
        verdicts = {trace_id: score >= pass_at for trace_id, score in scores.items()} | verdicts
    labels = _labels(met, on)
    corpus = _relabelled(corpus, verdicts, scores)
    _save(corpus, labels)
    n_labels = sum(len(values) for values in labels.values())
    counted = ((len(verdicts), "verdicts"), (len(scores), "scores"), (n_labels, "labels"))
    said = [f"{', '.join(f'{k:,} {name}' for k, name in counted if k) or 'nothing'} taken in"]
    if lost:
        said.append(f"{len(lost):,} of {len(rows):,} rows name no trace, as {', '.join(lost[0])!r}")
    said += _unmet(corpus, {trace_id for trace_id, _ in met}) + _disagreeing(met, verdicts, scores)
    if scores and not verdicts:
        said.append("scores are no verdicts: --pass-at SCORE makes them")
    return "; ".join(said)


def _default(columns: list[str]) -> str:
    return next((c for c in ("trace_id", "id", "native_id", "task_id") if c in columns), "trace_id")


def _word(value: Any) -> str:
    """A key as text, alike in CSV, JSON and Parquet: 3, 3.0 and "3" are one, and '=x of a spreadsheet is =x."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip()
    return text[1:] if text[:1] == "'" and text[1:].startswith(FORMULA) else text


def _unmet(corpus: Corpus, met: set[str]) -> list[str]:
    without = [t for (t,) in corpus.con.execute("SELECT trace_id FROM traces ORDER BY 1").fetchall() if t not in met]
    return (
        [f"{len(without):,} of {len(without) + len(met):,} traces are named by no row, as {without[0]!r}"]
        if without
        else []
    )


def _disagreeing(
    met: list[tuple[str, dict[str, Any]]], verdicts: dict[str, bool], scores: dict[str, float]
) -> list[str]:
    """Traces that several rows tell different verdicts or scores of."""
    told = {
        t
        for t, row in met
        for given, kept in ((_verdict(row), verdicts), (_score(row), scores))
        if given not in (None, kept.get(t))
    }
    return [f"{len(told):,} traces are named by rows that disagree, the last counts, as {min(told)!r}"] if told else []


def _places(corpus: Corpus, on: list[str], keys: list[tuple[str, ...]], file: Path) -> dict[tuple[str, ...], list[str]]:
    """Key to ids of traces: by the columns of those names or by metadata, one column else by trace id or the id in the source."""
    known = {row[0] for row in corpus.con.execute("DESCRIBE traces").fetchall()}
    ways = [[_column(name, known) for name in on]]
    if len(on) == 1:
        ways += [[f'"{c}"'] for c in ("trace_id", "native_id")]
    wanted = set(keys)
    for way in ways:
        places: dict[tuple[str, ...], list[str]] = {}
        chosen = ", ".join(f"CAST({expression} AS VARCHAR)" for expression in way)
        for trace_id, *values in corpus.con.execute(
            f"SELECT trace_id, {chosen} FROM traces ORDER BY trace_id"
        ).fetchall():
            key = tuple(_word(value) for value in values)
            if key in wanted and any(key):
                places.setdefault(key, []).append(trace_id)
        if not places:
            continue
        several = next((key for key, ids in places.items() if len(ids) > 1), None)
        if way == ['"native_id"'] and on != ["native_id"] and several is not None:
            raise UsageError(
                f"{file}: {on[0]} {several[0]!r} names {len(places[several])} traces: {', '.join(places[several][:3])}",
                "give their trace_id",
            )
        return places
    named = ", ".join(f"CAST({expression} AS VARCHAR)" for expression in ways[0])
    some = corpus.con.execute(f"SELECT DISTINCT {named} FROM traces ORDER BY ALL LIMIT 3").fetchall()
    has = [", ".join(map(str, row)) for row in some if any(row)]
    some_ids = [row[0] for row in corpus.con.execute("SELECT trace_id FROM traces ORDER BY 1 LIMIT 3").fetchall()]
    there = f"the corpus has {' and '.join(has)}" if has else f"the corpus has traces {', '.join(some_ids)}"
    raise UsageError(f"no {','.join(on)} of {file} is in the corpus, as {', '.join(keys[0])!r}", there)


def _column(name: str, known: set[str]) -> str:
    """SQL of what a trace says under a name."""
    if name in known:
        return f'"{name}"'
    quoted = name.replace("'", "''").replace('"', '\\"')
    return f"""json_extract_string(metadata, '$."{quoted}"')"""


def _pass_at(corpus: Corpus, least: float) -> str:
    """Verdicts of the scores in the corpus."""
    rows = corpus.con.execute("SELECT trace_id, score >= ? FROM traces WHERE score IS NOT NULL", [least]).fetchall()
    if not rows:
        raise UsageError("no trace of the corpus has a score", "give a file with trace_id and score")
    verdicts = dict(rows)
    _relabelled(corpus, verdicts, {})
    return f"{len(verdicts):,} verdicts taken in: {sum(verdicts.values()):,} passed with a score of {least:g} or more"


def _relabelled(corpus: Corpus, verdicts: dict[str, bool], scores: dict[str, float]) -> Corpus:
    """The corpus with these verdicts and scores, opened again."""
    if not (verdicts or scores):
        return corpus
    from insights.corpus.relabel import relabel

    corpus.con.close()
    relabel(corpus.path, verdicts, scores)
    return open_corpus(corpus.path)


def _verdict(row: dict[str, Any]) -> bool | None:
    name = next((v for v in VERDICTS if row.get(v) not in (None, "")), None)
    return None if name is None else WORDS.get(str(row[name]).strip().lower())


def _verdicts(met: list[tuple[str, dict[str, Any]]], file: Path) -> dict[str, bool]:
    found = {}
    for trace_id, row in met:
        name = next((v for v in VERDICTS if row.get(v) not in (None, "")), None)
        if name is None:
            continue
        verdict = _verdict(row)
        if verdict is None:
            raise UsageError(f"{file}: {name} is {row[name]!r}", f"one of {', '.join(WORDS)}")
        found[trace_id] = verdict
    return found


def _score(row: dict[str, Any]) -> float | None:
    """The score of a row, None where it has none. Raises ValueError where it is no number."""
    given = next((row[s] for s in SCORES if row.get(s) not in (None, "")), None)
    if given is None:
        return None
    score = float(given) if isinstance(given, (str, int, float)) else math.nan
    if not math.isfinite(score):
        raise ValueError(given)
    return score


def _scores(met: list[tuple[str, dict[str, Any]]], file: Path) -> dict[str, float]:
    found = {}
    for trace_id, row in met:
        try:
            score = _score(row)
        except ValueError as error:
            name = next(s for s in SCORES if row.get(s) not in (None, ""))
            raise UsageError(
                f"{file}: {name} is {row[name]!r}, which is no number", "give numbers, or leave it empty"
            ) from error
        if score is not None:
            found[trace_id] = score
    return found


def _labels(met: list[tuple[str, dict[str, Any]]], on: list[str]) -> dict[str, dict[str, tuple[str, str | None]]]:
    """label -> trace_id -> (value, quote): rows of `name` and `value`, or every column that is none of the known."""
    found: dict[str, dict[str, tuple[str, str | None]]] = {}
    for trace_id, row in met:
        if "name" in row and "value" in row:
            pairs = {row["name"]: row["value"]}
        else:
            pairs = {k: v for k, v in row.items() if k and k not in (*on, "trace_id", *VERDICTS, *SCORES)}
        for name, value in pairs.items():
            if value not in (None, ""):
                found.setdefault(_label_name(str(name)), {})[trace_id] = (_label_value(value), row.get("quote") or None)
    return found


def _label_name(column: str) -> str:
    """`Failure mode (1st)` is the label Failure_mode_1st."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", column).strip("_")[:64].rstrip("_")
    if not name[:1].isalpha():
        raise UsageError(f"column {column!r} cannot name a label", "letters, digits and underscores, a letter first")
    return name


def _label_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _save(corpus: Corpus, named: dict[str, dict[str, tuple[str, str | None]]]) -> None:
    from insights.diagnose.labels import Label, write

    for name, values in named.items():
        code = hashlib.sha1(",".join(sorted(values)).encode(), usedforsecurity=False).hexdigest()[:12]
        write(corpus, f"human-{name}-{code}", [Label(t, name, v, "human", quote=q) for t, (v, q) in values.items()])


def _export(corpus: Corpus, name: str, n: int, output: Path) -> str:
    """A sample for a person, in no order that tells the model's answer: `value` is empty, and is to be yes or no."""
    rows = corpus.con.execute(
        """WITH said AS (SELECT trace_id, lower(value) AS value, row_number() OVER (PARTITION BY lower(value) ORDER BY md5(trace_id)) AS nth
             FROM labels WHERE name = $name AND kind = 'judged' AND trace_id NOT IN
             (SELECT trace_id FROM labels WHERE name = $name AND kind = 'human'))
           SELECT trace_id FROM said WHERE value IN ('yes', 'no') AND nth <= $half ORDER BY md5(concat('order', trace_id))""",
        {"name": name, "half": (n + 1) // 2},
    ).fetchall()
    if not rows:
        names = corpus.con.execute(
            "SELECT DISTINCT name FROM labels WHERE kind = 'judged' AND value = 'yes' ORDER BY 1"
        ).fetchall()
        raise UsageError(
            f"no trace has a judged yes/no label {name!r}", f"there are {', '.join(r[0] for r in names) or 'none'}"
        )
    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(GOLD_COLUMNS)
        writer.writerows((for_spreadsheet(t), name, "", "", "", f"insights show {corpus.path} {t}") for (t,) in rows)
    return f"{len(rows)} traces to read are in {output}: fill in `value` with yes or no, then insights label {corpus.path} --import {output}"
