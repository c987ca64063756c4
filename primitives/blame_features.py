"""What is known of each step before one says where a run went wrong: numbers between 0 and 1, by one query.

A candidate is a step in which an agent speaks or acts; what tools returned counts for the step that called them. Every
feature compares a step with its own trace only, so that none depends on which other traces are in the corpus. The words
searched for are English.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from primitives.mutating import mutating_tools

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

# name: (how it is worked out, what a high value says to a reader, what a low one says; empty: nothing worth saying)
FEATURES = {
    "opening": ("1 / (1 + place)", "at the beginning", ""),
    "late": ("place / greatest(last_place, 1)", "far on in the run", "early in the run"),
    "last": ("place = last_place", "last step", ""),
    "first_call": ("calls > 0 AND calls_before = 0", "first call of the run", ""),
    "call_empty": ("empty > 0", "its call returned next to nothing", ""),
    "call_succeeded": ("calls > failed + empty", "its call succeeded", "no call of it succeeded"),
    "before_any_failure": (
        "failed_before = 0 AND failed_after > 0 AND failed = 0",
        "comes before the first failed call",
        "at or after the first failed call",
    ),
    "after_failure": ("failed_last > 0", "comes right after a failed call", "does not come right after a failed call"),
    "failures_before": ("least(failed_before, 4) / 4", "several calls failed before", ""),
    "agent_changes": ("agent_changes", "another agent takes over", ""),
    "agent_is_new": ("newcomer", "the agent's first step", "not the agent's first step"),
    "long": ("length / greatest(longest, 1)", "among the longest steps of the run", ""),
    "short": ("length < 60", "says next to nothing", ""),
    "code": ("code", "writes code", ""),
    "new_names": ("coalesce(new_names / n_names, 0)", "names and numbers not mentioned before", ""),
    "new_numbers": (
        "CASE WHEN calls = 0 THEN least(coalesce(new_numbers, 0), 5) / 5 ELSE 0 END",
        "states new numbers without a call",
        "",
    ),
    "answer": ("coalesce(brought / n_answer, 0)", "what the run ends on appears here first", ""),
    "assumes": ("assumes", "assumes or makes up data", ""),
    "concludes": ("concludes", "draws a conclusion", ""),
    "first_conclusion": ("concludes AND concluded_before = 0", "first conclusion of the run", ""),
    "unable": ("unable", "says that something cannot be done or found", ""),
    "signal": ("signals > 0", "a detector fired", ""),
    "first_change": ("changes > 0 AND changes_before = 0", "first call that changes something", ""),
    "first_deviation": ("departs AND departed_before = 0", "first departure from the reference", ""),
}

MOST_CHARS = 20_000  # of one step's text, arguments or result that are looked at
SHORT_RESULT = 60  # characters up to which a result counts as next to nothing
SHORT_STEP = 40  # characters below which a last step ("TERMINATE") is not what the run ends on

_NAME = r"\d+(?:[.,:]\d+)*|[A-Z][A-Za-z][A-Za-z]+"
_ASSUMES = (
    r"\b(assum\w+|hypothetical\w*|simulat\w+|placeholder|mock|dummy|let''s say|"
    r"for (the sake|demonstration|illustration))\b"
)
_CONCLUDES = r"\b(the (final |correct )?answer|conclu\w+|confirm(s|ed)|therefore|in summary|has been (verified|solved|completed))\b"
_UNABLE = (
    r"\b(unable|cannot|can not|can''t|could not|couldn''t|no (results?|data)|"
    r"not (able|possible|feasible|found|available|provided))\b"
)

_SQL = f"""
WITH chosen AS ({{chosen}}),
said AS (
  SELECT trace_id, seq, agent, left(concat_ws(' ', text, reasoning), {MOST_CHARS}) AS text,
    coalesce(text_len, length(text), 0) AS length, role = 'tool' AS returned,
    role = 'assistant' AND origin IS DISTINCT FROM 'harness' AS candidate
  FROM steps WHERE trace_id IN (FROM chosen) AND on_path IS DISTINCT FROM false AND kind <> 'compaction'),
calls AS (
  SELECT *, call_seq AS seq, status IN ('error', 'denied') AS bad,
    list_contains($mutating::VARCHAR[], name) AS mutating FROM tool_calls
  WHERE trace_id IN (FROM chosen) AND call_seq IS NOT NULL AND requestor IS DISTINCT FROM 'user'),
called AS (
  SELECT trace_id, seq, count(*) AS calls, count_if(bad) AS failed, count_if(mutating AND NOT bad) AS changes,
    count_if(NOT bad AND coalesce(result_len, length(result_text)) <= {SHORT_RESULT}) AS empty FROM calls GROUP BY 1, 2),
