"""agentsview session exports: one row a session of some agent CLI, numbers only, no text.

    {"schema_version": 5, "database_id": "…", "sessions": [{"id": "s1", "agent": "claude", "started_at": "…", "turn_count": 2,
     "project": {"display_label": "shop"}, "model_usage": {"models": ["m"], "input_tokens": 300, "output_tokens": 60,
     "cost": {"microdollars": 12500}, "by_model": {"m": {"cost_source": "reported"}}}, "parent_session_id": null}]}

Every trace is `metadata_only`: no steps, so detectors abstain. Input excludes the cache (added here). A cost counts as
reported only where every model's is. Activity reports hold sums over sessions and are named, not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.parse import mapping
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

RELATIONS = {"subagent": "subagent", "fork": "fork", "continuation": "continuation", "sidechain": "subagent"}


def _detect(head: Head) -> Confidence | None:
    return "certain" if {"schema_version", "database_id"} <= head.first.keys() and head.tail_has("sessions") else None


mark(
    "agentsview_report",
    title="agentsview activity report",
    rank=20,
    role="other",
    detect=lambda head: "certain" if {"schema_version", "pricing", "bucket_unit"} <= head.first.keys() else None,
)


@reader("agentsview", title="agentsview session exports", rank=20, detect=_detect, single=True)
def read(source: Source) -> Iterator[Trace]:
    for record in source.records("sessions"):
        session = mapping(record.value)
        if isinstance(session.get("id"), str):
            yield _trace(session)
        else:
            source.n_bad += 1
            source.issue("not_a_session", f"the item at {record.pointer} has no id")


def _trace(session: dict[str, Any]) -> Trace:
    own, usage = session["id"], mapping(session.get("model_usage"))
    t = Trace("agentsview", own, session_id=own, agent=session.get("agent"), framework=session.get("agent"))
    t.fidelity = "metadata_only"
    t.started_at, t.ended_at = timestamp(session.get("started_at")), timestamp(session.get("ended_at"))
    if isinstance(session.get("duration_seconds"), (int, float)):
        t.duration_s = float(session["duration_seconds"])
    t.models = [str(m) for m in usage.get("models") or []]
    t.model = t.models[0] if t.models else None
    n = {k: v for k, v in usage.items() if isinstance(v, int) and not isinstance(v, bool)}
    if "input_tokens" in n:
        t.usage_basis = "reported_total"
        t.cache_read_tokens, t.cache_write_tokens = (
            n.get("cache_read_input_tokens"),
            n.get("cache_creation_input_tokens"),
        )
        t.input_tokens = n["input_tokens"] + (t.cache_read_tokens or 0) + (t.cache_write_tokens or 0)
        t.output_tokens, t.reasoning_tokens = n.get("output_tokens"), n.get("reasoning_tokens")
    sources = {mapping(m).get("cost_source") for m in mapping(usage.get("by_model")).values()}
    cost = mapping(usage.get("cost")).get("microdollars")
    if isinstance(cost, (int, float)) and sources == {"reported"}:
        t.cost_usd = cost / 1e6
    if session.get("parent_session_id"):
        t.relation = RELATIONS.get(str(session.get("relationship_type")), "continuation")
        t.parent_trace_id = f"agentsview:{session['parent_session_id']}"
    t.slice("project", mapping(session.get("project")).get("display_label"))
    t.slice("classification", session.get("classification"))
    t.metadata = {k: v for k, v in session.items() if isinstance(v, (str, int, float, bool)) and k != "id"}
    return t
