"""What a model adds to a run: failures read one by one, agents that think, and an answer in words.

The playbook has run before, so that a run with a model is never poorer than one without. Whatever fails here is counted
on the board and the report is written from what there is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from insights.diagnose import roles, synthesize
from insights.diagnose.agent import Outcome
from insights.diagnose.board import WHO
from insights.diagnose.judge import Judge
from insights.diagnose.marks import Marks
from insights.diagnose.think import Thinker, task_text
from insights.diagnose.transcript import Transcript
from insights.errors import GatewayRefused, InsightsError
from insights.findings.judged import label_in
from insights.findings.partition import SYMPTOM

if TYPE_CHECKING:
    from insights.diagnose.run import Run
    from insights.kernel import Kernel
    from insights.models import Tiers
    from insights.records import Cause, Finding
    from primitives.corpus import Corpus

TYPED = re.compile(r"\d+(?:\.\d+)?\s*(?:%|percent\b|of\s+(?:the\s+)?\d|/\s*\d|out\s+of\b)", re.I)
VERDICT = re.compile(r"\b(success|score)\b", re.I)
SHOWN_LABELS = 30
SHOWN_FINDINGS = 24  # of the board, in the orchestrator's task
CATALOGUE_TOKENS = 3_500
ACTORS = (*WHO, "limit")
TABLES = ("traces", "steps", "tool_calls", "signals", "slices", "expected", "deviations", "labels")
HIDDEN = (
    "source_id", "native_id", "metadata", "src_offset", "src_len", "src_pointer", "span_id", "fingerprint", "fidelity",
    "usage_basis", "cost_basis", "time_basis", "prompt_hash", "run_id", "parent_seq", "parts", "tags", "llm_call_id", "session_id",
    "parent_trace_id", "parent_tool_call_key", "root_trace_id", "relation",
)  # fmt: skip
READING_SHARE = 0.4  # of the budget that the first reading may take


@dataclass
class Mind:
    """The models of one run at work."""

    run: Run
    tiers: Tiers
    marks: Marks
    judge: Judge
    slips: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, run: Run, tiers: Tiers) -> Mind:
        marks = Marks(run.folder)
        judge = Judge(run.corpus, tiers, marks, roles.load(run.agents, "judge"), run.folder.name, run.tell)
        return cls(run, tiers, marks, judge)

    @property
    def name(self) -> str:
        names = dict.fromkeys([self.tiers.strong.name, self.tiers.fast.name])
        return " and ".join(names)

    async def lead(self) -> None:
        """The first reading, then the orchestrator that thinks."""
        brief = self.run.brief()
        read = reading_size(self.run.corpus, self.tiers, int(self.run.settings["read"]))
        for sections, more in ((["reading"], {"read": read, "gold": int(self.run.settings["gold"])}), ([], None)):
            try:
                await self.run.agent("orchestrator", sections, brief | (more if more is not None else self._so_far()))
            except InsightsError as error:
                self.run.board.failures.append(f"orchestrator: {error}")

    async def think(
        self, agent: str, role: roles.Role, brief: dict[str, Any], kernel: Kernel, ended: list[str]
    ) -> Outcome:
        """One agent's work by the model of its tier."""
        import json

        model = self.tiers[role.tier]
        await kernel.run(f"import json\nbrief = json.loads({json.dumps(json.dumps(brief))})")
        about = {
            "agent": role.name, "model": model.name, "task_id": f"{role.name}: {self.run.question.text}",
            "run_id": self.run.folder.name, "framework": "insights",
        }  # fmt: skip
        transcript = Transcript(self.run.folder, agent, about)
        thinker = Thinker(
            agent,
            role,
            kernel,
            model,
            self.marks,
            self.run.board,
            transcript,
            lambda: ended[-1] if ended else None,
            self.slips,
        )
        outcome = await thinker.think(self.system(role, brief), task_text(brief))
        self.run.tell(f"{agent}: {outcome.stopped}, {thinker.tokens:,} tokens: {outcome.summary[:160]}")
        return outcome

    def system(self, role: roles.Role, brief: dict[str, Any]) -> str:
        """The role's prompt, the same for every agent of that role."""
        from primitives.catalogue import catalogue
        from primitives.registry import VERBS

        names = sorted(n for n, v in VERBS.items() if not (v.acts or v.spends) or n in role.verbs)
        return role.render(
            question=self.run.question.text, catalogue=catalogue(CATALOGUE_TOKENS, names), tables=tables(self.run.corpus),
            discovery=self.run.discovery, read=self.judge.read + self.judge.reused > 0,
        )  # fmt: skip

    def verbs(self) -> dict[str, Callable[..., Any]]:
        """What only a run with a model can do for a cell."""
        return {"classify": self.judge.classify, "extract": self.judge.extract, "summarize": self.judge.summarize}

    async def read_gold(self, predicate: str) -> None:
        """Before a finding on a judged label is counted: its gold, unless it has some."""
        label = label_in(self.run.corpus, predicate)
        if label is not None:
            await self.judge.ensure_gold(label, int(self.run.settings["gold"]))

    async def synthesize(self, findings: Sequence[Finding], causes: Sequence[Cause], plain: list[str]) -> list[str]:
        """The answer in the model's words and the findings' numbers; `plain` where it cannot be had."""
        role = roles.load(self.run.agents, "synthesizer")
        try:
            found = await synthesize.write(
                role, self.tiers[role.tier], self.marks, self.run.question.text, findings, causes, self.run.board
            )
        except InsightsError as error:
            self.run.board.failures.append(f"synthesizer: {error}")
            return plain
        return found or plain

    def not_analysed(self) -> dict[str, Any]:
        """What the models could not do, and what was kept from them."""
        return {
            "model": f"{self.judge.read} readings of traces, {self.judge.reused} reused; "
            f"{sum(self.judge.unjudged.values())} answers could not be used",
            "answers_not_used": dict(self.judge.unjudged),
            "model_slips": dict(self.slips),
            "secrets_masked": self.tiers.masked,
            "budget": "reached: the run was wrapped up early" if self.tiers.budget.wrap_up else "not reached",
        }

    def _so_far(self) -> dict[str, Any]:
        """What the orchestrator is told: bounded, whatever the size of the corpus."""
        board = self.run.board
        findings, tested = board.conclude()
        told = [f for f in findings if f.verdict in ("confirmed", "descriptive")]
        told.sort(key=lambda f: (f.verdict, -f.rank_score, f.id))
        lines = [
            f"{f.id} {f.verdict}, {f.kind}, {f.taxonomy.get('actor', 'agent')}: {f.title[:140]} ({f.prevalence.k} of {f.prevalence.n}; "
            f"{f.terminal} of them fail, {f.recovered} pass)"
            for f in told[:SHOWN_FINDINGS]
        ]
        lines += [f"and {len(told) - SHOWN_FINDINGS} more"] * (len(told) > SHOWN_FINDINGS)
        ledger = board.coverage()
        left, symptoms, unread = (len(ledger[name]) for name in ("unexplained", "by_symptom_only", "unread"))
        task = (
            f"{len(tested)} hypotheses have been tested, {len(told)} hold. Of {ledger['failed']} failures {left} are unexplained, "
            f"{symptoms} of these known by a symptom only; {unread} have been read by nobody."
        )
        kept = self.run.corpus.con.execute(
            "SELECT name, kind, count(*) AS n FROM labels GROUP BY 1, 2 ORDER BY 1, 2 LIMIT ?", [SHOWN_LABELS]
        ).fetchall()
        said = "; ".join(f"{name} ({kind}, {n} traces)" for name, kind, n in kept)
        return {"task": task, "so_far": "\n" + "\n".join(lines), "labels": said}


