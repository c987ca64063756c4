"""Home-made logs of what an agent did, event by event: JSONL of a logger, or a document with a list of steps.

    {"ts": 1784950127.12, "run_id": "c6f8", "event": "tool_start", "name": "get_weather", "args": {"city": "Beijing"}}
    {"timestamp": "…", "event": "user_message", "turn_id": "298a", "text": "…"}
    {"task": "…", "steps": [{"thought": "…", "action": "search", "action_input": {…}, "observation": "…"}], "success": true}

Nobody specified them. What an event is, is read off the words of its name (`tool_start`, `llm.response`, `Worker finished`), and
off the keys of a record where it has no name (a thought, an action, what was observed). Records belong to one trace by the first id
that keeps at least a few of them together. A record that tells of nothing known stays a step of kind `log` with all its keys.
What was taken for what is an issue of the ingest report ("guessed").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import ROLES, VERDICTS, apply_metadata
from insights.corpus.formats.event_steps import Run
from insights.corpus.formats.event_words import EVENT, GROUP, HOLDERS, PARENT, SPEAKING, Row, is_act, meaning
from insights.corpus.formats.guessed import LOOKED_AT, shape_of
from insights.corpus.parse import mapping, mappings, word
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_name

ENOUGH = 0.6  # share of the records that must be understood
SURE = 0.8  # share that puts events before the reader of messages, which would leave out what is none
TOGETHER = 3  # records that an id must keep together on average to be that of a run
LONGEST_NAME = 60  # unit: characters of the name of an event
LISTS = (
    "steps",
    "events",
    "trajectory",
    "trace",
    "log",
    "logs",
    "actions",
    "history",
    "turns",
    "entries",
    "iterations",
    "run",
)


@dataclass(frozen=True)
class Layout:
    """`path` is the key of the list inside each record ("" where the records are the events), `event` that of an event's name."""

    path: str
    event: str
    group: tuple[str, str]
    fit: int
    of: int

    def __str__(self) -> str:
        told = {"steps in": self.path, "event": self.event, "trace": ".".join(filter(None, self.group))}
        said = ", ".join(f"{k}={v}" for k, v in told.items() if v) or "steps of thought, action and observation"
        return f"{said} ({self.fit} of {self.of} records understood)"


def _detect(head: Head) -> Confidence | None:
    layout = layout_of(head.records)
    if layout is None:
        return None
    rows = [r for r in head.records[:LOOKED_AT] if isinstance(r, dict)]
    told = {_told(r, layout.event) for r in rows}
    mixed = (
        {"call", "result"} & told
        and {"asked", "model", "user"} & told
        and not all(word(r.get("role")) in ROLES for r in rows)
    )
    return "likely" if mixed and layout.fit >= SURE * layout.of and not layout.path else "guess"


