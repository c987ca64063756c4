"""A trace as a reader gets it: what was submitted, then every step in order, in as many parts as its length asks for.

No text is shown twice: what many traces begin with stands in the prefix (`openings`), a text that comes again names the step
where it stood, and copied steps are counted and left out. A trace that fits into one part is otherwise whole; in a longer
one outputs of tools keep their beginning and end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from insights.errors import GatewayRefused

if TYPE_CHECKING:
    from primitives.chunk import Piece, Text
    from primitives.corpus import Corpus

PART_TOKENS = 24_000  # of one part: enough for most runs whole, small enough to be read with care
MOST_PARTS = 40
HEAD_CHARS = 4_000  # of what `show` adds above the steps
TASK_CHARS = 3_000  # of the task, in parts that do not hold the step where it was given
OUTPUT_CHARS = 6_000  # of one output of a tool, in a trace longer than one part
SUBMITTED_CHARS = 12_000  # of what was submitted, in the first part; a fourth of it in the others
SAME_CHARS = 200  # a shorter text is not worth a reference to the step where it stood before
GIST_CHARS = 120  # of a text that came before, as its reader may hold another part
MOST_EXPECTED = 40
SAID = {"reasoning": "(thinking) ", "text": ""}
VERDICT = ("success", "score", "deviations")


@dataclass(frozen=True, slots=True)
class Steps:
    """What is known of a trace besides its texts.

    `submitted`: what a reader is shown first, empty where the steps end with it; `at`: the step in which it stands.
    `kept`: step -> (role, on the path). `copied`: steps, characters, first words of what is left out.
    """

    task: str
    submitted: str
    at: int | None
    kept: Mapping[int, tuple[str, bool]]
    copied: tuple[int, int, str]
    tools: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """`parts` of a trace, and `context` for whoever puts notes on them together; `parts` is empty for a trace without text."""

    parts: list[str]
    context: str


def reading(
    corpus: Corpus, trace_id: str, show: Sequence[str] = (), shared: Mapping[int, str] | None = None
) -> Reading:
    """The trace as text. Every part begins with what `show` names; `shared`: see Openings."""
    from primitives.chunk import packed, texts

    written = list(texts(corpus, trace_id))
    steps = _steps(corpus, trace_id, written)
    whole = list(_once([t for t in written if t.seq in steps.kept], steps, shared or {}))
    if sum(t.tokens for t in whole) > PART_TOKENS:
        whole = [_bounded(t) for t in whole]
    chunks = [list(chunk) for _, chunk in groupby(packed(whole, PART_TOKENS), key=lambda p: p.chunk)]
    told = shown(corpus, trace_id, show)
    last = max(steps.kept, default=0)
    parts = []
    for i, chunk in enumerate(chunks):
        held = (
            f"Steps #{chunk[0].seq} to #{chunk[-1].seq} of a run whose last step is #{last}." if len(chunks) > 1 else ""
        )
        lines = [told, held, *_context(steps, whole, first=i == 0), *_lines(chunk, steps)]
        parts.append("\n".join(line for line in lines if line))
    context = [told, f"The run's last step is #{last}.", *_context(steps, whole, first=False)]
    return Reading(parts, "\n".join(line for line in context if line))


def _steps(corpus: Corpus, trace_id: str, written: Sequence[Text]) -> Steps:
    from primitives.splitting import format_of

    con = corpus.con
    task, submitted = con.execute(
        "SELECT coalesce(input_text, ''), coalesce(final_output, '') FROM traces WHERE trace_id = ?", [trace_id]
    ).fetchall()[0]
    rows = con.execute(
        "SELECT seq, coalesce(role, 'step'), coalesce(on_path, true), origin = 'copied', coalesce(length(text), 0) + coalesce(length(reasoning), 0) "
        "FROM steps WHERE trace_id = ? ORDER BY seq",
        [trace_id],
    ).fetchall()
    out = [row for row in rows if row[3]] if not all(row[3] for row in rows) else []
    left = {row[0] for row in out}
    began = ""
    if any(
        row[2] for row in out
    ):  # history of a resumed session, not a demonstration: what it was about is worth a line
        said = con.execute(
            "SELECT text FROM steps WHERE trace_id = ? AND origin = 'copied' AND role = 'user' AND text <> '' ORDER BY seq LIMIT 1",
            [trace_id],
        ).fetchall()
        began = said[0][0] if said else ""
    # a patch is what a coding agent is graded by, so it comes first; so does a result that no step holds
    ends_with = submitted.strip()
    at = next((t.seq for t in reversed(written) if ends_with and ends_with in t.text), None)
    if at is not None and format_of(ends_with) != "diff":
        ends_with = ""
    tools = con.execute("SELECT tool_call_key, name FROM tool_calls WHERE trace_id = ?", [trace_id]).fetchall()
    return Steps(
        task,
        ends_with,
        at,
        {row[0]: (row[1], row[2]) for row in rows if row[0] not in left},
        (len(out), sum(row[4] for row in out), began),
        dict(tools),
    )


def _once(whole: Sequence[Text], steps: Steps, shared: Mapping[int, str]) -> Iterator[Text]:
    """The texts without what the reader has been given already."""
    before: dict[str, int] = {}
    said: dict[int, str] = {}
    for text in whole:
        body = text.text
        if text.seq in shared and text.field == "text":
            yield _with(text, f"[text {shared[text.seq]}, given above]")
            continue
        if text.field == "args" and _within(body, said.get(text.seq, "")):
            yield _with(text, "[arguments as written above]")
            continue
        if text.field in SAID:
            said[text.seq] = said.get(text.seq, "") + body
        if len(steps.submitted) >= SAME_CHARS and steps.submitted in body:
            body = body.replace(steps.submitted, "[what was submitted, as given above]")
        if len(body) >= SAME_CHARS:
            at = before.setdefault(body, text.seq)
            if at != text.seq:
                body = f"[word for word the {len(body):,} characters that stand at #{at}: {' '.join(body[:GIST_CHARS].split())} …]"
        yield _with(text, body) if body is not text.text else text


def _with(text: Text, body: str) -> Text:
    from primitives.tokens import count_tokens

    return replace(text, text=body, tokens=count_tokens(body))


def _within(args: str, said: str) -> bool:
    """Whether every argument stands in what the step says, as where an agent writes its command as text."""
    if not said:
        return False
    try:
        leaves = list(_leaves(json.loads(args)))
    except (ValueError, RecursionError):
        return args in said
    return all(leaf in said for leaf in leaves) and bool(leaves)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield value.strip() if isinstance(value, str) else json.dumps(value)


def _bounded(text: Text) -> Text:
    return (
        _with(text, cut(text.text, OUTPUT_CHARS, "this output"))
        if text.field == "result" and len(text.text) > OUTPUT_CHARS
        else text
    )


def cut(text: str, most: int, what: str) -> str:
    """Beginning and end of a text, two thirds and one, with a count of what is left out between them."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail]}\n[… {len(text) - most:,} characters of {what} are left out here …]\n{text[-tail:]}"


