"""Plain transcripts: text in which speakers are named at the start of lines.

    Human: Where is order W1?                    [2026-03-01 10:00:02] agent: Let me check.
    Assistant: Let me check.                     [2026-03-01 10:00:03] tool(get_order): not found
    ## User                                      Thought: I should look it up.
    Where is order W1?                           Action: get_order[W1]
    ### Tool call: `get_order`                   Observation: Error: W1 not found

Taken for a transcript only with two different speakers and two turns, outside of fenced code; anything else stays unread. Always
text only, always a guess. ReAct: thought and action are one step of the assistant with a call, the observation its result. A
tool that answers without a call gets one without arguments. Errors: text. No outcome, no usage.
Dropped: what stands before the first speaker is kept as a log step; nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from insights.corpus import parse
from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

ROLES = {
    "human": "user",
    "user": "user",
    "you": "user",
    "customer": "user",
    "question": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "agent": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "gpt": "assistant",
    "claude": "assistant",
    "gemini": "assistant",
    "final answer": "assistant",
    "thought": "thought",
    "action": "action",
    "action input": "input",
    "api": "action",
    "observation": "tool",
    "tool": "tool",
    "function": "tool",
    "tool result": "tool",
    "tool output": "tool",
    "tool call": "action",
    "system": "system",
}
_NAMES = "|".join(sorted(ROLES, key=len, reverse=True))
LABEL = re.compile(
    rf"^\s{{0,3}}(?:\*\*)?({_NAMES})(?:\*\*)?(?: ?\(([\w.-]+)\))?(?:\*\*)?:(?:\*\*)?(?:[ \t]+(.*))?$", re.I
)
STAMPED = re.compile(
    r"^\[(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?Z?)\]\s+([A-Za-z][\w .-]{0,30})(?:\(([\w.-]+)\))?: ?(.*)$"
)
HEADING = re.compile(rf"^#{{1,4}}\s+(?:\*\*)?({_NAMES})(?:\*\*)?(?::\s*`?([\w.-]+)`?)?\s*$", re.I)
INVOKED = re.compile(r"^\s*([\w.-]+)\s*[\[(](.*)[\])]\s*$", re.S)
FENCE = re.compile(r"^\s*(?:```|~~~)")
FENCED = re.compile(r"^\s*```\w*\n(.*?)\n?\s*```\s*$", re.S)
Turn = tuple[str, str | None, str | None, str]  # speaker, tool, time, text


def turns(text: str) -> list[Turn]:
    """(speaker as written, tool, time, text) of every turn; speaker "" for what stands before the first."""
    found: list[tuple[str, str | None, str | None, list[str]]] = [("", None, None, [])]
    fenced = False
    for line in text.split("\n"):
        line = line.rstrip("\r")
        if FENCE.match(line):
            fenced = not fenced
        start = None if fenced else _start(line)
        if start is None:
            found[-1][3].append(line)
        else:
            found.append((start[0], start[1], start[2], [start[3]]))
    return [(who, tool, at, "\n".join(lines).strip()) for who, tool, at, lines in found]


def _start(line: str) -> Turn | None:
    if m := STAMPED.match(line):
        return m[2].strip(), m[3], m[1], m[4]
    if m := HEADING.match(line):
        return m[1], m[2], None, ""
    if m := LABEL.match(line):
        return m[1], m[2], None, m[3] or ""
    return None


def _detect(head: Head) -> Confidence | None:
    if head.magic or head.size == 0 or any(isinstance(r, (dict, list)) for r in head.records):
        return None
    speakers = [who.lower() for who, _, _, _ in turns(head.text) if who]
    roles = {ROLES.get(who, who) for who in speakers}
    answers = roles & {"assistant", "thought", "action"} or any(who not in ROLES for who in speakers)
    return "guess" if len(speakers) >= 2 and len(set(speakers)) >= 2 and len(roles) >= 2 and answers else None


@reader("transcript", title="plain transcripts", rank=95, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    text, repair = parse.decode(source.path.read_bytes())
    if repair:
        source.issue(repair, "undecodable bytes were replaced", severity="info")
    t = Trace("transcript", source.label, fidelity="text_only")
    source.n_records += 1
    for who, tool, at, said in turns(parse.clean_text(text)):
        if who or said:
            _turn(t, who, tool, at, said)
    t.time_basis = "naive_as_utc" if any(s.ts for s in t.steps) else None
    yield t


def _turn(t: Trace, who: str, tool: str | None, at: str | None, said: str) -> None:
    role = ROLES.get(who.lower(), "assistant" if who else "log")
    ts = timestamp(at)
    last = t.steps[-1] if t.steps else None
    if role == "log":
        t.step("environment", said, kind="log", origin="harness")
    elif role == "thought":
        t.step("assistant", said, origin="model", ts=ts, extra={"thought": True})
    elif role in ("action", "input"):
        seq = (
            last.seq
            if last is not None and last.role == "assistant"
            else t.step("assistant", None, origin="model", ts=ts)
        )
        _action(t, seq, role, tool, said)
    elif role == "tool":
        if not any(c.result_seq is None for c in t.calls):
            seq = (
                last.seq if last is not None and last.role == "assistant" else t.step("assistant", None, origin="model")
            )
            t.call(seq, tool, None, extra={"implied": True})
        fence = FENCED.match(said)
        t.result(fence[1] if fence else said, ts=ts)
    else:
        origin = {"assistant": "model", "user": "human"}.get(role, "harness")
        agent = who if role == "assistant" and who.lower() not in ROLES else None
        t.step(role, said, origin=origin, agent=agent, ts=ts)


def _action(t: Trace, seq: int, role: str, tool: str | None, said: str) -> None:
    fence = FENCED.match(said)
    body = fence[1] if fence else said
    waiting = next((c for c in reversed(t.calls) if c.result_seq is None), None)
    if role == "input" and waiting is not None:
        waiting.args_text = body
        waiting.args = {"input": body}
        return
    invoked = None if tool else INVOKED.match(body)
    if invoked:
        t.call(seq, invoked[1], {"input": invoked[2]})
    elif tool:
        t.call(seq, tool, body)
    else:
        t.call(seq, body.strip().split("\n")[0][:80] or None, None)
