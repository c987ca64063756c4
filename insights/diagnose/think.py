"""An agent that reasons: a model writes cells, its kernel runs them, until it finishes or reaches a limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insights.diagnose.agent import Outcome, keep
from insights.errors import BudgetExhausted, ModelError
from insights.models import Call, Message, Reply, Request, Tool

if TYPE_CHECKING:
    from insights.diagnose.board import Board
    from insights.diagnose.marks import Marks
    from insights.diagnose.roles import Role
    from insights.diagnose.transcript import Transcript
    from insights.kernel import Kernel
    from insights.models import Metered

OUTPUT_TOKENS = 12_000  # of one turn, reasoning included
IDLE_TURNS = 2  # turns in a row without a cell after which an agent is taken to have ended
TASK_CHARS, FIELD_CHARS = 6_000, 400  # of one field of a brief: what is to be done, and the rest
LAST = ("hypotheses", "so_far", "task")
PLAYBOOK_ONLY = ("terms", "named", "rounds", "investigators", "seed", "sections", "intent", "question", "has_reference")
END_REASONS = {
    "finished": "completed", "turns": "limit_steps", "tokens": "limit_tokens", "budget": "limit_cost", "failed": "error",
    "refusal": "refused", "overflow": "limit_tokens", "silent": "completed",
}  # fmt: skip
RUN_PYTHON = Tool(
    "run_python",
    "Run one cell of Python in your kernel. Names stay from cell to cell. You get what it prints, and the value of its last line.",
    {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"], "additionalProperties": False},
)


@dataclass
class Thinker:
    """One agent. `slips` counts what its model did wrong; `ended` says, when set, that it called finish()."""

    agent: str
    role: Role
    kernel: Kernel
    model: Metered
    marks: Marks
    board: Board
    transcript: Transcript
    ended: Callable[[], str | None] = lambda: None
    slips: Counter[str] = field(default_factory=Counter)
    tokens: int = 0

    async def think(self, system: str, task: str) -> Outcome:
        """Turn by turn until it finishes, stops calling its tool, or meets a limit, which grants one closing turn."""
        outcome = await self._turns(system, task)
        self.transcript.close(END_REASONS.get(outcome.stopped, "unknown"))
        return outcome

    async def _turns(self, system: str, task: str) -> Outcome:
        task = self.transcript.before("task", self.role.name) or task
        messages = [Message("user", task)]
        closing: str | None = None
        idle = 0
        for turn in range(self.role.turns + 1):
            try:
                reply = await self.model.complete(
                    Request(system, tuple(messages), OUTPUT_TOKENS, self.role.name, (RUN_PYTHON,))
                )
            except ModelError as error:
                return self._failed(error)
            self.transcript.same_as_before("task", self.role.name, task)
            self.transcript.answered()  # and so in the cache
            self.tokens += reply.usage.input_tokens + reply.usage.output_tokens
            messages.append(reply.message())
            messages += [await self._answer(turn, nth, call) for nth, call in enumerate(reply.calls)]
            summary = self.ended()
            self.transcript.save(system, messages, reply)
            if summary is not None:
                return Outcome(self.agent, "finished", summary)
            idle = 0 if reply.calls else idle + 1
            if closing or reply.stop in ("refusal", "overflow") or idle >= IDLE_TURNS:
                return self._stopped(
                    closing or (reply.stop if reply.stop in ("refusal", "overflow") else "silent"), reply
                )
            closing = self._limit(turn)
            if closing:
                self.board.closing.add(self.agent)
            if closing or not reply.calls:
                messages.append(
                    Message("user", say("closing" if closing else "cut" if reply.stop == "length" else "silent"))
                )
        return Outcome(self.agent, closing or "turns")

    def _limit(self, turn: int) -> str | None:
        """The limit that has been reached, leaving one turn to close in."""
        if turn + 1 >= self.role.turns:
            return "turns"
        if self.tokens >= self.role.max_tokens:
            return "tokens"
        return "budget" if self.model.budget.wrap_up else None

    async def _answer(self, turn: int, nth: int, call: Call) -> Message:
        """What a call gave, as the message that answers it. What is wrong with the call is said, and counted."""
        code = call.arguments.get("code")
        if call.name != RUN_PYTHON.name:
            return self._slip(
                "calls of tools that do not exist",
                call,
                f"there is no tool {call.name[:80]!r}; there is run_python(code)",
            )
        if call.broken or not isinstance(code, str):
            return self._slip(
                "calls with broken arguments", call, 'the arguments were not {"code": "…"} as JSON; nothing was run'
            )
        cell = await self.kernel.run(code)
        keep(self.board, self.agent, cell)
        if cell.error:
            self.slips["cells that failed"] += 1
            self.transcript.failed.add(call.id)
        text = self.transcript.same_as_before(f"{turn}.{nth}", code, cell.text())
        return Message("tool", self.marks.around(text, "output"), call_id=call.id)

    def _slip(self, what: str, call: Call, told: str) -> Message:
        self.slips[what] += 1
        self.transcript.failed.add(call.id)
        return Message("tool", f"not run: {told}", call_id=call.id)

    def _failed(self, error: ModelError) -> Outcome:
        stopped = "budget" if isinstance(error, BudgetExhausted) else "failed"
        self.board.failures.append(f"{self.agent}: {error}")
        return Outcome(self.agent, stopped, str(error))

    def _stopped(self, why: str, reply: Reply) -> Outcome:
        if why in ("refusal", "overflow"):
            words = {"refusal": "its model declined to go on", "overflow": "its model's context window is full"}[why]
            self.board.failures.append(f"{self.agent}: {words}")
        return Outcome(self.agent, why, reply.text[:2000])


def say(name: str) -> str:
    """What an agent is told between its turns."""
    return (Path(__file__).parent / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip()


def task_text(brief: dict[str, Any]) -> str:
    """The brief as an agent reads it: what it is to do last and in full, what is long cut, as `brief` has all of it."""
    import json

    lines = []
    for name, value in sorted(brief.items(), key=lambda item: item[0] in LAST):
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        if name in PLAYBOOK_ONLY or value in (None, [], {}, ""):
            continue
        most = TASK_CHARS if name in LAST else FIELD_CHARS
        lines.append(
            f"{name}: {shown}" if len(shown) <= most else f"{name}: {shown[:most]} … (cut; see brief[{name!r}])"
        )
    return "\n".join(lines)
