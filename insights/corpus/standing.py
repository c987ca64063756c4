"""What people added to a corpus and an ingest keeps: verdicts of `insights label`, rules of `insights detect --rules`.

Verdicts are kept by trace_id in the table `verdicts` and laid over what is read; rules in the table `rules` and run over
every trace. A verdict whose trace has changed since, or is gone, is kept and told of in `ingest_issues`.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from insights.corpus.columns import SCHEMA_SQL, TABLES
from insights.errors import CorpusError

if TYPE_CHECKING:
    import duckdb

    from primitives.detectors import Signal
    from primitives.detectors.rules import Rule

SIGNAL = ("seq", "start_seq", "detector", "severity", "n", "detail")
_OVER = """
UPDATE traces SET success = coalesce(v.success, traces.success), score = coalesce(v.score, traces.score)
FROM verdicts v WHERE v.trace_id = traces.trace_id
AND (v.success IS DISTINCT FROM traces.success OR v.score IS DISTINCT FROM traces.score)"""
_TOLD = """
INSERT INTO ingest_issues
SELECT t.source_id, v.trace_id, NULL, NULL, CASE WHEN t.trace_id IS NULL THEN 'verdict_without_trace' ELSE 'verdict_of_changed_trace' END,
  'info', 1, CASE WHEN t.trace_id IS NULL THEN v.trace_id || ': labelled, and no longer in the corpus; the verdict is kept'
  ELSE 'labelled before the trace changed; the verdict is kept: label it again if it no longer holds' END
FROM verdicts v LEFT JOIN traces t USING (trace_id) WHERE t.fingerprint IS DISTINCT FROM v.fingerprint ORDER BY v.trace_id"""
_GIVEN = """
INSERT INTO verdicts SELECT trace_id, bool_or(g.success), max(g.score), any_value(t.fingerprint), now() FROM (
  SELECT unnest($ids::VARCHAR[]) AS trace_id, unnest($passed::BOOLEAN[]) AS success, NULL::DOUBLE AS score UNION ALL
  SELECT unnest($scored::VARCHAR[]), NULL, unnest($scores::DOUBLE[])) g JOIN traces t USING (trace_id) GROUP BY trace_id
ON CONFLICT DO UPDATE SET success = coalesce(excluded.success, verdicts.success),
  score = coalesce(excluded.score, verdicts.score), fingerprint = excluded.fingerprint, given_at = excluded.given_at"""


def complete(con: duckdb.DuckDBPyConnection) -> None:
    """Give a corpus of an earlier version the tables and columns that came since; none was ever taken away or moved."""
    rows = con.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = current_database()"
    ).fetchall()
    there: dict[str, set[str]] = {}
    for table, column in rows:
        there.setdefault(table, set()).add(column)
    bare = re.sub(r"--[^\n]*", "", SCHEMA_SQL)
    for statement in bare.split("CREATE TABLE ")[1:]:
        if statement.split()[0] not in there:
            con.execute(f"CREATE TABLE {statement.split(';')[0]}")
    for table in there.keys() & TABLES.keys():
        for column in TABLES[table].keys() - there[table]:
            con.execute(f"ALTER TABLE {table} ADD COLUMN {column} {TABLES[table][column]}")


@contextmanager
def rewritten(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A copy of the corpus to write to, put in its place in one step when all went well.

    Readers keep what they opened. Raises CorpusError while another program writes the corpus, and where it cannot be written.
    """
    import duckdb

    current, fresh = folder / "traces.duckdb", folder / "traces.duckdb.new"
    try:
        with (folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CorpusError(f"{folder} is being written by another program", "wait for it to end") from None
            try:
                shutil.copyfile(current, fresh)
                with duckdb.connect(str(fresh)) as con:
                    yield con
                fresh.replace(current)
            finally:
                fresh.unlink(missing_ok=True)
    except OSError as error:
        raise CorpusError(
            f"{folder} cannot be written: {error.strerror or error}", "free space or copy it to where it can"
        ) from error
    except (duckdb.IOException, duckdb.FatalException) as error:
        raise CorpusError(
            f"{folder} cannot be written: {str(error).splitlines()[0]}", "free space and run it again"
        ) from error


def keep_verdicts(con: duckdb.DuckDBPyConnection, success: Mapping[str, bool], score: Mapping[str, float]) -> None:
    """Set `success` and `score` of traces by trace_id, and remember them."""
    complete(con)
    given = {
        "ids": list(success),
        "passed": list(success.values()),
        "scored": list(score),
        "scores": list(score.values()),
    }
    con.execute(_GIVEN, given)
    con.execute(_OVER)


def keep_signals(
    con: duckdb.DuckDBPyConnection, found: Sequence[tuple[str, Signal]], rules: Sequence[Rule] | None
) -> None:
    """Put `found` in the place of the detectors' signals, or with `rules` of those of the rules before, which these replace."""
    complete(con)
    known = {name for (name,) in con.execute("SELECT name FROM rules").fetchall()}
    _replace(con, found, known | {rule.name for rule in rules or ()}, of_rules=rules is not None)
    if rules is not None:
        con.execute("DELETE FROM rules")
    for rule in rules or ():
        con.execute("INSERT INTO rules VALUES (?, ?)", [rule.name, rule.model_dump_json(exclude_none=True)])


def _replace(
    con: duckdb.DuckDBPyConnection, found: Sequence[tuple[str, Signal]], names: set[str], *, of_rules: bool
) -> None:
    """Replace the signals of the rules in `names`, or of all but those, by `found`."""
    from insights.corpus.batch import to_arrow

    con.execute(
        "DELETE FROM signals WHERE (detector IN (SELECT unnest($names::VARCHAR[]))) = $of_rules",
        {"names": sorted(names), "of_rules": of_rules},
    )
    if found:
        incoming = to_arrow(
            "signals", [(t, *(getattr(s, name) for name in SIGNAL)) for t, s in found]
        )  # found by its name
        con.execute(f"INSERT INTO signals (trace_id, {', '.join(SIGNAL)}) SELECT * FROM incoming")
        del incoming


def restore(con: duckdb.DuckDBPyConnection) -> None:
    """Lay verdicts over what was read, tell of those whose trace has changed or is gone, and run the rules again."""
    con.execute(_OVER)
    con.execute("DELETE FROM ingest_issues WHERE code IN ('verdict_of_changed_trace', 'verdict_without_trace')")
    con.execute(_TOLD)
    kept = [json.loads(text) for (text,) in con.execute("SELECT rule FROM rules ORDER BY name").fetchall()]
    if kept:
        from primitives.detectors import scan_corpus
        from primitives.detectors.rules import Rule

        rules = [Rule(**one) for one in kept]
        _replace(con, list(scan_corpus(con, rules)), {rule.name for rule in rules}, of_rules=True)
