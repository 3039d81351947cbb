"""A store in an SQLite file."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from os import PathLike, fspath, getpid
from typing import Any, Final

from megaflow.stores.store import KEEP_FOR, Claim, Ended, read_ended

_BUSY_TIMEOUT: Final = 10.0
"""Seconds to wait for another process that writes."""

_SWEEP_EVERY: Final = 1_000
"""Writes after which the file is rid of what has expired."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS progress (
    work TEXT NOT NULL, handler TEXT NOT NULL, status TEXT NOT NULL, error TEXT NOT NULL, expires_at REAL NOT NULL,
    PRIMARY KEY (work, handler)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    key TEXT PRIMARY KEY, owner TEXT, expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS progress_by_expiry ON progress (expires_at);
CREATE INDEX IF NOT EXISTS keys_by_expiry ON keys (expires_at);
"""


class SqliteStore:
    """Remembers in an SQLite file, for the processes of one machine; opened when it is first needed."""

    def __init__(
        self, path: str | PathLike[str], *, keep_for: float = KEEP_FOR, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = fspath(path)
        self._keep_for = keep_for
        self._clock = clock
        self._lock = threading.Lock()
        self._opened: tuple[int, sqlite3.Connection] | None = None
        self._writes = 0

    def load(self, work: str) -> Mapping[str, Ended]:
        """See `Store.load`."""
        found = self._execute(
            "SELECT handler, status, error FROM progress WHERE work = ? AND expires_at > ?", work, self._clock()
        )
        return {handler: read_ended(work, status, error) for handler, status, error in found}

    def save(self, work: str, handler: str, ended: Ended) -> None:
        """See `Store.save`."""
        self._execute(
            "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?)",
            *(work, handler, ended.status.value, ended.error, self._clock() + self._keep_for),
        )

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        """See `Store.claim`."""
        now = self._clock()
        taken = self._execute(
            "INSERT INTO keys VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET owner = ?2, expires_at = ?3 "
            "WHERE keys.expires_at <= ?4 OR keys.owner = ?2 RETURNING owner",
            *(key, owner, now + seconds, now),
        )
        if taken:
            return Claim.TAKEN
        found = self._execute("SELECT owner FROM keys WHERE key = ?", key)
        return Claim.DONE if found and found[0][0] is None else Claim.BUSY

    def renew(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.renew`."""
        expires_at = self._clock() + seconds
        self._execute("UPDATE keys SET expires_at = ? WHERE key = ? AND owner = ?", expires_at, key, owner)

    def complete(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.complete`."""
        self._execute("INSERT OR REPLACE INTO keys VALUES (?, NULL, ?)", key, self._clock() + seconds)

    def release(self, key: str, owner: str) -> None:
        """See `Store.release`."""
        self._execute("DELETE FROM keys WHERE key = ? AND owner = ?", key, owner)

    def _execute(self, statement: str, *values: object) -> list[Any]:
        with self._lock:
            connection = self._connect()
            if not statement.startswith("SELECT"):
                self._sweep(connection)
            return connection.execute(statement, values).fetchall()

    def _connect(self) -> sqlite3.Connection:
        # A connection must not be used in a child process that was forked.
        if self._opened is None or self._opened[0] != getpid():
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode = WAL")
            # What was answered stays, also where the power fails: a handler would run twice.
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_TABLES)
            self._opened = (getpid(), connection)
        return self._opened[1]

    def _sweep(self, connection: sqlite3.Connection) -> None:
        self._writes += 1
        if self._writes % _SWEEP_EVERY == 1:
            connection.execute("DELETE FROM progress WHERE expires_at <= ?", (self._clock(),))
            connection.execute("DELETE FROM keys WHERE expires_at <= ?", (self._clock(),))
