"""What the launcher does to its own process before a cell can run: namespaces, Landlock, limits, system calls.

Standard library only, Linux only, and only what bubblewrap does not do. Each function raises OSError naming
the call that failed; the order in which they must run is the launcher's.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS = 1, 8, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAP_DAC_READ_SEARCH = 2
SYS_LANDLOCK_CREATE, SYS_LANDLOCK_ADD, SYS_LANDLOCK_RESTRICT, SYS_MOUNT_SETATTR = 444, 445, 446, 442
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = -100, 0x8000, 1
LANDLOCK_MIN_ABI = 3  # the first that also refuses truncation; Linux 6.2

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: object) -> int:
    result = int(getattr(_libc, name)(*args))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{args[:1]}: {os.strerror(number)}")
    return result


def _syscall(number: int, *args: object) -> int:
    return _call("syscall", ctypes.c_long(number), *args)


def enter_user_namespace(drop_to: int | None, also: int = 0) -> None:
    """Unshare the user namespace, and those in `also`.

    A process of user id 0 is exempt from RLIMIT_NPROC whatever its namespace, so root maps every id to itself
    (a helper forked beforehand must write that map) and then becomes `drop_to`; anyone else maps only himself.
    """
    if drop_to is None:
        uid, gid = os.geteuid(), os.getegid()
        _call("unshare", CLONE_NEWUSER | also)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
        return
    target = os.getpid()
    wait_read, wait_write = os.pipe()
    helper = os.fork()
    if helper == 0:
        os._exit(_write_full_maps(target, wait_read, wait_write))
    os.close(wait_read)
    _call("unshare", CLONE_NEWUSER | also)
    os.close(wait_write)
    if os.waitpid(helper, 0)[1]:
        raise OSError(f"the id map of user namespace {target} could not be written")


def _write_full_maps(target: int, wait_read: int, wait_write: int) -> int:
    os.close(wait_write)
    os.read(wait_read, 1)  # returns when the target has unshared and closed its end
    try:
        for kind in ("uid", "gid"):
            with open(f"/proc/self/{kind}_map") as current:  # noqa: PTH123
                ranges = [line.split() for line in current]
            _write(f"/proc/{target}/{kind}_map", "".join(f"{first} {first} {count}\n" for first, _, count in ranges))
    except OSError as error:
        print(f"cannot map ids: {error}", file=sys.stderr)
        return 1
    return 0


def become(uid: int) -> None:
    """Change to user and group `uid`, keeping only the right to read what the caller's mounts show.

    CAP_DAC_READ_SEARCH lives in the user namespace: it opens corpora with mode 0700, and does not reach
    open_by_handle_at, which asks for it in the first namespace.
    """
    _call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _keep_capability(CAP_DAC_READ_SEARCH)


def _keep_capability(number: int) -> None:
    mask = 1 << number
    header = struct.pack("=Ii", 0x20080522, 0)
    data = struct.pack("=6I", mask, mask, mask, 0, 0, 0)
    _call("capset", header, data)
    _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)  # or programs it starts lose it


def fork_as_init() -> None:
    """Return in a process of the new pid namespace whose first process only reaps.

    The caller stays outside as its stand-in: it ends as the kernel ends, and takes the namespace with it.
    """
    first = os.fork()
    if first:
        _end_as(os.waitpid(first, 0)[1])
    die_with_parent()
    second = os.fork()
    if second == 0:
        return
    while True:
        pid, status = os.wait()
        if pid == second:
            _end_as(status)


def _end_as(status: int) -> None:
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def die_with_parent() -> None:
    _call("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def hide_mounts(scratch: str, shared_memory: str, sockets: str) -> None:
    """In a new mount namespace: nothing but `scratch` and `sockets` can be written, /sys is empty, /proc is ours.

    Landlock governs opening; this also stops chmod, utime and the like. An empty /sys is needed as DuckDB 2.0
    aborts when /sys is there and refused. Needs a process of the new pid namespace.
    """
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    for path in (scratch, sockets):
        _mount(path, path, None, MS_BIND)
    _mount("tmpfs", "/sys", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if os.path.isdir("/dev/shm"):  # noqa: PTH112
        _mount(shared_memory, "/dev/shm", None, MS_BIND)
    _set_read_only("/", True)
    for path in (scratch, sockets, "/dev/shm"):
        if os.path.isdir(path):  # noqa: PTH112
            _set_read_only(path, False)


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    encoded = [None if part is None else part.encode() for part in (source, target, kind)]
    try:
        _call("mount", *encoded, ctypes.c_ulong(flags), None)
    except OSError as error:
        raise OSError(error.errno, f"mount on {target}: {os.strerror(error.errno or 0)}") from error


def _set_read_only(path: str, read_only: bool) -> None:
    change = (MOUNT_ATTR_RDONLY, 0) if read_only else (0, MOUNT_ATTR_RDONLY)
    attributes = struct.pack("=4Q", *change, 0, 0)
    recursive = AT_RECURSIVE if read_only else 0
    _syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), recursive, attributes, ctypes.c_size_t(len(attributes)))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123
        file.write(text)


EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_SOCK, TRUNCATE, IOCTL_DEV = 1 << 9, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV


def landlock_abi() -> int:
    """Version of Landlock the running kernel offers, 0 when none."""
    try:
        return _syscall(SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    except OSError:
        return 0


def restrict_files(readable: Iterable[str], devices: Iterable[str], writable: Iterable[str], sockets: str) -> None:
    """Landlock: nothing but these paths can be opened, by this process and all it starts, from now on."""
    abi = landlock_abi()
    handled = (1 << (13 + (abi >= 2) + (abi >= 3))) - 1 | (IOCTL_DEV if abi >= 5 else 0)
    attributes = struct.pack("=3Q", handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _syscall(SYS_LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), 0)
    rules = [(path, READ) for path in readable]
    rules += [(path, READ_FILE | WRITE_FILE) for path in devices]
    rules += [(path, handled & ~EXECUTE) for path in writable]
    rules.append((sockets, READ_DIR | MAKE_SOCK | REMOVE_FILE))
    for path, allowed in rules:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if not os.path.isdir(path):  # noqa: PTH112
            allowed &= OF_FILES
        rule = struct.pack("=Qi", allowed & handled, place)
        _syscall(SYS_LANDLOCK_ADD, ruleset, 1, rule, 0)
        os.close(place)
    forbid_new_privileges()
    _syscall(SYS_LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


def forbid_new_privileges() -> None:
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


# number on x86_64, on aarch64
REFUSED = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "unshare": (272, 97), "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "mount_setattr": (442, 442), "open_by_handle_at": (304, 265),
    "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "init_module": (175, 105), "finit_module": (313, 273), "kexec_load": (246, 104),
}  # fmt: skip
SOCKETPAIR, CLONE, CLONE3, SECCOMP = (53, 199), (56, 220), (435, 435), (317, 277)
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
NEW_NAMESPACES = (
    CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | 0x02000000  # cgroup
)
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _NOT_PERMITTED, _NO_SUCH_CALL = 0x7FFF0000, 0x00050001, 0x00050026


def refuse_system_calls() -> bool:
    """Refuse, in every thread and for good, opening or connecting sockets, tracing, mounting and namespaces.

    Sockets already open go on working, and stream socket pairs can be made. File rules do not reach Unix
    sockets, so under Landlock this is what keeps a cell from the machine's other services.
    False where the processor is neither x86_64 nor aarch64.
    """
    if platform.machine() not in ARCHITECTURES:
        return False
    column, audit = ARCHITECTURES[platform.machine()]
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, audit), (_RETURN, 0, 0, _NOT_PERMITTED), (_LOAD, 0, 0, 0)]
    program += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _NOT_PERMITTED)]  # the x32 twins of every call
    for numbers in REFUSED.values():
        program += [(_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _NOT_PERMITTED)]
    program += [(_EQUAL, 0, 1, CLONE3[column]), (_RETURN, 0, 0, _NO_SUCH_CALL)]  # libc then falls back on clone
    program += [(_EQUAL, 0, 4, CLONE[column]), (_LOAD, 0, 0, 16), (_ANY_BIT, 0, 1, NEW_NAMESPACES)]
    program += [(_RETURN, 0, 0, _NOT_PERMITTED), (_RETURN, 0, 0, _ALLOW)]
    program += [(_EQUAL, 0, 5, SOCKETPAIR[column]), (_LOAD, 0, 0, 24), (_AND, 0, 0, 15), (_EQUAL, 0, 1, 1)]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOT_PERMITTED), (_RETURN, 0, 0, _ALLOW)]
    forbid_new_privileges()
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))
    _syscall(SECCOMP[column], 1, 1, header)
    return True


def set_limits(memory: int, cpu: int | None, file: int, processes: int | None) -> None:
    """Memory counts what each process may write to (bytes); `processes` counts threads too, over the namespace.

    The address space gets as much again on top, for files mapped into memory; shared memory is bounded by it.
    """
    wanted = {
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_AS: 2 * memory,
        resource.RLIMIT_FSIZE: file,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 1024,
    }
    if processes is not None:
        wanted[resource.RLIMIT_NPROC] = processes
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bounded, bounded))
    if cpu is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))  # the soft one ends it by a signal with its own name


def be_first_to_go() -> None:
    """Where the machine runs out of memory, this process ends before any of the user's."""
    _write("/proc/self/oom_score_adj", "1000")
