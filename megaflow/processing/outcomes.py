"""Outcomes: what a handler returned or raised, read as a status. The one place that knows what either means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias

from megaflow.errors import DependencyError, HandlerTimeoutError, InvalidPayloadError, UsageError
from megaflow.frozen import make_record
from megaflow.handlers.handler import Handler
from megaflow.handlers.inboxes import AnyInbox, Trouble
from megaflow.handlers.status import PartialFailure, ProcessStatus, Reject, RetryLater
from megaflow.logs import get_logger
from megaflow.processing.verdict import BatchOutcome, Fate, Outcome, decide_fate, flatten
from megaflow.settings import CircuitBreaker, OnInvalid

log = get_logger(__name__)

_RetryOn: TypeAlias = tuple[type[Exception], ...] | None
_INVALID: Final[Mapping[OnInvalid, ProcessStatus]] = {
    "dead_letter": ProcessStatus.FATAL_ERROR,
    "keep": ProcessStatus.RETRIABLE_ERROR,
    "delete": ProcessStatus.DONE,
}
_TROUBLES: Final = {Trouble.BUSY: ProcessStatus.RETRY_LATER, Trouble.AWAY: ProcessStatus.RETRIABLE_ERROR}
"""What the database says of itself, in a handler whose transaction it holds, says nothing of the message."""


class OutcomeReader:
    """Reads how handlers ended. May be used from any thread; nothing in it changes but warnings given.

    *retry_on* and *on_invalid* are what the app says of all of them; *breakers* and *inboxes* are those that have one.
    """

    def __init__(
        self,
        handlers: Iterable[Handler],
        retry_on: _RetryOn,
        on_invalid: OnInvalid,
        breakers: Mapping[Handler, CircuitBreaker] = MappingProxyType({}),
        inboxes: Mapping[Handler, AnyInbox] = MappingProxyType({}),
    ) -> None:
        self._retry_on = {
            handler: _add(retry_on, handler.options.retry_on)
            + (breakers[handler].types if handler in breakers else ())
            # Nobody knows of which messages they speak, the one within a group of errors, the other anywhere.
            + ((PartialFailure, UsageError) if handler.options.takes_batches else ())
            for handler in handlers
        }
        self._on_invalid = on_invalid
        self._inboxes = inboxes
        self._warned: set[Handler] = set()

    def read(
        self,
        handler: Handler,
        returned: object,
        raised: BaseException | None,
        seconds: float,
        *,
        was_awaited: bool = False,
    ) -> Outcome:
        """Return what *handler* made of its message, having *returned* something or *raised* an error.

        *was_awaited* is whether what its pipeline gave had to be awaited.
        """
        if raised is not None:
            if handler.options.takes_batches and isinstance(raised, PartialFailure):
                return _read_partial(handler, raised, seconds)
            status, after = self._read_error(handler, raised)
            return Outcome(handler, status, raised, after, seconds)
        if isinstance(returned, ProcessStatus):
            return make_outcome(handler, returned, seconds)
        if isinstance(returned, Outcome) and returned.is_logged:
            # It was read before, by what is around the handler.
            return returned
        if handler.is_async and not was_awaited:
            error = UsageError("a middleware did not return what call_next gave it, so the handler has not run")
            return Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error)
        if handler.options.takes_batches and (of_each := _read_returned(handler, returned, seconds)) is not None:
            return of_each
        if returned is not None:
            self._warn_once(handler, returned)
        return make_outcome(handler, ProcessStatus.DONE, seconds)

    def read_each(self, outcome: Outcome, size: int) -> list[Outcome]:
        """Return what became of each message of a batch of that *size*, where this became of their call.

        What they have in common is one and the same outcome.
        """
        handler, seconds = outcome.handler, outcome.seconds / size
        if not isinstance(outcome, BatchOutcome):
            return [replace(outcome, seconds=seconds)] * size
        if misfit := outcome.misfit(size):
            error = UsageError(
                f"{handler.name} got a batch of {size}, and {misfit}: return a ProcessStatus for each, or raise "
                f"PartialFailure with an error or a ProcessStatus by places, from 0 to {size - 1}"
            )
            return [Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error, seconds=seconds)] * size
        return [self._read_one(handler, outcome.each.get(place), seconds) for place in range(size)]

    def _read_one(self, handler: Handler, said: object, seconds: float) -> Outcome:
        if isinstance(said, BaseException):
            return self.read(handler, None, said, seconds)
        return make_outcome(handler, said if isinstance(said, ProcessStatus) else ProcessStatus.DONE, seconds)

    def _read_error(self, handler: Handler, error: BaseException) -> tuple[ProcessStatus, float | None]:
        """Return what *error* means, and the seconds that it asks for."""
        if not isinstance(error, Exception):
            # It ends the consumer, or cancelled the handler: the message was not at fault.
            return ProcessStatus.RETRIABLE_ERROR, None
        if isinstance(error, HandlerTimeoutError | DependencyError):
            return ProcessStatus.RETRIABLE_ERROR, None
        if isinstance(error, InvalidPayloadError):
            return _INVALID[handler.options.on_invalid or self._on_invalid], None
        # A task group wraps what its tasks raised: it is worth another try only if all of that is.
        causes = list(flatten(error))
        later = [cause for cause in causes if isinstance(cause, RetryLater)]
        retry_on = self._retry_on[handler]
        if any(isinstance(cause, Reject) for cause in causes):
            return ProcessStatus.FATAL_ERROR, None
        if (trouble := self._find_trouble(handler, causes)) is not None:
            return _TROUBLES[trouble], None
        after = max((seconds for cause in later for seconds in _read_after(handler, cause)), default=None)
        if len(later) == len(causes):
            return ProcessStatus.RETRY_LATER, after
        if isinstance(error, retry_on) or all(isinstance(cause, (RetryLater, *retry_on)) for cause in causes):
            return ProcessStatus.RETRIABLE_ERROR, after
        return ProcessStatus.FATAL_ERROR, None

    def _find_trouble(self, handler: Handler, causes: Sequence[BaseException]) -> Trouble | None:
        """Return what is wrong with the database of a handler's inbox, where that is all there is to an error."""
        inbox = self._inboxes.get(handler)
        if inbox is None:
            return None
        found = {inbox.read_error(cause) for cause in causes}
        return None if None in found else next(each for each in (Trouble.AWAY, Trouble.BUSY) if each in found)

    def _warn_once(self, handler: Handler, returned: object) -> None:
        if handler in self._warned:
            return
        self._warned.add(handler)
        log.warning(
            "%s returned %s, which is taken as DONE; a handler returns a ProcessStatus or nothing",
            handler.name,
            type(returned).__qualname__,
            extra={"handler": handler.name},
        )


