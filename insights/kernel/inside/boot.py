"""What a kernel opens with: the corpus and its verbs, the gateway, bounded output, plain tracebacks.

Runs inside the sandbox as part of the launcher. What takes longest, pandas and the `traces` table, comes last, at a
message which the host sends as soon as the kernel answers: it is done while nobody waits for a cell.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import re
import signal
import sys
import termios
import threading
import time
import traceback
from types import TracebackType
from typing import Any

from ipykernel.iostream import OutStream
from ipykernel.kernelapp import IPKernelApp

MIME_NOTES = "application/x-insights-notes"  # {"truncated": bool, "restored": [names]}, once at the end of a cell
STOP_PRINTING_AT = 50_000_000  # characters; a cell that prints more is stopped, as nobody reads them
CELL_FILE = re.compile(r'File "([^"\n]*/ipykernel_[^"\n]*)"')
OWN_FRAMES = re.compile("/IPython/core/|/ipykernel/")
KEPT_FRAMES = 10  # at either end of a traceback
KEPT_LIBRARY_FRAMES = 3  # of a traceback, the last ones: enough to name the failing call


class TooMuchOutput(BaseException):
    """Not an Exception, so that `except Exception` in a loop that prints does not outlive it."""


class Printed:
    """What a cell prints: the head passes at once, the tail is kept until the cell ends, the rest is counted."""

    def __init__(self) -> None:
        self.half = 10_000
        self._lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        self.passed = 0
        self.held = 0
        self._ends: list[str] = []  # the last pieces held back, `half` characters of them or more
        self._kept = 0
        self.stopped = False
        self.open = True

    def take(self, text: str) -> tuple[str, bool]:
        """The part of `text` to send now, and whether it has become too much."""
        with self._lock:
            now = text[: max(self.half - self.passed, 0)] if self.open else text
            self.passed += len(now)
            self.held += len(text) - len(now)
            self._ends.append(text[max(len(now), len(text) - self.half) :])
            self._kept += len(self._ends[-1])
            if self._kept > 8 * self.half:
                self._ends = [self._tail()]
                self._kept = len(self._ends[0])
            overrun = self.held > STOP_PRINTING_AT and not self.stopped
            self.stopped = self.stopped or overrun
        return now, overrun

    @staticmethod
    def stop() -> None:
        if threading.current_thread() is threading.main_thread():
            raise TooMuchOutput(f"stopped: the cell printed more than {STOP_PRINTING_AT:,} characters; print a summary")
        import _thread

        _thread.interrupt_main()

    def finish(self) -> str:
        """The tail, after a line that counts what was left out."""
        with self._lock:
            self.open = False
            tail = self._tail()
            left_out = self.held - len(tail)
            marker = f"\n… {left_out:,} characters elided …\n" if left_out else ""
            return marker + tail

    def _tail(self) -> str:
        return "".join(self._ends)[-self.half :]


PRINTED = Printed()


class BoundedStream(OutStream):
    """stdout and stderr of the kernel, what subprocesses write included."""

    def write(self, string: str) -> int:
        if isinstance(string, str):
            now, too_much = PRINTED.take(string)
            if now:
                super().write(now)
            if too_much:
                PRINTED.stop()
            return len(string)
        raise TypeError(f"write() argument must be str, not {type(string).__name__}")


def bounded(text: str, limit: int) -> tuple[str, bool]:
    """Head and tail of `text` within `limit` characters, and whether anything was left out."""
    if len(text) <= limit:
        return text, False
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters elided …\n{text[-half:]}", True


def hint(error: BaseException, spec: dict[str, Any]) -> str:
    """What the bare words of the system do not say: which limit it was."""
    limits, number = spec["limits"], getattr(error, "errno", None)
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        said = (
            f"a process of this kernel may use {limits['memory'] / 2**30:.2g} GB: aggregate in SQL, read fewer columns"
        )
    elif number == errno.EAGAIN or "start new thread" in str(error):
        said = f"this kernel may have {spec['processes']} processes and threads at once"
    elif number == errno.EFBIG:
        said = f"a file may have {limits['file']:,} bytes"
    elif number in (errno.EACCES, errno.EPERM, errno.EROFS) and spec["sandbox"] != "none":
        said = (
            "the sandbox lets a cell read the corpus and its run's folder, write its working folder, and use no network"
        )
    else:
        return ""
    return f"\n({said})"


def yield_to_parent() -> None:
    """So that a cell which has forked too often is still served itself, and can be told so."""
    os.nice(10)


def end_other_processes() -> None:
    """No process outlives its cell: left over, they count against the limit. Only ever in a pid namespace of our own."""
    try:
        os.kill(-1, signal.SIGKILL)
        while True:
            os.wait()
    except (ProcessLookupError, ChildProcessError):
        return


class Session:
    """The names of one kernel and what is done before and after each cell."""

    def __init__(self, shell: Any, spec: dict[str, Any]) -> None:
        from primitives import open_corpus
        from primitives.gateway import connect

        self.shell = shell
        self.spec = spec
        self.pid = os.getpid()
        self.limit = spec["output_chars"]
        self.truncated = False
        self.reserved: dict[str, Any] = {}
        self.gateway = connect(spec["gateway"]) if spec["gateway"] else None
        self.corpus = open_corpus(
            spec["corpus"], gateway=self.gateway, memory_limit=spec["duckdb_memory"], threads=spec["threads"]
        )
        PRINTED.half = self.limit // 4
        self._plain_output()
        shell.events.register("pre_run_cell", self.before_cell)
        shell.events.register("post_run_cell", self.after_cell)
        shell.insights_session = self
        handlers = shell.kernel.control_handlers
        self.interrupt_python = handlers["interrupt_request"]
        handlers["interrupt_request"] = self.interrupt

    def furnish(self) -> None:
        """Put the names of the corpus where cells find them. The host asks for it, once, before the first cell."""
        import numpy as np
        import pandas as pd

        pd.set_option("display.max_rows", 60, "display.max_columns", 30)
        pd.set_option("display.width", 160, "display.max_colwidth", 120)
        self.reserved = self.corpus.namespace()
        self.shell.push({"pd": pd, "np": np, **self.reserved}, interactive=False)

    async def interrupt(self, stream: Any, ident: Any, parent: Any) -> None:
        """A query under way does not always look for signals; its connection can be told from this, another, thread."""
        await self.interrupt_python(stream, ident, parent)
        self.corpus.con.interrupt()

    def before_cell(self, info: Any) -> None:
        PRINTED.begin()
        self.truncated = False
        if self.gateway is not None:
            self.gateway.cell = self.shell.parent_header["msg_id"]

    def after_cell(self, result: Any) -> None:
        if self.gateway is not None:
            self.gateway.cell = None
        if os.getpid() != self.pid:
            os._exit(0)  # a fork of the cell that ran on to its end
        if self.spec["sandbox"] != "none":
            end_other_processes()
        self._drain()
        tail = PRINTED.finish()
        if tail:
            self.truncated = True
            sys.stdout.write(tail)
        sys.stdout.flush()
        sys.stderr.flush()
        names = self.shell.user_ns
        restored = [name for name, value in self.reserved.items() if names.get(name) is not value]
        names.update({name: self.reserved[name] for name in restored})
        if self.truncated or restored:
            notes = {"truncated": self.truncated, "restored": restored}
            self.publish({MIME_NOTES: notes}, {})

    @staticmethod
    def _drain() -> None:
        """Let the threads of ipykernel that read what subprocesses wrote catch up."""
        deadline = time.monotonic() + 0.5
        for stream in (1, 2):
            while array.array("i", fcntl.ioctl(stream, termios.FIONREAD, bytes(4)))[0] and time.monotonic() < deadline:
                time.sleep(0.005)

    def _plain_output(self) -> None:
        formatter = self.shell.display_formatter
        formatter.active_types = ["text/plain"]
        formatted, show = formatter.format, self.shell._showtraceback

        def format_bounded(obj: Any, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
            data, metadata = formatted(obj, *args, **kwargs)
            if "text/plain" in data:
                data["text/plain"], cut = bounded(data["text/plain"], self.limit // 2)
                self.truncated |= cut
            return data, metadata

        def show_plain(error: Any = None, *_: Any, **__: Any) -> None:
            """Instead of IPython's, which takes seconds over a deep recursion and fails when memory is short."""
            kind, value, _trace = self.shell._get_exc_info(error if isinstance(error, tuple) else None)
            text, cut = bounded(self._traceback(value), self.limit // 4)
            self.truncated |= cut
            show(kind, "", [text])

        def print_displayed(data: dict[str, Any], *_: Any, **__: Any) -> None:
            if "text/plain" in data:
                print(data["text/plain"])

        self.publish = self.shell.display_pub.publish
        self.shell.display_pub.publish = print_displayed  # under the same bound as what is printed
        formatter.format = format_bounded
        self.shell.showtraceback = self.shell.showsyntaxerror = show_plain

    def _traceback(self, value: BaseException) -> str:
        if isinstance(value, TooMuchOutput):
            return str(value)
        link: BaseException | None = value
        while link is not None:
            link.__traceback__ = self._trimmed(link.__traceback__)
            link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        shown = "".join(traceback.format_exception(value))
        return CELL_FILE.sub(self._cell_name, shown).rstrip() + hint(value, self.spec)

    def _cell_name(self, found: re.Match[str]) -> str:
        named = self.shell.compile.format_code_name(found[1])
        return f'File "{" ".join(named)}"' if named else found[0]

    def _trimmed(self, trace: TracebackType | None) -> TracebackType | None:
        """Frames of cells, and of libraries only the last ones; of a deep recursion its two ends."""
        frames = []
        while trace is not None:
            frames.append(trace)
            trace = trace.tb_next
        files = [frame.tb_frame.f_code.co_filename for frame in frames]
        kept = [
            frame
            for position, (frame, file) in enumerate(zip(frames, files, strict=True))
            if self.shell.compile.format_code_name(file) is not None
            or (position >= len(frames) - KEPT_LIBRARY_FRAMES and not OWN_FRAMES.search(file))
        ]
        for frame in reversed(kept[:KEPT_FRAMES] + kept[KEPT_FRAMES:][-KEPT_FRAMES:]):
            trace = TracebackType(trace, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
        return trace


def run(spec: dict[str, Any]) -> None:
    """Serve cells until told to stop. A failure to open the corpus ends the process; its last line says why."""
    log = os.fdopen(os.dup(2), "w")  # ipykernel is about to turn 1 and 2 into output of cells
    app = IPKernelApp.instance(outstream_class="boot.BoundedStream")
    quiet = ["--HistoryManager.enabled=False", "--InteractiveShell.cache_size=0", "--InteractiveShell.colors=nocolor"]
    app.initialize(["-f", spec["connection_file"], "--IPKernelApp.log_level=40", *quiet])
    sys.stderr = sys.stdout  # one stream keeps what is printed to both in order
    try:
        Session(app.shell, spec)
    except Exception as failure:
        print(f"\n{type(failure).__name__}: {failure}", file=log, flush=True)
        os._exit(1)  # the threads of ipykernel would wait for a host that is about to give up
    if spec["sandbox"] != "none":
        import confine

        if not confine.refuse_system_calls() and spec["sandbox"] == "landlock":
            raise OSError("system calls cannot be filtered on this processor: Landlock alone leaves Unix sockets open")
    os.register_at_fork(after_in_child=yield_to_parent)
    app.start()