def _context(steps: Steps, whole: Sequence[Text], *, first: bool) -> Iterator[str]:
    """What stands above the steps of a part: the task where the part may not hold it, what was submitted, what is left out."""
    if steps.task and not (first and any(steps.task[:SAME_CHARS] in t.text for t in whole[:20])):
        yield f"The task, as the run was given it:\n{cut(steps.task, TASK_CHARS, 'the task')}\n"
    if steps.submitted:
        most = SUBMITTED_CHARS if first else SUBMITTED_CHARS // 4
        place = "it stands in no step: quote a step instead" if steps.at is None else f"it stands in #{steps.at}"
        yield f"What the run submitted at its end ({place}):\n{cut(_edits_first(steps.submitted), most, 'it')}\n"
    n, characters, began = steps.copied
    if n and first:
        about = f"; they begin: {cut(began, 400, 'it')}" if began else ""
        yield f"{n} steps ({characters:,} characters) were copied from another run and are left out{about}."


def _edits_first(patch: str) -> str:
    """A patch with its new files last: they are mostly scripts by which the agent tried things."""
    files = re.split(r"(?m)^(?=diff --git )", patch)
    return "".join(sorted(files, key=lambda file: "\nnew file mode " in file[:400]))


def _lines(chunk: Sequence[Piece], steps: Steps) -> Iterator[str]:
    seq = None
    for piece in chunk:
        if piece.seq != seq:
            seq = piece.seq
            on_path = steps.kept[seq][1]
            yield f"#{seq} {piece.role or 'step'}" + ("" if on_path else " (abandoned: not on the way to the end)")
        tool = steps.tools.get(piece.tool_call_key or "") or ""
        mark = SAID.get(piece.field)
        if mark is None:
            mark = f"{'→' if piece.field == 'args' else '←'} {tool} "
        yield mark + ("… " if piece.start else "") + piece.text


