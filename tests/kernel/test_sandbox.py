"""What code in a cell cannot do. Every test runs in each sandbox this machine has."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from insights.errors import SandboxUnavailable
from insights.kernel import choose_sandbox, sandbox
from tests.kernel.conftest import Place

REFUSED = ("PermissionError", "FileNotFoundError", "Read-only file system", "cross-device link")


def refused(place: Place, code: str) -> bool:
    cell = place.run(code)
    return cell.error is not None and any(kind in cell.error for kind in REFUSED)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/etc/shadow",
        "/etc/hostname",
        "/root/.bashrc",
        "/proc/1/environ",
        "/proc/HOST/environ",
        "/proc/HOST/root/etc/passwd",
        __file__,
        str(Path(sandbox.__file__)),
    ],
)
def test_files_outside_are_not_read(place: Place, path: str) -> None:
    path = path.replace("HOST", str(os.getpid()))
    assert refused(place, f"open({path!r}, 'rb').read()")


def test_a_private_key_beside_the_run_is_not_read(place: Place) -> None:
    key = place.outside / "id_ed25519"
    assert key.read_text() == "private"
    assert refused(place, f"open({str(key)!r}).read()")
    assert refused(place, f"import os; os.listdir({str(place.outside)!r})")
    assert refused(place, f"os.symlink({str(key)!r}, 'link'); open('link').read()")
    assert refused(place, f"os.link({str(key)!r}, 'hard')")


def test_corpus_run_folder_and_scratch_are_read(place: Place) -> None:
    cell = place.run(
        f"import os; print(open({str(place.run_dir / 'plan.json')!r}).read())\n"
        f"print(open({str(place.kernel.corpus / 'labels' / 'note.txt')!r}).read())\n"
        "open('mine.txt', 'w').write('x'); print(open('mine.txt').read(), os.getcwd())"
    )
    assert cell.error is None
    assert cell.stdout.split() == ["{}", "a", "label", "x", str(place.kernel.scratch)]
    assert (place.kernel.scratch / "mine.txt").read_text() == "x"


def test_nothing_outside_scratch_is_written(place: Place) -> None:
    corpus, run_dir = place.kernel.corpus, place.run_dir
    before = {path: path.stat().st_mtime_ns for path in [*corpus.rglob("*"), run_dir / "plan.json"]}
    for target in (corpus / "new", corpus / "labels" / "new", corpus / "traces.duckdb", run_dir / "plan.json"):
        assert refused(place, f"open({str(target)!r}, 'ab').write(b'x')"), target
    for folder in (str(place.outside), "/tmp", "", "/usr/lib", "/dev", "/root"):
        elsewhere = f"{folder}/{place.run_dir.parent.name}-new"
        assert not Path(elsewhere).exists()
        assert refused(place, f"open({elsewhere!r}, 'w')"), elsewhere
    for act in ("os.rmdir", "lambda p: os.mkdir(p + 'x')", "lambda p: os.chmod(p, 0o777)", "os.utime"):
        assert refused(place, f"import os; ({act})({str(corpus / 'labels')!r})"), act
    assert refused(place, f"os.truncate({str(corpus / 'traces.duckdb')!r}, 0)")
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_sql_reaches_no_files(place: Place) -> None:
    for query in ("SELECT * FROM read_text('/etc/passwd')", "COPY traces TO 'out.csv'", "ATTACH 'x.duckdb'"):
        cell = place.run(f"con.execute({query!r})")
        assert cell.error is not None and "PermissionException" in cell.error, query
    assert "locked" in (place.run("con.execute('SET enable_external_access=true')").error or "")


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[int, int, Path]]:
    """A TCP port, a UDP port and a Unix socket of the host, all open to anyone."""
    path = tmp_path / "service"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(path))
            path.chmod(0o777)
            unix.listen()
            yield tcp.getsockname()[1], udp.getsockname()[1], path


def test_no_socket_is_opened(place: Place, listening: tuple[int, int, Path]) -> None:
    tcp, udp, unix = listening
    assert refused(place, f"import socket; socket.create_connection(('127.0.0.1', {tcp}), timeout=2)")
    assert refused(place, "socket.create_connection(('192.0.2.1', 443), timeout=2)")
    assert refused(place, f"socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {udp}))")
    assert refused(place, f"socket.socket(socket.AF_UNIX).connect({str(unix)!r})")
    assert refused(place, "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)")
    assert refused(place, "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', '/dev/log')")
    cell = place.run("socket.getaddrinfo('example.com', 443)")
    assert cell.error is not None and "gaierror" in cell.error


def test_a_unix_socket_in_the_run_folder_is_not_reached(place: Place) -> None:
    path = place.run_dir / "service"
    with socket.socket(socket.AF_UNIX) as service:
        short = os.open(place.run_dir, os.O_PATH)
        service.bind(f"/proc/self/fd/{short}/service")
        os.close(short)
        path.chmod(0o777)
        service.listen()
        assert refused(place, f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})")
    path.unlink()


def test_a_child_process_is_as_confined(place: Place) -> None:
    code = (
        "import os\npid = os.fork()\nif pid == 0:\n"
        "    import socket\n"
        "    try: socket.socket()\n    except OSError: pass\n    else: os._exit(1)\n"
        "    try: open('/etc/passwd')\n    except OSError: os._exit(7)\n    os._exit(2)\n"
        "os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    )
    assert place.run(code).result == "7"


def test_no_key_is_seen(place: Place) -> None:
    cell = place.run("import os; print(sorted(os.environ)); print(*os.environ.values())")
    assert cell.error is None
    assert "secret" not in cell.stdout
    assert "API_KEY" not in cell.stdout
    found = place.run(
        "import glob\n"
        "for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):\n"
        "    try: print(b'secret' in open(path, 'rb').read())\n"
        "    except OSError: pass"
    )
    assert "True" not in found.stdout


def test_other_processes_are_out_of_reach(place: Place) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        for pid in (os.getpid(), bystander.pid):
            cell = place.run(f"import os; os.kill({pid}, 9)")
            assert cell.error is not None and "ProcessLookupError" in cell.error
        place.run("import os, signal; os.kill(-1, signal.SIGKILL)")
        assert bystander.poll() is None
        bystander.kill()
    traced = place.run(
        f"import ctypes; libc = ctypes.CDLL(None, use_errno=True); libc.ptrace(16, {os.getpid()}, 0, 0), ctypes.get_errno()"
    )
    assert traced.result == "(-1, 1)"


@pytest.mark.parametrize("call", ["unshare(0x10000000)", "unshare(0x20000)", "mount(b'none', b'/tmp', b'tmpfs', 0, 0)"])
def test_no_new_namespace_or_mount(place: Place, call: str) -> None:
    cell = place.run(f"import ctypes; libc = ctypes.CDLL(None, use_errno=True); libc.{call}, ctypes.get_errno()")
    assert cell.result == "(-1, 1)"


def test_the_right_to_read_does_not_reach_through_handles(place: Place) -> None:
    code = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
        "libc.open_by_handle_at(3, ctypes.create_string_buffer(64), 0), ctypes.get_errno()"
    )
    assert place.run(code).result == "(-1, 1)"


def test_the_kernel_is_no_root(place: Place) -> None:
    assert place.run("import os; 0 in (os.getuid(), os.geteuid(), os.getgid(), *os.getgroups())").result == "False"
    capabilities = place.run("[l.split()[1] for l in open('/proc/self/status') if l.startswith('CapEff')][0]").result
    assert capabilities is not None and int(capabilities.strip("'"), 16) in (0, 1 << 2)


def test_the_analysis_works_inside(place: Place) -> None:
    cell = place.run(
        "import sklearn.cluster, scipy.stats, numpy as np\n"
        "sklearn.cluster.KMeans(2, n_init=1).fit(np.arange(20.).reshape(-1, 1))\n"
        "con.sql('SELECT count(*), sum(i) FROM range(3_000_000) t(i) ORDER BY 1').fetchall(), len(traces)"
    )
    assert cell.error is None
    assert cell.result == "([(3000000, 4499998500000)], 10)"
    pool = place.run(
        "import multiprocessing as mp\nwith mp.get_context('fork').Pool(2) as p: print(p.map(abs, [-1, 2]))"
    )
    assert pool.stdout == "[1, 2]\n"
    threads = place.run("from concurrent.futures import ThreadPoolExecutor as T; list(T(8).map(abs, range(-3, 0)))")
    assert threads.result == "[3, 2, 1]"


def test_sandbox_must_be_known_and_is_never_dropped_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SandboxUnavailable, match="no sandbox named 'chroot'"):
        choose_sandbox("chroot")
    assert choose_sandbox("none") == "none"
    monkeypatch.setattr(sandbox, "_why_not", lambda name: f"{name} is missing")
    with pytest.raises(SandboxUnavailable, match="bubblewrap is missing") as raised:
        choose_sandbox("auto")
    assert raised.value.remedy is not None and "--no-sandbox" in raised.value.remedy
    monkeypatch.setattr(sandbox, "_why_not", lambda name: None if name == "landlock" else "missing")
    assert choose_sandbox("auto") == "landlock"


def test_this_thread_count_is_the_hosts(place: Place) -> None:
    """The host's own threads are not counted against the kernel's limit on processes."""
    many = [threading.Thread(target=threading.Event().wait, args=(0.5,)) for _ in range(80)]
    for thread in many:
        thread.start()
    assert (
        place.run("import os; os.waitpid(os.posix_spawn('/proc/self/exe', ['python', '-c', ''], {}), 0)").error is None
    )
    for thread in many:
        thread.join()
