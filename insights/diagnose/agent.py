"""One agent: a role at work in its kernel, by its playbook or by a model, one cell at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from insights.diagnose.board import AgentCell, Board

if TYPE_CHECKING:
    from insights.diagnose.roles import Role
    from insights.kernel import Cell, Kernel


@dataclass
class Outcome:
    """How an agent ended. `stopped` is playbook, finished, turns, tokens, refused or failed."""

    agent: str
    stopped: str
    summary: str = ""
    failed_cells: int = 0


async def play(
    agent: str, role: Role, sections: list[str], brief: dict[str, Any], kernel: Kernel, board: Board
) -> Outcome:
    """Run the cells of the playbook's sections in order. A cell that fails is recorded and reported, and the next is run."""
    outcome = Outcome(agent, "playbook")
    await kernel.run(f"import json\nbrief = json.loads({json.dumps(json.dumps(brief))})")
    for section in sections:
        for code in role.cells(section):
            cell = await kernel.run(code)
            keep(board, agent, cell)
            if cell.error:
                outcome.failed_cells += 1
                board.failures.append(f"{agent}, {section}: {cell.error.strip().splitlines()[-1][:300]}")
    return outcome


def keep(board: Board, agent: str, cell: Cell) -> None:
    """Record a cell for the notebook."""
    board.cells.append(AgentCell(agent, cell.code, cell.stdout, cell.result, cell.error, cell.seconds))
