"""Pictures in messages are stored once, beside the steps."""

from __future__ import annotations

import base64
import json

import duckdb

from insights.corpus.load import ingest


def test_pictures_become_blobs_and_are_kept_once(tmp_path):
    data = bytes(range(256)) * 40
    picture = base64.b64encode(data).decode()
    claude = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}}
    chat = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
    word = "not base64 at all " * 400
    runs = [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, part, {"type": "note", "body": word}]},
                      {"role": "assistant", "content": name}]}
        for name, part in (("a", claude), ("b", chat), ("c", chat))
    ]  # fmt: skip
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
    (tmp_path / "y.jsonl").write_text(json.dumps(runs[0]) + "\n")
    ingest([tmp_path / "x.jsonl", tmp_path / "y.jsonl"], tmp_path / "b.corpus")
    with duckdb.connect(str(tmp_path / "b.corpus" / "traces.duckdb"), read_only=True) as con:
        ((own, mime, size, kept),) = con.execute("SELECT hash, mime, bytes, data FROM blobs").fetchall()
        parts = [json.loads(p) for (p,) in con.execute("SELECT parts FROM steps WHERE parts IS NOT NULL").fetchall()]
    assert (mime, size, kept) == ("image/png", len(data), data)
    assert len(parts) == 4 and all(f"blob:{own}" in json.dumps(p) and p[1]["body"] == word for p in parts)
