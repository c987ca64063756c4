"""One trace for reading: numbered steps, tool calls with their status, bounded, and saying what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from primitives.registry import verb
from primitives.secrets import unsecret

if TYPE_CHECKING:
    from primitives.corpus import Corpus

LEAST_CHARS = 160  # unit: characters of one text; below this a text says nothing, so fewer steps are shown instead
LEAST_LINE = 8  # unit: characters of the shortest line a text can take
NOTE_CHARS = 120  # unit: characters; what a note on something left out takes
LINE_CHARS = 60  # unit: characters; what a step's own heading line costs on average


class TraceNotFound(LookupError):
    """No trace of that id. The message names similar ids."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One text of a step: `start` and `end` are its first and last characters, `length` is the whole."""

    seq: int
    heading: str
    mark: str
    start: str
    end: str
    length: int


@verb
def read(corpus: Corpus, trace_id: str, *, start: int = 0, end: int | None = None, max_chars: int = 12_000) -> str:
    """Read one trace: a line on how it went, then `#seq role[agent]` with text, tool calls, results and their status.

    trace_id: as in `traces.trace_id`; an ending of it that only one trace has will do.
    start, end: the steps shown, `end` not included; without end, to the last step.
    max_chars: characters returned at most (about 4 to a token). When the steps do not fit, long texts are cut in their
        middle first, then the last steps are left out; both are said where they happen, with the call that shows them.

    Returns text. Cite a step as trace_id and the number after `#`, with words copied from here.
    Raises TraceNotFound with similar ids.

    >>> read(traces.trace_id[0], start=0, end=3)
    """
    trace_id = find_trace(corpus, trace_id)
    head = _head(corpus, trace_id)
    room = max_chars - len(head) - NOTE_CHARS
    most = max(room // LEAST_LINE, 1)
    lengths = _passages(corpus, trace_id, start, end, 0, most)
    if not lengths:
        return f"{head}\n(no steps in this range)"[:max_chars]
    cap = max(_cap([p.length for p in lengths], room - LINE_CHARS * len(lengths)), LEAST_CHARS)
    passages = _passages(corpus, trace_id, start, end, cap, most)
    return _fit(head, passages, cap, room)[:max_chars]


def find_trace(corpus: Corpus, trace_id: str) -> str:
    """The full id meant by an id or by an unambiguous ending of one. Raises TraceNotFound."""
    con = corpus.con
    if con.execute("SELECT 1 FROM traces WHERE trace_id = ?", [trace_id]).fetchone():
        return trace_id
    ending = [
        r[0]
        for r in con.execute(
            "SELECT trace_id FROM traces WHERE suffix(trace_id, ?) OR native_id = ? ORDER BY 1 LIMIT 6",
            [trace_id, trace_id],
        ).fetchall()
    ]
    if len(ending) == 1 and trace_id:
        return str(ending[0])
    near = ending or [
        r[0]
        for r in con.execute(
            "SELECT trace_id FROM traces ORDER BY jaro_winkler_similarity(trace_id, ?) DESC, 1 LIMIT 4", [trace_id]
        ).fetchall()
    ]
    raise TraceNotFound(f"no trace {trace_id!r}; there are {', '.join(near) or 'no traces at all'}")


def _head(corpus: Corpus, trace_id: str) -> str:
    names = (
        "task_id", "trial", "model", "agent", "success", "score", "end_reason", "n_steps", "n_tool_calls",
        "n_tool_errors", "cost_usd", "duration_s", "error_message",
    )  # fmt: skip
    row = corpus.con.execute(f"SELECT {', '.join(names)} FROM traces WHERE trace_id = ?", [trace_id]).fetchone()
    t = dict(zip(names, row or (), strict=True))
    verdict = {True: "passed", False: "failed", None: "no verdict"}[t["success"]]
    if t["score"] is not None:
        verdict += f" (score {t['score']:g})"
    parts = [f"task {t['task_id']}"] if t["task_id"] else []
    parts += [f"trial {t['trial']}"] if t["trial"] is not None else []
    parts += [str(t[k])[:80] for k in ("agent", "model") if t[k]]
    parts += [verdict, f"ended: {t['end_reason'] or 'unknown'}", f"{t['n_steps'] or 0} steps"]
    parts += [f"{t['n_tool_calls'] or 0} tool calls, {t['n_tool_errors'] or 0} errors"]
    parts += [f"${t['cost_usd']:.4g}"] if t["cost_usd"] else []
    parts += [f"{t['duration_s']:.0f} s"] if t["duration_s"] else []
    lines = [f"trace {trace_id}", " · ".join(parts)]
    if t["error_message"]:
        lines.append(f"error: {t['error_message'][:300]}")
    fired = corpus.con.execute(
        "SELECT detector, string_agg(DISTINCT '#' || seq, ' ') FROM (SELECT * FROM signals WHERE trace_id = ? "
        "ORDER BY seq LIMIT 40) GROUP BY 1 ORDER BY 1 LIMIT 12",
        [trace_id],
    ).fetchall()
    if fired:
        lines.append("detectors fired: " + ", ".join(f"{d} {at}" for d, at in fired)[:400])
    return "\n".join(lines)


def _passages(corpus: Corpus, trace_id: str, start: int, end: int | None, cap: int, most: int) -> list[Passage]:
    """Every text of the steps in order, `most` at most. Only the first and last `cap` characters of each are taken."""
    taken = cap + NOTE_CHARS  # a text is not cut to save less than the note on the cut takes
    rows = corpus.con.execute(
        f"""
        WITH shown AS (SELECT seq, kind, role, agent, text, reasoning, is_error, on_path FROM steps
            WHERE trace_id = $id AND seq >= $start AND seq < $end),
        calls AS (SELECT call_seq, call_index, result_seq, name, args_text, result_text, status, exit_code
            FROM tool_calls WHERE trace_id = $id),
        texts AS (
          SELECT s.seq, 0 AS place, 0 AS idx, s.kind, s.role, s.agent, s.on_path, s.is_error, c.name AS tool,
              c.status, c.exit_code, s.text AS body FROM shown s
              LEFT JOIN calls c ON s.kind = 'tool_result' AND c.result_seq = s.seq
          UNION ALL SELECT seq, 1, 0, 'reasoning', role, NULL, NULL, NULL, NULL, NULL, NULL, reasoning FROM shown
              WHERE reasoning <> ''
          UNION ALL SELECT s.seq, 2, c.call_index, 'call', NULL, NULL, NULL, NULL, c.name, c.status, NULL, c.args_text
              FROM shown s JOIN calls c ON c.call_seq = s.seq
          UNION ALL SELECT s.seq, 3, c.call_index, 'result', NULL, NULL, NULL, NULL, c.name, c.status, c.exit_code,
              c.result_text FROM shown s JOIN calls c ON c.call_seq = s.seq
              WHERE c.result_seq IS NULL AND c.result_text IS NOT NULL)
        SELECT seq, kind, role, agent, on_path, is_error, tool, status, exit_code, coalesce(length(body), 0) AS size,
            coalesce(left(body, {taken}), ''), CASE WHEN size > {taken} THEN right(body, {cap}) ELSE '' END
        FROM texts ORDER BY seq, place, idx, tool LIMIT {most}""",
        {"id": trace_id, "start": start, "end": 2**31 - 1 if end is None else end},
    ).fetchall()
    return [Passage(r[0], *_heading(*r[:9]), r[10], r[11], r[9]) for r in rows]


def _heading(
    seq: int, kind: str, role: str | None, agent: str | None, on_path: bool | None, is_error: bool | None,
    tool: str | None, status: str | None, exit_code: int | None,
) -> tuple[str, str]:  # fmt: skip
    """(heading line, what stands before the text)."""
    if kind == "reasoning":
        return "", "(thinking) "
    if kind == "call":
        ended = "" if status in ("ok", None) else f" [{status}]"
        return "", f"→ {tool or '?'}{ended} "
    if kind == "result":
        return "", f"← {tool or '?'} [{status or 'unknown'}] "
    who = (role or kind) + (f"[{agent}]" if agent else "")
    notes = []
    if tool:
        notes.append(f"{tool} {status or ''}".strip())
    if exit_code is not None:
        notes.append(f"exit {exit_code}")
    if kind not in ("message", "tool_result"):
        notes.append(kind)
    if is_error and status != "error":
        notes.append("error")
    if on_path is False:
        notes.append("abandoned branch")
    return f"#{seq} {who}" + (f" ({', '.join(notes)})" if notes else ""), ""


def _fit(head: str, passages: list[Passage], cap: int, room: int) -> str:
    """Head and as many whole steps as `room` characters hold, each text cut to `cap`."""
    lines, used = [head], 0
    for seq, step in groupby(passages, key=lambda p: p.seq):
        block = "\n".join(_render(p, cap) for p in step)
        if used and used + len(block) + 1 > room:
            lines.append(f"… [step {seq} and those after it are not shown: read(…, start={seq})]")
            break
        lines.append(block)
        used += len(block) + 1
    return "\n".join(lines)


def _render(p: Passage, cap: int) -> str:
    body = p.start
    if p.length > cap + NOTE_CHARS:
        left = max(cap * 2 // 3, 1)
        right = max(cap - left, 1)
        cut = p.length - left - right
        how = f"read(…, start={p.seq}, end={p.seq + 1})"
        start, end = unsecret(p.start), unsecret(p.end)  # masked before the cut, which may part a secret from its name
        body = f"{start[:left]} … [{cut:,} characters left out: {how}] … {end[-right:]}"
    return "\n".join(part for part in (p.heading, p.mark + body) if part)


def _cap(lengths: list[int], room: int) -> int:
    """The largest c for which the sum of min(length, c) fits into `room` characters."""
    left, remaining = room, sorted(lengths)
    for i, length in enumerate(remaining):
        share = left // (len(remaining) - i)
        if length > share:
            return max(share, 0)
        left -= length
    return remaining[-1] if remaining else 0


def one_line(value: Any, chars: int) -> str:
    """Text on one line of at most `chars` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= chars else text[: chars - 1] + "…"
