"""Statuses: what a handler can say about a message."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class ProcessStatus(Enum):
    """What a handler says about a message. It returns one, or raises; returning nothing is `DONE`."""

    DONE = "done"
    """Done with the message. It is deleted, unless another handler keeps it."""

    RETRY_LATER = "retry_later"
    """Not ready yet. The message stays in the queue and comes again later. This is no error."""

    RETRIABLE_ERROR = "retriable_error"
    """Failed, and worth another try. The message stays in the queue and comes again later."""

    FATAL_ERROR = "fatal_error"
    """Failed for good. The message goes to the dead-letter queue, unless another handler keeps it."""

    @property
    def keeps(self) -> bool:
        """Whether the message comes again."""
        return self in KEEPING


# A tuple compares by identity; a set would ask each status for its hash, which is slow.
KEEPING: Final = (ProcessStatus.RETRY_LATER, ProcessStatus.RETRIABLE_ERROR)


class RetryLater(Exception):
    """Raise it in a handler to say `ProcessStatus.RETRY_LATER`.

    Args:
        reason: Why, for the log.
        after: Seconds until the message comes again, at most 12 hours after it was received. Without it, the backoff of
            the handler decides, or that of the app.
    """

    def __init__(self, reason: str = "", *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after
        """The seconds that were asked for; None leaves it to the backoff."""


class Reject(Exception):
    """Raise it in a handler to say `ProcessStatus.FATAL_ERROR`, with a reason: ``Reject("no such account")``."""


class PartialFailure(Exception):
    """Raise it in a batch handler to say which messages of the batch have failed; the others are `ProcessStatus.DONE`.

    Where it names a place that the batch does not have, nobody knows what it means, and every message comes again.

    Args:
        failed: By its place in the batch, from 0, what each of them has failed with: an error, which means what it does
            where a handler raises it, or a `ProcessStatus`.
    """

    def __init__(self, failed: Mapping[int, BaseException | ProcessStatus]) -> None:
        super().__init__(failed)
        self.failed = failed
        """What was given."""

    def __str__(self) -> str:
        """Count what failed, and say the first of it."""
        failed: object = self.failed
        if not isinstance(failed, Mapping):
            return f"some of the batch failed, said by a {type(failed).__qualname__} and not by places"
        shown = "; ".join(f"{place}: {_name(each)}" for place, each in list(failed.items())[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        return f"{len(failed)} of the batch failed: {shown}{more}"


def _name(failure: object) -> str:
    return failure.name if isinstance(failure, ProcessStatus) else type(failure).__name__
