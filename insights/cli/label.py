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
        str, typer.Option("--on", metavar="COL", help="Column of FILE and of traces that says which traces.")
    ] = "trace_id",
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
    insights label week.corpus --export gave_up -o gave_up.csv
    insights label week.corpus --import gave_up.csv
    """
    if sum(given is not None for given in (file, export, gold)) != 1:
        raise UsageError(
            "give one of a file, --export NAME and --import FILE", "insights label CORPUS results.csv --on task_id"
        )
    opened = open_corpus(corpus)
    if export is not None:
        say(_export(opened, export, n, output or Path(f"{export}.csv")))
    else:
        say(_take(opened, gold or file, on))  # type: ignore[arg-type]


def _take(corpus: Corpus, file: Path, on: str) -> str:
    """Rows of a file into verdicts, scores and human labels; says how many met no trace."""
    rows = _rows(file)
    known = {row[0] for row in corpus.con.execute("DESCRIBE traces").fetchall()}
    if on not in known:
        raise UsageError(f"--on {on}: traces have no such column", "trace_id, task_id, native_id, …")
    if not rows or on not in rows[0]:
        raise UsageError(f"{file} has no column {on!r}", f"it has {', '.join(rows[0]) if rows else 'no rows'}")
    places: dict[str, list[str]] = {}
    for trace_id, key in corpus.con.execute(f'SELECT trace_id, "{on}"::VARCHAR FROM traces').fetchall():
        places.setdefault(str(key), []).append(trace_id)
    lost = [row for row in rows if str(row[on]) not in places]
    if len(lost) == len(rows):
        raise UsageError(
            f"no {on} of {file} is in the corpus, as {rows[0][on]!r}", f"the corpus has {', '.join(list(places)[:3])}"
        )
    met = [(trace_id, row) for row in rows for trace_id in places.get(str(row[on]), ())]
    verdicts, scores = _verdicts(met, file), _scores(met, file)
    named = _labels(met, on)
    if verdicts or scores:
        from insights.corpus.relabel import relabel

        corpus.con.close()
        relabel(corpus.path, verdicts, scores)
        corpus = open_corpus(corpus.path)
    _save(corpus, named)
    n_labels = sum(len(values) for values in named.values())
    said = [f"{len(verdicts):,} verdicts", f"{len(scores):,} scores", f"{n_labels:,} labels"]
    return f"{', '.join(s for s in said if not s.startswith('0 ')) or 'nothing'} taken in" + (
        f"; {len(lost):,} of {len(rows):,} rows name no trace, as {lost[0][on]!r}" if lost else ""
    )


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
