"""Outcomes and verdicts: what each handler made of a message, and the fate that they together decide."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from megaflow.handlers.handler import Handler
from megaflow.handlers.status import KEEPING, ProcessStatus
from megaflow.messages.message import Message

_FATAL: Final = ProcessStatus.FATAL_ERROR


class Fate(Enum):
    """What becomes of a message."""

    DELETE = "deleted"
    KEEP = "kept"
    DEAD_LETTER = "dead-lettered"


def decide_fate(statuses: Iterable[ProcessStatus]) -> Fate:
    """Return what several handlers together mean: one keeper keeps the message, else one failure dead-letters it."""
    fate = Fate.DELETE
    for status in statuses:
        if status in KEEPING:
            return Fate.KEEP
        if status is _FATAL:
            fate = Fate.DEAD_LETTER
    return fate


@dataclass(frozen=True)
class Outcome:
    """What one handler made of one message: *error* is what it raised, *after* the seconds that it asked for.

    ``seconds`` is how long it took, what it waited for included; 0 where it was not called. ``skipped`` says why it was
    not called where it had ended with this message, or with the same idempotency key, before. ``is_logged`` is whether
    the log has its line already, as where something is around that.
    """

    handler: Handler
    status: ProcessStatus
    error: BaseException | None = None
    after: float | None = None
    seconds: float = field(default=0.0, compare=False)
    skipped: str = field(default="", compare=False)
    is_logged: bool = field(default=False, compare=False, repr=False)

    def __str__(self) -> str:
        """Name the handler and what it said: ``app.reserve: RETRY_LATER``, or why it was skipped."""
        said = f"skipped: {self.skipped}" if self.skipped else self.status.name
        return f"{self.handler.name}: {said}"

    @property
    def interrupts(self) -> bool:
        """Whether it ends the consumer: the handler exited, or was interrupted from the keyboard."""
        if self.error is None:
            return False
        return any(not isinstance(cause, Exception | asyncio.CancelledError) for cause in flatten(self.error))


@dataclass(frozen=True)
class Verdict:
    """What becomes of one message, and why. Exactly one of ``deletes``, ``keeps`` and ``dead_letters`` is true."""

    message: Message
    outcomes: tuple[Outcome, ...]
    fate: Fate

    @property
    def statuses(self) -> dict[Handler, ProcessStatus]:
        """What each handler that matched said."""
        return {outcome.handler: outcome.status for outcome in self.outcomes}

    @property
    def deletes(self) -> bool:
        """Whether the message is done with."""
        return self.fate is Fate.DELETE

    @property
    def keeps(self) -> bool:
        """Whether the message comes again."""
        return self.fate is Fate.KEEP

    @property
    def dead_letters(self) -> bool:
        """Whether the message goes to the dead-letter queue, where there is one, and is then deleted."""
        return self.fate is Fate.DEAD_LETTER

    @property
    def unmatched(self) -> bool:
        """Whether no handler wanted the message."""
        return not self.outcomes

    @property
    def after(self) -> float | None:
        """The longest time in seconds that a handler asked for; None leaves it to the backoff."""
        return max((outcome.after for outcome in self.outcomes if outcome.after is not None), default=None)

    @property
    def seconds(self) -> float:
        """How long the handlers took, one after another."""
        return sum(outcome.seconds for outcome in self.outcomes)

    @property
    def interruption(self) -> BaseException | None:
        """What a handler raised to end the consumer; None where none did."""
        return next((outcome.error for outcome in self.outcomes if outcome.interrupts), None)

    def __str__(self) -> str:
        """Say it in one line: ``kept (app.reserve: RETRY_LATER)``."""
        said = ", ".join(map(str, self.outcomes))
        return f"{self.fate.value} ({said or 'no handler matched'})"


def flatten(error: BaseException) -> Iterator[BaseException]:
    """Give the errors that a group holds, in whatever depth; an error that is no group is itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from flatten(each)
    else:
        yield error