@reader("event_log", title="home-made event log, by its words", rank=97, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    layout = layout_of(source.head.records)
    if layout is None:
        source.issue("unknown_json", "no events of an agent are told here", severity="error")
        return
    source.issue(
        "guessed", f"read as {layout}; if its records are messages, say --map role=…,text=…", severity="warning"
    )
    runs: dict[str, Run] = {}
    parents: dict[str, str] = {}  # of runs within runs, as callbacks tell them
    last = ""
    for index, record in enumerate(source.records()):
        if not isinstance(record.value, dict):
            source.n_bad += 1
            kind = type(record.value).__name__
            source.issue("not_a_record", f"a record is {kind}, not an object", offset=record.offset)
        elif layout.path:
            yield _document(source, record, layout, index)
        else:
            holder, key = layout.group
            own = (mapping(record.value.get(holder)) if holder else record.value).get(key)
            last = _root(record.value, as_name(own) or last, parents) if key else ""
            if last not in runs:
                runs[last] = Run(Trace("event_log", last or f"{source.name}#0"), layout.event, layout.group)
            runs[last].take(record.value, record)
    for run in runs.values():
        yield run.close()


def layout_of(records: list[Any]) -> Layout | None:
    """How the records of a head are to be read; None where they tell of no agent, or are messages."""
    rows = [r for r in records[:LOOKED_AT] if isinstance(r, dict)]
    found = _layout("", rows) if rows else None
    for path in LISTS if rows and found is None else ():
        inner = [i for r in rows for i in mappings(r.get(path))][: 4 * LOOKED_AT]
        if sum(isinstance(r.get(path), list) for r in rows) >= ENOUGH * len(rows) and inner:
            found = _layout(path, inner)
            if found is not None:
                break
    if found is None:
        return None
    shape = shape_of(rows)
    better = (
        shape is None or (shape.kind == "messages" and shape.fit < shape.of) or (shape.kind == "pairs" and found.path)
    )
    return found if better else None


def _layout(path: str, rows: list[dict[str, Any]]) -> Layout | None:
    best: tuple[int, str] = (0, "")
    for key in EVENT:
        names = [r[key] for r in rows if isinstance(r.get(key), str) and len(r[key]) <= LONGEST_NAME]
        told = [m for m in (_told(r, key) for r in rows) if m]
        n = len(told)
        spoken = len(SPEAKING & set(told)) > 1 or ({"begin", "end"} <= set(told) and any(map(_is_told, rows)))
        if n > best[0] and spoken and len(names) >= ENOUGH * len(rows):
            best = n, key
    acts = sum(map(is_act, rows))
    fit, event = best if best[0] >= acts else (acts, "")
    return (
        Layout(path, event, _group(rows) if not path else ("", ""), fit, len(rows))
        if fit >= ENOUGH * len(rows)
        else None
    )


def _told(value: dict[str, Any], event: str) -> str | None:
    """What a record is, by the name of its event; by its role where that is a message."""
    role = word(value.get("role"))
    if role in ROLES and "content" in value:
        return "user" if role == "user" else "result" if role in ("tool", "function") else "model"
    name = value.get(event)
    return meaning(name) if isinstance(name, str) and len(name) <= LONGEST_NAME else None


def _is_told(value: dict[str, Any]) -> bool:
    """Whether a record without a speaker tells what was to be done, or whether it was."""
    row = Row(value)
    return (
        any(isinstance(value.get(k), bool) for k in VERDICTS)
        or row.text(("problem_statement", "task", "goal", "question")) is not None
    )


def _group(rows: list[dict[str, Any]]) -> tuple[str, str]:
    """(object that holds it, key) of the id of a run."""
    known: list[tuple[str, str]] = []
    for key in GROUP:
        for holder in ("", *HOLDERS):
            ids = [(mapping(r.get(holder)) if holder else r).get(key) for r in rows]
            own = Counter(str(i) for i in ids if isinstance(i, (str, int)))
            if sum(own.values()) >= ENOUGH * len(rows):
                if sum(own.values()) >= TOGETHER * len(own):
                    return holder, key
                known.append((holder, key))
    return known[0] if known else ("", "")


def _document(source: Source, record: Record, layout: Layout, index: int) -> Trace:
    """A record that holds the list of its steps."""
    value = record.value
    own = next((value[k] for k in ("id", *GROUP) if isinstance(value.get(k), (str, int))), None)
    run = Run(Trace("event_log", str(own) if own is not None else f"{source.name}#{index}"), layout.event)
    head = Row({k: v for k, v in value.items() if k != layout.path})
    run.ask(head, record)
    for i, item in enumerate(value[layout.path] if isinstance(value[layout.path], list) else []):
        place = Record(item, record.offset, record.length, f"{record.pointer or ''}/{layout.path}/{i}")
        run.take(item if isinstance(item, dict) else {"text": item}, place)
    run.answer(head, record)
    rest = head.rest() or {}
    apply_metadata(run.t, {**mapping(rest.pop("metadata", None)), **rest})
    return run.close()


def _root(value: dict[str, Any], own: str, parents: dict[str, str]) -> str:
    """The outermost run that a record belongs to."""
    above = as_name(next((value[k] for k in PARENT if value.get(k)), None))
    if above and above != own:
        parents.setdefault(own, above)
    seen = {own}
    while own in parents and parents[own] not in seen:
        own = parents[own]
        seen.add(own)
    return own
