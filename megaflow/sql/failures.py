"""Failures of a database that pass: others are in the way, or the connection is lost, whichever driver tells of it."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

_CONTENTION: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, and a lock that was waited for too long:
https://www.postgresql.org/docs/current/errcodes-appendix.html"""

_ENDED: Final = frozenset({"57P01", "57P02", "57P03"})
"""The server ends, or begins: it may say so before the connection is closed. Same page."""

_OF_CONNECTIONS: Final = "08"
"""The class of codes that speak of the connection. Same page."""

_OF_ASYNCPG: Final = "InternalClientError"
"""What asyncpg raises between the server's last word and the end of the connection, which SQLAlchemy takes for open."""

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

_PRIMARY: Final = 0xFF
"""The bits of SQLite's error codes that say what it is: https://www.sqlite.org/rescode.html"""


def is_contention(error: BaseException | None) -> bool:
    """Tell whether *error*, or what caused it, means that others were in the way: the same works a little later."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        own = error.orig if isinstance(error, DBAPIError) else error
        if state_of(own) in _CONTENTION or sqlite_code(own) in _BUSY:
            return True
        error = error.__cause__
    return False


def is_lost(error: BaseException) -> bool:
    """Tell whether *error* means that the connection is lost, and the transaction with it."""
    if not isinstance(error, DBAPIError):
        # SQLAlchemy 2.0 lets it through as it is.
        return type(error).__name__ == _OF_ASYNCPG
    state = state_of(error.orig)
    says_so = state in _ENDED or state.startswith(_OF_CONNECTIONS) or type(error.orig).__name__ == _OF_ASYNCPG
    return error.connection_invalidated or says_so


def state_of(error: BaseException | None) -> str:
    """Return PostgreSQL's code of *error*, as a driver tells it, or ``""``."""
    for name in ("sqlstate", "pgcode"):  # psycopg and asyncpg; psycopg2
        found = getattr(error, name, None)
        if isinstance(found, str):
            return found
    first = next(iter(getattr(error, "args", ())), None)  # pg8000
    return str(first.get("C", "")) if isinstance(first, dict) else ""


def sqlite_code(error: BaseException | None) -> int:
    """Return SQLite's code of *error*, or 0."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & _PRIMARY if isinstance(code, int) else 0
