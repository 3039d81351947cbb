"""`Inbox`: what handlers do in a database, exactly once, in the transaction that remembers it."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Insert, Interval, String, and_, bindparam, case, cast, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from megaflow.checks import check_function, check_time
from megaflow.errors import KeyBusyError, RegistrationError
from megaflow.forks import renew_in_child
from megaflow.handlers.inboxes import AsyncOpenTransaction, InboxRow, OpenTransaction, Trouble
from megaflow.sql.async_kinds import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker
from megaflow.sql.engines import Tables
from megaflow.sql.failures import is_contention, is_lost
from megaflow.sql.sessions import Source, check_source, engine_of, is_async
from megaflow.sql.sweeping import Sweeping
from megaflow.sql.tables import inbox
from megaflow.sql.texts import storable, storable_key
from megaflow.sql.transactions import AsyncInboxTransaction, InboxTransaction, note_failures, refuse_autocommit

KEEP_FOR: Final = timedelta(days=28)
"""Longer than SQS keeps a message twice: in its queue, and in a dead-letter queue."""


class Inbox:
    """Lets handlers run in a transaction of its own, which remembers that they did: their effects are there once.

    Provide what handlers take by it, and they get it within the transaction:

    ```python
    inbox = Inbox(sessionmaker(engine))
    app.provide(Session, inbox)

    @app.on_data({"type": "order"})
    def charge(order: dict, session: Session) -> None:
        session.add(Charge(order=order["id"]))
    ```

    Its first statement writes a row of queue, handler and key. Where that row stands, the handler has done its work,
    and is not called. The key is the handler's ``idempotency_key``, else the attribute ``megaflow-id``, else the id
    that the message had first. Only `ProcessStatus.DONE` commits.

    `create_tables` makes its table. SQLite lets one transaction write at a time, so one such handler runs at a time.

    Args:
        source: A ``sessionmaker`` or an ``Engine`` of SQLAlchemy, for handlers that take a ``Session`` or a
            ``Connection``; an ``async_sessionmaker`` or ``AsyncEngine`` for an ``AsyncSession`` or ``AsyncConnection``.
        keep_for: How long a row is kept at least, in seconds or as a ``timedelta``; 28 days by default. A message that
            comes again later runs again.
        clock: Gives the time, in seconds since the epoch.

    Raises:
        ConfigurationError: *source* is nothing of the kind, or its database is neither PostgreSQL nor SQLite.
    """

    def __init__(
        self, source: Source, *, keep_for: float | timedelta = KEEP_FOR, clock: Callable[[], float] = time.time
    ) -> None:
        self._is_postgresql = check_source("source", source) == "postgresql"
        seconds = keep_for.total_seconds() if isinstance(keep_for, timedelta) else keep_for
        check_time("keep_for", seconds)
        check_function("clock", clock, "() -> seconds", takes=0)
        self._source = source
        self._clock = clock
        self._keep_for = seconds
        self.is_async: Final = is_async(source)
        """Whether its transactions are awaited."""

        self._session_class: type[Any] = _session_class(source)
        self._with_connection = False
        self._tables = Tables(source, [inbox], "Inbox")
        self._sweeping = Sweeping(inbox)
        self._gate = None if self._is_postgresql else _Gate()
        engine = engine_of(source)
        note_failures(engine if isinstance(engine, Engine) else engine.engine)

    def create_tables(self) -> None:
        """Make its table where it is not there. With an async source, call it where no event loop runs."""
        self._tables.create()

    async def acreate_tables(self) -> None:
        """Make its table where it is not there, by an async source, in this event loop."""
        await self._tables.acreate()

    def check(self) -> None:
        """Find out whether its table can be written in a transaction; raises what `Store.check` does."""
        self._tables.check(refuse_autocommit)

    def check_gives(self, type_: Any) -> None:
        """Raise `RegistrationError` where a handler cannot get *type_* from it."""
        session, connection = (AsyncSession, AsyncConnection) if self.is_async else (Session, Connection)
        if inspect.isclass(type_) and issubclass(type_, connection):
            self._with_connection = True
        elif not (inspect.isclass(type_) and issubclass(type_, session)):
            raise RegistrationError(
                f"an inbox of {type(self._source).__name__} gives a {session.__name__} or a {connection.__name__}, "
                f"and no {getattr(type_, '__qualname__', type_)}"
            )
        elif not issubclass(self._session_class, type_):
            self._narrow(type_)

    def begin(self, row: InboxRow, lock_seconds: float) -> OpenTransaction | None:
        """Begin a transaction, and write *row* there; None is that the row stands."""
        release = _nothing if self._gate is None else self._gate.enter(lock_seconds)
        try:
            session: Session = self._make_session()
            self._sweeping.sweep(session, self._clock())
            transaction = InboxTransaction(session, release)
        except BaseException:
            release()
            raise
        return transaction if transaction.begin(*self._write(row, lock_seconds)) else None

    async def abegin(self, row: InboxRow, lock_seconds: float) -> AsyncOpenTransaction | None:
        """Do what `begin` does, awaited."""
        release = _nothing if self._gate is None else await self._gate.aenter(lock_seconds)
        try:
            session: AsyncSession = self._make_session()
            if self._sweeping.is_due():
                await session.run_sync(self._sweeping.sweep_now, self._clock())
            transaction = AsyncInboxTransaction(session, release, with_connection=self._with_connection)
        except BaseException:
            release()
            raise
        return transaction if await transaction.begin(*self._write(row, lock_seconds)) else None

    def read_error(self, error: BaseException) -> Trouble | None:
        """Return what an error says of the database; None where it may be due to the message."""
        if isinstance(error, KeyBusyError | PoolTimeoutError) or is_contention(error):
            return Trouble.BUSY
        return Trouble.AWAY if is_lost(error) else None

    def _narrow(self, type_: type[Any]) -> None:
        """Make sessions of that *type_* from here on."""
        makes = self._session_class.__qualname__
        if isinstance(self._source, sessionmaker | async_sessionmaker) or not issubclass(type_, self._session_class):
            raise RegistrationError(
                f"the inbox makes sessions of the class {makes}, which is no {type_.__qualname__}: give it "
                f"{type(self._source).__name__}(engine, class_={type_.__qualname__})"
            )
        self._session_class = type_

    def _make_session(self) -> Any:
        if isinstance(self._source, Engine | AsyncEngine):
            return self._session_class(self._source)
        return self._source()

    def _write(self, row: InboxRow, lock_seconds: float) -> tuple[Insert, Mapping[str, Any]]:
        written = {
            "queue": storable(row.queue),
            "handler": storable(row.handler),
            "key": storable_key(row.key),
            "expires_at": self._clock() + self._keep_for,
        }
        if not self._is_postgresql:
            return _WRITE_SQLITE, written
        return _WRITE_POSTGRESQL, written | {"lock_timeout": f"{max(1, round(lock_seconds * 1000))}ms"}


class _Gate:
    """Lets one handler of this process at a time to an SQLite database, in order, where its own waiting has none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        renew_in_child(self)

    def enter(self, seconds: float) -> Callable[[], None]:
        """Wait until nobody else is in, and return what lets the next one in; raise `KeyBusyError` where it is late."""
        if not self._lock.acquire(timeout=seconds):
            raise _late(seconds)
        return _once(self._lock.release)

    async def aenter(self, seconds: float) -> Callable[[], None]:
        """Do what `enter` does, among the tasks of this event loop."""
        lock = self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        try:
            async with asyncio.timeout(seconds):
                await lock.acquire()
        except TimeoutError as error:
            raise _late(seconds) from error
        return _once(lock.release)

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self._lock = threading.Lock()
        self._locks = WeakKeyDictionary()


