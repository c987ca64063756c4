"""Cells: what comes back, what a kernel opens with, and what is left when it ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from insights.errors import KernelError
from insights.kernel import Kernel, Limits
from tests.kernel.conftest import Place, descendants

ROOT = Path(__file__).parents[2]


def test_a_session_is_stateful_and_says_what_happened(place: Place) -> None:
    first = place.run("import math\nvalue = 41\nprint('printed')\nvalue + 1")
    assert (first.stdout, first.result, first.error, first.truncated) == ("printed\n", "42", None, False)
    assert first.text() == "printed\n42"
    assert place.run("value").text() == "41"
    assert place.run("value = 1").text() == "(no output)"
    assert place.run("import asyncio; await asyncio.sleep(0, 'slept')").result == "'slept'"
    both = place.run("import sys; print('to stderr', file=sys.stderr); display(value); print('last')")
    assert both.stdout.splitlines() == ["to stderr", "1", "last"]


def test_a_kernel_opens_with_the_corpus(place: Place) -> None:
    cell = place.run(
        "traces.shape[0], con.execute('SELECT count(*) FROM steps').fetchone(), corpus.path.name, pd.NA, np.pi > 3"
    )
    assert cell.result == "(10, (40,), 'tiny.corpus', <NA>, True)"
    wide = place.run("pd.DataFrame({f'c{i}': ['v' * 200] * 200 for i in range(40)})")
    assert wide.result is not None and "200 rows × 40 columns" in wide.result.replace(" x ", " × ")
    assert max(map(len, wide.result.splitlines())) <= 160 and len(wide.result) <= 10_100


def test_verbs_are_there_and_reserved_names_come_back(place: Place) -> None:
    verbs = place.run("from primitives import VERBS; print(*(n for n in VERBS if n not in globals()))")
    assert verbs.error is None and verbs.stdout.strip() == ""
    cell = place.run("traces = traces.head(1); con = None; mine = len(traces)")
    assert "con, traces: reserved" in cell.stdout.replace("traces, con", "con, traces")
    assert place.run("mine, len(traces), con.execute('SELECT 1').fetchone()").result == "(1, 10, (1,))"
    place.run("del corpus")
    assert place.run("corpus.path.name").result == "'tiny.corpus'"


def test_errors_are_short_and_name_the_cell(place: Place) -> None:
    cell = place.run("def f(n):\n    return 1 / n\n\nf(0)")
    assert cell.error is not None and cell.result is None
    assert "line 4, in <module>" in cell.error and "return 1 / n" in cell.error
    assert cell.error.endswith("ZeroDivisionError: division by zero") and "IPython" not in cell.error
    assert "SyntaxError" in (place.run("a b").error or "")
    chained = place.run("try:\n    {}['k']\nexcept KeyError as e:\n    raise RuntimeError('later') from e").error
    assert chained is not None and "KeyError: 'k'" in chained and chained.endswith("RuntimeError: later")
    library = place.run("import json; json.loads('{')").error
    assert library is not None and library.count("json/decoder.py") <= 3 and "JSONDecodeError" in library
    deep = place.run("def r(): r()\nr()").error
    assert deep is not None and "RecursionError" in deep and len(deep) < 6_000
    asked = place.run("input()").error
    assert asked is not None and "StdinNotImplementedError" in asked
    assert "SystemExit" in (place.run("raise SystemExit(2)").error or "") and place.run("1").result == "1"


def test_long_output_keeps_head_and_tail(place: Place) -> None:
    cell = place.run("for i in range(20_000): print(f'row {i}')")
    assert cell.truncated and cell.stdout.startswith("row 0\n") and cell.stdout.endswith("row 19999\n")
    elided = int(cell.stdout.split("… ")[1].split(" ")[0].replace(",", ""))
    whole = "".join(f"row {i}\n" for i in range(20_000))
    assert elided + 10_000 == len(whole)
    spoof = place.run("print('5 characters elided')")
    assert not spoof.truncated


def test_output_of_subprocesses_is_collected(place: Place) -> None:
    cell = place.run("import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(\"from below\")'])")
    assert "from below" in cell.stdout
    at_once = place.run("import os; os.write(1, b'raw'); import time; time.sleep(0.3)")
    assert "raw" in at_once.stdout


def test_code_too_long_is_refused(place: Place) -> None:
    cell = place.run("#" * 300_000)
    assert cell.error == "the cell is 300,000 characters long, at most 256,000 are run"


def test_cells_queue_and_are_told_apart(place: Place) -> None:
    async def at_once() -> list[str | None]:
        cells = await asyncio.gather(*(place.kernel.run(f"import time; time.sleep(0.01); {i}") for i in range(5)))
        return [cell.result for cell in cells]

    assert place.wait(at_once()) == ["0", "1", "2", "3", "4"]


def test_many_cells_leave_nothing_behind_on_the_host(place: Place) -> None:
    assert [place.run(str(i)).result for i in range(450)] == [str(i) for i in range(450)]


def test_interrupt_from_outside(place: Place) -> None:
    async def stop_early() -> Any:
        running = asyncio.create_task(place.kernel.run("import time; time.sleep(30)"))
        await asyncio.sleep(0.3)
        await place.kernel.interrupt()
        return await running

    cell = place.wait(stop_early())
    assert cell.seconds < 5 and "KeyboardInterrupt" in (cell.error or "")


def test_a_cancelled_run_interrupts_its_cell(place: Place) -> None:
    async def cancel() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await place.kernel.run("print('stale')\nimport time; time.sleep(30)")

    started = time.monotonic()
    place.wait(cancel())
    assert place.run("2").text() == "2"
    assert time.monotonic() - started < 5


def test_restart_forgets_names(fragile: Place) -> None:
    fragile.run("mine = 1")
    fragile.wait(fragile.kernel.restart())
    cell = fragile.run("'mine' in globals(), len(traces)")
    assert cell.result == "(False, 10)" and not cell.lost_state


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files of these kernels alone, in this process and in those it starts."""
    with tempfile.TemporaryDirectory(prefix="kernels-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_several_kernels_at_once_with_a_long_path(
    corpus: Path, tmp_path: Path, sandbox: str, wait: Callable[[Coroutine[Any, Any, Any]], Any], temporary: Path
) -> None:
    run_dir = tmp_path / ("deep" * 25) / ("deeper" * 25)
    kernels = [Kernel(corpus, run_dir, sandbox=sandbox, name=f"scout-{i}") for i in range(3)]

    async def all_at_once() -> list[str | None]:
        await asyncio.gather(*(kernel.start() for kernel in kernels))
        cells = await asyncio.gather(*(k.run("import os; len(traces), os.getcwd()[-7:]") for k in kernels))
        await asyncio.gather(*(kernel.shutdown() for kernel in kernels))
        await kernels[0].shutdown()
        return [cell.result for cell in cells]

    assert wait(all_at_once()) == [f"(10, 'scout-{i}')" for i in range(3)]
    assert not list(temporary.iterdir())


