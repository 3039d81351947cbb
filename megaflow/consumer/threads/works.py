"""Works: the messages that workers have, at work or in line for their turn, and what has come of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Final

from megaflow.consumer.core.protocol import CallBatch, Crashed, Finished, Input, LinedUp, Resume, StoreFailed
from megaflow.consumer.threads.caller import Caller
from megaflow.errors import StoreError, text_of
from megaflow.logs import get_logger
from megaflow.messages.message import Message
from megaflow.processing.log_lines import about
from megaflow.processing.processor import Processor
from megaflow.processing.steps import Parting, Result, Steps, Turn, lease_lost
from megaflow.processing.verdict import Verdict
from megaflow.telemetry import tracing

log = get_logger(__name__)

LEFT: Final = (Turn, Parting)
"""Steps that are left to the core."""


@dataclass(slots=True, eq=False)
class Work:
    """A message on its way through its handlers, and the steps that it takes, once they are begun."""

    message: Message
    context: Context | None = None
    """Where its handlers find what those before them have set; None as long as none was called."""

    steps: Steps | None = None
    failure: StoreError | None = None
    """What a store failed with, as long as the core has it."""

    result: Result | None = None
    """What its step has come to while the core had it; None where it is to be done."""

    handled_by: Caller = Caller.WORKER
    spawned_at: float = 0.0
    parts: Sequence[Work] = ()
    """The messages of a batch, where this is one."""

    def take_result(self, steps: Steps) -> None:
        """Take a message on from its step, where that was done while the core had it."""
        result, self.result = self.result, None
        if result is not None:
            steps.take(result)


class Works:
    """Knows what is at work and what is in line.

    There is no lock, as to add, to append and to pop are one step each, and whoever pops a message has it alone.
    """

    def __init__(self) -> None:
        self.finished: Final[deque[Verdict | Crashed | StoreFailed | tuple[Message, Turn]]] = deque()
        """What nobody has told yet; with a turn a message that waits for it."""

        self._at_work: dict[int, Work] = {}
        self._in_line: dict[int, Work] = {}
        """What waits for its turn, which needs no thread."""

    @property
    def count(self) -> int:
        """How many are at work."""
        return len(self._at_work)

    def start(self, messages: Sequence[Message]) -> list[Work]:
        """Take messages."""
        works = [Work(message) for message in messages]
        self._at_work |= {id(work.message): work for work in works}
        return works

    def give_up(self, message: Message) -> Work | None:
        """Forget a message, or a batch with its messages, for which nobody waits any more."""
        work = self._at_work.pop(id(message), None)
        tracing.give_up(message)
        if work is not None and work.parts:
            self._forget(work)
        return work

    def close(self) -> None:
        """Let go of all of them."""
        for work in [*self._at_work.values(), *self._in_line.values()]:
            tracing.give_up(work.message, timed_out=False)

    def resume(self, action: Resume) -> list[Work]:
        """Go on with messages whose turn has come, or in the midst of which a store has failed."""
        works = []
        for message in action.messages:
            work = self._in_line.pop(id(message), None)
            if work is not None:
                work.result = Result(error=lease_lost() if action.failed else None)
                self._at_work[id(message)] = work
            else:
                work = self._at_work[id(message)]
                work.result = Result(error=work.failure) if action.failed else None
            works.append(work)
        return works

    def call_batch(self, action: CallBatch, processor: Processor) -> Work:
        """Return the call of a handler with messages that are in line for it; they stay there until that has ended."""
        parts = [self._in_line[id(message)] for message in action.messages]
        several = [part.steps for part in parts if part.steps is not None]
        steps = processor.batch_steps(action.batch, action.handler, several)
        work = self._at_work[id(action.batch)] = Work(action.batch, steps=steps, result=Result(), parts=parts)
        return work

    def drop(self, messages: Sequence[Message]) -> None:
        """Forget messages in line."""
        for message in messages:
            self._in_line.pop(id(message), None)
            tracing.give_up(message, timed_out=False)

    def take_finished(self) -> list[Input]:
        """Return what has finished meanwhile, or waits for a store or its turn, all verdicts together.

        Those that have come to the same turn, one after another, are together, too.
        """
        verdicts: list[Verdict] = []
        others: list[Input] = []
        several: list[Message] = []
        first: Turn | None = None
        while self.finished:
            ended = self.finished.popleft()
            if isinstance(ended, Verdict):
                verdicts.append(ended)
            elif isinstance(ended, tuple):
                message, turn = ended
                if first is None or turn.handler is not first.handler or not (turn.last is first.last is None):
                    first, several = turn, []
                    others.append(LinedUp(several, turn.handler, turn.last))
                several.append(message)
            else:
                others.append(ended)
        return [Finished(verdicts), *others] if verdicts else others

    def park(self, work: Work, error: StoreError) -> bool:
        """Leave a message to the core whose store has failed; tell whether it is still waited for."""
        work.failure = error
        if id(work.message) in self._at_work:
            self.finished.append(StoreFailed(work.message, error))
            return True
        return self.end(work, Crashed(work.message, error))

    def leave(self, work: Work, step: Turn | Parting, context: Context) -> bool:
        """Leave a message, or those of a batch, to the core; tell whether they are still waited for."""
        return self._line_up(work, step, context) if isinstance(step, Turn) else self._part(work)

    def _part(self, work: Work) -> bool:
        """Let each message of a batch go on, to its verdict or another line; tell whether it is still waited for."""
        if self._at_work.pop(id(work.message), None) is None:
            text = "%s: finished after it was given up"
            log.warning(text, work.message.id, extra=about(work.message))
            return False
        for part in work.parts:
            step = part.steps.step if part.steps is not None else None
            if isinstance(step, Verdict):
                del self._in_line[id(part.message)]
                self.finished.append(step)
            elif isinstance(step, Turn):
                self.finished.append((part.message, step))
        return True

    def _line_up(self, work: Work, turn: Turn, context: Context) -> bool:
        """Leave a message to the core until its turn has come; tell whether it is still waited for."""
        work.context, message = context, work.message
        if self._at_work.pop(id(message), None) is None:
            return False
        self._in_line[id(message)] = work
        self.finished.append((message, turn))
        return True

    def end(self, work: Work, ended: Verdict | Crashed) -> bool:
        """Note what came of a message, unless it was given up; then say so, as the core does not hear of it."""
        if self._at_work.pop(id(work.message), None) is not None:
            if work.parts:
                self._forget(work)
            self.finished.append(ended)
            return True
        said = str(ended) if isinstance(ended, Verdict) else text_of(ended.error)
        text = "message %s: finished after it was given up: %s"
        log.warning(text, work.message.id, said, extra=about(work.message))
        return False

    def _forget(self, batch: Work) -> None:
        """Forget the messages of a batch that nobody waits for."""
        self.drop([part.message for part in batch.parts])
