"""CrewAI output logs: what each task of a crew was and gave, no messages.

    [{"timestamp": "2026-03-01 10:00:09", "task_name": "find_order", "task": "Find order W1", "agent": "Clerk", "status": "completed",
      "output": "Shipped."}]
    2026-03-01 10:00:09: task_name="find_order", task="Find order W1", agent="Clerk", status="completed", output="Shipped."

A file is one run of a crew: the task is a user step, its output an answer of its agent. Input and output only; times are
local. A run that has started a task and not completed it is still running. Outcome: none in the format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus import parse
from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

LINE = re.compile(r'^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d): (task_name=".*)$', re.M)
FIELD = re.compile(
    r'(task_name|task|agent|status|output)="(.*?)"(?=, (?:task_name|task|agent|status|output)="|$)', re.S
)


def _detect(head: Head) -> Confidence | None:
    if {"task_name", "agent", "status", "timestamp"} <= head.first.keys():
        return "certain"
    return "certain" if not head.magic and LINE.match(head.text) else None


@reader("crewai", title="CrewAI output logs", rank=30, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    t = Trace("crewai", source.label, framework="crewai", fidelity="io_only", time_basis="naive_as_utc")
    entries = [r.value for r in source.records()] if source.head.doc is not None else _lines(source)
    last = ""
    for i, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            source.n_bad += 1
            source.issue("not_an_entry", f"entry {i} is {type(entry).__name__}")
            continue
        last = str(entry.get("status"))
        _entry(t, entry, i)
    t.end_reason = {"completed": "completed", "started": "still_running"}.get(last, "unknown")
    t.native_end_reason = last or None
    if t.steps:
        yield t


def _lines(source: Source) -> list[dict[str, str]]:
    text = parse.clean_text(parse.decode(source.path.read_bytes())[0])
    found = LINE.split(text)[1:]
    entries = []
    for stamp, first, rest in zip(found[0::3], found[1::3], found[2::3], strict=True):
        source.n_records += 1
        entries.append({"timestamp": stamp, **dict(FIELD.findall((first + rest).strip()))})
    return entries


def _entry(t: Trace, entry: Mapping[str, Any], index: int) -> None:
    place: dict[str, Any] = {"ts": timestamp(entry.get("timestamp")), "src_pointer": f"/{index}"}
    if entry.get("status") == "started":
        t.step("user", entry.get("task"), origin="harness", extra={"task_name": entry.get("task_name")}, **place)
    else:
        t.step("assistant", entry.get("output"), origin="model", agent=entry.get("agent"), **place)
