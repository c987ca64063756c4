"""Inspect Scout: transcript databases (Parquet), one trace a row. Results of scans are recognised and hold no trace.

    transcript_id | source_type | source_uri | task_set | task_id | task_repeat | agent | model | score | success | total_time |
    total_tokens | error | limit | messages | events | … any other column is metadata

`messages` and `events` are Inspect's own JSON in text, read as in its logs, with attachments where a column holds them. Outcome:
`success`. Trial: `task_repeat`. Tokens: the model events, else `total_tokens` stays metadata (it does not tell input from output).
Rows are read one row group after another. Dropped: `timelines`, the `_index` beside the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.inspect_log import LIMITS, attached, conversation, events_of, verdict
from insights.corpus.formats.payload import decoded
from insights.corpus.parse import mapping, mappings, number, word
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_name, as_text

PLACED = {"transcript_id", "source_type", "source_id", "source_uri", "date", "task_set", "task_id", "task_repeat", "agent",
          "model", "score", "success", "total_time", "error", "limit", "messages", "events", "events_data", "timelines",
          "attachments", "agent_args", "model_options", "message_count", "score_explanation", "trust_content", "filename"}  # fmt: skip
AT_ONCE = 8  # unit: rows; one may be tens of megabytes


def columns(head: Head) -> set[str]:
    """The columns of a Parquet file; empty for anything else."""
    if head.magic != "parquet":
        return set()
    import pyarrow.parquet as pq

    try:
        return {str(n) for n in pq.read_schema(head.path).names}
    except (OSError, ValueError):
        return set()


def _detect(head: Head) -> Confidence | None:
    names = columns(head)
    return "certain" if {"transcript_id", "messages"} <= names and "scanner_key" not in names else None


def _detect_results(head: Head) -> Confidence | None:
    names = columns(head)
    return "certain" if "transcript_id" in names and any(n.startswith("scanner_") for n in names) else None


def _detect_index(head: Head) -> Confidence | None:
    names = columns(head)
    known = {"transcript_id", "source_type", "source_uri"} & names
    return (
        "likely"
        if len(known) == 3 and "messages" not in names and not any(n.startswith("scanner_") for n in names)
        else None
    )


def _detect_scan(head: Head) -> Confidence | None:
    first = head.first
    return "certain" if {"scan_id", "scan_name"} <= first.keys() or {"spec", "scan_id"} <= first.keys() else None


mark("inspect_scout_results", title="Inspect Scout scan results", rank=13, role="other", detect=_detect_results)
mark("inspect_scout_index", title="Inspect Scout index", rank=13, role="other", detect=_detect_index)
mark("inspect_scout_scan", title="Inspect Scout scan", rank=13, role="other", detect=_detect_scan)


@reader("inspect_scout", title="Inspect Scout transcripts (Parquet)", rank=13, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(source.path) as file:
        names = [n for n in file.schema_arrow.names if n not in ("timelines", "trust_content")]
        at = 0
        for batch in file.iter_batches(batch_size=AT_ONCE, columns=names):
            for row in batch.to_pylist():
                source.n_records += 1
                record = Record({k: v for k, v in row.items() if v is not None}, pointer=f"/{at}")
                yield from source.attempt(record, _trace, record.value, record)
                at += 1


def _trace(row: Mapping[str, Any], record: Record) -> Trace:
    t = Trace("inspect_scout", as_name(row.get("transcript_id")) or str(record.pointer))
    held = mapping(decoded(row.get("attachments")))
    messages, events = (mappings(attached(decoded(row.get(k)), held)) for k in ("messages", "events"))
    t.framework = {"inspect_log": "inspect_ai"}.get(word(row.get("source_type")), as_name(row.get("source_type")))
    t.dataset, t.task_id = as_name(row.get("task_set")), as_name(row.get("task_id"))
    t.trial = row["task_repeat"] if isinstance(row.get("task_repeat"), int) else None
    t.agent, t.model = as_name(row.get("agent")), as_name(row.get("model"))
    stamp: Any = row.get("date")
    t.started_at = timestamp(stamp.isoformat() if hasattr(stamp, "isoformat") else stamp)
    t.duration_s = number(row.get("total_time"))
    for name in ("source_id", "source_uri"):
        if row.get(name):
            t.metadata[name] = as_name(row[name])
    for name, value in row.items():
        value = decoded(value) if name not in PLACED else None
        if isinstance(value, (str, int, float, bool)) and len(str(value)) < 2000:
            t.metadata[name] = value
    t.slice("task", t.dataset)
    conversation(t, messages, f"{record.pointer}/messages")
    events_of(t, events)
    _outcome(t, row)
    return t


def _outcome(t: Trace, row: Mapping[str, Any]) -> None:
    score = decoded(row.get("score"))
    for name, value in score.items() if isinstance(score, dict) else [("score", score)]:
        if value is not None:
            grade, passed = verdict(value)
            why = as_text(row.get("score_explanation"))
            t.annotate("score", str(name), value=grade, label=None if grade is not None else as_text(value), passed=passed,
                       explanation=why, basis="ground_truth")  # fmt: skip
    if not isinstance(score, dict) and score is not None:
        t.score, t.success = verdict(score)
        t.score_name = "score"
    if isinstance(row.get("success"), bool):
        t.success, t.score_name = row["success"], t.score_name or "success"
    error, limit = as_text(row.get("error")), as_name(row.get("limit"))
    if error:
        t.end_reason, t.error_message = "error", error[:2000]
        t.step("environment", error, kind="error", origin="harness", is_error=True)
    elif limit:
        t.end_reason, t.native_end_reason = LIMITS.get(limit, "unknown"), limit
