"""Once: a handler's call inside the transaction of its inbox, which says that it ran, and holds what it did.

The inbox is asked before middleware. Only what is done is committed. What the inbox itself cannot do, its commit
included, is never the message's fault.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias

from megaflow import forks
from megaflow.errors import RegistrationError
from megaflow.handlers.dependencies import Dependencies
from megaflow.handlers.handler import Handler
from megaflow.handlers.inboxes import (
    AnyInbox,
    AsyncOpenTransaction,
    Gives,
    InboxRow,
    OpenTransaction,
    Trouble,
    open_transactions,
)
from megaflow.handlers.options import DEFAULTS
from megaflow.handlers.status import ProcessStatus
from megaflow.messages.identity import find_identity
from megaflow.messages.message import Message
from megaflow.messages.origin import digest_of, read_origin
from megaflow.processing.idempotency import find_key
from megaflow.processing.middleware import Call
from megaflow.processing.outcomes import OutcomeReader
from megaflow.processing.verdict import Outcome
from megaflow.transport.addresses import identify_queue

Tell: TypeAlias = Callable[[Message, Outcome], None]
"""Logs what came of a handler."""

SKIPPED: Final = "done earlier"
"""Why a handler is not called whose row stands."""

_LONGEST_WAIT: Final = 30.0
"""Seconds that a call waits at most for another one with the same key: it holds a thread and a connection meanwhile."""

_NOT_COMMITTED: Final = "the inbox has committed nothing that is known of: whether its row stands decides next time"

_OF_A_LEASE: Final = 0.5
"""The part of a visibility timeout that it waits at most."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of inboxes, and how long they are waited for.

    *find_queue* gives the address of the queue for messages that came from none; *visibility_timeout* is in seconds.
    """

    visibility_timeout: float = 30.0
    find_queue: Callable[[], str] = lambda: ""

    @property
    def lock_seconds(self) -> float:
        """How long a row is waited for that somebody else writes: less than a visibility timeout."""
        return min(self.visibility_timeout * _OF_A_LEASE, _LONGEST_WAIT)

    def row_of(self, handler: Handler, message: Message) -> InboxRow:
        """Return the row of a handler's run for *message*; raises what its idempotency key's function raises.

        It is known by its idempotency key, or the identity that its sender gave it, or the id that it had first. An
        origin is believed of the very body and attributes that it speaks of, as a forged one is of another message.
        """
        queue = message.queue_url or self.find_queue()
        find = handler.options.idempotency_key
        key = None if find is None else find_key(handler, find, message)
        if key is not None:
            return _row(queue, handler, f"key:{key}")
        if identity := find_identity(message):
            return _row(queue, handler, f"id:{identity}")
        origin = read_origin(message)
        if origin.keys() >= {"queue", "message_id"} and origin.get("digest") == digest_of(message):
            return _row(origin["queue"], handler, f"message:{origin['message_id']}")
        return _row(queue, handler, f"message:{message.id}")


DEFAULT_ROWS: Final = Rows()


def find_inboxes(handlers: Iterable[Handler], dependencies: Dependencies) -> dict[Handler, AnyInbox]:
    """Return the inbox of each handler that has one."""
    found = ((handler, dependencies.inbox_of(handler.needs)) for handler in handlers if handler.needs)
    return {handler: inbox for handler, inbox in found if inbox is not None}


def check_once(handler: Handler, inbox: AnyInbox | None) -> None:
    """Refuse a handler of an inbox whose options cannot be kept: a `RegistrationError`."""
    if inbox is None:
        return
    if handler.options.takes_batches:
        raise RegistrationError(
            f"{handler.name} gets batches, and the transaction of an inbox is for one message: leave batch_size= out, "
            "or provide the session by a function of your own"
        )
    if handler.options.idempotent_for != DEFAULTS.idempotent_for:
        raise RegistrationError(
            f"{handler.name} has idempotent_for={handler.options.idempotent_for:g}, and its inbox remembers for what "
            "Inbox(keep_for=) says: leave it out"
        )


def call_once(call: Call, inbox: AnyInbox, rows: Rows, reader: OutcomeReader, tell: Tell) -> Call:
    """Return *call* inside a transaction of *inbox*; what it returns is an `Outcome` then, of which the log is told."""
    wrap = _call_async if inbox.is_async else _call_plainly
    return wrap(call, inbox, rows, partial(_Run, inbox, reader, tell))


def _call_plainly(call: Call, inbox: AnyInbox, rows: Rows, make_run: Callable[[Handler, Message], _Run]) -> Call:
    def called(handler: Handler, message: Message) -> Outcome | Awaitable[Outcome]:
        run = make_run(handler, message)
        try:
            transaction = inbox.begin(run.find_row(rows), rows.lock_seconds)
        except Exception as error:  # noqa: BLE001 - a database raises whatever it likes
            return run.refuse(error)
        if transaction is None:
            return run.skip()
        try:
            with run.within(transaction):
                returned = call(handler, message)
        except BaseException as error:  # noqa: BLE001 - a handler raises whatever it likes
            return run.end(transaction, run.read(None, error))
        if inspect.isawaitable(returned):
            return _wait_and_end(run, transaction, returned)
        return run.end(transaction, run.read(returned, None))

    return called


def _call_async(call: Call, inbox: AnyInbox, rows: Rows, make_run: Callable[[Handler, Message], _Run]) -> Call:
    async def called(handler: Handler, message: Message) -> Outcome:
        run = make_run(handler, message)
        try:
            transaction = await inbox.abegin(run.find_row(rows), rows.lock_seconds)
        except Exception as error:  # noqa: BLE001 - a database raises whatever it likes
            return run.refuse(error)
        if transaction is None:
            return run.skip()
        was_awaited = False
        try:
            with run.within(transaction):
                returned = call(handler, message)
                if inspect.isawaitable(returned):
                    was_awaited, returned = True, await returned
        except BaseException as error:  # noqa: BLE001 - a handler raises whatever it likes
            return await run.aend(transaction, run.read(None, error))
        return await run.aend(transaction, run.read(returned, None, was_awaited=was_awaited))

    return called


async def _wait_and_end(run: _Run, transaction: OpenTransaction, said: Awaitable[Any]) -> Outcome:
    try:
        with run.within(transaction):
            returned = await said
    except BaseException as error:  # noqa: BLE001 - a handler raises whatever it likes
        return run.end(transaction, run.read(None, error))
    return run.end(transaction, run.read(returned, None, was_awaited=True))


class _KeyNotFound(Exception):
    """A user's function failed that finds the idempotency key; the cause says how."""


