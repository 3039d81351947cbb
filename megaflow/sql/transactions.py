"""Transactions of an inbox: begun by writing its row, given to a handler that cannot end them, and ended for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Engine, Insert, event, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm import Session

from megaflow.errors import ConfigurationError, UsageError
from megaflow.sql.async_kinds import AsyncConnection, AsyncSession
from megaflow.sql.tables import inbox

_OF_SESSION: Final = ("begin", "commit", "rollback", "close", "invalidate", "reset", "prepare")
_OF_CONNECTION: Final = ("begin", "commit", "rollback", "close", "invalidate", "detach")

_ENDED: Final = (
    "the handler, or what it called, has ended the transaction of its inbox: leave commit() and rollback() to the "
    "inbox, and use begin_nested() for a part that may fail"
)

_FAILED: Final = "megaflow.failed"
"""Under which the info of a connection has whether a statement failed in it."""


class InboxTransaction:
    """The transaction of a *session*, whose first statement writes the *row*. One thread at a time uses it."""

    def __init__(self, session: Session, release: Callable[[], None]) -> None:
        self._session = session
        self._let_go = release
        self._misuse: UsageError | None = None
        self._connection: Connection
        self._root: Any = None
        self._row: Mapping[str, Any] = {}

    def begin(self, statement: Insert, row: Mapping[str, Any]) -> bool:
        """Begin it by a *statement* that writes the *row*, and tell whether that is new; else it is over at once."""
        try:
            self._session.begin()
            self._connection = self._session.connection()
            self._connection.info.pop(_FAILED, None)
            refuse_autocommit(self._connection)
            is_new = self._connection.execute(statement, row).first() is not None
            if is_new:
                self._root, self._row = self._connection.get_transaction(), row
                self._guard()
                return True
        except BaseException:
            self._roll_back()
            raise
        self._roll_back()
        return False

    def give(self, type_: Any) -> Any:
        """See `OpenTransaction.give`."""
        return self._connection if issubclass(type_, Connection) else self._session

    def end(self, *, commit: bool) -> None:
        """See `OpenTransaction.end`."""
        self._unguard()
        if not commit or self._misuse is not None:
            self._roll_back()
            if self._misuse is not None:
                raise self._misuse
            return
        try:
            self._check()
            self._session.commit()
        except BaseException:
            self._roll_back()
            raise
        self._close()

    def _check(self) -> None:
        """Raise where a commit would keep nothing, and say nothing of it.

        PostgreSQL takes ``COMMIT`` for ``ROLLBACK`` where a statement has failed, and SQLite ends the transaction by
        itself for want of room: a handler that went on regardless has to be told.
        """
        current = self._connection.get_transaction()
        if current is None or current is not self._root or not current.is_active:
            raise UsageError(_ENDED)
        if self._connection.info.get(_FAILED):
            key = inbox.primary_key.columns
            row = select(inbox.c.key).where(*(each == self._row[each.name] for each in key))
            if self._connection.execute(row).first() is None:
                raise UsageError(
                    "a statement failed, which ended the transaction of the inbox, and the handler went on: let the "
                    "error go, or use begin_nested() for a part that may fail"
                )
        elif _has_ended(self._connection.connection.driver_connection):
            raise UsageError(_ENDED)

    def _roll_back(self) -> None:
        # What fails here has lost its connection, and the transaction with it: it is no news of the handler.
        try:
            with suppress(Exception):
                self._session.rollback()
        finally:
            with suppress(Exception):
                self._close()

    def _close(self) -> None:
        try:
            self._session.close()
        finally:
            self._let_go()

    def _guard(self) -> None:
        for guarded, names in ((self._session, _OF_SESSION), (self._connection, _OF_CONNECTION)):
            # Some came with a later version than the first.
            for name in filter(partial(hasattr, guarded), names):
                setattr(guarded, name, self._refuse(name, getattr(guarded, name)))

    def _unguard(self) -> None:
        for guarded, names in ((self._session, _OF_SESSION), (self._connection, _OF_CONNECTION)):
            for name in names:
                vars(guarded).pop(name, None)

    def _refuse(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*given: Any, nested: bool = False) -> Any:
            if nested:  # begin_nested() comes this way
                return method(*given, nested=True)
            if name == "invalidate" and given:  # so does SQLAlchemy, with the error by which it lost the connection
                return method(*given)
            remedy = "use begin_nested()" if name == "begin" else "return, and it commits; raise, and it rolls back"
            self._misuse = UsageError(f"{name}() is not the handler's: its inbox has begun the transaction; {remedy}")
            raise self._misuse

        return refuse


class AsyncInboxTransaction:
    """Does what `InboxTransaction` does for an async *session*. One task at a time uses it."""

    def __init__(self, session: AsyncSession, release: Callable[[], None], *, with_connection: bool) -> None:
        self._session = session
        self._with_connection = with_connection
        self._connection: AsyncConnection | None = None
        self._inner = InboxTransaction(session.sync_session, release)

    async def begin(self, statement: Insert, row: Mapping[str, Any]) -> bool:
        """See `InboxTransaction.begin`."""
        is_new = await self._session.run_sync(lambda _: self._inner.begin(statement, row))
        try:
            if is_new and self._with_connection:
                self._connection = await self._session.connection()
        except BaseException:
            await self.aend(commit=False)
            raise
        return is_new

    def give(self, type_: Any) -> Any:
        """See `OpenTransaction.give`."""
        return self._connection if issubclass(type_, AsyncConnection) else self._session

    async def aend(self, *, commit: bool) -> None:
        """See `AsyncOpenTransaction.aend`. Who cancels it waits until it is over."""
        ending = asyncio.ensure_future(self._session.run_sync(lambda _: self._inner.end(commit=commit)))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await asyncio.wait([ending])
            if not ending.cancelled():
                ending.exception()
            raise


def _has_ended(driver: Any) -> bool:
    """Tell whether no transaction is open there, as a driver knows it without asking: behind SQLAlchemy's back."""
    if hasattr(driver, "is_in_transaction"):  # asyncpg
        return not driver.is_in_transaction()
    if hasattr(driver, "in_transaction"):  # sqlite3 and aiosqlite
        return not driver.in_transaction
    # psycopg and psycopg2, where 0 is idle
    return getattr(getattr(driver, "info", None), "transaction_status", None) == 0


def note_failures(engine: Engine) -> None:
    """Let each connection of *engine* know that a statement failed in it."""
    if not event.contains(engine, "handle_error", _note_failure):
        event.listen(engine, "handle_error", _note_failure)


def _note_failure(context: ExceptionContext) -> None:
    connection = context.connection
    if connection is not None and not (context.is_disconnect or connection.closed or connection.invalidated):
        connection.info[_FAILED] = True


def refuse_autocommit(connection: Connection) -> None:
    """Raise `ConfigurationError` where a row would stand that no transaction holds, before it is written."""
    driver, adapted = connection.connection.driver_connection, connection.connection.dbapi_connection
    # SQLite's driver begins where a statement writes, unless it is told not to; then SQLAlchemy may have begun.
    is_told_not_to = getattr(driver, "isolation_level", "") is None or getattr(driver, "autocommit", False) is True
    if connection.dialect.name == "sqlite":
        commits_each = is_told_not_to and not getattr(driver, "in_transaction", False)
    else:
        commits_each = getattr(adapted, "autocommit", False) is True
    if commits_each:
        raise ConfigurationError(
            "an inbox needs transactions, and its engine commits each statement by itself: make an engine without "
            "isolation_level='AUTOCOMMIT' for it"
        )
