"""The index by meaning, made once beside a run whose agents may search, instead of in each of their kernels.

A kernel sees the corpus read-only and can keep nothing; one that searches before this is done makes its own, as before.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

BOOT = "import sys; sys.path[:] = sys.argv[2:]; from primitives.semantic import build; build(sys.argv[1])"


@asynccontextmanager
async def indexed_beside(corpus: Path) -> AsyncIterator[None]:
    """Build the index in a process of its own, which ends with the run at the latest."""
    command = [sys.executable, "-P", "-c", BOOT, str(corpus), *sys.path]
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
