"""A corpus of a small help desk, and runs over it with a scripted model. Kernel, sandbox and DuckDB are real."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from insights.config import agents_dir, settings
from insights.diagnose.board import Board
from insights.diagnose.run import ask
from insights.models import Model, Request, ScriptedModel, Tiers
from insights.records import Report
from primitives import open_corpus
from primitives.derived import derive
from tests.primitives.small import SCHEMA

GIVES_UP = "I will stop here, the form is too long."
FINE = "The form is complete and sent."
NO_PLAYBOOK = 'finish("no playbook in this test")'


def desk(folder: Path, n: int, said: dict[int, str] | None = None) -> Path:
    """A corpus of n runs in `folder`: every third fails, as the clerk gives up on the form. `said` replaces last words."""
    home = folder / "desk.corpus"
    (home / "labels").mkdir(parents=True)
    with duckdb.connect(str(home / "traces.duckdb")) as con:
        con.execute(SCHEMA.read_text(encoding="utf-8"))
        con.execute("INSERT INTO corpus_info VALUES (1, 'test', now(), 'desk')")
        con.execute("CREATE TEMP TABLE last AS SELECT i, CASE WHEN i % 3 = 0 THEN $bad ELSE $good END AS text FROM range($n) r(i)",
                    {"bad": GIVES_UP, "good": FINE, "n": n})  # fmt: skip
        for i, text in (said or {}).items():
            con.execute("UPDATE last SET text = ? WHERE i = ?", [text, i])
        con.execute(
            "INSERT INTO traces (trace_id, source_id, root_trace_id, task_id, agent, model, success, n_steps, n_tool_calls, n_tool_errors, "
            "n_user_turns, end_reason, final_output) SELECT 'run' || i, 's', 'run' || i, 'form' || i // 3, 'clerk', 'm', i % 3 <> 0, 4, 1, 0, 1, "
            "'completed', text FROM last"
        )
        for seq, role, kind, text in (
            (0, "user", "message", "'Fill in form ' || i // 3 || ' for me.'"), (1, "assistant", "message", "'Opening it.'"),
            (2, "tool", "tool_result", "'page 1 of 9'"), (3, "assistant", "message", "text"),
        ):  # fmt: skip
            con.execute(
                f"INSERT INTO steps (trace_id, seq, kind, role, text, text_len, on_path) SELECT 'run' || i, {seq}, '{kind}', '{role}', "
                f"{text}, length({text}), true FROM last"
            )
        con.execute(
            "INSERT INTO tool_calls (trace_id, tool_call_key, name, args, args_text, call_seq, call_index, result_seq, result_text, "
            "requestor, status) SELECT 'run' || i, 'a', 'open_form', '{\"id\": 1}', '{\"id\": 1}', 1, 0, 2, "
            "'page 1 of 9', 'assistant', 'ok' FROM last"
        )
        derive(con)
    return home


def without_playbook(folder: Path) -> Path:
    """The shipped roles, their orchestrator's playbook replaced by a cell that does nothing: tests of the models are then quick."""
    home = folder / "agents"
    if not home.is_dir():
        shutil.copytree(agents_dir(), home)
        path = home / "orchestrator.md"
        text = path.read_text(encoding="utf-8")
        path.write_text(
            re.sub(r"(?s)## rounds\n.*?(?=## reading\n)", f"## rounds\n```python\n{NO_PLAYBOOK}\n```\n", text),
            encoding="utf-8",
        )
    return home


@dataclass
class Asked:
    report: Report
    board: Board
    model: Model
    tiers: Tiers
    folder: Path
    corpus: Path

    @property
    def requests(self) -> list[Request]:
        assert isinstance(self.model, ScriptedModel)
        return self.model.requests

    @property
    def titles(self) -> list[str]:
        return [f.title for f in self.report.findings]


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., Asked]:
    """Ask a question of a desk of `n` runs, answered by `script` (or a Model); `tokens` is a ceiling."""

    def go(
        script: Callable[[Request], Any] | Model, *, n: int = 12, said: dict[int, str] | None = None, corpus: Path | None = None,
        run: str = "run", tokens: int | None = None, playbook: bool = False, **diagnose: Any,
    ) -> Asked:  # fmt: skip
        corpus = corpus or desk(tmp_path, n, said)
        folder = corpus / "runs" / run
        folder.mkdir(parents=True, exist_ok=True)
        model = script if isinstance(script, Model) else ScriptedModel(script)
        agents = None if playbook else without_playbook(tmp_path)
        with Tiers(model, None, folder / "calls.sqlite", tokens=tokens) as tiers:
            chosen = settings({"diagnose": diagnose} if diagnose else None)["diagnose"]
            report, board = ask(open_corpus(corpus), "Why do runs fail?", folder, chosen, tiers=tiers, agents=agents)
        return Asked(report, board, model, tiers, folder, corpus)

    return go
