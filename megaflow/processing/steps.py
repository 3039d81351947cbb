"""Steps of one message: a turn to wait for, a handler to call, a store to ask. Their driver decides when and where.

A batch that is called has steps of its own. In the end its messages part: each goes on with its own steps.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, TypeAlias, overload

from megaflow import forks
from megaflow.contexts import adopt
from megaflow.errors import HandlerTimeoutError, HandlingError, LeaseLostError, StoreError
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.loops import get_running_loop, is_being_cancelled, is_cancellation
from megaflow.messages.message import Message
from megaflow.processing.middleware import Call
from megaflow.processing.verdict import Outcome, Verdict

if TYPE_CHECKING:
    import asyncio

Wait: TypeAlias = Callable[[Awaitable[Any]], Any]
"""Waits for what an async handler gives, from a thread that runs no event loop."""

Watch: TypeAlias = Callable[[Message, Handler, float | None], None]
"""Is told that a handler was called that may take so many seconds, and without them that it has returned."""

_TIME_TO_CANCEL: Final = 5.0
"""Seconds that an async handler has to take note that it is cancelled."""


def _watch_nothing(message: Message, handler: Handler, seconds: float | None) -> None:
    """Watch no time limits."""


# Named tuples where one is made for every message: a frozen dataclass takes twice as long.
class HandlerCall(NamedTuple):
    """A step of processing: call a handler. What it returns may have to be awaited."""

    handler: Handler
    message: Message
    pipeline: Call

    @property
    def is_async(self) -> bool:
        """Whether it is for an event loop."""
        return self.handler.is_async

    def run(self) -> Any:
        """Call it."""
        return self.pipeline(self.handler, self.message)


@dataclass(frozen=True, slots=True)
class StoreCall:
    """A step of processing: ask a store."""

    ask: Callable[[], Any]
    is_async: ClassVar[bool] = False

    def run(self) -> Any:
        """Ask it; raise `HandlingError` where that fails."""
        return self.ask()


@dataclass(frozen=True, slots=True)
class Turn:
    """A step of processing: wait until the message has its turn at a handler. An error is that it does not come.

    *last* is what the handler made of it that had its turn before. Where that is the same handler, something that it
    needs was away, and this is for another try: an error is then that there is none. Whoever drives the steps with a
    core leaves it to that one. Nobody else makes anything wait, or lets anything try again.
    """

    handler: Handler | None
    """None is that it waits until those before it in its group have ended: they may be in line for a batch."""

    last: Outcome | None = None
    is_async: ClassVar[bool] = False

    @property
    def is_again(self) -> bool:
        """Whether it is for another try."""
        return self.last is not None and self.last.handler is self.handler

    def pass_by(self) -> Result:
        """Return what it comes to where nothing waits."""
        return Result(error=self.last.error if self.last is not None and self.is_again else None)


@dataclass(frozen=True, slots=True)
class BatchTurn(Turn):
    """A turn at a handler that gets batches. It returns what the batch came to for the message.

    Where nobody makes batches it returns None, and the message is a batch of its own.
    """

    handler: Handler
    message: Message = field(kw_only=True)
    """The message as the handler gets it."""

    is_kept: bool = field(default=False, kw_only=True)
    """Whether the message comes again whatever the batch comes to, as a handler before keeps it."""


@dataclass(frozen=True, slots=True)
class Parting:
    """The last step of a batch: each of its messages goes on from where its own steps are. Its driver sees to it."""

    is_async: ClassVar[bool] = False


Step: TypeAlias = HandlerCall | StoreCall | Turn | Parting


class Result(NamedTuple):
    """The end of a step: what it *returned*, or the *error* that it raised."""

    returned: Any = None

    was_awaited: bool = False
    """Whether what it gave had to be awaited."""

    error: BaseException | None = None


def lease_lost() -> LeaseLostError:
    """Return the error of a handler that is not called any more, and of a turn that does not come."""
    return LeaseLostError("its lease was lost before this handler was called")


def is_lost(message: Message) -> bool:
    """Tell whether somebody else may have *message* by now."""
    return message.lease is not None and message.lease.lost


def refuse_lost(handler: Handler) -> Outcome:
    """Return the outcome of a handler that is not called, as the lease is lost."""
    return Outcome(handler, ProcessStatus.RETRY_LATER, lease_lost())


Asking: TypeAlias = Generator[Step, Result, Outcome]


class Steps:
    """What has to be done for one message, step by step, and last the verdict. One thread at a time goes on with it."""

    __slots__ = ("_given", "step")

    def __init__(self, given: Generator[Step | Verdict, Result, None]) -> None:
        self._given = given
        self.step = next(given)
        """What is to be done now, or the verdict."""

    def take(self, result: Result) -> Step | Verdict:
        """Take what came of the step, and return what comes next."""
        self.step = following = self._given.send(result)
        return following


Run: TypeAlias = Callable[[Step], Result]
"""Runs a step in this thread: `run_step`, told how to wait."""

Ask: TypeAlias = Callable[[StoreCall], Result]
"""Asks a store, and decides what follows where that fails: `ask_once` or `ask_or_raise`."""

AsyncRun: TypeAlias = Callable[[Step], Awaitable[Result]]
"""Runs a step in this event loop: `arun_step`."""

Leaves: TypeAlias = Callable[[Step], bool]
"""Is asked before each step whether it is run elsewhere, where somebody else drives the steps on."""


def _leaves_none(step: Step) -> bool:
    return False


@overload
def drive(steps: Steps, run: Run) -> Verdict: ...
@overload
def drive(steps: Steps, run: Run, leaves: Leaves) -> Step | Verdict: ...
def drive(steps: Steps, run: Run, leaves: Leaves = _leaves_none) -> Step | Verdict:
    """Run one step after another in this thread, and return the verdict, or the step that is left to another.

    What *run* raises comes out of it, and its step is still the one that is to be done.
    """
    step = steps.step
    while not (isinstance(step, Verdict) or leaves(step)):
        step = steps.take(run(step))
    return step


@overload
async def adrive(steps: Steps, run: AsyncRun) -> Verdict: ...
@overload
async def adrive(steps: Steps, run: AsyncRun, leaves: Leaves) -> Step | Verdict: ...
async def adrive(steps: Steps, run: AsyncRun, leaves: Leaves = _leaves_none) -> Step | Verdict:
    """Do what `drive` does, in this event loop."""
    step = steps.step
    while not (isinstance(step, Verdict) or leaves(step)):
        step = steps.take(await run(step))
    return step


def ask_once(step: StoreCall) -> Result:
    """Ask a store; where that fails, the message comes again."""
    try:
        return Result(step.run())
    except HandlingError as error:
        return Result(error=error)


def ask_or_raise(step: StoreCall) -> Result:
    """Ask a store; raise `StoreError` where it fails, so that whoever drives the steps can ask again."""
    result = ask_once(step)
    if isinstance(result.error, StoreError):
        raise result.error
    return result


def run_step(step: Step, wait: Wait, watch: Watch = _watch_nothing, ask: Ask = ask_once) -> Result:
    """Run one step in this thread.

    *wait* waits for what a handler gives; *watch* is told when one with a time limit is called, and when that one, or
    one of which so many may run, has returned; *ask* asks a store.
    """
    if not isinstance(step, HandlerCall):
        return ask(step) if isinstance(step, StoreCall) else _pass_by(step)
    handler = step.handler
    timeout = handler.options.timeout
    if timeout is not None:
        watch(step.message, handler, timeout + (_TIME_TO_CANCEL if handler.is_async else 0.0))
    begun = forks.generation
    try:
        said = step.run()
        result = Result(wait(_limit(handler, said)), True) if inspect.isawaitable(said) else Result(said)
    except BaseException as error:  # noqa: BLE001 - a handler raises whatever it likes
        result = Result(error=error)
    if forks.generation != begun:
        forks.end_child(result.error)
    if timeout is not None or handler.options.max_concurrency is not None:
        watch(step.message, handler, None)
    return result


def wait_in(loop: asyncio.Runner, said: Awaitable[Any]) -> Any:
    """Wait on *loop* for what a handler gives; what it sets in the context is set here, too."""
    context = copy_context()
    try:
        return loop.run(_wait_for(said), context=context)
    finally:
        adopt(context)


async def arun_step(step: Step, watch: Watch = _watch_nothing) -> Result:
    """Run one step in this event loop, or in a thread where it is not async, and is not watched."""
    if not isinstance(step, HandlerCall):
        return await _run_in_thread(partial(ask_once, step)) if isinstance(step, StoreCall) else _pass_by(step)
    handler = step.handler
    timeout = handler.options.timeout if handler.is_async else None
    if timeout is not None:
        watch(step.message, handler, timeout + _TIME_TO_CANCEL)
    begun = forks.generation
    try:
        if not handler.is_async:
            result = await _run_in_thread(partial(run_step, step, _leave_unawaited))
            return Result(await result.returned, True) if result.was_awaited else result
        said = step.run()
        return Result(await _limit(handler, said), True) if inspect.isawaitable(said) else Result(said)
    except BaseException as error:
        if is_cancellation(error) and is_being_cancelled():
            raise
        if forks.generation != begun:
            forks.end_child(error)
        return Result(error=error)
    finally:
        if forks.generation != begun:
            forks.end_child(None)
        if timeout is not None or handler.options.max_concurrency is not None:
            watch(step.message, handler, None)


def _pass_by(step: Turn | Parting) -> Result:
    return step.pass_by() if isinstance(step, Turn) else Result()


async def _run_in_thread(run: Callable[[], Result]) -> Result:
    """Return what *run* gives; what it sets in the context is set here, too."""
    context = copy_context()
    try:
        return await get_running_loop().run_in_executor(None, context.run, run)
    finally:
        adopt(context)


async def _wait_for(said: Awaitable[Any]) -> Any:
    return await said


def _leave_unawaited(said: Awaitable[Any]) -> Awaitable[Any]:
    return said


def _limit(handler: Handler, said: Awaitable[Any]) -> Awaitable[Any]:
    """Return what waits for what a handler gives, for as long as it may take."""
    timeout = handler.options.timeout
    return said if timeout is None else _wait_within(timeout, handler, said)


async def _wait_within(timeout: float, handler: Handler, said: Awaitable[Any]) -> Any:
    import asyncio

    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return await said
    except TimeoutError:
        if not limit.expired():
            raise
        # Where it was cancelled says nothing about why.
        raise HandlerTimeoutError(f"{handler.name} took longer than {timeout} s, and was cancelled") from None
