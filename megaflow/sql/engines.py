"""Engines: their tables made, and asked for, by whichever kind of engine; and what of them a forked child gets."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

from sqlalchemy import Connection, Double, Engine, Table, delete, insert
from sqlalchemy.exc import DBAPIError, ProgrammingError

from megaflow.errors import ConfigurationError, UsageError, describe_error
from megaflow.forks import close_before_fork, renew_in_child
from megaflow.sql.async_kinds import AsyncEngine
from megaflow.sql.failures import state_of
from megaflow.sql.sessions import Source, engine_of, is_async
from megaflow.stores.store import CHECK

Do: TypeAlias = Callable[[Connection], None]

_MISSING: Final = frozenset({"42P01", "42703"})
"""A table, or a column of it, that is not there."""

_SAID_OF_MISSING: Final = ("no such table", "no such column", "has no column")
"""What SQLite says of it, which has no code of its own for this."""

_IN_MEMORY: Final = (None, "", ":memory:")


class Tables:
    """Some of the tables, in the database of *source*. May be used from any thread.

    A child that was forked has connections of its own: those that lie idle are closed before, as an SQLite database may
    not be open across a fork, and those that are in use are the parent's alone.
    """

    def __init__(self, source: Source, tables: Sequence[Table], who: str) -> None:
        self._engine = engine_of(source)
        self._is_async = is_async(source)
        self._tables = tables
        self._who = who
        if isinstance(self._engine, Engine) and not _is_in_memory(self._engine):
            renew_in_child(self)
            if not self._is_async:
                close_before_fork(self)

    def create(self) -> None:
        """Make them where they are not there; where the source is async, in an event loop of its own."""
        for table in self._tables:
            try:
                self._run(partial(table.create, checkfirst=True))
            except DBAPIError:
                # Another process may have made it at the same moment.
                self._run(partial(self._ask_for, table))

    async def acreate(self) -> None:
        """Make them where they are not there, in this event loop."""
        engine = AsyncEngine(self._async_engine())
        for table in self._tables:
            try:
                await _arun_in(engine, partial(table.create, checkfirst=True))
            except DBAPIError:
                await _arun_in(engine, partial(self._ask_for, table))

    def check(self, also: Do | None = None) -> None:
        """Find out whether they are there; raise `ConfigurationError` where they are not. Within it, do *also*."""
        self._run(partial(self._ask, also=also))

    def dispose(self) -> None:
        """Close the connections that lie idle."""
        if isinstance(self._engine, Engine) and not self._is_async and not _is_in_memory(self._engine):
            self._engine.dispose()

    def _before_fork(self) -> None:
        """See `megaflow.forks`."""
        self.dispose()

    def _after_fork(self) -> None:
        """See `megaflow.forks`."""

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        if isinstance(self._engine, Engine):
            self._engine.dispose(close=False)

    def _ask(self, connection: Connection, also: Do | None) -> None:
        for table in self._tables:
            self._ask_for(table, connection)
        if also is not None:
            also(connection)

    def _ask_for(self, table: Table, connection: Connection) -> None:
        name = f"{CHECK} {uuid.uuid4()}"
        entry = {each.name: 0.0 if isinstance(each.type, Double) else name for each in table.columns}
        try:
            # As one transaction: nobody sees it.
            connection.execute(insert(table).values(entry))
            connection.execute(delete(table).where(*(table.c[each] == entry[each] for each in entry)))
        except DBAPIError as error:
            problem = explain(table, error)
            if not problem:
                raise
            raise ConfigurationError(f"{self._who}: {problem} ({describe_error(error)})") from error

    def _run(self, what: Do) -> None:
        if self._is_async:
            _refuse_event_loop()
            asyncio.run(self._arun(what))
        elif isinstance(self._engine, Connection):
            what(self._engine)
        else:
            with self._engine.begin() as connection:
                what(connection)

    async def _arun(self, what: Do) -> None:
        # Connections belong to the event loop that made them: this one has some of its own, and closes them.
        shared = self._async_engine()
        own = shared if _is_in_memory(shared) else Engine(shared.pool.recreate(), shared.dialect, shared.url)
        engine = AsyncEngine(own)
        try:
            await _arun_in(engine, what)
        finally:
            if own is not shared:
                await engine.dispose()

    def _async_engine(self) -> Engine:
        if not isinstance(self._engine, Engine):
            raise UsageError(f"{self._who} is bound to a connection, and not to an engine: make its tables there")
        return self._engine


async def _arun_in(engine: AsyncEngine, what: Do) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(what)


def explain(table: Table, error: DBAPIError) -> str:
    """Say what somebody has to change, or ``""`` where it may pass by itself."""
    said = str(error.orig)
    if state_of(error.orig) in _MISSING or any(each in said for each in _SAID_OF_MISSING):
        return (
            f"the table {table.name} is not there, or not as it is to be: call create_tables(), or let your migrations "
            "make what megaflow.sql.metadata says"
        )
    if isinstance(error, ProgrammingError) or "readonly database" in said:
        return f"the table {table.name} cannot be written: check what the user of the database may do"
    return ""


def _is_in_memory(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite" and engine.url.database in _IN_MEMORY


def _refuse_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError("this cannot wait inside a running event loop: await acreate_tables()")
