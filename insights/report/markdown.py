"""report.md: every value goes through an escape that no trace text survives as markup; see `escape`."""

from __future__ import annotations

import re
from typing import Any

import jinja2
import yaml

from insights.records import Citation, Report
from insights.report import escape, outline, rerun, words
from insights.report.findings_json import SCHEMA_VERSION, trace_ids_file

QUOTE_CHARS = 600  # of a quotation on the page; findings.json holds it whole
ESCAPED_ID = re.compile(r"\\\[([A-Za-z0-9.-]{1,40})\\\]")


class Marked(str):
    """Markdown that is safe as it stands."""


def render(report: Report) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("insights.report"),
        undefined=jinja2.StrictUndefined,
        finalize=_escaped,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    known = {f.id for f in report.findings}
    environment.filters.update(
        prose=lambda text: Marked(escape.prose(text)),
        linked=lambda text: _linked(text, known),
        cell=lambda text, limit=None: Marked(escape.cell(str(text), limit)),
        quotation=lambda text: Marked(escape.markdown(text, QUOTE_CHARS)),
        fenced=lambda text, language: Marked(escape.fenced(text, language)),
        citation=_citation,
        code=_code,
    )
    template = environment.get_template("report.md.j2")
    return template.render(
        report=report,
        words=words,
        outline=outline,
        rerun=rerun,
        trace_ids_file=trace_ids_file,
        front_matter=Marked(_front_matter(report)),
    )


def _escaped(value: Any) -> Any:
    return value if isinstance(value, Marked) else escape.markdown(str(value))


def _linked(text: str, known: set[str]) -> Marked:
    """Prose in which the id of a finding in brackets leads to it."""
    return Marked(ESCAPED_ID.sub(lambda m: f"[{m[1]}](#{m[1].lower()})" if m[1] in known else m[0], escape.prose(text)))


def _citation(c: Citation) -> Marked:
    return Marked(f"[{escape.markdown(c.trace_id)}#{c.seq}] {outline.verified_mark(c)}".rstrip())


def _code(text: str) -> Marked:
    """Text as a code span; a pipe in it would still end a cell of a table, so none is used inside tables."""
    flat = escape.one_line(text)
    ticks = "`"
    while ticks in flat:
        ticks += "`"
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return Marked(f"{ticks}{pad}{flat}{pad}{ticks}")


def _front_matter(report: Report) -> str:
    c = report.corpus
    values = {
        "schema_version": SCHEMA_VERSION,
        "run_id": report.run_id,
        "question": escape.one_line(report.question),
        "corpus": c.get("path"),
        "fingerprint": c.get("fingerprint"),
        "traces": c.get("n_traces"),
        "passed": c.get("n_passed"),
        "failed": c.get("n_failed"),
        "unlabelled": c.get("n_unlabelled"),
        "findings": len(report.findings),
        "hypotheses_tried": len(report.hypotheses),
        "model": report.model,
        "usd": report.cost.get("usd"),
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=False, width=1000).strip()
