"""A report without secrets: its quotations masked as they stand in their steps, so that no end of one bares half a key."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from insights.findings.citations import texts_of
from insights.records import Citation, Report
from primitives.secrets import SHOWN, excerpt, mask, unsecret

if TYPE_CHECKING:
    from primitives.corpus import Corpus


def masked(report: Report, corpus: Corpus) -> Report:
    """The report as it may be written; the same report with `--no-redact`."""
    if SHOWN.get():
        return report
    findings = (replace(f, citations=tuple(_quoted(corpus, c) for c in f.citations)) for f in report.findings)
    return _unsecret(replace(report, findings=tuple(findings)))


def _quoted(corpus: Corpus, citation: Citation) -> Citation:
    for text in texts_of(corpus, citation.trace_id, citation.seq):
        at = text.find(citation.quote)
        if at >= 0:
            return replace(citation, quote=excerpt(text, at, at + len(citation.quote)))
    return replace(citation, quote=mask(citation.quote)[0])


def _unsecret(value: Any) -> Any:
    """`unsecret` that also goes into dataclasses."""
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{of.name: _unsecret(getattr(value, of.name)) for of in fields(value) if of.init})
    if isinstance(value, dict):
        return {unsecret(key): _unsecret(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_unsecret(part) for part in value)
    return unsecret(value)
