"""`Outbox`: messages that are published in the transaction of a caller, and sent by a relay once it is committed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol, Unpack, cast

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import DBAPIError

from megaflow import limits
from megaflow.checks import check_flag, check_seconds, refused, show
from megaflow.consumer.core.health import Health
from megaflow.errors import ConfigurationError, EncodeError, UsageError
from megaflow.keywords import check_options
from megaflow.messages.identity import ID_ATTRIBUTE
from megaflow.publishing.destination import Destination
from megaflow.publishing.later import encode_for, is_fifo, name_destination, store_for, write_options
from megaflow.publishing.outgoing import Outgoing, Prepared, PublishOptions
from megaflow.publishing.publisher import Publisher
from megaflow.publishing.scheduling import Scheduled
from megaflow.sql.async_kinds import AsyncConnection, AsyncEngine
from megaflow.sql.engines import Tables
from megaflow.sql.relay import Relay, Sender
from megaflow.sql.relay_asyncio import LoopRelay
from megaflow.sql.relay_core import CLAIM
from megaflow.sql.relay_rows import READY, SCHEDULED
from megaflow.sql.relay_runs import RelayRuns
from megaflow.sql.relay_threads import ThreadRelay
from megaflow.sql.sessions import dialect_of, refuse_waiting_for_itself
from megaflow.sql.tables import outbox as table
from megaflow.sql.upkeep import cancel, in_transaction
from megaflow.sql.writing import DjangoConnection, awrite, create_tables_by_django, is_django, write


class PublishesByDestination(Protocol):
    """An app: `_destination` says where it publishes to, as it is connected now."""

    _destination: Destination


class Outbox:
    """Publishes messages in your own transaction: they go if it is committed, and never if it is rolled back.

    A relay sends what is committed: `relay`, ``app.run(relay=outbox)``, or ``megaflow relay module:outbox``. There may
    be as many as you like. May be used from any thread.

    Args:
        publisher: The app, or the publisher, that says where messages go.
        engine: The engine that relays use, sync or async. It may be given to `relay` instead.
        name: Tells apart several outboxes of one database: give each queue or topic an outbox of its own name. What
            others have written under its name, for another queue, waits and is said by `health`.
        notify: Wake relays by PostgreSQL's NOTIFY. Without it, and on SQLite, they look twice a second. Turn it off
            behind PgBouncer, or where very many transactions commit at once, which it makes wait for each other.
        claim_seconds: How long a relay has what it has claimed. So long waits what a killed one was about to send. A
            call begins in the first half of it, and is given up at its end.

    Raises:
        ConfigurationError: A value cannot work.
    """

    def __init__(
        self,
        publisher: Publisher | PublishesByDestination,
        engine: Engine | AsyncEngine | None = None,
        name: str = "default",
        *,
        notify: bool = True,
        claim_seconds: float = CLAIM,
    ) -> None:
        if not isinstance(publisher, Publisher) and not isinstance(_destination_of(publisher), Destination):
            raise refused("publisher", publisher, "an App, an SqsPublisher or an SnsPublisher")
        if not isinstance(name, str) or not name:
            raise refused("name", name, "text that is not empty")
        check_flag("notify", notify)
        self._given = publisher
        self.engine: Final = None if engine is None else _check_engine(engine)
        """The engine that relays use, where you gave one."""

        self.name: Final = name
        """What tells it apart from others in the same database."""

        # So that a child that was forked has connections of its own.
        self._tables = None if engine is None else Tables(engine, [table], "Outbox")
        self._notifies = notify
        check_seconds("claim_seconds", claim_seconds, lowest=1)
        self._claim_seconds = claim_seconds
        self._runs = RelayRuns()
        if not isinstance(publisher, Publisher) and engine is not None:
            scheduling = _destination_of(publisher).scheduling
            scheduling.later = scheduling.later or self

    def create_tables(self, engine: Engine | Connection | DjangoConnection | None = None) -> None:
        """Make the table where it is not there, with *engine*, or with ``django.db.connection``.

        Without one, it is made by the outbox's own engine. `metadata` has the table for Alembic.
        """
        given = self.engine if engine is None else engine
        if is_django(given):
            create_tables_by_django(cast("DjangoConnection", given))
        elif isinstance(given, Engine | Connection):
            dialect_of(given)
            try:
                table.create(given, checkfirst=True)
            except DBAPIError:
                # Another process may have made it at the same moment; a transaction has failed with it.
                if isinstance(given, Connection) or not inspect(given).has_table(table.name):
                    raise
        elif isinstance(given, AsyncEngine | AsyncConnection):
            raise UsageError(f"{type(given).__name__} is to be awaited: await outbox.acreate_tables(engine)")
        else:
            raise refused("engine", given, "an Engine of SQLAlchemy, or django.db.connection")

    async def acreate_tables(self, engine: AsyncEngine | None = None) -> None:
        """Do what `create_tables` does with an AsyncEngine."""
        given = _check_engine(self.engine if engine is None else engine)
        if not isinstance(given, AsyncEngine):
            raise UsageError("Engine is not to be awaited: outbox.create_tables(engine)")
        try:
            async with given.begin() as connection:
                await connection.run_sync(self.create_tables)
        except DBAPIError:
            async with given.connect() as connection:
                if not await connection.run_sync(lambda made: inspect(made).has_table(table.name)):
                    raise

    def publish(
        self,
        within: object,
        payload: Any,
        *,
        not_before: datetime | timedelta | None = None,
        **options: Unpack[PublishOptions],
    ) -> str:
        """Write a message into the transaction that is open *within*, and return its ``megaflow-id``.

        It is encoded and checked here, so that it can be sent once the transaction is committed. Its id, a random UUID,
        travels as the attribute ``megaflow-id``, one of the ten that a message can have, and is the deduplication id on
        FIFO, unless you give one.

        Args:
            within: A Session or a Connection of SQLAlchemy, or ``django.db.connection`` in ``transaction.atomic()``.
            payload: A `Payload`, a dict, text, bytes, a pydantic model or a dataclass.
            not_before: When it is to be sent, never earlier: a time with its zone, or how long from now. In its message
                group, it has its place by then.
            options: Each as in `Outgoing`.

        Raises:
            EncodeError: AWS would refuse the message. Nothing was written.
            PublishError: A large payload could not be put elsewhere. Nothing was written.
            UsageError: No transaction is open, as far as that can be told.
        """
        check_options(self.publish, options, PublishOptions)
        publisher = self._find_publisher()
        message, row, after = self._encode(publisher, Outgoing(payload, **options), not_before)
        store_for(publisher, message)
        write(within, row, after=after, notify=self._notifies)
        return str(row["megaflow_id"])

    async def apublish(
        self,
        within: object,
        payload: Any,
        *,
        not_before: datetime | timedelta | None = None,
        **options: Unpack[PublishOptions],
    ) -> str:
        """Do what `publish` does within an AsyncSession, an async_scoped_session or an AsyncConnection."""
        check_options(self.apublish, options, PublishOptions)
        publisher = self._find_publisher()
        message, row, after = self._encode(publisher, Outgoing(payload, **options), not_before)
        if message.offloaded is not None:
            await asyncio.to_thread(store_for, publisher, message)
        await awrite(within, row, after=after, notify=self._notifies)
        return str(row["megaflow_id"])

    def schedule(self, payload: Any, not_before: datetime | timedelta, options: PublishOptions) -> Scheduled:
        """Do what `publish` does in a transaction of its own, for `App.schedule`."""
        if not isinstance(self.engine, Engine):
            raise UsageError(
                "an outbox schedules by an Engine, and this one has none: within your own transaction it is "
                "await outbox.apublish(session, payload, not_before=…)"
            )
        engine = self.engine
        refuse_waiting_for_itself(engine)
        with engine.begin() as connection:
            id_ = self.publish(connection, payload, not_before=not_before, **options)
        return Scheduled(id_, lambda: in_transaction(engine, partial(cancel, name=self.name, id_=id_)))

    def relay(self, engine: Engine | AsyncEngine | None = None) -> None:
        """Send what is committed until `stop`, or in the main thread SIGTERM or SIGINT.

        It then waits for the calls that are under way; a second signal does not. Where the database or AWS is away, it
        tries again for ever, and `health` says so.

        Raises:
            ConfigurationError: There is no engine, the table is not there, or the outbox cannot send anywhere.
            UsageError: An event loop is running: there, await `arelay`.
        """
        given = self._check_for_relay(engine)
        _refuse_event_loop()
        if isinstance(given, AsyncEngine):
            asyncio.run(self._relay_in_loop_of_its_own(given))
            return
        relay = ThreadRelay(self._make_relay(), given, listens=self._notifies)
        with self._runs.running(relay):
            relay.run()

    async def arelay(self, engine: AsyncEngine | None = None) -> None:
        """Do what `relay` does in the running event loop, with an AsyncEngine; it ends with `stop`, or its task.

        A task that is cancelled waits for the calls that are under way, unless it is cancelled again.
        """
        given = self._check_for_relay(engine)
        if not isinstance(given, AsyncEngine):
            raise UsageError("arelay() needs an AsyncEngine: run relay() in a thread, or give one")
        relay = LoopRelay(self._make_relay(), given, listens=self._notifies)
        with self._runs.running(relay):
            await relay.run()

    async def _relay_in_loop_of_its_own(self, given: AsyncEngine) -> None:
        """Do what `arelay` does, by connections of its own: those of another event loop cannot be used here."""
        beneath = given.sync_engine
        own = AsyncEngine(Engine(beneath.pool.recreate(), beneath.dialect, beneath.url))
        try:
            await self.arelay(own)
        finally:
            await own.dispose()

    def stop(self, *, now: bool = False) -> None:
        """End every `relay` of this process, as SIGTERM does; with *now*, as a second one does.

        May be called from any thread. Where none runs, the next one ends at once.
        """
        self._runs.stop(now=now)

    def health(self) -> Health:
        """Return how the relay of this process is, and what is wrong. May be called from any thread."""
        return self._runs.health()

    def _encode(
        self, publisher: Publisher, source: Outgoing, not_before: datetime | timedelta | None
    ) -> tuple[Prepared, Mapping[str, object], float | None]:
        """Return a message with its row, and the seconds from now on in which it must not go."""
        id_ = str(uuid.uuid4())
        message = encode_for(publisher, _identified(source, id_, has_groups=is_fifo(publisher)))
        at, after = _read_time(not_before)
        destination = name_destination(publisher)
        group = f"{destination} {source.group_id}" if is_fifo(publisher) else ""
        row: dict[str, object] = {
            "outbox": self.name,
            "state": READY if not_before is None else SCHEDULED,
            "group_key": group,
            "destination": destination,
            "megaflow_id": id_,
            "body": message.body,
            "options": write_options(message),
            "size": message.size,
        }
        return message, row | ({} if at is None else {"not_before": at}), after

    def _find_publisher(self) -> Publisher:
        """Return where messages go now."""
        given = self._given
        return given if isinstance(given, Publisher) else _destination_of(given).publisher

    def _find_publisher_of(self, destination: str) -> Publisher:
        """Return where rows of *destination* go, which may not be where messages go now."""
        given = self._given
        kind, _, _ = destination.partition(" ")
        found: Publisher = given if isinstance(given, Publisher) else getattr(_destination_of(given), kind)
        if (own := name_destination(found)) != destination:
            raise ConfigurationError(
                f"outbox {self.name} has messages for the {destination}, and publishes to the {own}: give each outbox "
                "of a database a name of its own, Outbox(…, name=…)"
            )
        return found

    def _check_for_relay(self, engine: Engine | AsyncEngine | None) -> Engine | AsyncEngine:
        given = self.engine if engine is None else engine
        if given is None:
            raise ConfigurationError(f"outbox {self.name} has no engine: Outbox(publisher, engine), or relay(engine)")
        # So that whoever starts it sees at once what is missing.
        self._find_publisher()
        return _check_engine(given)

    def _make_relay(self) -> Relay:
        return Relay(self.name, Sender(self._find_publisher_of, self._find_publisher), seconds=self._claim_seconds)


def _identified(source: Outgoing, id_: str, *, has_groups: bool) -> Outgoing:
    """Return *source* with its id, in place of one that came along from another message."""
    attributes = {name: each for name, each in (source.attributes or {}).items() if name != ID_ATTRIBUTE}
    if len(attributes) >= limits.MESSAGE_ATTRIBUTES:
        raise EncodeError(
            f"{len(attributes)} message attributes leave no place for {ID_ATTRIBUTE}, which the outbox adds: "
            f"give {limits.MESSAGE_ATTRIBUTES - 1} at most",
            "attributes",
        )
    deduplication_id = source.deduplication_id or (id_ if has_groups else "")
    return replace(source, attributes={ID_ATTRIBUTE: id_, **attributes}, deduplication_id=deduplication_id)


def _read_time(not_before: datetime | timedelta | None) -> tuple[float | None, float | None]:
    """Return the time in seconds of the epoch, or the seconds from now on; None twice where it may go at once."""
    if not_before is None:
        return None, None
    if isinstance(not_before, timedelta):
        return None, max(0.0, not_before.total_seconds())
    if not isinstance(not_before, datetime):
        raise EncodeError(f"{show(not_before)} is neither a datetime nor a timedelta", "not_before")
    if not_before.tzinfo is None:
        raise EncodeError(f"{show(not_before)} has no time zone: datetime.now(UTC) + … has one", "not_before")
    return not_before.timestamp(), None


def _destination_of(app: object) -> Destination:
    found: Destination = getattr(app, "_destination", None)  # type: ignore[assignment]
    return found


def _check_engine(engine: object) -> Engine | AsyncEngine:
    if not isinstance(engine, Engine | AsyncEngine):
        raise refused("engine", engine, "an Engine or an AsyncEngine of SQLAlchemy")
    dialect_of(engine.sync_engine if isinstance(engine, AsyncEngine) else engine)
    return engine


def _refuse_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError("relay() would hold up the running event loop: await arelay(), or call relay() in a thread")
