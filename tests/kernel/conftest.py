"""A small corpus, and real kernels in every sandbox that this machine has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

import insights.corpus
from insights.errors import SandboxUnavailable
from insights.kernel import Cell, Gateway, Kernel, Limits, choose_sandbox, session

SANDBOXES = ("bubblewrap", "landlock")
MIB = 1 << 20


@pytest.fixture(scope="session")
def wait() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run a coroutine in the one event loop of the session: a kernel belongs to the loop it was started in."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora") / "tiny.corpus"
    (folder / "labels").mkdir(parents=True)
    folder.chmod(0o700)
    schema = Path(insights.corpus.__path__[0]) / "schema.sql"
    with duckdb.connect(str(folder / "traces.duckdb")) as con:
        con.execute(schema.read_text(encoding="utf-8"))
        con.execute("INSERT INTO corpus_info VALUES (1, 'test', now(), 'fingerprint')")
        con.execute(
            "INSERT INTO traces (trace_id, source_id, root_trace_id, task_id, success) "
            "SELECT 't' || i, 's', 't' || i, 'task' || (i % 5), i % 2 = 0 FROM range(10) r(i)"
        )
        con.execute(
            "INSERT INTO steps (trace_id, seq, kind, role, text, text_len) "
            "SELECT 't' || i, j, 'message', 'user', 'step ' || j, 6 FROM range(10) r(i), range(4) s(j)"
        )
    (folder / "labels" / "note.txt").write_text("a label")
    return folder


def available(sandbox: str) -> str:
    try:
        return choose_sandbox(sandbox)
    except SandboxUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session", params=SANDBOXES)
def sandbox(request: pytest.FixtureRequest) -> str:
    return available(request.param)


@dataclass
class Place:
    """A started kernel, with what lies around it that it must not reach."""

    kernel: Kernel
    run_dir: Path
    outside: Path
    wait: Callable[[Coroutine[Any, Any, Any]], Any]
    asked: list[dict[str, Any]]

    def run(self, code: str) -> Cell:
        return self.wait(self.kernel.run(code))


async def slowly(value: Any, seconds: float) -> Any:
    await asyncio.sleep(seconds)
    return value


def refuse(why: str) -> None:
    raise ValueError(why)


@pytest.fixture(scope="session")
def place(
    sandbox: str,
    corpus: Path,
    tmp_path_factory: pytest.TempPathFactory,
    wait: Callable[[Coroutine[Any, Any, Any]], Any],
) -> Iterator[Place]:
    """One kernel for all tests that leave it usable."""
    around = tmp_path_factory.mktemp("around")
    run_dir, outside = around / "run", around / "home" / ".ssh"
    for folder in (run_dir, outside):
        folder.mkdir(parents=True)
    (run_dir / "plan.json").write_text("{}")
    (outside / "id_ed25519").write_text("private")
    asked: list[dict[str, Any]] = []
    gateway = Gateway({"slowly": slowly, "echo": lambda value: value, "refuse": refuse}, log=asked.append)
    limits = Limits(memory_bytes=2048 * MIB, cell_seconds=90, file_bytes=8 * MIB)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
        patch.setenv("OPENAI_API_KEY", "sk-secret")
        kernel = Kernel(corpus, run_dir, gateway=gateway, limits=limits, sandbox=sandbox)
        wait(kernel.start())
    yield Place(kernel, run_dir, outside, wait, asked)
    wait(kernel.shutdown())


@pytest.fixture(scope="session")
def fragile(
    sandbox: str,
    corpus: Path,
    tmp_path_factory: pytest.TempPathFactory,
    wait: Callable[[Coroutine[Any, Any, Any]], Any],
) -> Iterator[Place]:
    """One kernel for all tests that may end it, with little time for a cell."""
    run_dir = tmp_path_factory.mktemp("fragile")
    kernel = Kernel(corpus, run_dir, limits=Limits(cell_seconds=3), sandbox=sandbox)
    wait(kernel.start())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "INTERRUPT_GRACE", 2)
        yield Place(kernel, run_dir, run_dir, wait, [])
    wait(kernel.shutdown())


@pytest.fixture
def another(
    corpus: Path, tmp_path: Path, wait: Callable[[Coroutine[Any, Any, Any]], Any], sandbox: str
) -> Iterator[Callable[..., Place]]:
    """Start a kernel of one's own."""
    stack = AsyncExitStack()

    def start(**options: Any) -> Place:
        options.setdefault("sandbox", sandbox)
        kernel = Kernel(corpus, tmp_path / "run", **options)
        wait(stack.enter_async_context(kernel))
        return Place(kernel, tmp_path / "run", tmp_path, wait, [])

    yield start
    wait(stack.aclose())


def descendants(pid: int) -> list[int]:
    """All descendants of a process."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found
