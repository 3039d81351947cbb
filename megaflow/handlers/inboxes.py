"""Inboxes: what opens the transaction in which a handler runs, and writes there that it did, as a database keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeGuard

from megaflow.errors import UsageError


@dataclass(frozen=True, slots=True)
class InboxRow:
    """What is written of a handler's run: there is one for each key of a handler and a queue."""

    queue: str
    handler: str
    key: str


class Trouble(Enum):
    """What an error of a database means, where it says nothing of the message."""

    BUSY = "busy"
    """Others were in the way: busy, a lock or a connection that was waited for too long, a deadlock, a serialization
    failure."""

    AWAY = "away"
    """The connection is lost, and with it the transaction."""


class Gives(Protocol):
    """A transaction whose first statement wrote its row."""

    def give(self, type_: Any) -> Any:
        """Return what a handler gets that asks for *type_*."""
        ...


class OpenTransaction(Gives, Protocol):
    """One that a handler is called in which is not async."""

    def end(self, *, commit: bool) -> None:
        """Commit or roll back, and let go of the connection; raise where the commit fails.

        Raises `UsageError` where the handler has tried to end it itself; it is rolled back then.
        """
        ...


class AsyncOpenTransaction(Gives, Protocol):
    """One that an async handler is called in."""

    async def aend(self, *, commit: bool) -> None:
        """Do what `OpenTransaction.end` does, awaited."""
        ...


class AnyInbox(Protocol):
    """Opens transactions for handlers. Its methods may be called from any thread, and raise what the database does."""

    @property
    def is_async(self) -> bool:
        """Whether its transactions are awaited."""
        ...

    def check_gives(self, type_: Any) -> None:
        """Raise `RegistrationError` where it cannot give *type_*."""
        ...

    def check(self) -> None:
        """Find out whether it can be written to. See `Store`."""
        ...

    def begin(self, row: InboxRow, lock_seconds: float) -> OpenTransaction | None:
        """Begin a transaction, and write *row* there; None is that the row stands.

        Where somebody else is writing it just now, wait for them, no longer than *lock_seconds*.
        """
        ...

    async def abegin(self, row: InboxRow, lock_seconds: float) -> AsyncOpenTransaction | None:
        """Do what `begin` does, awaited."""
        ...

    def read_error(self, error: BaseException) -> Trouble | None:
        """Return what an error means; None where it may be due to the message."""
        ...


def is_inbox(factory: object) -> TypeGuard[AnyInbox]:
    """Tell whether *factory* is no function that makes something, but opens transactions."""
    return all(hasattr(type(factory), name) for name in ("check_gives", "begin", "abegin", "read_error"))


open_transactions: Final[ContextVar[Mapping[int, Gives]]] = ContextVar(
    "megaflow.transactions", default=MappingProxyType({})
)
"""The transactions within which the handler is called here, by the ids of their inboxes."""


def give_open(inbox: AnyInbox, type_: Any) -> Any:
    """Return what a handler gets of the transaction of *inbox* within which it is called here."""
    transaction = open_transactions.get().get(id(inbox))
    if transaction is None:
        raise UsageError(
            "a handler is called without the transaction of its inbox: a middleware that calls it in another thread "
            "does that with the context, contextvars.copy_context().run(call_next, handler, message)"
        )
    return transaction.give(type_)
