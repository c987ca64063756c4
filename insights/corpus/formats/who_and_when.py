"""Who&When: failed multi-agent runs, each with the agent and the step that people hold responsible.

    {"question": "How many …?", "question_ID": "q-1", "level": "2", "ground_truth": "12", "is_correct": false, "history":
     [{"role": "user", "name": "Data_Expert", "content": "…"}], "mistake_agent": "Data_Expert", "mistake_step": "0",
     "mistake_reason": "It counted twice.", "system_prompt": {"Data_Expert": "…"}}

Outcome: `is_correct` (Captain-Agent runs) or `is_corrected` (Magentic-One runs), both false throughout the published set.
The label is an annotation of kind `failure` at the step: `mistake_step` is the index in `history`, and every entry of
`history` is one step, so the two numbers agree. It is stored as it is, also where the speaker at that step is another.
Pitfalls: with names, `role` is relative to the owner of the dump and means nothing; without names (Magentic-One) the
role carries agent and addressee, "Orchestrator (-> WebSurfer)". Code runs appear only as the terminal's message
"exitcode: 1 (execution failed)": the code block before it becomes a call of `execute_code`, its status the exit code.
Magentic-One logs without labels (a list of {role: "human"|…, content}) are read by the format `magentic_one`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from insights.corpus.formats import Confidence, agentrx, reader
from insights.corpus.parse import mapping
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name

ADDRESSED = re.compile(r"(.+?) \((?:-> ?)?(.+)\)$")
EXIT_CODE = re.compile(r"exitcode: (-?\d+)")
CODE = re.compile(r"```[\w+-]*\n(.*?)```", re.S)
TERMINALS = ("computer_terminal", "computerterminal")


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if "history" not in first or "trajectory" in first:
        return None
    if "mistake_agent" in first or head.tail_has("mistake_agent", "mistake_step"):
        return "certain"
    return "likely" if {"question", "ground_truth"} <= first.keys() else None


def _detect_log(head: Head) -> Confidence | None:
    doc = head.doc
    if not isinstance(doc, list) or not doc or not all(isinstance(m, dict) and "role" in m for m in doc[:-1] or doc):
        return None
    return "likely" if doc[0].get("role") == "human" and set(doc[0]) == {"role", "content"} else None


@reader("who_and_when", title="Who&When failure attribution", rank=20, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    for i, record in enumerate(source.records()):
        run = record.value
        if not isinstance(run, dict) or not isinstance(run.get("history"), list):
            source.n_bad += 1
            source.issue("not_a_run", f"record {i} has no history", offset=record.offset)
            continue
        path = PurePosixPath(source.name)
        native = "/".join(p for p in (path.parent.name, source.stem) if p) + (f"/{i}" if i else "")
        t = Trace("who_and_when", native, task_id=run.get("question_ID"), input_text=run.get("question"))
        add_history(t, run["history"], pointer=f"{record.pointer or ''}/history")
        t.slice(
            "system", "captain_agent" if any("name" in mapping(m) for m in run["history"][:1]) else "magentic_one", "id"
        )
        t.slice("level", run.get("level"))
        t.dataset = path.parent.name or None
        verdict = run.get("is_correct", run.get("is_corrected"))
        if isinstance(verdict, bool):
            t.success, t.score_name = verdict, "is_correct" if "is_correct" in run else "is_corrected"
        if run.get("ground_truth") is not None:
            t.expect("answer", value=str(run["ground_truth"]))
        _label(t, run)
        if run.get("system_prompt"):
            t.extra["system_prompt"] = run["system_prompt"]
        yield t


@reader("magentic_one", title="Magentic-One logs", rank=45, detect=_detect_log)
def read_log(source: Source) -> Iterator[Trace]:
    folder = PurePosixPath(source.name).parent.name
    native = f"{folder}/{source.stem}" if folder else source.stem
    t = Trace("magentic_one", native, task_id=source.stem, dataset=folder or None)
    add_history(t, [r.value for r in source.records()])
    t.slice("system", "magentic_one", "id")
    agentrx.annotate(t, source, source.stem)
    yield t


def add_history(t: Trace, history: list[Any], *, pointer: str = "") -> None:
    """One step for each entry, code runs paired with the code before them."""
    t.framework = "magentic-one" if history and "name" not in mapping(history[0]) else "ag2"
    for i, m in enumerate(history):
        where = f"{pointer}/{i}"
        if not isinstance(m, Mapping):
            t.step(None, m, kind="log", src_pointer=where)
            t.issue("not_a_message", f"{where} is {type(m).__name__}")
            continue
        _entry(t, m, where)


def _entry(t: Trace, m: Mapping[str, Any], where: str) -> None:
    text, native = m.get("content"), str(m.get("role") or "")
    addressed = ADDRESSED.match(native)
    agent = as_name(m.get("name")) or (addressed[1] if addressed else native)
    if agent.lower() in TERMINALS:
        _terminal(t, text if isinstance(text, str) else "", agent, where)
        return
    human = native == "human"
    to = addressed[2] if addressed and "->" in native else None
    t.step(
        "user" if human else "assistant",
        text,
        kind="handoff" if to else "message",
        agent=None if human else agent,
        origin="human" if human else "harness" if addressed and addressed[2].startswith("term") else "model",
        extra={"to": to} if to else {"native_role": native} if addressed else None,
        src_pointer=where,
    )


def _terminal(t: Trace, text: str, agent: str, where: str) -> None:
    """A message of the code runner: a result where it reports an exit code, else a remark of the environment."""
    code = EXIT_CODE.search(text[:200])
    before = next((s for s in reversed(t.steps) if s.text and "```" in s.text), None) if code else None
    if code is None or before is None:
        t.step("environment", text, agent=agent, origin="harness", src_pointer=where)
        return
    blocks = CODE.findall(before.text or "")
    t.call(before.seq, "execute_code", {"code": "\n".join(blocks)})
    t.result(text, name="execute_code", exit_code=int(code[1]), agent=agent, src_pointer=where)


def _label(t: Trace, run: Mapping[str, Any]) -> None:
    if not run.get("mistake_agent") and run.get("mistake_step") is None:
        return
    try:
        step = int(run["mistake_step"])
    except (KeyError, TypeError, ValueError):
        step = None
        t.issue("bad_label", f"mistake_step {run.get('mistake_step')!r} is no number")
    if step is not None and step >= len(t.steps):
        t.issue("bad_label", f"mistake_step {step} lies beyond the {len(t.steps)} entries of the history")
    t.annotate(
        "failure",
        str(run.get("mistake_type") or "decisive_mistake"),
        seq=step,
        label=run.get("mistake_agent"),
        explanation=run.get("mistake_reason"),
        passed=False,
        basis="human",
    )
