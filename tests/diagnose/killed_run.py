"""A run that is killed, as a process: `python -m tests.diagnose.killed_run CORPUS RUN AGENTS`. Its investigator's first call kills it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from insights.config import settings
from insights.diagnose.run import ask
from insights.models import Request, ScriptedModel, Tiers
from primitives import open_corpus
from tests.diagnose.script import careful, cell, turn


def clocked(request: Request) -> Any:
    """Prints a clock in its first cell, which would change every later question if it were not told again."""
    if request.role == "orchestrator" and turn(request) == 0:
        return cell("import time\nprint(time.time_ns())")
    if request.role == "investigator":
        os._exit(9)
    return careful(request)


if __name__ == "__main__":
    corpus, folder, agents = map(Path, sys.argv[1:])
    with Tiers(ScriptedModel(clocked), None, folder / "calls.sqlite") as tiers:
        ask(open_corpus(corpus), "Why do runs fail?", folder, settings()["diagnose"], tiers=tiers, agents=agents)
