"""Every call of a run and every answer, in one SQLite file: the ledger and the cache.

Both are one file so that an answer and its payment are one transaction: a kill leaves both or neither.
A row is written before a call ("started") and finished after it, so that a killed run knows what was in
flight. The cache holds answers under hashes of requests; the text of requests is not stored.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from insights.errors import ModelError
from insights.models.messages import Reply

LEDGER_VERSION = 1
CHECKPOINT_PAGES = 8000
"""Of 4 KiB. A checkpoint syncs the disk while every call under way waits, so there are few."""

CACHED_STOPS = ("end", "tool", "length", "refusal")
"""Answers that were paid. "overflow" is asked again: it costs nothing and depends on the server's settings."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
  id INTEGER PRIMARY KEY,
  started_at TEXT NOT NULL,               -- UTC, ISO 8601
  role TEXT NOT NULL,                     -- who asked; "… (repair)" for a second turn after an unusable answer
  model TEXT NOT NULL,
  key TEXT NOT NULL,                      -- of the request, joins replies
  state TEXT NOT NULL,                    -- started, done, cached, failed; lost: no answer came, perhaps charged
  stop TEXT,
  input_tokens INTEGER NOT NULL DEFAULT 0,       -- cached and written ones included
  cached_tokens INTEGER NOT NULL DEFAULT 0,      -- read from the provider's cache
  cache_write_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  usd REAL,                               -- NULL: the price is unknown
  uncertain_usd REAL NOT NULL DEFAULT 0,  -- the most that attempts without an answer can have cost
  uncertain_tokens INTEGER NOT NULL DEFAULT 0,
  held_usd REAL NOT NULL,                 -- the most this call can cost, reserved before it
  held_tokens INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,    -- HTTP requests sent
  seconds REAL NOT NULL DEFAULT 0,
  estimated INTEGER NOT NULL DEFAULT 0,   -- 1: the server gave no token counts, these are ours
  error TEXT
);
CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply BLOB NOT NULL) WITHOUT ROWID;
"""

TOTALS = """
SELECT role, model, count(*) AS calls, sum(state = 'cached') AS cached_calls, sum(state = 'failed') AS failed_calls,
  sum(state IN ('lost', 'started')) AS lost_calls, sum(input_tokens) AS input_tokens,
  sum(cached_tokens) AS cached_tokens, sum(output_tokens) AS output_tokens, sum(usd) AS usd,
  sum(uncertain_usd) AS uncertain_usd, sum(usd IS NULL AND state = 'done') AS unpriced_calls, sum(seconds) AS seconds
FROM calls GROUP BY role, model ORDER BY usd DESC, calls DESC, role, model
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """`usd` and `tokens` include the uncertain: what calls without an answer can have cost at most."""

    usd: float
    tokens: int
    uncertain_usd: float
    unpriced_calls: int