def _late(seconds: float) -> KeyBusyError:
    return KeyBusyError(f"other handlers have had the SQLite database for {seconds:g} s, which takes one at a time")


def _nothing() -> None:
    """Let nobody in, as nobody waits."""


def _once(release: Callable[[], None]) -> Callable[[], None]:
    """Return what calls *release* the first time."""
    held = [release]
    return lambda: held.pop()() if held else None


def _session_class(source: Source) -> type[Any]:
    if isinstance(source, sessionmaker | async_sessionmaker):
        return source.class_
    return AsyncSession if isinstance(source, AsyncEngine) else Session


def _wait_for_row() -> Any:
    """Return a condition that holds, and sets how long the transaction waits for locks: no longer than it would."""
    ours, own = bindparam("lock_timeout", type_=String), func.current_setting("lock_timeout")
    as_interval = cast(own, Interval)
    is_shorter = and_(as_interval > cast(literal("0", String), Interval), as_interval < cast(ours, Interval))
    return func.set_config("lock_timeout", case((is_shorter, own), else_=ours), True).is_not(None)


_WRITE_SQLITE: Final = sqlite.insert(inbox).on_conflict_do_nothing().returning(inbox.c.key)
_ROW: Final = select(*(bindparam(each.name, type_=each.type) for each in inbox.columns))
_WRITE_POSTGRESQL: Final = (
    postgresql.insert(inbox)
    .from_select([each.name for each in inbox.columns], _ROW.where(_wait_for_row()))
    .on_conflict_do_nothing()
    .returning(inbox.c.key)
)
