"""The means by which a kernel is confined, and what it may see.

    bubblewrap   mounts only what is listed; own pid, network, ipc and host-name namespaces
    landlock     the same namespaces by unshare(2), files by Landlock; for machines without bubblewrap
    none         limits only, for those who waive the rest

Both sandboxes also refuse the system calls that open sockets once the gateway is connected (inside/confine.py).
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from insights.errors import SandboxUnavailable
from insights.kernel.cell import Limits

KERNEL_UID = 61200  # what root's kernels run as: in the range set aside for users that exist only while a service runs
MAX_THREADS = 4  # of DuckDB and of each numeric library; keeps a big machine within Limits.processes
INSIDE = Path(__file__).resolve().parent / "inside"
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
SINGLE_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
NAMES = ("bubblewrap", "landlock", "none")
REMEDY = "install bubblewrap (apt install bubblewrap), or pass --no-sandbox to run model-written code unconfined"


def choose_sandbox(requested: str = "auto") -> str:
    """The sandbox to use: `requested` where it works here, for "auto" the best that does.

    Raises SandboxUnavailable, whose remedy says what to install or waive. "none" is never chosen, only asked for.
    """
    if requested == "none":
        return requested
    if requested not in ("auto", *NAMES):
        raise SandboxUnavailable(f"there is no sandbox named {requested!r}", f"use auto, {', '.join(NAMES)}")
    tried = NAMES[:2] if requested == "auto" else (requested,)
    reasons = []
    for name in tried:
        reason = _why_not(name)
        if reason is None:
            return name
        reasons.append(f"{name}: {reason}")
    raise SandboxUnavailable(f"no sandbox works on this machine ({'; '.join(reasons)})", REMEDY)


@cache
def _why_not(sandbox: str) -> str | None:
    """Confine an empty process by this means, once; None when it works."""
    if sys.platform != "linux":
        return f"it needs Linux, this is {sys.platform}"
    if sandbox == "bubblewrap" and shutil.which("bwrap") is None:
        return "bwrap is not installed"
    with tempfile.TemporaryDirectory(prefix="insights-") as folder:
        place = Path(folder).resolve()
        cage = Cage(sandbox, corpus=place, run_dir=place, scratch=place / "scratch", private=place)
        cage.prepare()
        cage.write_spec({"probe": True})
        done = subprocess.run(cage.command(), env=cage.environment(), capture_output=True, text=True, timeout=30)
    lines = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else (lines[-1] if lines else f"exit status {done.returncode}")


def kernel_uid() -> int | None:
    """The user a kernel of root becomes, since root is exempt from the limit on processes; None for anyone else."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return None
    ranges = (line.split() for line in Path("/proc/self/uid_map").read_text().splitlines())
    mapped = any(int(first) <= KERNEL_UID < int(first) + int(count) for first, _, count in ranges)
    return KERNEL_UID if mapped else None


