"""The keyword index of a corpus: built at ingest, extended on re-ingest, opened by the verb `search`.

    CORPUS/index/keyword/    tantivy: one document per window of each DISTINCT text, with field, role and tool
    CORPUS/index/texts.parquet   (hash, text_no) of the texts that are in it, so that the next ingest adds only new ones
    CORPUS/index/places.npz      for each text, the steps that hold it; and the number of each trace's first step
    CORPUS/index/keyword.json    the stamp of the corpus it belongs to, written last

A text that many steps hold (a system prompt, a repeated answer) is indexed once. An index whose stamp is not the corpus's
own is stale and is not used. It can be opened from a read-only folder.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from primitives.passages import BASES, FIELDS, PASSAGES, STAMP

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import tantivy

VERSION = 2
WINDOW = 2_000  # unit: characters of one document; bounds what one hit has to load
OVERLAP = 200  # unit: characters shared by neighbouring windows, so that a phrase is whole in one of them
HEAP_BYTES = 100_000_000  # of tantivy's writer; less makes more segments and slower merges
REBUILD_BELOW = 0.5  # share of known texts still in the corpus, below which it is quicker to start anew


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did. Numbers of distinct texts, and seconds."""

    texts: int
    added: int
    removed: int
    seconds: float


def build(folder: Path | str, *, memory_limit: str = "512MB") -> Built:
    """Bring CORPUS/index up to date with CORPUS/traces.duckdb, from nothing or from the index of an earlier ingest.

    Reads the database read-only: close the writer first. A kill leaves a stale index, which the next build replaces.
    """
    import time

    began = time.monotonic()
    home = Path(folder) / "index"
    home.mkdir(exist_ok=True)
    con = _attach(Path(folder), home, memory_limit)
    try:
        known = _known(con, home)
        stamp = con.execute(STAMP).fetchone()
        (home / "keyword.json").unlink(missing_ok=True)
        number(con, known)
        if known and not _mostly_kept(con):
            known = False
            number(con)
        if not known:
            shutil.rmtree(home / "keyword", ignore_errors=True)
        added, removed = _write(con, home / "keyword", known)
        total = _places(con, home)
        assert stamp is not None
        meta = {"version": VERSION, "stamp": stamp[0], "texts": total}
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


