"""Statuses: what a handler can say about a message."""

from __future__ import annotations

from enum import Enum
from typing import Final


class ProcessStatus(Enum):
    """What became of one handler's work on one message."""

    DONE = "done"
    """Processed, or not worth processing. The message is deleted once no handler keeps it."""

    RETRY_LATER = "retry_later"
    """Not ready yet. The message stays and is seen again later; this is no error."""

    RETRIABLE_ERROR = "retriable_error"
    """Failed, and worth another try. The message stays and is seen again later."""

    FATAL_ERROR = "fatal_error"
    """Failed for good. The message is dead-lettered and deleted once no handler keeps it."""

    @property
    def keeps(self) -> bool:
        """Whether the message must come again."""
        return self in KEEPING


# A tuple compares by identity; a set would ask each status for its hash, which is slow.
KEEPING: Final = (ProcessStatus.RETRY_LATER, ProcessStatus.RETRIABLE_ERROR)


class RetryLater(Exception):
    """Raise it in a handler to say `ProcessStatus.RETRY_LATER`.

    *after* is the number of seconds until the message is seen again, at most 12 hours after it was received; without
    it the app's backoff decides.
    """

    def __init__(self, reason: str = "", *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Reject(Exception):
    """Raise it in a handler to say `ProcessStatus.FATAL_ERROR`, whatever ``retry_on`` holds."""
