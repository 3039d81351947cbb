"""One message through its handlers, and the verdict on it. No queue, no threads."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from megaflow.callables import is_async
from megaflow.dispatch.table import DispatchTable, Selection
from megaflow.errors import RegistrationError, UsageError
from megaflow.message import Message
from megaflow.router import Handler
from megaflow.settings import Unmatched
from megaflow.status import Fate, ProcessStatus, Reject, RetryLater, decide_fate

log = logging.getLogger(__name__)

Call: TypeAlias = Callable[[Handler, Message], Any]
Middleware: TypeAlias = Callable[[Call], Call]
"""Wraps one handler's call. Around an async handler ``call_next`` is a coroutine function, as its wrapper must be."""

Wait: TypeAlias = Callable[[Awaitable[Any]], Any]
"""Waits for what an async handler gives, from a thread that runs no event loop."""

_UNMATCHED: Final[Mapping[Unmatched, Fate]] = {
    "delete": Fate.DELETE,
    "keep": Fate.KEEP,
    "dead_letter": Fate.DEAD_LETTER,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one handler made of one message: *error* is what it raised, *after* the seconds that it asked for."""

    handler: Handler
    status: ProcessStatus
    error: BaseException | None = None
    after: float | None = None

    @property
    def interrupts(self) -> bool:
        """Whether it ends the consumer: the handler exited, or was interrupted from the keyboard."""
        causes = () if self.error is None else _flatten(self.error)
        return any(not isinstance(cause, Exception | asyncio.CancelledError) for cause in causes)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one message, and why. Exactly one of ``deletes``, ``keeps`` and ``dead_letters`` is true."""

    message: Message
    outcomes: tuple[Outcome, ...]
    fate: Fate

    @property
    def statuses(self) -> dict[Handler, ProcessStatus]:
        """What each handler that matched said."""
        return {outcome.handler: outcome.status for outcome in self.outcomes}

    @property
    def deletes(self) -> bool:
        """Whether the message is done with."""
        return self.fate is Fate.DELETE

    @property
    def keeps(self) -> bool:
        """Whether the message comes again."""
        return self.fate is Fate.KEEP

    @property
    def dead_letters(self) -> bool:
        """Whether the message goes to the dead-letter queue, where there is one, and is then deleted."""
        return self.fate is Fate.DEAD_LETTER

    @property
    def unmatched(self) -> bool:
        """Whether no handler wanted the message."""
        return not self.outcomes

    @property
    def after(self) -> float | None:
        """The longest time in seconds that a handler asked for; None leaves it to the backoff."""
        return max((outcome.after for outcome in self.outcomes if outcome.after is not None), default=None)

    @property
    def interruption(self) -> BaseException | None:
        """What a handler raised to end the consumer; None where none did."""
        return next((outcome.error for outcome in self.outcomes if outcome.interrupts), None)

    def __str__(self) -> str:
        """Say it in one line: ``kept (app.reserve: RETRY_LATER)``."""
        said = ", ".join(f"{outcome.handler.name}: {outcome.status.name}" for outcome in self.outcomes)
        return f"{self.fate.value} ({said or 'no handler matched'})"


class Processor:
    """Takes messages through their handlers. May be used from any thread; nothing in it changes but warnings given."""

    def __init__(
        self,
        handlers: Sequence[Handler],
        *,
        middleware: Sequence[Middleware] = (),
        retry_on: tuple[type[Exception], ...] = (),
        unmatched: Unmatched = "delete",
    ) -> None:
        self.table: Final = DispatchTable(handlers)
        self._calls = {handler: _wrap(handler, middleware) for handler in handlers}
        self._retry_on = {handler: retry_on + handler.retry_on for handler in handlers}
        self._unmatched = _UNMATCHED[unmatched]
        self._warned: set[Handler] = set()

    def process(self, message: Message, wait: Wait) -> Verdict:
        """Run the handlers of *message* one after another in this thread; *wait* waits for those that are async."""
        selection = self.table.select(message)
        outcomes = _read_selection(selection)
        for handler, own in _each_with_own_payload(selection, message):
            try:
                said = self._calls[handler](handler, own)
                awaited = inspect.isawaitable(said)
                if awaited:
                    said = wait(said)
                outcomes.append(self._read_said(handler, said, awaited=awaited))
            except BaseException as error:  # noqa: BLE001 - a handler raises whatever it likes
                outcomes.append(self._read_error(handler, error))
                if outcomes[-1].interrupts:
                    break
        return self._decide(message, outcomes)

    async def aprocess(self, message: Message) -> Verdict:
        """Run the handlers of *message* one after another: async ones in this event loop, the others in a thread."""
        selection = self.table.select(message)
        outcomes = _read_selection(selection)
        for handler, own in _each_with_own_payload(selection, message):
            call = self._calls[handler]
            try:
                said = (
                    await asyncio.to_thread(_call_in_thread, call, handler, own)
                    if not handler.is_async
                    else call(handler, own)
                )
                awaited = inspect.isawaitable(said)
                if awaited:
                    said = await said
                outcomes.append(self._read_said(handler, said, awaited=awaited))
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
                    raise
                outcomes.append(self._read_error(handler, error))
                if outcomes[-1].interrupts:
                    break
        return self._decide(message, outcomes)

    def _read_said(self, handler: Handler, said: object, *, awaited: bool) -> Outcome:
        if isinstance(said, ProcessStatus):
            return Outcome(handler, said)
        if handler.is_async and not awaited:
            error = UsageError("a middleware did not return what call_next gave it, so the handler has not run")
            return Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error)
        if said is not None and handler not in self._warned:
            self._warned.add(handler)
            log.warning(
                "%s returned %s, which is taken as DONE; a handler returns a ProcessStatus or nothing",
                handler.name,
                type(said).__qualname__,
            )
        return Outcome(handler, ProcessStatus.DONE)

    def _read_error(self, handler: Handler, error: BaseException) -> Outcome:
        if not isinstance(error, Exception):
            # It ends the consumer, or cancelled the handler: the message was not at fault.
            return Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error)
        # A task group wraps what its tasks raised: it is worth another try only if all of that is.
        causes = list(_flatten(error))
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
            _log_outcome(message, outcome)
        verdict = Verdict(message, tuple(outcomes), self._decide_fate(message, outcomes))
        log.info("message %s: %s", message.id, verdict, extra={"verdict": verdict})
        return verdict

    def _decide_fate(self, message: Message, outcomes: Sequence[Outcome]) -> Fate:
        if outcomes:
            return decide_fate(outcome.status for outcome in outcomes)
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


