"""One launched kernel process, its private folder, and the channels by which the host talks to it."""

from __future__ import annotations

import asyncio
import logging
import queue
import shutil
import signal
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insights.errors import KernelError
from insights.kernel.cell import Limits
from insights.kernel.gateway import Gateway
from insights.kernel.sandbox import Cage, limits_for_launcher

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

PASS_ON_SECONDS = 2.0  # an interrupt has to reach the kernel's thread for control, which no cell keeps busy
START_SECONDS = 60.0
FURNISH = "get_ipython().insights_session.furnish()"  # inside/boot.py
MAX_IPC_MESSAGE = 4_000_000  # bytes; the kernel's own bounds keep messages far below
MAX_QUEUED_MESSAGES = 200


class Process:
    """Launched by `launch`, ended by `stop`, never used again. Its private folder, fresh for each launch, holds the
    sockets; nothing the host writes or mounts lies where an earlier kernel could have planted a link.
    """

    def __init__(self, cage: Cage, gateway: Gateway | None) -> None:
        self._cage = cage
        self._gateway = gateway
        self._remove = weakref.finalize(self, shutil.rmtree, cage.private, ignore_errors=True)
        self._log = cage.private / "log"
        self._manager = _manager(cage.command(), cage.connection_file, cage.sockets)
        self._client: Any = None
        self._furnishing: str | None = None

    @classmethod
    async def launch(
        cls,
        sandbox: str,
        corpus: Path,
        run_dir: Path,
        scratch: Path,
        extra: Sequence[Path],
        limits: Limits,
        gateway: Gateway | None,
    ) -> Process:
        """Returns when cells can run. Raises KernelError when the process does not come up; the message says why."""
        private = Path(tempfile.mkdtemp(prefix="insights-", dir=_short_temporary_folder())).resolve()
        cage = Cage(sandbox, corpus, run_dir, scratch, private, extra)
        cage.prepare()
        process = cls(cage, gateway)
        try:
            await process._start(limits)
        except BaseException:
            await process.stop()
            raise
        return process

    async def _start(self, limits: Limits) -> None:
        cage = self._cage
        socket = cage.sockets / "gateway"
        if self._gateway is not None:
            await self._gateway.serve(socket)
            socket.chmod(0o666)  # the folder is private already; a kernel of root's is another user
        cage.write_spec(
            {
                "connection_file": str(cage.connection_file),
                "corpus": str(cage.corpus),
                "gateway": str(socket) if self._gateway is not None else None,
                "output_chars": limits.output_chars,
                "duckdb_memory": f"{limits.memory_bytes * 2 // 5_000_000}MB",
                "processes": limits.processes,
                "limits": limits_for_launcher(limits, cage.sandbox),
            }
        )
        with self._log.open("wb") as log:
            await self._manager.start_kernel(env=cage.environment(), cwd=str(cage.scratch), stdout=log, stderr=log)
        self._client = self._manager.client()
        self._client.start_channels()
        await self._reply_to(self._client.kernel_info())  # waits in the socket until the kernel has bound its own
        self._furnishing = str(self._client.execute(FURNISH, silent=True))

    async def furnished(self) -> None:
        """Wait until the names of the corpus are in place. Raises KernelError when they cannot be."""
        if self._furnishing is None:
            return
        content = await self._reply_to(self._furnishing)
        self._furnishing = None
        if content["status"] != "ok":
            raise KernelError(f"the kernel cannot show the corpus: {content.get('ename')}: {content.get('evalue')}")

    async def _reply_to(self, message: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(START_SECONDS):
                while (reply := await self.reply(message, 0.05)) is None:
                    if not await self.alive():
                        raise KernelError(f"the kernel ended while starting{self._said()}")
        except TimeoutError as error:
            raise KernelError(f"the kernel did not answer within {START_SECONDS:.0f} s{self._said()}") from error
        return reply

    def _said(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f": {lines[-1][-500:]}" if lines else ""

    async def alive(self) -> bool:
        return bool(await self._manager.is_alive())

    async def why_ended(self) -> str:
        status = await self._manager.provisioner.poll() if self._manager.provisioner else None
        return _why_ended(status)

    def execute(self, code: str) -> str:
        """Send a cell; its id marks everything that it causes."""
        return str(self._client.execute(code, allow_stdin=False, stop_on_error=False))

    async def next_output(self, wait: float) -> dict[str, Any] | None:
        try:
            said: dict[str, Any] = await self._client.get_iopub_msg(timeout=max(wait, 0.001))
        except queue.Empty:
            return None
        return said

    async def reply(self, message: str, wait: float = 0.001) -> dict[str, Any] | None:
        """The content of the reply to `message` if it has come. Replies to others are taken and dropped."""
        try:
            while True:
                reply = await self._client.get_shell_msg(timeout=wait)
                if reply["parent_header"].get("msg_id") == message:
                    return dict(reply["content"])
        except queue.Empty:
            return None

    async def interrupt(self) -> None:
        """Returns when the kernel has passed it on: one that came late would stop the next cell."""
        if not self._manager.has_kernel:
            return
        request = self._client.session.msg("interrupt_request", content={})
        self._client.control_channel.send(request)
        try:
            async with asyncio.timeout(PASS_ON_SECONDS):
                while True:
                    reply = await self._client.get_control_msg(timeout=PASS_ON_SECONDS)
                    if reply["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                        return
        except (TimeoutError, queue.Empty):
            return  # a kernel that does not answer is restarted by who asked

    async def stop(self) -> None:
        """Kill it and all it started, and remove its private folder."""
        if self._gateway is not None:
            await self._gateway.close()
        if self._client is not None:
            self._client.stop_channels()
        if self._manager.has_kernel:
            await self._manager.shutdown_kernel(now=True)
        else:
            await self._manager.cleanup_resources()
        self._manager.context.destroy(linger=0)
        self._remove()


def _manager(command: list[str], connection_file: Path, sockets: Path) -> AsyncKernelManager:
    import zmq
    import zmq.asyncio
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class OneSpec(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            # signals do not cross a pid namespace, hence interrupts by message
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
    return folder if len(folder.encode()) <= 60 else "/tmp"


def _why_ended(status: int | None) -> str:
    """Bubblewrap and the launcher report a signal as 128 + its number, Popen as its negative."""
    if status is None:
        return "for an unknown reason"
    number = -status if status < 0 else status - 128
    if number not in set(signal.Signals):
        return f"the code ended its own process with status {status}"
    known = {
        signal.SIGKILL: "it was killed, by its own code or because the machine ran out of memory",
        signal.SIGXCPU: "it used up its limit of processor time",
        signal.SIGSEGV: "a library crashed (segmentation fault)",
        signal.SIGABRT: "a library gave up, most likely at the memory limit",
    }
    return known.get(signal.Signals(number), f"it was ended by {signal.Signals(number).name}")
