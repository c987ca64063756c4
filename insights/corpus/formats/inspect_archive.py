"""Members of an Inspect `.eval` archive: zip with deflate or zstd (method 93), also where the run crashed and no index was written."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

LOCAL = struct.Struct(
    "<4sHHHHHLLLHH"
)  # the header before a member: signature, version, flags, method, …, sizes, name, extra
STORED, DEFLATED, ZSTD = 0, 8, 93
LARGEST = 8 << 30  # unit: bytes of one member unpacked
RATIO = 2_000  # unpacked to packed; traces with repeated prompts reach a few hundred


class Unreadable(ValueError):
    """A member that cannot or may not be unpacked."""


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    method: int
    packed: int
    size: int
    start: int  # of the packed bytes in the file


def members(path: Path) -> tuple[list[Member], bool]:
    """(members in file order, whether the archive has its index). Of members stored twice the last counts."""
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            infos = sorted(archive.infolist(), key=lambda i: i.header_offset)
            found = [
                Member(i.filename, i.compress_type, i.compress_size, i.file_size, _start(file, i.header_offset))
                for i in infos
            ]
            return list({m.name: m for m in found}.values()), True
    except (zipfile.BadZipFile, OSError, EOFError, struct.error):
        return list({m.name: m for m in _scan(path)}.values()), False


def _start(file: IO[bytes], offset: int) -> int:
    file.seek(offset)
    head = LOCAL.unpack(file.read(LOCAL.size))
    return offset + LOCAL.size + int(head[9]) + int(head[10])


def _scan(path: Path) -> Iterator[Member]:
    """Members by their local headers, as far as those tell where the next one begins."""
    with path.open("rb") as file:
        offset, end = 0, path.stat().st_size
        while offset + LOCAL.size <= end:
            file.seek(offset)
            head = LOCAL.unpack(file.read(LOCAL.size))
            if head[0] != b"PK\x03\x04":
                return
            flags, method, packed, size = head[2], head[3], head[7], head[8]
            name = file.read(head[9]).decode("utf-8", "replace")
            extra = file.read(head[10])
            if packed == 0xFFFFFFFF and extra[:2] == b"\x01\x00" and len(extra) >= 20:
                size, packed = struct.unpack("<QQ", extra[4:20])
            start = offset + LOCAL.size + head[9] + head[10]
            if flags & 8 and not packed:
                packed, size, offset = _measure(file, start, method)
            else:
                offset = start + packed
            if not packed or start + packed > end:
                return
            yield Member(name, method, packed, size, start)


def _measure(file: IO[bytes], start: int, method: int) -> tuple[int, int, int]:
    """(packed, unpacked, where the next member begins) of a deflated member whose sizes stand behind it."""
    if method != DEFLATED:
        return 0, 0, start
    file.seek(start)
    unpack, size, packed = zlib.decompressobj(-15), 0, 0
    while not unpack.eof and size < LARGEST:
        chunk = file.read(1 << 16)
        if not chunk:
            return 0, 0, start
        try:
            size += len(unpack.decompress(chunk))
        except zlib.error:
            return 0, 0, start
        packed += len(chunk) - len(unpack.unused_data)
    file.seek(start + packed)
    signed = file.read(4) == b"PK\x07\x08"
    return packed, size, start + packed + (16 if signed else 12)


def opened(path: Path, member: Member) -> IO[bytes]:
    """A stream of a member's bytes. Raises Unreadable where it would grow beyond reason or has another method."""
    if member.size > LARGEST or (member.size > (64 << 20) and member.size > member.packed * RATIO):
        raise Unreadable(
            f"{member.name} says it unpacks to {member.size / 1e9:.1f} GB; unpack it yourself if you trust it"
        )
    with path.open("rb") as file:
        file.seek(member.start)
        packed = file.read(member.packed)
    if member.method == STORED:
        return BytesIO(packed)
    if member.method == DEFLATED:
        return _Inflated(packed)
    if member.method == ZSTD:
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(BytesIO(packed), read_across_frames=True)
    raise Unreadable(f"{member.name} is packed by method {member.method}, which is not read")


class _Inflated(BytesIO):
    """The bytes of a deflated member, unpacked as they are asked for."""

    def __init__(self, packed: bytes) -> None:
        super().__init__()
        self._packed, self._unpack = packed, zlib.decompressobj(-15)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            data = self._unpack.decompress(self._packed, LARGEST)
            self._packed = b""
            return data
        data = self._unpack.decompress(self._packed, max(size, 1))
        self._packed = self._unpack.unconsumed_tail
        return data


def read(path: Path, member: Member) -> bytes:
    """The whole of a member. Raises Unreadable where it is damaged."""
    try:
        with opened(path, member) as stream:
            data = bytes(stream.read())
    except (zlib.error, EOFError, OSError) as error:
        raise Unreadable(f"{member.name}: {error}") from error
    except Exception as error:
        if type(error).__name__ == "ZstdError":
            raise Unreadable(f"{member.name}: {error}") from error
        raise
    return data


def document(path: Path, member: Member, without: frozenset[str], whole_below: int) -> Any:
    """The JSON value of a member; of a larger one its top-level keys except those of `without`. Raises ValueError."""
    from insights.corpus import parse

    if member.size <= whole_below:
        return parse.loads(read(path, member))[0]
    import ijson
    from ijson.common import ObjectBuilder

    found: dict[str, Any] = {}
    builder, current = None, ""
    with opened(path, member) as stream:
        try:
            for prefix, event, value in ijson.parse(stream, use_float=True):
                if prefix == "" and event in ("map_key", "end_map"):
                    if builder is not None:
                        found[current] = builder.value
                    current = str(value)
                    builder = None if event == "end_map" or value in without else ObjectBuilder()
                elif builder is not None:
                    builder.event(event, value)
        except ijson.JSONError as error:
            raise Unreadable(f"{member.name}: {error}") from error
    return parse.clean(found)
