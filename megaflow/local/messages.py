"""Messages of a queue, kept by what becomes of them with time: delayed, visible, in flight, expired."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Final

from megaflow.local.order import Arrival, Groups, Order
from megaflow.local.settings import Settings
from megaflow.local.stored_message import MessageRecord, SentMessage, Stored, Unsaved
from megaflow.local.timers import Timers

_FIRST_SEQUENCE_NUMBER: Final = 18_849_496_460_467_696_128


class Messages:
    """The messages of a queue: each waits, is delayed or is in flight, until it is gone or too old.

    `LocalQueue` knows SQS's rules, and calls ``pass_time`` before it looks at any of them.
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

    def pass_time(self) -> float:
        """Let everything happen that was due by now, and return now."""
        now = self._clock()
        for number in self._ages.due(now - self.settings.retention_period):
            self.delete(number)
        for number in self._delayed.due(now - self.delay_from_sending()):
            self._waiting.add(number, self._messages[number].group)
            if self.settings.fifo:
                # Otherwise a longer delay would hold for it again, once it was restored.
                self.touch(number)
        for number in self._in_flight.due(now):
            self._waiting.put_back(number, self._messages[number].group)
        return now

    def __getitem__(self, number: int) -> Stored:
        """Return a message that is there."""
        return self._messages[number]

    def find(self, number: int) -> Stored | None:
        """Return a message, or None where it is gone."""
        return self._messages.get(number)

    def count_in_flight(self) -> int:
        """Count the messages in flight."""
        return len(self._in_flight)

    def visible_at(self, number: int) -> float | None:
        """Return when a message in flight can be seen again, or None where it is not in flight."""
        return self._in_flight.time(number)

    def add(self, message: SentMessage, *, now: float, delay: int) -> Stored:
        """Take a message in, whose age counts from *now*."""
        number = self.next_number
        self.next_number += 1
        if self.settings.fifo:
            message = replace(message, sequence_number=str(_FIRST_SEQUENCE_NUMBER + number * 256))
        stored = self._messages[number] = Stored(number, message)
        self._ages.set(number, now)
        if delay:
            self._delayed.set(number, now + delay - self.delay_from_sending())
        else:
            self._waiting.add(number, stored.group)
        self.unsaved.added.add(number)
        self._touched()
        return stored

    def take(self) -> Iterator[Stored]:
        """Give out what is received next, one after another; nobody else gets it from then on.

        Whoever takes it calls ``hide``, ``put_back`` or ``delete_taken``.
        """
        return map(self._messages.__getitem__, self._waiting.take())

    def hide(self, stored: Stored, visible_at: float) -> None:
        """Let a message that was taken be in flight until *visible_at*, or one that is in flight stay so."""
        self._in_flight.set(stored.number, visible_at)
        self.touch(stored.number)

    def hide_again(self, stored: Stored, visible_at: float) -> None:
        """Let a message that was received before be in flight until *visible_at*, though it may wait again by now."""
        if stored.number not in self._in_flight:
            self._waiting.remove(stored.number, stored.group)
            self._waiting.hold(stored.number, stored.group)
        self.hide(stored, visible_at)

    def put_back(self, stored: Stored) -> None:
        """Let a message wait again that was taken."""
        self._waiting.put_back(stored.number, stored.group)

    def delete_taken(self, stored: Stored) -> None:
        """Delete a message that was taken."""
        self._forget(stored.number)
        self._waiting.release(stored.number, stored.group)

    def delete(self, number: int) -> None:
        """Delete a message wherever it is."""
        group = self._messages[number].group
        if number in self._in_flight:
            self._waiting.release(number, group)
        elif number not in self._delayed:
            self._waiting.remove(number, group)
        self._forget(number)

    def touch(self, number: int) -> None:
        """Note that a message is no longer as it was."""
        self.unsaved.changed.add(number)
        self._touched()

    def purge(self) -> None:
        """Delete all messages, those in flight too."""
        self.unsaved = Unsaved(purged=True)
        self._touched()
        self._messages.clear()
        for part in (self._waiting, self._delayed, self._in_flight, self._ages):
            part.clear()

    def counts(self) -> dict[str, int]:
        """Count the messages by what SQS calls the three states."""
        self.pass_time()
        delayed, in_flight = len(self._delayed), len(self._in_flight)
        return {
            "ApproximateNumberOfMessages": len(self._messages) - delayed - in_flight,
            "ApproximateNumberOfMessagesDelayed": delayed,
            "ApproximateNumberOfMessagesNotVisible": in_flight,
        }

    def next_change(self) -> float | None:
        """Return when the next delay or visibility timeout ends, or None."""
        delayed, visible = self._delayed.next(), self._in_flight.next()
        times = [] if delayed is None else [delayed + self.delay_from_sending()]
        return min(times if visible is None else [*times, visible], default=None)

    def record(self, number: int) -> MessageRecord | None:
        """Return all there is to know of a message, or None where it is gone."""
        stored = self._messages.get(number)
        if stored is None:
            return None
        return MessageRecord(
            stored,
            aged_from=self._ages.time(number) or 0.0,
            delayed_to=self._delayed.time(number),
            visible_at=self._in_flight.time(number),
        )

    def records(self) -> Iterator[MessageRecord]:
        """Go through all there is to know of all messages, in the order of sending."""
        self.pass_time()
        return (record for number in sorted(self._messages) if (record := self.record(number)) is not None)

    def restore(self, record: MessageRecord) -> None:
        """Take a message in as it was when it was recorded."""
        number, group = record.stored.number, record.stored.group
        self._messages[number] = record.stored
        self._ages.set(number, record.aged_from)
        if record.visible_at is not None:
            self._waiting.hold(number, group)
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
        self.pass_time()
        self._waiting.shuffle(random)

    def delay_from_sending(self) -> int:
        """Return the seconds of delay that count from when a message was sent, whatever the queue then had."""
        # A new delay holds for what a FIFO queue already has, but not for what a standard queue has.
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-delay-queues.html
        return self.settings.delay if self.settings.fifo else 0

    def _forget(self, number: int) -> None:
        del self._messages[number]
        for timers in (self._ages, self._delayed, self._in_flight):
            timers.cancel(number)
        self.touch(number)
