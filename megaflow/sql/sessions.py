"""Sessions: SQLAlchemy's engines, connections, sessions and their makers, told apart, and what lies beneath them."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias, get_args

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Session, sessionmaker

from megaflow.checks import show
from megaflow.errors import ConfigurationError, UsageError
from megaflow.handlers.inboxes import open_transactions
from megaflow.sql.async_kinds import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker

DialectName: TypeAlias = Literal["postgresql", "sqlite"]
"""The databases that are known here."""

Source: TypeAlias = "Engine | AsyncEngine | sessionmaker[Any] | async_sessionmaker[Any]"
"""What opens transactions."""

Transaction: TypeAlias = Connection | AsyncConnection | Session | AsyncSession
"""Within which a transaction is, or begins."""

SOURCES: Final = (Engine, AsyncEngine, sessionmaker, async_sessionmaker)
ASYNC_SOURCES: Final = (AsyncEngine, async_sessionmaker)
ASYNC_TRANSACTIONS: Final = (AsyncConnection, AsyncSession)


def check_source(name: str, source: object) -> DialectName:
    """Return the dialect of *source*, given as *name*; raise `ConfigurationError` for what opens no transactions."""
    if not isinstance(source, SOURCES):
        raise ConfigurationError(
            f"{name}={show(source)} must be an Engine, a sessionmaker, or an AsyncEngine or async_sessionmaker "
            "of SQLAlchemy"
        )
    return dialect_of(engine_of(source))


def is_async(source: object) -> bool:
    """Tell whether what comes of *source* has to be awaited."""
    return isinstance(source, ASYNC_SOURCES + ASYNC_TRANSACTIONS)


def engine_of(source: Source) -> Engine | Connection:
    """Return what is beneath *source*, not async in itself: a sessionmaker may be bound to one connection alone."""
    if isinstance(source, Engine):
        return source
    if isinstance(source, AsyncEngine):
        return source.sync_engine
    try:
        made = source()
        session = made.sync_session if isinstance(made, AsyncSession) else made
        bind: Engine | Connection = session.get_bind()
    except UnboundExecutionError as error:
        raise ConfigurationError(f"{show(source)} knows no engine: give it one, sessionmaker(engine)") from error
    return bind


def dialect_of(within: Engine | Connection) -> DialectName:
    """Return whose SQL is spoken there; raise `ConfigurationError` for a database that is not known here."""
    name: Any = within.dialect.name
    if name not in get_args(DialectName):
        raise ConfigurationError(
            f"{name} is a database that megaflow.sql does not know: it works with {' and '.join(get_args(DialectName))}"
        )
    known: DialectName = name
    return known


def refuse_waiting_for_itself(engine: Engine) -> None:
    """Raise `UsageError` for a transaction of SQLite beside that of the handler here: one at a time can write."""
    if engine.dialect.name != "sqlite":
        return
    for transaction in open_transactions.get().values():
        within = transaction.give(Connection)
        bind = within if isinstance(within, Connection) else within.get_bind()
        if bind.dialect.name == "sqlite" and bind.engine.url.database == engine.url.database:
            raise UsageError(
                "a message scheduled here would wait for the transaction of its own handler, as SQLite lets one write "
                "at a time: outbox.publish(session, payload, not_before=…) makes it a part of that"
            )
