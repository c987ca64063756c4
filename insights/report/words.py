"""Numbers in words: the one place where a report says k of n, an interval, a contrast, money and time."""

from __future__ import annotations

import re
from dataclasses import replace

from insights.records import Contrast, Count, Finding, Prevalence, Report

NONE_SHOWN = "none shown"  # a difference whose interval spans zero
WIDEST = 1.0  # of an interval of a difference; a wider one says nothing
BAR_WIDTH = 24  # characters of a text bar between 0 and 100 %
ACTORS = {
    "agent": "the agent",
    "simulated_user": "the simulated user",
    "environment": "the environment",
    "grader": "the grader or task",
    "limit": "the agent, at the harness's limit",
    "several": "several",
}


def percent(share: float) -> str:
    """A share of one as per cent; never rounded to 0 or 100 unless it is."""
    value = 100 * share
    if 0 < value < 1 or 99 < value < 100:
        return f"{value:.1f} %"
    return f"{value:.0f} %"


def points(difference: float) -> str:
    """A difference of shares as signed percentage points."""
    value = round(100 * difference)
    return "±0" if value == 0 else f"{value:+d}".replace("-", "−")


def share(k: int, n: int) -> float:
    return k / n if n else 0.0


def prevalence(p: Prevalence) -> str:
    """`18 of 200 traces, 9 % (95 % interval 6 % to 14 %; 3 not read or not judged)`."""
    if not p.n:
        return "no trace is eligible"
    unscored = f"; {p.unscored:,} not read or not judged" if p.unscored else ""
    if p.method.startswith("not measured"):
        return f"{p.k:,} of {p.n:,} {plural(p.n, 'trace', 'traces')} by the judge's own count ({p.method}{unscored})"
    return (
        f"{p.k:,} of {p.n:,} {plural(p.n, 'trace', 'traces')}, {percent(share(p.k, p.n))} "
        f"(95 % interval {percent(p.low)} to {percent(p.high)}{unscored})"
    )


def bar(p: Prevalence, width: int = BAR_WIDTH) -> str:
    """The interval on a scale from 0 to 100 %: `├` low, `●` k of n, `┤` high."""
    scale = ["·"] * width
    low, at, high = (min(width - 1, max(0, round(x * (width - 1)))) for x in (p.low, share(p.k, p.n), p.high))
    for i in range(low, high + 1):
        scale[i] = "─"
    scale[low], scale[high] = "├", "┤"
    scale[at] = "●"
    return "".join(scale)


def contrast(f: Finding) -> str:
    """What a finding's contrast says, and on how many traces it was tested where these are not all eligible ones.

    `Where it happens 18 of 20 fail (90 %), where it does not 98 of 180 (54 %); difference within tasks +35 points …`
    """
    if f.contrast is None:
        return ""
    if by_hand(f):
        return "Not compared with other runs: its traces were chosen by reading"
    c = unfavourable(f.contrast)
    tested = c.with_.n + c.without.n
    where = "Where" if tested == f.prevalence.n else f"Tested on {tested:,} traces with an outcome: where"
    return (
        f"{where} it happens {c.with_.k:,} of {c.with_.n:,} {outcome_verb(c.outcome)} ({percent(share(c.with_.k, c.with_.n))}), "
        f"where it does not {c.without.k:,} of {c.without.n:,} ({percent(share(c.without.k, c.without.n))}). "
        f"{_difference(c)}"
    )


def _difference(c: Contrast) -> str:
    """`Among runs of the same task: +35 points (95 % interval …)`, or in so many words that difficulty is not taken out."""
    if c.high - c.low > WIDEST:
        return "Too few of both kinds, among runs that can be compared, to say more."
    said = [f"95 % interval {points(c.low)} to {points(c.high)}"]
    said += [f"{name} {small(value)}" for name, value in (("p", c.p), ("q", c.q)) if value is not None]
    strata = f", {c.strata:,} {plural(c.strata, 'stratum', 'strata')}" if c.strata > 1 or c.adjusted else ""
    if c.adjusted:
        head = "Among runs of the same task:"
    elif group := grouped_by(c):
        head = f"Within each {group}, harder tasks not told from easier ones:"
    else:
        head = "Harder tasks not told from easier ones:"
    return f"{head} {points(c.risk_difference)} points ({', '.join(said)}; {c.test}{strata})"


def grouped_by(c: Contrast) -> str | None:
    """The grouping other than the task that an unadjusted contrast was taken within, in words; None without one."""
    found = re.search(r"; ([\w .-]+) \(\d+ groups\), not for task difficulty", c.test)
    return found[1].replace("_", " ") if found and not c.adjusted and c.strata else None