def _read_partial(handler: Handler, failure: PartialFailure, seconds: float) -> BatchOutcome:
    return BatchOutcome(handler, ProcessStatus.RETRIABLE_ERROR, failure, seconds=seconds, each=failure.failed)


def _read_returned(handler: Handler, returned: object, seconds: float) -> BatchOutcome | None:
    """Return what a batch handler says of its messages one by one; None where it says nothing of the kind.

    Failures are never taken for success, whatever they are in.
    """
    if isinstance(returned, PartialFailure):
        return _read_partial(handler, returned, seconds)
    if not isinstance(returned, Sequence | Mapping | Set):
        return None
    said = list(returned.values() if isinstance(returned, Mapping) else returned)
    are_all_done = bool(said) and isinstance(returned, Sequence) and all(each is None for each in said)
    statuses = [each for each in said if isinstance(each, ProcessStatus)]
    failed = {place: each for place, each in enumerate(said) if isinstance(each, BaseException)}
    if not (statuses or failed or are_all_done):
        return None
    # The order of a set says nothing.
    pairs = returned.items() if isinstance(returned, Mapping) else enumerate(returned)
    each = {} if isinstance(returned, Set) else dict(pairs)
    error = PartialFailure(failed) if failed else None
    status = ProcessStatus.RETRIABLE_ERROR if failed else _sum_up(statuses)
    return BatchOutcome(handler, status, error, seconds=seconds, each=each, is_whole=True)


def _sum_up(statuses: Sequence[ProcessStatus]) -> ProcessStatus:
    keeps = next((each for each in statuses if each.keeps), ProcessStatus.DONE)
    return ProcessStatus.FATAL_ERROR if decide_fate(statuses) is Fate.DEAD_LETTER else keeps


def _add(of_app: _RetryOn, of_handler: _RetryOn) -> tuple[type[Exception], ...]:
    """Return what is worth another try: a handler adds to what the app names, or says with () that nothing is."""
    return () if of_handler == () else (of_app or ()) + (of_handler or ())


def is_outage(outcome: Outcome, breaker: CircuitBreaker) -> bool:
    """Tell whether *outcome* says that something is away, and its handler is to try again."""
    error, is_retriable = outcome.error, outcome.status is ProcessStatus.RETRIABLE_ERROR
    return is_retriable and error is not None and breaker.counts(error)


def make_outcome(handler: Handler, status: ProcessStatus, seconds: float) -> Outcome:
    """Return the outcome of a handler that raised nothing; this is made for every message."""
    fields = {"handler": handler, "status": status, "error": None, "after": None, "seconds": seconds}
    return make_record(Outcome, fields)


def _read_after(handler: Handler, error: RetryLater) -> Iterator[float]:
    after = getattr(error, "after", None)
    if after is None:
        return
    try:
        seconds = math.nan if isinstance(after, bool | str) else float(after)
    except (OverflowError, TypeError, ValueError):
        seconds = math.nan
    if math.isfinite(seconds):
        yield seconds
    else:
        said = str(after) if isinstance(after, float) else type(after).__qualname__
        text, keys = "%s raised RetryLater(after=) with %s, which is no number of seconds", {"handler": handler.name}
        log.warning(text, handler.name, said, extra=keys)
