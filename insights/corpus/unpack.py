"""Compressed files, archives, UTF-16 and UTF-32 to plain files in a spool folder: bounded, never outside it, nothing executed.

A name inside an archive that is absolute, holds `..` or is a link is refused, not repaired. How far a file may grow is
limited by ratio and in all, so a small file that unpacks to a disk full of zeros is refused when the limit is passed.
Archives that a reader takes as they are (Inspect's .eval) are left alone.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import itertools
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from insights.corpus.source import Source

STARTS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    **{mark.encode(code): code for code in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be") for mark in ("{", "[")},
}
ENDINGS = {
    "gzip": (".gz", ".tgz"),
    "zstd": (".zst", ".zstd", ".tzst"),
    "bzip2": (".bz2", ".tbz2"),
    "xz": (".xz", ".txz"),
}
CHUNK = 1 << 20  # unit: bytes
PACKED = 4096  # unit: bytes of zstd unpacked at a time, which may become some 70 MB
GRACE = 64 << 20  # unit: bytes; the ratio is asked for only above this


@dataclass(frozen=True, slots=True)
class Limits:
    """How far archives may grow. `free` is the share of the free disk that the spool may take."""

    ratio: int = 500  # unpacked to packed, per file
    total: int = 64 << 30  # unit: bytes unpacked in one ingest
    members: int = 500_000
    depth: int = 4  # archives within archives
    free: float = 0.8


DEFAULT = Limits()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A path that was named or found and will not be read, with the reason."""

    uri: str
    code: str
    reason: str


class TooLarge(Exception):
    """Unpacking passed a limit."""


class Bomb(TooLarge):
    """One file grew beyond the ratio; others beside it may be sound."""


