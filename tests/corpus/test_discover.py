"""Sources from files, folders, globs, streams, archives and addresses; what leaves the root or explodes is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import zstandard

from insights.corpus.discover import Limits, discover

ROW = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


def found(tmp_path, *named, **limits):
    spool = tmp_path / "spool"
    spool.mkdir(exist_ok=True)
    sources, refused = discover([str(n) for n in named], spool=spool, limits=Limits(**limits))
    return sources, {(r.uri.removeprefix(f"{tmp_path}/"), r.code) for r in refused}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "in"
    path.mkdir()
    return path


def tar_of(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_a_folder_is_walked_in_order_without_hidden_and_foreign_folders(tmp_path, folder):
    for name in ("b.jsonl", "a/2.jsonl", ".git/x.jsonl", ".hidden.jsonl", "node_modules/y.json", "old.corpus/z.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(ROW)
    sources, refused = found(tmp_path, folder, folder / "b.jsonl", tmp_path / "in" / "*.jsonl", tmp_path / "none")
    assert [s.name for s in sources] == ["a/2.jsonl", "b.jsonl"]
    assert refused == {("none", "missing")}


def test_links_that_leave_the_folder_or_run_in_circles_are_refused(tmp_path, folder):
    (tmp_path / "secret.jsonl").write_bytes(ROW)
    (folder / "a.jsonl").write_bytes(ROW)
    (folder / "out.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (folder / "loop").symlink_to(folder)
    (folder / "broken").symlink_to("nowhere")
    (folder / "same.jsonl").symlink_to(folder / "a.jsonl")
    sources, refused = found(tmp_path, folder)
    assert [s.name for s in sources] == ["a.jsonl"]
    assert refused == {("in/out.jsonl", "outside_root"), ("in/broken", "broken_link")}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.jsonl.gz", gzip.compress(ROW, mtime=0)),
        ("x.jsonl.zst", zstandard.compress(ROW) + zstandard.compress(ROW)),
        ("x.jsonl.bz2", bz2.compress(ROW)),
        ("x.jsonl.xz", lzma.compress(ROW)),
        ("without-an-ending", gzip.compress(ROW, mtime=0)),
    ],
)
def test_compressed_files(tmp_path, folder, name, data):
    (folder / name).write_bytes(data)
    (source,), refused = found(tmp_path, folder)
    assert source.member == name.removesuffix(".gz").removesuffix(".zst").removesuffix(".bz2").removesuffix(".xz")
    assert source.uri == str(folder / name) and not refused
    assert [r.value["messages"][0]["content"] for r in source.records()] in (["a"], ["a", "a"])


def test_archives_within_archives(tmp_path, folder):
    with zipfile.ZipFile(folder / "z.zip", "w") as archive:
        archive.writestr("x/1.jsonl", ROW)
        archive.writestr("x/2.jsonl.gz", gzip.compress(ROW, mtime=0))
        archive.writestr("__MACOSX/._1.jsonl", ROW)
        archive.writestr("inner.tar", tar_of(**{"t/3.jsonl": ROW}))
    (folder / "t.tgz").write_bytes(gzip.compress(tar_of(**{"t/4.jsonl": ROW})))
    sources, refused = found(tmp_path, folder)
    assert [s.member for s in sources] == ["t/4.jsonl", "inner.tar/t/3.jsonl", "x/1.jsonl", "x/2.jsonl"] and not refused
    _, refused = found(tmp_path, folder, depth=1)
    assert {code for _, code in refused} == {"too_deep"}


def test_names_that_leave_the_archive_are_refused(tmp_path, folder):
    with zipfile.ZipFile(folder / "z.zip", "w") as archive:
        for name in ("../evil.jsonl", "/abs.jsonl", "C:\\x.jsonl", "ok.jsonl"):
            archive.writestr(name, ROW)
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for kind, name in ((tarfile.SYMTYPE, "sym"), (tarfile.LNKTYPE, "hard"), (tarfile.CHRTYPE, "dev")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    (folder / "t.tar").write_bytes(out.getvalue())
    sources, refused = found(tmp_path, folder)
    assert [s.member for s in sources] == ["ok.jsonl"]
    assert {code for _, code in refused} == {"outside_root", "link_in_archive"} and len(refused) == 7
    assert not list(tmp_path.glob("evil*")) and not list((tmp_path / "spool").rglob("link"))


def test_what_grows_too_far_is_refused_and_what_is_cut_off_is_read_so_far(tmp_path, folder):
    (folder / "bomb.jsonl.gz").write_bytes(gzip.compress(b"\0" * 80_000_000))
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(os.urandom(50_000).hex().encode() + b"\n" + ROW)[:-40])
    (folder / "broken.zip").write_bytes(b"PK\x03\x04 nothing of the sort")
    sources, refused = found(tmp_path, folder, ratio=100)
    assert refused == {
        ("in/bomb.jsonl.gz", "too_large"),
        ("in/cut.jsonl.gz", "cut_off"),
        ("in/broken.zip", "bad_archive"),
    }
    assert [s.member for s in sources] == ["cut.jsonl"] and sources[0].path.stat().st_size > 50_000
    _, refused = found(tmp_path, folder / "cut.jsonl.gz", total=1000)
    assert {code for _, code in refused} == {"too_large"}


def test_damaged_zstd_is_read_so_far_or_refused(tmp_path, folder):
    packed = zstandard.compress(os.urandom(300_000).hex().encode() + b"\n" + ROW)
    (folder / "cut.jsonl.zst").write_bytes(packed[:-40])
    (folder / "noise.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd" + os.urandom(200))
    (folder / "tail.jsonl.zst").write_bytes(zstandard.compress(ROW) + b"not a frame at all")
    sources, refused = found(tmp_path, folder)
    assert refused == {
        ("in/cut.jsonl.zst", "cut_off"),
        ("in/noise.jsonl.zst", "bad_archive"),
        ("in/tail.jsonl.zst", "cut_off"),
    }
    assert [s.member for s in sources] == ["cut.jsonl", "tail.jsonl"] and sources[0].path.stat().st_size > 100_000


def test_a_bomb_in_an_archive_costs_itself_only(tmp_path, folder):
    with zipfile.ZipFile(folder / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jsonl", ROW)
        archive.writestr("b.jsonl", b"\0" * 80_000_000)
        archive.writestr("c.jsonl", ROW)
    sources, refused = found(tmp_path, folder, ratio=100)
    assert [s.member for s in sources] == ["a.jsonl", "c.jsonl"] and refused == {("in/z.zip b.jsonl", "too_large")}


def test_another_stream_is_another_source_and_the_same_one_is_known_again(tmp_path, monkeypatch):
    def ids(data: bytes) -> list[str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        return [source.source_id for source in found(tmp_path, "-")[0]]

    assert ids(ROW) == ids(ROW) != ids(ROW + ROW)


@pytest.mark.parametrize("mark", [True, False], ids=["marked", "unmarked"])
@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_utf_16_and_32(tmp_path, folder, coding, mark):
    (folder / "x.jsonl").write_bytes((("\ufeff" if mark else "") + ROW.decode() * 2).encode(coding))
    (source,), refused = found(tmp_path, folder)
    assert len(list(source.records())) == 2 and not refused and not source.issues


def test_files_that_may_not_be_read_are_told(tmp_path, folder):
    (folder / "a.jsonl").write_bytes(ROW)
    (folder / "shut").mkdir()
    for name in ("b.jsonl", "shut"):
        (folder / name).touch()
        (folder / name).chmod(0)
    if os.access(folder / "shut", os.R_OK):
        pytest.skip("this user may read everything")
    sources, refused = found(tmp_path, folder)
    assert [s.name for s in sources] == ["a.jsonl"] and refused == {
        ("in/b.jsonl", "unreadable"),
        ("in/shut", "unreadable"),
    }


def test_standard_input_pipes_and_addresses(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(ROW, mtime=0))))
    (source,), refused = found(tmp_path, "-")
    assert (source.uri.partition("://")[0], source.member, not refused) == ("stdin", "stdin", True)
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/traces/a.jsonl", ROW)
    memory.pipe("/traces/deep/b.jsonl.gz", gzip.compress(ROW, mtime=0))
    sources, refused = found(tmp_path, "memory://traces", "memory://absent/x.jsonl")
    assert [(s.uri, s.member) for s in sources] == [
        ("memory://traces/a.jsonl", None),
        ("memory://traces/deep/b.jsonl.gz", "b.jsonl"),
    ]
    assert refused == {("memory://absent/x.jsonl", "unreachable")}


def test_a_device_is_not_read(tmp_path):
    sources, refused = discover(["/dev/zero"], spool=tmp_path)
    assert sources == [] and [(r.uri, r.code) for r in refused] == [("/dev/zero", "not_a_file")]


def test_addresses_are_fetched_and_unpacked(tmp_path):
    pytest.importorskip("aiohttp")
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a.jsonl.gz").write_bytes(gzip.compress(b'{"messages": []}\n'))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        (tmp_path / "spool").mkdir()
        sources, refused = discover([f"{base}/a.jsonl.gz", f"{base}/none.jsonl"], spool=tmp_path / "spool")
        server.shutdown()
    assert [(s.uri, s.member) for s in sources] == [(f"{base}/a.jsonl.gz", "a.jsonl")]
    assert sources[0].path.read_bytes() == b'{"messages": []}\n'
    assert [(r.uri, r.code) for r in refused] == [(f"{base}/none.jsonl", "unreachable")]


def test_names_that_an_archive_has_twice_are_all_read(tmp_path):
    said = [b"one", b"two"]
    packed, tarred = tmp_path / "a.zip", tmp_path / "b.tar"
    with zipfile.ZipFile(packed, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for data in said:
            archive.writestr("in/a.txt", data)
    with tarfile.open(tarred, "w") as archive:
        for name, data in [("in/a.txt", said[0]), ("in/a.txt", said[1]), ("in/a.txt/below", b"three")]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    for path in (packed, tarred):
        sources, refused = found(tmp_path, path)
        assert {s.member: s.path.read_bytes() for s in sources} == {"in/a.txt": b"one", "in/a#2.txt": b"two"}
        assert refused == (set() if path is packed else {("b.tar in/a.txt/below", "bad_archive")})
