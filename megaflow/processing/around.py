"""Around: generators around a handler's call and its log line, which are told at their ``yield`` what came of it."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeAlias

from megaflow.callables import is_async, is_generator, read_signature
from megaflow.errors import RegistrationError, UsageError
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.logs import get_logger
from megaflow.messages.message import Message
from megaflow.processing.log_lines import about, log_outcome
from megaflow.processing.middleware import Call
from megaflow.processing.outcomes import OutcomeReader
from megaflow.processing.verdict import Outcome

log = get_logger(__name__)

Around: TypeAlias = Callable[[Handler, Message], Iterator[None] | AsyncIterator[None]]
"""A function with one ``yield``, at which the handler runs: it gives its status, or raises its error."""


def check_around(around: object) -> None:
    """Raise `RegistrationError` for what is no function with a ``yield`` that takes a handler and a message."""
    if not callable(around) or not is_generator(around):
        raise RegistrationError(f"around() takes a function with a yield, {_FORM}, not {around!r}")
    try:
        read_signature(around).bind(None, None)
    except TypeError as error:
        raise RegistrationError(f"{_name(around)} is called with a handler and a message: {error}") from error


def surround(handler: Handler, call: Call, arounds: Sequence[Around], reader: OutcomeReader) -> Call:
    """Return *call* inside all of *arounds*, whose first is the outermost; what it returns is an `Outcome` then.

    Raises `RegistrationError` for an async generator around a handler that is not async.
    """
    if not arounds:
        return call
    if handler.is_async:
        return _surround_async(call, arounds, reader)
    for around in filter(is_async, arounds):
        raise RegistrationError(
            f"{_name(around)} is an async generator, and {handler.name}, which it is to go around, is not async: make "
            "it a plain generator, which goes around both"
        )
    return _surround(call, arounds, reader)


def _surround(call: Call, arounds: Sequence[Around], reader: OutcomeReader) -> Call:
    def surrounded(handler: Handler, message: Message) -> Outcome | Awaitable[Outcome]:
        surroundings = _Surroundings(handler, message, reader)
        try:
            for around in arounds:
                surroundings.begin(around)
            returned = call(handler, message)
        except BaseException as error:  # noqa: BLE001 - a handler raises whatever it likes
            return surroundings.end(None, error)
        if inspect.isawaitable(returned):
            return _wait_and_end(surroundings, returned)
        return surroundings.end(returned, None)

    return surrounded


def _surround_async(call: Call, arounds: Sequence[Around], reader: OutcomeReader) -> Call:
    async def surrounded(handler: Handler, message: Message) -> Outcome:
        surroundings = _Surroundings(handler, message, reader)
        try:
            for around in arounds:
                await surroundings.abegin(around)
            returned = call(handler, message)
        except BaseException as error:  # noqa: BLE001 - a handler raises whatever it likes
            return await surroundings.aend(None, error)
        if inspect.isawaitable(returned):
            return await _wait_and_end(surroundings, returned)
        return await surroundings.aend(returned, None)

    return surrounded


async def _wait_and_end(surroundings: _Surroundings, said: Awaitable[Any]) -> Outcome:
    try:
        returned = await said
    except BaseException as error:  # noqa: BLE001 - a handler raises whatever it likes
        return await surroundings.aend(None, error)
    return await surroundings.aend(returned, None, was_awaited=True)


class _Surroundings:
    """What is around one call. Each ends with the outcome that those inside it have left."""

    def __init__(self, handler: Handler, message: Message, reader: OutcomeReader) -> None:
        self._handler = handler
        self._message = message
        self._reader = reader
        self._began = time.perf_counter()
        self._begun: list[tuple[Around, Any]] = []
        self._misuse: UsageError | None = None
        """What a generator has done wrong: its message is not at fault, and comes again."""

    def begin(self, around: Around) -> None:
        """Run a plain generator as far as its yield."""
        begun: Any = around(self._handler, self._message)
        if next(begun, _ENDED) is _ENDED:
            raise self._misused(around, _NO_YIELD)
        self._begun.append((around, begun))

    async def abegin(self, around: Around) -> None:
        """Run a generator of either kind as far as its yield."""
        if not is_async(around):
            self.begin(around)
            return
        begun: Any = around(self._handler, self._message)
        if await anext(begun, _ENDED) is _ENDED:
            raise self._misused(around, _NO_YIELD)
        self._begun.append((around, begun))

    def end(self, returned: object, error: BaseException | None) -> Outcome:
        """Log what came of the handler, tell the plain generators, and return what came of it all."""
        outcome = self._read(returned, error)
        while self._begun:
            try:
                self._tell(*self._begun.pop(), outcome)
            except BaseException as raised:  # noqa: BLE001 - a user's generator raises whatever it likes
                outcome = self._take(outcome, raised)
        return _finish(outcome)

    async def aend(self, returned: object, error: BaseException | None, *, was_awaited: bool = False) -> Outcome:
        """Do what `end` does, where some generators may be async."""
        outcome = self._read(returned, error, was_awaited=was_awaited)
        while self._begun:
            try:
                await self._atell(*self._begun.pop(), outcome)
            except BaseException as raised:  # noqa: BLE001 - a user's generator raises whatever it likes
                outcome = self._take(outcome, raised)
        return _finish(outcome)

    def _read(self, returned: object, error: BaseException | None, *, was_awaited: bool = False) -> Outcome:
        seconds = time.perf_counter() - self._began
        if error is not None and error is self._misuse:
            outcome = Outcome(self._handler, ProcessStatus.RETRIABLE_ERROR, error, seconds=seconds)
        else:
            outcome = self._reader.read(self._handler, returned, error, seconds, was_awaited=was_awaited)
        if _is_read_here(outcome):
            log_outcome(self._message, outcome)
        return outcome

    def _take(self, outcome: Outcome, raised: BaseException) -> Outcome:
        """Return what an error of a generator's means, which may be the one that it was told."""
        told = outcome.error
        # Python turns these two, which would end a generator, into another error.
        is_told = raised is told or (isinstance(told, StopIteration | StopAsyncIteration) and raised.__cause__ is told)
        if is_told:
            return outcome
        if _is_read_here(outcome):
            return self._read(None, raised)
        text, name = "message %s: what is around %s failed, too, as it was ended", self._handler.name
        log.warning(text, self._message.id, name, exc_info=raised, extra=about(self._message, handler=name))
        return outcome

    def _tell(self, around: Around, begun: Any, outcome: Outcome) -> None:
        try:
            if outcome.error is None:
                begun.send(outcome.status)
            else:
                begun.throw(outcome.error)
        except StopIteration:
            return
        with suppress(Exception):
            begun.close()
        raise self._misused(around, _SECOND_YIELD)

    async def _atell(self, around: Around, begun: Any, outcome: Outcome) -> None:
        if not is_async(around):
            self._tell(around, begun, outcome)
            return
        try:
            if outcome.error is None:
                await begun.asend(outcome.status)
            else:
                await begun.athrow(outcome.error)
        except StopAsyncIteration:
            return
        with suppress(Exception):
            await begun.aclose()
        raise self._misused(around, _SECOND_YIELD)

    def _misused(self, around: Around, what: str) -> UsageError:
        self._misuse = UsageError(f"{_name(around)} {what}: {_FORM}")
        return self._misuse


_FORM: Final = "def around(handler, message): …; status = yield; …"
_ENDED: Final = object()
_NO_YIELD: Final = "has not come to a yield, so the handler has not run"
_SECOND_YIELD: Final = "has a second yield, and one is all there is"


def _is_read_here(outcome: Outcome) -> bool:
    """Tell whether the outcome is one of the handler's, and not that it is ended from outside, or ends everything."""
    return outcome.error is None or isinstance(outcome.error, Exception)


def _finish(outcome: Outcome) -> Outcome:
    if outcome.error is not None and not _is_read_here(outcome):
        raise outcome.error
    return replace(outcome, is_logged=True)


def _name(around: Callable[..., object]) -> str:
    return getattr(around, "__qualname__", repr(around))
