"""What changed between versions, models or weeks: the same measures, over shared tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve
from primitives.compare import adjust, measured
from primitives.features import gather
from primitives.registry import verb

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

MEASURES = ("passed", "numbers", "end_reason", "tools", "tool_errors", "signals", "labels")
PERIODS = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
MOST_VERSIONS = 12  # the largest are compared
COLUMNS = (
    "version", "against", "feature", "kind", "value", "value_against", "n", "n_against", "effect", "low", "high",
    "effect_unadjusted", "p_unadjusted", "p", "q", "test", "strata", "adjusted", "adjusted_for", "change", "alert",
)  # fmt: skip


class NothingToCompare(ValueError):
    """There are not two versions with traces. The message says what there is."""


@verb
def drift(
    corpus: Corpus,
    by: str = "model",
    *,
    population: Any = None,
    against: str = "previous",
    min_effect: float = 0.05,
    strata: str | None = "auto",
    min_support: int = 5,
    limit: int = 100,
) -> pd.DataFrame:
    """What changed across versions, models or weeks: the same measures side by side, adjusted over shared tasks.

    by: a column of `traces` ("model", "agent_version", "agent"), a slice name, or "day", "week", "month" of the start.
    population: a cohort (SELECT giving trace_id, WHERE condition over `traces`, saved cohort, trace ids); None: all.
    against: "previous" (versions in the order in which they first started, or by name where nothing says when), "first",
        or the version which every other is held against.
    min_effect: smallest effect worth an alert, in [0, 1].
    strata: "auto" (task where both versions ran the same tasks, else the best grouping at hand), "task", a column, a
        slice, or None.
    min_support: traces that must have a property, and that must not; numbers need as many values on each side.
    limit: rows at most; attrs["tried"] counts all. Of more than 12 versions the 12 largest are compared.

    Measures: share passed, sizes, tokens, cost and time, how runs ended, tools called and failing, detectors, labels.
    Columns: version, against, feature, kind, value and value_against (share, or median of a number), n, n_against
    (traces), effect (version minus the other, in [-1, 1], as in `compare`), low, high (95 %), effect_unadjusted,
    p_unadjusted, p (Cochran-Mantel-Haenszel or van Elteren), q (Benjamini-Hochberg over all), test, strata, adjusted,
    adjusted_for, change ('new', 'gone', 'up', 'down', or 'same' where q > 0.1), alert (changed, and the interval lies
    outside ±min_effect). Order: alerts first, then by the bound of the interval nearest to zero.
    Errors: NothingToCompare; CohortNotUnderstood; StratumUnknown.

    >>> drift("model", limit=20)
    """
    import pandas as pd

    from primitives.stats.ranking import ranked

    groups = _versions(corpus, by, resolve(corpus, population))
    asked = gather(corpus, MEASURES)
    parts = []
    for version, other in _pairs(groups, against):
        held, base = (_members(name) for name in (version, other))
        part = measured(
            corpus, asked, f"{held} UNION ALL {base}", f"trace_id IN ({held})", _strata(strata, by), min_support
        )
        if len(part):
            parts.append(part.assign(version=version, against=other))
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    frame = pd.concat(parts, ignore_index=True)
    testable = adjust(frame)
    frame = frame.rename(columns={"value_a": "value", "value_b": "value_against", "n_a": "n", "n_b": "n_against"}).pipe(
        _told, min_effect
    )
    result = ranked(frame).sort_values("alert", ascending=False, kind="stable")
    result = result[list(COLUMNS)].head(limit).reset_index(drop=True)
    result.attrs.update(tried=len(frame), testable=testable, versions=[name for name, _ in groups])
    return result


def _versions(corpus: Corpus, by: str, eligible: str) -> list[tuple[str, int]]:
    """(version, traces) in order; temporary table drift_versions (trace_id, version) holds who is in which."""
    con = corpus.con
    columns = {str(r[0]) for r in con.execute("DESCRIBE traces").fetchall()}
    if by in columns:
        value = f"SELECT trace_id, {by}::VARCHAR AS version FROM traces"
    elif con.execute("SELECT 1 FROM slices WHERE name = ? LIMIT 1", [by]).fetchone():
        quoted = by.replace("'", "''")
        value = f"SELECT trace_id, value AS version FROM slices WHERE name = '{quoted}'"
    elif by in PERIODS:
        value = f"SELECT trace_id, strftime(started_at, '{PERIODS[by]}') AS version FROM traces"
    else:
        names = ", ".join(str(r[0]) for r in con.execute("SELECT DISTINCT name FROM slices ORDER BY 1").fetchall())
        raise NothingToCompare(
            f"there is no {by!r} to go by: neither a column of traces, nor a slice ({names}), nor a period"
        )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE drift_versions AS SELECT * FROM ({value}) "
        f"WHERE version IS NOT NULL AND trace_id IN ({eligible})"
    )
    rows = con.execute(
        "SELECT version, n FROM (SELECT version, count(*) AS n, min(started_at) AS since FROM drift_versions "
        f"JOIN traces USING (trace_id) GROUP BY 1 ORDER BY n DESC, version LIMIT {MOST_VERSIONS}) ORDER BY since, version"
    ).fetchall()
    if len(rows) < 2:
        raise NothingToCompare(f"by {by!r} there is {len(rows)} version, and a comparison needs two")
    return [(str(r[0]), int(r[1])) for r in rows]


def _pairs(groups: list[tuple[str, int]], against: str) -> list[tuple[str, str]]:
    names = [name for name, _ in groups]
    if against == "previous":
        return list(zip(names[1:], names[:-1], strict=True))
    base = names[0] if against == "first" else against
    if base not in names:
        raise NothingToCompare(f"there is no version {base!r}; there are {', '.join(names)}")
    return [(name, base) for name in names if name != base]


def _members(version: str) -> str:
    quoted = version.replace("'", "''")
    return f"SELECT trace_id FROM drift_versions WHERE version = '{quoted}'"


def _strata(strata: str | None, by: str) -> str | None:
    return None if strata == by else strata


def _told(frame: pd.DataFrame, min_effect: float) -> pd.DataFrame:
    import numpy as np

    effect, share = frame["effect"].to_numpy(float), (frame["kind"] != "number").to_numpy()
    value, other = frame["value"].to_numpy(float), frame["value_against"].to_numpy(float)
    change = np.where(effect > 0, "up", "down").astype(object)
    change[share & (other == 0)] = "new"
    change[share & (value == 0)] = "gone"
    sure = (frame["q"] <= 0.1).to_numpy()
    change[~sure] = "same"
    outside = (frame["low"] > min_effect) | (frame["high"] < -min_effect)
    return frame.assign(change=change, alert=sure & outside.to_numpy())
