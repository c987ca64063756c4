"""A stateful Python session in a sandbox: start, run a cell, interrupt, restart, shut down."""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from insights.errors import KernelError
from insights.kernel.cell import Cell, Collected, Limits
from insights.kernel.gateway import Gateway
from insights.kernel.process import Process
from insights.kernel.sandbox import choose_sandbox

LOOK_EVERY = 0.25  # seconds of silence after which the process is looked at
INTERRUPT_GRACE = 5.0  # seconds a cell has to obey an interrupt before the kernel is restarted
MAX_CODE_CHARS = 256_000
FLOOD = 50  # times its bound on output that a kernel may send before the cell is stopped
MAX_LOST_NAMES = 40  # listed in the message about them


class Kernel:
    """One session over one corpus. `async with Kernel(...)` starts it and leaves no process or socket behind.

    `sandbox` is the means chosen, for the run record. Cells run one at a time, in the order of the calls. The kernel
    can write `scratch`, its working folder, alone; what lies there is a cell's: a path may be a link to anywhere.
    """

    def __init__(
        self,
        corpus: Path,
        run_dir: Path,
        *,
        gateway: Gateway | None = None,
        limits: Limits = Limits(),
        sandbox: str = "auto",
        name: str = "kernel",
        extra_readable: Sequence[Path] = (),
    ) -> None:
        if Path(name).name != name:
            raise KernelError(f"{name!r} cannot name a kernel", "use a plain file name, as it names its scratch folder")
        self.corpus = corpus.resolve()
        self.run_dir = run_dir.resolve()
        self.scratch = self.run_dir / "scratch" / name
        self.limits = limits
        self.name = name
        self.sandbox = choose_sandbox(sandbox)
        self._gateway = gateway
        self._extra = tuple(path.resolve() for path in extra_readable)
        self._turn = asyncio.Lock()
        self._process: Process | None = None
        self._names: dict[str, None] = {}  # set by cells that ran; a dict for its order
        self._started = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown()

    async def start(self) -> None:
        """Returns when cells can run. Raises KernelError when the process does not come up; the message says why."""
        if self._process is not None:
            raise KernelError(f"kernel {self.name} is already started", "use restart()")
        self._process = await Process.launch(
            self.sandbox, self.corpus, self.run_dir, self.scratch, self._extra, self.limits, self._gateway
        )
        self._started = True

    async def interrupt(self) -> None:
        """Ask the running cell to stop, as Ctrl-C would. A cell can ignore it; `run` then restarts the kernel."""
        if self._process is not None:
            await self._process.interrupt()

    async def restart(self) -> None:
        """End the process and start a new one; every name set by a cell is gone."""
        await self._stop()
        self._names.clear()
        await self.start()

    async def shutdown(self) -> None:
        """End the process and remove its sockets, even when cancelled; the scratch folder stays with the run."""
        self._started = False
        stopping = asyncio.ensure_future(self._stop())
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            await stopping
            raise

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.stop()

    async def run(self, code: str) -> Cell:
        """Run one cell and wait for it, at most `limits.cell_seconds`; what it waits for the host does not count.

        Never raises for what the code did.
        A cancelled call interrupts the cell. Raises KernelError when the kernel was never started, or when one that
        died cannot be started again.
        """
        if len(code) > MAX_CODE_CHARS:
            refused = f"the cell is {len(code):,} characters long, at most {MAX_CODE_CHARS:,} are run"
            return Cell(code, "", None, refused, 0.0, False)
        async with self._turn:
            if not self._started:
                raise KernelError(f"kernel {self.name} is not started", "use `async with Kernel(...)` or start()")
            collected = Collected(self.limits.output_chars)
            restarted = self._process is None or not await self._process.alive()
            if restarted:
                collected.notes.append(f"(the kernel was started again. {self._loss()})")
                await self.restart()
            cell = await self._run(code, collected, restarted)
            self._names |= dict.fromkeys(_assigned(code))
            return cell

    async def _run(self, code: str, collected: Collected, lost: bool) -> Cell:
        assert self._process is not None
        await self._process.furnished()
        await self._process.reply("")  # take the replies to earlier cells off the channel
        started = time.monotonic()
        message = self._process.execute(code)
        if self._gateway is not None:
            self._gateway.begin(message)
        try:
            reason = await self._collect(message, collected, started + self.limits.cell_seconds)
            if reason is not None:
                lost |= await self._stop_cell(message, collected, reason)
        except asyncio.CancelledError:
            await self.interrupt()
            raise
        finally:
            if self._gateway is not None:
                self._gateway.end()
        return collected.cell(code, time.monotonic() - started, lost)

    async def _collect(self, message: str, collected: Collected, deadline: float) -> str | None:
        """Take in what the cell says until it is done (None), or say why it must be stopped: died, time or output."""
        assert self._process is not None
        looked = time.monotonic()
        while True:
            left = deadline + self._granted() - time.monotonic()
            said = await self._process.next_output(min(LOOK_EVERY, max(left, 0.0)))
            if said is not None and said["parent_header"].get("msg_id") == message and collected.take(said):
                return None
            now = time.monotonic()
            if said is None or now - looked > 2 * LOOK_EVERY:
                looked = now
                if not await self._process.alive():
                    return "died"
            # a message too large is dropped with its connection, and with it the word that the cell is done
            if said is None and await self._process.reply(message) is not None:
                return None
            if collected.excess > FLOOD * self.limits.output_chars:
                return "output"
            if now > deadline + self._granted():
                return "time"

    def _granted(self) -> float:
        return 0.0 if self._gateway is None else self._gateway.waited

    async def _stop_cell(self, message: str, collected: Collected, reason: str) -> bool:
        """Interrupt the cell or, when that fails, restart the kernel; True when its names are gone."""
        assert self._process is not None
        if reason == "died":
            why = await self._process.why_ended()
            collected.reason = f"the kernel died: {why}. It starts again with the next cell. {self._loss()}"
            self._names.clear()
            return True
        limit = f"its limit of {self.limits.cell_seconds:g} s" if reason == "time" else "the bound on output"
        if self._gateway is not None:
            self._gateway.end()
        await self.interrupt()
        collected.excess = 0
        left = await self._collect(message, collected, time.monotonic() + INTERRUPT_GRACE)
        if left is None:
            collected.reason = f"stopped: the cell reached {limit}. Names set so far are kept."
            return False
        collected.reason = (
            f"stopped: the cell reached {limit} and ignored the interrupt, so the kernel was restarted. {self._loss()}"
        )
        await self.restart()
        return True

    def _loss(self) -> str:
        names = list(self._names)
        listed = ", ".join(names[:MAX_LOST_NAMES]) + (", …" if len(names) > MAX_LOST_NAMES else "")
        gone = f"Names set by earlier cells are gone ({listed})" if names else "Names set by earlier cells are gone"
        return f"{gone}; corpus, con, traces and the verbs are there as at the start."


def _assigned(code: str) -> list[str]:
    """Names that a cell sets at its top level, in order; none when it does not parse."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(statement.name)
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.append(node.id)
            elif isinstance(node, ast.alias):
                names.append((node.asname or node.name).split(".")[0])
    return names
