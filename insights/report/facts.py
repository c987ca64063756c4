"""A corpus and a trace as plain data for programs: what `insights info` and `insights show` give as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from primitives.corpus import Corpus

LISTED = 200  # of tools, models, detectors, slices: the commonest; a corpus with more says so in `n_…`
SLICE_VALUES = 20  # of one slice


def facts(corpus: Corpus) -> dict[str, Any]:
    """Size, outcomes, agents, tools, detectors, slices, tables and what could not be read; every list is bounded."""
    tools = _rows(
        corpus,
        "SELECT name, count(*) AS calls, count(*) FILTER (status = 'error') AS errors, count(DISTINCT trace_id) AS traces "
        f"FROM tool_calls GROUP BY name ORDER BY calls DESC, name LIMIT {LISTED}",
    )
    return {
        "path": str(corpus.path),
        **_rows(corpus, "SELECT schema_version, fingerprint, created_at FROM corpus_info")[0],
        **_rows(corpus, TOTALS)[0],
        "models": _rows(corpus, _counted("model")),
        "agents": _rows(corpus, _counted("agent")),
        "agent_versions": _rows(corpus, _counted("agent_version")),
        "end_reasons": _rows(corpus, _counted("end_reason")),
        "tools": tools,
        "detectors": _rows(
            corpus,
            "SELECT detector, count(*) AS signals, count(DISTINCT trace_id) AS traces, "
            "count(DISTINCT trace_id) FILTER (NOT success) AS failed FROM signals JOIN traces USING (trace_id) "
            f"GROUP BY detector ORDER BY traces DESC, detector LIMIT {LISTED}",
        ),
        "slices": _slices(corpus),
        "formats": _rows(
            corpus,
            "SELECT format, count(*) AS sources, sum(n_bad)::BIGINT AS bad_records FROM sources GROUP BY 1 ORDER BY 2 DESC",
        ),
        "ingest_issues": _rows(
            corpus,
            "SELECT code, severity, sum(n)::BIGINT AS n FROM ingest_issues GROUP BY ALL ORDER BY n DESC LIMIT 100",
        ),
        "tables": _tables(corpus),
    }


TOTALS = """
SELECT count(*) AS n_traces, count(*) FILTER (success) AS n_passed, count(*) FILTER (NOT success) AS n_failed,
  count(*) FILTER (success IS NULL) AS n_unlabelled, count(DISTINCT (dataset, task_id)) FILTER (task_id IS NOT NULL) AS n_tasks,
  coalesce(sum(n_steps), 0)::BIGINT AS n_steps, coalesce(sum(n_tool_calls), 0)::BIGINT AS n_tool_calls,
  coalesce(sum(n_tool_errors), 0)::BIGINT AS n_tool_errors, sum(input_tokens)::BIGINT AS input_tokens,
  sum(output_tokens)::BIGINT AS output_tokens, sum(cost_usd) AS cost_usd, sum(duration_s) AS duration_s,
  min(started_at) AS first_started, max(started_at) AS last_started
FROM traces"""


def _counted(column: str) -> str:
    return (
        f"SELECT {column} AS name, count(*) AS traces, count(*) FILTER (success) AS passed, "
        f"count(*) FILTER (NOT success) AS failed FROM traces WHERE {column} IS NOT NULL "
        f"GROUP BY 1 ORDER BY traces DESC, name LIMIT {LISTED}"
    )


def _slices(corpus: Corpus) -> list[dict[str, Any]]:
    rows = _rows(
        corpus,
        "SELECT name, value, count(*) AS traces, count(*) FILTER (success) AS passed, count(*) FILTER (NOT success) AS failed "
        "FROM slices JOIN traces USING (trace_id) GROUP BY name, value "
        f"QUALIFY row_number() OVER (PARTITION BY name ORDER BY count(*) DESC, value) <= {SLICE_VALUES} "
        "ORDER BY name, traces DESC, value",
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.pop("name"), []).append(row)
    return [{"name": name, "values": values} for name, values in found.items()]


def _tables(corpus: Corpus) -> dict[str, Any]:
    columns = corpus.con.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() "
        "WHERE NOT internal AND NOT starts_with(table_name, 'cohort_') ORDER BY table_name, column_index"
    ).fetchall()
    tables: dict[str, Any] = {}
    for table, column, kind in columns:
        tables.setdefault(table, {"rows": 0, "columns": {}})["columns"][column] = kind
    for table in tables:
        row = corpus.con.execute(f'SELECT count(*) FROM "{table}"').fetchone()
        tables[table]["rows"] = row[0] if row else 0
    return tables


def trace_facts(corpus: Corpus, trace_id: str, start: int = 0, end: int | None = None) -> dict[str, Any]:
    """One trace whole: its row, its steps with their tool calls and signals, annotations and reference data.

    `start` and `end` bound the steps, `end` not included.
    """
    of_trace = [trace_id]
    steps = _rows(
        corpus,
        "SELECT seq, kind, role, origin, agent, ts, duration_ms, text, reasoning, is_error FROM steps "
        "WHERE trace_id = ? AND seq >= ? AND seq < ? ORDER BY seq",
        [trace_id, start, 2**31 - 1 if end is None else end],
    )
    calls = _rows(
        corpus,
        "SELECT call_seq, result_seq, name, args_text, status, error_message, exit_code, duration_ms, requestor "
        "FROM tool_calls WHERE trace_id = ? ORDER BY call_seq, call_index",
        of_trace,
    )
    signals = _rows(
        corpus,
        "SELECT seq, start_seq, detector, severity, n, detail FROM signals WHERE trace_id = ? ORDER BY seq, detector",
        of_trace,
    )
    by_seq = {step["seq"]: step for step in steps}
    for step in steps:
        step["tool_calls"], step["signals"] = [], []
    for name, rows, key in (("tool_calls", calls, "call_seq"), ("signals", signals, "seq")):
        for row in rows:
            if row[key] in by_seq:
                by_seq[row[key]][name].append(row)
    return {
        "trace": _rows(corpus, "SELECT * FROM traces WHERE trace_id = ?", of_trace)[0],
        "steps": steps,
        "annotations": _rows(
            corpus, "SELECT * EXCLUDE (trace_id) FROM annotations WHERE trace_id = ? ORDER BY seq", of_trace
        ),
        "expected": _rows(
            corpus, "SELECT * EXCLUDE (trace_id) FROM expected WHERE trace_id = ? ORDER BY idx", of_trace
        ),
        "slices": {
            r["name"]: r["value"] for r in _rows(corpus, "SELECT name, value FROM slices WHERE trace_id = ?", of_trace)
        },
    }


def _rows(corpus: Corpus, query: str, arguments: list[Any] | None = None) -> list[dict[str, Any]]:
    result = corpus.con.execute(query, arguments or [])
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
