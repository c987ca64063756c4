"""What a run knows so far: hypotheses proposed, findings measured, cells run, failures still unexplained."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from insights.errors import GatewayRefused, PredicateError
from insights.findings import predicate as predicates
from insights.findings.examine import Examined, as_finding, examine, verdict
from insights.findings.partition import NO_CAUSE, PURITY, SYMPTOM, Root
from insights.findings.verdict import q_values
from insights.records import Cause, Citation, FailedRun, Finding, Hypothesis, Predicate, TestedHypothesis
from primitives.stats.design import TASK

if TYPE_CHECKING:
    from primitives.corpus import Corpus

KINDS = ("prevalence", "contrast", "environment", "label_defect", "rare")
BROAD = 0.08  # of all failures: a contrast that holds as many is looked at more closely
MOST_HYPOTHESES = 400  # a run that proposes more has lost its question
WHO = ("agent", "simulated_user", "environment", "grader")
SAID_CHARS = 600  # of a sentence on one run
SYMPTOM_ONLY = "; it says what departs from the reference and not why, so no failure counts as explained by it"


@dataclass(frozen=True, slots=True)
class AgentCell:
    """One cell that an agent ran, with what it gave."""

    agent: str
    code: str
    stdout: str
    result: str | None
    error: str | None
    seconds: float


@dataclass
class Board:
    """`corpus` is the host's own opening. `confirmation` is a condition over traces for hypotheses mined from the other half."""

    corpus: Corpus
    confirmation: str | None
    tell: Callable[[str], None] = lambda line: None
    hypotheses: dict[str, Hypothesis] = field(default_factory=dict)
    examined: dict[str, Examined] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    cells: list[AgentCell] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    gateway_log: list[dict[str, Any]] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)  # in the order in which they were sent out
    submitted_by: dict[str, str] = field(default_factory=dict)  # finding id -> agent
    thinking: set[str] = field(default_factory=set)  # agents that are led by a model
    closing: set[str] = field(default_factory=set)  # agents in their last turn
    read: dict[str, FailedRun] = field(
        default_factory=dict
    )  # failed traces that a reader has explained; findings by id here
    looked: set[str] = field(default_factory=set)  # agents that have explained runs of the confirmation half
    unseen: dict[str, int] = field(default_factory=dict)  # agent -> cells it had run when it last submitted a finding
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        half = self.confirmation or "false"
        rows = self.corpus.con.execute(
            f"SELECT trace_id, success, {half} AS held FROM traces ORDER BY held, trace_id"
        ).fetchall()
        self.failed = [t for t, success, _ in rows if success is False]  # those of the discovery half first
        self.kept_back = {t for t, _, held in rows if held}
        self.n_passed = sum(success is True for _, success, _ in rows)
        self.n_traces = len(rows)

    @property
    def labelled(self) -> bool:
        return bool(self.failed) or self.n_passed > 0

    def propose(
        self,
        slot: str,
        statement: str,
        predicate: str,
        kind: str = "contrast",
        population: str | None = None,
        about: dict[str, Any] | None = None,
    ) -> str:
        """Take a hypothesis; returns its id. Raises GatewayRefused when it cannot be tested as it stands."""
        if kind not in KINDS:
            raise GatewayRefused(f"kind {kind!r} is none of {', '.join(KINDS)}")
        if len(self.hypotheses) >= MOST_HYPOTHESES:
            raise GatewayRefused(f"this run has {MOST_HYPOTHESES} hypotheses already", "merge or finish")
        try:
            code = predicates.check(self.corpus, predicate)
            predicates.population_size(self.corpus, population)
        except PredicateError as error:
            self.refused.append(f"{slot}: {statement}: {error}")
            raise GatewayRefused(str(error)) from error
        known = next(
            (h for h in self.hypotheses.values() if (h.predicate.code, h.population) == (code, population)), None
        )
        if known is not None:
            return known.id
        id = self._next_id(slot)
        self.hypotheses[id] = Hypothesis(id, statement, Predicate(code), kind, population, slot, about or {})  # type: ignore[arg-type]
        return id

    def _next_id(self, slot: str) -> str:
        """H2.13 is the 13th hypothesis of the second agent: ids do not depend on which of several agents is quicker."""
        if slot not in self.agents:
            self.agents.append(slot)
        return f"H{self.agents.index(slot) + 1}.{sum(h.slot == slot for h in self.hypotheses.values()) + 1}"

    def submit(
        self,
        slot: str,
        hypothesis_id: str | None,
        citations: tuple[Citation, ...],
        words: dict[str, Any],
        **changed: Any,
    ) -> dict[str, Any]:
        """Measure a hypothesis and keep it as a finding. Returns what the host saw."""
        if hypothesis_id is None:
            hypothesis_id = self.propose(slot, words["claim"] or words["title"], **changed)
        elif hypothesis_id not in self.hypotheses:
            raise GatewayRefused(f"no hypothesis {hypothesis_id!r}", "submit one first, or give None")
        h = self.hypotheses[hypothesis_id]
        code = predicates.check(self.corpus, changed["predicate"])
        h = replace(h, predicate=Predicate(code), kind=changed["kind"], population=changed["population"])
        self.hypotheses[hypothesis_id] = h
        mined = self.confirmation if h.about.get("mined") else None
        found = examine(self.corpus, h, confirmation=mined, given=citations, words=words)
        found = replace(found, own="mined" in h.about and (self.confirmation is None or h.slot in self.looked))
        self.examined[hypothesis_id] = found
        self.submitted_by[hypothesis_id] = slot
        self.unseen[slot] = self._cells_of(slot)
        return self._seen(found)

    def _cells_of(self, slot: str) -> int:
        return sum(cell.agent == slot for cell in self.cells)

    def check_finish(self, slot: str) -> None:
        """Raises GatewayRefused when an agent ends in the cell in which it submits: it would never see what came of it."""
        if slot not in self.closing and self.unseen.get(slot) == self._cells_of(slot):
            raise GatewayRefused(
                "finish in the cell of a submit_finding: you have not seen what the host found",
                "print the result, mend what was refuted or refused, and finish in a cell of its own",
            )

    def explain(self, slot: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
        """Keep what a reader says of failed runs. What cannot be kept is told back by trace, with the reason.

        What an agent proposes that has read runs of the confirmation half is not tested by that half.
        """
        failed, kept, refused = set(self.failed), 0, {}
        if {str(run.get("trace_id")) for run in runs} & self.kept_back:
            self.looked.add(slot)
        for run in runs:
            trace_id = str(run.get("trace_id"))
            try:
                if trace_id not in failed:
                    raise GatewayRefused("no failed trace of this corpus has this id")
                self.read[trace_id] = self._explained(trace_id, run)
                kept += 1
                self._check_case(trace_id, run.get("finding"))
            except GatewayRefused as error:
                refused[trace_id] = str(error)
        return {"kept": kept, "refused": refused, "unread": len(self.unread())}

    def unread(self) -> list[str]:
        """Failed traces of which no reader has said what went wrong."""
        return [t for t in self.failed if t not in self.read or not self.read[t].cause]

    def _explained(self, trace_id: str, run: dict[str, Any]) -> FailedRun:
        from insights.diagnose.quotes import LEAST_WORDS, find_quote

        before = self.read.get(trace_id)
        known = before.finding_id if before is not None else None
        named = str(run["finding"]) if self._holds(trace_id, run.get("finding")) else known
        if before is not None and not run.get("cause"):
            return replace(before, finding_id=named)
        if named is not None and not run.get("cause"):
            return FailedRun(trace_id, named, _actor(self.examined[named]), "", None, "", "")
        cause, who = str(run.get("cause") or "").strip(), str(run.get("who")).strip().replace(" ", "_")
        if not cause or who not in WHO:
            raise GatewayRefused("it needs a cause, and who as one of " + ", ".join(WHO))
        seq = run.get("seq")
        place = find_quote(self.corpus, trace_id, seq if isinstance(seq, int) else None, str(run.get("quote") or ""))
        if place is None:
            raise GatewayRefused(
                "the quotation does not stand in the trace or is too short to show anything",
                f"copy {LEAST_WORDS} words or more, letter by letter",
            )
        instead = str(run.get("instead") or "")
        return FailedRun(trace_id, named, who, cause[:SAID_CHARS], *place, instead[:SAID_CHARS])

    def _holds(self, trace_id: str, finding: Any) -> bool:
        return finding in self.examined and trace_id in self.examined[finding].trace_ids

    def _check_case(self, trace_id: str, finding: Any) -> None:
        if finding and not self._holds(trace_id, finding):
            what = "its predicate does not hold in this run" if finding in self.examined else "no such finding"
            raise GatewayRefused(f"kept, but not as a case of {finding}: {what}")

    def roots(self) -> dict[str, Root]:
        """What readers said, as the partition asks for it."""
        return {t: Root(run.actor, run.finding_id) for t, run in self.read.items()}

    def failed_runs(self, causes: Sequence[Cause]) -> tuple[FailedRun, ...]:
        """Every failed trace under the cause that it is counted for, those read first; none where nobody read any."""
        if not self.read:
            return ()
        rows = []
        for cause in causes:
            for trace_id in cause.trace_ids:
                silent = FailedRun(trace_id, None, cause.actor, "", None, "", "")
                read = self.read.get(trace_id, silent)
                rows.append(replace(read, finding_id=cause.finding_id, actor=cause.actor))
        return tuple(sorted(rows, key=lambda run: not run.cause))

    def seen(self, id: str) -> dict[str, Any]:
        """What the host saw of a finding, in short, for whoever sent the agent that submitted it."""
        whole = self._seen(self.examined[id])
        words = self.examined[id].words
        return {
            "title": words.get("title"),
            **{k: whole[k] for k in ("id", "verdict_so_far", "why", "failed_with_it", "passed_with_it")},
        }

    def by_model(self, id: str) -> bool:
        """Whether a finding was submitted by an agent that thinks, not by a playbook."""
        return self.submitted_by.get(id) in self.thinking

    def _seen(self, found: Examined) -> dict[str, Any]:
        found, decided, why = verdict(found, found.contrast.p if found.contrast else None, labelled=self.labelled)
        p, c = found.prevalence, found.contrast
        return {
            "id": found.hypothesis.id,
            "verdict_so_far": decided,
            "why": why + _more(found, decided),
            "prevalence": {"k": p.k, "n": p.n, "low": p.low, "high": p.high, "method": p.method},
            "failed_with_it": found.terminal,
            "passed_with_it": found.recovered,
            "contrast": None
            if c is None
            else {"with": [c.with_.k, c.with_.n], "without": [c.without.k, c.without.n], "risk_difference": c.risk_difference,
                  "low": c.low, "high": c.high, "p": c.p, "test": c.test, "adjusted": c.adjusted},
            "citations_verified": len(found.citations),
            "citations_failed": found.failed_citations,
        }  # fmt: skip

    def conclude(self) -> tuple[list[Finding], list[TestedHypothesis]]:
        """Every measured hypothesis judged with the q-values of all of them, and every one tried in a row of its own."""
        from insights.findings.examine import as_tested

        items = sorted(self.examined.values(), key=lambda e: _number(e.hypothesis.id))  # not as investigators finish
        qs = q_values([e.contrast.p if e.contrast and e.hypothesis.kind == "contrast" else None for e in items])
        findings, tested = [], []
        for item, q in zip(items, qs, strict=True):
            judged, decided, why = verdict(item, q, labelled=self.labelled)
            findings.append(as_finding(judged, decided, why, len(self.failed)))
            tested.append(as_tested(judged, decided, why))
        for id in self.hypotheses.keys() - self.examined.keys():
            h = self.hypotheses[id]
            tested.append(
                TestedHypothesis(
                    h.id,
                    h.statement,
                    h.predicate,
                    "inconclusive",
                    0,
                    0,
                    None,
                    None,
                    "merged into another or not reached",
                )
            )
        tested.sort(key=lambda t: _number(t.id))
        return findings, tested

    def coverage(self) -> dict[str, Any]:
        """The ledger: failures that a finding of mostly failing traces explains or a reader called a case of one, and the rest.

        `by_symptom_only`: of the unexplained, those of which it is known what departs from the reference, and not why.
        `unread`: failures that nobody explained one by one.

        A broad finding holds many failures and says little of where they come from: it is worth a narrower look.
        """
        findings, _ = self.conclude()
        explained: set[str] = set()
        symptom: set[str] = set()
        for f in findings:
            known = (f.terminal or 0) + (f.recovered or 0)
            tier = int(f.taxonomy.get("tier", 1))
            if f.verdict == "confirmed" and tier < NO_CAUSE and known and (f.terminal or 0) / known >= PURITY:
                (symptom if tier >= SYMPTOM and f.kind != "contrast" else explained).update(f.trace_ids)
        held = {f.id for f in findings if f.verdict in ("confirmed", "descriptive")}
        explained |= {t for t, run in self.read.items() if run.finding_id in held}
        left = [t for t in self.failed if t not in explained]
        broad = [
            {
                "id": f.id,
                "title": f.title,
                "predicate": f.predicate.code,
                "population": f.population,
                "cause": f.taxonomy.get("cause"),
            }
            for f in findings
            if f.verdict in ("confirmed", "descriptive")
            and f.kind == "contrast"
            and (f.terminal or 0) >= max(20, BROAD * len(self.failed))
        ]
        return {
            "failed": len(self.failed),
            "explained": len(self.failed) - len(left),
            "unexplained": left,
            "by_symptom_only": sorted(symptom - explained),
            "unread": self.unread(),
            "read": {
                t: {"who": run.actor, "cause": run.cause, "finding": run.finding_id}
                for t, run in self.read.items()
                if run.cause
            },
            "disagree": self._disagree(),
            "broad": broad,
        }

    def _disagree(self) -> list[dict[str, str]]:
        """Of each task whose failed runs readers put to different parties: who, by trace."""
        rows = self.corpus.con.execute(f"SELECT {TASK}, trace_id FROM traces WHERE NOT success AND task_id IS NOT NULL")
        tasks: dict[str, dict[str, str]] = {}
        for task, trace_id in rows.fetchall():
            if trace_id in self.read:
                tasks.setdefault(task, {})[trace_id] = self.read[trace_id].actor
        return [runs for _, runs in sorted(tasks.items()) if len(set(runs.values())) > 1]


def _actor(found: Examined) -> str:
    about = {**found.hypothesis.about, **found.words}
    return str((about.get("taxonomy") or {}).get("actor", "agent"))


def _more(found: Examined, decided: str) -> str:
    """What an agent should know beside the verdict: on how little a contrast was tested, or that a finding is a symptom."""
    if found.hypothesis.kind != "contrast":
        return SYMPTOM_ONLY if _tier(found) == SYMPTOM else ""
    c = found.contrast
    if decided != "inconclusive" or c is None:
        return ""
    tested = f"{c.with_.k} of {c.with_.n} with it succeed, {c.without.k} of {c.without.n} without"
    return f"; tested on traces that did not suggest it: {tested}. Too few to tell, which refutes nothing"


def _tier(found: Examined) -> int:
    about = {**found.hypothesis.about, **found.words}
    return int((about.get("taxonomy") or {}).get("tier", 1))


def _number(id: str) -> list[int]:
    """Of a hypothesis: H2.13 comes after H2.2."""
    return [int(part) for part in id[1:].split(".")]
