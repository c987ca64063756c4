"""From a hypothesis to a tested finding: count, contrast, quote, decide.

What is decided, and on what:

    contrast       the property goes with failing. Confirmed when the adjusted 95 % interval lies below zero and q (all
                   hypotheses of the run) is at most Q; refuted when the interval excludes a loss of MIN_EFFECT; else inconclusive.
                   Without strata to adjust for task difficulty it is at best "descriptive": an association, and said so.
    prevalence     it happens, and is a fault by its own definition or the corpus has no outcomes: confirmed by an exact count
    environment    with at least one verified quotation; "descriptive" where the traces that have it pass as often as those
    label_defect   that do not.
    rare           few traces, grave: confirmed by count and quotation.

A hypothesis that a Scout mined from the discovery half is tested on the confirmation half only; one that the playbook always
tries, whatever the data, is tested on all traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from insights.findings.judged import UNCORRECTED
from insights.records import Contrast, Count, Prevalence, Verdict

if TYPE_CHECKING:
    from primitives.corpus import Corpus

Q = 0.10  # false discovery rate over all hypotheses of a run
WIDE, CRUDE_LOSS = 0.5, 0.15  # an adjusted interval this wide says nothing; a crude loss this large is worth telling
OTHER_GROUP = "not for task difficulty"  # how `primitives.stats` ends the name of a grouping that is not the task
MIN_EFFECT = 0.05  # share points of success; a smaller loss is not worth a finding


def count(k: int, n: int, unscored: int = 0) -> Prevalence:
    """The prevalence of k in n with the interval that fits an exhaustive predicate."""
    from primitives.stats.intervals import share

    low, high, method = share(k, n)
    return Prevalence(k, n, unscored, low, high, method)


def contrast(
    corpus: Corpus, holds: str, population: str | None, outcome: str = "success", name: str | None = None
) -> Contrast | None:
    """Traces with the property against the rest; None where no outcome is known on one of the sides.

    `outcome` is boolean SQL over traces, `name` what the report calls it.
    """
    from primitives.stats import contrast as measure

    c = measure(corpus, holds, population=population, outcome=outcome)
    if not c["with_n"] or not c["without_n"] or c["risk_difference"] is None:
        return None
    if c["with_k"] + c["without_k"] in (0, c["with_n"] + c["without_n"]):
        return None  # one outcome only: there is nothing to contrast
    if c["p"] is None:
        return _crude(c, name or outcome)
    return Contrast(
        outcome=name or outcome,
        with_=Count(c["with_k"], c["with_n"]),
        without=Count(c["without_k"], c["without_n"]),
        risk_difference=c["risk_difference"],
        low=c["low"],
        high=c["high"],
        odds_ratio=c["odds_ratio"],
        p=c["p"],
        q=None,
        test=_test(c),
        strata=c["strata"],
        adjusted=bool(c["adjusted"]) and not str(c["adjusted_for"]).endswith(OTHER_GROUP),
    )


def _crude(c: dict[str, Any], outcome: str) -> Contrast:
    """The contrast over all traces, where it never varies together with the outcome within a stratum: an association."""
    from primitives.stats.intervals import newcombe

    value, low, high = (float(x) for x in newcombe(c["with_k"], c["with_n"], c["without_k"], c["without_n"]))
    with_, without = Count(c["with_k"], c["with_n"]), Count(c["without_k"], c["without_n"])
    test = (
        f"Fisher; it never varies together with the outcome within {c['adjusted_for']}" if c["adjusted"] else "Fisher"
    )
    return Contrast(outcome, with_, without, value, low, high, c["odds_ratio"], c["p_unadjusted"], None, test, 0, False)


def _test(c: dict[str, Any]) -> str:
    return f"{c['test']}; {c['adjusted_for']}" if c.get("adjusted_for") else str(c["test"])


def q_values(ps: Sequence[float | None]) -> list[float | None]:
    """Benjamini-Hochberg over the hypotheses of a run, in the order given; None was not tested and stays None."""
    import math

    from primitives.stats.multiplicity import q_values as adjust

    adjusted = adjust([math.nan if p is None else p for p in ps])
    return [None if p is None else float(q) for p, q in zip(ps, adjusted, strict=True)]


def decide(
    kind: str, prevalence: Prevalence, c: Contrast | None, supports: int, *, labelled: bool
) -> tuple[Verdict, str]:
    """(verdict, why in one sentence) of a tested hypothesis. `supports` is the number of verified quotations.

    A contrast on success is a loss of it; on any other outcome it is a difference in either direction.
    """
    if prevalence.k == 0:
        return "refuted", "it holds in no eligible trace"
    if supports == 0:
        return "inconclusive", "no quotation could be verified"
    if prevalence.method in UNCORRECTED and kind != "contrast":
        return "inconclusive", f"{prevalence.method}, and a judge's own count is no prevalence"
    if kind == "contrast":
        if not labelled and (c is None or c.outcome == "success"):
            return "descriptive", "the corpus has no outcomes to hold it against"
        return _decide_contrast(c)
    if kind == "rare":
        return "confirmed", "counted exactly; too few for a test"
    if c is None or kind in ("environment", "label_defect"):
        return "confirmed", "counted exactly over every eligible trace"
    if c.outcome == "success" and c.with_.k * c.without.n >= c.without.k * c.with_.n:
        return "descriptive", "counted exactly; traces that have it pass as often as those that do not"
    return "confirmed", "counted exactly over every eligible trace"


def _decide_contrast(c: Contrast | None) -> tuple[Verdict, str]:
    if c is None:
        return "inconclusive", "no trace with a known outcome on one of the two sides"
    if c.p is None:
        return "inconclusive", "it never varies together with the outcome at equal difficulty, so nothing can be tested"
    low, high = (
        (c.low, c.high)
        if c.outcome == "success"
        else sorted((-abs(c.low), -abs(c.high)))
        if c.low * c.high > 0
        else (-1.0, 1.0)
    )
    if low > -MIN_EFFECT:
        return "refuted", f"the interval excludes a difference of {MIN_EFFECT:.0%} or more ({c.test})"
    if c.q is not None and c.q <= Q and high < 0:
        if c.adjusted:
            return "confirmed", f"q {c.q:.2g} ({c.test})"
        return "descriptive", f"an association (q {c.q:.2g}), no cause: task difficulty could not be taken out"
    if c.outcome == "success" and c.adjusted and c.high - c.low > WIDE and _crude_loss(c) >= CRUDE_LOSS:
        return (
            "descriptive",
            "an association over all traces; it hardly varies within tasks, so difficulty cannot be told from cause",
        )
    return "inconclusive", f"the interval spans zero or q exceeds {Q} ({c.test})"


def _crude_loss(c: Contrast) -> float:
    """The least loss of success over all traces, unadjusted, that the 95 % interval allows."""
    from primitives.stats.intervals import newcombe

    return -float(newcombe(c.with_.k, c.with_.n, c.without.k, c.without.n)[2])
