"""Inspect archives: packed by deflate or zstd, finished or crashed, cut off anywhere, with hostile members."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from insights.corpus.formats import recognise
from insights.corpus.formats.inspect_log import attached, tokens, verdict
from insights.corpus.source import Source
from tests.formats.reading import codes, lines, read

DOCUMENT = Path(__file__).parent / "data" / "inspect" / "locks.json"
LOG = json.loads(DOCUMENT.read_text())
HEADER = {k: v for k, v in LOG.items() if k != "samples"}


def _members(*, finished: bool = True) -> dict[str, bytes]:
    start = {k: HEADER[k] for k in ("version", "eval", "plan")}
    samples = {f"samples/{s['id']}_epoch_{s['epoch']}.json": json.dumps(s).encode() for s in LOG["samples"]}
    end = {"header.json": json.dumps(HEADER).encode()} if finished else {}
    return {"_journal/start.json": json.dumps(start).encode(), **samples, **end}


def _deflated(path: Path, held: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in held.items():
            archive.writestr(name, data)
    return path


def _zstd(path: Path, held: dict[str, bytes]) -> Path:
    """An archive with method 93 and several frames a member, as Inspect writes them and Python 3.11 cannot."""
    import zstandard

    body, index = b"", b""
    for name, data in held.items():
        half = len(data) // 2
        packed = zstandard.compress(data[:half]) + zstandard.compress(data[half:])
        rest = struct.pack("<HHHHLLL", 0, 93, 0, 0, zlib.crc32(data), len(packed), len(data))
        place = struct.pack("<HHHHHLL", len(name), 0, 0, 0, 0, 0, len(body))
        index += b"PK\x01\x02" + struct.pack("<HH", 63, 63) + rest + place + name.encode()
        body += b"PK\x03\x04" + struct.pack("<H", 63) + rest + struct.pack("<HH", len(name), 0) + name.encode() + packed
    ends = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, len(held), len(held), len(index), len(body), 0)
    path.write_bytes(body + index + ends)
    return path


def test_an_archive_gives_the_traces_of_the_document(tmp_path: Path) -> None:
    _, expected, _ = read(DOCUMENT)
    for path in (_deflated(tmp_path / "a.eval", _members()), _zstd(tmp_path / "b.eval", _members())):
        name, traces, source = read(path)
        assert name == "inspect" and source.issues == []
        assert {t.trace_id: lines(t) for t in traces} == {t.trace_id: lines(t) for t in expected}
        assert [t.success for t in traces] == [True, None, False]


@pytest.mark.parametrize("pack", [_deflated, _zstd])
def test_a_run_that_crashed_gives_its_samples_without_header_and_index(
    tmp_path: Path, pack: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    path = pack(tmp_path / "crashed.eval", _members(finished=False))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"PK\x01\x02")])
    _, traces, source = read(path)
    assert len(traces) == 3 and traces[0].model == "acme/m-5" and source.truncated
    assert codes(source) == {"no_index": 1, "crashed": 1}


def test_an_archive_cut_off_anywhere_does_not_raise(tmp_path: Path) -> None:
    for pack in (_deflated, _zstd):
        data = pack(tmp_path / "whole.eval", _members()).read_bytes()
        for end in range(1, len(data), 97):
            path = tmp_path / "cut.eval"
            path.write_bytes(data[:end])
            source = Source(path, path.name, tmp_path)
            found = recognise(source.head)
            if found is not None:
                for t in found[0].read(source):
                    t.finish("s")


def test_a_member_that_is_damaged_costs_itself(tmp_path: Path) -> None:
    held = _members()
    held["samples/bad_epoch_1.json"] = b"{not json"
    _, traces, source = read(_deflated(tmp_path / "a.eval", held))
    assert len(traces) == 3 and codes(source) == {"bad_member": 1} and source.n_bad == 1


def test_a_member_that_unpacks_beyond_reason_is_refused(tmp_path: Path) -> None:
    held = _members()
    held["samples/bomb_epoch_1.json"] = b" " * (70 << 20)
    path = _deflated(tmp_path / "a.eval", held)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("samples/bomb_epoch_1.json")
    at = data.index(b"samples/bomb_epoch_1.json", data.index(b"PK\x01\x02"))
    struct.pack_into("<L", data, at - 46 + 24, 4 * info.file_size + (64 << 20))
    struct.pack_into("<L", data, at - 46 + 20, info.compress_size)
    path.write_bytes(data)
    _, traces, source = read(path)
    assert len(traces) == 3 and codes(source) == {"bad_member": 1}


def test_a_transcript_database_keeps_the_columns_it_does_not_know_and_drops_none_of_the_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sample = LOG["samples"][0]
    held = {k: json.dumps(sample[k]) for k in ("messages", "events", "attachments")}
    rows = [{"transcript_id": f"tr{i}", "task_set": "locks", "task_repeat": i, "success": i == 0, "colour": "red", **held,
             "score": json.dumps({"match": "C"}), "total_tokens": 99, "limit": "token" if i else None} for i in range(20)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "transcripts_1.parquet")
    name, traces, source = read(tmp_path / "transcripts_1.parquet")
    assert name == "inspect_scout" and len(traces) == source.n_records == 20
    first, last = traces[0], traces[-1]
    assert (first.success, first.trial, last.success, last.end_reason) == (True, 0, False, "limit_tokens")
    assert first.metadata["colour"] == "red" and first.input_tokens == 80 and first.steps[0].text == "You open locks."


def test_an_attachment_is_put_back_wherever_it_stands() -> None:
    key = "0" * 32
    held = {key: "text"}
    assert attached([{"a": f"attachment://{key}", "b": f"say tc://{key}."}], held) == [{"a": "text", "b": "say text."}]
    assert attached(f"attachment://{'1' * 32}", held) == f"attachment://{'1' * 32}"


def test_cached_input_is_added_unless_the_total_holds_it() -> None:
    apart = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 35, "input_tokens_cache_read": 20}
    assert tokens(apart)["input_tokens"] == 30
    assert tokens({**apart, "total_tokens": 15})["input_tokens"] == 10


@pytest.mark.parametrize(
    ("value", "expected"),
    [("C", (1.0, True)), ("I", (0.0, False)), ("N", (0.0, False)), ("P", (0.5, None)), (True, (1.0, True)),
     (1, (1.0, True)), (0.0, (0.0, False)), (0.7, (0.7, None)), ("maybe", (None, None)), (None, (None, None))],
)  # fmt: skip
def test_a_verdict_is_only_what_a_score_says(value: object, expected: tuple[float | None, bool | None]) -> None:
    assert verdict(value) == expected
