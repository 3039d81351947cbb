"""The processor: takes one message through its handlers, to a verdict."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from megaflow import forks
from megaflow.dispatch.table import DispatchTable, Selection
from megaflow.frozen import make_record
from megaflow.handlers.dependencies import Dependencies
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.messages.batch import BatchMessage
from megaflow.messages.message import Message
from megaflow.processing.around import Around, surround
from megaflow.processing.batches import Batches, check_batches
from megaflow.processing.fetching import Fetching, give_fetched, lies_elsewhere
from megaflow.processing.groups import group_of
from megaflow.processing.idempotency import Idempotency, check_keys
from megaflow.processing.log_lines import log_no_retries, log_outcome, log_slow_matching, log_verdict
from megaflow.processing.middleware import Middleware, make_pipeline
from megaflow.processing.once import DEFAULT_ROWS, Rows, call_once, find_inboxes
from megaflow.processing.outcomes import OutcomeReader, make_outcome
from megaflow.processing.plain import await_plain
from megaflow.processing.progress import Progress, check_names, recall
from megaflow.processing.runs import HandlerRuns
from megaflow.processing.selected import each_with_own_payload, read_raised
from megaflow.processing.spans import Given, end_handle, end_process, give_traced
from megaflow.processing.steps import (
    Steps,
    StoreCall,
    Turn,
    Wait,
    adrive,
    arun_step,
    drive,
    is_lost,
    refuse_lost,
    run_step,
)
from megaflow.processing.straight import Straight
from megaflow.processing.unmatched import decide_unmatched
from megaflow.processing.verdict import Outcome, Verdict, decide_fate
from megaflow.settings import CircuitBreaker, OnInvalid, Unmatched
from megaflow.stores.store import Ended
from megaflow.telemetry.current import NOTHING_GIVEN, current
from megaflow.telemetry.propagation import Propagation
from megaflow.telemetry.tracing import NO_TRACING, Tracing

if TYPE_CHECKING:
    from megaflow.telemetry.otel_messages import MessageTrace

Begun: TypeAlias = Callable[[], Coroutine[Any, Any, Verdict]]
"""Takes a message through its handlers in an event loop."""

_DONE: Final = ProcessStatus.DONE

SLOW_MATCHING: Final = 0.1
"""Seconds from which on it is said that matching a message has taken so long, and what can have been the matter."""


class Processor:
    """Takes messages through their handlers, and each verdict to *tell*. May be used from any thread."""

    def __init__(
        self,
        handlers: Sequence[Handler],
        *,
        middleware: Sequence[Middleware] = (),
        arounds: Sequence[Around] = (),
        retry_on: tuple[type[Exception], ...] | None = None,
        unmatched: Unmatched = "delete",
        progress: Progress | None = None,
        idempotency: Idempotency | None = None,
        fetching: Fetching | None = None,
        on_invalid: OnInvalid = "dead_letter",
        breaker: CircuitBreaker | None = None,
        dependencies: Dependencies | None = None,
        propagation: Propagation | None = None,
        rows: Rows = DEFAULT_ROWS,
        max_receives: int | None = None,
        max_processing_time: float = math.inf,
        tracing: Tracing = NO_TRACING,
        tell: Callable[[Verdict], None] = log_verdict,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.table: Final = DispatchTable(handlers)
        self._log_outcome = partial(log_outcome, max_receives=max_receives)
        self._breakers = {handler: found for handler in handlers if (found := handler.options.breaker or breaker)}
        self._inboxes = {} if dependencies is None else find_inboxes(handlers, dependencies)
        self._reader = OutcomeReader(handlers, retry_on, on_invalid, self._breakers, self._inboxes)
        calls = ((handler, make_pipeline(handler, middleware, dependencies)) for handler in handlers)
        self._pipelines = {
            handler: surround(handler, call, arounds, self._reader, self._log_outcome) for handler, call in calls
        }
        for handler, inbox in self._inboxes.items():
            call = self._pipelines[handler]
            self._pipelines[handler] = call_once(call, inbox, rows, self._reader, self._log_outcome)
        self._with_turns = frozenset([*self._breakers, *(each for each in handlers if each.options.has_turns)])
        self._with_batches = frozenset(handler for handler in handlers if handler.options.takes_batches)
        # In a FIFO queue a message may have to wait for one before it that is in line for a batch.
        are_plain = progress is None and not self._with_batches
        plain = [each for each in handlers if are_plain and _is_plain(each) and each not in self._with_turns]
        self._plain = frozenset(handler for handler in plain if not handler.is_async)
        self._plain_async = frozenset(handler for handler in plain if handler.is_async)
        self._straight = Straight(
            self._with_batches.difference(self._breakers) if progress is None else (),
            partial(self._decide, trace=None),
            lambda message, selection: Steps(self._give_steps(message, selection, None)),
        )
        undecided = (each for each in handlers if each.options.retry_on is None and each not in self._breakers)
        self.undecided: Final = () if retry_on is not None else tuple(undecided)
        """Those handlers of which nothing says which exceptions are worth another try, not even that none is."""

        self._unmatched: Unmatched = unmatched
        self._progress = progress
        self._idempotency = idempotency
        self.fetching: Final = fetching
        """What reads payloads that lie outside of their messages; None where nothing does."""

        remembering = [each for each in (idempotency, progress, fetching) if each is not None]
        # Most apps have one store for both progress and keys.
        self._remembering = tuple({id(each.store): each for each in remembering}.values())
        self._propagation = propagation or Propagation()
        self._batches = Batches(
            self._pipelines, self._reader, idempotency, self._propagation, self._log_outcome, tracing
        )
        self._runs = HandlerRuns(
            self._pipelines,
            self._reader,
            self._batches,
            self._breakers,
            progress,
            idempotency,
            self._propagation,
            self._log_outcome,
            self._inboxes,
        )
        self._tracing = tracing
        self._tell = tell
        self._clock = clock
        if progress is not None:
            check_names(handlers)
        check_keys(handlers, idempotency, self._inboxes)
        check_batches(handlers, max_processing_time)

    def log_start(self) -> None:
        """Say that exceptions will not lead to another try, where nothing says that this is meant."""
        if self.undecided and len(self.undecided) == len(self.table.handlers):
            log_no_retries()

    def process(self, message: Message, wait: Wait) -> Verdict:
        """Run the handlers of *message* one after another in this thread; *wait* waits for those that are async."""
        begun = self.begin(message, wait)
        if isinstance(begun, Steps):
            return drive(begun, partial(run_step, wait=wait))
        verdict: Verdict = begun if isinstance(begun, Verdict) else wait(begun())
        return verdict

    async def aprocess(self, message: Message) -> Verdict:
        """Run the handlers of *message* one after another: async ones in this event loop, the others in a thread."""
        return await adrive(self.steps(message), arun_step)

    def holds_keys(self, message: Message) -> bool:
        """Tell whether something is claimed for *message*."""
        return self._idempotency is not None and self._idempotency.holds(message)

    def renew(self, message: Message) -> None:
        """Keep what is claimed for a message whose lease was extended; raises `StoreError`."""
        if self._idempotency is not None:
            self._idempotency.renew(message)

    @property
    def remembers(self) -> bool:
        """Whether there are stores, or inboxes."""
        return bool(self._remembering or self._inboxes)

    @property
    def has_batches(self) -> bool:
        """Whether there are handlers that get batches."""
        return bool(self._with_batches)

    def check_stores(self) -> None:
        """Find out whether the stores and inboxes read and write; raises what `Store.check` does."""
        for each in self._remembering:
            each.check()
        for inbox in {id(each): each for each in self._inboxes.values()}.values():
            inbox.check()

    def begin(self, message: Message, wait: Wait | None = None) -> Verdict | Begun | Steps:
        """Take *message* through its handlers here and now, or give what takes it there.

        Plain is what may take as long as it wants, waits for no turn, and is not remembered anywhere. Where all
        handlers are plain, they run here if none is async, and in an event loop if all are; else it is step by step.
        *wait* waits for what a handler that is not async gives all the same; without it nothing runs here.
        """
        trace = None if self._tracing.spans is None else self._begin_trace(message)
        try:
            if message.problem and (steps := self._fetch_first(message, trace)) is not None:
                return steps
            selection = self._select(message)
            if wait is None or not self._plain.issuperset(selection.matched):
                if selection.matched and self._plain_async.issuperset(selection.matched):
                    return partial(self._await_all, message, selection, trace)
                return self._steps(message, selection, trace)
            outcomes = read_raised(selection) if selection.raised else []
            for handler, own in each_with_own_payload(selection, message):
                outcome = self._call(handler, own, wait, trace)
                if trace is not None:
                    end_handle(trace, outcome)
                outcomes.append(outcome)
                if outcome.error is not None and outcome.interrupts:
                    break
            return self._decide(message, outcomes, trace)
        except BaseException as error:
            if trace is not None:
                trace.crash(error)
            raise

    async def _await_all(self, message: Message, selection: Selection, trace: MessageTrace | None) -> Verdict:
        try:
            outcomes = read_raised(selection) if selection.raised else []
            for handler, own in each_with_own_payload(selection, message):
                if own.lease is not None and own.lease.lost:
                    outcomes.append(refuse_lost(handler))
                    continue
                current.set((own, handler.name, self._propagation, NOTHING_GIVEN))
                if trace is not None:
                    trace.begin_handle(handler.name)
                outcome = await await_plain(handler, own, self._pipelines[handler], self._reader)
                if trace is not None:
                    end_handle(trace, outcome)
                outcomes.append(outcome)
                if outcome.error is not None and outcome.interrupts:
                    break
            return self._decide(message, outcomes, trace)
        except BaseException as error:
            if trace is not None:
                trace.crash(error)
            raise

    def steps(self, message: Message) -> Steps:
        """Give the steps that *message* takes; whoever drives them decides when and where each is run."""
        trace = self._begin_trace(message)
        try:
            return self._fetch_first(message, trace) or self._steps(message, self._select(message), trace)
        except BaseException as error:
            if trace is not None:
                trace.crash(error)
            raise

    def batch_steps(self, batch: BatchMessage, handler: Handler, several: Sequence[Steps]) -> Steps:
        """Give the steps of a *batch* that is called: *several* are those of its messages, each at its turn.

        The first is a `Turn`, which has come, and the last a `Parting`.
        """
        return self._batches.steps(batch, handler, several)

    def _begin_trace(self, message: Message) -> MessageTrace | None:
        spans = self._tracing.spans
        return None if spans is None else spans.begin_process(message)

    def _select(self, message: Message) -> Selection:
        asked_at = self._clock()
        selection = self.table.select(message)
        seconds = self._clock() - asked_at
        if seconds >= SLOW_MATCHING:
            log_slow_matching(message, seconds, self.table.handlers)
        return selection

    def _fetch_first(self, message: Message, trace: MessageTrace | None) -> Steps | None:
        """Return the steps of a message whose payload lies outside of it, which is matched later; None of others."""
        if self.fetching is None or not lies_elsewhere(message):
            return None

        def go_on(fetched: Message) -> Given:
            return self._give_steps(fetched, self._select(fetched), trace)

        return _make_steps(give_fetched(self.fetching, message, go_on, partial(self._end, trace=trace)), trace)

    def _steps(self, message: Message, selection: Selection, trace: MessageTrace | None) -> Steps:
        if trace is None and (straight := self._straight.find(message, selection)) is not None:
            return straight
        return _make_steps(self._give_steps(message, selection, trace), trace)

    def _give_steps(self, message: Message, selection: Selection, trace: MessageTrace | None) -> Given:
        outcomes = read_raised(selection)
        if self._may_overtake(message, selection):
            turn = yield Turn(None)
            if turn.error is not None:
                unmet = [Outcome(each, ProcessStatus.RETRY_LATER, turn.error) for each in selection.matched]
                yield self._decide(message, [*outcomes, *unmet], trace)
                return
        earlier: Mapping[str, Ended] = {}
        if self._progress is not None and selection.matched:
            loaded = yield StoreCall(partial(self._progress.load, message))
            if loaded.error is not None:
                # To run handlers that have perhaps finished already is not what was asked for.
                unknown = [Outcome(each, ProcessStatus.RETRIABLE_ERROR, loaded.error) for each in selection.matched]
                yield self._decide(message, [*outcomes, *unknown], trace)
                return
            earlier = loaded.returned
        last: Outcome | None = None
        for handler, own in each_with_own_payload(selection, message, last=self._with_turns):
            ended = earlier.get(handler.name)
            if ended is not None:
                outcomes.append(recall(handler, ended))
            elif is_lost(message):
                outcomes.append(refuse_lost(handler))
            elif handler in self._with_turns:
                is_kept = any(outcome.status.keeps for outcome in outcomes)
                last = yield from self._runs.in_turn(handler, own, last, trace, is_kept=is_kept)
                outcomes.append(last)
            else:
                outcomes.append((yield from self._runs.run(handler, own, trace)))
            if outcomes[-1].interrupts:
                break
        yield self._decide(message, outcomes, trace)

    def _may_overtake(self, message: Message, selection: Selection) -> bool:
        """Tell whether a handler that gets no batches would run although those before it in its group may wait."""
        is_ordered = bool(self._with_batches) and group_of(message) is not None
        return is_ordered and not self._with_batches.issuperset(selection.matched)

    def _call(self, handler: Handler, message: Message, wait: Wait, trace: MessageTrace | None) -> Outcome:
        lease, pipeline = message.lease, self._pipelines[handler]
        if lease is not None and lease.lost:
            return refuse_lost(handler)
        current.set((message, handler.name, self._propagation, NOTHING_GIVEN))
        if trace is not None:
            trace.begin_handle(handler.name)
        began, generation = time.perf_counter(), forks.generation
        try:
            returned = pipeline(handler, message)
            if forks.generation != generation:
                forks.end_child(None)
            if returned is None:
                # Most messages end here: the reader would say the same, a little later.
                return make_outcome(handler, _DONE, time.perf_counter() - began)
            if inspect.isawaitable(returned):
                returned = wait(returned)
        except BaseException as error:  # noqa: BLE001 - a handler raises whatever it likes
            if forks.generation != generation:
                forks.end_child(error)
            return self._reader.read(handler, None, error, time.perf_counter() - began)
        return self._reader.read(handler, returned, None, time.perf_counter() - began)

    def _decide(self, message: Message, outcomes: Sequence[Outcome], trace: MessageTrace | None) -> Verdict:
        for outcome in outcomes:
            if (outcome.status is not _DONE or outcome.error is not None) and not outcome.is_logged:
                self._log_outcome(message, outcome)
        said = [outcome.status for outcome in outcomes]
        fate = decide_fate(said) if said else decide_unmatched(message, self._unmatched)
        verdict = make_record(Verdict, {"message": message, "outcomes": tuple(outcomes), "fate": fate})
        # What `_end` does, without a call more for every message.
        self._tell(verdict)
        if trace is not None:
            end_process(trace, verdict)
        return verdict

    def _end(self, verdict: Verdict, trace: MessageTrace | None) -> Verdict:
        self._tell(verdict)
        if trace is not None:
            end_process(trace, verdict)
        return verdict


def _is_plain(handler: Handler) -> bool:
    options = handler.options
    return options.timeout is None and options.idempotency_key is None


def _make_steps(given: Given, trace: MessageTrace | None) -> Steps:
    return Steps(given if trace is None else give_traced(given, trace))
