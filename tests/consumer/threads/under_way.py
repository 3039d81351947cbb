"""Calls under way that are answered when a test says so."""

from __future__ import annotations

import threading
from typing import TypeVar

from megaflow.wire.pending import Pending
from tests.waiting import PATIENCE

_Answer = TypeVar("_Answer", covariant=True)


class Call(Pending[_Answer]):
    """A call that is answered once `answered` is set."""

    def __init__(self, answer: _Answer, *, is_under_way: bool = True) -> None:
        self.answer = answer
        self.answered = threading.Event()
        self.is_abandoned = False
        self._is_under_way = is_under_way
        super().__init__(self._wait)

    @property
    def is_under_way(self) -> bool:
        return self._is_under_way

    @property
    def is_visible(self) -> bool:
        return self._is_under_way

    def is_answered_within(self, seconds: float) -> bool:
        return self.answered.wait(seconds)

    def abandon(self) -> None:
        self.is_abandoned = True

    def _wait(self) -> _Answer:
        assert self.answered.wait(PATIENCE)
        return self.answer
