"""A trace as text for golden files: every column that holds something, one line a step, call and row."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from insights.corpus.trace import CALL_COLUMNS, STEP_COLUMNS, TRACE_COLUMNS, Trace

LATER = {"source_id", "fingerprint", "tags", "metadata", "extra", "trace_id", "root_trace_id", "n_steps"}
UNSAID = {
    "seq",
    "kind",
    "role",
    "text",
    "text_len",
    "src_offset",
    "src_len",
    "n_tool_calls",
    "call_seq",
    "call_index",
    "result_text",
}
UNSAID |= {"result_len", "args", "args_text", "name"}


def describe(t: Trace) -> str:
    lines = [f"trace {t.trace_id}"]
    lines += [
        f"  {name}: {_show(getattr(t, name))}"
        for name in TRACE_COLUMNS
        if name not in LATER and _holds(getattr(t, name))
    ]
    for label, values in (("metadata", t.metadata), ("extra", t.extra), ("slices", t.slices)):
        lines += [f"  {label}.{key}: {_show(values[key])}" for key in sorted(values)]
    if t.tags:
        lines.append(f"  tags: {_show(t.tags)}")
    for s in t.steps:
        lines.append(f"  #{s.seq} {s.kind} {s.role}{_rest(s, STEP_COLUMNS)}: {_show(s.text)}")
        for c in (c for c in t.calls if c.call_seq == s.seq):
            lines.append(f"     -> {c.name} {_show(c.args_text)}{_rest(c, CALL_COLUMNS)}")
    for label, rows in (
        ("llm", t.llm_calls),
        ("span", t.spans),
        ("annotation", t.annotations),
        ("expected", t.expected),
    ):
        lines += [f"  {label} " + " ".join(f"{k}={_show(v)}" for k, v in row.items() if _holds(v)) for row in rows]
    lines += [f"  issue {i.severity} {i.code}: {i.detail}" for i in t.issues]
    return "\n".join(lines) + "\n"


def _rest(row: Any, columns: Any) -> str:
    said = [(c, getattr(row, c)) for c in columns if c != "trace_id" and c not in UNSAID]
    return "".join(
        f" {c}={_show(v)}"
        for c, v in said
        if _holds(v) and not (c == "on_path" and v) and not (c == "segment" and v == 0)
    )


def _holds(value: Any) -> bool:
    return value is not None and value != [] and value != {}


def _show(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
