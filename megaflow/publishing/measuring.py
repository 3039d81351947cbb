"""Measuring: what the metrics are told of calls that publish, and of the messages that went, or did not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

from megaflow.publishing.batches import EntryAnswer
from megaflow.telemetry import conventions
from megaflow.telemetry.metrics import Told
from megaflow.telemetry.outlets import Outlets
from megaflow.telemetry.tracing import Place
from megaflow.wire.pending import Pending

_Answer = TypeVar("_Answer")


class Measuring:
    """Tells *outlets* of calls to one place: its queue, or its topic. May be used from any thread."""

    def __init__(self, outlets: Outlets, place: Place) -> None:
        self._outlets = outlets
        is_topic = place.system == conventions.SNS
        self._queue, self._topic = ("", place.name) if is_topic else (place.name, "")

    def call(self, begin: Callable[[], Pending[_Answer]], messages: int) -> Pending[_Answer]:
        """Begin a call that sends so many messages, and measure it once it is answered."""
        self._outlets.look()
        if not self._outlets.are_told_all:
            return begin()
        began = time.perf_counter()

        def note(error: str = "") -> None:
            topic, took = self._topic, time.perf_counter() - began
            values = {("operation_duration", "send", error, topic): (took,), ("batch_size", "send", topic): (messages,)}
            self._outlets.note(self._queue, {}, values)

        def note_answer(answer: _Answer) -> _Answer:
            note()
            return answer

        def note_error(error: BaseException) -> NoReturn:
            note(conventions.name_error(error))
            raise error

        return begin().map(note_answer, note_error)

    def count(self, answers: Iterable[EntryAnswer]) -> None:
        """Count messages by what was said of them in the end."""
        counts: Counter[Told] = Counter(
            [("sent", "" if each.sent else conventions.name_code(each.code), self._topic) for each in answers]
        )
        self._outlets.note(self._queue, counts)
