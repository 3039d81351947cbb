"""`Store`: the contract of every store, for progress and idempotency keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Final, Protocol, Self

from megaflow.checks import check_object
from megaflow.errors import UsageError
from megaflow.handlers.status import ProcessStatus

CHECK: Final = "megaflow check"
"""The name of work, or of a key, that is there to find out whether a store reads and writes."""

KEEP_FOR: Final = 14 * 86_400.0
"""As long as SQS keeps a message at the most."""


_METHODS: Final = ("load", "save", "claim", "renew", "complete", "release")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a handler ended for good, as a store keeps it."""

    status: ProcessStatus
    """`ProcessStatus.DONE` or `ProcessStatus.FATAL_ERROR`."""

    error: str = ""
    """Type and text of what the handler raised; ``""`` where it raised nothing."""


class Claim(Enum):
    """Whose turn it is, after `Store.claim`."""

    TAKEN = "taken"
    """You have the key, and nobody else does. Run the handler, then complete or release the key."""

    BUSY = "busy"
    """Another owner has the key and is at work. Do not run the handler; the message comes again later."""

    DONE = "done"
    """The handler ran for this key, and not too long ago. Do not run it again."""


class Store(Protocol):
    """Remembers how handlers ended, and which idempotency keys are in use or done. Write one for your own database.

    Every method may be called from any thread. A method raises whatever its database raises; what it was to write may
    then be written or not.

    A store may have a method ``close()``. `App.run` calls it at its end, and `App.close`. It may be called again and
    again, forgets nothing, and the store opens again at its next use.

    A store may have a method ``check()``. `App.run` calls it before it receives anything, and after a call has failed,
    until it returns. It opens what has to be opened, reads something, and writes something that it takes back or that
    expires soon. It raises `ConfigurationError` for what somebody has to change, and says what; anything else for what
    may pass by itself, such as a database that is busy. For a store without ``check()``, an entry is saved or claimed
    that nobody asks for: ``megaflow check``.
    """

    def load(self, work: str) -> Mapping[str, Ended]:
        """Return how handlers ended with one message, by the names of the handlers; *work* stands for the message."""
        ...

    def save(self, work: str, handler: str, ended: Ended) -> None:
        """Remember how *handler* ended with one message."""
        ...

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        """Claim *key* for so many *seconds*, and return whose turn it is.

        *owner* gets a key again that it has claimed before, as that attempt has died. A key of another owner is free
        once its seconds are over. The method has to be atomic: of several owners that ask at once, one gets the key.
        """
        ...

    def renew(self, key: str, owner: str, seconds: float) -> None:
        """Hold *key* for so many seconds from now, where *owner* has it."""
        ...

    def complete(self, key: str, owner: str, seconds: float) -> None:
        """Remember for so many *seconds* that the handler ran for *key*, whoever holds the key by now."""
        ...

    def release(self, key: str, owner: str) -> None:
        """Free *key*, where *owner* has it and the handler did not run."""
        ...


class ClosableStore:
    """A store that is closed at the end of a ``with``."""

    def close(self) -> None:
        """Close what is open. Nothing is forgotten, and the next use opens it again."""

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def check_is_store(name: str, store: object) -> None:
    """Raise `ConfigurationError` unless *store*, which was given as *name*, has the methods of one, or is None."""
    check_object(name, store, _METHODS, f"a store, such as {name}=SqliteStore(path) or {name}=MemoryStore()")


def close_store(store: object) -> None:
    """Close *store*, where it can be closed."""
    close = getattr(store, "close", None)
    if close is not None:
        close()


def check_store(store: Store, otherwise: Callable[[], object]) -> None:
    """Find out whether *store* reads and writes, by its own ``check()``, where it has one; raise what that raises."""
    getattr(store, "check", otherwise)()


def read_ended(work: str, status: object, error: object) -> Ended:
    """Return what a store has written; raise `UsageError` for what none of them writes."""
    try:
        return Ended(ProcessStatus(status), str(error))
    except ValueError as unknown:
        raise UsageError(
            f"the store says of {work!r} that a handler ended with {status!r}, which no version of megaflow known here "
            "writes; delete that entry, or use another store"
        ) from unknown
