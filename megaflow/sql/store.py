"""`SqlStore`: progress and idempotency keys in a PostgreSQL or SQLite database, by SQLAlchemy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Delete, Engine, Insert, Row, Select, Update, bindparam, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from megaflow.checks import check_function, check_time, show
from megaflow.errors import ConfigurationError
from megaflow.sql.engines import Tables
from megaflow.sql.sessions import dialect_of
from megaflow.sql.sweeping import Sweeping
from megaflow.sql.tables import keys, progress
from megaflow.sql.texts import storable
from megaflow.stores.store import KEEP_FOR, Claim, ClosableStore, Ended, read_ended


class SqlStore(ClosableStore):
    """Remembers in a PostgreSQL or SQLite database, for as many processes as use it.

    `create_tables` makes its tables; ``megaflow.sql.metadata`` is for migrations. The engine is yours: closing the
    store leaves it as it is.

    Args:
        engine: An ``Engine`` of SQLAlchemy, which need not be for the store alone.
        keep_for: Seconds for which it remembers how a handler ended; 14 days by default, as long as SQS keeps messages.
        clock: Gives the time, in seconds since the epoch.

    Raises:
        ConfigurationError: *engine* is none, or one of a database that is neither PostgreSQL nor SQLite.
    """

    def __init__(self, engine: Engine, *, keep_for: float = KEEP_FOR, clock: Callable[[], float] = time.time) -> None:
        if not isinstance(engine, Engine):
            raise ConfigurationError(
                f"engine={show(engine)} must be an Engine of SQLAlchemy, which is not async: create_engine(url)"
            )
        self._insert = (postgresql if dialect_of(engine) == "postgresql" else sqlite).insert
        check_time("keep_for", keep_for)
        check_function("clock", clock, "() -> seconds", takes=0)
        self._engine = engine
        self._keep_for = keep_for
        self._clock = clock
        self._tables = Tables(engine, [progress, keys], "SqlStore")
        self._sweeping = (Sweeping(progress), Sweeping(keys))
        self._save, self._claim, self._complete = _save(self._insert), _claim(self._insert), _complete(self._insert)

    def create_tables(self) -> None:
        """Make its tables where they are not there."""
        self._tables.create()

    def check(self) -> None:
        """See `Store`."""
        self._tables.check()

    def load(self, work: str) -> Mapping[str, Ended]:
        """See `Store.load`."""
        found = self._execute(_LOAD, {"work": work, "now": self._clock()})
        return {each.handler: read_ended(work, each.status, each.error) for each in found}

    def save(self, work: str, handler: str, ended: Ended) -> None:
        """See `Store.save`."""
        what = {"status": ended.status.value, "error": storable(ended.error)}
        self._write(
            self._save, {"work": work, "handler": handler, **what, "expires_at": self._clock() + self._keep_for}
        )

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        """See `Store.claim`."""
        now = self._clock()
        if self._write(self._claim, {"key": key, "owner": owner, "expires_at": now + seconds, "now": now}):
            return Claim.TAKEN
        found = self._execute(_FIND_OWNER, {"key": key})
        return Claim.DONE if found and found[0].owner is None else Claim.BUSY

    def renew(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.renew`."""
        self._write(_RENEW, {"of_key": key, "of_owner": owner, "expires_at": self._clock() + seconds})

    def complete(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.complete`."""
        self._write(self._complete, {"key": key, "owner": None, "expires_at": self._clock() + seconds})

    def release(self, key: str, owner: str) -> None:
        """See `Store.release`."""
        self._write(_RELEASE, {"of_key": key, "of_owner": owner})

    def _write(self, statement: Insert | Update | Delete, values: Mapping[str, Any]) -> list[Row[Any]]:
        for each in self._sweeping:
            if each.is_due():
                with Session(self._engine) as session:
                    each.sweep_now(session, self._clock())
        return self._execute(statement, values)

    def _execute(self, statement: Select[Any] | Insert | Update | Delete, values: Mapping[str, Any]) -> list[Row[Any]]:
        with self._engine.begin() as connection:
            result = connection.execute(statement, values)
            return list(result.all()) if result.returns_rows else []


_LOAD: Final = select(progress.c.handler, progress.c.status, progress.c.error).where(
    progress.c.work == bindparam("work"), progress.c.expires_at > bindparam("now")
)
_FIND_OWNER: Final = select(keys.c.owner).where(keys.c.key == bindparam("key"))
_IS_OWN: Final = (keys.c.key == bindparam("of_key"), keys.c.owner == bindparam("of_owner"))
_RENEW: Final = update(keys).where(*_IS_OWN).values(expires_at=bindparam("expires_at"))
_RELEASE: Final = delete(keys).where(*_IS_OWN)


def _save(insert: Any) -> Insert:
    statement = insert(progress)
    new = {name: statement.excluded[name] for name in ("status", "error", "expires_at")}
    saved: Insert = statement.on_conflict_do_update(index_elements=list(progress.primary_key.columns), set_=new)
    return saved


def _claim(insert: Any) -> Insert:
    statement = insert(keys)
    new = {"owner": statement.excluded.owner, "expires_at": statement.excluded.expires_at}
    is_free = or_(keys.c.expires_at <= bindparam("now"), keys.c.owner == statement.excluded.owner)
    taken: Insert = statement.on_conflict_do_update(index_elements=[keys.c.key], set_=new, where=is_free).returning(
        keys.c.key
    )
    return taken


def _complete(insert: Any) -> Insert:
    statement = insert(keys)
    new = {"owner": None, "expires_at": statement.excluded.expires_at}
    completed: Insert = statement.on_conflict_do_update(index_elements=[keys.c.key], set_=new)
    return completed
