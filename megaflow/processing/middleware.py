"""Middleware: the pipeline of a handler is its call with what it needs, inside its middleware."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from megaflow.callables import is_async
from megaflow.errors import RegistrationError, UsageError
from megaflow.handlers.dependencies import Dependencies
from megaflow.handlers.handler import Handler
from megaflow.messages.message import Message

Call: TypeAlias = Callable[[Handler, Message], Any]
Middleware: TypeAlias = Callable[[Call], Call]
"""Wraps one handler's call. Around an async handler ``call_next`` is a coroutine function, as its wrapper must be."""


def make_pipeline(handler: Handler, middleware: Sequence[Middleware], dependencies: Dependencies | None) -> Call:
    """Return what calls *handler* with what it needs, inside all of *middleware*, whose first is the outermost.

    Raises `RegistrationError` for middleware that makes of it what cannot be called, or async what was not.
    """
    call: Call = _call_async if handler.is_async else _call_plainly
    if handler.needs and dependencies is not None:
        call = _supply_async(dependencies) if handler.is_async else _supply(dependencies)
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
    return handler.bound(message)


async def _call_async(handler: Handler, message: Message) -> Any:
    return await handler.bound(message)


def _supply(dependencies: Dependencies) -> Call:
    """Return what calls a handler with what it needs."""

    def call(handler: Handler, message: Message) -> Any:
        failure: BaseException | None = None
        with dependencies.given(handler.needs) as given:
            try:
                return handler.bound(message, given)
            except BaseException as error:
                failure = error
                raise
        # What was closed has kept the error to itself; the message would be lost with it.
        raise failure or UsageError("what was to be closed took an error that nobody raised")

    return call


def _supply_async(dependencies: Dependencies) -> Call:
    async def call(handler: Handler, message: Message) -> Any:
        failure: BaseException | None = None
        async with dependencies.agiven(handler.needs) as given:
            try:
                return await handler.bound(message, given)
            except BaseException as error:
                failure = error
                raise
        raise failure or UsageError("what was to be closed took an error that nobody raised")

    return call
