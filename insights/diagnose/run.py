"""`insights ask`: orchestrate the roles over a corpus and bring home a report."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insights import __version__
from insights.config import agents_dir
from insights.diagnose import labels, reason, roles
from insights.diagnose.agent import Outcome, play
from insights.diagnose.answer import MOST_LINES
from insights.diagnose.board import Board
from insights.diagnose.meaning import indexed_beside
from insights.diagnose.question import Question, understand
from insights.errors import GatewayRefused
from insights.findings.partition import partition
from insights.findings.parts import by_part
from insights.findings.rank import by_cause, ranked
from insights.kernel import Gateway, Kernel, Limits
from insights.records import Citation, Finding, Report

if TYPE_CHECKING:
    from insights.models import Tiers
    from primitives.corpus import Corpus

# traces; a smaller corpus is not halved. At q .10, of which about p .01 is left, half of 84 shows a loss of 40 points in a fifth
# of the traces 16 times in 100, half of 150 60 times, half of 200 75 times (Fisher). What data suggested is then no more than an
# association: see Board.submit
SPLIT_ABOVE = 150

NO_COST = {"usd": 0.0, "input_tokens": 0, "output_tokens": 0, "calls": 0}
MOSTLY_READ = 0.8  # share of the failed runs
MOST_FINDINGS = 24  # a reader's patience; what ranks lower is listed with the hypotheses


@dataclass
class Run:
    """One run over one corpus; `settings` is the section `diagnose` of the configuration."""

    corpus: Corpus
    question: Question
    folder: Path
    settings: dict[str, Any]
    sandbox: str = "auto"
    agents: Path = field(default_factory=agents_dir)
    tell: Callable[[str], None] = lambda line: None
    tiers: Tiers | None = None

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.seed = int(self.settings["seed"])
        self.discovery, confirmation = halves(self.corpus, self.seed)
        self.board = Board(self.corpus, confirmation, self.tell)
        self._places = asyncio.Semaphore(int(self.settings["agents_at_once"]))
        self._count: dict[str, int] = {}
        self.working: dict[str, str] = {}
        self.dispatched = 0
        self.broken_off: list[str] = []
        self.means = self.sandbox
        self.mind = None if self.tiers is None else reason.Mind.of(self, self.tiers)

    async def go(self) -> Report:
        """Run the roles to their end and put the report together."""
        async with nullcontext() if self.mind is None else indexed_beside(self.corpus.path):
            await self.agent("orchestrator", ["rounds"], self.brief())
            if self.mind is not None:
                await self.mind.lead()
        findings, tested = self.board.conclude()
        held = ranked([f for f in findings if f.verdict in ("confirmed", "descriptive")], self.question.intent)
        causes = partition(held, self.board.failed, self._tiers(held), self.board.roots())
        if self.board.read:
            held = by_cause(held, causes, self.question.intent)
        shown = self._shown(held, {c.finding_id for c in causes})
        findings = renumbered(shown)
        ids = {old.id: new.id for old, new in zip(shown, findings, strict=True)}
        causes = tuple(replace(c, finding_id=ids.get(c.finding_id or "")) for c in causes)
        failures = self.board.failed_runs(causes)
        answer = [*self._unfinished(), *await self._answer(findings, causes)][:MOST_LINES]
        return Report(
            run_id=self.folder.name,
            question=self.question.text,
            intent=f"{self.question.intent} ({self.question.rule})",
            answer=tuple(answer),
            corpus={**describe(self.corpus), "parts": by_part(self.corpus.con, causes)},
            model=None if self.mind is None else self.mind.name,
            cost=NO_COST if self.tiers is None else self.tiers.ledger.cost(),
            partition=causes,
            findings=tuple(findings),
            hypotheses=tuple(tested),
            not_analysed=self._not_analysed(),
            made=self._made(),
            failures=failures,
        )

    def _shown(self, held: list[Finding], used: set[str | None]) -> list[Finding]:
        """The findings that a reader has patience for; the others are listed with the hypotheses.

        Where nearly all failed runs were read, what code counted of the agent and explains none of them says less than is known.
        """
        read = self.board.read and len(self.board.read) >= MOSTLY_READ * len(self.board.failed)
        patience, beside = (0, ("label_defect", "environment")) if read else (MOST_FINDINGS, ("label_defect",))
        return [
            f
            for i, f in enumerate(held)
            if i < patience or f.id in used or f.kind in beside or self.board.by_model(f.id)
        ]

    async def agent(self, name: str, sections: list[str], brief: dict[str, Any]) -> dict[str, Any]:
        """Set one role to work in a kernel of its own, by `sections` of its playbook or, with none, by its model.

        Returns what it brought, for whoever sent it.
        """
        role = roles.load(self.agents, name)
        self._count[name] = self._count.get(name, 0) + 1
        agent = f"{name}-{self._count[name]}"
        self.board.agents.append(agent)
        if self.mind is not None and not sections:
            self.board.thinking.add(agent)
        place = self._places if name != "orchestrator" else asyncio.Semaphore(1)
        async with place:
            self.working[agent] = ", ".join(sections) or str(brief.get("task", "thinks"))
            self.tell(f"{agent}: {self.working[agent][:200]}")
            ended: list[str] = []
            handlers = self._handlers(role, agent, ended, thinks=not sections and self.mind is not None)
            gateway = Gateway(handlers, log=self.board.gateway_log.append)
            async with Kernel(
                self.corpus.path,
                self.folder,
                gateway=gateway,
                limits=self._limits(name),
                sandbox=self.sandbox,
                name=agent,
            ) as kernel:
                self.means = kernel.sandbox
                if sections or self.mind is None:
                    outcome = await play(agent, role, sections, brief, kernel, self.board)
                else:
                    outcome = await self.mind.think(agent, role, brief, kernel, ended)
        del self.working[agent]
        if outcome.stopped == "failed":
            self.broken_off.append(f"{agent}: {outcome.summary[:300]}")
        return self._brought(agent, outcome)

    def _brought(self, agent: str, outcome: Outcome) -> dict[str, Any]:
        mine = [h for h in self.board.hypotheses.values() if h.slot == agent]
        return {
            "agent": agent,
            "stopped": outcome.stopped,
            "summary": outcome.summary,
            "failed_cells": outcome.failed_cells,
            "hypotheses": [
                {"id": h.id, "statement": h.statement, "predicate": h.predicate.code, "kind": h.kind,
                 "population": h.population, "about": h.about}
                for h in mine
            ],
            "findings": [self.board.seen(i) for i, by in self.board.submitted_by.items() if by == agent and i in self.board.examined],
        }  # fmt: skip

    def _limits(self, name: str) -> Limits:
        memory = int(self.settings["memory_gib"]) << 30
        seconds = float(self.settings["cell_seconds"])
        if self.mind is None:
            return Limits(memory_bytes=memory, cell_seconds=seconds)
        return Limits(memory_bytes=memory, cell_seconds=seconds, output_chars=int(self.settings["cell_chars"]))

    def _handlers(self, role: roles.Role, agent: str, ended: list[str], thinks: bool) -> dict[str, Callable[..., Any]]:
        """What the role may do through the gateway, bound to this agent."""
        board = self.board

        def submit_hypothesis(**p: Any) -> str:
            if thinks:
                p = reason.proposed(p)
            return board.propose(agent, **p)

        async def submit_finding(hypothesis_id: str | None = None, **p: Any) -> dict[str, Any]:
            if thinks:
                reason.check_words(p)
            if self.mind is not None:
                await self.mind.read_gold(p["predicate"])
            cited = tuple(
                Citation(c["trace_id"], int(c["seq"]), c["quote"], c.get("role", "support"))
                for c in p.pop("citations", ())
            )
            tested = {k: p.pop(k, None) for k in ("predicate", "kind", "population")}
            if thinks and hypothesis_id is None:
                hypothesis_id = submit_hypothesis(statement=p["claim"] or p["title"], about={}, **tested)
            if thinks and hypothesis_id in board.hypotheses:
                known = board.hypotheses[hypothesis_id].about.get("taxonomy")
                p["taxonomy"] = reason.classed(tested, known, p.get("taxonomy"))
            seen = board.submit(agent, hypothesis_id, cited, p, **tested)
            if thinks:
                try:
                    reason.check_measured(seen, board.labelled and self.question.intent == "failure", tested["kind"])
                except GatewayRefused:
                    del board.examined[seen["id"]]
                    raise
            return seen

        def finish(summary: str = "") -> None:
            if thinks:
                board.check_finish(agent)
            ended.append(str(summary)[:4000])

        async def dispatch(role: str, briefs: list[dict[str, Any]]) -> list[Any]:
            if role not in ("scout", "investigator"):
                raise GatewayRefused(f"role {role!r} cannot be dispatched", "scout or investigator")
            if thinks:
                self._check_dispatch(briefs)
            self.dispatched += 1
            return await asyncio.gather(
                *(self.agent(role, [] if thinks else list(b.get("sections", ())), self.brief() | b) for b in briefs)
            )

        allowed: dict[str, Callable[..., Any]] = {
            "submit_hypothesis": submit_hypothesis,
            "submit_finding": submit_finding,
            "dispatch": dispatch,
            "coverage": board.coverage,
            "explain": lambda runs: board.explain(agent, runs),
            "finish": finish,
            "save_cohort": lambda name, trace_ids: labels.save_cohort(self.corpus, name, trace_ids, self.folder.name),
        }
        if self.mind is not None:
            allowed |= self.mind.verbs()
        return {name: handler for name, handler in allowed.items() if name in role.verbs}

    def _check_dispatch(self, briefs: list[dict[str, Any]]) -> None:
        """Raises GatewayRefused when a model sends out more agents than a run may have, or when its money is nearly spent."""
        most = int(self.settings["most_agents"])
        if len(self.board.agents) + len(briefs) > most:
            raise GatewayRefused(
                f"a run may send out {most} agents in all; {len(self.board.agents)} have been", "finish"
            )
        if self.mind is not None and self.mind.tiers.budget.wrap_up:
            raise GatewayRefused("the budget is nearly spent: what is left is for finishing", "finish")

    def brief(self) -> dict[str, Any]:
        """What every agent is told."""
        con = self.corpus.con
        slices = con.execute("SELECT name, count(DISTINCT value) FROM slices GROUP BY 1 ORDER BY 1").fetchall()
        return {
            "question": self.question.text,
            "intent": self.question.intent,
            "terms": list(self.question.terms),
            "named": [list(n) for n in self.question.named],
            "labelled": self.board.labelled,
            "n_traces": self.board.n_traces,
            "n_failed": len(self.board.failed),
            "discovery": self.discovery,
            "slices": [list(s) for s in slices],
            "tasks": self._tasks(),
            "beside": self._beside(),
            "has_reference": con.execute("SELECT EXISTS (SELECT 1 FROM expected)").fetchall()[0][0],
            "rounds": int(self.settings["rounds"]),
            "investigators": int(self.settings["investigators"]),
            "seed": self.seed,
        }

    def _tasks(self) -> str:
        """Whether failing runs have passing ones of the same task beside them."""
        n, several, mixed = self.corpus.con.execute(
            "SELECT count(*), count(*) FILTER (n > 1), count(*) FILTER (mixed) FROM (SELECT count(*) AS n, "
            "bool_or(success) AND NOT bool_and(success) AS mixed FROM traces WHERE task_id IS NOT NULL GROUP BY task_id)"
        ).fetchall()[0]
        if not n:
            return "no trace names its task: there is no run of the same task to compare with"
        if not several:
            return f"{n} tasks, one run each: there is no passing run of the same task, compare with runs that met the same situation"
        return f"{n} tasks; {several} have several runs, {mixed} of these both passing and failing ones"

    def _beside(self) -> str:
        """What traces.extra holds beside the steps: rules, a user's script, the task as it was set."""
        rows = self.corpus.con.execute(
            "SELECT name, count(DISTINCT value), median(length(value))::BIGINT FROM (SELECT name, extra ->> ('$.\"' || name || '\"') AS value "
            "FROM (SELECT extra, unnest(json_keys(extra)) AS name FROM traces WHERE extra IS NOT NULL)) WHERE name <> 'slices' "
            "GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT 8"
        ).fetchall()
        listed = ", ".join(f"{name} ({length:,} characters, {values:,} different)" for name, values, length in rows)
        return f"traces.extra has {listed}; read one by sql(\"SELECT extra->>'{rows[0][0]}' …\")" if rows else ""

    async def _answer(self, findings: list[Finding], causes: Any) -> list[str]:
        from insights.diagnose.answer import lines

        plain = lines(self.question, self.board, findings, causes)
        return plain if self.mind is None else await self.mind.synthesize(findings, causes, plain)

    def _tiers(self, findings: list[Finding]) -> dict[str, float]:
        """Who is asked first for the cause of a failure: of two mechanisms the one that a reader gave."""
        tiers = {f.id: float(f.taxonomy.get("tier", 1)) for f in findings}
        return {i: tier - 0.5 if tier == 1 and self.board.by_model(i) else tier for i, tier in tiers.items()}

    def _not_analysed(self) -> dict[str, Any]:
        con = self.corpus.con
        issues = con.execute(
            "SELECT code, sum(n)::BIGINT FROM ingest_issues WHERE severity <> 'info' GROUP BY 1 ORDER BY 2 DESC"
        ).fetchall()
        unread = con.execute(
            "SELECT count(*) FROM sources WHERE status NOT IN ('ok', 'partial', 'truncated')"
        ).fetchall()
        return {
            "files_not_read": unread[0][0],
            "ingest_issues": dict(issues),
            "hypotheses_refused": self.board.refused,
            "cells_that_failed": self.board.failures,
            "model": "no model: meaning that only a reader can judge was not judged",
            **({} if self.mind is None else self.mind.not_analysed()),
        }

    def _unfinished(self) -> list[str]:
        """The line that comes first where agents lost their model."""
        if not self.broken_off:
            return []
        n = len(self.broken_off)
        return [
            f"Not finished: {n} of the agents got no answer from the model ({self.broken_off[0]}). "
            f"`insights ask --resume {self.folder}` asks again and pays nothing twice."
        ]

    def _made(self) -> dict[str, Any]:
        import duckdb

        return {
            "insights": __version__,
            "duckdb": duckdb.__version__,
            "seed": self.seed,
            "sandbox": self.means,
            "seconds": round(time.monotonic() - self.started, 1),
            "agents": dict(self._count),
            "cells": len(self.board.cells),
            "split": "half the tasks to propose, the other half to test what was mined" if self.discovery else
            f"not split: fewer than {SPLIT_ABOVE} traces; contrasts that the data suggested are called associations",
        }  # fmt: skip


