"""Pending: a call under way, and what its answer will be made into."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar

if TYPE_CHECKING:
    from megaflow.wire.connections import SentRequest

_T = TypeVar("_T", covariant=True)
_Made = TypeVar("_Made")


class Pending(Generic[_T]):
    """A call that was begun, as far as its client can do that. For one thread at a time.

    *finish* waits for the answer and returns what comes of it; it is called once. *sent* is the request that was sent;
    without it, *finish* sends one itself, or there is nothing to wait for.
    """

    __slots__ = ("_finish", "sent")

    def __init__(self, finish: Callable[[], _T], sent: SentRequest | None = None) -> None:
        self._finish = finish
        self.sent: Final = sent

    @property
    def is_under_way(self) -> bool:
        """Whether the request was sent, and only the answer is missing."""
        return self.sent is not None

    @property
    def is_visible(self) -> bool:
        """Whether it can be seen that the answer is there before it is asked for."""
        return self.sent is not None and self.sent.is_visible

    @property
    def is_answered(self) -> bool:
        """Whether to ask for the result takes no waiting, unless it is an error."""
        return self.is_answered_within(0)

    def is_answered_within(self, seconds: float) -> bool:
        """Wait at most so long until it is answered, where that `is_visible`; tell whether it is."""
        return self.sent is not None and self.sent.is_answered_within(seconds)

    def abandon(self) -> None:
        """Hang up, where the request was sent: nobody waits for the answer any more. May be called from any thread.

        What is answered all the same is the result; otherwise that is an error.
        """
        if self.sent is not None:
            self.sent.abandon()

    def result(self) -> _T:
        """Wait for the answer, and return what comes of it, or raise; ask once."""
        return self._finish()

    def map(
        self, function: Callable[[_T], _Made], on_error: Callable[[BaseException], _Made] | None = None
    ) -> Pending[_Made]:
        """Return a call whose result is *function* of this one's, or *on_error* of whatever this one's raises."""

        def finish() -> _Made:
            try:
                result = self._finish()
            except BaseException as error:
                if on_error is None:
                    raise
                return on_error(error)
            return function(result)

        return Pending(finish, self.sent)

    def within(self, enter: Callable[[], AbstractContextManager[object]]) -> Pending[_T]:
        """Return the same call, which is made within a ``with`` where it is not under way."""
        if self.is_under_way:
            return self

        def finish() -> _T:
            with enter():
                return self._finish()

        return Pending(finish)


def failing(error: BaseException) -> Pending[NoReturn]:
    """Return a call that could not be begun: its result raises *error*."""

    def finish() -> NoReturn:
        raise error

    return Pending(finish)
