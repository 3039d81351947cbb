"""One invocation of the Lambda function: its messages, each FIFO group in order, until all are done or time is up."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from megaflow.awslambda.lanes import BatchJob, Lane, Work, make_batches, sort_into_lanes
from megaflow.awslambda.store_watch import StoreWatch
from megaflow.consumer.threads.event_loop import EventLoop
from megaflow.consumer.threads.renewals import Renewals
from megaflow.errors import StoreError, describe_error, text_of
from megaflow.handlers.handler import Handler
from megaflow.logs import get_logger
from megaflow.messages.message import Message
from megaflow.processing.dead_letters import why_unhandled
from megaflow.processing.log_lines import about
from megaflow.processing.processor import Processor
from megaflow.processing.steps import (
    BatchTurn,
    Parting,
    Result,
    Step,
    StoreCall,
    Turn,
    ask_once,
    ask_or_raise,
    drive,
    run_step,
)
from megaflow.processing.verdict import Fate, Verdict
from megaflow.settings import ConsumerSettings
from megaflow.telemetry import tracing

log = get_logger(__name__)

_PAUSES: Final = (0.1, 0.4, 1.6)
"""Seconds between tries to ask a store."""

Job: TypeAlias = Lane | BatchJob
"""What one thread does."""


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


class EventLoops:
    """The event loop of async handlers, and those that were left to handlers which did not give way."""

    def __init__(self) -> None:
        self.current = self._make()

    def replace(self) -> None:
        """Leave the loop to what runs there, which is cancelled if it can be, and go on with another one."""
        self.current.close()
        self.current = self._make()

    def _make(self) -> EventLoop:
        return EventLoop(on_interrupt=_log_interruption)


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
        settle: Callable[[Verdict], End],
        give_up: Callable[[Message], End],
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
        self._changed = threading.Condition()
        self._under_way: dict[int, Job] = {}
        self._in_line: list[Lane] = []
        """The lanes of which something waits for a batch."""

        self._ready: list[Lane] = []
        """Those that go on, as their batches have ended."""

        self._limits: dict[str, _Limit] = {}
        self._ends: dict[str, End] = {}
        self._stopped = False
        """Whether nothing more is begun."""

        self._renews_at = clock() + settings.visibility_timeout
        self._renewals = Renewals(lambda: processor)

    def run(self, messages: Sequence[Message]) -> dict[str, End]:
        """Handle *messages*, and return what became of each; those that are missing come again."""
        waiting: deque[Job] = deque(sort_into_lanes(messages))
        while self._go_on(waiting):
            self._renew_claims()
        self._renewals.close()
        with self._changed:
            self._end(waiting)
            return dict(self._ends)

    def _go_on(self, waiting: deque[Job]) -> bool:
        """Begin what can be begun, and wait until something happens; tell whether there is more to wait for."""
        with self._changed:
            waiting += self._ready
            self._ready = []
            if not (waiting or self._under_way):
                # Nothing more comes to a batch.
                waiting += self._collect_batches()
            while waiting and not self._stopped and len(self._under_way) < self._settings.concurrency:
                self._begin(waiting.popleft())
            if not self._under_way or self._clock() >= self._ends_at:
                return False
            times = [self._ends_at, self._renews_at, *(limit.ends_at for limit in self._limits.values())]
            self._changed.wait(max(0.0, min(times) - self._clock()))
            self._give_up_overdue()
            return True

    def _collect_batches(self) -> list[BatchJob]:
        lanes, self._in_line = self._in_line, []
        jobs = list(make_batches(lanes))
        called = {lane for job in jobs for lane in job.lanes}
        self._in_line = [lane for lane in lanes if lane not in called]
        return jobs

    def _begin(self, job: Job) -> None:
        self._under_way[id(job)] = job
        run = partial(self._handle, job) if isinstance(job, Lane) else partial(self._call_batch, job)
        try:
            threading.Thread(target=run, name="megaflow-lambda", daemon=True).start()
        except RuntimeError as error:
            del self._under_way[id(job)]
            self._stopped = True
            log.error("%d messages come again: there is no thread for them: %s", len(job.messages), text_of(error))

    def _end(self, waiting: Iterable[Job]) -> None:
        """Give up what still runs: its answer is given without it."""
        jobs = (*self._under_way.values(), *waiting, *self._in_line, *self._ready)
        lanes = dict.fromkeys(lane for job in jobs for lane in ([job] if isinstance(job, Lane) else job.lanes))
        late = [each for lane in lanes if not lane.is_broken for each in lane.messages if each.id not in self._ends]
        if late and not self._stopped:
            log.warning("%d messages come again: the function's time is up", len(late))
        if self._under_way:
            self._event_loops.replace()
        self._stopped = True
        self._under_way.clear()
        _give_up_leases(late)
        for message in late:
            tracing.give_up(message, timed_out=False)

    def _handle(self, lane: Lane) -> None:
        # What follows in its group must not overtake a message that comes again.
        while not self._is_over and (work := lane.next(self._context)) is not None:
            self._handle_one(lane, work)
        with self._changed:
            if self._under_way.pop(id(lane), None) is not None and lane.in_line and not lane.is_broken:
                self._in_line.append(lane)
            self._changed.notify()

    def _handle_one(self, lane: Lane, work: Work) -> None:
        """Handle a message, to its end or until it waits for a batch."""
        message = work.message
        try:
            ended = work.context.run(self._process, work)
            if not isinstance(ended, Verdict):
                lane.in_line.append(work)
                return
            if self._is_given_up(lane):
                text = "message %s: finished after it was given up: %s"
                log.warning(text, message.id, str(ended), extra=about(message))
                lane.is_broken = True
                return
            lane.is_broken = not self._note_verdict(lane, ended)
        except BaseException:
            log.exception("message %s: its handlers could not be run", message.id, extra=about(message))
            lane.is_broken = True

    def _call_batch(self, job: BatchJob) -> None:
        """Call a handler with a batch, and go on with each of its messages, to its end or another batch."""
        try:
            self._context.copy().run(self._process_batch, job)
            if self._is_given_up(job):
                log.warning("%s: finished after it was given up", job.batch.id, extra=about(job.batch))
                return
            for lane, work in job.parts:
                ended = work.steps.step if work.steps is not None else None
                if isinstance(ended, Verdict):
                    lane.in_line.remove(work)
                    lane.is_broken |= not self._note_verdict(job, ended)
        except BaseException:
            log.exception("message %s: its handlers could not be run", job.batch.id, extra=about(job.batch))
            for lane in job.lanes:
                lane.is_broken = True
        with self._changed:
            if self._under_way.pop(id(job), None) is not None:
                self._ready += [lane for lane in job.lanes if not lane.is_broken]
            self._changed.notify()

    def _note_verdict(self, job: Job, verdict: Verdict) -> bool:
        """Settle a message, and tell whether it is done with."""
        message, end = verdict.message, self._settle(verdict)
        if verdict.interruption is not None:
            text = "message %s: a handler has exited, so nothing more is begun: %s"
            log.error(text, message.id, describe_error(verdict.interruption), extra=about(message))
            self._stopped = True
        with self._changed:
            if id(job) in self._under_way:
                self._ends[message.id] = end
        return end.done

    @property
    def _is_over(self) -> bool:
        return self._stopped or self._clock() >= self._ends_at

    def _process(self, work: Work) -> Step | Verdict:
        if work.steps is None:
            if why_unhandled(work.message, self._settings.max_receives):
                return Verdict(work.message, (), Fate.DEAD_LETTER)
            work.steps = self._processor.steps(work.message)
        else:
            work.steps.take(Result())
        return drive(work.steps, self._run_step, _waits_for_others)

    def _process_batch(self, job: BatchJob) -> None:
        several = [work.steps for _, work in job.parts if work.steps is not None]
        steps = self._processor.batch_steps(job.batch, job.handler, several)
        steps.take(Result())
        drive(steps, self._run_step, lambda step: isinstance(step, Parting))

    def _run_step(self, step: Step) -> Result:
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
        with self._changed:
            if seconds is None:
                self._limits.pop(message.id, None)
            elif not (message.lease and message.lease.is_given_up):
                self._limits[message.id] = _Limit(self._clock() + seconds, handler)
            self._changed.notify()

    def _give_up_overdue(self) -> None:
        now = self._clock()
        for key, job in list(self._under_way.items()):
            for message in job.watched:
                limit = self._limits.get(message.id)
                if limit is None or limit.ends_at > now:
                    continue
                text, name = "message %s: %s has not returned in its time", limit.handler.name
                log.error(text, message.id, name, extra=about(message, handler=name))
                if limit.handler.is_async:
                    # It does not give way to others either.
                    self._event_loops.replace()
                del self._limits[message.id]
                self._under_way.pop(key, None)
                self._give_up_job(job, [message] if isinstance(job, Lane) else job.messages)

    def _give_up_job(self, job: Job, overdue: Iterable[Message]) -> None:
        for message in overdue:
            tracing.give_up(message)
            self._ends[message.id] = self._give_up(message)
        late = [each for lane in ([job] if isinstance(job, Lane) else job.lanes) for each in lane.messages]
        _give_up_leases(each for each in (*late, *job.watched) if not self._ends.get(each.id, COMES_AGAIN).done)

    def _is_given_up(self, job: Job) -> bool:
        with self._changed:
            return id(job) not in self._under_way

    def _renew_claims(self) -> None:
        """Keep the idempotency keys that are worked on: a function may take longer than they live."""
        if self._clock() < self._renews_at:
            return
        self._renews_at = self._clock() + self._settings.visibility_timeout
        with self._changed:
            messages = [message for job in self._under_way.values() for message in job.messages]
        for message in messages:
            self._renewals.add(message)


def _give_up_leases(messages: Iterable[Message]) -> None:
    """Let no handler be called any more for these."""
    for message in messages:
        if message.lease is not None:
            message.lease.is_given_up = True


def _waits_for_others(step: Step) -> bool:
    """Tell whether a message goes on only with others, or after them."""
    return isinstance(step, BatchTurn) or (isinstance(step, Turn) and step.handler is None)


def _log_interruption(error: BaseException) -> None:
    log.error("something that a handler left running has exited: %s", describe_error(error))
