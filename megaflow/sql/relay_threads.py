"""A relay in threads: one that decides, one that asks the database, those that call AWS, and one that listens."""

from __future__ import annotations

import queue
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Engine

from megaflow.consumer.threads.signals import stopping_on_signals
from megaflow.errors import describe_error
from megaflow.logs import get_logger
from megaflow.publishing.threads import Threads
from megaflow.sql.relay import Heard, Relay
from megaflow.sql.relay_protocol import Action, Call, Claim, End, Settlement, Wait
from megaflow.sql.writing import CHANNEL

log = get_logger(__name__)

_GLANCE: Final = 0.25
"""Seconds after which whoever listens looks whether it is to end."""

_PAUSE: Final = 1.0
"""Seconds until a connection that broke is made again."""


class ThreadRelay:
    """Carries out what *relay* decides, with the database of *engine*; with *listens*, it is woken by it."""

    def __init__(self, relay: Relay, engine: Engine, *, listens: bool) -> None:
        self.relay: Final = relay
        self._engine = engine
        self._listens = listens
        self._database = Threads(1)
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()

    def run(self) -> None:
        """Send until `stop`, or in the main thread SIGTERM or SIGINT; a second one waits for nothing."""
        with self._hearing_signals(), self._listening(), self.relay, self._database:
            while not isinstance(action := self.relay.core.decide(time.monotonic()), End):
                self._carry_out(action)

    def stop(self, *, now: bool = False) -> None:
        """End `run`, or the next one; may be called from any thread, and from signal handlers."""
        self._heard.put(partial(self.relay.stop, now))

    def _hearing_signals(self) -> AbstractContextManager[None]:
        # Nothing else can; what SIGTERM ends in the middle is done by another relay.
        is_main = threading.current_thread() is threading.main_thread()
        return stopping_on_signals(lambda again: self.stop(now=again)) if is_main else nullcontext()

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, Call):
            self.relay.send(action, self._heard.put)
        elif isinstance(action, Claim | Settlement):
            answer = self._database.submit(self._in_transaction, self.relay.asking(action))
            answer.add_done_callback(lambda done: self._heard.put(partial(self.relay.note_asked, action, done)))
        elif isinstance(action, Wait):
            self._wait(action)

    def _in_transaction(self, work: Callable[[Connection], Any]) -> Any:
        with self._engine.begin() as connection:
            return work(connection)

    def _wait(self, action: Wait) -> None:
        """Tell the core what there is to be heard, as soon as there is something."""
        with suppress(queue.Empty):
            heard = self._heard.get(timeout=action.seconds)
            while True:
                heard(time.monotonic())
                heard = self._heard.get_nowait()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        hear = _LISTENERS.get((self._engine.dialect.name, self._engine.dialect.driver)) if self._listens else None
        if hear is None:
            yield
            return
        ended = threading.Event()
        arguments = (self._engine, partial(self._wake, self.relay.name), hear, ended)
        thread = threading.Thread(target=_listen, args=arguments, name="megaflow-relay-listener", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _wake(self, name: str, told: str) -> None:
        if told in ("", name):
            self._heard.put(self.relay.core.wake)


Hear = Callable[[Any, Callable[[str], None], threading.Event], None]


def _listen(engine: Engine, wake: Callable[[str], None], hear: Hear, ended: threading.Event) -> None:
    """Call *wake* for what PostgreSQL notifies of, until it has *ended*, whatever becomes of the connection."""
    while not ended.is_set():
        try:
            with engine.connect() as connection:
                own: Any = connection.connection.driver_connection
                # It is none of the pool's from here on.
                connection.detach()
                own.autocommit = True
                with closing(own.cursor()) as cursor:
                    cursor.execute(f"LISTEN {CHANNEL}")
                # What was committed before is not told.
                wake("")
                hear(own, wake, ended)
        except Exception as error:  # noqa: BLE001 - it is polled meanwhile, and the relay says what is wrong
            log.debug("nobody listens for what is committed: %s", describe_error(error))
            ended.wait(_PAUSE)


def _hear_psycopg(own: Any, wake: Callable[[str], None], ended: threading.Event) -> None:
    while not ended.is_set():
        for notify in own.notifies(timeout=_GLANCE):
            wake(notify.payload)


def _hear_psycopg2(own: Any, wake: Callable[[str], None], ended: threading.Event) -> None:
    while not ended.is_set():
        if select.select([own], [], [], _GLANCE)[0]:
            own.poll()
        while own.notifies:
            wake(own.notifies.pop(0).payload)


_LISTENERS: Final[dict[tuple[str, str], Hear]] = {
    ("postgresql", "psycopg"): _hear_psycopg,
    ("postgresql", "psycopg2"): _hear_psycopg2,
}
"""By dialect and driver. With another one, the table is looked at twice a second."""
