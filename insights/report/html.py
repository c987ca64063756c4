"""report.html: one file that opens without a network and without JavaScript; autoescaped throughout."""

from __future__ import annotations

import re
from typing import Any

import jinja2
from markupsafe import Markup, escape

from insights.records import Prevalence, Report
from insights.report import outline, rerun, words
from insights.report.context import ShownStep
from insights.report.escape import SIMPLE_CODE, shortened, visible
from insights.report.findings_json import trace_ids_file

QUOTE_CHARS = 1000  # of a quotation on the page; findings.json holds it whole
BRACKETED_ID = re.compile(r"\[([A-Za-z0-9.-]{1,40})\]")
BAR = (180, 16)  # width and height of an interval bar in pixels


def render(report: Report, around: dict[tuple[str, int], list[ShownStep]]) -> str:
    """`around` gives the steps around each citation, see `context`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("insights.report"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known = {f.id for f in report.findings}
    environment.filters.update(
        prose=_prose,
        linked=lambda text: _linked(text, known),
        quotation=lambda text: shortened(text, QUOTE_CHARS),
        marked=_marked,
    )
    return environment.get_template("report.html.j2").render(
        report=report,
        around=around,
        words=words,
        outline=outline,
        rerun=rerun,
        trace_ids_file=trace_ids_file,
        interval=_interval,
        shades=_shades(report),
    )


def _prose(text: str) -> Markup:
    """Our own sentences: plain names set in `backticks` become code, everything else is text."""
    out, end = Markup(), 0
    for match in SIMPLE_CODE.finditer(text):
        out += escape(visible(text[end : match.start()])) + Markup("<code>{}</code>").format(visible(match[1]))
        end = match.end()
    return out + escape(visible(text[end:]))


def _linked(text: str, known: set[str]) -> Markup:
    """Prose in which the id of a finding in brackets leads to it."""
    return Markup(
        BRACKETED_ID.sub(lambda m: f'[<a href="#{m[1].lower()}">{m[1]}</a>]' if m[1] in known else m[0], _prose(text))
    )


def _marked(step: ShownStep, quote: str) -> Markup:
    """The text of a step with the quotation in it marked."""
    before, found, after = step.text.partition(quote) if step.cited and quote else (step.text, "", "")
    mark = Markup("<mark>{}</mark>").format(visible(found)) if found else ""
    return escape(visible(before)) + mark + escape(visible(after))


def _interval(p: Prevalence) -> Markup:
    """k of n with its interval on a scale from 0 to 100 %, as inline SVG."""
    width, height = BAR
    inner = width - 8
    low, at, high = (4 + inner * min(1.0, max(0.0, x)) for x in (p.low, words.share(p.k, p.n), p.high))
    middle = height / 2
    return Markup(
        '<svg class="bar" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">'
        '<line class="scale" x1="4" x2="{end}" y1="{m}" y2="{m}"/>'
        '<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="{m}" y2="{m}"/>'
        '<circle class="at" cx="{at:.1f}" cy="{m}" r="4"/></svg>'
    ).format(w=width, h=height, end=width - 4, m=middle, low=low, high=high, at=at, label=words.prevalence(p))


def _shades(report: Report) -> list[dict[str, Any]]:
    """The partition as widths in per cent and class names of a bar, in its order."""
    failed = sum(cause.n for cause in report.partition)
    shades = []
    for i, cause in enumerate(report.partition):
        name = "unexplained" if outline.unexplained_cause(cause) else f"{cause.actor.replace('_', '-')} shade{i % 3}"
        shades.append({"width": 100 * words.share(cause.n, failed), "css": name, "cause": cause})
    return shades
