"""The kernel beside bare jupyter_client, in one run on one machine: start, first cell, a cell, restart, parallel start.

    python benchmarks/kernel.py [CORPUS]        one JSON object; seconds, medians

Without CORPUS a small one is made. Start means: the first cell can be sent; what a session brings in behind that
(pandas and the `traces` table) shows in its first cell, beside a bare kernel whose first cell imports pandas.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from insights.errors import SandboxUnavailable
from insights.kernel import Kernel, choose_sandbox

STARTS = 3
CELLS = 100


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


class Bare:
    """jupyter_client alone, over the same transport, with ipykernel as it comes."""

    def __init__(self, folder: Path) -> None:
        from jupyter_client.manager import AsyncKernelManager

        self.manager = AsyncKernelManager(transport="ipc", ip=str(folder / "k"), kernel_name="python3")
        self.manager.connection_file = str(folder / "connection.json")

    async def start(self) -> None:
        await self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        await self.client.wait_for_ready(timeout=60)

    async def run(self, code: str) -> None:
        await self.client.execute_interactive(code, allow_stdin=False, output_hook=lambda _: None, timeout=60)

    async def restart(self) -> None:
        await self.manager.restart_kernel(now=True)
        await self.client.wait_for_ready(timeout=60)

    async def shutdown(self) -> None:
        self.client.stop_channels()
        await self.manager.shutdown_kernel(now=True)


async def measure(make: Callable[[], Any], first: str) -> dict[str, float]:
    starts, firsts, cells, restarts = [], [], [], []
    for _ in range(STARTS):
        kernel = make()
        starts.append(await timed(kernel.start))
        firsts.append(await timed(lambda k=kernel: k.run(first)))  # type: ignore[misc]
        cells += [await timed(lambda k=kernel: k.run("1 + 1")) for _ in range(CELLS)]  # type: ignore[misc]
        restarts.append(await timed(kernel.restart))
        await kernel.shutdown()
    p95 = sorted(cells)[int(len(cells) * 0.95)]
    named = {"start": starts, "first_cell": firsts, "cell": cells, "restart": restarts}
    return {name: round(statistics.median(values), 4) for name, values in named.items()} | {"cell_p95": round(p95, 4)}


async def together(make: Callable[[str], Kernel], count: int) -> float:
    kernels = [make(f"k{i}") for i in range(count)]
    seconds = await timed(lambda: asyncio.gather(*(kernel.start() for kernel in kernels)))
    await asyncio.gather(*(kernel.shutdown() for kernel in kernels))
    return round(seconds, 3)


def small_corpus(folder: Path) -> Path:
    import duckdb

    import insights.corpus

    corpus = folder / "small.corpus"
    (corpus / "labels").mkdir(parents=True)
    with duckdb.connect(str(corpus / "traces.duckdb")) as con:
        con.execute((Path(insights.corpus.__path__[0]) / "schema.sql").read_text(encoding="utf-8"))
        con.execute("INSERT INTO corpus_info VALUES (1, 'benchmark', now(), 'f')")
        con.execute(
            "INSERT INTO traces (trace_id, source_id, root_trace_id) SELECT 't' || i, 's', 't' || i FROM range(100) r(i)"
        )
    return corpus


async def main() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="kb-") as name:
        folder = Path(name)
        corpus = Path(sys.argv[1]) if len(sys.argv) > 1 else small_corpus(folder)
        result: dict[str, Any] = {"jupyter_client": await measure(lambda: Bare(folder), "import pandas, duckdb")}
        for sandbox in ("bubblewrap", "landlock", "none"):
            try:
                choose_sandbox(sandbox)
            except SandboxUnavailable as reason:
                result[sandbox] = str(reason)
                continue

            def make(kernel: str = "one", sandbox: str = sandbox) -> Kernel:
                return Kernel(corpus, folder / "run", sandbox=sandbox, name=kernel)

            result[sandbox] = await measure(make, "len(traces)")
            result[sandbox]["start_of_4"] = await together(make, 4)
    return result


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(json.dumps(asyncio.run(main()), indent=1))
