"""One message through its handlers, and the verdict on it. No queue, no threads."""

from __future__ import annotations

import inspect
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from megaflow.dispatch.table import DispatchTable, Selection
from megaflow.errors import (
    DependencyError,
    EarlierFailureError,
    HandlerTimeoutError,
    InvalidPayloadError,
    KeyBusyError,
    LeaseLostError,
    RegistrationError,
    StoreError,
    UsageError,
)
from megaflow.frozen import make_record
from megaflow.handlers.dependencies import Dependencies
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus, Reject, RetryLater
from megaflow.messages.message import Message
from megaflow.processing.idempotency import Idempotency
from megaflow.processing.middleware import Middleware, make_pipeline
from megaflow.processing.progress import Progress
from megaflow.processing.steps import Asking, HandlerCall, Steps, StoreCall, Wait, arun_step, run_step
from megaflow.processing.verdict import Fate, Outcome, Verdict, decide_fate, flatten
from megaflow.settings import OnInvalid, Unmatched
from megaflow.stores import Claim, Ended

log = logging.getLogger(__name__)

_UNMATCHED: Final[Mapping[Unmatched, Fate]] = {
    "delete": Fate.DELETE,
    "keep": Fate.KEEP,
    "dead_letter": Fate.DEAD_LETTER,
}

_DONE: Final = ProcessStatus.DONE

_INVALID: Final[Mapping[OnInvalid, ProcessStatus]] = {
    "dead_letter": ProcessStatus.FATAL_ERROR,
    "keep": ProcessStatus.RETRIABLE_ERROR,
    "delete": ProcessStatus.DONE,
}


