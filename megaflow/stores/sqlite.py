"""`SqliteStore`: progress and idempotency keys in an SQLite file."""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from megaflow import private_files
from megaflow.checks import check_function, check_path, check_time
from megaflow.errors import ConfigurationError
from megaflow.forks import close_before_fork
from megaflow.stores.store import CHECK, KEEP_FOR, Claim, ClosableStore, Ended, read_ended

_BUSY_TIMEOUT: Final = 10.0
"""Seconds to wait for another process that writes."""

_THROUGH_EVERY: Final = 1.0
"""Seconds: progress that is saved so soon after a write went through to the disk goes there later, with another one."""

_SWEEP_EVERY: Final = 1_000
"""Writes after which the file is rid of what has expired."""

_PRIMARY: Final = 0xFF
"""The bits of an error code that say what it is; the others say more: https://www.sqlite.org/rescode.html"""

_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
    }
)
"""What passes by itself: somebody else writes, mostly."""

_REMEDIES: Final = {
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the permissions of the file and its folder",
    sqlite3.SQLITE_PERM: "it cannot be opened; check the permissions of the file and its folder",
    sqlite3.SQLITE_READONLY: "it cannot be written; check the permissions of the file, its folder and its disk",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database; give another path, or move it away",
    sqlite3.SQLITE_CORRUPT: "it is damaged; move it away, and a new one is made, which remembers nothing",
    sqlite3.SQLITE_FULL: "its disk is full; make room",
    sqlite3.SQLITE_IOERR: "its disk fails; check it, or give a path on another one",
}

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
    """Remembers in an SQLite file, for the processes of one machine. It is opened when it is first needed.

    What it has answered outlives a process that is killed. Where the power fails, keys that are done stay, too; of the
    progress, what was saved within a second after the latest write that waited for the disk may be lost.

    `App.run` and `App.close` close it. Elsewhere, close it yourself, or use it in a ``with``.

    Args:
        path: The file. It is created with mode 0600 where it is not there.
        keep_for: Seconds for which it remembers how a handler ended; 14 days by default, as long as SQS keeps messages.
        clock: Gives the time, in seconds since the epoch.
    """

    def __init__(
        self, path: str | PathLike[str], *, keep_for: float = KEEP_FOR, clock: Callable[[], float] = time.time
    ) -> None:
        check_path("path", path)
        self._path = fspath(path)
        check_time("keep_for", keep_for)
        check_function("clock", clock, "() -> seconds", takes=0)
        self._keep_for = keep_for
        self._clock = clock
        # Reentrant: a signal handler may fork in the middle of anything.
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._writes = 0
        self._goes_through = True
        """Whether the connection waits with each write until the disk has it, and all that was written before."""

        self._went_through_at = -math.inf
        self._has_wal = True
        """Whether the file system takes the log without which a write that does not wait may cost the whole file."""

        self._is_suspect = False
        """Whether a part of the file was found to be damaged since it was last checked."""

        close_before_fork(self)

    def check(self) -> None:
        """See `Store`: open the file anew, as another one may have taken its place."""
        with self._lock:
            try:
                if self._path != _IN_MEMORY:
                    self.close()
                self._write_and_take_back()
                if self._is_suspect:
                    self._look_for_damage()
                self._is_suspect = False
            except (sqlite3.Error, ValueError) as error:
                if _code(error) in _PASSING:
                    raise
                problem = _explain(Path(self._path), error)
                raise ConfigurationError(f"SqliteStore({self._path!r}): {problem} ({error})") from error

    def load(self, work: str) -> Mapping[str, Ended]:
        """See `Store.load`."""
        found = self._read(
            "SELECT handler, status, error FROM progress WHERE work = ? AND expires_at > ?", work, self._clock()
        )
        return {handler: read_ended(work, status, error) for handler, status, error in found}

    def save(self, work: str, handler: str, ended: Ended) -> None:
        """See `Store.save`."""
        now = self._clock()
        self._write(
            "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?)",
            *(work, handler, ended.status.value, _encodable(ended.error), now + self._keep_for),
            # A message is mostly deleted at once, and what is known of it is needed no more.
            through=abs(now - self._went_through_at) >= _THROUGH_EVERY,
        )

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        """See `Store.claim`."""
        now = self._clock()
        taken = self._write(
            "INSERT INTO keys VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
            "SET owner = excluded.owner, expires_at = excluded.expires_at "
            "WHERE keys.expires_at <= ? OR keys.owner = excluded.owner RETURNING owner",
            *(key, owner, now + seconds, now),
        )
        if taken:
            return Claim.TAKEN
        found = self._read("SELECT owner FROM keys WHERE key = ?", key)
        return Claim.DONE if found and found[0][0] is None else Claim.BUSY

    def renew(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.renew`."""
        expires_at = self._clock() + seconds
        self._write("UPDATE keys SET expires_at = ? WHERE key = ? AND owner = ?", expires_at, key, owner)

    def complete(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.complete`."""
        expires_at = self._clock() + seconds
        # For as long as that, a handler would run twice for what it must run once for.
        self._write("INSERT OR REPLACE INTO keys VALUES (?, NULL, ?)", key, expires_at, through=True)

    def release(self, key: str, owner: str) -> None:
        """See `Store.release`."""
        self._write("DELETE FROM keys WHERE key = ? AND owner = ?", key, owner)

    @override
    def close(self) -> None:
        """See `Store`."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _before_fork(self) -> None:
        """See `megaflow.forks`."""
        self._lock.acquire()
        self.close()

    def _after_fork(self) -> None:
        """See `megaflow.forks`."""
        self._lock.release()

    def _read(self, statement: str, *values: object) -> list[Any]:
        with self._lock:
            return self._execute(self._open(), statement, values)

    def _write(self, statement: str, *values: object, through: bool = False) -> list[Any]:
        """Write, for other processes to see; where it goes *through*, the disk has it then, and what was before it.

        To wait for the disk takes several times as long as all the rest, and one process at a time can.
        """
        with self._lock:
            connection = self._open()
            self._sweep(connection)
            through = through or not self._has_wal
            if through is not self._goes_through:
                connection.execute(f"PRAGMA synchronous = {'FULL' if through else 'NORMAL'}")
                self._goes_through = through
            written = self._execute(connection, statement, values)
            if through:
                self._went_through_at = self._clock()
            return written

    def _execute(self, connection: sqlite3.Connection, statement: str, values: Sequence[object]) -> list[Any]:
        try:
            return connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            self._is_suspect = self._is_suspect or _code(error) == sqlite3.SQLITE_CORRUPT
            raise

    def _write_and_take_back(self) -> None:
        # As one transaction: it is written like any other, and nobody sees it.
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT OR REPLACE INTO progress VALUES (?, '', '', '', 0)", (CHECK,))
            connection.execute("INSERT OR REPLACE INTO keys VALUES (?, NULL, 0)", (CHECK,))
            connection.execute("DELETE FROM progress WHERE work = ?", (CHECK,))
            connection.execute("DELETE FROM keys WHERE key = ?", (CHECK,))

    def _look_for_damage(self) -> None:
        # It reads all of the file, which is too much for every start.
        (found,) = self._open().execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            damaged = sqlite3.DatabaseError(found)
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damaged

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self._path != _IN_MEMORY:
            private_files.create_where_missing(Path(self._path))
        connection = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            # A check, which opens it, is to find out whether the disk takes what it is given.
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_TABLES)
        except BaseException:
            connection.close()
            raise
        self._goes_through, self._has_wal = True, mode == "wal"
        return connection

    def _sweep(self, connection: sqlite3.Connection) -> None:
        self._writes += 1
        if self._writes % _SWEEP_EVERY == 1:
            connection.execute("DELETE FROM progress WHERE expires_at <= ?", (self._clock(),))
            connection.execute("DELETE FROM keys WHERE expires_at <= ?", (self._clock(),))


def _explain(path: Path, error: Exception) -> str:
    """Say what is wrong with the file at *path*, and what to do."""
    if "\0" in str(path):
        return "no path has a NUL in it"
    if path.is_dir():
        return "it is a folder; give the path of a file"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}; make it, or give another path"
    return _REMEDIES.get(_code(error), "it does not take what a store writes; give another path, or move it away")


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