def halves(corpus: Corpus, seed: int) -> tuple[str | None, str | None]:
    """(discovery, confirmation): conditions over `traces` that halve a corpus by task, or (None, None) for a small one."""
    n = corpus.con.execute("SELECT count(*) FROM traces").fetchall()[0][0]
    if n < SPLIT_ABOVE:
        return None, None
    key = f"md5(concat('{seed}/', coalesce(task_id, trace_id)))"
    return f"{key} < '8'", f"{key} >= '8'"


def renumbered(findings: list[Finding]) -> list[Finding]:
    """Findings F1, F2, … in their order."""
    return [replace(f, id=f"F{i}") for i, f in enumerate(findings, 1)]


def describe(corpus: Corpus) -> dict[str, Any]:
    """What the report says of its corpus."""
    row = corpus.con.execute(
        "SELECT count(*), count(*) FILTER (success), count(*) FILTER (NOT success), count(*) FILTER (success IS NULL), "
        "count(DISTINCT (dataset, task_id)) FILTER (task_id IS NOT NULL), "
        "min(started_at), max(started_at), sum(cost_usd), (SELECT fingerprint FROM corpus_info) FROM traces"
    ).fetchall()[0]
    names = ("n_traces", "n_passed", "n_failed", "n_unlabelled", "n_tasks", "from", "to", "cost_usd", "fingerprint")
    found = dict(zip(names, row, strict=True))
    for time_name in ("from", "to"):
        found[time_name] = str(found[time_name]) if found.get(time_name) else None
    return {"path": str(corpus.path), **found}


def run_id(question: str) -> str:
    """A folder name that sorts by time and says what was asked."""
    words = "-".join(re.findall(r"[a-z0-9]+", question.lower())[:6]) or "question"
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + "-" + words[:40]


def ask(
    corpus: Corpus, question: str, folder: Path, settings: dict[str, Any], *, sandbox: str = "auto",
    tell: Callable[[str], None] = lambda line: None, tiers: Tiers | None = None, agents: Path | None = None,
    follow: Callable[[Run], None] = lambda run: None,
) -> tuple[Report, Board]:  # fmt: skip
    """Ask a question of an opened corpus; `folder` is the run's. Returns the report and the board it was made from."""
    slices = corpus.con.execute("SELECT DISTINCT name, value FROM slices").fetchall()
    run = Run(corpus, understand(question, slices), folder, settings, sandbox, agents or agents_dir(), tell, tiers)
    follow(run)
    return asyncio.run(run.go()), run.board
