"""`Store`: the contract of every store, for progress and idempotency keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Final, Protocol, Self

from megaflow.errors import UsageError
from megaflow.handlers.status import ProcessStatus

CHECK: Final = "megaflow check"
"""The name of work, or of a key, that is there to find out whether a store reads and writes."""

KEEP_FOR: Final = 14 * 86_400.0
"""As long as SQS keeps a message at the most."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a handler ended for good: `ProcessStatus.DONE`, or `ProcessStatus.FATAL_ERROR` and what it raised."""

    status: ProcessStatus
    error: str = ""


class Claim(Enum):
    """What came of claiming an idempotency key: whose turn it is."""

    TAKEN = "taken"
    """It is your turn: you have the key, and nobody else does. Run the handler, then complete or release the key."""

    BUSY = "busy"
    """It is another one's turn, who has the key and is at work. Do not run the handler; come again later."""

    DONE = "done"
    """It is nobody's turn: the handler ran for this key, and not too long ago. Do not run it again."""


class Store(Protocol):
    """Remembers how handlers ended, and who works on which idempotency key.

    Every method may be called from any thread. It raises whatever its database raises, and then what it was to write
    may be written or not.

    A store that holds a connection has a method ``close()`` too, which an app calls at the end of `App.run` and in
    `App.close`: it may be called again and again, forgets nothing, and a closed store opens again at its next use.

    It may have a method ``check()``, which `App.run` calls before it receives anything, and again once a call has
    failed, until it returns: it opens what is to be opened, reads something, and writes something that it takes back,
    or that expires soon. It raises `ConfigurationError` for what fails until someone changes something, saying what,
    and whatever else for what may pass by itself: the database is busy, or out of reach. Where a store has none, an
    entry of its own is saved, or claimed, that nobody asks for: ``megaflow check``.
    """

    def load(self, work: str) -> Mapping[str, Ended]:
        """Return how handlers, by name, ended on one piece of work."""
        ...

    def save(self, work: str, handler: str, ended: Ended) -> None:
        """Remember how a handler ended."""
        ...

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        """Claim *key* for so many *seconds*, and return whose turn it is.

        What *owner* claimed before is theirs again, since that attempt has died; what another one claimed is free once
        its time is over. All this at once: of several that ask, one gets it.
        """
        ...

    def renew(self, key: str, owner: str, seconds: float) -> None:
        """Hold *key* for so many more seconds from now, if it is *owner*'s."""
        ...

    def complete(self, key: str, owner: str, seconds: float) -> None:
        """Remember for so many *seconds* that *key* ran, whoever holds it by now."""
        ...

    def release(self, key: str, owner: str) -> None:
        """Free *key*, if it is *owner*'s and has not run."""
        ...


class ClosableStore:
    """A store that is closed at the end of a ``with``."""

    def close(self) -> None:
        """Let go of what is open; nothing is forgotten, and the next use opens it again."""

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def close_store(store: Store) -> None:
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
