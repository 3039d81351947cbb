"""Message move tasks: the redrive of a dead-letter queue, at a rate, until it is done or cancelled.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final

from megaflow.local.queue import LocalQueue
from megaflow.local.refused import Refused, no_queue, sqs_code
from megaflow.local.stored_message import Stored

RATE: Final = 500
"""Messages per second: the most that can be asked for, and what is done where nothing is.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

LISTED: Final = 10
"""How many tasks of a queue are known, the newest ones.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ListMessageMoveTasks.html
"""

_LONGEST: Final = 36 * 3600
"""Seconds that a task may run."""

_TIMED_OUT: Final = "TimedOut"
"""Why a task failed that ran so long. AWS does not say what it shows."""

_ACTIVE: Final = 100
"""Tasks that may run at once. AWS does not say with which error it refuses more."""

_AT_ONCE: Final = 1000
"""Messages moved in one turn, so that nobody waits long for the next one."""

_PAUSE: Final = 0.02
"""Seconds from one step of a task to the next, so that nobody is woken for every message."""

_ROUNDING: Final = 0.001
"""How much of a message the clock's rounding may amount to."""


class Status(StrEnum):
    """What became of a task. AWS's CANCELLING takes no time here."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


@dataclass(slots=True)
class MoveTask:
    """All there is to know of a task."""

    id: str
    source_arn: str
    destination_arn: str | None
    """None where each message goes back to the queue it came from."""

    rate: int | None
    """Messages per second, where that was given."""

    started_at: float
    to_move: int
    """How many messages were there when it started; so many are moved, and those that come later are not waited for."""

    moved: int = 0
    status: Status = Status.RUNNING
    failure: str | None = None
    """The code of the error that ended it."""


@dataclass(slots=True)
class _Run:
    """A task that runs, and its pace in this process: how many it had moved by when."""

    task: MoveTask
    source: LocalQueue
    moved_before: int
    since: float
    next_step: float = 0.0

    def due(self, now: float) -> int:
        """Count the messages that may be moved by *now*."""
        seconds = min(now, self.task.started_at + _LONGEST) - self.since
        return min(self.moved_before + int(seconds * self._rate + _ROUNDING), self.task.to_move)

    def is_over(self, now: float) -> bool:
        """Tell whether all is moved that could be in the time a task may run."""
        return now >= self.task.started_at + _LONGEST and self.task.moved >= self.due(now)

    def wait(self, now: float) -> None:
        """Have the next step when more may be moved."""
        next_due = self.since + (self.task.moved + 1 - self.moved_before) / self._rate
        self.next_step = now if self.task.moved < self.due(now) else max(now + _PAUSE, next_due)

    @property
    def _rate(self) -> int:
        return self.task.rate or RATE


class Moves:
    """The tasks of an account, and how far they have got.

    Not safe for threads: whoever owns them takes turns, begins each with ``advance``, and takes one at ``next_alarm``.
    *find* looks up a queue by its ARN; *touched* is called whenever ``facts`` are other than before.
    """

    def __init__(
        self,
        *,
        find: Callable[[str], LocalQueue | None],
        clock: Callable[[], float],
        new_id: Callable[[], str],
        touched: Callable[[], object],
    ) -> None:
        self.next_alarm: float | None = None
        """When something is due next; None where nothing is to be moved."""

        self._find = find
        self._clock = clock
        self._new_id = new_id
        self._touched = touched
        self._tasks: dict[str, list[MoveTask]] = {}
        """By the ARN of the dead-letter queue, the newest last."""

        self._running: dict[str, _Run] = {}
        """By that ARN, too."""

    def start(self, source: LocalQueue, *, destination_arn: str | None, rate: int | None) -> MoveTask:
        """Let a task begin, which moves its first messages a moment later.

        Raises:
            Refused: a task of this queue runs, or too many others do.
        """
        self._check_room(source.arn)
        now = self._clock()
        task = MoveTask(self._new_id(), source.arn, destination_arn, rate, now, to_move=sum(source.counts().values()))
        self._keep(task)
        self._run(task, source, now)
        self._touched()
        return task

    def cancel(self, source_arn: str, task_id: str) -> MoveTask:
        """End a task that runs; what was moved stays where it is.

        Raises:
            Refused: there is no such task, or it has ended.
        """
        for task in self.of(source_arn):
            if task.id == task_id:
                break
        else:
            raise Refused("ResourceNotFoundException", "Task does not exist.", status=404)
        if task.status is not Status.RUNNING:
            raise Refused("InvalidParameterValue", "Only active tasks can be cancelled.")
        self._end(task, Status.CANCELLED)
        return task

    def of(self, source_arn: str) -> list[MoveTask]:
        """Return the latest tasks of a dead-letter queue, the newest first."""
        return self._tasks.get(source_arn, [])[::-1]

    def forget(self, source_arn: str) -> None:
        """Forget the tasks of a queue that is gone."""
        if self._tasks.pop(source_arn, None) is not None:
            self._running.pop(source_arn, None)
            self._set_alarm()
            self._touched()

    def advance(self, now: float) -> None:
        """Move what is due by *now*, and no more than can be moved in a moment."""
        if self.next_alarm is None or now < self.next_alarm:
            return
        runs = [run for run in self._running.values() if run.next_step <= now]
        for run in runs:
            self._step(run, now, at_most=_AT_ONCE // len(runs))
        self._set_alarm()

    def facts(self) -> list[dict[str, Any]]:
        """Return all there is to know of all tasks, as JSON has it."""
        return [asdict(task) for tasks in self._tasks.values() for task in tasks]

    def restore(self, facts: Iterable[Mapping[str, Any]]) -> None:
        """Take in what ``facts`` returned, once the queues are there; what was running goes on at its pace from now."""
        for one in facts:
            task = MoveTask(**{**one, "status": Status(one["status"])})
            source = self._find(task.source_arn)
            if source is None:
                continue
            self._keep(task)
            if task.status is Status.RUNNING:
                self._run(task, source, self._clock())

    def _check_room(self, source_arn: str) -> None:
        if source_arn in self._running:
            raise Refused(
                "InvalidParameterValue",
                "There is already a task running. Only one active task is allowed for a source queue arn at a given "
                "time.",
            )
        if len(self._running) >= _ACTIVE:
            raise Refused("UnsupportedOperation", f"Only {_ACTIVE} active tasks are allowed at a given time.")

    def _keep(self, task: MoveTask) -> None:
        tasks = self._tasks.setdefault(task.source_arn, [])
        tasks.append(task)
        del tasks[:-LISTED]

    def _run(self, task: MoveTask, source: LocalQueue, now: float) -> None:
        run = self._running[task.source_arn] = _Run(task, source, moved_before=task.moved, since=now)
        run.wait(now)
        self._set_alarm()

    def _step(self, run: _Run, now: float, *, at_most: int) -> None:
        task, before = run.task, run.task.moved
        try:
            enough = self._move(run, min(run.due(now), before + at_most))
        except Refused as refused:
            self._end(task, Status.FAILED, sqs_code(refused.name))
            return
        if not enough or task.moved == task.to_move:
            self._end(task, Status.COMPLETED)
        elif run.is_over(now):
            self._end(task, Status.FAILED, _TIMED_OUT)
        else:
            run.wait(now)
        if task.moved != before:
            self._touched()

    def _move(self, run: _Run, goal: int) -> bool:
        """Move messages until so many are moved; tell whether there were enough."""
        deliver = partial(self._deliver, run.task)
        while run.task.moved < goal:
            if not run.source.hand_over(deliver):
                return False
            run.task.moved += 1
        return True

    def _deliver(self, task: MoveTask, stored: Stored) -> None:
        arn = task.destination_arn or stored.source_arn
        if arn is None:
            raise Refused("CouldNotDetermineMessageSource", "The message did not come from a queue.")
        destination = self._find(arn)
        if destination is None:
            raise no_queue()
        destination.take_back(stored)

    def _end(self, task: MoveTask, status: Status, failure: str | None = None) -> None:
        task.status, task.failure = status, failure
        del self._running[task.source_arn]
        self._set_alarm()
        self._touched()

    def _set_alarm(self) -> None:
        self.next_alarm = min((run.next_step for run in self._running.values()), default=None)
