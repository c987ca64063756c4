"""Named sets of traces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve
from primitives.registry import verb

if TYPE_CHECKING:
    from primitives.corpus import Corpus

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@verb(acts=True)
def save_cohort(corpus: Corpus, name: str, cohort: Any) -> int:
    """Keep a set of traces under a name that every `population`, `a`, `b` and `cohort` argument understands.

    name: letters, digits and underscores, beginning with a letter; a name that is taken is replaced.
    cohort: a SELECT giving trace_id, a WHERE condition over `traces`, another cohort's name, or trace ids.

    Returns the number of traces in it. In SQL: `SELECT trace_id FROM labels WHERE kind = 'cohort' AND name = '…'`.
    Inside a run the cohort belongs to the run and outlives the kernel; in a notebook it lasts as long as the corpus is
    open. Raises ValueError for a name that cannot be one.

    >>> save_cohort("long_ones", "n_steps > 2")
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a cohort: letters, digits and underscores, a letter first")
    chosen = resolve(corpus, cohort)
    if corpus.gateway is not None:
        ids = [row[0] for row in corpus.con.execute(f"SELECT DISTINCT trace_id FROM ({chosen}) ORDER BY 1").fetchall()]
        corpus.gateway("save_cohort", name=name, trace_ids=ids)
        corpus.refresh_labels()
        return len(ids)
    return _keep(corpus, name, chosen)


def _keep(corpus: Corpus, name: str, chosen: str) -> int:
    """Into a temporary table that the `labels` view shows as well."""
    con = corpus.con
    rows = con.execute(f"SELECT DISTINCT trace_id FROM ({chosen}) ORDER BY 1").fetchall()
    con.execute("CREATE TEMP TABLE IF NOT EXISTS kept_cohorts (trace_id VARCHAR, name VARCHAR)")
    con.execute("DELETE FROM kept_cohorts WHERE name = ?", [name])
    con.execute(
        "INSERT INTO kept_cohorts SELECT unnest($ids::VARCHAR[]), $name", {"ids": [r[0] for r in rows], "name": name}
    )
    corpus.refresh_labels()
    return len(rows)