def test_misuse_is_told(
    corpus: Path, tmp_path: Path, sandbox: str, wait: Callable[[Coroutine[Any, Any, Any]], Any], temporary: Path
) -> None:
    with pytest.raises(KernelError, match=r"there is no traces\.duckdb in it"):
        wait(Kernel(tmp_path, tmp_path / "run", sandbox=sandbox).start())
    assert not list(temporary.iterdir())
    with pytest.raises(KernelError, match="not started"):
        wait(Kernel(corpus, tmp_path / "run", sandbox=sandbox).run("1"))
    with pytest.raises(KernelError, match="cannot name a kernel"):
        Kernel(corpus, tmp_path / "run", sandbox=sandbox, name="../up")


def test_without_a_sandbox_when_asked(
    corpus: Path, tmp_path: Path, wait: Callable[[Coroutine[Any, Any, Any]], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")

    async def main() -> list[str]:
        async with Kernel(corpus, tmp_path, sandbox="none", limits=Limits(cell_seconds=1)) as kernel:
            assert kernel.sandbox == "none"
            codes = ("len(traces)", "while True: pass", "import os; print(*os.environ)", "x = bytearray(1 << 33)")
            return [(await kernel.run(code)).text() for code in codes]

    traces, loop, environment, memory = wait(main())
    assert traces == "10" and loop.startswith("stopped") and "API_KEY" not in environment and "MemoryError" in memory


HOST = """
import asyncio, sys
from pathlib import Path
from insights.kernel import Kernel

async def main():
    async with Kernel(Path(sys.argv[1]), Path(sys.argv[2]), sandbox=sys.argv[3]) as kernel:
        await kernel.run("1")
        print("ready", flush=True)
        await kernel.run("import os\\nif os.fork() == 0: os.setsid()\\nwhile True: pass")

asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_orphans_when_the_host_ends(
    corpus: Path, tmp_path: Path, sandbox: str, how: signal.Signals, temporary: Path
) -> None:
    """Ctrl-C leaves nothing at all; a kill leaves no process (its empty folder in the temporary one stays)."""
    marker = str(tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOST), str(corpus), marker, sandbox],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    ) as host:
        assert host.stdout is not None and host.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        family = descendants(host.pid)
        assert len(family) >= 2
        host.send_signal(how)
        host.wait(10)
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in family) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]
    if how == signal.SIGINT:
        assert not list(temporary.iterdir())


ORDINARY = """
import asyncio, os, tempfile
from pathlib import Path
from insights.kernel import Kernel, Limits

async def main():
    with tempfile.TemporaryDirectory() as folder:
        async with Kernel(Path({corpus!r}), Path(folder), sandbox={sandbox!r}) as kernel:
            for cell in {cells!r}:
                print(repr((await kernel.run(cell)).text()))

asyncio.run(main())
"""
# a mount namespace in which another user can reach this Python, though it lie in root's home
AS_NOBODY = """
mount --rbind /root /mnt && mount -t tmpfs tmpfs /root && chmod 755 /root || exit 1
for folder in /mnt/* /mnt/.[!.]*; do
    [ -d "$folder" ] && mkdir "/root/${folder#/mnt/}" && mount --rbind "$folder" "/root/${folder#/mnt/}"
done
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$1" -c "$2"
"""


def _others_may_enter(folder: Path) -> bool:
    """Whether each folder down to this one can be entered by anybody; /root is mounted over for the test."""
    return all(p.stat().st_mode & 0o001 for p in (folder, *folder.parents) if p not in (Path("/root"), Path("/")))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(
    not (_others_may_enter(Path(sys.prefix)) and _others_may_enter(ROOT)),
    reason="another user cannot read this environment or checkout",
)
def test_an_ordinary_user_is_as_confined(corpus: Path, sandbox: str) -> None:
    cells = ["len(traces)", "open('/etc/passwd')", "import socket; socket.socket()", "import os\nwhile True: os.fork()"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        copied = shutil.copytree(corpus, Path(folder) / "copied.corpus")
        copied.chmod(0o755)
        code = ORDINARY.format(corpus=str(copied), sandbox=sandbox, cells=cells)
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", AS_NOBODY, "sh", sys.executable, code],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        )
    assert done.returncode == 0, done.stderr
    traces, file, network, bomb = done.stdout.splitlines()
    assert traces == "'10'"
    assert "PermissionError" in file or "FileNotFoundError" in file
    assert "PermissionError" in network
    assert "64 processes and threads" in bomb
