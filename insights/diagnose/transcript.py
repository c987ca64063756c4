"""Every exchange of an agent with its model, as a trace that `insights` itself reads: RUN/agents/<agent>.jsonl.

One line in OpenAI's chat format, written anew after every turn: a killed run leaves what there was. What its cells gave is
kept in RUN/resume/<agent>.json: a resumed run tells it to the model again word for word, so that answers are found in the
cache even where a cell prints a clock or rows in no fixed order. Both are masked, as what the model was told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insights.models import Message, Usage
from primitives.secrets import unsecret

if TYPE_CHECKING:
    from insights.models import Reply


class Transcript:
    """`about` is the trace's metadata: role, question, run, model."""

    def __init__(self, run: Path, agent: str, about: dict[str, Any]) -> None:
        self.path = run / "agents" / f"{agent}.jsonl"
        self.agent, self.about = agent, about
        self.usage = Usage(usd=0.0)
        self.seconds = 0.0
        self.failed: set[str | None] = set()  # calls whose cell raised, or which were not run
        self._said: tuple[str, Sequence[Message]] | None = None
        self._cells = run / "resume" / f"{agent}.json"
        self._outputs: dict[str, list[str]] = _load(self._cells)
        self._told: dict[str, list[str]] = {}  # what the model was told and has not answered yet

    def same_as_before(self, place: str, code: str, text: str) -> str:
        """What the cell at `place` gave when the run was under way before, if it is the same cell; else `text`.

        It is kept once the model has answered on it: where no answer came, a resumed run tells what the cell gives then.
        """
        before = self.before(place, code)
        if before is None:
            self._told[place] = [code, text]
        return text if before is None else before

    def answered(self) -> None:
        """The model has answered on all that it was told so far."""
        if self._told:
            self._outputs |= self._told
            self._told = {}
            _write(self._cells, self._outputs)

    def before(self, place: str, code: str) -> str | None:
        """What was kept at `place` for the same `code`, without keeping anything."""
        known = self._outputs.get(place)
        return known[1] if known is not None and known[0] == code else None

    def save(self, system: str, messages: Sequence[Message], reply: Reply) -> None:
        """Write the conversation so far; `reply` is the last answer in it."""
        self.usage += reply.usage
        self.seconds += reply.seconds
        self._said = system, messages
        self.close("still_running")

    def close(self, ended: str) -> None:
        """Say how it ended. Nothing is written for an agent whose model never answered."""
        if self._said is None:
            return
        system, messages = self._said
        tokens = {"input_tokens": self.usage.input_tokens, "output_tokens": self.usage.output_tokens}
        metadata = {
            **self.about,
            **tokens,
            "cost_usd": self.usage.usd,
            "duration_s": round(self.seconds, 3),
            "end_reason": ended,
        }
        chat = [{"role": "system", "content": system}, *(self._chat(message) for message in messages)]
        known = {name: value for name, value in metadata.items() if value is not None}
        _write(self.path, {"trace_id": f"{self.about['run_id']}/{self.agent}", "messages": chat, "metadata": known})

    def _chat(self, message: Message) -> dict[str, Any]:
        if message.role == "tool":
            said: dict[str, Any] = {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
            return said | ({"is_error": True} if message.call_id in self.failed else {})
        spoken: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.calls:
            spoken["tool_calls"] = [
                {"id": c.id, "type": "function",
                 "function": {"name": c.name, "arguments": c.broken or json.dumps(c.arguments, ensure_ascii=False)}}
                for c in message.calls
            ]  # fmt: skip
        return spoken


def _load(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        return {}
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(
        json.dumps(unsecret(value), ensure_ascii=False, default=str) + "\n", encoding="utf-8", errors="replace"
    )
    fresh.replace(path)
