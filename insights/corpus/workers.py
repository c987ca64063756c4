"""Readers in processes of their own, each fed through a pipe and answering through another.

Plain subprocesses, not multiprocessing: nothing of the user's own program is imported again, so a script needs no
`if __name__ == "__main__"`. A worker whose parent has gone sees the end of its input and ends; one that dies costs the
file it was reading, and the rest is read by its successor.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from queue import Queue
from typing import Any, BinaryIO

from insights.corpus.batch import Batch, Done
from insights.corpus.source import Source

BOOT = "import sys; sys.path[:] = sys.argv[1:]; from insights.corpus.workers import main; main()"
AHEAD = 2  # unit: batches that may wait for the parent, per worker


class WorkerFailed(RuntimeError):
    """A fault of ours inside a worker; holds its traceback."""


def read_in_workers(groups: list[list[Source]], format: str | None, n: int) -> Iterator[Batch]:
    """The batches of all groups in their order; group i is read by worker i modulo `n`."""
    n = min(n, len(groups))
    workers = [Worker(groups[i::n], format) for i in range(n)]
    try:
        for i in range(len(groups)):
            yield from workers[i % n].group()
    finally:
        for worker in workers:
            worker.stop()


class Worker:
    """One process and the thread that takes in what it sends."""

    def __init__(self, groups: list[list[Source]], format: str | None) -> None:
        self.groups, self.format = groups, format
        self._ended: set[str] = set()
        self._start()

    def group(self) -> Iterator[Batch]:
        """The batches of the next group."""
        while True:
            kind, content = self._queue.get()
            if kind == "batch":
                self._ended.update(done.source_row["source_id"] for done in content.done)
                yield content
            elif kind == "end":
                self.groups, self._ended = self.groups[1:], set()
                return
            elif kind == "failed":
                raise WorkerFailed(content)
            else:
                yield Batch({}, [], [self._replace()])

    def stop(self) -> None:
        self._process.kill()
        while self._thread.is_alive():  # it may wait for room in the queue
            while not self._queue.empty():
                self._queue.get_nowait()
            self._thread.join(0.05)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def _start(self) -> None:
        self._queue: Queue[tuple[str, Any]] = Queue(AHEAD)
        self._reading: str | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", BOOT, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for the parent, which stops us
        )
        self._thread = threading.Thread(target=self._take_in, args=(self._process,), daemon=True)
        self._thread.start()

    def _take_in(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        try:
            pickle.dump((self.groups, self.format), process.stdin, protocol=5)
            process.stdin.flush()  # and left open: its end tells the worker that we are gone
            while True:
                kind, content = pickle.load(process.stdout)
                if kind == "reading":
                    self._reading = content
                else:
                    self._queue.put((kind, content))
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            self._queue.put(("died", None))

    def _replace(self) -> Done:
        """Go on without the source that the dead process was reading; the end of that source."""
        from insights.corpus.readers import vanished

        status = self._process.wait()
        left = [source for source in self.groups[0] if source.source_id not in self._ended]
        culprit = next((s for s in left if s.source_id == self._reading), None)
        if culprit is None:
            raise WorkerFailed(f"a reader's process ended before it read anything (exit status {status})")
        self.groups = [[s for s in left if s is not culprit], *self.groups[1:]]
        self.stop()
        self._start()
        return vanished(culprit, f"its reader's process died (exit status {status}); too little memory?", "reader_died")


def main() -> None:
    """Read what standard input names; write batches to standard output."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    os.dup2(2, 1)  # nothing that prints may get between the batches
    groups, format = pickle.load(source)
    threading.Thread(target=_end_with_parent, args=(source,), daemon=True).start()
    try:
        _read(groups, format, sink)
    except BrokenPipeError:
        os._exit(1)
    except Exception:
        _send(sink, "failed", traceback.format_exc())
    os._exit(0)  # the thread that waits for the end of our input cannot be joined


def _read(groups: list[list[Source]], format: str | None, sink: BinaryIO) -> None:
    from insights.corpus.batch import Builder
    from insights.corpus.readers import read_one, seldom_collected

    with seldom_collected():
        for group in groups:
            builder = Builder()
            for source in group:
                _send(sink, "reading", source.source_id)
                for batch in read_one(source, format, builder):
                    _send(sink, "batch", batch)
            _send(sink, "batch", builder.take())
            _send(sink, "end", None)


def _send(sink: BinaryIO, kind: str, content: Any) -> None:
    pickle.dump((kind, content), sink, protocol=5)
    sink.flush()


def _end_with_parent(source: BinaryIO) -> None:
    source.read(1)
    os._exit(1)