def check_show(corpus: Corpus, show: Sequence[str]) -> None:
    """Raises GatewayRefused for what is neither a column of traces nor expected nor deviations."""
    known = {row[0] for row in corpus.con.execute("DESCRIBE traces").fetchall()}
    for name in show:
        if name not in known | {"expected", "deviations"}:
            raise GatewayRefused(f"show: {name!r} is no column of traces", "or 'expected', 'deviations'")


def check_blind(show: Sequence[str]) -> None:
    """Raises GatewayRefused for a label whose reader would know the verdict: labels are held against it afterwards."""
    told = [name for name in show if name in VERDICT]
    if told:
        raise GatewayRefused(
            f"classify may not show {', '.join(told)}: a reader who knows how the run was graded finds what fits",
            "show=['expected'] says what was wanted and not whether it was met; extract(…) may know the verdict",
        )


def shown(corpus: Corpus, trace_id: str, show: Sequence[str]) -> str:
    """One line for each thing the reader is told besides the steps. What is expected never says whether it was met."""
    lines = []
    columns = [name for name in show if name not in ("expected", "deviations")]
    if columns:
        listed = ", ".join('"' + name + '"' for name in columns)
        row = corpus.con.execute(f"SELECT {listed} FROM traces WHERE trace_id = ?", [trace_id]).fetchall()[0]
        lines += [f"{name}: {_plain(name, value)}" for name, value in zip(columns, row, strict=True)]
    if "expected" in show:
        lines += _expected(corpus, trace_id)
    if "deviations" in show:
        rows = corpus.con.execute(
            "SELECT kind, name, argument, expected, 'actual ' || actual, '#' || seq FROM deviations "
            "WHERE trace_id = ? ORDER BY seq NULLS LAST LIMIT 40",
            [trace_id],
        ).fetchall()
        above = "\n".join(lines)
        for kind, name, argument, expected, *more in rows:
            told = expected and f"expected {_named_again(expected) if expected in above else expected}"
            lines.append(
                "departs from it: " + " · ".join(str(v) for v in (kind, name, argument, told, *more) if v is not None)
            )
    text = "\n".join(lines)
    return text if len(text) <= HEAD_CHARS else text[:HEAD_CHARS] + "…"


def _named_again(text: str) -> str:
    """The first words of a text that stands above in full."""
    return text if len(text) <= GIST_CHARS // 2 else text[: GIST_CHARS // 2] + "…"


def _expected(corpus: Corpus, trace_id: str) -> list[str]:
    """What the grader expects, tests that are to go on passing as a count."""
    rows = corpus.con.execute(
        "SELECT kind, name, args::VARCHAR, value FROM expected WHERE trace_id = ? AND grp IS DISTINCT FROM 'PASS_TO_PASS' ORDER BY idx",
        [trace_id],
    ).fetchall()
    kept = corpus.con.execute(
        "SELECT count(*) FROM expected WHERE trace_id = ? AND grp = 'PASS_TO_PASS'", [trace_id]
    ).fetchall()[0][0]
    lines = [
        "what the grader expects: " + " ".join(str(v) for v in row if v is not None) for row in rows[:MOST_EXPECTED]
    ]
    lines += [f"and {len(rows) - MOST_EXPECTED} more things"] * (len(rows) > MOST_EXPECTED)
    return lines + [f"what the grader expects: {kept} tests that pass before go on passing"] * (kept > 0)


def _plain(name: str, value: object) -> str:
    if name == "success":
        return {True: "yes", False: "no", None: "not known"}[value]  # type: ignore[index]
    return str(value)[:1000]