def unfavourable(c: Contrast) -> Contrast:
    """The contrast told as failures: one measured on success is turned round, so that more is worse everywhere."""
    if c.outcome != "success":
        return c
    return replace(
        c,
        outcome="failure",
        with_=Count(c.with_.n - c.with_.k, c.with_.n),
        without=Count(c.without.n - c.without.k, c.without.n),
        risk_difference=-c.risk_difference,
        low=-c.high,
        high=-c.low,
        odds_ratio=1 / c.odds_ratio if c.odds_ratio else None,
    )


def by_hand(f: Finding) -> bool:
    """Whether the predicate itself names every trace that it gives: a reader's list, which finds no other trace."""
    return bool(f.trace_ids) and all(f"'{trace_id}'" in f.predicate.code for trace_id in f.trace_ids)


def verdict(f: Finding) -> str:
    """What was done: tested at equal difficulty, only associated, counted and not tested as a cause, or listed by hand."""
    if by_hand(f) and f.kind != "contrast":
        return "listed"
    if f.verdict == "descriptive" and f.contrast is None:
        return "counted"
    if f.verdict == "descriptive":
        return "association" if f.kind == "contrast" else "counted, no harm shown"
    return "counted" if f.verdict == "confirmed" and f.kind != "contrast" else f.verdict


def difference(c: Contrast) -> str:
    """`+35 points`, `+35 points, unadjusted`, or that no difference is shown because the interval spans zero."""
    c = unfavourable(c)
    if c.low <= 0 <= c.high:
        return NONE_SHOWN
    return f"{points(c.risk_difference)} points" + ("" if c.adjusted else ", unadjusted")


def harm(f: Finding) -> str:
    """How many of its traces fail, and how much more than others where that is shown: `10 of 12 fail; +49 points`."""
    known = (f.terminal or 0) + (f.recovered or 0)
    more = difference(f.contrast) if f.contrast and not by_hand(f) else ""
    if not known or (f.contrast and f.contrast.outcome != "success"):
        return more
    fail = f"{f.terminal or 0:,} of {known:,} fail"
    if f.contrast is None or more in ("", NONE_SHOWN):
        return fail
    tested = f.contrast.with_.n + f.contrast.without.n
    return f"{fail}; {more}" + ("" if tested >= f.prevalence.n else f", on {tested:,} runs")


def outcome_verb(outcome: str) -> str:
    return "fail" if outcome == "failure" else f"are “{outcome.replace('_', ' ')}”"


def small(p: float) -> str:
    """A p- or q-value: `= 0.03`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def fate(f: Finding) -> str | None:
    """Of the traces where it happens, how many fail and how many still pass; None where there are no outcomes."""
    if f.terminal is None and f.recovered is None:
        return None
    terminal, recovered = f.terminal or 0, f.recovered or 0
    return f"{terminal:,} of these traces fail, {recovered:,} still pass"


def labelled(report: Report) -> bool:
    """Whether the corpus says of any trace whether it passed."""
    return bool((report.corpus.get("n_passed") or 0) + (report.corpus.get("n_failed") or 0))


def corpus_line(report: Report) -> str:
    """`200 traces of 50 tasks: 84 pass, 116 fail`, or without outcomes `200 traces, none with an outcome`."""
    c = report.corpus
    n, tasks = c.get("n_traces") or 0, c.get("n_tasks") or 0
    head = f"{n:,} {plural(n, 'trace', 'traces')}"
    if 0 < tasks < n:
        head += f" of {tasks:,} {plural(tasks, 'task', 'tasks')}"
    if not labelled(report):
        return f"{head}, none with an outcome"
    unlabelled = c.get("n_unlabelled") or 0
    rest = f", {unlabelled:,} without an outcome" if unlabelled else ""
    return f"{head}: {c.get('n_passed') or 0:,} pass, {c.get('n_failed') or 0:,} fail{rest}"


def money(report: Report) -> str:
    """What the run spent."""
    cost = report.cost
    if not report.model:
        return "no model was used; nothing was spent"
    tokens = f"{cost.get('input_tokens') or 0:,} tokens in, {cost.get('output_tokens') or 0:,} out"
    calls = cost.get("calls") or 0
    usd = "an unknown sum (no price is known)" if cost.get("usd") is None else f"{cost['usd']:.2f} USD"
    return f"{usd} for {calls:,} {plural(calls, 'call', 'calls')} ({tokens})"


def seconds(value: float) -> str:
    if value < 90:
        return f"{value:.0f} s"
    minutes = value / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def plural(n: int, one: str, many: str) -> str:
    return one if n == 1 else many
