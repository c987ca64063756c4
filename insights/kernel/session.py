"""A stateful Python session in a sandbox: start, run a cell, interrupt, restart, shut down."""

from __future__ import annotations

import ast
import asyncio
import logging
import queue
import shutil
import signal
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from insights.errors import KernelError
from insights.kernel.cell import Cell, Collected, Limits
from insights.kernel.gateway import Gateway
from insights.kernel.sandbox import Cage, choose_sandbox, limits_for_launcher

if TYPE_CHECKING:
    from jupyter_client.asynchronous.client import AsyncKernelClient
    from jupyter_client.manager import AsyncKernelManager

START_SECONDS = 60.0
ALIVE_EVERY = 0.25  # seconds of silence after which the process is looked at
INTERRUPT_GRACE = 3.0  # seconds a cell has to obey an interrupt before the kernel is restarted
MAX_CODE_CHARS = 256_000
MAX_IPC_MESSAGE = 4_000_000  # bytes; the kernel's own bounds keep messages far below
MAX_QUEUED_MESSAGES = 200
MIME_NOTES = "application/x-insights-notes"  # inside/boot.py
RESTORED = "corpus, con, traces and the verbs are there again"


class Kernel:
    """One session over one corpus. `async with Kernel(...)` starts it and leaves no process or file behind.

    `sandbox` is the means chosen, for the run record. Cells run one at a time, in the order of the calls.
    The folder `run_dir/scratch/NAME` is the only one the kernel can write, and its working folder.
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
        self.corpus = corpus.resolve()
        self.run_dir = run_dir.resolve()
        self.scratch = self.run_dir / "scratch" / name
        self.limits = limits
        self.name = name
        self.sandbox = choose_sandbox(sandbox)
        self._gateway = gateway
        self._extra = tuple(path.resolve() for path in extra_readable)
        self._turn = asyncio.Lock()
        self._names: list[str] = []
        self._manager: AsyncKernelManager | None = None
        self._client: AsyncKernelClient | None = None
        self._sockets: Path | None = None
        self._remove_sockets: weakref.finalize[..., Any] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown()

    # ── life ──────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Returns when cells can run. Raises KernelError when the process does not come up; the message says why."""
        if self._manager is not None:
            raise KernelError(f"kernel {self.name} is already started", "use restart()")
        self._sockets = Path(tempfile.mkdtemp(prefix="insights-", dir=_short_temporary_folder())).resolve()
        self._remove_sockets = weakref.finalize(self, shutil.rmtree, self._sockets, ignore_errors=True)
        try:
            await self._launch()
        except BaseException:
            await self.shutdown()
            raise

    async def _launch(self) -> None:
        assert self._sockets is not None
        cage = Cage(self.sandbox, self.corpus, self.run_dir, self.scratch, self._sockets, self._extra)
        cage.prepare()
        for stale in self._sockets.glob("[ks]-*"):
            stale.unlink()
        gateway = self._sockets / "gateway"
        if self._gateway is not None:
            gateway.unlink(missing_ok=True)
            await self._gateway.serve(gateway)
            gateway.chmod(0o666)  # the folder is private already; a kernel of root's is another user
        connection_file = self._sockets / "connection.json"
        spec = cage.write_spec(
            {
                "connection_file": str(connection_file),
                "corpus": str(self.corpus),
                "gateway": str(gateway) if self._gateway is not None else None,
                "output_chars": self.limits.output_chars,
                "duckdb_memory": f"{self.limits.memory_bytes // 2 // 1_000_000}MB",
                "limits": limits_for_launcher(self.limits, self.sandbox),
            }
        )
        self._manager = _manager(cage.command(spec), connection_file, self._sockets)
        log = self._sockets / "log"
        with log.open("wb") as stream:
            await self._manager.start_kernel(env=cage.environment(), cwd=str(self.scratch), stdout=stream, stderr=stream)
        connection_file.chmod(0o644)
        self._client = self._manager.client()
        self._client.start_channels()
        try:
            await self._ready(log)
        except TimeoutError as error:
            raise KernelError(f"kernel {self.name} did not answer within {START_SECONDS:.0f} s{_said(log)}") from error

    async def _ready(self, log: Path) -> None:
        """Ask until it answers: sockets of a kernel that is still binding them are retried by the client."""
        assert self._client is not None and self._manager is not None
        async with asyncio.timeout(START_SECONDS):
            self._client.kernel_info()
            while True:
                try:
                    await self._client.get_shell_msg(timeout=0.05)
                    break
                except queue.Empty:
                    if not await self._manager.is_alive():
                        raise KernelError(f"kernel {self.name} ended while starting{_said(log)}") from None
            while (await self._client.get_iopub_msg(timeout=1))["msg_type"] != "status":
                continue

    async def interrupt(self) -> None:
        """Ask the running cell to stop, as Ctrl-C would. A cell can ignore it; `run` then restarts the kernel."""
        if self._manager is not None and self._manager.has_kernel:
            await self._manager.interrupt_kernel()

    async def restart(self) -> None:
        """End the process and start a new one; every name set by a cell is gone."""
        await self._stop()
        self._names.clear()
        await self._launch()

    async def shutdown(self) -> None:
        """End the process and remove its sockets; the scratch folder stays with the run. Can be called twice."""
        try:
            await asyncio.shield(self._stop())
        finally:
            if self._remove_sockets is not None:
                self._remove_sockets()

    async def _stop(self) -> None:
        manager, client = self._manager, self._client
        self._manager = self._client = None
        if self._gateway is not None:
            await self._gateway.close()
        if client is not None:
            client.stop_channels()
        if manager is not None:
            if manager.has_kernel:
                await manager.shutdown_kernel(now=True)
            else:
                await manager.cleanup_resources()
            manager.context.destroy(linger=0)

    # ── cells ─────────────────────────────────────────────────────────────────

    async def run(self, code: str) -> Cell:
        """Run one cell and wait for it, at most `limits.cell_seconds`. Never raises for what the code did.

        A cancelled call interrupts the cell. Raises KernelError when a kernel that died cannot be started again.
        """
        if len(code) > MAX_CODE_CHARS:
            refused = f"the cell is {len(code):,} characters long, at most {MAX_CODE_CHARS:,} are run"
            return Cell(code, "", None, refused, 0.0, False)
        async with self._turn:
            collected, lost = Collected(self.limits.output_chars), False
            if self._manager is None or not await self._manager.is_alive():
                collected.notes.append(self._loss("the kernel had ended between cells and was started again"))
                await self.restart()
                lost = True
            cell = await self._run(code, collected, lost)
            self._names += [name for name in _assigned(code) if name not in self._names]
            if cell.lost_state and not lost:
                self._names.clear()
            return cell

    async def _run(self, code: str, collected: Collected, lost: bool) -> Cell:
        assert self._client is not None
        started = time.monotonic()
        message = self._client.execute(code, allow_stdin=False, stop_on_error=False)
        if self._gateway is not None:
            self._gateway.begin(message)
        try:
            ended = await self._collect(message, collected, started + self.limits.cell_seconds)
            if ended is not None:
                stopped, restarted = await self._stop_cell(message, collected, ended)
                collected.errors.insert(0, stopped)
                lost = lost or restarted
        except asyncio.CancelledError:
            await self.interrupt()
            raise
        finally:
            if self._gateway is not None:
                self._gateway.end()
        seconds = time.monotonic() - started
        return Cell(
            code=code,
            stdout=collected.stdout(),
            result="\n".join(collected.results) or None,
            error="\n".join(collected.errors) or None,
            seconds=round(seconds, 4),
            truncated=collected.truncated or collected.excess > 0,
            lost_state=lost,
        )

    async def _collect(self, message: str, collected: Collected, deadline: float) -> str | None:
        """Take in what the cell says until it is done (None), or for what reason it must be stopped."""
        assert self._client is not None and self._manager is not None
        looked = time.monotonic()
        while True:
            wait = min(ALIVE_EVERY, deadline - time.monotonic())
            try:
                said = await self._client.get_iopub_msg(timeout=max(wait, 0.001))
            except queue.Empty:
                said = None
            if said is not None and said["parent_header"].get("msg_id") == message and take(said, collected):
                return None
            if collected.excess > 50 * self.limits.output_chars:
                return "output"
            now = time.monotonic()
            if now > deadline:
                return "time"
            if said is None or now - looked > 4 * ALIVE_EVERY:
                looked = now
                if not await self._manager.is_alive():
                    return "died"
                if await self._answered(message):
                    return None

    async def _answered(self, message: str) -> bool:
        """Whether the reply is there although the word that the cell is done got lost among its output."""
        assert self._client is not None
        try:
            while True:
                reply = await self._client.get_shell_msg(timeout=0.001)
                if reply["parent_header"].get("msg_id") == message:
                    return True
        except queue.Empty:
            return False

    async def _stop_cell(self, message: str, collected: Collected, reason: str) -> tuple[str, bool]:
        """What to tell the agent, and whether the kernel had to go."""
        if reason == "died":
            assert self._manager is not None
            status = await self._manager.provisioner.poll() if self._manager.provisioner else None
            return self._loss(f"the kernel died: {_why_ended(status)}; it starts again with the next cell"), True
        limit = f"its limit of {self.limits.cell_seconds:g} s" if reason == "time" else "the bound on output"
        await self.interrupt()
        left = await self._collect(message, collected, time.monotonic() + INTERRUPT_GRACE)
        if left is None:
            return f"stopped: the cell reached {limit}. Names set so far are kept.", False
        await self.restart()
        return self._loss(f"stopped: the cell reached {limit} and ignored the interrupt; the kernel was restarted"), True

    def _loss(self, what: str) -> str:
        shown = ", ".join(self._names[:40]) + (", …" if len(self._names) > 40 else "")
        gone = f"names of earlier cells are gone: {shown}" if shown else "no earlier cell had set names"
        return f"{what}. {gone[0].upper()}{gone[1:]}. {RESTORED[0].upper()}{RESTORED[1:]}."


