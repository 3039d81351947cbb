"""Producers: they send all the while, and note what they know to be sent."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from megaflow import SqsPublisher
from tests.torture.ledger import Key, Ledger, What
from tests.torture.settings import GROUPS

STANDARD_THREADS: Final = 2
_STANDARD_PAUSE: Final = 0.05
_FIFO_PAUSE: Final = 0.07
_RETRY_PAUSE: Final = 0.1
_PATIENCE: Final = 60.0


class Producers:
    """Threads that send to the queues "standard" and "fifo" until they are stopped; *may_send* holds them up."""

    def __init__(self, publishers: Mapping[str, SqsPublisher], ledger: Ledger, may_send: threading.Event) -> None:
        self._publishers = publishers
        self._ledger = ledger
        self._may_send = may_send
        self._ends = threading.Event()
        self._gives_up = threading.Event()
        parts = [self._thread(self._send, part) for part in range(STANDARD_THREADS)]
        self._threads = [*parts, self._thread(self._send_in_order, 0)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send nothing new, and wait until it is known of every message of a group that it is sent."""
        self._ends.set()
        self._join(_PATIENCE)
        self._gives_up.set()
        self._join(_PATIENCE)

    def _join(self, seconds: float) -> None:
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(seconds)

    def _thread(self, send: Callable[[int], None], part: int) -> threading.Thread:
        return threading.Thread(target=send, args=(part,), name=f"torture-{send.__name__}", daemon=True)

    def _send(self, part: int) -> None:
        for number in self._turns(_STANDARD_PAUSE, part, STANDARD_THREADS):
            key = Key("", number)
            self._ledger.note(What.SENDING, queue="standard", key=key)
            # Not again where the answer did not come: it would be there twice.
            self._try_send("standard", key)

    def _send_in_order(self, part: int) -> None:
        for turn in self._turns(_FIFO_PAUSE, part, 1):
            key = Key(GROUPS[turn % len(GROUPS)], turn // len(GROUPS))
            self._ledger.note(What.SENDING, queue="fifo", key=key)
            while not self._try_send("fifo", key):
                if self._gives_up.wait(_RETRY_PAUSE):
                    return

    def _turns(self, pause: float, first: int, step: int) -> Iterator[int]:
        for number in itertools.count(first, step):
            while not self._may_send.wait(pause) and not self._ends.is_set():
                pass
            if self._ends.wait(pause):
                return
            yield number

    def _try_send(self, queue: str, key: Key) -> bool:
        publisher, (group, number) = self._publishers[queue], key
        data = {"group": group, "number": number, "style": ("sync", "async")[number % 2], "pad": "." * (number % 500)}
        try:
            if group:
                publisher.publish(data, group_id=group, deduplication_id=f"{group}-{number}")
            else:
                publisher.publish(data)
        except Exception:  # noqa: BLE001 - it may be sent, or not
            return False
        self._ledger.note(What.SENT, queue=queue, key=key)
        return True
