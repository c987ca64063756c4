"""Findings whose predicate is a label that a model gave: their count is corrected by gold, or it is no prevalence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from insights.records import Prevalence

if TYPE_CHECKING:
    from primitives.corpus import Corpus

UNREAD = "not measured: no second readings"
TOO_FEW = "not measured: too few second readings"
UNCORRECTED = (UNREAD, TOO_FEW)  # methods of a prevalence that is the judge's own count, with no interval


def label_in(corpus: Corpus, code: str) -> str | None:
    """The judged label that a predicate asks for, None where it asks for none or for several."""
    if not re.search(r"\blabels\b", code):
        return None
    rows = corpus.con.execute("SELECT DISTINCT name FROM labels WHERE kind = 'judged' ORDER BY 1").fetchall()
    named = [name for (name,) in rows if f"'{name}'" in code]
    return named[0] if len(named) == 1 else None


def judged_traces(label: str, population: str) -> str:
    """SELECT of the traces of a population (itself a SELECT) that have been judged."""
    quoted = label.replace("'", "''")
    return f"SELECT trace_id FROM ({population}) WHERE trace_id IN (SELECT trace_id FROM labels WHERE name = '{quoted}' AND kind = 'judged')"


def prevalence(corpus: Corpus, label: str, ids: tuple[str, ...], population: str) -> Prevalence:
    """Corrected by gold where the predicate is the label's yes and gold was read; else the judge's count, and said so.

    n is the number of judged traces of the population, `unscored` that of the others.
    """
    import math

    from primitives.stats.judged import TooFewReadings

    method = UNREAD
    judged = judged_traces(label, population)
    n, total = corpus.con.execute(
        f"SELECT (SELECT count(*) FROM ({judged})), (SELECT count(*) FROM ({population}))"
    ).fetchall()[0]
    yes = corpus.con.execute(
        f"SELECT DISTINCT trace_id FROM labels WHERE name = ? AND kind = 'judged' AND value = 'yes' AND trace_id IN ({population})",
        [label],
    ).fetchall()
    if {row[0] for row in yes} == set(ids):
        try:
            row = corpus.prevalence(label=label, population=population).iloc[0]
            return Prevalence(
                int(row.k), int(row.n), int(row.unscored), float(row.low), float(row.high), str(row.method)
            )
        except TooFewReadings:
            method = TOO_FEW
        except ValueError:
            pass  # no gold in one of its strata
    held = sum(1 for _ in ids)
    return Prevalence(min(held, n), n, total - n, 0.0 if n else math.nan, 1.0 if n else math.nan, method)
