"""What a cell can use up, and what it costs: each of these leaves the run alive with a clear message."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable

import pytest

from insights.kernel import Limits
from tests.kernel.conftest import Place, descendants

BOMB = """
import os, sys
while True:
    os.fork()
"""
OTHERS = "import os; sum(name.isdigit() for name in os.listdir('/proc'))"
STUBBORN_LOOP = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    try:
        sum(range(1000))
    except BaseException:
        pass
"""
STUBBORN_BOMB = """
import os
while True:
    try:
        os.fork()
    except BaseException:
        pass
"""


def test_a_loop_is_interrupted_and_names_are_kept(fragile: Place) -> None:
    fragile.run("kept = 5")
    cell = fragile.run("print('before')\nwhile True: pass")
    assert cell.error is not None and cell.error.startswith("stopped: the cell reached its limit of 3 s. Names")
    assert "Cell In[" in cell.error and "KeyboardInterrupt" in cell.error
    assert cell.stdout == "before\n" and not cell.lost_state and cell.seconds >= 3
    assert fragile.run("kept").result == "5"
    slow = fragile.run("con.execute('SELECT count(*) FROM range(1000000) a, range(1000000) b').fetchall()")
    assert slow.error is not None and slow.error.startswith("stopped") and not slow.lost_state
    assert fragile.run("kept, con.sql('SELECT 1').fetchall()").result == "(5, [(1,)])"


def test_a_loop_that_ignores_the_interrupt_costs_the_names(fragile: Place) -> None:
    fragile.run("import math\ndef mine(): pass\ntable, rest = 1, 2")
    cell = fragile.run(STUBBORN_LOOP)
    assert cell.lost_state
    assert cell.error is not None and "ignored the interrupt, so the kernel was restarted" in cell.error
    assert "math, mine, table, rest" in cell.error
    after = fragile.run("'table' in globals(), len(traces), con.sql('SELECT 7').fetchall()")
    assert after.result == "(False, 10, [(7,)])" and not after.lost_state


def test_too_much_memory_is_an_error_of_the_cell(place: Place) -> None:
    place.run("kept = 1")
    for code in ("x = bytearray(1 << 31)", "x = [0]\nwhile True: x += x", "import mmap; mmap.mmap(-1, 1 << 32)"):
        cell = place.run(code)
        assert cell.error is not None and ("MemoryError" in cell.error or "Cannot allocate" in cell.error), cell
        assert "a process of this kernel may use 2 GB" in cell.error
    sql = place.run("con.sql('SELECT list(i) FROM range(400_000_000) t(i)').fetchall()")
    assert sql.error is not None and "OutOfMemoryException" in sql.error
    assert place.run("del x; kept").result == "1"


def test_a_fork_bomb_stops_at_the_limit(fragile: Place) -> None:
    fragile.run("kept = 1")
    cell = fragile.run(BOMB)
    assert cell.error is not None and "Resource temporarily unavailable" in cell.error
    assert "64 processes and threads" in cell.error and not cell.lost_state
    assert fragile.run("kept").result == "1"
    deadline = time.monotonic() + 5
    while (left := fragile.run(OTHERS).result) != "2" and time.monotonic() < deadline:
        time.sleep(0.05)  # the namespace's first process has yet to take note of the dead
    assert left == "2"  # that process, and the kernel
    assert fragile.run("import subprocess, sys; subprocess.run([sys.executable, '-c', '']).returncode").result == "0"


def test_a_fork_bomb_that_goes_on_is_killed_with_its_kernel(fragile: Place) -> None:
    before = len(descendants(os.getpid()))
    cell = fragile.run(STUBBORN_BOMB)
    assert cell.lost_state and cell.error is not None and "kernel was restarted" in cell.error
    assert len(descendants(os.getpid())) <= before
    assert fragile.run("1 + 1").result == "2"


def test_a_thread_bomb_stops_at_the_limit(place: Place) -> None:
    cell = place.run(
        "import threading\nwhile True: threading.Thread(target=threading.Event().wait, args=(0.5,)).start()"
    )
    place.run("import time; time.sleep(1)")
    assert cell.error is not None and "can't start new thread" in cell.error and "64 processes" in cell.error


