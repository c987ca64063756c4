"""insights label: scores, verdicts and labels from a file; gold for a person to give."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insights.cli import app
from insights.cli.options import CorpusArgument, open_corpus
from insights.cli.printing import say
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
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="CSV, or JSON lines of objects.")] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="COL",
            help="Column of FILE that says which traces: a column of traces, or an id they had where they came from. "
            "Default: trace_id, else id.",
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


def _take(corpus: Corpus, file: Path, on: str | None, pass_at: float | None) -> str:
    """Rows of a file into verdicts, scores and human labels; says how many met no trace."""
    rows = _rows(file)
    columns = list(rows[0]) if rows else []
    on = on or next((c for c in ("trace_id", "id") if c in columns), "trace_id")
    if on not in columns:
        raise UsageError(
            f"{file} has no column {on!r}", f"it has {', '.join(columns)}; name one with --on" if rows else "no rows"
        )
    places = _places(corpus, on, [str(row[on]) for row in rows], file)
    met = [(trace_id, row) for row in rows for trace_id in places.get(str(row[on]), ())]
    lost = [row for row in rows if str(row[on]) not in places]
    verdicts, scores = _verdicts(met, file), _scores(met, file)
    if pass_at is not None:
        verdicts = {trace_id: score >= pass_at for trace_id, score in scores.items()} | verdicts
    named = _labels(met, on)
    corpus = _relabelled(corpus, verdicts, scores)
    _save(corpus, named)
    n_labels = sum(len(values) for values in named.values())
    counted = ((len(verdicts), "verdicts"), (len(scores), "scores"), (n_labels, "labels"))
    said = f"{', '.join(f'{k:,} {name}' for k, name in counted if k) or 'nothing'} taken in"
    if lost:
        said += f"; {len(lost):,} of {len(rows):,} rows name no trace, as {lost[0][on]!r}"
    if scores and not verdicts:
        said += "; scores are no verdicts: --pass-at SCORE makes them"
    return said


def _places(corpus: Corpus, on: str, values: list[str], file: Path) -> dict[str, list[str]]:
    """Value to ids of traces: by the column of that name, else by trace id, else by the id in the source."""
    known = [row[0] for row in corpus.con.execute("DESCRIBE traces").fetchall()]
    wanted = set(values)
    for column in dict.fromkeys(c for c in (on, "trace_id", "native_id") if c in known):
        places: dict[str, list[str]] = {}
        for trace_id, key in corpus.con.execute(f'SELECT trace_id, "{column}"::VARCHAR FROM traces').fetchall():
            if key in wanted:
                places.setdefault(key, []).append(trace_id)
        if not places:
            continue
        several = next((key for key, ids in places.items() if len(ids) > 1), None)
        if column == "native_id" and on != column and several is not None:
            raise UsageError(
                f"{file}: {on} {several!r} names {len(places[several])} traces: {', '.join(places[several][:3])}",
                "give their trace_id",
            )
        return places
    some = [row[0] for row in corpus.con.execute("SELECT trace_id FROM traces ORDER BY 1 LIMIT 3").fetchall()]
    raise UsageError(
        f"no {on} of {file} is in the corpus, as {values[0]!r}", f"the corpus has traces {', '.join(some)}"
    )


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


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}", "give a CSV or JSON lines in UTF-8") from error
    try:
        if text.lstrip().startswith("["):
            return [dict(row) for row in json.loads(text)]
        if text.lstrip().startswith("{"):
            return [dict(json.loads(line)) for line in text.splitlines() if line.strip()]
    except (ValueError, TypeError) as error:
        raise UsageError(f"{file} is no JSON of objects: {error}", "give a CSV or JSON lines") from error
    return list(csv.DictReader(text.splitlines(keepends=True)))


def _verdicts(met: list[tuple[str, dict[str, Any]]], file: Path) -> dict[str, bool]:
    found = {}
    for trace_id, row in met:
        name = next((v for v in VERDICTS if row.get(v) not in (None, "")), None)
        if name is None:
            continue
        word = str(row[name]).strip().lower()
        if word not in WORDS:
            raise UsageError(f"{file}: {name} is {row[name]!r}", f"one of {', '.join(WORDS)}")
        found[trace_id] = WORDS[word]
    return found


def _scores(met: list[tuple[str, dict[str, Any]]], file: Path) -> dict[str, float]:
    found = {}
    for trace_id, row in met:
        name = next((s for s in SCORES if row.get(s) not in (None, "")), None)
        if name is None:
            continue
        try:
            found[trace_id] = float(row[name])
        except ValueError as error:
            raise UsageError(f"{file}: {name} is {row[name]!r}, which is no number") from error
    return found


def _labels(met: list[tuple[str, dict[str, Any]]], on: str) -> dict[str, dict[str, tuple[str, str | None]]]:
    """label -> trace_id -> (value, quote): rows of `name` and `value`, or every column that is none of the known."""
    found: dict[str, dict[str, tuple[str, str | None]]] = {}
    for trace_id, row in met:
        if "name" in row and "value" in row:
            pairs = {row["name"]: row["value"]}
        else:
            pairs = {k: v for k, v in row.items() if k and k not in (on, "trace_id", *VERDICTS, *SCORES)}
        for name, value in pairs.items():
            if value not in (None, ""):
                found.setdefault(str(name), {})[trace_id] = (str(value), row.get("quote") or None)
    return found


def _save(corpus: Corpus, named: dict[str, dict[str, tuple[str, str | None]]]) -> None:
    from insights.diagnose.labels import NAME, Label, write

    for name, values in named.items():
        if not NAME.fullmatch(name):
            raise UsageError(f"column {name!r} cannot name a label", "letters, digits and underscores, a letter first")
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
        writer.writerows((t, name, "", "", "", f"insights show {corpus.path} {t}") for (t,) in rows)
    return f"{len(rows)} traces to read are in {output}: fill in `value` with yes or no, then insights label {corpus.path} --import {output}"
