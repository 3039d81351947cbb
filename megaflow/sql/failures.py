"""Failures of a database: those that pass once others are out of the way, whichever driver tells of them."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

_CONTENTION: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, and a lock that was waited for too long:
https://www.postgresql.org/docs/current/errcodes-appendix.html"""

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