class Processor:
    """Takes messages through their handlers. May be used from any thread; nothing in it changes but warnings given."""

    def __init__(
        self,
        handlers: Sequence[Handler],
        *,
        middleware: Sequence[Middleware] = (),
        retry_on: tuple[type[Exception], ...] = (),
        unmatched: Unmatched = "delete",
        progress: Progress | None = None,
        idempotency: Idempotency | None = None,
        on_invalid: OnInvalid = "dead_letter",
        dependencies: Dependencies | None = None,
    ) -> None:
        self.table: Final = DispatchTable(handlers)
        self._pipelines = {handler: make_pipeline(handler, middleware, dependencies) for handler in handlers}
        self._plain = frozenset(handler for handler in handlers if _is_plain(handler) and progress is None)
        self._on_invalid = on_invalid
        self._retry_on = {handler: retry_on + handler.options.retry_on for handler in handlers}
        self._unmatched = _UNMATCHED[unmatched]
        self._progress = progress
        self._idempotency = idempotency
        self._warned: set[Handler] = set()
        _check_stores(handlers, progress, idempotency)

    def process(self, message: Message, wait: Wait) -> Verdict:
        """Run the handlers of *message* one after another in this thread; *wait* waits for those that are async."""
        steps = self.begin(message, wait)
        if isinstance(steps, Verdict):
            return steps
        step = next(steps)
        while not isinstance(step, Verdict):
            step = run_step(steps, step, wait)
        return step

    async def aprocess(self, message: Message) -> Verdict:
        """Run the handlers of *message* one after another: async ones in this event loop, the others in a thread."""
        steps = self.steps(message)
        step = next(steps)
        while not isinstance(step, Verdict):
            step = await arun_step(steps, step)
        return step

    def renew(self, message: Message) -> None:
        """Keep what is claimed for a message whose lease was extended; raises `StoreError`."""
        if self._idempotency is not None:
            self._idempotency.renew(message)

    def begin(self, message: Message, wait: Wait) -> Verdict | Steps:
        """Take *message* through its handlers here and now where all of them are plain; else give the steps it takes.

        Plain is what is not async, may take as long as it wants, and is not remembered anywhere; *wait* waits for what
        it gives all the same.
        """
        selection = self.table.select(message)
        if not self._plain.issuperset(selection.matched):
            return self._steps(message, selection)
        outcomes = _read_selection(selection) if selection.raised else []
        for handler, own in _each_with_own_payload(selection, message):
            outcome = self._call(handler, own, wait)
            outcomes.append(outcome)
            if outcome.error is not None and outcome.interrupts:
                break
        return self._decide(message, outcomes)

    def steps(self, message: Message) -> Steps:
        """Give the steps that *message* takes; whoever drives them decides when and where each is run."""
        return self._steps(message, self.table.select(message))

    def _steps(self, message: Message, selection: Selection) -> Steps:
        outcomes = _read_selection(selection)
        earlier: Mapping[str, Ended] = {}
        if self._progress is not None and selection.matched:
            try:
                earlier = yield StoreCall(partial(self._progress.load, message))
            except StoreError as error:
                # To run handlers that have perhaps finished already is not what was asked for.
                unknown = [Outcome(each, ProcessStatus.RETRIABLE_ERROR, error) for each in selection.matched]
                yield self._decide(message, [*outcomes, *unknown])
                return
        for handler, own in _each_with_own_payload(selection, message):
            ended = earlier.get(handler.name)
            if ended is not None:
                outcomes.append(_recall(handler, ended))
            elif message.lease is not None and message.lease.lost:
                outcomes.append(_refuse_lost(handler))
            else:
                outcomes.append((yield from self._run(handler, own)))
            if outcomes[-1].interrupts:
                break
        yield self._decide(message, outcomes)

    def _call(self, handler: Handler, message: Message, wait: Wait) -> Outcome:
        lease, call = message.lease, self._pipelines[handler]
        if lease is not None and lease.lost:
            return _refuse_lost(handler)
        began = time.perf_counter()
        try:
            said = call(handler, message)
            if said is None:
                return _make_outcome(handler, _DONE, time.perf_counter() - began)
            if inspect.isawaitable(said):
                said = wait(said)
        except BaseException as error:  # noqa: BLE001 - a handler raises whatever it likes
            return replace(self._read_error(handler, error), seconds=time.perf_counter() - began)
        return self._read_said(handler, said, awaited=False, seconds=time.perf_counter() - began)

    def _run(self, handler: Handler, message: Message) -> Asking:
        if handler.options.idempotency_key is None or self._idempotency is None:
            outcome = yield from self._ask(handler, message)
        else:
            outcome = yield from self._ask_once(handler, message, self._idempotency)
        if self._progress is None or outcome.status.keeps:
            return outcome
        try:
            yield StoreCall(partial(self._progress.save, message, handler, outcome.status, outcome.error))
        except StoreError as error:
            return Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error)
        return outcome

    def _ask_once(self, handler: Handler, message: Message, idempotency: Idempotency) -> Asking:
        try:
            key = handler.options.idempotency_key(message.payload) if handler.options.idempotency_key else None
            if key is None:
                return (yield from self._ask(handler, message))
            claim = yield StoreCall(partial(idempotency.claim, message, handler, key))
        except Exception as error:  # noqa: BLE001 - a user's function raises whatever it likes
            return Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error)
        if claim is Claim.DONE:
            return Outcome(handler, ProcessStatus.DONE)
        if claim is Claim.BUSY:
            busy = KeyBusyError("its idempotency key is being worked on elsewhere")
            return Outcome(handler, ProcessStatus.RETRY_LATER, busy)
        outcome = yield from self._ask(handler, message)
        end = idempotency.complete if outcome.status is ProcessStatus.DONE else idempotency.release
        try:
            yield StoreCall(partial(end, message, handler, key))
        except StoreError as error:
            return outcome if outcome.status.keeps else Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error)
        return outcome

    def _ask(self, handler: Handler, message: Message) -> Asking:
        began = time.perf_counter()
        try:
            said, awaited = yield HandlerCall(handler, message, self._pipelines[handler])
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - a handler raises whatever it likes
            return replace(self._read_error(handler, error), seconds=time.perf_counter() - began)
        return self._read_said(handler, said, awaited=awaited, seconds=time.perf_counter() - began)

    def _read_said(self, handler: Handler, said: object, *, awaited: bool, seconds: float) -> Outcome:
        if said is None and (awaited or not handler.is_async):
            return _make_outcome(handler, _DONE, seconds)
        if isinstance(said, ProcessStatus):
            return _make_outcome(handler, said, seconds)
        if handler.is_async and not awaited:
            error = UsageError("a middleware did not return what call_next gave it, so the handler has not run")
            return Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error)
        if handler not in self._warned:
            self._warned.add(handler)
            log.warning(
                "%s returned %s, which is taken as DONE; a handler returns a ProcessStatus or nothing",
                handler.name,
                type(said).__qualname__,
            )
        return _make_outcome(handler, _DONE, seconds)

    def _read_error(self, handler: Handler, error: BaseException) -> Outcome:
        if not isinstance(error, Exception):
            # It ends the consumer, or cancelled the handler: the message was not at fault.
            return Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error)
        # A task group wraps what its tasks raised: it is worth another try only if all of that is.
        causes = list(flatten(error))
        if isinstance(error, HandlerTimeoutError | DependencyError):
            return Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error)
        if isinstance(error, InvalidPayloadError):
            return Outcome(handler, _INVALID[handler.options.on_invalid or self._on_invalid], error)
        later = [cause for cause in causes if isinstance(cause, RetryLater)]
        retry_on = self._retry_on[handler]
        if any(isinstance(cause, Reject) for cause in causes):
            return Outcome(handler, ProcessStatus.FATAL_ERROR, error)
        after = max((seconds for cause in later for seconds in _read_after(handler, cause)), default=None)
        if len(later) == len(causes):
            return Outcome(handler, ProcessStatus.RETRY_LATER, error, after)
        if isinstance(error, retry_on) or all(isinstance(cause, (RetryLater, *retry_on)) for cause in causes):
            return Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error, after)
        return Outcome(handler, ProcessStatus.FATAL_ERROR, error)

    def _decide(self, message: Message, outcomes: Sequence[Outcome]) -> Verdict:
        for outcome in outcomes:
            if outcome.status is not _DONE or outcome.error is not None:
                _log_outcome(message, outcome)
        said = [outcome.status for outcome in outcomes]
        fate = decide_fate(said) if said else self._decide_unmatched(message)
        verdict = make_record(Verdict, {"message": message, "outcomes": tuple(outcomes), "fate": fate})
        log.info("message %s: %s", message.id, verdict, extra={"verdict": verdict})
        return verdict

    def _decide_unmatched(self, message: Message) -> Fate:
        if message.problem:
            # Its publisher meant a MEGA event: nobody can have wanted it to vanish.
            log.error("message %s: no handler matched, and it is %s", message.id, message.problem)
            return Fate.DEAD_LETTER
        if message.sns is not None and not message.has_payload:
            log.warning(
                "message %s is a %s of %s, to be answered at %s",
                *(message.id, message.sns.type, message.sns.topic_arn, message.sns.subscribe_url),
            )
        return self._unmatched