class Unpacker:
    """Gives the sources of a file; `refused` collects members that are not unpacked."""

    def __init__(self, spool: Path, limits: Limits, refused: list[Refusal]) -> None:
        self.spool, self.limits, self.refused = spool, limits, refused
        self._written = 0
        self._allowed: int | None = None

    def room(self) -> Path:
        """A fresh folder below the spool."""
        return Path(tempfile.mkdtemp(dir=self.spool))

    def sources(
        self, path: Path, uri: str, root: Path, member: str | None = None, depth: int = 0, sole: bool = False
    ) -> Iterator[Source]:
        """The file itself, or what it unpacks to. `sole`: the member is all its archive holds, so its name adds nothing."""
        kind = _kind(path)
        name = member or path.name
        if kind is None or (kind == "zip" and _has_reader(path, name)):
            yield Source(path, uri, root, member)
        elif depth >= self.limits.depth:
            self.refused.append(Refusal(_named(uri, member), "too_deep", f"an archive inside {depth} archives"))
        else:
            try:
                yield from self._members(kind, path, uri, member, depth, sole)
            except TooLarge as error:
                self.refused.append(Refusal(_named(uri, member), "too_large", str(error)))
            except (
                OSError,
                EOFError,
                ValueError,
                zlib.error,
                lzma.LZMAError,
                tarfile.TarError,
                zipfile.BadZipFile,
            ) as error:
                why = f"a {kind} file that cannot be unpacked: {error}"
                self.refused.append(Refusal(_named(uri, member), "bad_archive", why))

    def _members(self, kind: str, path: Path, uri: str, member: str | None, depth: int, sole: bool) -> Iterator[Source]:
        folder = self.room()
        unpacked = {"zip": self._zip, "tar": self._tar}.get(kind)
        if unpacked is None:
            inner = _without_ending(kind, member or path.name)
            members = [(self._decompress(kind, path, folder / PurePosixPath(inner).name, _named(uri, member)), inner)]
        else:
            prefix = f"{member}/" if member and not sole else ""
            members = [(target, prefix + name) for target, name in unpacked(path, folder, _named(uri, member))]
        for target, name in members:
            os.utime(target, (path.stat().st_mtime,) * 2)
            yield from self.sources(target, uri, folder, name, depth + 1, unpacked is None)
            if _kind(target) is not None and not _has_reader(target, name):
                target.unlink(missing_ok=True)

    def _decompress(self, kind: str, path: Path, target: Path, uri: str) -> Path:
        """One compressed file; of one that is cut off, what could be unpacked."""
        with _open(kind, path) as stream, target.open("wb") as file:
            try:
                self._copy(stream, file, path.stat().st_size, by_pieces=kind in ("gzip", "bzip2", "xz", "zstd"))
            except (EOFError, zlib.error, lzma.LZMAError) as error:
                if not file.tell():
                    raise
                why = f"damaged after {file.tell():,} bytes, which were read: {error}"
                self.refused.append(Refusal(uri, "cut_off", why))
        return target

    def _zip(self, path: Path, folder: Path, uri: str) -> Iterator[tuple[Path, str]]:
        with zipfile.ZipFile(path) as archive:
            infos = sorted(archive.infolist(), key=lambda i: i.filename)
            self._count(len(infos))
            for info in infos:
                if info.is_dir() or _is_hidden(info.filename):
                    continue
                target = self._place(folder, info.filename, uri, link=stat.S_ISLNK(info.external_attr >> 16))
                if target is None:
                    continue
                target, name = _free(target, info.filename)
                try:
                    with archive.open(info) as stream, target.open("wb") as file:
                        self._copy(stream, file, max(info.compress_size, 1))
                except (NotImplementedError, RuntimeError) as error:  # a method zipfile lacks; an encrypted member
                    target.unlink(missing_ok=True)
                    self.refused.append(Refusal(f"{uri} {info.filename}", "bad_archive", str(error)))
                    continue
                except (Bomb, zlib.error, zipfile.BadZipFile, EOFError) as error:
                    target.unlink(missing_ok=True)
                    code = "too_large" if isinstance(error, Bomb) else "bad_archive"
                    self.refused.append(Refusal(f"{uri} {info.filename}", code, str(error)))
                    continue
                yield target, name

    def _tar(self, path: Path, folder: Path, uri: str) -> Iterator[tuple[Path, str]]:
        done: list[tuple[Path, str]] = []
        with tarfile.open(path, "r:") as archive:
            for n, info in enumerate(archive):
                self._count(n)
                if info.isdir() or _is_hidden(info.name):
                    continue
                target = self._place(folder, info.name, uri, link=not info.isfile())
                stream = archive.extractfile(info) if target is not None else None
                if target is not None and stream is not None:
                    target, name = _free(target, info.name)
                    with stream, target.open("wb") as file:
                        self._copy(stream, file, max(info.size, 1))
                    done.append((target, name))
        yield from sorted(done, key=lambda m: m[1])

    def _place(self, folder: Path, name: str, uri: str, *, link: bool) -> Path | None:
        """Where a member goes; None (and a refusal) where it would leave the folder or is a link or device."""
        inner = PurePosixPath(name.replace("\\", "/"))
        if link:
            self.refused.append(Refusal(f"{uri} {name}", "link_in_archive", "a link or device inside an archive"))
            return None
        if inner.is_absolute() or ".." in inner.parts or ":" in inner.parts[0]:
            self.refused.append(Refusal(f"{uri} {name}", "outside_root", "a name that leaves the archive"))
            return None
        target = folder.joinpath(*(part[:200] for part in inner.parts))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            self.refused.append(Refusal(f"{uri} {name}", "bad_archive", "a name below that of a file"))
            return None
        return target

    def _count(self, n: int) -> None:
        if n > self.limits.members:
            raise TooLarge(f"more than {self.limits.members:,} members; unpack it yourself and name the folder")

    def copy(self, stream: Any, file: BinaryIO, packed: int | None, uri: str) -> bool:
        """Copy a stream within the limits; False (and a refusal) where one is passed. `packed` None: no ratio."""
        try:
            self._copy(stream, file, packed)
        except TooLarge as error:
            self.refused.append(Refusal(uri, "too_large", str(error)))
            return False
        return True

    def _copy(self, stream: Any, file: BinaryIO, packed: int | None, *, by_pieces: bool = False) -> None:
        """`by_pieces`: take what is there before an error, not only whole chunks."""
        read = stream.read1 if by_pieces else stream.read
        if self._allowed is None:
            free = int(shutil.disk_usage(self.spool).free * self.limits.free)
            self._allowed = min(self.limits.total, free)
        size = 0
        while chunk := read(CHUNK):
            size += len(chunk)
            self._written += len(chunk)
            if packed is not None and size > GRACE and size > packed * self.limits.ratio:
                raise Bomb(
                    f"unpacks to more than {self.limits.ratio} times its size; unpack it yourself if you trust it"
                )
            if self._written > self._allowed:
                raise TooLarge(f"unpacking passed {self._allowed / 1e9:.1f} GB in all; free disk or name less at once")
            file.write(chunk)