@dataclass(frozen=True, slots=True)
class Cage:
    """What one kernel may see, all absolute and resolved: `scratch` to write, the rest to read.

    `private` is the host's, new for each launch. Of it the kernel may add to `sockets` and fill `shared_memory`, and
    read the two files that tell it what to do.
    """

    sandbox: str
    corpus: Path
    run_dir: Path
    scratch: Path
    private: Path
    extra: Sequence[Path] = ()

    @property
    def sockets(self) -> Path:
        return self.private / "s"

    @property
    def shared_memory(self) -> Path:
        return self.private / "shm"

    @property
    def spec(self) -> Path:
        return self.private / "spec.json"

    @property
    def connection_file(self) -> Path:
        return self.private / "connection.json"

    @property
    def drop_to(self) -> int | None:
        return None if self.sandbox == "none" else kernel_uid()

    def prepare(self) -> None:
        """Make the writable folders and give them to the user the kernel will be."""
        for folder in (self.sockets, self.shared_memory, self.scratch):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.drop_to is not None:
                os.chown(folder, self.drop_to, self.drop_to, follow_symlinks=False)
        for file in (self.spec, self.connection_file):
            file.touch(mode=0o600)

    def write_spec(self, more: dict[str, Any]) -> None:
        """The launcher's instructions."""
        spec = {
            "sandbox": self.sandbox,
            "drop_to": self.drop_to,
            "scratch": str(self.scratch),
            "shared_memory": str(self.shared_memory),
            "sockets": str(self.sockets),
            "readable": [*map(str, self.readable()), "/proc", "/sys"],
            "devices": DEVICES,
            "primitives": str(_primitives()[0]),
            "threads": threads(),
        }
        self.spec.write_text(json.dumps({**spec, **more}), encoding="utf-8")

    def readable(self) -> list[Path]:
        python = [*_python(), *_primitives(), INSIDE]
        system = [Path(name) for name in (*LIBRARIES, *SINGLE_FILES)]
        told = [self.spec, self.connection_file]
        return _existing([*system, *python, *self.extra, self.corpus, self.run_dir, *told])

    def command(self) -> list[str]:
        launch = [sys.executable, "-I", "-B", str(INSIDE / "launcher.py"), str(self.spec)]
        return [*self._bubblewrap(), *launch] if self.sandbox == "bubblewrap" else launch

    def _bubblewrap(self) -> list[str]:
        bwrap = shutil.which("bwrap")
        assert bwrap is not None
        options = [bwrap, "--die-with-parent", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
        if self.drop_to is None:
            options += ["--unshare-user"]
        else:  # what the launcher needs to become KERNEL_UID; gone before a cell runs
            options += ["--cap-drop", "ALL"]
            for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETFCAP", "CAP_DAC_READ_SEARCH"):
                options += ["--cap-add", capability]
        options += ["--proc", "/proc", "--dev", "/dev", "--bind", str(self.shared_memory), "/dev/shm"]
        for path in self.readable():
            if path.is_symlink() and path.is_dir():  # /lib -> usr/lib on most systems
                options += ["--symlink", str(path.readlink()), str(path)]
            else:
                options += ["--ro-bind", str(path), str(path)]
        for path in (self.scratch, self.sockets):
            options += ["--bind", str(path), str(path)]
        return [*options, "--remount-ro", "/dev", "--remount-ro", "/"]

    def environment(self) -> dict[str, str]:
        """All a kernel gets of the environment: nothing of the caller's but the time zone."""
        threads_of = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS")
        home, temporary = str(self.scratch), str(self.scratch / ".tmp")
        kept = {"TZ": os.environ["TZ"]} if "TZ" in os.environ else {}
        return {
            **kept,
            **dict.fromkeys(threads_of, str(threads())),
            **dict.fromkeys(("TMPDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"), temporary),
            "HOME": home,
            "PATH": str(Path(sys.executable).parent),
            "USER": "insights",
            "LOGNAME": "insights",
            "LANG": "C.UTF-8",
            "MALLOC_ARENA_MAX": "4",
        }


def threads() -> int:
    return min(os.cpu_count() or 1, MAX_THREADS)


def limits_for_launcher(limits: Limits, sandbox: str) -> dict[str, int | None]:
    """`set_limits` of inside/confine.py. Processes are counted per namespace from Linux 5.14, before that per user."""
    processes = limits.processes
    release = tuple(int(part) for part in platform.release().split(".")[:2] if part.isdigit())
    if sandbox == "none" or release < (5, 14):
        dropped = None if sandbox == "none" else kernel_uid()
        processes += _tasks_of(os.geteuid() if dropped is None else dropped)
    return {
        "memory": limits.memory_bytes,
        "cpu": limits.cpu_seconds,
        "file": limits.file_bytes,
        "processes": processes,
    }


def _tasks_of(uid: int) -> int:
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == uid:
                total += sum(1 for _ in (process / "task").iterdir())
        except OSError:
            continue  # it has ended
    return total


def _existing(paths: Iterable[Path]) -> list[Path]:
    return list(dict.fromkeys(path for path in paths if path.exists()))


def _python() -> list[Path]:
    """The interpreter and its packages. A system's own Python gives its libraries and executable, not all of /usr."""
    found: list[Path] = []
    for prefix in dict.fromkeys((Path(sys.base_prefix), Path(sys.prefix))):
        if str(prefix) in ("/", "/usr", "/usr/local"):
            found += [prefix / "lib", prefix / "lib64", Path(sys.executable), Path(sys.executable).resolve()]
        else:
            found.append(prefix)
    return found


@cache
def _primitives() -> tuple[Path, ...]:
    """The package of verbs and, in a checkout, the configuration beside it."""
    found = importlib.util.find_spec("primitives")
    assert found is not None and found.submodule_search_locations
    package = Path(next(iter(found.submodule_search_locations))).resolve()
    return tuple(_existing([package, package.parent / "configs"]))
