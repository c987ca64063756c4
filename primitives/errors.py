"""Tool errors by signature: what varies is masked, so that one cause is one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve
from primitives.registry import verb
from primitives.templates import merge, salient_sql, template_sql

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

ROWS = 50
READ_CHARS = 4_000  # unit: characters of an error that its signature is made of
QUOTE_CHARS = 300


@verb
def errors(corpus: Corpus, population: Any = None, *, tool: str | None = None) -> pd.DataFrame:
    """Tool errors grouped by signature (numbers, ids, paths masked): how many, which tools, recovered or not, outcomes.

    population: which traces (a SELECT of trace_id, a WHERE over `traces`, a cohort's name, ids); all when None.
    tool: one tool's errors; all when None.

    Columns: template, n_calls, n_traces, tools, recovered (share of these errors after which the same tool succeeds in the
        same trace, 0 to 1), passed, judged (of n_traces, those with a verdict), trace_id, seq, quote (first example, from
        the part that the signature is made of; verbatim, can be cited).
    At most 50 rows, most traces first; `attrs["left_out"]` counts the rest. Steps of kind 'error' that no tool answered
    count with tool 'none'. Method: masking, then templates that agree in 70 % of their words are joined as Drain does
    (He et al. 2017), most frequent first.

    >>> errors("NOT success")
    """
    con = corpus.con
    con.execute(_calls(resolve(corpus, population)), {"tool": tool})
    found = con.execute("SELECT masked, count(*) FROM error_calls GROUP BY 1 ORDER BY 1").fetchall()
    names = merge([row[0] for row in found], [row[1] for row in found])
    table = con.execute(_GROUPED, {"masked": [row[0] for row in found], "names": names}).df()
    con.execute("DROP TABLE error_calls")
    shown = table.head(ROWS)
    shown.attrs["left_out"] = len(table) - len(shown)
    return shown


def _calls(eligible: str) -> str:
    """SQL making the temporary table error_calls: one row per failed call, its text masked. Parameter: $tool."""
    return f"""
CREATE OR REPLACE TEMP TABLE error_calls AS
WITH eligible AS (SELECT trace_id, success FROM traces WHERE trace_id IN ({eligible})),
last_ok AS (SELECT trace_id, name, max(call_seq) AS ok_seq FROM tool_calls WHERE status = 'ok' GROUP BY 1, 2),
failed AS (
  SELECT c.trace_id, coalesce(c.result_seq, c.call_seq) AS seq, coalesce(c.name, 'none') AS tool,
      left(coalesce(nullif(c.result_text, ''), c.error_message, c.error_type, ''), {READ_CHARS}) AS text,
      coalesce(o.ok_seq > c.call_seq, false) AS recovered
  FROM tool_calls c LEFT JOIN last_ok o ON o.trace_id = c.trace_id AND o.name = c.name
  WHERE c.status = 'error' AND ($tool IS NULL OR c.name = $tool)
  UNION ALL SELECT trace_id, seq, 'none', left(text, {READ_CHARS}), NULL FROM steps
  WHERE kind = 'error' AND $tool IS NULL)
SELECT trace_id, seq, tool, recovered, success, {template_sql("text")} AS masked,
    left({salient_sql("text")}, {QUOTE_CHARS}) AS quote FROM failed JOIN eligible USING (trace_id)"""


_GROUPED = """
WITH named AS (SELECT unnest($masked::VARCHAR[]) AS masked, unnest($names::VARCHAR[]) AS template),
by_tool AS (SELECT template, tool, count(*) AS k FROM error_calls JOIN named USING (masked) GROUP BY 1, 2),
tools AS (SELECT template, string_agg(tool || ' ' || k, ', ' ORDER BY k DESC, tool) AS tools FROM by_tool GROUP BY 1),
by_trace AS (SELECT template, trace_id, any_value(success) AS success, count(*) AS k,
    avg(recovered::INTEGER) AS recovered, min(seq) AS seq, arg_min(quote, seq) AS quote
    FROM error_calls JOIN named USING (masked) GROUP BY 1, 2)
SELECT template, sum(k)::BIGINT AS n_calls, count(*) AS n_traces, any_value(tools) AS tools,
    round(sum(recovered * k) / sum(k) FILTER (recovered IS NOT NULL), 4) AS recovered,
    count(*) FILTER (success) AS passed, count(success) AS judged, min(trace_id) AS trace_id,
    arg_min(seq, trace_id) AS seq, arg_min(quote, trace_id) AS quote
FROM by_trace JOIN tools USING (template) GROUP BY template ORDER BY n_traces DESC, n_calls DESC, template"""
