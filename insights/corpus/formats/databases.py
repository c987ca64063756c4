"""SQLite stores of agents, read from a copy with its write-ahead log so that the program that writes one is not touched."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from insights.corpus.parse import clean
from insights.corpus.sniff import Head
from insights.corpus.source import Source


def tables(head: Head) -> set[str]:
    """Names of the tables of a database; {} for other files."""
    if head.magic != "sqlite":
        return set()
    try:
        with closing(sqlite3.connect(f"{head.path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as con:
            return {str(name) for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError:
        return set()


def damage(path: Path) -> str | None:
    """What SQLite says of a file that it cannot read."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as con:
            found = con.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == ("ok",) else str(found[0])[:200]


@contextmanager
def opened(source: Source) -> Iterator[sqlite3.Connection]:
    """A connection to a copy, rows by name; what breaks while reading is an issue of the source, not a failure."""
    with tempfile.TemporaryDirectory(prefix="insights-sqlite-") as folder:
        copy = Path(folder) / "store.db"
        shutil.copyfile(source.path, copy)
        for suffix in ("-wal", "-shm"):
            beside = source.sibling(source.path.name + suffix) if source.member is None else None
            if beside is not None:
                shutil.copyfile(beside, copy.with_name(copy.name + suffix))
        con = sqlite3.connect(copy)
        con.row_factory = sqlite3.Row
        con.text_factory = lambda b: b.decode("utf-8", "replace")
        try:
            yield con
        except sqlite3.DatabaseError as error:
            source.n_bad += 1
            source.issue("bad_database", f"the store cannot be read on: {error}", severity="error")
        finally:
            con.close()


def rows(con: sqlite3.Connection, query: str, *values: Any) -> Iterator[dict[str, Any]]:
    """Rows as objects, without NULLs; bytes as they are."""
    for row in con.execute(query, values):
        yield {k: v if isinstance(v, bytes) else clean(v) for k, v in dict(row).items() if v is not None}
