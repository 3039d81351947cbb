"""Outcomes and verdicts: what each handler made of a message, and the fate that they together decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from megaflow.handlers.handler import Handler
from megaflow.handlers.status import KEEPING, ProcessStatus
from megaflow.loops import is_cancellation
from megaflow.messages.message import Message

_FATAL: Final = ProcessStatus.FATAL_ERROR


class Fate(Enum):
    """What becomes of a message."""

    DELETE = "deleted"
    """It is deleted: every handler that matched has finished."""

    KEEP = "kept"
    """It stays in the queue, hidden for the backoff, and is delivered again."""

    DEAD_LETTER = "dead-lettered"
    """It goes to the dead-letter queue, and is then deleted. Without a dead-letter queue it is deleted."""


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
    """What one handler made of one message."""

    handler: Handler
    """The handler."""

    status: ProcessStatus
    """The status: what it returned, or what its exception means."""

    error: BaseException | None = None
    """What it raised, or why it was not called; None where nothing went wrong."""

    after: float | None = None
    """The seconds of ``RetryLater(after=...)``, where it raised that."""

    seconds: float = field(default=0.0, compare=False)
    """How long it took, with all that it waited for; 0 where it was not called."""

    skipped: str = field(default="", compare=False)
    """Why it was not called: it had ended with this message, or this idempotency key, before. Else ``""``."""

    is_logged: bool = field(default=False, compare=False, repr=False)
    """Whether the log has its line already: what is around a handler is around that line, too."""

    def __str__(self) -> str:
        """Name the handler and what it said: ``app.reserve: RETRY_LATER``, or why it was skipped."""
        said = f"skipped: {self.skipped}" if self.skipped else self.status.name
        return f"{self.handler.name}: {said}"

    @property
    def interrupts(self) -> bool:
        """Whether it ends the consumer: the handler raised `SystemExit`, `KeyboardInterrupt` or the like."""
        if self.error is None:
            return False
        return any(not (isinstance(cause, Exception) or is_cancellation(cause)) for cause in flatten(self.error))


@dataclass(frozen=True)
class BatchOutcome(Outcome):
    """What one call of a handler made of a batch, where it said something of its messages one by one."""

    each: Mapping[int, object] = field(default_factory=dict)
    """What it said of the messages, by their places."""

    is_whole: bool = False
    """Whether it meant to say something of every message."""

    def misfit(self, size: int) -> str:
        """Return what of it cannot be meant for a batch of that *size*; ``""`` where all of it can."""
        each: object = self.each
        if not isinstance(each, Mapping):
            return f"said what failed by a {type(each).__qualname__}, and not by places"
        if self.is_whole and len(each) != size:
            return f"said what became of {len(each)}"
        known = (ProcessStatus, BaseException, type(None)) if self.is_whole else (ProcessStatus, BaseException)
        for place, said in each.items():
            if not _is_place(place, size):
                return f"named the place {place!r}, which is none"
            if not isinstance(said, known):
                what = said.__qualname__ if isinstance(said, type) else f"a {type(said).__qualname__}"
                return f"said {what} of the place {place}"
        return ""


def _is_place(place: object, size: int) -> bool:
    return isinstance(place, int) and not isinstance(place, bool) and 0 <= place < size


@dataclass(frozen=True)
class Verdict:
    """What becomes of one message, and why. One of ``deletes``, ``keeps`` and ``dead_letters`` is true."""

    message: Message
    """The message."""

    outcomes: tuple[Outcome, ...]
    """What each handler made of it, in the order in which they ran. Empty where no handler matched."""

    fate: Fate
    """What becomes of it."""

    failure: BaseException | None = None
    """Why no handler was asked, where its payload lies outside of it and could not be read this time; else None."""

    @property
    def statuses(self) -> dict[Handler, ProcessStatus]:
        """The status of each handler that matched."""
        return {outcome.handler: outcome.status for outcome in self.outcomes}

    @property
    def deletes(self) -> bool:
        """Whether the message is deleted, as all its handlers have finished."""
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
        """Whether no handler matched the message."""
        return not self.outcomes and self.failure is None

    @property
    def after(self) -> float | None:
        """The longest time in seconds that a handler asked for; None leaves it to backoffs."""
        return max((outcome.after for outcome in self.outcomes if outcome.after is not None), default=None)

    @property
    def seconds(self) -> float:
        """How long the handlers took, one after another."""
        return sum(outcome.seconds for outcome in self.outcomes)

    @property
    def interruption(self) -> BaseException | None:
        """What a handler raised that ends the consumer, such as `SystemExit`; None where none did."""
        return next((outcome.error for outcome in self.outcomes if outcome.interrupts), None)

    def __str__(self) -> str:
        """Say it in one line: ``kept (app.reserve: RETRY_LATER)``."""
        said = ", ".join(map(str, self.outcomes))
        otherwise = "no handler matched" if self.failure is None else "its payload could not be read"
        return f"{self.fate.value} ({said or otherwise})"


def flatten(error: BaseException) -> Iterator[BaseException]:
    """Give the errors that a group holds, in whatever depth; an error that is no group is itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from flatten(each)
    else:
        yield error