def test_a_process_left_behind_does_not_outlive_its_cell(place: Place) -> None:
    code = "import os, time\npid = os.fork()\nif pid == 0:\n    os.setsid()\n    time.sleep(60)\n    os._exit(0)"
    assert place.run(code).error is None
    assert place.run(OTHERS).result == "2"


def test_100_mb_of_output_is_not_carried(fragile: Place) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for code in ("print('x' * 100_000_000)", "while True: print('line ' * 1000)"):
        cell = fragile.run(code)
        assert cell.error is not None and "the cell printed more than 50,000,000 characters" in cell.error
        assert cell.truncated and "characters elided" in cell.stdout and not cell.lost_state
        assert len(cell.text()) < 21_000
    raw = fragile.run("import os\nfor i in range(100): os.write(1, b'y' * 1_000_000)")
    assert raw.truncated and "characters elided" in raw.stdout and len(raw.text()) < 21_000
    big = fragile.run("'z' * 100_000_000")
    assert big.truncated and big.error is None and big.result is not None and len(big.result) < 11_000
    assert "99,990,002 characters elided" in big.result
    error = fragile.run("raise ValueError('e' * 100_000_000)")
    assert error.error is not None and len(error.error) < 6_000 and "characters elided" in error.error
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB
    assert fragile.run("1 + 1").result == "2"


def test_a_kernel_that_breaks_its_bounds_is_stopped(fragile: Place) -> None:
    """Code in a cell can take the kernel's own channel; then the host's bounds hold."""
    flood = (
        "from ipykernel.iostream import OutStream\nimport sys\n"
        "def send(text): OutStream.write(sys.stdout, text); sys.stdout.flush()\n"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cell = fragile.run(flood + "while True: send('x' * 1_000_000)")
    assert cell.error is not None and len(cell.text()) < 60_000
    # Out of memory, a library in the kernel may crash before the host has seen too much.
    assert "the bound on output" in cell.error or "the kernel died" in cell.error
    huge = fragile.run(flood + "send('x' * 50_000_000)")
    assert len(huge.text()) < 60_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    assert fragile.run("1 + 1").result == "2"


def test_a_file_has_a_largest_size(place: Place) -> None:
    cell = place.run("open('big', 'wb').write(bytes(9 << 20))")
    assert cell.error is not None and "File too large" in cell.error and "8,388,608 bytes" in cell.error


def test_processor_time_has_a_limit(another: Callable[..., Place]) -> None:
    place = another(limits=Limits(cpu_seconds=4))
    cell = place.run("while True: pass")
    assert cell.lost_state and cell.error is not None and "limit of processor time" in cell.error


@pytest.mark.parametrize(
    ("end", "why"),
    [("os._exit(3)", "ended its own process with status 3"), ("os.kill(os.getpid(), 9)", "it was killed")],
)
def test_a_dead_kernel_is_noticed_and_started_again(fragile: Place, end: str, why: str) -> None:
    fragile.run("mine = 1")
    cell = fragile.run(f"import os; print('last words', flush=True); {end}")
    assert cell.seconds < 1.5  # well under the time it takes to time out
    assert cell.lost_state
    assert cell.error is not None and why in cell.error and "mine" in cell.error
    after = fragile.run("len(traces)")
    assert after.result == "10" and after.lost_state and "started again" in after.stdout
    assert not fragile.run("1").lost_state


def test_the_machine_takes_the_kernel_first_when_memory_runs_out(place: Place) -> None:
    assert place.run("open('/proc/self/oom_score_adj').read()").result == r"'1000\n'"


def test_limits_hold_for_root_too(place: Place) -> None:
    cell = place.run("import os, resource; resource.getrlimit(resource.RLIMIT_NPROC), os.getuid()")
    uid = 61200 if os.getuid() == 0 else os.getuid()
    assert cell.result == f"((64, 64), {uid})"
    assert place.run("resource.setrlimit(resource.RLIMIT_NPROC, (1000, 1000))").error is not None
