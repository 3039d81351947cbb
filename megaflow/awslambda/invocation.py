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

from megaflow.awslambda.breakers import Breakers, NotTriedError
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
from megaflow.processing.steps import Result, StoreCall, Turn, ask_once, ask_or_raise, drive, run_step
from megaflow.processing.verdict import Fate, Verdict
from megaflow.settings import ConsumerSettings
from megaflow.telemetry import tracing
from megaflow.transport.addresses import is_fifo

log = get_logger(__name__)

_PAUSES: Final = (0.1, 0.4, 1.6)
"""Seconds between tries to ask a store."""

Lane: TypeAlias = list[Message]
"""Messages that are handled one after another: those of one group of a FIFO queue, or a single one."""


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
        breakers: Breakers,
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
        self._breakers = breakers
        self._clock = clock
        self._ends_at = ends_at
        self._settle = settle
        self._give_up = give_up
        self._changed = threading.Condition()
        self._under_way: dict[int, Lane] = {}
        self._limits: dict[str, _Limit] = {}
        self._ends: dict[str, End] = {}
        self._stopped = False
        """Whether nothing more is begun."""

        self._renews_at = clock() + settings.visibility_timeout
        self._renewals = Renewals(lambda: processor)

    def run(self, messages: Sequence[Message]) -> dict[str, End]:
        """Handle *messages*, and return what became of each; those that are missing come again."""
        waiting = deque(_sort_into_lanes(messages))
        while self._go_on(waiting):
            self._renew_claims()
        self._renewals.close()
        with self._changed:
            self._end(waiting)
            return dict(self._ends)

    def _go_on(self, waiting: deque[Lane]) -> bool:
        """Begin what can be begun, and wait until something happens; tell whether there is more to wait for."""
        with self._changed:
            while waiting and not self._stopped and len(self._under_way) < self._settings.concurrency:
                self._begin(waiting.popleft())
            if not self._under_way or self._clock() >= self._ends_at:
                return False
            times = [self._ends_at, self._renews_at, *(limit.ends_at for limit in self._limits.values())]
            self._changed.wait(max(0.0, min(times) - self._clock()))
            self._give_up_overdue()
            return True

    def _begin(self, lane: Lane) -> None:
        self._under_way[id(lane)] = lane
        try:
            threading.Thread(target=self._handle, args=(lane,), name="megaflow-lambda", daemon=True).start()
        except RuntimeError as error:
            del self._under_way[id(lane)]
            self._stopped = True
            log.error("%d messages come again: there is no thread for them: %s", len(lane), text_of(error))

    def _end(self, waiting: Iterable[Lane]) -> None:
        """Give up what still runs: its answer is given without it."""
        late = [each for lane in (*self._under_way.values(), *waiting) for each in lane if each.id not in self._ends]
        if late and not self._stopped:
            log.warning("%d messages come again: the function's time is up", len(late))
        if self._under_way:
            self._event_loops.replace()
        self._stopped = True
        self._under_way.clear()
        _give_up_leases(late)
        for message in late:
            self._breakers.forget(message)
            tracing.give_up(message, timed_out=False)

    def _handle(self, lane: Lane) -> None:
        for message in lane:
            # What follows in its group must not overtake a message that comes again.
            if self._stopped or self._clock() >= self._ends_at or not self._handle_one(lane, message):
                break
        with self._changed:
            self._under_way.pop(id(lane), None)
            self._changed.notify()

    def _handle_one(self, lane: Lane, message: Message) -> bool:
        """Handle a message, and tell whether it is done with."""
        try:
            verdict = self._context.copy().run(self._process, message)
            if self._is_given_up(lane):
                text = "message %s: finished after it was given up: %s"
                log.warning(text, message.id, str(verdict), extra=about(message))
                return False
            end = self._settle(verdict)
        except NotTriedError as error:
            tracing.give_up(message, timed_out=False)
            log.info("message %s comes again: not tried, as %s", message.id, str(error), extra=about(message))
            return False
        except BaseException:
            log.exception("message %s: its handlers could not be run", message.id, extra=about(message))
            return False
        if verdict.interruption is not None:
            text = "message %s: a handler has exited, so nothing more is begun: %s"
            log.error(text, message.id, describe_error(verdict.interruption), extra=about(message))
            self._stopped = True
        with self._changed:
            if id(lane) in self._under_way:
                self._ends[message.id] = end
        return end.done

    def _process(self, message: Message) -> Verdict:
        if why_unhandled(message, self._settings.max_receives):
            return Verdict(message, (), Fate.DEAD_LETTER)
        run = partial(run_step, wait=self._event_loops.current.wait, watch=self._watch, ask=self._ask_store)
        try:
            verdict = drive(
                self._processor.steps(message),
                lambda step: self._breakers.take(step, message) if isinstance(step, Turn) else run(step),
            )
            self._breakers.note_verdict(verdict)
        finally:
            self._breakers.forget(message)
        return verdict

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
        for key, lane in list(self._under_way.items()):
            for message in lane:
                limit = self._limits.get(message.id)
                if limit is None or limit.ends_at > now:
                    continue
                text, name = "message %s: %s has not returned in its time", limit.handler.name
                log.error(text, message.id, name, extra=about(message, handler=name))
                if limit.handler.is_async:
                    # It does not give way to others either.
                    self._event_loops.replace()
                tracing.give_up(message)
                self._breakers.forget(message)
                self._ends[message.id] = self._give_up(message)
                del self._limits[message.id]
                self._under_way.pop(key, None)
                _give_up_leases(each for each in lane if not self._ends.get(each.id, COMES_AGAIN).done)

    def _is_given_up(self, lane: Lane) -> bool:
        with self._changed:
            return id(lane) not in self._under_way

    def _renew_claims(self) -> None:
        """Keep the idempotency keys that are worked on: a function may take longer than they live."""
        if self._clock() < self._renews_at:
            return
        self._renews_at = self._clock() + self._settings.visibility_timeout
        with self._changed:
            messages = [message for lane in self._under_way.values() for message in lane]
        for message in messages:
            self._renewals.add(message)


def _give_up_leases(messages: Iterable[Message]) -> None:
    """Let no handler be called any more for these."""
    for message in messages:
        if message.lease is not None:
            message.lease.is_given_up = True


def _sort_into_lanes(messages: Iterable[Message]) -> list[Lane]:
    lanes: dict[object, Lane] = {}
    for message in messages:
        ordered = is_fifo(message.queue_url)
        lanes.setdefault((message.queue_url, message.group_id) if ordered else message.id, []).append(message)
    return list(lanes.values())


def _log_interruption(error: BaseException) -> None:
    log.error("something that a handler left running has exited: %s", describe_error(error))