fired AS (
  SELECT trace_id, unnest(list_distinct([seq, coalesce(start_seq, seq)])) AS seq, count(*) AS signals
  FROM signals WHERE trace_id IN (FROM chosen) AND severity <> 'info' GROUP BY 1, 2),
departed AS (SELECT DISTINCT trace_id, seq, true AS departs FROM deviations WHERE seq IS NOT NULL),
placed AS (
  SELECT trace_id, seq, agent, length, row_number() OVER line - 1 AS place, count(*) OVER whole - 1 AS last_place,
    max(length) OVER whole AS longest, coalesce(calls, 0) AS calls, coalesce(failed, 0) AS failed,
    coalesce(empty, 0) AS empty, coalesce(changes, 0) AS changes, coalesce(departs, false) AS departs,
    coalesce(signals, 0) AS signals, coalesce(agent <> lag(agent) OVER line, false) AS agent_changes,
    agent IS NOT NULL AND row_number() OVER (PARTITION BY trace_id, agent ORDER BY seq) = 1 AS newcomer,
    contains(text, '```') AS code, regexp_matches(text, '{_ASSUMES}', 'i') AS assumes,
    regexp_matches(text, '{_CONCLUDES}', 'i') AS concludes, regexp_matches(text, '{_UNABLE}', 'i') AS unable
  FROM said LEFT JOIN called USING (trace_id, seq) LEFT JOIN fired USING (trace_id, seq)
    LEFT JOIN departed USING (trace_id, seq) WHERE candidate
  WINDOW line AS (PARTITION BY trace_id ORDER BY seq), whole AS (PARTITION BY trace_id)),
told AS ( -- in the order of `stands`; what a call returned belongs to the step that called
  SELECT trace_id, seq, seq::DOUBLE AS stands, text FROM said WHERE NOT returned
  UNION ALL SELECT trace_id, seq, seq, left(args_text, {MOST_CHARS}) FROM calls
  UNION ALL SELECT trace_id, seq, coalesce(result_seq, seq + 0.5), left(result_text, {MOST_CHARS}) FROM calls),
named AS (
  SELECT DISTINCT trace_id, seq, stands, unnest(list_distinct(regexp_extract_all(text, '{_NAME}'))) AS name FROM told),
firsts AS (SELECT trace_id, name, min(stands) AS first_at, arg_min(seq, stands) AS first_seq FROM named GROUP BY 1, 2),
novelty AS (
  SELECT trace_id, seq, count(*) AS n_names, count_if(first_at = stands) AS new_names,
    count_if(first_at = stands AND name[1] BETWEEN '0' AND '9') AS new_numbers
  FROM named JOIN firsts USING (trace_id, name) WHERE stands = seq GROUP BY 1, 2),
ending AS (SELECT trace_id, max(seq) AS seq FROM placed WHERE length >= {SHORT_STEP} GROUP BY trace_id),
answer AS ( -- the names and numbers a run ends on, but for those of its first step, the task
  SELECT trace_id, first_seq AS seq FROM ending JOIN named USING (trace_id, seq) JOIN firsts USING (trace_id, name)
  JOIN (SELECT trace_id, min(seq) AS start FROM said GROUP BY trace_id) USING (trace_id)
  WHERE stands = named.seq AND first_seq > start),
brought AS (
  SELECT trace_id, seq, count(*) AS brought, sum(count(*)) OVER (PARTITION BY trace_id) AS n_answer
  FROM answer SEMI JOIN placed USING (trace_id, seq) GROUP BY 1, 2),
seen AS (
  SELECT *, coalesce(sum(calls) OVER before, 0) AS calls_before, coalesce(sum(failed) OVER before, 0) AS failed_before,
    coalesce(sum(failed) OVER after, 0) AS failed_after,
    coalesce(sum(concludes::INTEGER) OVER before, 0) AS concluded_before,
    coalesce(sum(changes) OVER before, 0) AS changes_before,
    coalesce(sum(departs::INTEGER) OVER before, 0) AS departed_before,
    coalesce(lag(failed) OVER (PARTITION BY trace_id ORDER BY seq), 0) AS failed_last
  FROM placed LEFT JOIN novelty USING (trace_id, seq) LEFT JOIN brought USING (trace_id, seq)
  WINDOW before AS (PARTITION BY trace_id ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
    after AS (PARTITION BY trace_id ORDER BY seq ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING))
SELECT trace_id, seq, agent, {{columns}} FROM seen ORDER BY trace_id, seq"""


def features(corpus: Corpus, chosen: str) -> pd.DataFrame:
    """trace_id, seq, agent and every feature, one row per candidate of the traces of the SELECT `chosen`, in order."""
    columns = ", ".join(f"({sql})::DOUBLE AS {name}" for name, (sql, _, _) in FEATURES.items())
    query = _SQL.format(chosen=chosen, columns=columns)
    return corpus.con.execute(query, {"mutating": mutating_tools(corpus)}).df()
