"""A relay in an event loop: the database is asked there, and AWS is called in threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from megaflow.errors import describe_error
from megaflow.logs import get_logger
from megaflow.sql.async_kinds import AsyncEngine
from megaflow.sql.relay import Heard, Relay
from megaflow.sql.relay_protocol import Action, Call, Claim, End, Settlement, Wait
from megaflow.sql.writing import CHANNEL

log = get_logger(__name__)

_GLANCE: Final = 0.25
"""Seconds after which a connection that listens is looked at, and after which one that broke is made again."""


class LoopRelay:
    """Carries out what *relay* decides in the event loop that is running, with the database of *engine*.

    With *listens*, it is woken by it.
    """

    def __init__(self, relay: Relay, engine: AsyncEngine, *, listens: bool) -> None:
        self.relay: Final = relay
        self._engine = engine
        self._listens = listens
        self._heard: asyncio.Queue[Heard] = asyncio.Queue()
        self._asking: asyncio.Task[Any] | None = None
        """What the database is asked."""

        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Send until `stop`, or until its task is cancelled: it waits for what is under way, unless it is again."""
        async with self._listening():
            running = asyncio.create_task(self._run())
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                self.stop()
                await running
                raise

    def stop(self, *, now: bool = False) -> None:
        """End `run`; may be called from any thread."""
        self._put(partial(self.relay.stop, now))

    async def _run(self) -> None:
        with self.relay:
            try:
                while not isinstance(action := self.relay.core.decide(time.monotonic()), End):
                    await self._carry_out(action)
            finally:
                if self._asking is not None:
                    await asyncio.gather(self._asking, return_exceptions=True)

    async def _carry_out(self, action: Action) -> None:
        if isinstance(action, Call):
            self.relay.send(action, self._put)
        elif isinstance(action, Claim | Settlement):
            self._asking = asyncio.create_task(self._in_transaction(self.relay.asking(action)))
            self._asking.add_done_callback(
                lambda done: self._heard.put_nowait(partial(self.relay.note_asked, action, done))
            )
        elif isinstance(action, Wait):
            await self._wait(action)

    def _put(self, heard: Heard) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody wants to know
            self._loop.call_soon_threadsafe(self._heard.put_nowait, heard)

    async def _in_transaction(self, work: Callable[[Connection], Any]) -> Any:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def _wait(self, action: Wait) -> None:
        """Tell the core what there is to be heard, as soon as there is something."""
        with suppress(TimeoutError):
            async with asyncio.timeout(action.seconds):
                heard = await self._heard.get()
            heard(time.monotonic())
        while not self._heard.empty():
            self._heard.get_nowait()(time.monotonic())

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        hear = _LISTENERS.get((self._engine.dialect.name, self._engine.dialect.driver)) if self._listens else None
        if hear is None:
            yield
            return
        ended = asyncio.Event()
        task = asyncio.create_task(self._listen(hear, ended))
        try:
            yield
        finally:
            # Not cancelled: psycopg would ask the server to cancel what it waits for.
            ended.set()
            await task

    async def _listen(self, hear: Hear, ended: asyncio.Event) -> None:
        """Look at the table for what PostgreSQL notifies of, whatever becomes of the connection."""
        while not ended.is_set():
            try:
                async with self._engine.connect() as connection:
                    own = (await connection.get_raw_connection()).driver_connection
                    # It is none of the pool's from here on.
                    await connection.run_sync(lambda beneath: beneath.detach())
                    await self._hear_by(own, hear, ended)
            except Exception as error:  # noqa: BLE001 - it is polled meanwhile, and the relay says what is wrong
                log.debug("nobody listens for what is committed: %s", describe_error(error))
                await _wait_for(ended)

    async def _hear_by(self, own: Any, hear: Hear, ended: asyncio.Event) -> None:
        try:
            await hear(own, self._wake, ended)
        finally:
            await own.close()

    def _wake(self, told: str) -> None:
        if told in ("", self.relay.name):
            self._heard.put_nowait(self.relay.core.wake)


Hear = Callable[[Any, Callable[[str], None], asyncio.Event], Any]


async def _wait_for(ended: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_GLANCE):
            await ended.wait()


async def _hear_asyncpg(own: Any, wake: Callable[[str], None], ended: asyncio.Event) -> None:
    await own.add_listener(CHANNEL, lambda connection, pid, channel, told: wake(told))
    # What was committed before is not told.
    wake("")
    while not (ended.is_set() or own.is_closed()):
        await _wait_for(ended)


async def _hear_psycopg(own: Any, wake: Callable[[str], None], ended: asyncio.Event) -> None:
    await own.set_autocommit(True)
    await own.execute(f"LISTEN {CHANNEL}")
    wake("")
    while not ended.is_set():
        async for notify in own.notifies(timeout=_GLANCE):
            wake(notify.payload)


_LISTENERS: Final[dict[tuple[str, str], Hear]] = {
    ("postgresql", "asyncpg"): _hear_asyncpg,
    ("postgresql", "psycopg"): _hear_psycopg,
    ("postgresql", "psycopg_async"): _hear_psycopg,
}
"""By dialect and driver. With another one, the table is looked at twice a second."""