def take(said: dict[str, Any], collected: Collected) -> bool:
    """Add one message to what a cell gave; True when it is the last."""
    kind, content = said["msg_type"], said["content"]
    if kind == "stream":
        collected.printed(str(content["text"]))
    elif kind == "execute_result":
        collected.add(collected.results, str(content["data"].get("text/plain", "")))
    elif kind == "display_data":
        notes = content["data"].get(MIME_NOTES)
        if isinstance(notes, dict):
            collected.truncated |= bool(notes.get("truncated"))
            restored = ", ".join(map(str, notes.get("restored", ())))
            if restored:
                collected.notes.append(f"({restored}: reserved, set back to what it was; use another name)")
        elif "text/plain" in content["data"]:
            collected.printed(f"{content['data']['text/plain']}\n")
    elif kind == "error":
        collected.add(collected.errors, "\n".join(map(str, content["traceback"])))
    return bool(kind == "status" and content["execution_state"] == "idle")


def _manager(command: list[str], connection_file: Path, sockets: Path) -> AsyncKernelManager:
    import zmq
    import zmq.asyncio
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class OneSpec(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(argv=command, display_name="insights", language="python", interrupt_mode="message")

    context = zmq.asyncio.Context()
    context.setsockopt(zmq.MAXMSGSIZE, MAX_IPC_MESSAGE)
    context.setsockopt(zmq.RCVHWM, MAX_QUEUED_MESSAGES)
    quiet = logging.getLogger("insights.kernel.jupyter")
    manager = AsyncKernelManager(
        context=context, kernel_spec_manager=OneSpec(), transport="ipc", ip=str(sockets / "k"), log=quiet
    )
    manager.connection_file = str(connection_file)
    return manager


def _short_temporary_folder() -> str:
    """A Unix socket's path has at most 107 bytes (103 on macOS), which some temporary folders use up alone."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 60 else "/tmp"


def _said(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return f": {lines[-1][-500:]}" if lines else ""


def _why_ended(status: int | None) -> str:
    """Bubblewrap and the launcher report a signal as 128 + its number, Popen as its negative."""
    if status is None:
        return "reason unknown"
    number = -status if status < 0 else status - 128
    known = {
        signal.SIGKILL: "it was killed, most likely because the machine ran out of memory",
        signal.SIGXCPU: "it used up its limit of processor time",
        signal.SIGSEGV: "a library crashed (segmentation fault)",
        signal.SIGABRT: "a library aborted, most likely at the memory limit",
    }
    return known.get(signal.Signals(number), f"signal {number}") if number in set(signal.Signals) else (
        f"the code ended its process with status {status}"
    )


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
