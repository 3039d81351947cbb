"""Long polls: receives that wait for a message, served in the order in which they came."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count

from megaflow.local.operations.operation import Answer
from megaflow.local.timers import Timers


@dataclass(frozen=True, eq=False, slots=True)
class Poll:
    """One receive that waits."""

    number: int
    queue: str
    """Its name."""

    seconds: float
    """How long it waits at most."""

    attempt: Callable[[], Answer]
    """Receives; answers nothing while there is nothing."""

    answer: Future[Answer] = field(default_factory=Future)
    """Set once, in whichever thread: empty where the time is over, the error where the attempt failed."""


@dataclass(eq=False, slots=True)
class _Line:
    """Those who wait for one queue, who has waited longest first."""

    number: int
    queue: str
    polls: dict[int, Poll] = field(default_factory=dict)


class Polls:
    """All receives that wait. Not safe for threads: whoever owns them takes turns."""

    def __init__(self) -> None:
        self._numbers = count()
        self._polls: dict[int, Poll] = {}
        self._ends = Timers()
        """By the number of a poll."""

        self._lines: dict[str, _Line] = {}
        self._numbered_lines: dict[int, _Line] = {}
        self._looks = Timers()
        """When time makes a message visible, by the number of a line."""

        self._served: list[tuple[Poll, Answer]] = []

    def __len__(self) -> int:
        """Count the receives that wait."""
        return len(self._polls)

    def __contains__(self, queue: str) -> bool:
        """Tell whether somebody waits for *queue*."""
        return queue in self._lines

    def park(self, queue: str, attempt: Callable[[], Answer], *, seconds: float, now: float) -> Poll:
        """Let a receive wait for *seconds* from *now*."""
        poll = Poll(next(self._numbers), queue, seconds, attempt)
        # From now on nobody can cancel the future, so an answer always finds it open.
        poll.answer.set_running_or_notify_cancel()
        self._polls[poll.number] = poll
        self._ends.set(poll.number, now + seconds)
        self._line(queue).polls[poll.number] = poll
        return poll

    def leave(self, poll: Poll) -> None:
        """Forget *poll*: it is answered, or nobody waits for its answer any more."""
        if self._polls.pop(poll.number, None) is None:
            return
        self._ends.cancel(poll.number)
        line = self._lines[poll.queue]
        del line.polls[poll.number]
        if not line.polls:
            del self._lines[line.queue], self._numbered_lines[line.number]
            self._looks.cancel(line.number)

    def serve(self, queue: str) -> None:
        """Set what came aside for whoever has waited longest, until nothing is left; ``deliver`` then answers them."""
        for poll in list(self._lines[queue].polls.values()):
            try:
                answer = poll.attempt()
            except Exception as error:  # noqa: BLE001 - it is this call that fails, not that of whoever has the turn
                self.leave(poll)
                poll.answer.set_exception(error)
                continue
            if not answer:
                return
            self.leave(poll)
            self._served.append((poll, answer))

    def deliver(self) -> None:
        """Answer those that were served: what they were handed is written down."""
        for poll, answer in self._served:
            poll.answer.set_result(answer)
        self._served.clear()

    def fail(self, error: BaseException) -> None:
        """Tell those that were served that what they were handed could not be written down."""
        for poll, _ in self._served:
            poll.answer.set_exception(error)
        self._served.clear()

    def look_at(self, queue: str, time: float | None) -> None:
        """Note when time makes a message of *queue* visible; None where it does not."""
        number = self._lines[queue].number
        if time is None:
            self._looks.cancel(number)
        elif self._looks.time(number) != time:
            self._looks.set(number, time)

    def due(self, now: float) -> Iterable[str]:
        """Answer those whose time is over by *now*, and name the queues to look at."""
        for number in list(self._ends.due(now)):
            self.end(self._polls[number])
        return [self._numbered_lines[number].queue for number in self._looks.due(now)]

    def end(self, poll: Poll) -> None:
        """Answer *poll* empty, unless it is answered."""
        if poll.number in self._polls:
            self.leave(poll)
            poll.answer.set_result({})

    def next_alarm(self) -> float | None:
        """Return when something is due next, or None where nobody waits."""
        times = (self._ends.next(), self._looks.next())
        return min((time for time in times if time is not None), default=None)

    def _line(self, queue: str) -> _Line:
        if queue not in self._lines:
            line = self._lines[queue] = _Line(next(self._numbers), queue)
            self._numbered_lines[line.number] = line
        return self._lines[queue]
