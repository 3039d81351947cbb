"""One invocation of the Lambda function: its messages, each FIFO group in order, until all are done or time is up."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Final

from megaflow.awslambda.lanes import Lane, Lanes, sort_into_lanes
from megaflow.awslambda.store_watch import StoreWatch
from megaflow.consumer.threads.event_loop import EventLoop
from megaflow.consumer.threads.renewals import Renewals
from megaflow.errors import HandlerTimeoutError, StoreError, describe_error, text_of
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.logs import get_logger
from megaflow.messages.message import Message
from megaflow.processing.dead_letters import why_unhandled
from megaflow.processing.log_lines import about
from megaflow.processing.processor import Processor
from megaflow.processing.steps import Result, Step, StoreCall, Turn, ask_once, ask_or_raise, drive, run_step
from megaflow.processing.verdict import Fate, Outcome, Verdict
from megaflow.settings import ConsumerSettings
from megaflow.telemetry import tracing

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
        lanes: Lanes,
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
        self._lanes = lanes
        self._changed = threading.Condition()
        self._limits: dict[str, _Limit] = {}
        self._ends: dict[str, End] = {}
        self._stopped = False
        """Whether nothing more is begun."""

        self._renews_at = clock() + settings.visibility_timeout
        self._renewals = Renewals(lambda: processor)

    def run(self, messages: Sequence[Message]) -> dict[str, End]:
        """Handle *messages*, and return what became of each; those that are missing come again."""
        waiting = sort_into_lanes(messages)
        try:
            while self._go_on(waiting):
                self._renew_claims()
        finally:
            self._renewals.close()
            with self._changed:
                self._end(waiting)
        return dict(self._ends)

    def _go_on(self, waiting: deque[Lane]) -> bool:
        """Begin what can be begun, and wait until something happens; tell whether there is more to wait for."""
        with self._changed:
            now = self._clock()
            self._begin_all(waiting, now)
            comes_to_nothing = not self._lanes.at_work and (self._stopped or self._lanes.due_at > self._ends_at)
            if comes_to_nothing or now >= self._ends_at:
                return False
            times = [self._ends_at, self._renews_at, *(limit.ends_at for limit in self._limits.values())]
            if self._lanes.due_at > now:
                times.append(self._lanes.due_at)
            self._changed.wait(max(0.0, min(times) - now))
            self._give_up_overdue()
            return True

    def _begin_all(self, waiting: deque[Lane], now: float) -> None:
        """Go on with those whose turn has come, then with others, as far as there are places."""
        if not self._stopped:
            for lane in self._lanes.resume(now):
                self._begin(lane)
            # Nobody waits for what is away, as the time of a function costs.
            for lane, owner in self._lanes.take_untried():
                _let_come_again(lane.messages[0], owner)
        while waiting and not self._stopped and self._lanes.have_place:
            self._lanes.begin(lane := waiting.popleft(), now)
            self._begin(lane)

    def _begin(self, lane: Lane) -> None:
        try:
            threading.Thread(target=self._handle, args=(lane,), name="megaflow-lambda", daemon=True).start()
        except RuntimeError as error:
            self._lanes.end(lane)
            self._stopped = True
            text = "%d messages come again: there is no thread for them: %s"
            log.error(text, len(lane.messages), text_of(error))

    def _end(self, waiting: Iterable[Lane]) -> None:
        """Give up what still runs, or is in line: its answer is given without it."""
        at_work = self._lanes.at_work
        in_line = [lane for lane in self._lanes.begun if lane not in at_work]
        late = [each for lane in (*at_work, *waiting) for each in lane.messages if each.id not in self._ends]
        if late and not self._stopped:
            log.warning("%d messages come again: the function's time is up", len(late))
        if at_work:
            self._event_loops.replace()
        if in_line and not self._stopped:
            self._keep_in_line(in_line)
        self._stopped = True
        self._lanes.clear()
        late += [message for lane in in_line for message in lane.messages]
        _give_up_leases(late)
        for message in late:
            tracing.give_up(message, timed_out=False)

    def _keep_in_line(self, in_line: Sequence[Lane]) -> None:
        """Let those come again whose turn has not come, when its handler's backoff says so."""
        count = sum(len(lane.messages) for lane in in_line)
        log.warning("%d messages come again: their turn at a handler does not come in the function's time", count)
        for lane in in_line:
            if lane.turn is not None:
                later = Outcome(lane.turn.handler, ProcessStatus.RETRY_LATER)
                self._ends[lane.messages[0].id] = self._keep(lane.messages[0], (later,))

    def _handle(self, lane: Lane) -> None:
        """Handle a lane, up to a message that waits for its turn, or comes again: what follows must not overtake it."""
        while not self._stopped and self._clock() < self._ends_at and self._handle_first(lane):
            pass
        with self._changed:
            if self._lanes.have(lane):
                if lane.turn is None:
                    self._lanes.end(lane)
                else:
                    self._lanes.line_up(lane, lane.turn, self._clock())
            self._changed.notify()

    def _handle_first(self, lane: Lane) -> bool:
        """Handle the first message of a lane as far as it goes; tell whether the next one has its place now."""
        message = lane.messages[0]
        context = lane.context = lane.context or self._context.copy()
        try:
            verdict = context.run(self._process, lane)
            if not isinstance(verdict, Verdict):
                return False
            if not self._note_verdict(lane, verdict):
                text = "message %s: finished after it was given up: %s"
                log.warning(text, message.id, str(verdict), extra=about(message))
                return False
            end = self._settle(verdict)
        except BaseException:
            lane.steps = None
            log.exception("message %s: its handlers could not be run", message.id, extra=about(message))
            return False
        if verdict.interruption is not None:
            text = "message %s: a handler has exited, so nothing more is begun: %s"
            log.error(text, message.id, describe_error(verdict.interruption), extra=about(message))
            self._stopped = True
        with self._changed:
            if not self._lanes.have(lane):
                return False
            self._ends[message.id] = end
            return end.done and self._lanes.go_on(lane, self._clock())

    def _process(self, lane: Lane) -> Step | Verdict:
        """Take the first message of a lane to its verdict, or to a handler where it has to wait for its turn.

        There is no other try here after one that has failed.
        """
        message = lane.messages[0]
        if lane.turn is not None and lane.steps is not None:
            lane.steps.take(Result())
        elif why_unhandled(message, self._settings.max_receives):
            return Verdict(message, (), Fate.DEAD_LETTER)
        steps = lane.steps = lane.steps or self._processor.steps(message)
        run = partial(run_step, wait=self._event_loops.current.wait, watch=self._watch, ask=self._ask_store)
        return drive(
            steps, lambda step: self._pass_by(lane, step) if isinstance(step, Turn) else run(step), self._has_to_wait
        )

    def _has_to_wait(self, step: Step) -> bool:
        return isinstance(step, Turn) and not (step.is_again or self._lanes.are_free(step))

    def _pass_by(self, lane: Lane, turn: Turn) -> Result:
        if turn.last is not None and turn.is_again:
            with self._changed:
                if self._lanes.have(lane):
                    self._lanes.note_outcome(lane.messages[0], turn.last, self._clock())
        return turn.pass_by()

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
                    self._lanes.note_returned(message, self._clock())
            elif not is_given_up:
                self._limits[message.id] = _Limit(self._clock() + seconds, handler)
            self._changed.notify()

    def _give_up_overdue(self) -> None:
        now = self._clock()
        for lane in self._lanes.at_work:
            message = lane.messages[0]
            limit = self._limits.get(message.id)
            if limit is None or limit.ends_at > now:
                continue
            text, name = "message %s: %s has not returned in its time", limit.handler.name
            log.error(text, message.id, name, extra=about(message, handler=name))
            if limit.handler.is_async:
                # It does not give way to others either.
                self._event_loops.replace()
            tracing.give_up(message)
            error = HandlerTimeoutError(f"{name} has not returned in its time")
            self._lanes.note_outcome(message, Outcome(limit.handler, ProcessStatus.RETRIABLE_ERROR, error), now)
            self._ends[message.id] = self._give_up(message, limit.handler)
            del self._limits[message.id]
            self._lanes.end(lane)
            _give_up_leases(lane.messages)

    def _note_verdict(self, lane: Lane, verdict: Verdict) -> bool:
        """Note that all handlers of the first message of a lane have ended; tell whether they were waited for."""
        with self._changed:
            is_waited_for = self._lanes.have(lane)
            if is_waited_for:
                self._lanes.note_verdict(verdict, self._clock())
            return is_waited_for

    def _renew_claims(self) -> None:
        """Keep the idempotency keys that are worked on: a function may take longer than they live."""
        if self._clock() < self._renews_at:
            return
        self._renews_at = self._clock() + self._settings.visibility_timeout
        with self._changed:
            messages = [message for lane in self._lanes.begun for message in lane.messages]
        for message in messages:
            self._renewals.add(message)


def _give_up_leases(messages: Iterable[Message]) -> None:
    """Let no handler be called any more for these."""
    for message in messages:
        if message.lease is not None:
            message.lease.is_given_up = True


def _let_come_again(message: Message, owner: str) -> None:
    tracing.give_up(message, timed_out=False)
    text = "message %s comes again: not tried, as the circuit breaker of %s is open"
    log.info(text, message.id, owner, extra=about(message))


def _log_interruption(error: BaseException) -> None:
    log.error("something that a handler left running has exited: %s", describe_error(error))
