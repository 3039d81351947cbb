"""Everything megaflow itself raises, in one tree.

::

    MegaflowError
    ├── ConfigurationError        a parameter, variable, queue or store that cannot work
    ├── RegistrationError         a handler, middleware or dependency that cannot work
    ├── PatternError              a pattern that is wrong in itself
    ├── ProtocolError             a field that breaks the MEGA protocol
    ├── EncodeError               a message that AWS would refuse
    ├── PublishError              messages that did not go, or may not have gone
    ├── UsageError                a call that cannot work where it was made
    ├── ProcessError              processes that end one after another
    └── HandlingError             why a message comes again, where its handler raised nothing
        ├── HandlerTimeoutError   a handler took longer than its ``timeout=``
        ├── LeaseLostError        the visibility timeout ended while the message was in hand
        ├── InvalidPayloadError   the payload is not what the annotations say
        ├── DependencyError       what the handler needs could not be made
        ├── KeyBusyError          the idempotency key is in use elsewhere
        ├── StoreError            a store could not be read or written
        ├── PayloadError          a payload that lies outside of its message cannot be had
        └── EarlierFailureError   the handler failed for good in an earlier delivery

Errors of AWS pass through as botocore's. One is a `PublishError`: a message that is too large for its queue or topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class MegaflowError(Exception):
    """The root of megaflow's errors: ``except MegaflowError`` catches them all. Errors of AWS are botocore's."""


class ConfigurationError(MegaflowError):
    """A parameter or environment variable that cannot work, or a queue or store that cannot be used as it is set up.

    The text names it, its value and what is allowed. Change it: trying again does not help.
    """


class RegistrationError(MegaflowError):
    """A handler, subscriber class, middleware or dependency that cannot be registered, or cannot work.

    It is raised where you register it, at the latest when the app starts. The text says what is missing.
    """


class UsageError(MegaflowError, RuntimeError):
    """A call that cannot work where it was made: a second `App.run` at once, `App.process` where an event loop runs.

    The text says what to call instead.
    """


class ProcessError(MegaflowError):
    """The processes of ``run(processes=)`` end one after another, so starting more does not help.

    The log of the children says why they end.
    """


class HandlingError(MegaflowError):
    """Why a message comes again, or is dead-lettered, where its handler raised nothing.

    You do not catch these: they are in `Outcome.error`, in the log and in the dead-letter queue.
    """


class HandlerTimeoutError(HandlingError, TimeoutError):
    """A handler took longer than its ``timeout=``. The message comes again.

    Make the handler quicker, or the timeout longer; `Health.stuck_threads` counts threads that never came back.
    """


class LeaseLostError(HandlingError):
    """The visibility timeout ended while the message was in hand, so its remaining handlers do not run here.

    SQS delivers the message again. A longer ``visibility_timeout`` helps where this happens often.
    """


class InvalidPayloadError(HandlingError):
    """The payload is not what the annotations of the handler say, so the handler was not called.

    ``on_invalid`` says what becomes of the message. Mend the publisher, or the model. The problems by their names:
    https://docs.pydantic.dev/latest/errors/validation_errors/
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(tuple(problems))
        self.problems = tuple(problems)
        """Each path, what pydantic calls the problem, and the type that was found. Never the value."""

    def __str__(self) -> str:
        """Give the first problems."""
        more = f"; and {len(self.problems) - 5} more" if len(self.problems) > 5 else ""
        return "; ".join(self.problems[:5]) + more


class DependencyError(HandlingError):
    """What `App.provide` was given failed, so the handler was not called. The message comes again.

    The cause is chained: ``error.__cause__``.
    """


class KeyBusyError(HandlingError):
    """Another message with the same idempotency key is being handled, perhaps elsewhere. The message comes again."""


class StoreError(HandlingError):
    """The store of progress, idempotency keys or large payloads could not be read or written. The message comes again.

    While a store fails, `App.run` receives nothing, and `Health.ready` is False.
    """


class PayloadError(HandlingError):
    """A payload that lies outside of its message is missing, too large, or where nothing is to be read from.

    `Payloads.read` raises it. The message has a ``problem`` that says why. Trying again would not help.
    """


class EarlierFailureError(HandlingError):
    """A handler failed for good in an earlier delivery, so it is not called again. The text is what it raised then."""


class _ErrorAtPath(MegaflowError):
    """An error at one place of a pattern, an event or a payload."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        """What is wrong."""

        self.path = path
        """Where: ``event.attributes.quantity``; ``""`` where the place is not known."""

    def __str__(self) -> str:
        """Give the path, where it is known, and the reason."""
        return f"{self.path}: {self.reason}" if self.path else self.reason


class PatternError(_ErrorAtPath, ValueError):
    """A pattern that is wrong in itself, such as ``gt("abc")``. It is raised where you write it."""


class ProtocolError(_ErrorAtPath, ValueError):
    """A field that breaks the MEGA protocol. It is raised where you build an event.

    A message that breaks the protocol raises nothing: it is data, and `Message.problem` says why.
    """


class EncodeError(_ErrorAtPath, ValueError):
    """A message that AWS would refuse: an object that is no JSON, a text that is empty, too many bytes. Nothing was
    sent.
    """


@dataclass(frozen=True, slots=True)
class FailedEntry:
    """One message of several that did not go, or of which nobody knows whether it went."""

    index: int
    """Its place in what was given to ``publish_batch``, from 0."""

    payload: Any
    """The payload."""

    code: str
    """AWS's error code, or the name of the exception."""

    reason: str
    """The words of AWS, or of the exception."""

    unknown: bool = False
    """Whether it may have been sent all the same: the answer was lost."""


class PublishError(MegaflowError):
    """Messages that did not go, or of which nobody knows whether they went; or a single one that is too large.

    Send again what ``failed`` lists. What is ``unknown`` there may arrive twice.
    """

    def __init__(self, failed: Sequence[FailedEntry], message_ids: Sequence[str]) -> None:
        super().__init__(tuple(failed), tuple(message_ids))
        self.failed = tuple(failed)
        """The messages that did not go, in the order in which you gave them."""

        self.message_ids = tuple(message_ids)
        """The message id of each that went, and ``""`` for each that did not, in order."""

    def __str__(self) -> str:
        """Count what failed and show the first reasons."""
        shown = "; ".join(
            f"entry {entry.index}: {entry.code}: {entry.reason}"
            + (" (it is not known whether it was sent)" if entry.unknown else "")
            for entry in self.failed[:3]
        )
        more = f"; and {len(self.failed) - 3} more" if len(self.failed) > 3 else ""
        return f"{self._count()}: {shown}{more}"

    def _count(self) -> str:
        """Say of how many it is certain that they did not go, and of how many nobody knows."""
        total, unknown = len(self.message_ids), sum(entry.unknown for entry in self.failed)
        refused = len(self.failed) - unknown
        if not unknown:
            return f"{refused} of {total} messages were not sent"
        if not refused:
            return f"{unknown} of {total} messages may have been sent or not"
        return f"{refused} of {total} messages were not sent, and {unknown} may have been sent or not"


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