def _read_selection(selection: Selection) -> list[Outcome]:
    return [Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error) for handler, error in selection.raised.items()]


def _each_with_own_payload(selection: Selection, message: Message) -> Iterable[tuple[Handler, Message]]:
    """Give each function its first handler that matched, and a payload that no other handler can have changed."""
    if len(selection.matched) == 1:
        return ((selection.matched[0], message),)
    return _share_out(selection, message)


def _share_out(selection: Selection, message: Message) -> Iterator[tuple[Handler, Message]]:
    first: dict[tuple[int, int], Handler] = {}
    for handler in selection.matched:
        first.setdefault(_identify(handler.function), handler)
    handlers = list(first.values())
    for handler in handlers[:-1]:
        yield handler, message.with_own_payload()
    for handler in handlers[-1:]:
        yield handler, message


def _refuse_lost(handler: Handler) -> Outcome:
    lost = LeaseLostError("its lease was lost before this handler was called")
    return Outcome(handler, ProcessStatus.RETRY_LATER, lost)


def _make_outcome(handler: Handler, status: ProcessStatus, seconds: float) -> Outcome:
    fields = {"handler": handler, "status": status, "error": None, "after": None, "seconds": seconds}
    return make_record(Outcome, fields)


def _is_plain(handler: Handler) -> bool:
    return not handler.is_async and handler.options.timeout is None and handler.options.idempotency_key is None


def _identify(function: Callable[..., Any]) -> tuple[int, int]:
    # Python makes a bound method anew each time it is asked for one.
    return id(getattr(function, "__self__", None)), id(getattr(function, "__func__", function))


def _check_stores(handlers: Sequence[Handler], progress: Progress | None, idempotency: Idempotency | None) -> None:
    if progress is not None:
        named: dict[str, Handler] = {}
        for handler in handlers:
            first = named.setdefault(handler.name, handler)
            if _identify(first.function) != _identify(handler.function):
                raise RegistrationError(
                    f"two handlers are named {handler.name} ({first.where} and {handler.where}), and progress is "
                    "remembered by name: give one of them handler_name="
                )
    for handler in handlers:
        if handler.options.idempotency_key is not None and idempotency is None:
            raise RegistrationError(
                f"{handler.name} has an idempotency_key, and the app has no store to remember it: give progress= or "
                "idempotency="
            )


def _recall(handler: Handler, ended: Ended) -> Outcome:
    error = None if ended.status is ProcessStatus.DONE else EarlierFailureError(ended.error)
    return Outcome(handler, ended.status, error)


def _read_after(handler: Handler, error: RetryLater) -> Iterator[float]:
    after = getattr(error, "after", None)
    if after is None:
        return
    try:
        seconds = math.nan if isinstance(after, bool | str) else float(after)
    except (OverflowError, TypeError, ValueError):
        seconds = math.nan
    if math.isfinite(seconds):
        yield seconds
    else:
        log.warning("%s raised RetryLater(after=%r), which is no number of seconds", handler.name, after)


def _log_outcome(message: Message, outcome: Outcome) -> None:
    name, status, error = outcome.handler.name, outcome.status, outcome.error
    say = partial(log.log, extra={"outcome": outcome})
    if isinstance(error, InvalidPayloadError):
        level = logging.ERROR if status is ProcessStatus.FATAL_ERROR else logging.WARNING
        say(level, "message %s: it is not what %s takes: %s", message.id, name, error)
    elif status is ProcessStatus.RETRIABLE_ERROR:
        say(logging.WARNING, "message %s: %s failed and will be tried again", message.id, name, exc_info=error)
    elif isinstance(error, Reject):
        say(logging.ERROR, "message %s: %s rejects it: %s", message.id, name, error)
    elif status is ProcessStatus.FATAL_ERROR:
        say(logging.ERROR, "message %s: %s failed for good", message.id, name, exc_info=error)
