"""The SQLite file that an account is kept in: opening it, and what is said where it cannot be opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from megaflow import private_files
from megaflow.errors import ConfigurationError

_APPLICATION_ID: Final = 0x6D656761
"""``mega``, by which ``file`` and we know such a file."""

_VERSION: Final = 1

_PATIENCE: Final = 0.2
"""Seconds to wait for a process that has the file open and may be about to end."""

_LARGEST_LOG: Final = 16 * 1024 * 1024
"""Bytes the write-ahead log keeps once it is written back, however large one transaction made it."""

_SCHEMA: Final = """
CREATE TABLE account (facts TEXT NOT NULL);
CREATE TABLE queue (number INTEGER PRIMARY KEY, facts TEXT NOT NULL, next_number INTEGER NOT NULL);
CREATE TABLE topic (arn TEXT PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE message (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    attributes TEXT,
    system_attributes TEXT,
    sent_at REAL NOT NULL,
    group_id TEXT,
    deduplication_id TEXT,
    sequence_number TEXT,
    source_arn TEXT,
    aged_from REAL NOT NULL,
    delayed_to REAL
);
-- Apart from the bodies, so that receiving does not write them again. A message never received has no row.
CREATE TABLE delivery (
    key INTEGER PRIMARY KEY,
    receive_count INTEGER NOT NULL,
    received_here INTEGER NOT NULL,
    received_at REAL NOT NULL,
    first_received_at REAL,
    visible_at REAL
);
-- Only ever added to, which is cheap: the last row about the same thing holds.
CREATE TABLE recent (
    number INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    facts TEXT NOT NULL,
    ends_at REAL NOT NULL
);
CREATE INDEX recent_by_end ON recent (ends_at);
CREATE INDEX recent_by_owner ON recent (owner, kind);
"""

_POSTS: Final = "CREATE TABLE IF NOT EXISTS post (number INTEGER PRIMARY KEY, facts TEXT NOT NULL)"
"""Files from before there were any are of the same version: they lack nothing else."""


def open_data_file(path: Path) -> sqlite3.Connection:
    """Open the file at *path* for this process alone and for any of its threads.

    Where it is not there it is made, for its owner's eyes only: it holds bodies.

    Raises:
        ConfigurationError: it cannot be opened, is in use, damaged, or is none of ours.
    """
    private_files.create_where_missing(path)
    try:
        database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise _cannot_use(path, error) from error
    try:
        _prepare(database, path)
    except BaseException as error:
        database.close()
        if isinstance(error, UnicodeDecodeError):
            # What SQLite has to say quotes the file.
            raise damaged(path, error) from error
        if isinstance(error, sqlite3.Error):
            raise _cannot_use(path, error) from error
        raise
    return database


@contextmanager
def transaction(database: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Let everything be written or nothing.

    Raises:
        sqlite3.Error: nothing was.
    """
    database.execute(f"BEGIN {kind}")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        # Where the disk is full, SQLite may have rolled back already.
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def damaged(path: Path, error: Exception, database: sqlite3.Connection | None = None) -> ConfigurationError:
    """Say that what *path* holds makes no sense, and what SQLite can still read of its open *database*."""
    what = str(error) if isinstance(error, sqlite3.Error) else f"{type(error).__name__}: {error}"
    readable = f"{_count_readable(database)} can still be read: " if database else ""
    return ConfigurationError(
        f"cannot use {path} as data file: it is damaged ({what}); put a copy of it in its place, or name another file. "
        f"{readable}the shell of SQLite saves what it can with: sqlite3 {path} .recover"
    )


def _count_readable(database: sqlite3.Connection) -> str:
    counts = {table: _count_rows(database, table) for table in ("queue", "topic", "message")}
    return ", ".join(f"{count} {table if count == 1 else f'{table}s'}" for table, count in counts.items())


def _count_rows(database: sqlite3.Connection, table: str) -> int:
    """Count the rows up to the first that SQLite cannot read."""
    count = 0
    with suppress(sqlite3.Error, UnicodeDecodeError):
        for _ in database.execute(f"SELECT * FROM {table}"):  # noqa: S608 - one of ours
            count += 1
    return count


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    execute = database.execute
    # From its first transaction on nobody else can open the file, and it needs no memory shared with others.
    execute("PRAGMA locking_mode = EXCLUSIVE")
    with transaction(database, "EXCLUSIVE"):
        new = _is_new(database, path)
    # Not before it is known to be ours: a file stays in this mode.
    execute("PRAGMA journal_mode = WAL")
    execute("PRAGMA synchronous = NORMAL")
    execute("PRAGMA temp_store = MEMORY")
    execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG}")
    with transaction(database):
        if new:
            _create(database)
        execute(_POSTS)


def _is_new(database: sqlite3.Connection, path: Path) -> bool:
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables and application_id == version == 0:
        return True
    if application_id != _APPLICATION_ID:
        raise ConfigurationError(f"{path} is another application's SQLite file; name another file")
    if version != _VERSION:
        raise ConfigurationError(
            f"{path} has version {version} of the data file, and this megaflow knows version {_VERSION}; use the "
            "megaflow that wrote it, or name another file"
        )
    return False


def _create(database: sqlite3.Connection) -> None:
    for statement in _SCHEMA.split(";"):
        database.execute(statement)
    database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {_VERSION}")


def _cannot_use(path: Path, error: sqlite3.Error) -> ConfigurationError:
    return ConfigurationError(f"cannot use {path} as data file: {_explain(path, error)}")


def _explain(path: Path, error: sqlite3.Error) -> str:
    code = error.sqlite_errorcode
    if code == sqlite3.SQLITE_BUSY:
        return "another process has it open; stop that one, or name another file"
    if path.is_dir():
        return "it is a directory; name a file in it"
    if code == sqlite3.SQLITE_CANTOPEN and not path.parent.is_dir():
        return f"there is no directory {path.parent}; make it, or name another file"
    if code == sqlite3.SQLITE_CORRUPT:
        return f"it is damaged ({error}); put a copy of it in its place, or name another file"
    if code == sqlite3.SQLITE_NOTADB:
        return "it is there, and no SQLite file; name another file"
    return f"{error}; see that this process may write there, or name another file"
