"""`SqliteStore`: progress and idempotency keys in an SQLite file."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from megaflow import private_files
from megaflow.forks import close_before_fork
from megaflow.stores.store import KEEP_FOR, Claim, ClosableStore, Ended, read_ended

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


_IN_MEMORY: Final = ":memory:"


class SqliteStore(ClosableStore):
    """Remembers in an SQLite file, for the processes of one machine; opened when it is first needed.

    Close it at the end, as `App.run` and `App.close` do, or use it in a ``with``.
    """

    def __init__(
        self, path: str | PathLike[str], *, keep_for: float = KEEP_FOR, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = fspath(path)
        self._keep_for = keep_for
        self._clock = clock
        # Reentrant: a signal handler may fork in the middle of anything.
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._writes = 0
        close_before_fork(self)

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
            "INSERT INTO keys VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
            "SET owner = excluded.owner, expires_at = excluded.expires_at "
            "WHERE keys.expires_at <= ? OR keys.owner = excluded.owner RETURNING owner",
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

    @override
    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def before_fork(self) -> None:
        """See `megaflow.forks`."""
        self._lock.acquire()
        self.close()

    def after_fork(self) -> None:
        """See `megaflow.forks`."""
        self._lock.release()

    def _execute(self, statement: str, *values: object) -> list[Any]:
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
            if not statement.startswith("SELECT"):
                self._sweep(self._connection)
            return self._connection.execute(statement, values).fetchall()

    def _connect(self) -> sqlite3.Connection:
        if self._path != _IN_MEMORY:
            private_files.create_where_missing(Path(self._path))
        connection = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # What was answered stays, also where the power fails: a handler would run twice.
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_TABLES)
        except BaseException:
            connection.close()
            raise
        return connection

    def _sweep(self, connection: sqlite3.Connection) -> None:
        self._writes += 1
        if self._writes % _SWEEP_EVERY == 1:
            connection.execute("DELETE FROM progress WHERE expires_at <= ?", (self._clock(),))
            connection.execute("DELETE FROM keys WHERE expires_at <= ?", (self._clock(),))
