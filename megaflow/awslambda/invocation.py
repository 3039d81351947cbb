"""One invocation of the Lambda function: its messages, each FIFO group in order, until all are done or time is up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Final

from megaflow.awslambda.event_loops import EventLoops
from megaflow.awslambda.store_watch import StoreWatch
from megaflow.awslambda.works import Work, Works
from megaflow.consumer.threads.renewals import Renewals
from megaflow.errors import HandlerTimeoutError, StoreError, describe_error, text_of
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.logs import get_logger
from megaflow.messages.batch import BatchMessage
from megaflow.messages.message import Message
from megaflow.processing.dead_letters import why_unhandled
from megaflow.processing.log_lines import about
from megaflow.processing.processor import Processor
from megaflow.processing.steps import Parting, Result, Step, StoreCall, Turn, ask_once, ask_or_raise, drive, run_step
from megaflow.processing.verdict import Fate, Outcome, Verdict
from megaflow.settings import ConsumerSettings
from megaflow.telemetry import tracing
from megaflow.transport.addresses import is_fifo

log = get_logger(__name__)

_PAUSES: Final = (0.1, 0.4, 1.6)
"""Seconds between tries to ask a store."""


@dataclass(frozen=True, slots=True)
class End:
    """What became of a message: it is *done* with, or comes again, perhaps after *pause* seconds."""

    done: bool
    pause: float | None = None


COMES_AGAIN: Final = End(done=False)


@dataclass(frozen=True, slots=True)
class _Limit:
    """When a handler is to have returned."""

    ends_at: float
    handler: Handler


class Invocation:
    """Handles messages until *ends_at*. What runs then is given up: it changes nothing any more."""

    def __init__(
        self,
        processor: Processor,
        settings: ConsumerSettings,
        event_loops: EventLoops,
        stores: StoreWatch,
        clock: Callable[[], float],
        ends_at: float,
        works: Works,
        settle: Callable[[Verdict], End],
        give_up: Callable[[Message, Handler], End],
        keep: Callable[[Message, Sequence[Outcome]], End],
    ) -> None:
        self._context = copy_context()
        self._processor = processor
        self._settings = settings
        self._event_loops = event_loops
        self._stores = stores
        self._clock = clock
        self._ends_at = ends_at
        self._settle = settle
        self._give_up = give_up
        self._keep = keep
        self._works = works
        self._changed = threading.Condition()
        self._limits: dict[str, _Limit] = {}
        self._ends: dict[str, End] = {}
        self._stopped = False
        """Whether nothing more is begun."""

        self._renews_at = clock() + settings.visibility_timeout
        self._renewals = Renewals(lambda: processor)

    def run(self, messages: Sequence[Message]) -> dict[str, End]:
        """Handle *messages*, and return what became of each; those that are missing come again."""
        self._works.wait(messages)
        try:
            while self._go_on():
                self._renew_claims()
        finally:
            self._renewals.close()
            with self._changed:
                self._end()
        return dict(self._ends)

    def _go_on(self) -> bool:
        """Begin what can be begun, and wait until something happens; tell whether there is more to wait for."""
        with self._changed:
            now = self._clock()
            self._begin_all(now)
            comes_to_nothing = not self._works.at_work and (self._stopped or self._works.due_at > self._ends_at)
            if comes_to_nothing or now >= self._ends_at:
                return False
            times = [self._ends_at, self._renews_at, *(limit.ends_at for limit in self._limits.values())]
            if self._works.due_at > now:
                times.append(self._works.due_at)
            self._changed.wait(max(0.0, min(times) - now))
            self._give_up_overdue()
            return True

    def _begin_all(self, now: float) -> None:
        """Go on with those whose turn has come, then with others, as far as there are places."""
        for work in self._works.take_doomed():
            tracing.give_up(work.message, timed_out=False)
        for work in () if self._stopped else self._works.begin_next(now):
            self._begin(work)
        if not (self._stopped or self._works.at_work):
            # Nobody waits for what is away but for a try that is under way, as the time of a function costs.
            for work, owner in self._works.take_untried():
                _let_come_again(work.message, owner)

    def _begin(self, work: Work) -> None:
        try:
            threading.Thread(target=self._handle, args=(work,), name="megaflow-lambda", daemon=True).start()
        except RuntimeError as error:
            self._stopped = True
            for part in work.parts or (work,):
                self._works.end(part, done=False)
            text = "%d messages come again: there is no thread for them: %s"
            log.error(text, len(work.messages), text_of(error))

    def _end(self) -> None:
        """Give up what still runs, or is in line: its answer is given without it."""
        at_work, in_line = self._works.at_work, self._works.in_line
        groups = {_group_of(work.message) for work in in_line} - {None}
        waiting = [message for message in self._works.waiting if _group_of(message) not in groups]
        late = [message for work in at_work for message in work.messages] + waiting
        if late and not self._stopped:
            log.warning("%d messages come again: the function's time is up", len(late))
        if at_work:
            self._event_loops.replace()
        if in_line and not self._stopped:
            self._keep_in_line(in_line, len(self._works.waiting) - len(waiting))
        self._stopped = True
        late += [work.message for work in in_line]
        _give_up_leases([*late, *(work.message for work in at_work)])
        self._works.clear()
        for message in late:
            tracing.give_up(message, timed_out=False)

    def _keep_in_line(self, in_line: Sequence[Work], followers: int) -> None:
        """Let those come again whose turn has not come, when its handler's backoff says so."""
        text = "%d messages come again: their turn at a handler does not come in the function's time"
        log.warning(text, len(in_line) + followers)
        for work in in_line:
            if work.turn is not None and work.turn.handler is not None:
                later = Outcome(work.turn.handler, ProcessStatus.RETRY_LATER)
                self._ends[work.message.id] = self._keep(work.message, (later,))

    def _handle(self, work: Work) -> None:
        """Handle a message as far as it goes, or a batch and what follows for each of its messages."""
        if not self._stopped and self._clock() < self._ends_at:
            if work.parts:
                self._call_batch(work)
            else:
                self._handle_one(work)
        with self._changed:
            self._changed.notify()

    def _handle_one(self, work: Work) -> None:
        message = work.message
        context = work.context = work.context or self._context.copy()
        try:
            ended = context.run(self._process, work)
            if isinstance(ended, Verdict):
                self._finish(work, ended)
            elif isinstance(ended, Turn):
                self._line_up(work, ended)
        except BaseException:
            log.exception("message %s: its handlers could not be run", message.id, extra=about(message))
            self._let_come_again(work)

    def _call_batch(self, batch: Work) -> None:
        try:
            self._context.copy().run(self._process_batch, batch)
        except BaseException:
            log.exception("message %s: its handlers could not be run", batch.message.id, extra=about(batch.message))
            for part in batch.parts:
                self._let_come_again(part)
        else:
            with self._changed:
                is_waited_for = self._works.have(batch)
            if not is_waited_for:
                log.warning("%s: finished after it was given up", batch.message.id, extra=about(batch.message))
                return
            for part in batch.parts:
                self._handle_one(part)

    def _finish(self, work: Work, verdict: Verdict) -> None:
        """Settle a message whose handlers have ended, where it is waited for."""
        message = work.message
        with self._changed:
            is_waited_for = self._works.have(work)
            if is_waited_for:
                self._works.note_verdict(verdict, self._clock())
        if not is_waited_for:
            text = "message %s: finished after it was given up: %s"
            log.warning(text, message.id, str(verdict), extra=about(message))
            return
        end = self._settle(verdict)
        if verdict.interruption is not None:
            text = "message %s: a handler has exited, so nothing more is begun: %s"
            log.error(text, message.id, describe_error(verdict.interruption), extra=about(message))
            self._stopped = True
        with self._changed:
            if self._works.have(work):
                self._ends[message.id] = end
                self._works.end(work, done=end.done)

    def _line_up(self, work: Work, turn: Turn) -> None:
        with self._changed:
            if self._works.have(work):
                self._works.line_up(work, turn, self._clock())

    def _let_come_again(self, work: Work) -> None:
        with self._changed:
            if self._works.have(work):
                self._works.end(work, done=False)

    def _process(self, work: Work) -> Step | Verdict:
        """Take a message to its verdict, or to a handler where it has to wait for its turn.

        There is no other try here after one that has failed.
        """
        if work.steps is None:
            if why_unhandled(work.message, self._settings.max_receives):
                return Verdict(work.message, (), Fate.DEAD_LETTER)
            work.steps = self._processor.steps(work.message)
        elif work.turn is not None and work.is_resumed:
            work.is_resumed = False
            work.steps.take(Result())
        return drive(work.steps, partial(self._run, work), self._has_to_wait)

    def _process_batch(self, batch: Work) -> None:
        if batch.handler is not None and isinstance(batch.message, BatchMessage):
            several = [part.steps for part in batch.parts if part.steps is not None]
            steps = self._processor.batch_steps(batch.message, batch.handler, several)
            steps.take(Result())
            drive(steps, partial(self._run, batch), lambda step: isinstance(step, Parting))

    def _has_to_wait(self, step: Step) -> bool:
        return isinstance(step, Turn) and not (step.is_again or self._works.are_free(step))

    def _run(self, work: Work, step: Step) -> Result:
        if isinstance(step, Turn) and step.last is not None and step.is_again:
            with self._changed:
                if self._works.have(work):
                    self._works.note_outcome(work.message, step.last, self._clock())
        return run_step(step, self._event_loops.current.wait, self._watch, self._ask_store)

    def _ask_store(self, step: StoreCall) -> Result:
        """Ask a store, a few times where it fails; begin nothing more where it is not well then."""
        for pause in _PAUSES:
            try:
                return ask_or_raise(step)
            except StoreError:
                if self._clock() + pause >= self._ends_at:
                    break
                time.sleep(pause)
        result = ask_once(step)
        if isinstance(result.error, StoreError) and not self._stores.are_well_after_failure():
            self._stopped = True
        return result

    def _watch(self, message: Message, handler: Handler, seconds: float | None) -> None:
        is_given_up = message.lease is not None and message.lease.is_given_up
        with self._changed:
            if seconds is None:
                self._limits.pop(message.id, None)
                if not is_given_up:
                    self._works.note_returned(message, self._clock())
            elif not is_given_up:
                self._limits[message.id] = _Limit(self._clock() + seconds, handler)
            self._changed.notify()

    def _give_up_overdue(self) -> None:
        now = self._clock()
        for work in self._works.at_work:
            message = work.message
            limit = self._limits.get(message.id)
            if limit is None or limit.ends_at > now:
                continue
            text, name = "message %s: %s has not returned in its time", limit.handler.name
            log.error(text, message.id, name, extra=about(message, handler=name))
            if limit.handler.is_async:
                # It does not give way to others either.
                self._event_loops.replace()
            error = HandlerTimeoutError(f"{name} has not returned in its time")
            self._works.note_outcome(message, Outcome(limit.handler, ProcessStatus.RETRIABLE_ERROR, error), now)
            del self._limits[message.id]
            _give_up_leases((message, *work.messages))
            for part in work.parts or (work,):
                tracing.give_up(part.message)
                self._ends[part.message.id] = self._give_up(part.message, limit.handler)
                self._works.end(part, done=False)

    def _renew_claims(self) -> None:
        """Keep the idempotency keys that are worked on: a function may take longer than they live."""
        if self._clock() < self._renews_at:
            return
        self._renews_at = self._clock() + self._settings.visibility_timeout
        with self._changed:
            messages = self._works.begun
        for message in messages:
            self._renewals.add(message)


def _group_of(message: Message) -> tuple[str, str] | None:
    return (message.queue_url, message.group_id) if is_fifo(message.queue_url) else None


def _give_up_leases(messages: Iterable[Message]) -> None:
    """Let no handler be called any more for these."""
    for message in messages:
        if message.lease is not None:
            message.lease.is_given_up = True


def _let_come_again(message: Message, owner: str) -> None:
    tracing.give_up(message, timed_out=False)
    text = "message %s comes again: not tried, as the circuit breaker of %s is open"
    log.info(text, message.id, owner, extra=about(message))
