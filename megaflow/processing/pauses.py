"""Pauses: how long a message that is kept stays hidden, as its handlers ask for it, or backoffs say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias

from megaflow.backoff import Backoff
from megaflow.messages.message import Message
from megaflow.processing.verdict import Outcome

Ask: TypeAlias = Callable[[Backoff, int], float]
"""Asks a backoff for its seconds after so many deliveries."""


class Report(Protocol):
    """Says an error about a message, whose id is the first of the values."""

    def __call__(self, text: str, message: Message, *values: str | float, error: Exception, **keys: str) -> None:
        """Say it."""
        ...


def ask_backoff(backoff: Backoff, receive_count: int) -> float:
    """Ask it."""
    return backoff(receive_count)


class Pauses:
    """Choose pauses. *backoff* is the app's; *report* is told of a backoff that fails, *ask* calls one."""

    def __init__(self, backoff: Backoff, report: Report, ask: Ask = ask_backoff) -> None:
        self._backoff: Final = backoff
        self._report = report
        self._ask = ask

    def choose(self, message: Message, outcomes: Iterable[Outcome] = ()) -> float | None:
        """Return the seconds until a message comes again that is kept for these *outcomes*.

        Of several handlers that keep it, the one that asks for the longest time has it. Each asks for the seconds of
        its ``RetryLater(after=...)``, else for those of its own backoff. Where none asks, the app's backoff holds; None
        is that this one has failed, too.
        """
        asked = [self._read(message, outcome) for outcome in outcomes if outcome.status.keeps]
        longest = max([seconds for seconds in asked if seconds is not None], default=None)
        return self._call(message, self._backoff, None) if longest is None else longest

    def _read(self, message: Message, outcome: Outcome) -> float | None:
        backoff = outcome.handler.options.backoff
        if outcome.after is not None or backoff is None:
            return outcome.after
        return self._call(message, backoff, outcome.handler.name)

    def _call(self, message: Message, backoff: Backoff, handler: str | None) -> float | None:
        receive_count = message.receive_count
        try:
            seconds = float(self._ask(backoff, receive_count))
        except Exception as error:  # noqa: BLE001 - a user's function raises whatever it likes
            if handler is None:
                text = "message %s: the backoff failed for receive count %d"
                self._report(text, message, receive_count, error=error)
            else:
                text = "message %s: the backoff of %s failed for receive count %d"
                self._report(text, message, handler, receive_count, error=error, handler=handler)
            return None
        return seconds if math.isfinite(seconds) else None
