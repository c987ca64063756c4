"""From what the user named to the files to read: files, folders, globs, `-`, archives, and addresses fsspec knows.

Folders are walked in sorted order; hidden and version-control folders, and corpora, are passed over. Nothing is read
through a link that leaves the folder named. Compressed files and archives are unpacked into `spool` (see unpack).
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from insights.corpus.source import Source
from insights.corpus.unpack import DEFAULT, Limits, Refusal, Unpacker

__all__ = ["Limits", "Refusal", "discover"]

MAGIC = re.compile(r"[*?\[]")
SKIPPED_DIRS = {"node_modules", "__pycache__", "venv"}


def discover(paths: Sequence[str], *, spool: Path, limits: Limits = DEFAULT) -> tuple[list[Source], list[Refusal]]:
    """Sources below `paths`, each file once, and what will not be read, with the reason.

    `spool` is a folder for what must be unpacked or fetched first; the caller removes it when the sources are read.
    """
    found = _Found(spool, limits)
    for named in paths:
        if named == "-":
            found.standard_input()
        elif "://" in named and not named.startswith("file://"):
            found.address(named)
        else:
            found.named(named.removeprefix("file://"))
    return list(found.sources.values()), found.refused


@dataclass
class _Found:
    spool: Path
    limits: Limits
    sources: dict[tuple[str, str | None], Source] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._unpacker = Unpacker(self.spool, self.limits, self.refused)

    def named(self, named: str) -> None:
        for path in _expand(named):
            try:
                if not path.exists():
                    self.refused.append(Refusal(named, "missing", "there is no such file or folder"))
                elif path.is_dir():
                    self._folder(path)
                elif path.is_file():
                    self._file(path, str(path), path.parent)
                elif path.is_char_device() or path.is_block_device():
                    self.refused.append(Refusal(named, "not_a_file", "a device, which may never end; pipe it to -"))
                else:  # a pipe, as in <(zcat …)
                    with path.open("rb") as stream:
                        self._stream(stream, str(path), "pipe")
            except OSError as error:
                self.refused.append(Refusal(str(path), "unreadable", error.strerror or str(error)))

    def standard_input(self) -> None:
        self._stream(sys.stdin.buffer, "-", "stdin")

    def address(self, url: str) -> None:
        """Fetch what an address names, one file or all below it, and take it like files."""
        try:
            import fsspec

            system, path = fsspec.core.url_to_fs(url)
            for remote in _remote_files(system, path):
                self._fetch(system, remote, path, url)
        except ImportError as error:
            why = f"addresses need the extra `remote`: pip install 'insights-agent[remote]' ({error})"
            self.refused.append(Refusal(url, "needs_extra", why))
        except Exception as error:  # fsspec's file systems raise errors of their own libraries
            self.refused.append(Refusal(url, "unreachable", f"{type(error).__name__}: {error}"[:300]))

    def _fetch(self, system: Any, remote: str, base: str, url: str) -> None:
        inner = PurePosixPath(remote.removeprefix(base).strip("/") or PurePosixPath(remote).name)
        if inner.is_absolute() or ".." in inner.parts:
            self.refused.append(Refusal(f"{url} {inner}", "outside_root", "a name that leaves the folder"))
            return
        folder = self._unpacker.room()
        target = folder / inner
        target.parent.mkdir(parents=True, exist_ok=True)
        with system.open(remote, "rb") as stream, target.open("wb") as file:
            if not self._unpacker.copy(stream, file, None, url):
                return
        uri = url if remote.strip("/") == base.strip("/") else f"{url.rstrip('/')}/{inner}"
        self._file(target, uri, folder)

    def _stream(self, stream: Any, named: str, kind: str) -> None:
        """Take a stream. Its content is its name: another stream is another source, and the same one is known again."""
        folder = self._unpacker.room()
        target = folder / "stdin"
        with target.open("wb") as file:
            done = self._unpacker.copy(stream, file, None, named)
        if done:
            with target.open("rb") as file:
                digest = hashlib.file_digest(file, "sha1").hexdigest()
            os.utime(target, (0, 0))  # the same content is the same source, whenever it comes
            self._file(target, f"{kind}://{digest[:16]}", folder)

    def _folder(self, folder: Path) -> None:
        root = folder.resolve()
        for path in self._walk(folder, root, {root}):
            self._file(path, str(path), folder)

    def _walk(self, folder: Path, root: Path, seen: set[Path]) -> Iterator[Path]:
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            self.refused.append(Refusal(str(folder), "unreadable", error.strerror or str(error)))
            return
        for entry in entries:
            if entry.name.startswith(".") or entry.name in SKIPPED_DIRS or entry.name.endswith(".corpus"):
                continue
            try:
                resolved = entry.resolve(strict=True)
            except (OSError, RuntimeError):
                self.refused.append(Refusal(str(entry), "broken_link", "a link that leads nowhere or in a circle"))
                continue
            if entry.is_symlink() and not resolved.is_relative_to(root):
                self.refused.append(Refusal(str(entry), "outside_root", "a link that leaves the folder"))
            elif entry.is_dir():
                if resolved not in seen:
                    seen.add(resolved)
                    yield from self._walk(entry, root, seen)
            elif entry.is_file():
                yield entry
            else:
                self.refused.append(Refusal(str(entry), "not_a_file", "a pipe, socket or device"))

    def _file(self, path: Path, uri: str, root: Path) -> None:
        try:
            for source in self._unpacker.sources(path, uri, root):
                key = (str(path.resolve()) if source.member is None else source.uri, source.member)
                self.sources.setdefault(key, source)
        except OSError as error:
            self.refused.append(Refusal(uri, "unreadable", error.strerror or str(error)))


def _expand(named: str) -> list[Path]:
    path = Path(named).expanduser()
    if path.exists() or not MAGIC.search(named):
        return [path]
    base = Path(path.anchor)
    matches = sorted(base.glob(str(path.relative_to(base))))
    return [m for m in matches if not m.name.startswith(".") or path.name.startswith(".")] or [path]


def _remote_files(system: Any, path: str) -> list[str]:
    if MAGIC.search(path):
        return sorted(p for p in system.glob(path) if system.isfile(p))
    if system.isdir(path):
        return sorted(system.find(path))
    return [path]
