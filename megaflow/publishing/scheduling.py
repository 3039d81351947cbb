"""Scheduling: messages that are to be sent later, by SQS's own delay where that goes, else by an outbox."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from megaflow import limits
from megaflow.checks import show
from megaflow.errors import ConfigurationError, EncodeError, UsageError
from megaflow.publishing.later import is_fifo
from megaflow.publishing.outgoing import PublishOptions
from megaflow.publishing.publisher import Publisher
from megaflow.publishing.sqs import SqsPublisher


def _cannot() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A message that is to be sent later, as `App.schedule` returns it."""

    id: str
    """Its message id where SQS has it already, else the ``megaflow-id`` of its row in the outbox."""

    _cancel: Callable[[], bool] = field(default=_cannot, repr=False, compare=False)

    def cancel(self) -> bool:
        """Have it not sent, and return whether that came in time; what SQS has already cannot be taken back."""
        return self._cancel()


class Later(Protocol):
    """What sends at any later time: an outbox."""

    def schedule(self, payload: Any, not_before: datetime | timedelta, options: PublishOptions) -> Scheduled:
        """Let it be sent then, and never earlier."""
        ...


class Scheduling:
    """How an app sends later; *find_publisher* says where to."""

    def __init__(self, find_publisher: Callable[[], Publisher]) -> None:
        self._find_publisher = find_publisher
        self.later: Later | None = None
        """What sends later than SQS can: the first outbox of the app that has an engine."""

        self.clock: Callable[[], float] = time.time

    @contextmanager
    def replaced(self, later: Later, clock: Callable[[], float]) -> Iterator[None]:
        """Schedule by others within a ``with``, such as those of a test."""
        before = self.later, self.clock
        self.later, self.clock = later, clock
        try:
            yield
        finally:
            self.later, self.clock = before

    def schedule(
        self, payload: Any, at: datetime | None, after: timedelta | float | None, options: PublishOptions
    ) -> Scheduled:
        """See `App.schedule`."""
        if options.get("delay_seconds") is not None:
            raise EncodeError("is said by at= or after=", "delay_seconds")
        not_before = _read(at, after)
        seconds = self._until(not_before)
        publisher = self._find_publisher()
        if isinstance(publisher, SqsPublisher) and not is_fifo(publisher) and seconds <= limits.DELAY:
            # Rounded up, as it must not be early.
            delayed: PublishOptions = {**options, "delay_seconds": math.ceil(seconds)}
            return Scheduled(publisher.publish(payload, **delayed))
        if self.later is None:
            raise ConfigurationError(
                f"SQS delays messages of standard queues by {limits.DELAY} seconds at most, and nothing of topics or "
                "FIFO queues: make an outbox for what is later, Outbox(app, engine), and run its relay"
            )
        return self.later.schedule(payload, not_before, options)

    def _until(self, not_before: datetime | timedelta) -> float:
        seconds = (
            not_before.total_seconds() if isinstance(not_before, timedelta) else not_before.timestamp() - self.clock()
        )
        return max(0.0, seconds)


def _read(at: datetime | None, after: timedelta | float | None) -> datetime | timedelta:
    if (at is None) is (after is None):
        raise UsageError("schedule() takes either at=, a time, or after=, how long from now")
    if at is not None:
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise EncodeError(f"{show(at)} is no datetime with its time zone", "at")
        return at
    if isinstance(after, timedelta):
        return after
    if isinstance(after, bool) or not isinstance(after, int | float) or not 0 <= after <= timedelta.max.total_seconds():
        raise EncodeError(f"{show(after)} is no timedelta, and no number of seconds", "after")
    return timedelta(seconds=after)
