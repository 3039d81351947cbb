"""What one message takes, step by step: a handler called, a store asked. Whoever runs them decides when and where."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from megaflow.errors import HandlerTimeoutError
from megaflow.handlers.handler import Handler
from megaflow.messages.message import Message
from megaflow.processing.middleware import Call
from megaflow.processing.verdict import Outcome, Verdict

Wait: TypeAlias = Callable[[Awaitable[Any]], Any]
"""Waits for what an async handler gives, from a thread that runs no event loop."""

Watch: TypeAlias = Callable[[Message, Handler, float | None], None]
"""Is told that a handler was called that may take so many seconds, and without them that it has returned."""

_TIME_TO_CANCEL: Final = 5.0
"""Seconds that an async handler has to take note that it is cancelled."""


def _watch_nothing(message: Message, handler: Handler, seconds: float | None) -> None:
    """Watch no time limits."""


@dataclass(frozen=True, slots=True)
class HandlerCall:
    """A step of processing: call a handler. What it returns may have to be awaited."""

    handler: Handler
    message: Message
    call: Call

    def run(self) -> Any:
        """Call it."""
        return self.call(self.handler, self.message)


@dataclass(frozen=True, slots=True)
class StoreCall:
    """A step of processing: ask a store."""

    ask: Callable[[], Any]

    def run(self) -> Any:
        """Ask it."""
        return self.ask()


Step: TypeAlias = HandlerCall | StoreCall | Verdict
Steps: TypeAlias = Generator[Step, Any, None]
"""What has to be done for one message, and last the verdict.

Each step takes what came of it: for a store what it returned, for a handler that and whether it had to be awaited.
What it raised is thrown in.
"""

Asking: TypeAlias = Generator[HandlerCall | StoreCall, Any, Outcome]


def run_step(steps: Steps, step: HandlerCall | StoreCall, wait: Wait, watch: Watch = _watch_nothing) -> Step:
    """Run one step in this thread, and return the next one.

    *wait* waits for what a handler gives; *watch* is told when one with a time limit is called, and has returned.
    """
    try:
        said = step.run() if isinstance(step, StoreCall) else _call(step, wait, watch)
    except BaseException as error:  # noqa: BLE001 - a handler raises whatever it likes
        return steps.throw(error)
    return steps.send(said)


async def arun_step(steps: Steps, step: HandlerCall | StoreCall, watch: Watch = _watch_nothing) -> Step:
    """Run one step in this event loop, or in a thread where it is not async, and return the next one."""
    try:
        said = await _acall(step, watch)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
            raise
        return steps.throw(error)
    return steps.send(said)


def _call(step: HandlerCall, wait: Wait, watch: Watch) -> tuple[Any, bool]:
    handler = step.handler
    if handler.options.timeout is None:
        said = step.run()
        return (wait(said), True) if inspect.isawaitable(said) else (said, False)
    watch(step.message, handler, handler.options.timeout + (_TIME_TO_CANCEL if handler.is_async else 0.0))
    try:
        said = step.run()
        return (wait(_within(handler, said)), True) if inspect.isawaitable(said) else (said, False)
    finally:
        watch(step.message, handler, None)


async def _acall(step: HandlerCall | StoreCall, watch: Watch) -> Any:
    if isinstance(step, StoreCall):
        return await asyncio.to_thread(step.run)
    handler = step.handler
    if not handler.is_async:
        said = await asyncio.to_thread(_call_in_thread, step)
        return (await said, True) if inspect.isawaitable(said) else (said, False)
    if handler.options.timeout is None:
        said = step.run()
        return (await said, True) if inspect.isawaitable(said) else (said, False)
    watch(step.message, handler, handler.options.timeout + _TIME_TO_CANCEL)
    try:
        said = step.run()
        return (await _within(handler, said), True) if inspect.isawaitable(said) else (said, False)
    finally:
        watch(step.message, handler, None)


async def _within(handler: Handler, awaitable: Awaitable[Any]) -> Any:
    """Wait for what a handler gives, for as long as it may take."""
    if handler.options.timeout is None:
        return await awaitable
    limit = asyncio.timeout(handler.options.timeout)
    try:
        async with limit:
            return await awaitable
    except TimeoutError:
        if not limit.expired():
            raise
        # Where it was cancelled says nothing about why.
        raise HandlerTimeoutError(
            f"{handler.name} took longer than {handler.options.timeout} s, and was cancelled"
        ) from None


def _call_in_thread(step: HandlerCall) -> Any:
    try:
        return step.run()
    except StopIteration as error:
        # A future cannot carry it: whoever waits would wait for ever.
        raise RuntimeError(f"{step.handler.name} raised StopIteration") from error


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