def tables(corpus: Corpus) -> str:
    """The tables that hold what agents ask for, a line each with their columns."""
    rows = corpus.con.execute(
        "SELECT table_name, string_agg(column_name, ', ' ORDER BY column_index) FROM duckdb_columns() "
        "WHERE table_name IN (SELECT unnest($names::VARCHAR[])) AND NOT list_contains($hidden::VARCHAR[], column_name) "
        "GROUP BY table_name ORDER BY table_name",
        {"names": list(TABLES), "hidden": list(HIDDEN)},
    ).fetchall()
    return "\n".join(f"{table}({columns})" for table, columns in rows)


def proposed(p: dict[str, Any]) -> dict[str, Any]:
    """A model's hypothesis: traces it has seen suggested it, so it is tested on the others."""
    about = {k: v for k, v in dict(p.get("about") or {}).items() if k != "outcome"}
    actor = {"actor": str(about.pop("actor"))} if about.get("actor") else {}
    return {**p, "about": {**about, "mined": True, "taxonomy": classed(p, about.get("taxonomy"), actor)}}


def classed(p: dict[str, Any], *said: Any) -> dict[str, str]:
    """The taxonomy of what a model submits, of what was `said` of it, the last first; what it explains is not for it to say."""
    known = {str(k): str(v) for one in said if isinstance(one, dict) for k, v in one.items()}
    actor = known.get("actor", "agent").strip().replace(" ", "_")
    tier = str(SYMPTOM) if symptom(p) else known.get("tier", "1")
    return {**known, "actor": actor if actor in ACTORS else "agent", "tier": tier}


