"""What a run is doing, on stderr: a live panel in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from insights.diagnose.run import Run

LINES = 6  # of what was last said


class Live:
    """Context manager; `tell` takes lines, `follow` the run whose state is shown. Not `shown`: silent."""

    def __init__(self, *, shown: bool) -> None:
        self.shown = shown
        self.run: Run | None = None
        self.lines: list[str] = []
        self._panel: Any = None
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self.shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live as Panel

            self._panel = Panel(
                console=Console(stderr=True), get_renderable=self.render, refresh_per_second=4, transient=True
            )
            self._panel.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._panel is not None:
            self._panel.stop()

    def follow(self, run: Run) -> None:
        self.run = run

    def tell(self, line: str) -> None:
        self.lines = [*self.lines, line][-LINES:]
        if self.shown and self._panel is None:
            print(f"  {line}", file=sys.stderr, flush=True)

    def render(self) -> Any:
        """Agents at work, what was done, what was last said. Text of traces and models is shown as plain text."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        if self.run is None:
            return Text("")
        board, table = self.run.board, Table(box=None, show_header=False, padding=(0, 1))
        for agent, what in list(self.run.working.items()):
            cells = sum(cell.agent == agent for cell in list(board.cells))
            table.add_row(Text(agent, style="bold"), Text(f"{cells} cells", style="dim"), Text(_plain(what, 90)))
        return Group(
            Text(self.totals(), style="cyan"), table, *(Text(_plain(line, 120), style="dim") for line in self.lines)
        )

    def totals(self) -> str:
        """One line: time, rounds, agents, cells, hypotheses, findings, money."""
        assert self.run is not None
        board, tiers = self.run.board, self.run.tiers
        said = [
            f"{time.monotonic() - self._began:.0f} s", f"{self.run.dispatched} rounds", f"{len(board.agents)} agents",
            f"{len(board.cells)} cells", f"{len(board.hypotheses)} hypotheses", f"{len(board.examined)} measured",
        ]  # fmt: skip
        if tiers is not None:
            cap = "" if tiers.budget.usd is None else f" of ${tiers.budget.usd:.2f}"
            said.append(f"{tiers.budget.spent_tokens:,} tokens, ${tiers.budget.spent_usd:.2f}{cap}")
        return " · ".join(said)


def _plain(text: str, most: int) -> str:
    flat = "".join(c if c.isprintable() else " " for c in text)
    return flat if len(flat) <= most else flat[: most - 1] + "…"
