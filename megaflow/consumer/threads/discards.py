"""Discards: payloads that lay outside of messages are deleted after these, in a thread that nobody waits for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from megaflow.errors import text_of
from megaflow.logs import get_logger
from megaflow.messages.pointers import Pointer
from megaflow.processing.processor import Processor

log = get_logger(__name__)

_PATIENCE: Final = 2.0
"""Seconds for which the end waits for what is to be deleted."""


class Discards:
    """Delete payloads, one after another. May be used from any thread."""

    def __init__(self, get_processor: Callable[[], Processor]) -> None:
        self._get_processor = get_processor
        self._changed = threading.Condition()
        self._waiting: deque[Pointer] = deque()
        self._is_at_work = False

    def add(self, pointer: Pointer) -> None:
        """Delete what lies there soon."""
        with self._changed:
            self._waiting.append(pointer)
            if self._is_at_work:
                return
            self._is_at_work = True
        try:
            threading.Thread(target=self._work, name="megaflow-discards", daemon=True).start()
        except RuntimeError as error:
            self._leave(text_of(error))

    def close(self) -> None:
        """Wait a moment for what is under way, and leave the rest where it lies."""
        with self._changed:
            is_over = self._changed.wait_for(lambda: not self._is_at_work, _PATIENCE)
        if not is_over:
            self._leave("the consumer has ended")

    def _work(self) -> None:
        while (pointer := self._take()) is not None:
            fetching = self._get_processor().fetching
            if fetching is not None:
                fetching.discard(pointer)

    def _take(self) -> Pointer | None:
        with self._changed:
            self._is_at_work = bool(self._waiting)
            self._changed.notify_all()
            return self._waiting.popleft() if self._waiting else None

    def _leave(self, reason: str) -> None:
        """Begin no more, and say what stays there."""
        with self._changed:
            left, self._is_at_work = len(self._waiting), False
            self._waiting.clear()
        if left:
            text = "%d payloads stay where they lie, though their messages are done and deleted: %s"
            log.warning(text, left, reason)
