"""Renewals of idempotency keys: in a thread of their own, as a store may take its time, for which no lease can wait."""

from __future__ import annotations

import threading
from collections.abc import Callable

from megaflow.errors import StoreError, text_of
from megaflow.logs import get_logger
from megaflow.messages.message import Message
from megaflow.processing.log_lines import about
from megaflow.processing.processor import Processor

log = get_logger(__name__)


class Renewals:
    """Keep the idempotency keys that are worked on, one message after another. May be used from any thread."""

    def __init__(self, get_processor: Callable[[], Processor]) -> None:
        self._get_processor = get_processor
        self._lock = threading.Lock()
        self._waiting: dict[str, Message] = {}
        """By their ids: however often its lease is extended meanwhile, a message waits once."""

        self._is_at_work = False

    def add(self, message: Message) -> None:
        """Renew the keys of *message* soon, where it has any."""
        if not self._get_processor().holds_keys(message):
            return
        with self._lock:
            self._waiting[message.id] = message
            if self._is_at_work:
                return
            self._is_at_work = True
        try:
            threading.Thread(target=self._work, name="megaflow-renewals", daemon=True).start()
        except RuntimeError as error:
            self.close()
            _warn(message, error)

    def close(self) -> None:
        """Begin no more of what waits."""
        with self._lock:
            self._waiting.clear()
            self._is_at_work = False

    def _work(self) -> None:
        while (message := self._take()) is not None:
            renew_or_warn(message, self._get_processor().renew)

    def _take(self) -> Message | None:
        with self._lock:
            self._is_at_work = bool(self._waiting)
            return self._waiting.pop(next(iter(self._waiting))) if self._waiting else None


def renew_or_warn(message: Message, renew: Callable[[Message], None]) -> None:
    """Renew the keys of *message*; where the store fails, say what may come of it."""
    try:
        renew(message)
    except StoreError as error:
        _warn(message, error)


def _warn(message: Message, error: Exception) -> None:
    text = "message %s: its idempotency keys may be taken for free: %s"
    log.warning(text, message.id, text_of(error), extra=about(message))
