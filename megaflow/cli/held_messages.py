"""Held messages: those that a command has received and leaves in their queue, hidden from others until its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Final

from megaflow import limits
from megaflow.messages.message import Message
from megaflow.transport.queue import OpenQueue

HIDDEN_FOR: Final = 120
"""Seconds that a message in hand is hidden from others; what stays behind is hidden again before they end."""


class HeldMessages:
    """Messages that stay, hidden until the end."""

    def __init__(self, source: OpenQueue, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._began = clock()
        self._due: list[tuple[float, str]] = []
        self._handles: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, message: Message) -> bool:
        """Take *message*; tell whether it was not here before."""
        with self._lock:
            is_new = message.id not in self._handles
            self._handles[message.id] = handle_of(message)
            heappush(self._due, (self._clock() + HIDDEN_FOR / 2, message.id))
            return is_new

    def hide_again(self) -> None:
        """Hide those whose time is half over: the longer all takes, the longer, so that there is little to do."""
        now = self._clock()
        elapsed = now - self._began
        # Twelve hours after it was received a message comes again, and is taken again.
        seconds = max(1.0, min(max(HIDDEN_FOR, 2 * elapsed), limits.VISIBILITY_TIMEOUT - elapsed - 1))
        while batch := self._take_due(now):
            self._source.hide([(handle, seconds) for _, handle in batch])
            with self._lock:
                for message_id, _ in batch:
                    heappush(self._due, (now + seconds / 2, message_id))

    def give_back(self) -> None:
        """Let all be seen again."""
        with self._lock:
            handles = list(self._handles.values())
            self._handles.clear()
        give_back(self._source, handles)

    def _take_due(self, now: float) -> list[tuple[str, str]]:
        with self._lock:
            batch: list[tuple[str, str]] = []
            while self._due and self._due[0][0] <= now and len(batch) < limits.BATCH_ENTRIES:
                _, message_id = heappop(self._due)
                batch.append((message_id, self._handles[message_id]))
            return batch


def give_back(queue: OpenQueue, receipt_handles: Sequence[str]) -> None:
    """Let messages, by receipt handle, be seen again at once; raise what fails once all were tried."""
    failure: Exception | None = None
    for start in range(0, len(receipt_handles), limits.BATCH_ENTRIES):
        try:
            queue.hide([(handle, 0) for handle in receipt_handles[start : start + limits.BATCH_ENTRIES]])
        except Exception as error:  # noqa: BLE001 - whatever a client raises, the others are tried
            failure = error
    if failure is not None:
        raise failure


def handle_of(message: Message) -> str:
    """Return the receipt handle of *message*."""
    return message.lease.receipt_handle if message.lease else ""