def _each_with_own_payload(selection: Selection, message: Message) -> Iterator[tuple[Handler, Message]]:
    """Give each function its first handler that matched, and a payload that no other handler can have changed."""
    first: dict[tuple[int, int], Handler] = {}
    for handler in selection.matched:
        first.setdefault(_identify(handler.function), handler)
    handlers = list(first.values())
    for handler in handlers[:-1]:
        yield handler, message.with_own_payload()
    for handler in handlers[-1:]:
        yield handler, message


def _identify(function: Callable[..., Any]) -> tuple[int, int]:
    # Python makes a bound method anew each time it is asked for one.
    return id(getattr(function, "__self__", None)), id(getattr(function, "__func__", function))


def _wrap(handler: Handler, middleware: Sequence[Middleware]) -> Call:
    call: Call = _call_async if handler.is_async else _call_plainly
    for layer in reversed(middleware):
        wrapped = layer(call)
        if not callable(wrapped):
            raise RegistrationError(f"the middleware {layer!r} must return a function, not {wrapped!r}")
        if is_async(wrapped) and not is_async(call):
            raise RegistrationError(
                f"the middleware {layer!r} wraps {handler.name}, which is not async, into an async function; "
                "return one only where inspect.iscoroutinefunction(call_next)"
            )
        call = wrapped
    return call


def _call_plainly(handler: Handler, message: Message) -> Any:
    return handler.call(message)


async def _call_async(handler: Handler, message: Message) -> Any:
    return await handler.call(message)


def _call_in_thread(call: Call, handler: Handler, message: Message) -> Any:
    try:
        return call(handler, message)
    except StopIteration as error:
        # A future cannot carry it: whoever waits would wait for ever.
        raise RuntimeError(f"{handler.name} raised StopIteration") from error


def _flatten(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _flatten(each)
    else:
        yield error


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


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _log_outcome(message: Message, outcome: Outcome) -> None:
    name, status, error = outcome.handler.name, outcome.status, outcome.error
    if status is ProcessStatus.RETRIABLE_ERROR:
        log.warning("message %s: %s failed and will be tried again", message.id, name, exc_info=error)
    elif isinstance(error, Reject):
        log.error("message %s: %s rejects it: %s", message.id, name, error)
    elif status is ProcessStatus.FATAL_ERROR:
        log.error("message %s: %s failed for good", message.id, name, exc_info=error)
