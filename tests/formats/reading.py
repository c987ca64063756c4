"""Small sources for the reader tests: write rows, read them with whatever reader recognises them, show them as lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from insights.corpus.formats import recognise
from insights.corpus.source import Source
from insights.corpus.trace import Trace


def write(path: Path, rows: Any) -> Path:
    """JSONL for *.jsonl, else one JSON document; text as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(rows, str):
        path.write_text(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(rows, indent=1))
    return path


def read(path: Path, root: Path | None = None) -> tuple[str, list[Trace], Source]:
    """(format, finished traces, source with its issues)."""
    source = Source(path, str(path), root or path.parent)
    found = recognise(source.head)
    assert found is not None, f"{path.name} is not recognised"
    traces = list(found[0].read(source))
    for trace in traces:
        trace.finish(source.source_id)
    return found[0].name, traces, source


def lines(trace: Trace) -> list[str]:
    """One line a step: kind when it is neither message nor result, role/origin, text, reasoning, calls with their status."""
    out = []
    for s in trace.steps:
        kind = "" if s.kind in ("message", "tool_result") else f"[{s.kind}] "
        calls = "".join(f" -> {c.name}({c.args_text}) {c.status}" for c in trace.calls if c.call_seq == s.seq)
        thought = f" ~{s.reasoning}~" if s.reasoning else ""
        off = "" if s.on_path else " OFF"
        out.append(f"{s.segment} {kind}{s.role}/{s.origin}: {s.text or ''}{thought}{calls}{off}")
    return out


def codes(source: Source, trace: Trace | None = None) -> dict[str, int]:
    found: dict[str, int] = {}
    for issue in [*source.issues, *(trace.issues if trace else [])]:
        found[issue.code] = found.get(issue.code, 0) + issue.n
    return found