class Ledger:
    """Opened by one process at a time; anything may read the file meanwhile. Safe to use from threads.

    Opening marks the calls that a killed process left in flight as lost. Raises ModelError when another
    process has the run open, or the file is of another version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._held_open = _exclusive(self.path)
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, LEDGER_VERSION):
            self.close()
            raise ModelError(
                f"{self.path} has version {version}, this program writes {LEDGER_VERSION}", "start a new run"
            )
        self._db.executescript(SCHEMA)
        self._db.execute(f"PRAGMA user_version = {LEDGER_VERSION}")
        self._db.execute(
            "UPDATE calls SET state = 'lost', uncertain_usd = held_usd, uncertain_tokens = held_tokens, "
            "error = 'the run was killed while this call was in flight' WHERE state = 'started'"
        )

    def close(self) -> None:
        self._db.close()
        os.close(self._held_open)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reply(self, key: str) -> Reply | None:
        """The stored answer, marked cached and costing nothing."""
        with self._lock:
            row = self._db.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return as_cached(Reply.from_json(row[0])) if row else None

    def has(self, key: str) -> bool:
        with self._lock:
            return self._db.execute("SELECT 1 FROM replies WHERE key = ?", (key,)).fetchone() is not None

    def hit(self, key: str, role: str, model: str, stop: str) -> None:
        """Record that a call was answered from the cache, at no cost."""
        with self._lock:
            self._db.execute(
                "INSERT INTO calls (started_at, role, model, key, state, stop, usd, held_usd, held_tokens) "
                "VALUES (?, ?, ?, ?, 'cached', ?, 0, 0, 0)",
                (_now(), role, model, key, stop),
            )

    def start(self, key: str, role: str, model: str, held_usd: float, held_tokens: int) -> int:
        """Record that a call is about to be made. Returns its row."""
        with self._lock:
            cursor = self._db.execute(
                "INSERT INTO calls (started_at, role, model, key, state, held_usd, held_tokens) "
                "VALUES (?, ?, ?, ?, 'started', ?, ?)",
                (_now(), role, model, key, held_usd, held_tokens),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def finish(self, row: int, key: str, reply: Reply, attempts: int, lost_attempts: int) -> None:
        """Record an answer and what it cost, and keep it."""
        usage = reply.usage
        done = (
            reply.stop, usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens,
            usage.usd, lost_attempts, lost_attempts, attempts, reply.seconds, int(usage.estimated), row,
        )  # fmt: skip
        with self._lock:
            self._db.execute("BEGIN")
            self._db.execute(
                "UPDATE calls SET state = 'done', stop = ?, input_tokens = ?, cached_tokens = ?, cache_write_tokens = ?, "
                "output_tokens = ?, usd = ?, uncertain_usd = ? * held_usd, uncertain_tokens = ? * held_tokens, "
                "attempts = ?, seconds = ?, estimated = ? WHERE id = ?",
                done,
            )
            if reply.stop in CACHED_STOPS:
                self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", (key, reply.to_json()))
            self._db.execute("COMMIT")

    def fail(self, row: int, error: str, seconds: float, attempts: int, lost_attempts: int) -> None:
        """Record that no answer came. Attempts that vanished may have been charged: they count in full."""
        with self._lock:
            self._db.execute(
                "UPDATE calls SET state = ?, error = ?, seconds = ?, attempts = ?, "
                "uncertain_usd = ? * held_usd, uncertain_tokens = ? * held_tokens WHERE id = ?",
                ("lost" if lost_attempts else "failed", error, seconds, attempts, lost_attempts, lost_attempts, row),
            )

    def spent(self) -> Spent:
        with self._lock:
            row = self._db.execute(
                "SELECT ifnull(sum(usd), 0) + ifnull(sum(uncertain_usd), 0), "
                "ifnull(sum(input_tokens + output_tokens + uncertain_tokens), 0), ifnull(sum(uncertain_usd), 0), "
                "ifnull(sum(usd IS NULL AND state = 'done'), 0) FROM calls"
            ).fetchone()
        return Spent(*row)

    def totals(self) -> list[dict[str, Any]]:
        """One row per role and model: the columns of TOTALS."""
        with self._lock:
            return _rows(self._db, TOTALS)

    def cost(self) -> dict[str, Any]:
        """usd (None where any price is unknown), uncertain_usd, input_tokens, output_tokens, calls, cached_calls."""
        return _sum(self.totals())


def read_totals(path: str | Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """`totals` and `cost` of a run's calls.sqlite, without opening it for writing."""
    db = sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)
    try:
        totals = _rows(db, TOTALS)
    finally:
        db.close()
    return totals, _sum(totals)


def as_cached(reply: Reply) -> Reply:
    return replace(reply, cached=True, usage=replace(reply.usage, usd=0.0))


def _sum(totals: list[dict[str, Any]]) -> dict[str, Any]:
    def total(column: str) -> Any:
        return sum(row[column] or 0 for row in totals)

    return {
        "usd": None if total("unpriced_calls") else total("usd"),
        **{c: total(c) for c in ("uncertain_usd", "input_tokens", "output_tokens", "calls", "cached_calls")},
        **{c: total(c) for c in ("failed_calls", "lost_calls")},
    }


def _rows(db: sqlite3.Connection, query: str) -> list[dict[str, Any]]:
    cursor = db.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _exclusive(path: Path) -> int:
    """Hold PATH.lock for as long as the process lives: two processes on one run would pay everything twice."""
    handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise ModelError(
            f"{path} is in use: this run is already going on", "wait for it, or start another run"
        ) from error
    return handle
