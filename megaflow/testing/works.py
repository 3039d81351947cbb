"""The works of a `TestClient`: messages on their way through their handlers, one after another in one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field

from megaflow.consumer.core.protocol import CallBatch, Crashed, Drop, Finished, Input, LinedUp, Resume, Start
from megaflow.errors import RegistrationError
from megaflow.handlers.handler import Handler
from megaflow.messages.batch import BatchMessage
from megaflow.messages.message import Message
from megaflow.processing.processor import Processor
from megaflow.processing.steps import (
    HandlerCall,
    Parting,
    Result,
    Step,
    Steps,
    StoreCall,
    Turn,
    Wait,
    Watch,
    drive,
    lease_lost,
    run_step,
)
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.testing.record import Record


@dataclass(eq=False)
class Work:
    """A message on its way through its handlers."""

    message: Message
    context: Context = field(default_factory=copy_context)
    steps: Steps | None = None
    result: Result = field(default_factory=Result)
    """What its turn has come to, once it was in line."""

    called: list[Handler] = field(default_factory=list)
    noted: list[Outcome] = field(default_factory=list)
    """The outcomes that are among what was handled."""

    parts: Sequence[Work] = ()
    """The messages of a batch, where this is one, for this handler:"""

    handler: Handler | None = None


class Works:
    """What is to be handled, and what waits for its turn. What comes of it is noted in *record*.

    *wait* waits for what is async, and *watch* is told of calls with a limit.
    """

    def __init__(
        self,
        get_processor: Callable[[], Processor],
        record: Record,
        wait: Wait,
        watch: Watch,
        *,
        max_receives: int | None,
    ) -> None:
        self._get_processor = get_processor
        self._record = record
        self._wait = wait
        self._watch = watch
        self._max_receives = max_receives
        self._started: deque[Work] = deque()
        self._in_line: dict[str, Work] = {}
        """What waits for its turn at a handler, by message id."""

    def clear(self) -> None:
        """Forget all of it."""
        self._started.clear()
        self._in_line.clear()
        self._record.in_line.clear()

    def begin(self, action: Start | Resume | CallBatch | Drop) -> None:
        """Begin what is to be handled, or let it go on, or forget it."""
        if isinstance(action, Start):
            self._record.note_received(action.messages)
            self._started += map(Work, action.messages)
            return
        if isinstance(action, CallBatch):
            parts = [self._in_line[each.id] for each in action.messages]
            self._started.append(Work(action.batch, handler=action.handler, parts=parts))
            return
        works = [self._in_line.pop(message.id) for message in action.messages]
        for work in works:
            self._record.in_line.pop(work.message.id, None)
        if isinstance(action, Resume):
            result = Result(error=lease_lost() if action.failed else None)
            for work in works:
                work.result = result
            self._started += works

    def take(self) -> Work | None:
        """Return what is to be handled next, None where there is nothing."""
        return self._started.popleft() if self._started else None

    def handle(self, work: Work) -> list[Input]:
        """Take a message as far as it goes, and return what the core is to be told.

        Raises `RegistrationError` where a handler cannot work.
        """
        try:
            ended = work.context.run(self._process, work)
        except RegistrationError:
            # Not the message's fault: whoever wrote the test has to know.
            raise
        except Exception as error:  # noqa: BLE001 - a message that is out must come back to the core
            return [Crashed(work.message, error)]
        return self._part(work) if isinstance(ended, Parting) else self._go_on(work, ended)

    def _process(self, work: Work) -> Step | Verdict:
        def run(step: Step) -> Result:
            if isinstance(step, HandlerCall):
                work.called.append(step.handler)
            result = run_step(step, self._wait, self._watch)
            if isinstance(step, StoreCall) and isinstance(result.returned, Message):
                self._record.note_fetched(result.returned)
            return result

        if isinstance(work.message, BatchMessage) and work.handler is not None:
            several = [part.steps for part in work.parts if part.steps is not None]
            work.steps = self._get_processor().batch_steps(work.message, work.handler, several)
            work.steps.take(work.result)
        elif work.steps is None:
            work.steps = self._get_processor().steps(work.message)
        else:
            work.steps.take(work.result)
        return drive(work.steps, run, lambda step: isinstance(step, Turn | Parting))

    def _part(self, batch: Work) -> list[Input]:
        """Let each message of a batch go on, to its verdict or another line."""
        told: list[Input] = []
        for work in batch.parts:
            step = work.steps.step if work.steps is not None else None
            work.called += batch.called
            if isinstance(step, Verdict):
                del self._in_line[work.message.id]
                self._record.in_line.pop(work.message.id, None)
            told += self._go_on(work, step)
        return told

    def _go_on(self, work: Work, step: Step | Verdict | None) -> list[Input]:
        if isinstance(step, Verdict):
            return [self._end(work, step)]
        return [self._line_up(work, step)] if isinstance(step, Turn) else []

    def _line_up(self, work: Work, turn: Turn) -> LinedUp:
        message = work.message
        if turn.last is not None and turn.is_again:
            self._note_handled(work, turn.last)
        self._in_line[message.id] = work
        if turn.handler is not None:
            self._record.in_line[message.id] = turn.handler.name
        return LinedUp((message,), turn.handler, turn.last)

    def _end(self, work: Work, verdict: Verdict) -> Finished:
        for outcome in verdict.outcomes:
            if outcome.handler in work.called:
                self._note_handled(work, outcome)
        self._record.note_verdict(verdict, self._max_receives)
        return Finished((verdict,))

    def _note_handled(self, work: Work, outcome: Outcome) -> None:
        """Note what a handler made of a message, once."""
        if not any(outcome is each for each in work.noted):
            work.noted.append(outcome)
            self._record.note_handled(work.message.id, outcome)
