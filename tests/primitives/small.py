"""Small corpora made of rows: a real corpus folder, of the real schema, with no reader in between.

corpus = small.corpus(tmp_path, traces=[{"trace_id": "a", "success": True}], tool_calls=[...])
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from primitives import Corpus, open_corpus
from primitives.derived import derive

SCHEMA = Path(__file__).resolve().parents[2] / "insights" / "corpus" / "schema.sql"
REQUIRED = {
    "traces": lambda row: {"source_id": "s", "root_trace_id": row["trace_id"]},
    "tool_calls": lambda row: {"requestor": "assistant", "status": "ok"},
    "steps": lambda row: {"kind": "message", "on_path": True},
    "annotations": lambda row: {"kind": "score", "name": "score"},
    "expected": lambda row: {"kind": "action"},
    "slices": lambda row: {"basis": "id"},
    "signals": lambda row: {"severity": "low", "n": 1},
}


def folder(path: Path, **tables: Iterable[Mapping[str, Any]]) -> Path:
    """Write PATH/small.corpus; each keyword is a table of schema.sql with its rows. dict values become JSON.

    `labels` rows go to labels/small.parquet. Missing required columns are filled in: see REQUIRED; a tool call gets its
    position as key.
    """
    home = path / "small.corpus"
    (home / "labels").mkdir(parents=True)
    con = duckdb.connect(str(home / "traces.duckdb"))
    con.execute(SCHEMA.read_text(encoding="utf-8"))
    con.execute("INSERT INTO corpus_info VALUES (1, 'test', now(), 'small')")
    for table, rows in tables.items():
        if table == "labels":
            _labels(con, home / "labels" / "small.parquet", rows)
            continue
        for i, row in enumerate(rows):
            whole = {**REQUIRED.get(table, lambda _: {})(row), **row}
            if table == "tool_calls":
                whole.setdefault("tool_call_key", str(i))
                whole.setdefault("args_text", json.dumps(whole.get("args", {})))
            values = [json.dumps(v) if isinstance(v, dict) else v for v in whole.values()]
            marks = ", ".join("?" * len(values))
            con.execute(f"INSERT INTO {table} ({', '.join(whole)}) VALUES ({marks})", values)
    derive(con)
    con.close()
    return home


def corpus(path: Path, **tables: Iterable[Mapping[str, Any]]) -> Corpus:
    """The same, opened."""
    return open_corpus(folder(path, **tables), threads=1)


def _labels(con: duckdb.DuckDBPyConnection, file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    con.execute(
        "CREATE TEMP TABLE l (trace_id VARCHAR, seq INTEGER, name VARCHAR, value VARCHAR, quote VARCHAR, "
        "explanation VARCHAR, kind VARCHAR, model VARCHAR, prompt_hash VARCHAR, run_id VARCHAR, created_at TIMESTAMPTZ)"
    )
    for row in rows:
        con.execute(f"INSERT INTO l ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
    con.execute(f"COPY l TO '{file}' (FORMAT parquet)")
