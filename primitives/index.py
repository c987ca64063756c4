"""The keyword index of a corpus: built at ingest, extended on re-ingest, opened by the verb `search` (see keyword.py).

    CORPUS/index/keyword/        postings of one document per window of each DISTINCT text (see documents.py, postings.py)
    CORPUS/index/texts.parquet   (hash, text_no) of the texts that are in it, so that the next ingest adds only new ones
    CORPUS/index/places.npz      for each text, the steps that hold it; and the number of each trace's first step
    CORPUS/index/keyword.json    the stamp of the corpus it belongs to, written last

A text that many steps hold (a system prompt, a repeated answer) is indexed once. An index whose stamp is not the corpus's
own is stale and is not used. It can be opened from a read-only folder.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from primitives.passages import BASES, FIELDS, KEY, PASSAGES, STAMP, TEXT_HASH

if TYPE_CHECKING:
    import duckdb
    import numpy as np

VERSION = 3
REBUILD_BELOW = 0.5  # share of known texts still in the corpus, below which it is quicker to start anew
SEGMENTS = 32  # of ingests that added little, above which it is quicker to start anew


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did. Numbers of distinct texts, and seconds."""

    texts: int
    added: int
    removed: int
    seconds: float


def build(folder: Path | str, *, memory_limit: str = "400MB") -> Built:
    """Bring CORPUS/index up to date with CORPUS/traces.duckdb, from nothing or from the index of an earlier ingest.

    Reads the database read-only: close the writer first. A kill leaves a stale index, which the next build replaces.
    """
    import time

    from primitives.documents import Writer

    began = time.monotonic()
    home = Path(folder) / "index"
    home.mkdir(exist_ok=True)
    con = _attach(Path(folder), home, memory_limit)
    try:
        known = _known(con, home)
        stamp = con.execute(STAMP).fetchone()
        (home / "keyword.json").unlink(missing_ok=True)
        number(con, known is not None)
        if known is not None and not _worth_extending(con, known):
            known = None
            number(con)
        if known is None:
            shutil.rmtree(home / "keyword", ignore_errors=True)
        writer = Writer(home / "keyword", known)
        added, removed = writer.write(con)
        total = _places(con, home)
        assert stamp is not None
        meta = {"version": VERSION, "stamp": stamp[0], "texts": total, **writer.meta()}
        (home / "keyword.json").write_text(json.dumps(meta), encoding="utf-8")
    finally:
        con.close()
        shutil.rmtree(home / "spill", ignore_errors=True)
    return Built(total, added, removed, time.monotonic() - began)


def _attach(folder: Path, home: Path, memory_limit: str) -> duckdb.DuckDBPyConnection:
    import duckdb

    con = duckdb.connect(":memory:")
    con.execute(f"SET enable_progress_bar=false; SET memory_limit='{memory_limit}'")
    con.execute(f"SET temp_directory='{_quoted(home / 'spill')}'")
    con.execute("SET preserve_insertion_order=false")
    con.execute(f"ATTACH '{_quoted(folder / 'traces.duckdb')}' AS corpus (READ_ONLY)")
    con.execute("USE corpus")
    return con


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("'", "''")


