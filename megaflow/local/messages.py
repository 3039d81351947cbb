"""What a queue has in stock: where each message is as time passes, and what of it is to be written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

from megaflow.local.order import Arrival, Groups, Order
from megaflow.local.settings import Settings
from megaflow.local.stored_message import Message, Record, Stored, Unsaved
from megaflow.local.timers import Timers

_FIRST_SEQUENCE_NUMBER: Final = 18_849_496_460_467_696_128


class Stock:
    """The messages of a queue: each waits, is delayed or is in flight, until it is gone or too old.

    It serves ``Queue``, which knows SQS's rules.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float], touched: Callable[[], object]) -> None:
        self.settings = settings
        self.next_number = 1
        self.unsaved = Unsaved()
        self._clock = clock
        self._touched = touched
        self._messages: dict[int, Stored] = {}
        self._waiting: Order = Groups() if settings.fifo else Arrival()
        self._delayed = Timers()
        self._in_flight = Timers()
        self._ages = Timers()

    def purge(self) -> None:
        """Delete all messages, those in flight too. What was sent of late is still remembered."""
        self.unsaved = Unsaved(purged=True)
        self._touched()
        self._messages.clear()
        for part in (self._waiting, self._delayed, self._in_flight, self._ages):
            part.clear()

    def counts(self) -> dict[str, int]:
        """Count the messages by what SQS calls the three states."""
        self._pass_time()
        delayed, in_flight = len(self._delayed), len(self._in_flight)
        return {
            "ApproximateNumberOfMessages": len(self._messages) - delayed - in_flight,
            "ApproximateNumberOfMessagesDelayed": delayed,
            "ApproximateNumberOfMessagesNotVisible": in_flight,
        }

    def next_change(self) -> float | None:
        """Return when the next delay or visibility timeout ends, or None."""
        delayed, visible = self._delayed.next(), self._in_flight.next()
        times = [] if delayed is None else [delayed + self._delay_from_sending()]
        return min(times if visible is None else [*times, visible], default=None)

    def record(self, number: int) -> Record | None:
        """Return all there is to know of a message, or None where it is gone."""
        stored = self._messages.get(number)
        if stored is None:
            return None
        return Record(
            stored,
            aged_from=self._ages.time(number) or 0.0,
            delayed_to=self._delayed.time(number),
            visible_at=self._in_flight.time(number),
        )

    def restore(self, record: Record) -> None:
        """Take a message in as it was when it was recorded."""
        number, group = record.stored.number, record.stored.group
        self._messages[number] = record.stored
        self._ages.set(number, record.aged_from)
        if record.visible_at is not None:
            self._waiting.hold(group)
            self._in_flight.set(number, record.visible_at)
        elif record.delayed_to is not None:
            self._delayed.set(number, record.delayed_to)
        else:
            self._waiting.add(number, group)

    def saved(self) -> None:
        """Note that all is written down."""
        self.unsaved = Unsaved()

    def shuffle(self, random: Random) -> None:
        """Mix what is received next; a FIFO queue keeps its order."""
        self._pass_time()
        self._waiting.shuffle(random)

    def _pass_time(self) -> float:
        """Let everything happen that was due by now, and return now."""
        now = self._clock()
        for number in self._ages.due(now - self.settings.retention_period):
            self._drop(number)
        for number in self._delayed.due(now - self._delay_from_sending()):
            self._waiting.add(number, self._messages[number].group)
            if self.settings.fifo:
                # Otherwise a longer delay would hold for it again, once it was restored.
                self._touch(number)
        for number in self._in_flight.due(now):
            self._waiting.put_back(number, self._messages[number].group)
        return now

    def _delay_from_sending(self) -> int:
        # A new delay holds for what a FIFO queue already has, but not for what a standard queue has.
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-delay-queues.html
        return self.settings.delay if self.settings.fifo else 0

    def _add(self, message: Message, *, now: float, delay: int) -> Stored:
        number = self.next_number
        self.next_number += 1
        if self.settings.fifo:
            message = replace(message, sequence_number=str(_FIRST_SEQUENCE_NUMBER + number * 256))
        stored = self._messages[number] = Stored(number, message)
        self._ages.set(number, now)
        if delay:
            self._delayed.set(number, now + delay - self._delay_from_sending())
        else:
            self._waiting.add(number, stored.group)
        self.unsaved.added.add(number)
        self._touched()
        return stored

    def _drop(self, number: int) -> None:
        """Delete a message wherever it is."""
        group = self._messages[number].group
        if number in self._in_flight:
            self._waiting.release(group)
        elif number not in self._delayed:
            self._waiting.remove(number, group)
        self._forget(number)

    def _forget(self, number: int) -> None:
        del self._messages[number]
        for timers in (self._ages, self._delayed, self._in_flight):
            timers.cancel(number)
        self._touch(number)

    def _touch(self, number: int) -> None:
        self.unsaved.changed.add(number)
        self._touched()
