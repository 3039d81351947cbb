"""Runs of handlers, each for one message, step by step: in its turn, in a batch, once for a key, and remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import TYPE_CHECKING

from megaflow.handlers.handler import Handler
from megaflow.handlers.options import FindKey
from megaflow.handlers.status import ProcessStatus
from megaflow.messages.message import Message
from megaflow.processing.batches import NEXT_BATCH, Batches
from megaflow.processing.idempotency import Idempotency, find_key
from megaflow.processing.keys import claim_key, end_key
from megaflow.processing.middleware import Call
from megaflow.processing.outcomes import OutcomeReader, is_outage
from megaflow.processing.progress import Progress
from megaflow.processing.spans import end_handle
from megaflow.processing.steps import Asking, BatchTurn, HandlerCall, StoreCall, Turn, is_lost, refuse_lost
from megaflow.processing.verdict import Outcome
from megaflow.settings import CircuitBreaker
from megaflow.telemetry.current import NOTHING_GIVEN, current
from megaflow.telemetry.propagation import Propagation

if TYPE_CHECKING:
    from megaflow.telemetry.otel_messages import MessageTrace


class HandlerRuns:
    """Runs handlers, each for one message. May be used from any thread."""

    def __init__(
        self,
        pipelines: Mapping[Handler, Call],
        reader: OutcomeReader,
        batches: Batches,
        breakers: Mapping[Handler, CircuitBreaker],
        progress: Progress | None,
        idempotency: Idempotency | None,
        propagation: Propagation,
        log_outcome: Callable[[Message, Outcome], None],
        with_inboxes: Container[Handler] = (),
    ) -> None:
        self._pipelines = pipelines
        self._reader = reader
        self._batches = batches
        self._breakers = breakers
        self._progress = progress
        self._idempotency = idempotency
        self._propagation = propagation
        self._log_outcome = log_outcome
        self._with_inboxes = with_inboxes

    def run(self, handler: Handler, message: Message, trace: MessageTrace | None) -> Asking:
        """Run a handler: once for its idempotency key, and with what came of it remembered."""
        # Here, and not where the handler is called: its idempotency key is asked for on its behalf, too.
        current.set((message, handler.name, self._propagation, NOTHING_GIVEN))
        find = handler.options.idempotency_key
        ask = partial(self._ask, handler, message, trace)
        if find is None or self._idempotency is None or handler in self._with_inboxes:
            outcome = yield from ask()
        else:
            outcome = yield from self._ask_once(handler, message, find, self._idempotency, ask)
        return (yield from self._save(handler, message, outcome))

    def in_turn(
        self, handler: Handler, message: Message, last: Outcome | None, trace: MessageTrace | None, *, is_kept: bool
    ) -> Asking:
        """Run a handler once its turn has come; again at the next one, where it failed by what its breaker is for.

        *last* is what came of the handler before it, *is_kept* whether the message comes again whatever comes of this.
        """
        if handler.options.takes_batches:
            return (yield from self._run_in_batch(handler, message, last, trace, is_kept=is_kept))
        breaker = self._breakers.get(handler)
        tried: Outcome | None = None
        while (turn := (yield Turn(handler, tried or last))).error is None:
            if tried is not None and not tried.is_logged:
                self._log_outcome(message, tried)
            if is_lost(message):
                return refuse_lost(handler)
            # What a try does to the payload, the next one must not find.
            own = message if breaker is None else message.with_own_payload()
            tried = yield from self.run(handler, own, trace)
            if breaker is None or not is_outage(tried, breaker):
                return tried
        return tried or Outcome(handler, ProcessStatus.RETRY_LATER, turn.error)

    def _run_in_batch(
        self, handler: Handler, message: Message, last: Outcome | None, trace: MessageTrace | None, *, is_kept: bool
    ) -> Asking:
        breaker = self._breakers.get(handler)
        tried: Outcome | None = None
        while True:
            own = message if breaker is None else message.with_own_payload()
            ended = yield BatchTurn(handler, last, message=own, is_kept=is_kept)
            if ended.error is not None:
                return tried or Outcome(handler, ProcessStatus.RETRY_LATER, ended.error)
            # What was made of it before is told with the first turn after it.
            last = None
            if ended.returned is NEXT_BATCH:
                continue
            if tried is not None and not tried.is_logged:
                self._log_outcome(message, tried)
            outcome: Outcome = ended.returned or (yield from self._call_alone(handler, own, trace))
            if breaker is None or not is_outage(outcome, breaker):
                return (yield from self._save(handler, message, outcome))
            last = tried = outcome

    def _call_alone(self, handler: Handler, message: Message, trace: MessageTrace | None) -> Asking:
        if trace is not None:
            trace.begin_handle(handler.name)
        outcome = yield from self._batches.call_alone(handler, message)
        if trace is not None:
            end_handle(trace, outcome)
        return outcome

    def _save(self, handler: Handler, message: Message, outcome: Outcome) -> Asking:
        if self._progress is None or outcome.status.keeps:
            return outcome
        saved = yield StoreCall(partial(self._progress.save, message, handler, outcome.status, outcome.error))
        return outcome if saved.error is None else Outcome(handler, ProcessStatus.RETRIABLE_ERROR, saved.error)

    def _ask_once(
        self,
        handler: Handler,
        message: Message,
        find: FindKey,
        idempotency: Idempotency,
        ask: Callable[[], Asking],
    ) -> Asking:
        try:
            key = find_key(handler, find, message)
        except Exception as error:  # noqa: BLE001 - a user's function raises whatever it likes
            # As if the handler had: what is a bug fails each time.
            return self._reader.read(handler, None, error, 0.0)
        if key is None:
            return (yield from ask())
        refused = yield from claim_key(idempotency, handler, message, key)
        if refused is not None:
            return refused
        outcome = yield from ask()
        return (yield from end_key(idempotency, message, key, outcome))

    def _ask(self, handler: Handler, message: Message, trace: MessageTrace | None) -> Asking:
        if trace is not None:
            trace.begin_handle(handler.name)
        began = time.perf_counter()
        result = yield HandlerCall(handler, message, self._pipelines[handler])
        seconds = time.perf_counter() - began
        outcome = self._reader.read(handler, result.returned, result.error, seconds, was_awaited=result.was_awaited)
        if trace is not None:
            end_handle(trace, outcome)
        return outcome