def symptom(p: dict[str, Any]) -> bool:
    """Whether a predicate asks only what departs from the reference: that says what went wrong in a run, and not why."""
    if p.get("kind") == "label_defect":
        return False
    tables = set(re.findall(r"\b(?:FROM|JOIN)\s+([a-z_]+)", str(p.get("predicate", "")), re.I))
    return "deviations" in tables and tables <= {"deviations", "expected", "traces"}


def check_words(p: dict[str, Any]) -> None:
    """Raises GatewayRefused when a finding types a count or a share, or its predicate asks for the verdict itself.

    A label_defect is a claim about the verdict, and may.
    """
    asked = re.sub(r"'(?:[^']|'')*'", "''", str(p.get("predicate", "")))
    if p.get("kind") != "label_defect" and VERDICT.search(asked):
        raise GatewayRefused(
            "the predicate uses the verdict, so it would explain failing by failing",
            "say what happens in the run; kind='label_defect', a claim about the verdict itself, may use it",
        )
    for name in ("title", "claim", "mechanism"):
        found = TYPED.search(str(p.get(name, "")))
        if found:
            raise GatewayRefused(f"{name} types a number ({found[0]!r})", "leave it out: the host counts and prints it")


def check_measured(seen: dict[str, Any], labelled: bool, kind: str) -> None:
    """Raises GatewayRefused for a finding of a model that says nothing: it holds everywhere, or in no run that fails.

    A label_defect may hold in runs that pass: they were passed wrongly.
    """
    counted, contrast = seen["prevalence"], seen["contrast"]
    if kind == "label_defect":
        return
    if counted["k"] and counted["k"] == counted["n"]:
        raise GatewayRefused(
            "the predicate holds for every eligible trace: it tells none apart", "narrow it, or the population"
        )
    if labelled and counted["k"] and not seen["failed_with_it"] and contrast is not None and contrast["with"][0]:
        raise GatewayRefused("none of its traces fails, so it explains no failure", "report what goes wrong")


def reading_size(corpus: Corpus, tiers: Tiers, most: int) -> int:
    """How many failed traces the first reading takes: each is read once to explain it and once, like a passed one, to label it."""
    from primitives.tokens import CHARACTERS_PER_TOKEN

    row = corpus.con.execute("SELECT sum(text_len), count(DISTINCT trace_id) FROM steps").fetchall()[0]
    tokens = (row[0] or 0) / CHARACTERS_PER_TOKEN / max(row[1], 1) + 1_500
    budget, price = tiers.budget, tiers.fast.price
    sizes = [most]
    if budget.tokens is not None:
        sizes.append(int(READING_SHARE * (budget.tokens - budget.spent_tokens) / (3 * tokens)))
    if budget.usd is not None and price is not None:
        sizes.append(int(READING_SHARE * (budget.usd - budget.spent_usd) / (3 * price.cost(int(tokens), 0, 0, 400))))
    return max(min(sizes), 1)
