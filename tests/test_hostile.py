"""Hostile files: nothing crashes, nothing hangs, nothing is lost without an entry in ingest_issues."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from insights.corpus.load import ingest
from insights.errors import SourceError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "samples" / "hostile"
SAID = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
RUN = json.dumps({"messages": SAID})
DEEP = '{"messages": [{"role": "user", "content": ' + "[" * 5000 + "]" * 5000 + "}]}"
# name: (bytes, traces it gives, codes that must be among its issues)
FILES: dict[str, tuple[bytes, int, set[str]]] = {
    "truncated.jsonl": ((RUN + "\n" + RUN + '\n{"messages": [{"ro').encode(), 2, {"truncated_last_line"}),
    "bom_crlf.jsonl": (b"\xef\xbb\xbf" + f"{RUN}\r\n{RUN}\r\n".encode(), 2, set()),
    "utf16.jsonl": (f"{RUN}\n{RUN}\n".encode("utf-16"), 2, set()),
    "surrogate.jsonl": (RUN.replace("hi", "bad \\ud83d half").encode() + b"\n", 1, {"text_sanitised"}),
    "nul.jsonl": (RUN.replace("hi", "nul \\u0000 esc \\u001b[31m").encode() + b"\n", 1, {"text_sanitised"}),
    "nan.json": (b'{"messages": [{"role": "user", "content": "hi"}], "score": NaN, "x": -Infinity}', 1, {"text_sanitised"}),
    "latin1.jsonl": (RUN.replace("hi", "caf\xe9").encode("latin-1") + b"\n", 1, {"invalid_utf8"}),
    "pretty.json": (json.dumps(json.loads(RUN), indent=2).encode() * 2, 2, set()),
    "repr.txt": (repr(json.loads(RUN)).encode(), 0, {"unrecognised"}),
    "empty.jsonl": (b"", 0, {"empty_file"}),
    "spaces.jsonl": (b" \n\n", 0, {"empty_file"}),
    "blank.jsonl": (f"\n\n{RUN}\n\n\n{RUN}\n".encode(), 2, set()),
    "wrong.txt": (f"{RUN}\n{RUN}\n".encode(), 2, set()),
    "array.jsonl": (f"[{RUN}, {RUN}]".encode(), 2, set()),
    "twice.jsonl": (json.dumps(RUN).encode() + b"\n" + json.dumps(RUN).encode() + b"\n", 2, {"double_encoded"}),
    "keys.json": (b'{"messages": [{"role": "user", "content": "one", "content": "two"}]}', 1, {"duplicate_keys"}),
    "deep.json": (DEEP.encode(), 0, {"unparseable"}),
    "packed.jsonl.gz": (gzip.compress(f"{RUN}\n".encode()), 1, set()),
    "noise.log": (f"INFO start\n{RUN}\nwarn: x\n{RUN}\nbye\n".encode(), 2, {"bad_line"}),
    "lfs.json": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", 0, {"unrecognised"}),
    "pickle.pkl": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n.", 0, set()),
    "digits.jsonl": (RUN.replace("{", '{"id": ' + "9" * 5000 + ', "created_at": "' + "9" * 400 + '", ', 1).encode() + b"\n", 1, set()),
    "nested_arguments.jsonl": (json.dumps({"messages": [*SAID, {"role": "assistant", "tool_calls": [{"id": "1", "function":
                               {"name": "f", "arguments": '{"a":' * 900 + "1" + "}" * 900}}]}]}).encode() + b"\n", 1, set()),
    "nested_extra.jsonl": (RUN[:-1].encode() + b', "metadata": ' + b'{"a":' * 400 + b"1" + b"}" * 400 + b"}\n", 1, set()),
    "minus.jsonl": (json.dumps({"messages": [SAID[0], {**SAID[1], "usage": {"prompt_tokens": -5, "completion_tokens": 2}}],
                    "created_at": 1e300, "cost": -3}).encode() + b"\n", 1, {"bad_number"}),
    "keys.jsonl": (f'{RUN[:-1]}, "{"k" * 2_000_000}": 1}}\n{RUN[:-1]}, '.encode() + b", ".join(b'"k%d": "v v"' % i for i in range(50_000))
                   + b"}\n", 2, set()),
    "chain_of_spans.json": (json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [
        {"traceId": "t", "spanId": f"s{i}", "parentSpanId": f"s{i - 1}", "name": "chat m", "startTimeUnixNano": str(i), "attributes":
         [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]} for i in range(1500)]}]}]}).encode(), 1, set()),
    "line.jsonl": (RUN.replace("hi", "x" * 3_000_000).encode() + b"\n" + RUN.encode() + b"\n", 2, set()),
    "numbers.jsonl": (b'42\n"text"\n[1]\n{"messages": "none"}\n' + RUN.encode() + b"\n", 1, {"not_a_conversation"}),
    "types.jsonl": (b'{"messages": [1, null, {"role": 7}, {"role": "user", "content": {"a": [1]}}, {"role": "assistant",'
                    b' "content": 5, "tool_calls": [3, {"function": null}]}]}\n' + RUN.encode() + b"\n", 2, set()),
}  # fmt: skip


def contents(folder: Path) -> tuple[dict[str, int], dict[str, set[str]], list[str]]:
    """Traces by file name, codes by file name, and every text stored."""
    with duckdb.connect(str(folder / "traces.duckdb"), read_only=True) as con:
        names = "SELECT parse_filename(s.uri), "
        counts = con.execute(
            names + "count(t.trace_id) FROM sources s LEFT JOIN traces t USING (source_id) GROUP BY 1"
        ).fetchall()
        codes = con.execute(names + "i.code FROM ingest_issues i JOIN sources s USING (source_id)").fetchall()
        texts = [t for (t,) in con.execute("SELECT text FROM steps WHERE text IS NOT NULL").fetchall()]
    found: dict[str, set[str]] = {}
    for name, code in codes:
        found.setdefault(name, set()).add(code)
    return dict(counts), found, texts


def test_every_hostile_file_is_read_or_accounted_for(tmp_path):
    for name, (data, _, _) in FILES.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    ingest([tmp_path / "in"], tmp_path / "h.corpus")
    counts, codes, texts = contents(tmp_path / "h.corpus")
    assert counts == {name: n for name, (_, n, _) in FILES.items()}
    assert {
        name: want - codes.get(name, set()) for name, (_, _, want) in FILES.items() if want - codes.get(name, set())
    } == {}
    assert all("\x00" not in text for text in texts) and any(len(text) == 3_000_000 for text in texts)
    assert {"bad \ufffd half", "caf\ufffd", "two"} <= set(texts)


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/samples/hostile is absent")
def test_the_shared_hostile_files(tmp_path):
    ingest([SHARED], tmp_path / "h.corpus")
    counts, codes, _ = contents(tmp_path / "h.corpus")
    silent = {name for name, n in counts.items() if n == 0 and not codes.get(name)}
    assert silent == set() and len(counts) == len(list(SHARED.iterdir()))
    assert sum(counts.values()) >= 20


@pytest.mark.parametrize("data", [b"", b"{}", b"\x00" * 100, b"just words", b'{"a": 1}', b"[]", b"null"])
def test_a_file_without_a_trace_is_an_error_that_says_why(tmp_path, data):
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(SourceError, match=r"x\.json: "):
        ingest([tmp_path / "x.json"], tmp_path / "x.corpus")
    assert not (tmp_path / "x.corpus").exists()


def test_damaged_tables_are_called_damaged(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([{"a": i} for i in range(1000)]), tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-50])
    with closing(sqlite3.connect(tmp_path / "a.db")) as con, con:
        con.execute("CREATE TABLE t (a)")
        con.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
    data = (tmp_path / "a.db").read_bytes()
    (tmp_path / "a.db").write_bytes(data[:4096] + b"\x07" * 8192 + data[12288:])
    for name in ("a.parquet", "a.db"):
        with pytest.raises(SourceError, match="a damaged "):
            ingest([tmp_path / name], tmp_path / "x.corpus")
