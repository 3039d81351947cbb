"""Everything megaflow itself raises, in one tree.

::

    MegaflowError
    ├── ConfigurationError    a parameter or variable that cannot work: which one, its value, what is allowed
    ├── RegistrationError     a handler, subscriber class or middleware that cannot be registered
    ├── PatternError          a pattern that is wrong in itself: where in it, and why
    ├── ProtocolError         an event that breaks the MEGA protocol: which field, and why
    ├── EncodeError           a payload that cannot be sent: where in it, and why
    ├── PublishError          messages that did not go, or of which that is not known
    ├── UsageError            a call that cannot work where it was made
    ├── ProcessError          processes of ``run(processes=)`` that end one after another
    └── HandlingError         why a message comes again, or is dead-lettered, where no handler raised it just now
        ├── HandlerTimeoutError   a handler took longer than its ``timeout=``
        ├── LeaseLostError        somebody else may have the message, so its next handlers do not run
        ├── InvalidPayloadError   the payload is not what the handler's annotations say: where, and what was found
        ├── DependencyError       what the handler needs could not be made, so it has not run
        ├── KeyBusyError          the idempotency key is being worked on elsewhere
        ├── StoreError            progress, or an idempotency key, could not be read or written
        └── EarlierFailureError   what a handler failed with in an earlier delivery, which is not tried again

AWS's own errors pass through as botocore's, but for messages that are too large for where they go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class MegaflowError(Exception):
    """The root of megaflow's errors."""


class ConfigurationError(MegaflowError):
    """A parameter or environment variable that cannot work."""


class RegistrationError(MegaflowError):
    """A handler, subscriber class or middleware that cannot be registered."""


class UsageError(MegaflowError, RuntimeError):
    """A call that cannot work where it was made."""


class ProcessError(MegaflowError):
    """Processes of ``run(processes=)`` that end one after another."""


class HandlingError(MegaflowError):
    """Why a message comes again, or is dead-lettered, where no handler raised it just now."""


class HandlerTimeoutError(HandlingError, TimeoutError):
    """A handler took longer than its ``timeout=``, and was cancelled."""


class LeaseLostError(HandlingError):
    """Somebody else may have the message by now, so its next handlers do not run."""


class InvalidPayloadError(HandlingError):
    """The payload is not what the handler's annotations say, so it has not run.

    ``problems`` name each path, what pydantic calls the problem, and the type that was found; no value.
    https://docs.pydantic.dev/latest/errors/validation_errors/
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """Give the first problems."""
        more = f"; and {len(self.problems) - 5} more" if len(self.problems) > 5 else ""
        return "; ".join(self.problems[:5]) + more


class DependencyError(HandlingError):
    """What the handler needs could not be made, so it has not run."""


class KeyBusyError(HandlingError):
    """The idempotency key is being worked on elsewhere."""


class StoreError(HandlingError):
    """Progress, or an idempotency key, could not be read or written."""


class EarlierFailureError(HandlingError):
    """What a handler failed with for good in an earlier delivery, as text; it is not tried again."""


class _ErrorAtPath(MegaflowError):
    """An error at one place of a pattern, an event or a payload."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        """Give the path, where it is known, and the reason."""
        return f"{self.path}: {self.reason}" if self.path else self.reason


class PatternError(_ErrorAtPath, ValueError):
    """A pattern that is wrong in itself, whatever the message.

    ``path`` says where in the pattern, once that is known: ``event.attributes.quantity``.
    """


class ProtocolError(_ErrorAtPath, ValueError):
    """An event that breaks the MEGA protocol; ``path`` names the field."""


class EncodeError(_ErrorAtPath, ValueError):
    """A payload that cannot become a message; ``path`` names the value, from ``payload`` down."""


@dataclass(frozen=True, slots=True)
class FailedEntry:
    """One entry of a batch that did not go, or of which it is not known whether it went."""

    index: int
    """Its place in what was given to ``publish_batch``, from 0."""

    payload: Any
    code: str
    """AWS's error code, or the name of the exception."""

    reason: str
    unknown: bool = False
    """Whether it may have been sent all the same: the answer was lost."""


class PublishError(MegaflowError):
    """Entries of a batch that did not go, or of which that is not known; or the one message that was too large.

    ``failed`` holds exactly those, in the order they were given. ``message_ids`` has an id for every entry that went,
    and ``""`` where one did not.
    """

    def __init__(self, failed: Sequence[FailedEntry], message_ids: Sequence[str]) -> None:
        super().__init__(tuple(failed), tuple(message_ids))
        self.failed = tuple(failed)
        self.message_ids = tuple(message_ids)

    def __str__(self) -> str:
        """Count what failed and show the first reasons."""
        shown = "; ".join(
            f"entry {entry.index}: {entry.code}: {entry.reason}"
            + (" (it is not known whether it was sent)" if entry.unknown else "")
            for entry in self.failed[:3]
        )
        more = f"; and {len(self.failed) - 3} more" if len(self.failed) > 3 else ""
        return f"{len(self.failed)} of {len(self.message_ids)} messages were not sent: {shown}{more}"


def describe_error(error: BaseException, *, with_text: bool = True) -> str:
    """Return type and text of *error*, or its type alone, at most 300 characters; never raises."""
    if not with_text:
        return _name_type(error)[:300]
    return f"{type(error).__name__}: {text}"[:300] if (text := _read(error)) is not None else type(error).__name__


def text_of(error: BaseException) -> str:
    """Return the text of *error*, or its type where it has none; never raises."""
    return _read(error) or type(error).__name__


def _name_type(error: BaseException) -> str:
    # What failed in an earlier delivery has only that as its text: the type that it was, and perhaps its text.
    earlier = text_of(error) if isinstance(error, EarlierFailureError) else ""
    return earlier.partition(":")[0] or type(error).__name__


def _read(error: BaseException) -> str | None:
    try:
        # A lone surrogate, out of a body, can neither be stored nor logged.
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - an error of the user's may fail to say what it is
        return None
