"""MAST-Data: raw logs of multi-agent systems with failure modes, labelled by people or by a model.

    [{"round": "Round 1", "mas_name": "AG2", "benchmark_name": "GSM-Plus", "trace_id": 2, "trace": "…log…", "annotations":
      [{"failure mode": "2.2 Step repetition\\n\\n…", "annotator_1": true, "annotator_2": false, "annotator_3": true}]}]      people
    [{"mas_name": "ChatDev", "llm_name": "m1", "benchmark_name": "ProgramDev", "trace_id": 1, "trace": {"trajectory": "…log…"},
      "mast_annotation": {"1.1": 0, "1.2": 1}}]                                                                           a model

Each judgement is an annotation of kind `label`: name = the failure mode without its number (numbering differs between
rounds; the number is in `extra`), value 1 where it was seen. The log is split into steps by what it looks like (JSON of
messages, `date | level |` lines, `[date level]` records, `----- speaker -----` rules, "Response from X Agent"); a log that
looks like none of these is one step. Text only: no calls, no usage, no times (one system writes year-day-month).
Outcome: only where the record says so itself (`other_data.correct` of AG2), else none.
Pitfalls: system and benchmark are swapped in two published records; they are kept as written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from insights.corpus.formats import Confidence, reader
from insights.corpus.parse import mapping, mappings
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace

MODES = {  # the fourteen of the published taxonomy, for records that give numbers only
    "1.1": "Disobey task specification",
    "1.2": "Disobey role specification",
    "1.3": "Step repetition",
    "1.4": "Loss of conversation history",
    "1.5": "Unaware of termination conditions",
    "2.1": "Conversation reset",
    "2.2": "Fail to ask for clarification",
    "2.3": "Task derailment",
    "2.4": "Information withholding",
    "2.5": "Ignored other agent's input",
    "2.6": "Reasoning-action mismatch",
    "3.1": "Premature termination",
    "3.2": "No or incomplete verification",
    "3.3": "Incorrect verification",
}
NUMBERED = re.compile(r"(\d+\.\d+)\s+(.+)")
SPLITS = (  # (where a new record begins, where its speaker stands)
    (re.compile(r"^(?=[\w-]+ - [A-Z]+ - )", re.M), re.compile(r"^[\w-]+ - [A-Z]+ - (\w[\w -]*?)(?:'s Response: |->)")),
    (
        re.compile(r"^(?=\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+\] )", re.M),
        re.compile(r"^\[[^\]]*\] ([A-Z][\w ]{1,40}): \*\*"),
    ),
    (
        re.compile(r"^(?=\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ *\| )", re.M),
        re.compile(r":_act:\d+ - (\w+)|✨ (\w+)'s thoughts"),
    ),
    (re.compile(r"^(?=-{8,} \w[\w ]* -{8,}$)", re.M), re.compile(r"^-+ (\w[\w ]*?) -+$", re.M)),
    (
        re.compile(r"^(?=\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] (?:FROM|NEW MESSAGES))", re.M),
        re.compile(r"FROM: (\w+)|NEW MESSAGES:\s+(\w+):"),
    ),
    (
        re.compile(r"^ *(?=(?:Response from|Message to|Reply from) \w+ Agent$|Code Execution Output$)", re.M),
        re.compile(r"^(?:Response|Reply) from (\w+ Agent)|^(Code Execution) Output", re.M),
    ),
)


def _detect(head: Head) -> Confidence | None:
    return "certain" if "mas_name" in head.first and {"trace", "trace_id"} & head.first.keys() else None


@reader("mast", title="MAST-Data failure modes", rank=15, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    for i, record in enumerate(source.records()):
        value = record.value
        if not isinstance(value, dict) or "mas_name" not in value:
            source.n_bad += 1
            source.issue("not_a_run", f"record {i} names no system", offset=record.offset)
            continue
        yield from source.attempt(record, _trace, source, value, record, i)


def _trace(source: Source, value: dict[str, Any], record: Record, index: int) -> Trace:
    names = [str(value[k]) for k in ("mas_name", "benchmark_name") if value.get(k)]
    round_ = value.get("round")
    t = Trace("mast", "/".join([source.stem, *names, str(value.get("trace_id", index))]), model=value.get("llm_name"))
    t.agent = t.framework = value.get("mas_name")
    t.dataset, t.fidelity = value.get("benchmark_name"), "text_only"
    t.slice("system", value.get("mas_name"))
    t.slice("round", round_)
    if round_:
        t.metadata["round"] = round_
    raw = value.get("trace")
    if isinstance(raw, dict):
        t.task_id = str(raw.get("key") or "") or None
        raw = raw.get("trajectory")
    t.metadata["log_chars"] = len(raw) if isinstance(raw, str) else None
    _log(t, raw, f"{record.pointer or ''}/trace")
    _labels(t, value)
    return t


def _log(t: Trace, raw: Any, pointer: str) -> None:
    parsed = raw
    if isinstance(raw, str) and raw.lstrip()[:1] in "{[":
        try:
            parsed = orjson.loads(raw)
        except orjson.JSONDecodeError:
            parsed = raw
    if isinstance(parsed, dict):
        _header(t, parsed)
        parsed = parsed.get("trajectory", parsed.get("content"))
    if isinstance(parsed, list) and all(isinstance(line, str) for line in parsed):
        parsed = "\n".join(parsed)
    if isinstance(parsed, list):
        for i, item in enumerate(parsed):
            _item(t, item, f"{pointer}/trajectory/{i}")
    elif isinstance(parsed, str):
        _split(t, parsed, pointer)
    else:
        t.issue("no_log", f"{pointer} holds no text")


def _header(t: Trace, parsed: Mapping[str, Any]) -> None:
    asked = parsed.get("problem_statement", parsed.get("prompt"))
    t.input_text = "\n".join(map(str, asked)) if isinstance(asked, list) else asked
    t.task_id = t.task_id or (str(parsed["instance_id"]) if parsed.get("instance_id") else None)
    if isinstance(parsed.get("cost"), (int, float)):
        t.cost_usd, t.cost_basis = float(parsed["cost"]), "reported"
    other = parsed.get("other_data")
    if isinstance(other, Mapping):
        if isinstance(other.get("correct"), bool):
            t.success, t.score_name = other["correct"], "correct"
        t.extra["other_data"] = {k: v for k, v in other.items() if k != "correct"}
        if isinstance(other.get("given"), str):
            t.expect("answer", value=other["given"])
    note = parsed.get("note")
    if note:
        t.extra["note"] = note


def _item(t: Trace, item: Any, where: str) -> None:
    """A message, its text perhaps cut into lines."""
    if isinstance(item, Mapping):
        content = item.get("content")
        text = "\n".join(map(str, content)) if isinstance(content, list) else content
        role, name = str(item.get("role") or "assistant"), item.get("name")
        person = role == "user" and not name
        t.step(
            "user" if person else "assistant" if role in ("user", "assistant") else role,
            text,
            agent=name,
            origin="harness" if person else "model",
            src_pointer=where,
        )
        return
    t.step("environment", item, kind="log", origin="harness", src_pointer=where)


def _split(t: Trace, text: str, pointer: str) -> None:
    parts, speaker = [text], None
    for begins, speaks in SPLITS:
        found = begins.split(text)
        if len(found) > 2:
            parts, speaker = found, speaks
            break
    for part in parts:
        if not part.strip():
            continue
        said = speaker.search(part[:300]) if speaker else None
        name = next((g for g in said.groups() if g), None) if said else None
        human = name is not None and name.lower() in ("human", "user")
        t.step(
            "user" if human else "assistant" if name else "environment",
            part.strip("\n"),
            kind="message" if name else "log",
            agent=None if human else name,
            origin="human" if human else "model" if name else "harness",
            src_pointer=pointer,
        )


def _labels(t: Trace, value: Mapping[str, Any]) -> None:
    for entry in mappings(value.get("annotations")):
        told = str(entry.get("failure mode") or "")
        found = NUMBERED.match(str(entry.get("failure mode") or "").split("\n")[0].strip())
        name = found[2].strip() if found else str(entry.get("failure mode") or "").split("\n")[0]
        for annotator, seen in entry.items():
            if annotator != "failure mode" and isinstance(seen, bool):
                _label(t, name, found[1] if found else None, seen, annotator, "human", told)
    for code, seen in mapping(value.get("mast_annotation")).items():
        if seen in (0, 1):
            _label(t, MODES.get(str(code), str(code)), str(code), bool(seen), "mast_annotation", "judge")


def _label(t: Trace, name: str, code: str | None, seen: bool, annotator: str, basis: str, told: str = "") -> None:
    t.annotate(
        "label",
        name,
        value=float(seen),
        label="yes" if seen else "no",
        passed=not seen,
        annotator=annotator,
        basis=basis,
        extra={"code": code} if code else None,
        explanation=told or None,
    )
