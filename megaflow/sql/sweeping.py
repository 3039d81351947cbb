"""Sweeping: a table is rid of what has expired, now and then, without waiting for anybody, or having anybody wait."""

from __future__ import annotations

import threading
from typing import Final

from sqlalchemy import Table, bindparam, delete, select, tuple_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from megaflow.forks import renew_in_child
from megaflow.logs import get_logger

log = get_logger(__name__)

_EVERY: Final = 1_000
"""Writes after which it is done again, and at the first one."""

_AT_ONCE: Final = 2_000
"""Rows that go at once at the most: more than are written meanwhile, and no more than takes a moment."""


class Sweeping:
    """Rids a *table* of what has expired. May be used from any thread."""

    def __init__(self, table: Table) -> None:
        self._table = table
        key = list(table.primary_key.columns)
        # What another process sweeps just now is its own: nobody waits, so nobody waits for each other.
        expired = select(*key).where(table.c.expires_at <= bindparam("now")).limit(_AT_ONCE)
        self._delete = delete(table).where(tuple_(*key).in_(expired.with_for_update(skip_locked=True)))
        self._lock = threading.Lock()
        self._writes = 0
        renew_in_child(self)

    def is_due(self) -> bool:
        """Count a write, and tell whether to sweep before it."""
        with self._lock:
            self._writes += 1
            return self._writes % _EVERY == 1

    def sweep(self, session: Session, now: float) -> None:
        """Count a write, and sweep before it where that is due."""
        if self.is_due():
            self.sweep_now(session, now)

    def sweep_now(self, session: Session, now: float) -> None:
        """Sweep in a transaction of its own. That it fails does no harm: it comes again."""
        try:
            with session.begin():
                session.connection().execute(self._delete, {"now": now})
        except DBAPIError as error:
            log.debug("%s was not rid of what has expired: %s", self._table.name, type(error.orig).__name__)

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self._lock = threading.Lock()