def _free(target: Path, name: str) -> tuple[Path, str]:
    """Where a member goes and what it is called: as it says or, where its archive has the name already, with a number."""
    if not target.exists():
        return target, name
    path = PurePosixPath(name)
    for n in itertools.count(2):
        other = target.with_name(f"{target.stem}#{n}{target.suffix}")
        if not other.exists():
            return other, str(path.with_name(f"{path.stem}#{n}{path.suffix}"))
    raise AssertionError("numbers end")


def _kind(path: Path) -> str | None:
    """gzip, zstd, bzip2, xz, zip or tar by the first bytes; None for anything else."""
    with path.open("rb") as file:
        head = file.read(262)
    found = next((kind for start, kind in STARTS.items() if head.startswith(start)), None)
    return "tar" if found is None and head[257:262] == b"ustar" else found


def _has_reader(path: Path, name: str) -> bool:
    """Whether a reader takes the archive as it is."""
    if _kind(path) != "zip":
        return False
    if name.endswith(".eval"):
        return True
    from insights.corpus.formats import recognise
    from insights.corpus.sniff import look

    return recognise(look(path, name)) is not None


def _open(kind: str, path: Path) -> Any:
    if kind == "zstd":
        return _Zstd(path)
    if kind.startswith("utf-"):
        return codecs.EncodedFile(path.open("rb"), "utf-8", kind, errors="replace")
    if kind == "bzip2":
        return bz2.open(path, "rb")
    return lzma.open(path, "rb") if kind == "xz" else gzip.open(path, "rb")


class _Zstd(io.RawIOBase):
    """A zstd file of one or more frames. Its library's own stream ends in silence where a frame is cut off."""

    def __init__(self, path: Path) -> None:
        import zstandard

        self._file, self._library, self._rest = path.open("rb"), zstandard, b""
        self._frame: Any = None  # under way

    def read1(self, _: int = -1) -> bytes:
        """Some more bytes, b"" at the end. Raises EOFError where it is damaged or cut off."""
        while packed := self._rest or self._file.read(PACKED):
            self._frame = self._frame or self._library.ZstdDecompressor().decompressobj()
            try:
                data = self._frame.decompress(packed)
            except self._library.ZstdError as error:
                raise EOFError(str(error)) from error
            self._rest = self._frame.unused_data if self._frame.eof else b""
            self._frame = None if self._frame.eof else self._frame
            if data:
                return bytes(data)
        if self._frame is not None:
            raise EOFError("the file ends within a frame")
        return b""

    def close(self) -> None:
        self._file.close()
        super().close()


def _without_ending(kind: str, name: str) -> str:
    for ending in ENDINGS.get(kind, ()):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)] + (".tar" if ending.startswith(".t") else "")
    return name


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(p.startswith(".") and p not in (".", "..") for p in parts) or "__MACOSX" in parts


def _named(uri: str, member: str | None) -> str:
    return f"{uri} {member}" if member else uri
