"""A trace as a reader gets it: every step in order, in as many parts as its length asks for; and quotes checked against it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from insights.errors import GatewayRefused

if TYPE_CHECKING:
    from primitives.chunk import Piece
    from primitives.corpus import Corpus

PART_TOKENS = 24_000  # of one part: enough for most runs whole, small enough to be read with care
MOST_PARTS = 40
HEAD_CHARS = 4_000  # of what stands above the steps
SAID = {"reasoning": "(thinking) ", "text": ""}
QUOTE_CHARS = 400


def parts(corpus: Corpus, trace_id: str, show: Sequence[str] = ()) -> list[str]:
    """The trace as text, cut into parts where it is long. Each begins with what `show` names."""
    from primitives.chunk import pieces

    names = dict(
        corpus.con.execute("SELECT tool_call_key, name FROM tool_calls WHERE trace_id = ?", [trace_id]).fetchall()
    )
    head = shown(corpus, trace_id, show)
    found = []
    for _, chunk in groupby(pieces(corpus, trace_id, budget=PART_TOKENS), key=lambda p: p.chunk):
        found.append("\n".join([head] * bool(head) + _lines(list(chunk), names)))
    return found


def _lines(chunk: list[Piece], names: dict[str, str | None]) -> list[str]:
    lines, seq = [], None
    for piece in chunk:
        if piece.seq != seq:
            seq = piece.seq
            lines.append(f"#{seq} {piece.role or 'step'}")
        tool = names.get(piece.tool_call_key or "") or ""
        mark = SAID.get(piece.field) or (
            f"→ {tool} " if piece.field == "args" else f"← {tool} " if piece.field == "result" else ""
        )
        cut = "… " if piece.start else ""
        lines.append(mark + cut + piece.text)
    return lines


def check_show(corpus: Corpus, show: Sequence[str]) -> None:
    """Raises GatewayRefused for what is neither a column of traces nor expected nor deviations."""
    known = {row[0] for row in corpus.con.execute("DESCRIBE traces").fetchall()}
    for name in show:
        if name not in known | {"expected", "deviations"}:
            raise GatewayRefused(f"show: {name!r} is no column of traces", "or 'expected', 'deviations'")


def shown(corpus: Corpus, trace_id: str, show: Sequence[str]) -> str:
    """One line for each thing the reader is told besides the steps."""
    lines = []
    columns = [name for name in show if name not in ("expected", "deviations")]
    if columns:
        listed = ", ".join('"' + name + '"' for name in columns)
        row = corpus.con.execute(f"SELECT {listed} FROM traces WHERE trace_id = ?", [trace_id]).fetchall()[0]
        lines += [f"{name}: {_plain(name, value)}" for name, value in zip(columns, row, strict=True)]
    if "expected" in show:
        rows = corpus.con.execute(
            "SELECT kind, name, args::VARCHAR, value FROM expected WHERE trace_id = ? ORDER BY idx LIMIT 40", [trace_id]
        ).fetchall()
        lines += ["what the grader expects: " + " ".join(str(v) for v in row if v is not None) for row in rows]
    if "deviations" in show:
        rows = corpus.con.execute(
            "SELECT kind, name, argument, 'expected ' || expected, 'actual ' || actual, '#' || seq FROM deviations "
            "WHERE trace_id = ? ORDER BY seq NULLS LAST LIMIT 40",
            [trace_id],
        ).fetchall()
        lines += ["departs from it: " + " · ".join(str(v) for v in row if v is not None) for row in rows]
    text = "\n".join(lines)
    return text if len(text) <= HEAD_CHARS else text[:HEAD_CHARS] + "…"


def _plain(name: str, value: object) -> str:
    if name == "success":
        return {True: "yes", False: "no", None: "not known"}[value]  # type: ignore[index]
    return str(value)[:1000]


def find_quote(corpus: Corpus, trace_id: str, seq: int | None, quote: str) -> tuple[int, str] | None:
    """(step, verbatim text) of a quotation: at the step named, else at the only place where it stands; None if nowhere.

    White space may differ, as may quotation marks and dots around it; what is returned is what the trace says.
    """
    words = quote.strip().strip("\"'“”‘’`… ").removesuffix("...").removeprefix("...").split()
    if not words or len("".join(words)) < 3:
        return None
    pattern = re.compile(r"\s+".join(re.escape(word) for word in words[:120]))
    rows = corpus.con.execute(
        """SELECT seq, text FROM steps WHERE trace_id = $t AND text IS NOT NULL
        UNION ALL SELECT seq, reasoning FROM steps WHERE trace_id = $t AND reasoning IS NOT NULL
        UNION ALL SELECT call_seq, args_text FROM tool_calls WHERE trace_id = $t AND args_text IS NOT NULL""",
        {"t": trace_id},
    ).fetchall()
    places = [(at, found[0]) for at, text in rows if (found := pattern.search(text))]
    here = [place for place in places if place[0] == seq]
    best = here or sorted(places, key=lambda place: (abs(place[0] - (seq if seq is not None else 0)), place[0]))
    return (best[0][0], best[0][1][:QUOTE_CHARS]) if best else None