class _Run:
    """One call of a handler, in its transaction."""

    def __init__(self, inbox: AnyInbox, reader: OutcomeReader, tell: Tell, handler: Handler, message: Message) -> None:
        self._inbox = inbox
        self._handler = handler
        self._message = message
        self._reader = reader
        self._log = tell
        self._began = time.perf_counter()
        self._generation = forks.generation

    def find_row(self, rows: Rows) -> InboxRow:
        """Return its row; raise `_KeyNotFound` where the message is to blame for that there is none."""
        try:
            return rows.row_of(self._handler, self._message)
        except Exception as error:
            raise _KeyNotFound from error

    @contextmanager
    def within(self, transaction: Gives) -> Iterator[None]:
        """Let what is made for the handler be of the *transaction*."""
        token = open_transactions.set({**open_transactions.get(), id(self._inbox): transaction})
        try:
            yield
        finally:
            open_transactions.reset(token)

    def read(self, returned: object, error: BaseException | None, *, was_awaited: bool = False) -> Outcome:
        """Return what the handler made of its message. A child that it forked, and that comes back, ends here."""
        if forks.generation != self._generation:
            # The transaction is its parent's.
            forks.end_child(error)
        seconds = time.perf_counter() - self._began
        return self._reader.read(self._handler, returned, error, seconds, was_awaited=was_awaited)

    def skip(self) -> Outcome:
        """Return the outcome of a handler that is not called, as its row stands."""
        return Outcome(self._handler, ProcessStatus.DONE, skipped=SKIPPED, is_logged=True)

    def refuse(self, error: Exception) -> Outcome:
        """Return the outcome of a handler that is not called, as there is no row, or it could not be written."""
        if isinstance(error, _KeyNotFound):
            # As if the handler had raised it: what is a bug fails each time.
            return self._finish(self.read(None, error.__cause__))
        return self._finish(self._blame_inbox(error, "the inbox could not begin, so the handler was not called"))

    def end(self, transaction: OpenTransaction, outcome: Outcome) -> Outcome:
        """Commit what is done, roll back anything else, and return what came of it all."""
        try:
            transaction.end(commit=_is_done(outcome))
        except Exception as error:  # noqa: BLE001 - a database raises whatever it likes
            outcome = self._blame_inbox(error, _NOT_COMMITTED)
        return self._finish(outcome)

    async def aend(self, transaction: AsyncOpenTransaction, outcome: Outcome) -> Outcome:
        """Do what `end` does, awaited."""
        try:
            await transaction.aend(commit=_is_done(outcome))
        except Exception as error:  # noqa: BLE001 - a database raises whatever it likes
            outcome = self._blame_inbox(error, _NOT_COMMITTED)
        return self._finish(outcome)

    def _blame_inbox(self, error: Exception, note: str) -> Outcome:
        is_busy = self._inbox.read_error(error) is Trouble.BUSY
        error.add_note(note)
        status = ProcessStatus.RETRY_LATER if is_busy else ProcessStatus.RETRIABLE_ERROR
        return Outcome(self._handler, status, error, seconds=time.perf_counter() - self._began)

    def _finish(self, outcome: Outcome) -> Outcome:
        error = outcome.error
        if error is not None and not isinstance(error, Exception):
            raise error
        if not outcome.is_logged and (error is not None or outcome.status is not ProcessStatus.DONE):
            self._log(self._message, outcome)
        return replace(outcome, is_logged=True)


def _is_done(outcome: Outcome) -> bool:
    return outcome.status is ProcessStatus.DONE and outcome.error is None


def _row(queue: str, handler: Handler, key: str) -> InboxRow:
    return InboxRow(":".join(identify_queue(queue)), handler.name, key)
