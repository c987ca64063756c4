"""What an agent hands to the host: hypotheses, findings, briefs for other agents, and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.registry import verb

if TYPE_CHECKING:
    from primitives.corpus import Corpus


class NotInARun(RuntimeError):
    """The verb needs a host and there is none. The message says how to get one."""


def _call(corpus: Corpus, verb_name: str, **params: Any) -> Any:
    if corpus.gateway is None:
        raise NotInARun(
            f"{verb_name} reports to the host of a run, and this corpus was opened outside of one: "
            f'start a run with `insights ask {corpus.path.name} "QUESTION"`'
        )
    return corpus.gateway(verb_name, **params)


@verb(acts=True)
def submit_hypothesis(
    corpus: Corpus,
    statement: str,
    predicate: str,
    *,
    kind: str = "contrast",
    population: str | None = None,
    about: dict[str, Any] | None = None,
) -> str:
    """Propose a hypothesis for testing; kind: contrast, prevalence, environment, label_defect or rare. Gives its id.

    statement: one sentence that could be wrong, about traces, not about one trace.
    predicate: one SELECT giving trace_id and, where it can, seq and quote, of the traces that have the property.
    kind: contrast (runs that have it fail more often: tested), prevalence (it happens and is a fault in itself: counted),
    environment, label_defect (the verdict, task or reference is wrong; alone may use success), rare (few, grave).
    population: a SELECT of the trace ids for which the question makes sense; None is all of them.
    about: what is already known: mechanism, actor, taxonomy, suggested_fix, data_gap.

    Raises NotInARun outside `insights ask`, GatewayError when the predicate is refused, with the reason.

    >>> submit_hypothesis("Runs with a failed tool call fail", "SELECT trace_id FROM tool_calls WHERE status = 'error'")
    """
    return str(
        _call(
            corpus,
            "submit_hypothesis",
            statement=statement,
            predicate=predicate,
            kind=kind,
            population=population,
            about=about or {},
        )
    )


@verb(acts=True)
def submit_finding(
    corpus: Corpus,
    hypothesis_id: str | None = None,
    *,
    title: str,
    claim: str,
    mechanism: str,
    predicate: str,
    kind: str,
    population: str | None = None,
    citations: list[dict[str, Any]] = [],  # noqa: B006 (never changed; the default is part of the manual)
    taxonomy: dict[str, str] = {},  # noqa: B006
    severity: str = "medium",
    suggested_fix: str = "",
    data_gap: str = "",
    notes: list[str] = [],  # noqa: B006
) -> dict[str, Any]:
    """Report a finding, citing {"trace_id", "seq", "quote", "role": "support" or "counter"}; the host counts, tests, checks.

    hypothesis_id: the hypothesis that was tested, None for a finding without one.
    title, claim, mechanism: a headline; what is true, without numbers (the host counts); why it happens.
    predicate, population, kind: as in submit_hypothesis; the predicate must run anywhere, so no temporary tables.
    citations: dicts of trace_id, seq, quote (verbatim from that step) and role ('support' or 'counter').
    taxonomy: {"actor": agent | simulated_user | environment | grader, "class": …, "mast": …}.
    severity: low, medium, high or critical. suggested_fix, data_gap: what to change; what data would teach it.
    notes: what could not be adjusted, excluded or decided.

    Returns a dict of what the host found: id, verdict_so_far and why, prevalence, failed_with_it, passed_with_it, contrast,
    citations_verified, citations_failed. Print it: finish() is refused in the same cell.
    Raises NotInARun outside `insights ask`, GatewayError with the reason when it is refused.

    >>> submit_finding(title="t", claim="c", mechanism="m", predicate="SELECT trace_id FROM traces", kind="prevalence")
    """
    return dict(
        _call(
            corpus,
            "submit_finding",
            hypothesis_id=hypothesis_id,
            title=title,
            claim=claim,
            mechanism=mechanism,
            predicate=predicate,
            kind=kind,
            population=population,
            citations=[dict(c) for c in citations],
            taxonomy=dict(taxonomy),
            severity=severity,
            suggested_fix=suggested_fix,
            data_gap=data_gap,
            notes=list(notes),
        )
    )


@verb(acts=True)
def explain(corpus: Corpus, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Say what went wrong in failed runs: dicts of trace_id, cause, who, seq, quote, instead, finding; see the manual.

    runs: dicts of trace_id; cause (the first thing that went wrong and decided the outcome, one sentence that names the
    mechanism); who (agent, simulated_user, environment, grader); seq and quote (verbatim, the step that shows it);
    instead (what should have been done there); finding (id of a submitted finding that the run is a case of; may be left out).
    Said again of a run it replaces what was said, except that a finding once named stays until another is.
    To tie a run to a finding that holds in it without more words, give trace_id and finding.

    Returns a dict: kept (count), refused (trace id -> why), unread (how many failed runs nobody has explained).
    Raises NotInARun outside `insights ask`.

    >>> explain([{"trace_id": "t1", "cause": "it trusts the customer's date over the record", "who": "agent", "seq": 4, "quote": "10 hours ago"}])
    """
    return dict(_call(corpus, "explain", runs=[dict(r) for r in runs]))


@verb(acts=True)
def dispatch(corpus: Corpus, role: str, briefs: list[dict[str, Any]]) -> list[Any]:
    """Send out other agents, one per brief, at the same time; gives their results in the order of the briefs.

    role: the role to play, 'scout' or 'investigator' or another file of agents/.
    briefs: dicts with what each is to do (task, slice or hypothesis_id …), as the role's file says.

    Raises NotInARun outside `insights ask`, GatewayError when this role may not dispatch that one.

    >>> dispatch("scout", [{"task": "look at the longest runs"}])
    """
    return list(_call(corpus, "dispatch", role=role, briefs=[dict(b) for b in briefs]))


@verb(acts=True)
def finish(corpus: Corpus, summary: str = "") -> None:
    """End this agent's work; `summary` goes to whoever sent it.

    Raises NotInARun outside `insights ask`.

    >>> finish("two hypotheses submitted")
    """
    _call(corpus, "finish", summary=summary)
