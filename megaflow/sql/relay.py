"""A relay: what its drivers share, in threads and in an event loop. Each carries out what the core decides."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from megaflow import limits
from megaflow.backoff import exponential_backoff
from megaflow.consumer.core.health import Health
from megaflow.errors import ConfigurationError
from megaflow.logs import get_logger
from megaflow.publishing.batches import EntryAnswer, read_error
from megaflow.publishing.later import begin_batch, count_answers, count_parked, max_size_of, tell_age, wants_age
from megaflow.publishing.publisher import Publisher
from megaflow.publishing.threads import Threads
from megaflow.sql.engines import explain
from megaflow.sql.relay_core import CLAIM, IN_FLIGHT, RelayCore
from megaflow.sql.relay_protocol import Call, Claim, Row, Settlement
from megaflow.sql.relay_rows import Claimant, claim, settle
from megaflow.sql.tables import outbox

log = get_logger(__name__)

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0

Heard: TypeAlias = Callable[[float], None]
"""What the core is to be told, with the time."""

Answer: TypeAlias = "Future[list[Row] | None] | asyncio.Future[list[Row] | None]"
"""What becomes of what the database is asked, once it is there."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends calls to the destinations of an outbox, in threads; *find* returns the publisher of a destination."""

    find: Callable[[str], Publisher]
    find_any: Callable[[], Publisher]
    """Returns where messages go now: its metrics are told how the outbox is."""

    threads: Threads = field(default_factory=lambda: Threads(IN_FLIGHT))

    def max_size_of(self, destination: str) -> int:
        """Return the bytes that a call may have; the fewest where there is nowhere to send to, as the call says."""
        try:
            return max_size_of(self.find(destination))
        except ConfigurationError:
            return limits.SNS_MESSAGE_SIZE

    def begin(self, call: Call) -> Future[list[EntryAnswer]]:
        """Begin *call*; its future has what was said of each row, or the error."""
        return self.threads.submit(self._send, call)

    def _send(self, call: Call) -> list[EntryAnswer]:
        publisher = self.find(call.destination)
        try:
            answers = begin_batch(publisher, [row.message for row in call.rows], call.until).result()
        except Exception as error:
            if not isinstance(error, ConfigurationError):
                count_answers(publisher, [read_error(error)] * len(call.rows))
            raise
        count_answers(publisher, answers)
        return answers


class Relay:
    """Sends what is committed to an outbox, beside as many others as there are. *name* is that of the outbox.

    A driver calls `tell` for what it has heard, in its own thread, and carries out what the core decides.
    """

    def __init__(self, name: str, sender: Sender, *, seconds: float = CLAIM) -> None:
        self.name: Final = name
        self.core: Final = RelayCore(
            sender.max_size_of, backoff=exponential_backoff(first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
        )
        self._sender = sender
        self._claimant = Claimant(uuid.uuid4().hex, name, seconds)
        self._said: Mapping[str, str] = {}
        self._is_stopping = self._has_claimed = False

    def __enter__(self) -> Self:
        """Begin to relay."""
        log.info("outbox %s: what is committed is sent from here", self.name)
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads."""
        self._sender.threads.shutdown()

    def health(self) -> Health:
        """Return how it is; may be called from any thread."""
        problems = tuple(f"outbox {self.name}: {each}" for each in self.core.problems.values())
        ready = self._has_claimed and not problems and not self._is_stopping
        return Health(live=True, ready=ready, problems=problems, stopping=self._is_stopping)

    def asking(self, action: Claim | Settlement) -> Callable[[Connection], list[Row] | None]:
        """Return what claims rows in a transaction, or writes down what became of them."""
        if isinstance(action, Settlement):
            return partial(settle, claimant=self._claimant, settlement=action)
        self._look()
        return partial(claim, claimant=self._claimant, began=time.monotonic())

    def send(self, call: Call, hear: Callable[[Heard], object]) -> None:
        """Begin *call*, and let *hear* be told its answer, in any thread."""
        self._sender.begin(call).add_done_callback(lambda future: hear(partial(self._note, call, future)))

    def note_asked(self, action: Claim | Settlement, answer: Answer, now: float) -> None:
        """Take note of what became of what the database was asked.

        Raises `ConfigurationError` where the very first claim shows that the table is not there.
        """
        error = answer.exception()
        settlement = action if isinstance(action, Settlement) else None
        if isinstance(error, SQLAlchemyError | OSError):
            # The database is away, or does not do what it is asked.
            self._note_failure(error, settlement, now)
        elif settlement is not None:
            answer.result()
            self._note_settled(settlement, now)
        else:
            self._has_claimed = True
            self._tell_age()
            self.core.note_claimed(answer.result() or (), now)
        self._say()

    def _note_settled(self, settlement: Settlement, now: float) -> None:
        self.core.note_settled(settlement, now)
        for id_, why in settlement.parked:
            log.error("outbox %s: AWS refuses row %d, which is parked: %s", self.name, id_, why)
        if settlement.parked:
            count_parked(self._sender.find_any(), len(settlement.parked))

    def _note_failure(self, error: Exception, settlement: Settlement | None, now: float) -> None:
        if isinstance(error, DBAPIError):
            if not self._has_claimed and (problem := explain(outbox, error)):
                raise ConfigurationError(f"outbox {self.name}: {problem}") from error
            # Without the statement, which would fill what is said of it.
            error = error.orig if isinstance(error.orig, Exception) else error
        self.core.note_database_failure(error, now, settlement)

    def stop(self, now: bool, _: float = 0.0) -> None:
        """Begin nothing any more."""
        self._is_stopping = True
        self.core.stop(now=now)

    def _look(self) -> None:
        """Have the age of the oldest row looked up, from when on somebody wants to know it."""
        publisher = self._sender.find_any()
        if self._claimant.looks_at is None and wants_age(publisher):
            self._claimant.looks_at = 0.0

    def _tell_age(self) -> None:
        age, self._claimant.age = self._claimant.age, None
        if age is None:
            return
        # Where the queue cannot be found, what is sent says so.
        with suppress(Exception):
            tell_age(self._sender.find_any(), age)

    def _note(self, call: Call, future: Future[list[EntryAnswer]], now: float) -> None:
        error = future.exception()
        if error is None:
            self.core.note_answers(call, future.result(), now)
        elif isinstance(error, Exception):
            self.core.note_failure(call, error, now)
        else:
            raise error
        self._say()

    def _say(self) -> None:
        """Log what is wrong, and that it is well again, once."""
        problems = self.core.problems
        for name in problems.keys() - self._said.keys():
            log.warning("outbox %s: what is to be sent waits, and is tried again: %s", self.name, problems[name])
        for name in self._said.keys() - problems.keys():
            log.info("outbox %s: the %s answers again", self.name, name)
        self._said = problems