def _known(con: duckdb.DuckDBPyConnection, home: Path) -> bool:
    """Load the texts of an earlier index into the table `old`; False when there is none to extend."""
    con.execute("CREATE TEMP TABLE old (h UBIGINT, text_no BIGINT)")
    try:
        meta = json.loads((home / "keyword.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return False
    row = con.execute("SELECT version()").fetchone()
    same_hash = row is not None and str(meta.get("stamp")).startswith(f"{row[0]}-")  # hash() may change with DuckDB
    if meta.get("version") != VERSION or not same_hash or not (home / "keyword").is_dir():
        return False
    con.execute(f"INSERT INTO old FROM read_parquet('{_quoted(home / 'texts.parquet')}')")
    return True


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


KEY = f"(b.base + p.seq) * 4 + list_position({list(FIELDS)}, p.field) - 1"
TEXT_HASH = "hash(p.text, p.field, coalesce(p.role, ''), coalesce(p.tool, ''))"


def _mostly_kept(con: duckdb.DuckDBPyConnection) -> bool:
    row = con.execute(
        f"SELECT (SELECT count(*) FILTER (NOT is_new) FROM search_texts) >= {REBUILD_BELOW} * (SELECT count(*) FROM old)"
    ).fetchone()
    return bool(row and row[0])


def _schema() -> tantivy.Schema:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", stored=True)
    for name in ("field", "role", "tool"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    builder.add_integer_field("text_no", indexed=True, fast=True)
    builder.add_integer_field("start", indexed=True, fast=True)
    return builder.build()


def _write(con: duckdb.DuckDBPyConnection, path: Path, known: bool) -> tuple[int, int]:
    """Add the new texts and remove those no step holds any more; (added, removed)."""
    import tantivy

    path.mkdir(exist_ok=True)
    index = tantivy.Index(_schema(), path=str(path), reuse=known)
    writer = index.writer(heap_size=HEAP_BYTES, num_threads=1)
    gone = (
        con.execute("SELECT text_no FROM old WHERE h NOT IN (SELECT h FROM search_texts)").fetchall() if known else []
    )
    for (number,) in gone:
        writer.delete_documents_by_term("text_no", number)
    added = 0
    for number, field, role, tool, text in _new_texts(con):
        added += 1
        for start, end in windows(text):
            document = tantivy.Document()
            document.add_text("text", text if end - start == len(text) else text[start:end])
            document.add_text("field", field)
            if role:
                document.add_text("role", role)
            if tool:
                document.add_text("tool", tool)
            document.add_integer("text_no", number)
            document.add_integer("start", start)
            writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    return added, len(gone)


def _new_texts(con: duckdb.DuckDBPyConnection) -> Iterator[tuple[int, str, str | None, str | None, str]]:
    """(text_no, field, role, tool, text) of every new text once, streamed."""
    seen: set[int] = set()
    result = con.sql(
        f"""SELECT t.text_no, p.field, p.role, p.tool, p.text FROM ({PASSAGES}) p JOIN search_bases b USING (trace_id)
        JOIN search_texts t ON t.first = {KEY} AND t.h = {TEXT_HASH} WHERE t.is_new"""
    )
    for batch in result.to_arrow_reader(8_192):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if row[0] not in seen:
                seen.add(row[0])
                yield row


def windows(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of overlapping windows, ending at white space where there is some."""
    start, size = 0, len(text)
    while size - start > WINDOW + OVERLAP:
        end = max(
            text.rfind(" ", start + WINDOW // 2, start + WINDOW), text.rfind("\n", start + WINDOW // 2, start + WINDOW)
        )
        end = end if end > 0 else start + WINDOW
        yield start, end
        start = end - OVERLAP
    yield start, size


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


@dataclass(frozen=True, slots=True)
class Hit:
    """A window of a text: `start` is its first character in the field."""

    text_no: int
    start: int
    score: float
    address: Any


class KeywordIndex:
    """An opened index. `close` removes the links through which a read-only folder is opened."""

    def __init__(self, home: Path) -> None:
        import numpy as np
        import tantivy

        self._links = _linked(home / "keyword")
        self.index = tantivy.Index.open(self._links.name)
        self.searcher = self.index.searcher()
        with np.load(home / "places.npz") as arrays:
            self.places = Places(arrays["bases"], arrays["pointers"], arrays["keys"])

    def close(self) -> None:
        self._links.cleanup()

    def search(self, query: tantivy.Query, limit: int) -> list[Hit]:
        """Best first; equal scores in order of the corpus."""
        found = self.searcher.search(query, limit, count=False).hits
        addresses = [address for _, address in found]
        if not addresses:
            return []
        numbers = self.searcher.fast_field_values("text_no", addresses)
        starts = self.searcher.fast_field_values("start", addresses)
        hits = [
            Hit(int(n or 0), int(s or 0), score, at) for n, s, (score, at) in zip(numbers, starts, found, strict=True)
        ]
        return sorted(hits, key=lambda h: (-h.score, h.text_no, h.start))

    def text(self, hit: Hit) -> str:
        """The window's text, verbatim."""
        return str(self.searcher.doc(hit.address)["text"][0])

    def window(self, first: int, start: int) -> str | None:
        """The window at `start` of the text whose first place is `first`; None where there is none."""
        import tantivy

        text_no = self._by_first.get(first)
        if text_no is None:
            return None
        terms = [
            (tantivy.Occur.Must, tantivy.Query.term_query(self.index.schema, name, value, "basic"))
            for name, value in (("text_no", text_no), ("start", start))
        ]
        hits = self.searcher.search(tantivy.Query.boolean_query(terms), 1, count=False).hits
        return str(self.searcher.doc(hits[0][1])["text"][0]) if hits else None

    @cached_property
    def _by_first(self) -> dict[int, int]:
        import numpy as np

        held = np.flatnonzero(np.diff(self.places.pointers))
        return dict(zip(self.places.keys[self.places.pointers[held]].tolist(), held.tolist(), strict=True))


def _linked(path: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder of links to the index's files: tantivy locks where it opens, which a read-only folder refuses."""
    folder = tempfile.TemporaryDirectory(prefix="insights-index-")
    for file in path.iterdir():
        if not file.name.endswith(".lock"):
            (Path(folder.name) / file.name).symlink_to(file.resolve())
    return folder


def is_current(folder: Path, con: duckdb.DuckDBPyConnection) -> bool:
    """Whether CORPUS/index belongs to the traces that `con` sees."""
    try:
        meta = json.loads((folder / "index" / "keyword.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return False
    row = con.execute(STAMP).fetchone()
    return meta.get("version") == VERSION and row is not None and meta.get("stamp") == row[0]
