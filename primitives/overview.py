"""The first look at a corpus: one page of counts, computed in SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from primitives.registry import verb

if TYPE_CHECKING:
    from primitives.corpus import Corpus

MAX_CHARS = 6_000
SHOWN = 8  # rows of a list; the rest is counted
Rows = list[tuple[Any, ...]]


@verb
def overview(corpus: Corpus) -> str:
    """One page on the corpus: size, outcomes, agents, tasks, tools, tokens, cost, time, detectors, slices, coverage.

    Also: which columns are filled and how far, how runs ended, reference data that came with the traces, and what ingest
    could not read. Returns text of at most 6,000 characters; every figure is a count over all traces.

    >>> overview()
    """
    asked: list[Callable[[Corpus], str]] = [
        _size, _outcomes, _ends, _agents, _tasks, _slices, _tools, _spent, _fired, _steps, _reference, _coverage, _issues,
    ]  # fmt: skip
    parts = [text for section in asked if (text := section(corpus))]
    return _within("\n".join(parts), MAX_CHARS)


def _within(text: str, cap: int) -> str:
    note = "\n… [cut: ask for the rest with sql]"
    return text if len(text) <= cap else text[: cap - len(note)] + note


def _rows(corpus: Corpus, sql: str) -> Rows:
    return corpus.con.execute(sql).fetchall()


def _one(corpus: Corpus, sql: str) -> tuple[Any, ...]:
    row = corpus.con.execute(sql).fetchone()
    assert row is not None
    return row


def rate(passed: Any, judged: Any) -> str:
    """`3 of 4 pass`, or what is missing."""
    return f"{passed:,} of {judged:,} pass" if judged else "no verdicts"


def _size(corpus: Corpus) -> str:
    traces, steps, calls, errors, models, sources, formats, subs, first, last = _one(
        corpus,
        """SELECT count(*), coalesce(sum(n_steps), 0)::BIGINT, coalesce(sum(n_tool_calls), 0)::BIGINT,
            coalesce(sum(n_tool_errors), 0)::BIGINT, coalesce(sum(n_llm_calls), 0)::BIGINT,
            count(DISTINCT source_id), (SELECT string_agg(DISTINCT format, ', ' ORDER BY format) FROM sources
                WHERE source_id IN (SELECT source_id FROM traces)),
            count(parent_trace_id), min(started_at)::DATE, max(started_at)::DATE FROM traces""",
    )
    lines = [
        f"CORPUS {corpus.path.name}: {traces:,} traces, {steps:,} steps, {models:,} model calls, {calls:,} tool calls "
        f"({errors:,} errors), from {sources:,} sources ({formats})"
    ]
    if subs:
        lines.append(f"  {subs:,} of the traces belong to another one (subagent, fork, continuation …: `relation`)")
    if first:
        lines.append(f"  started {first} to {last}")
    return "\n".join(lines)


def _outcomes(corpus: Corpus) -> str:
    passed, failed, unlabelled, scored, low, mean, high = _one(
        corpus,
        """SELECT count(*) FILTER (success), count(*) FILTER (NOT success), count(*) FILTER (success IS NULL), count(score), min(score),
            avg(score), max(score) FROM traces""",
    )
    judged = passed + failed
    share = f" ({passed / judged:.0%} of those judged)" if judged else ""
    text = f"OUTCOMES {passed:,} passed{share}, {failed:,} failed, {unlabelled:,} without a verdict"
    if scored and not (low in (0, 1) and high in (0, 1) and scored == judged):
        text += f"; score: {scored:,} traces, {low:g} to {high:g}, mean {mean:.3g}"
    return text


def _listed(rows: Rows, total: int, line: Callable[[tuple[Any, ...]], str]) -> str:
    text = "\n".join(f"  {line(r)}" for r in rows)
    return text + (f"\n  … and {total - len(rows):,} more" if total > len(rows) else "")


def _grouped(corpus: Corpus, title: str, key: str, where: str) -> str:
    rows = _rows(
        corpus,
        f"""SELECT {key} AS key, count(*) AS n, count(*) FILTER (success), count(success), count(*) OVER () FROM traces
            WHERE {where} GROUP BY 1 ORDER BY n DESC, key LIMIT {SHOWN}""",
    )
    if not rows:
        return ""
    return f"{title}\n" + _listed(rows, rows[0][4], lambda r: f"{str(r[0])[:100]}: {r[1]:,} traces, {rate(r[2], r[3])}")


def _agents(corpus: Corpus) -> str:
    key = "concat_ws(' · ', agent, agent_version, framework, model)"
    return _grouped(corpus, "AGENTS AND MODELS", key, f"{key} <> ''")


def _ends(corpus: Corpus) -> str:
    return _grouped(
        corpus, "ENDED", "concat_ws(' / ', end_reason, error_type)", "coalesce(end_reason, 'unknown') <> 'unknown'"
    )


def _tasks(corpus: Corpus) -> str:
    tasks, repeated, never, always, mixed, most, datasets = _one(
        corpus,
        """SELECT count(*), count(*) FILTER (n > 1), count(*) FILTER (judged > 1 AND passed = 0),
            count(*) FILTER (judged > 1 AND passed = judged), count(*) FILTER (passed > 0 AND passed < judged), max(n),
            (SELECT count(DISTINCT dataset) FROM traces)
            FROM (SELECT count(*) AS n, count(*) FILTER (success) AS passed, count(success) AS judged FROM traces
            WHERE task_id IS NOT NULL GROUP BY dataset, task_id)""",
    )
    if not tasks:
        return "TASKS no task ids: contrasts cannot be adjusted for task"
    text = f"TASKS {tasks:,} in {max(datasets, 1)} dataset(s), {repeated:,} run more than once (at most {most})"
    if repeated:
        text += f"; of those with repeats {never:,} never pass, {always:,} always pass, {mixed:,} sometimes"
    return text


def _slices(corpus: Corpus) -> str:
    rows = _rows(
        corpus,
        f"""
        WITH counted AS (SELECT s.name, s.value, count(*) AS n, count(*) FILTER (t.success) AS passed,
            count(t.success) AS judged FROM slices s JOIN traces t USING (trace_id)
            WHERE s.name NOT IN ('agent', 'model', 'end_reason', 'native_end_reason') GROUP BY 1, 2),
        ranked AS (SELECT *, row_number() OVER (PARTITION BY name ORDER BY n DESC, value) AS place,
            count(*) OVER (PARTITION BY name) AS n_values FROM counted)
        SELECT name, any_value(n_values), string_agg(left(value, 40) || ' ' || n ||
            CASE WHEN judged > 0 THEN ' (' || round(100.0 * passed / judged)::INTEGER || '% pass)' ELSE '' END, ', '
            ORDER BY place), count(*) OVER () FROM ranked WHERE place <= 6 GROUP BY name
        ORDER BY sum(n) DESC, name LIMIT {SHOWN}""",
    )
    if not rows:
        return ""
    more = lambda r: f", … {r[1] - 6} more" if r[1] > 6 else ""  # noqa: E731
    return "SLICES (table slices: name, value)\n" + _listed(rows, rows[0][3], lambda r: f"{r[0]}: {r[2]}{more(r)}")


def _tools(corpus: Corpus) -> str:
    rows = _rows(
        corpus,
        """SELECT name, count(*) AS n, count(DISTINCT trace_id), count(*) FILTER (status = 'error'),
            count(*) FILTER (status IN ('denied', 'cancelled', 'pending')), count(*) OVER () FROM tool_calls
            GROUP BY name ORDER BY n DESC, name LIMIT 14""",
    )
    if not rows:
        return "TOOLS none called"

    def line(r: tuple[Any, ...]) -> str:
        odd = f", {r[4]:,} denied, cancelled or unanswered" if r[4] else ""
        return f"{str(r[0])[:60]}: {r[1]:,} calls in {r[2]:,} traces, {r[3]:,} errors{odd}"

    return "TOOLS\n" + _listed(rows, rows[0][5], line)


def _spent(corpus: Corpus) -> str:
    lines = []
    for column, what, form in (
        ("n_steps", "steps per trace", ",.0f"),
        ("input_tokens", "input tokens", ",.0f"),
        ("output_tokens", "output tokens", ",.0f"),
        ("cost_usd", "cost in USD", ",.4g"),
        ("duration_s", "seconds", ",.1f"),
    ):
        n, total, middle, p95, most = _one(
            corpus,
            f"SELECT count({column}), sum({column})::DOUBLE, quantile_cont({column}, 0.5), "
            f"quantile_cont({column}, 0.95), max({column}) FROM traces",
        )
        if n:
            lines.append(
                f"  {what}: total {total:{form}}, median {middle:{form}}, 95th percentile {p95:{form}}, "
                f"most {most:{form}} (known for {n:,})"
            )
    return "SPENT\n" + "\n".join(lines) if lines else ""


def _fired(corpus: Corpus) -> str:
    rows = _rows(
        corpus,
        """SELECT detector, count(*) AS n, count(*) FILTER (success), count(success), sum(k)::BIGINT, count(*) OVER () FROM
            (SELECT detector, trace_id, count(*) AS k FROM signals GROUP BY 1, 2) JOIN traces USING (trace_id)
            GROUP BY 1 ORDER BY n DESC, 1 LIMIT 14""",
    )
    if not rows:
        return "DETECTORS none fired"
    return "DETECTORS (table signals)\n" + _listed(
        rows, rows[0][5], lambda r: f"{r[0]}: {r[1]:,} traces ({r[4]:,} times), {rate(r[2], r[3])}"
    )


def _steps(corpus: Corpus) -> str:
    rows = _rows(
        corpus,
        """SELECT concat_ws('/', kind, role, origin) AS key, count(*) AS n, count(*) OVER () FROM steps
            GROUP BY 1 ORDER BY n DESC, key LIMIT 10""",
    )
    return "STEPS (kind/role/origin) " + ", ".join(f"{r[0]} {r[1]:,}" for r in rows) if rows else ""


def _reference(corpus: Corpus) -> str:
    expected = _rows(
        corpus, "SELECT kind, count(*), count(DISTINCT trace_id) FROM expected GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    notes = _rows(
        corpus,
        "SELECT kind || ' ' || name, count(*) AS n, count(DISTINCT trace_id) FROM annotations GROUP BY 1 "
        "ORDER BY n DESC, 1 LIMIT 8",
    )
    labels = _rows(
        corpus,
        "SELECT kind || ' ' || name, count(*) AS n, count(DISTINCT trace_id) FROM labels GROUP BY 1 ORDER BY n DESC, 1 "
        "LIMIT 8",
    )
    return "\n".join(
        f"{title} " + ", ".join(f"{r[0]}: {r[1]:,} in {r[2]:,} traces" for r in rows)
        for title, rows in (("REFERENCE DATA (table expected)", expected), ("ANNOTATIONS", notes), ("LABELS", labels))
        if rows
    )


def _coverage(corpus: Corpus) -> str:
    names = [
        r[0]
        for r in _rows(
            corpus,
            "SELECT column_name FROM duckdb_columns() WHERE table_name = 'traces' AND column_name NOT IN "
            "('trace_id', 'source_id', 'root_trace_id', 'metadata', 'extra', 'tags', 'models') ORDER BY column_index",
        )
    ]
    counts = _one(corpus, "SELECT count(*), " + ", ".join(f'count("{n}")' for n in names) + " FROM traces")
    total, filled = counts[0], dict(zip(names, counts[1:], strict=True))
    if not total:
        return ""
    part = [f"{n} {k / total:.0%}" for n, k in filled.items() if 0 < k < total]
    empty = [n for n, k in filled.items() if k == 0]
    text = "COLUMNS of traces: all filled but"
    return f"{text} (partly) {', '.join(part) or '-'}; (never) {', '.join(empty) or '-'}"


def _issues(corpus: Corpus) -> str:
    rows = _rows(
        corpus,
        f"""SELECT code, coalesce(severity, 'warning'), sum(coalesce(n, 1))::BIGINT AS n, left(min(detail), 90),
            count(*) OVER () FROM ingest_issues GROUP BY 1, 2 ORDER BY n DESC, code LIMIT {SHOWN}""",
    )
    if not rows:
        return "INGEST no issues"
    return "INGEST ISSUES\n" + _listed(rows, rows[0][4], lambda r: f"{r[0]} ({r[1]}): {r[2]:,}, e.g. {r[3]}")
