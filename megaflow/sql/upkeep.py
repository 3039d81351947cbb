"""Upkeep of an outbox: what stands there, and what becomes of parked rows. Each function is one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, bindparam, case, delete, func, select, update
from sqlalchemy.exc import DBAPIError

from megaflow.errors import ConfigurationError
from megaflow.sql.async_kinds import AsyncEngine
from megaflow.sql.clock import now
from megaflow.sql.engines import explain
from megaflow.sql.relay_rows import PARKED, READY, SCHEDULED
from megaflow.sql.tables import outbox

_T = TypeVar("_T")

_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """A message that AWS refuses."""

    megaflow_id: str
    error: str
    size: int
    age: float


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands in an outbox. Ages are in seconds."""

    waiting: int
    """Rows that may be sent."""

    oldest: float
    """How long the oldest of them has been there; 0 where there is none."""

    scheduled: int
    """Rows that may not be sent yet."""

    parked: int
    shown: Sequence[ParkedRow]
    """The first of those that are parked."""

    error: str = ""
    """Why the first one that waits was not sent when it was tried."""


def look(connection: Connection, name: str) -> Standing:
    """Return what stands in the outbox *name*."""
    values = {"name": name}
    counts = {each.state: each for each in connection.execute(_COUNTS, values)}
    empty = (0, 0.0)
    waiting, oldest = (counts[READY].number, counts[READY].age) if READY in counts else empty
    scheduled, parked = (counts[state].number if state in counts else 0 for state in (SCHEDULED, PARKED))
    shown = [ParkedRow(*row) for row in connection.execute(_SHOWN_ROWS, values)] if parked else []
    return Standing(waiting, oldest, scheduled, parked, shown, connection.execute(_ERROR, values).scalar() or "")


def retry_parked(connection: Connection, name: str, ids: Sequence[str] = ()) -> int:
    """Let parked rows be sent again, all or those with these ids, and return how many that are."""
    return _change(connection, _RETRY, name, ids)


def discard_parked(connection: Connection, name: str, ids: Sequence[str] = ()) -> int:
    """Delete parked rows, all or those with these ids, and return how many that are."""
    return _change(connection, _DISCARD, name, ids)


def cancel(connection: Connection, name: str, id_: str) -> bool:
    """Delete the row with this id, and return whether it was there still, its time not come."""
    return bool(connection.execute(_CANCEL, {"name": name, "id": id_}).rowcount)


def in_transaction(engine: Engine | AsyncEngine, work: Callable[[Connection], _T]) -> _T:
    """Do *work* in a transaction of *engine*, and return what it does; not where an event loop is running.

    Raises `ConfigurationError` where the table is not there, or not as it is to be.
    """
    try:
        if isinstance(engine, Engine):
            with engine.begin() as connection:
                return work(connection)
        return asyncio.run(_in_loop(engine, work))
    except DBAPIError as error:
        if problem := explain(outbox, error):
            raise ConfigurationError(problem) from error
        raise


async def _in_loop(engine: AsyncEngine, work: Callable[[Connection], _T]) -> _T:
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        # Nobody else can use a connection of this event loop.
        await engine.dispose()


def _change(connection: Connection, statement: Any, name: str, ids: Sequence[str]) -> int:
    wanted = statement.where(outbox.c.megaflow_id.in_(ids)) if ids else statement
    return int(connection.execute(wanted, {"name": name}).rowcount)


_OF: Final = outbox.c.outbox == bindparam("name")
_IS_PARKED: Final = outbox.c.state == PARKED
_AGE: Final = now() - outbox.c.created_at
_COUNTS: Final = (
    select(
        outbox.c.state,
        func.count().label("number"),
        func.max(case((_AGE > 0, _AGE), else_=0.0)).label("age"),
    )
    .where(_OF)
    .group_by(outbox.c.state)
)
_SHOWN_ROWS: Final = (
    select(outbox.c.megaflow_id, outbox.c.error, outbox.c.size, _AGE.label("age"))
    .where(_OF, _IS_PARKED)
    .order_by(outbox.c.id)
    .limit(_SHOWN)
)
_ERROR: Final = (
    select(outbox.c.error)
    .where(_OF, outbox.c.state == READY, outbox.c.error.is_not(None))
    .order_by(outbox.c.id)
    .limit(1)
)
_RETRY: Final = (
    update(outbox).where(_OF, _IS_PARKED).values(state=READY, error=None, claimed_by=None, claimed_until=None)
)
_DISCARD: Final = delete(outbox).where(_OF, _IS_PARKED)
_CANCEL: Final = delete(outbox).where(_OF, outbox.c.state == SCHEDULED, outbox.c.megaflow_id == bindparam("id"))
