"""Writing: one row of the outbox into the transaction of a caller, who has a session, a connection, or Django's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Protocol, cast

from sqlalchemy import Connection, Dialect, Engine, Executable, Insert, bindparam, func, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.schema import CreateIndex, CreateTable

from megaflow.checks import show
from megaflow.errors import ConfigurationError, UsageError
from megaflow.sql.async_kinds import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)
from megaflow.sql.clock import now
from megaflow.sql.sessions import dialect_of
from megaflow.sql.tables import outbox

CHANNEL: Final = "megaflow_outbox"
"""Where PostgreSQL notifies of committed rows, with the outbox's name."""

_AUTOCOMMIT: Final = "no transaction is open, as this connection commits each statement by itself: "
_REMEDY: Final = "publish within a transaction, so that the message goes if, and only if, the rest is committed"

_DIALECTS: Final[Mapping[str, Dialect]] = {
    # Django's cursors take %s, whatever the database.
    "postgresql": postgresql.dialect(paramstyle="format"),  # type: ignore[no-untyped-call]
    "sqlite": sqlite.dialect(paramstyle="format"),
}


class DjangoConnection(Protocol):
    """What is asked of ``django.db.connection``."""

    vendor: str
    in_atomic_block: bool

    def cursor(self) -> Any:
        """Return a cursor."""
        ...


def is_django(within: object) -> bool:
    """Tell whether *within* is a connection of Django's."""
    return hasattr(within, "in_atomic_block") and hasattr(within, "vendor")


def write(within: object, row: Mapping[str, object], *, after: float | None, notify: bool) -> None:
    """Write *row* into the transaction *within*; *after* are seconds from now on in which it must not go.

    Raises `UsageError` where there is no transaction, as far as that can be told.
    """
    if isinstance(within, Connection):
        _write(within, row, after, notify)
    elif isinstance(within, Session | scoped_session):
        _write(_connection_of(within), row, after, notify)
    elif is_django(within):
        _write_by_django(cast("DjangoConnection", within), row, after, notify)
    elif isinstance(within, AsyncSession | async_scoped_session | AsyncConnection):
        raise UsageError(f"{type(within).__name__} is to be awaited: await outbox.apublish(…)")
    else:
        raise _refused(within)


async def awrite(within: object, row: Mapping[str, object], *, after: float | None, notify: bool) -> None:
    """Do what `write` does for an AsyncSession or AsyncConnection."""
    if isinstance(within, AsyncSession | async_scoped_session):
        within = await within.connection()
    if not isinstance(within, AsyncConnection):
        if isinstance(within, Connection | Session | scoped_session):
            raise UsageError(f"{type(within).__name__} is not to be awaited: outbox.publish(…)")
        raise _refused(within)
    await within.run_sync(_write, row, after, notify)


def create_tables_by_django(connection: DjangoConnection) -> None:
    """Make the table of the outbox where it is not there."""
    dialect = _dialect_of(connection)
    made = [CreateTable(outbox, if_not_exists=True).compile(dialect=dialect)]
    made += [CreateIndex(index, if_not_exists=True).compile(dialect=dialect) for index in outbox.indexes]
    with connection.cursor() as cursor:
        for statement in map(str, made):
            cursor.execute(statement)


def _refused(within: object) -> UsageError:
    if isinstance(within, Engine | AsyncEngine | sessionmaker | async_sessionmaker):
        return UsageError(f"{show(within)} is in no transaction: give a session of it, or a connection")
    return UsageError(
        f"{show(within)} is no transaction: give a Session or a Connection of SQLAlchemy, or django.db.connection"
    )


def _connection_of(session: Session | scoped_session[Any]) -> Connection:
    try:
        return session.connection()
    except UnboundExecutionError as error:
        raise UsageError(
            "this session has an engine for each table of yours, and none for the outbox's: "
            "give outbox.publish() session.connection(bind_arguments={'mapper': …}) in its place"
        ) from error


def _write(connection: Connection, row: Mapping[str, object], after: float | None, notify: bool) -> None:
    dialect = dialect_of(connection)
    _refuse_autocommit(connection, dialect)
    connection.execute(*_fill(row, after, notify, dialect))


def _write_by_django(
    connection: DjangoConnection, row: Mapping[str, object], after: float | None, notify: bool
) -> None:
    if not connection.in_atomic_block:
        raise UsageError(f"{_AUTOCOMMIT}{_REMEDY}: with transaction.atomic(): …")
    dialect = _dialect_of(connection)
    statement, values = _fill(row, after, notify, dialect.name)
    compiled = cast("Insert", statement).compile(dialect=dialect, column_keys=list(row))
    parameters = compiled.construct_params(values)
    with connection.cursor() as cursor:
        cursor.execute(str(compiled), [parameters[name] for name in compiled.positiontup or ()])


def _dialect_of(connection: DjangoConnection) -> Dialect:
    try:
        return _DIALECTS[connection.vendor]
    except KeyError:
        raise ConfigurationError(
            f"{connection.vendor} is a database that megaflow.sql does not know: it works with postgresql and sqlite"
        ) from None


def _fill(
    row: Mapping[str, object], after: float | None, notify: bool, dialect: str
) -> tuple[Executable, dict[str, object]]:
    """Return the statement that writes *row*, and its values."""
    notifies = notify and dialect == "postgresql" and row["state"] == "ready"
    values = {**row, **({} if after is None else {"seconds": after}), **({"channel": CHANNEL} if notifies else {})}
    return _make_insert(notifies, after is not None), values | ({"of": row["outbox"]} if notifies else {})


@cache
def _make_insert(notifies: bool, is_later: bool) -> Insert:
    made = insert(outbox).inline().values(created_at=now())
    if is_later:
        made = made.values(not_before=now() + bindparam("seconds"))
    # In one statement: whoever listens is told at the commit, and not before.
    return made.returning(func.pg_notify(bindparam("channel"), bindparam("of"))) if notifies else made


def _refuse_autocommit(connection: Connection, dialect: str) -> None:
    options = connection.get_execution_options()
    pooled = connection.connection
    if options.get("isolation_level") == "AUTOCOMMIT" or getattr(pooled.dbapi_connection, "autocommit", None) is True:
        raise UsageError(_AUTOCOMMIT + _REMEDY)
    if dialect == "sqlite":
        _refuse_autocommit_of_sqlite(connection)


def _refuse_autocommit_of_sqlite(connection: Connection) -> None:
    """Refuse a connection that begins no transaction by itself, unless somebody has begun one, as in an event."""
    own: Any = connection.connection.driver_connection
    if own.isolation_level is not None:
        return
    if not connection.in_transaction():
        connection.exec_driver_sql("SELECT 1")
    if not own.in_transaction:
        raise UsageError(_AUTOCOMMIT + _REMEDY)
