"""A corpus of a small help desk, and runs over it with a scripted model. Kernel, sandbox and DuckDB are real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from insights.config import settings
from insights.diagnose.board import Board
from insights.diagnose.run import ask
from insights.models import Request, ScriptedModel, Tiers
from insights.records import Report
from primitives import open_corpus
from tests.primitives import small

GIVES_UP = "I will stop here, the form is too long."
FINE = "The form is complete and sent."


def desk(n: int, said: dict[int, str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Tables of n runs: every third fails because the clerk gives up on the form. `said` replaces last words."""
    traces, steps, calls = [], [], []
    for i in range(n):
        bad = i % 3 == 0
        last = (said or {}).get(i, GIVES_UP if bad else FINE)
        traces.append(
            {"trace_id": f"run{i}", "task_id": f"form{i // 3}", "agent": "clerk", "model": "m", "success": not bad, "n_steps": 4,
             "n_tool_calls": 1, "n_tool_errors": 0, "n_user_turns": 1, "end_reason": "completed", "final_output": last}
        )  # fmt: skip
        texts = [
            ("user", f"Fill in form {i // 3} for me."),
            ("assistant", "Opening it."),
            ("tool", "page 1 of 9"),
            ("assistant", last),
        ]
        steps += [
            {"trace_id": f"run{i}", "seq": s, "role": role, "text": text, "text_len": len(text),
             "kind": "tool_result" if role == "tool" else "message"}
            for s, (role, text) in enumerate(texts)
        ]  # fmt: skip
        calls.append(
            {"trace_id": f"run{i}", "tool_call_key": "a", "name": "open_form", "args": {"id": i // 3}, "call_seq": 1, "call_index": 0,
             "result_seq": 2, "result_text": "page 1 of 9"}
        )  # fmt: skip
    return {"traces": traces, "steps": steps, "tool_calls": calls}


@dataclass
class Asked:
    report: Report
    board: Board
    model: ScriptedModel
    tiers: Tiers
    folder: Path
    corpus: Path

    @property
    def roles(self) -> list[str]:
        return [request.role for request in self.model.requests]


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., Asked]:
    """Ask a question of a desk of `n` runs, answered by `script`; `usd`, `tokens` are ceilings."""

    def go(
        script: Callable[[Request], Any], *, n: int = 12, said: dict[int, str] | None = None, corpus: Path | None = None,
        run: str = "run", tokens: int | None = None, **diagnose: Any,
    ) -> Asked:  # fmt: skip
        if corpus is None:
            corpus = small.folder(tmp_path, **desk(n, said))
        folder = corpus / "runs" / run
        folder.mkdir(parents=True, exist_ok=True)
        model = ScriptedModel(script)
        with Tiers(model, None, folder / "calls.sqlite", tokens=tokens) as tiers:
            chosen = settings({"diagnose": diagnose} if diagnose else None)["diagnose"]
            report, board = ask(open_corpus(corpus), "Why do runs fail?", folder, chosen, tiers=tiers)
        return Asked(report, board, model, tiers, folder, corpus)

    return go