def _known(con: duckdb.DuckDBPyConnection, home: Path) -> dict[str, Any] | None:
    """Load the texts of an earlier index into the table `old`; what it says of itself, None when there is none to extend."""
    con.execute("CREATE TEMP TABLE old (h UBIGINT, text_no BIGINT)")
    try:
        meta: dict[str, Any] = json.loads((home / "keyword.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    row = con.execute("SELECT version()").fetchone()
    same_hash = row is not None and str(meta.get("stamp")).startswith(f"{row[0]}-")  # hash() may change with DuckDB
    if meta.get("version") != VERSION or not same_hash or not (home / "keyword").is_dir():
        return None
    con.execute(f"INSERT INTO old FROM read_parquet('{_quoted(home / 'texts.parquet')}')")
    return meta


def number(con: duckdb.DuckDBPyConnection, known: bool = False) -> None:
    """Temporary tables search_bases, search_places (h, key: every passage) and search_texts (h, text_no, first, is_new).

    Texts of the table `old` keep their number when `known`; the others are numbered in order of the corpus.
    """
    con.execute(f"CREATE OR REPLACE TEMP TABLE search_bases AS {BASES}")
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE search_places AS
        SELECT {TEXT_HASH} AS h, {KEY} AS key FROM ({PASSAGES}) p JOIN search_bases b USING (trace_id)"""
    )
    if not known:
        con.execute("CREATE OR REPLACE TEMP TABLE old (h UBIGINT, text_no BIGINT)")
    con.execute(
        """CREATE OR REPLACE TEMP TABLE search_texts AS
        WITH found AS (SELECT h, min(key) AS first FROM search_places GROUP BY h),
        kept AS (SELECT f.h, f.first, o.text_no FROM found f LEFT JOIN old o ON o.h = f.h)
        SELECT h, first, coalesce(text_no, (SELECT coalesce(max(text_no), -1) FROM old) +
            row_number() OVER (PARTITION BY text_no IS NULL ORDER BY first, h)) AS text_no, text_no IS NULL AS is_new
        FROM kept"""
    )


def _worth_extending(con: duckdb.DuckDBPyConnection, known: dict[str, Any]) -> bool:
    """Whether most of the texts are still there, and the segments are not many small ones."""
    row = con.execute(
        f"SELECT (SELECT count(*) FILTER (NOT is_new) FROM search_texts) >= {REBUILD_BELOW} * (SELECT count(*) FROM old)"
    ).fetchone()
    return bool(row and row[0]) and known["small"] < SEGMENTS


def _places(con: duckdb.DuckDBPyConnection, home: Path) -> int:
    """Write places.npz and texts.parquet; the number of texts."""
    import numpy as np

    written = home / "places.new.npz"
    np.savez(written, **asdict(places(con)))
    written.replace(home / "places.npz")
    con.execute(f"COPY (SELECT h, text_no FROM search_texts) TO '{_quoted(home / 'texts.parquet')}' (FORMAT parquet)")
    row = con.execute("SELECT count(*) FROM search_texts").fetchone()
    return int(row[0]) if row else 0


def places(con: duckdb.DuckDBPyConnection) -> Places:
    """The tables that `number` made, as arrays."""
    import numpy as np

    found = con.execute(
        "SELECT text_no, key FROM search_places JOIN search_texts USING (h) ORDER BY text_no, key"
    ).fetchnumpy()
    bases = con.execute("SELECT base FROM search_bases ORDER BY trace_id").fetchnumpy()["base"]
    numbers = found["text_no"]
    size = int(numbers.max()) + 1 if len(numbers) else 0
    return Places(bases, np.searchsorted(numbers, np.arange(size + 1)), found["key"])


@dataclass
class Places:
    """Where each text stands. `keys[pointers[t]:pointers[t + 1]]` are the places of text t, in order of the corpus."""

    bases: np.ndarray
    pointers: np.ndarray
    keys: np.ndarray

    @cached_property
    def text_of(self) -> np.ndarray:
        """The number of the text at each of `keys`."""
        import numpy as np

        return np.repeat(np.arange(len(self.pointers) - 1), np.diff(self.pointers))

    def of(self, text_no: int) -> np.ndarray:
        return self.keys[self.pointers[text_no] : self.pointers[text_no + 1]]

    def decode(self, key: int) -> tuple[int, int, str]:
        """(number of the trace in order of trace_id, seq, field)."""
        import numpy as np

        step, field = divmod(int(key), 4)
        trace = int(np.searchsorted(self.bases, step, "right")) - 1
        return trace, step - int(self.bases[trace]), FIELDS[field]


def is_current(folder: Path, con: duckdb.DuckDBPyConnection) -> bool:
    """Whether CORPUS/index belongs to the traces that `con` sees."""
    try:
        meta = json.loads((folder / "index" / "keyword.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return False
    row = con.execute(STAMP).fetchone()
    return meta.get("version") == VERSION and row is not None and meta.get("stamp") == row[0]
