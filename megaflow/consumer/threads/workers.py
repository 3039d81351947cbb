"""Workers: the threads that take messages through their handlers, and the event loop that async handlers share.

To wake a thread costs more than a quick handler does. So where handlers are quick, whoever has received messages
handles them, or one thread handles all; where one is slow after all, others are woken for what still waits.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from megaflow.consumer.core.protocol import (
    CallBatch,
    Called,
    Crashed,
    Drop,
    Input,
    Interrupted,
    Resume,
    Start,
)
from megaflow.consumer.threads.caller import Caller, Tell
from megaflow.consumer.threads.event_loop import EventLoop, MakeEventLoop
from megaflow.consumer.threads.waits import SOON, Waits
from megaflow.consumer.threads.works import LEFT, Work, Works
from megaflow.errors import StoreError, text_of
from megaflow.handlers.handler import Handler
from megaflow.logs import get_logger
from megaflow.loops import cancellation, get_running_loop
from megaflow.messages.message import Message
from megaflow.processing.processor import Begun, Processor
from megaflow.processing.steps import (
    Parting,
    Step,
    Steps,
    Turn,
    adrive,
    arun_step,
    ask_or_raise,
    drive,
    run_step,
)
from megaflow.processing.straight import StraightToBatch
from megaflow.processing.verdict import Verdict

if TYPE_CHECKING:
    import asyncio

log = get_logger(__name__)

_QUICK: Final = 0.0005
"""Seconds: a handler that takes less is handled by whoever has its message."""

_UNKNOWN: Final = 0.002
"""Seconds that messages are believed to take as long as none was handled: after eleven quick ones they are quick."""

_INSTANT: Final = 0.0001
"""Seconds: where messages take less, nobody who is woken for one comes before it is handled."""

# Looked up once, as each message asks for one of them.
_POLLER: Final = Caller.POLLER
_WORKER: Final = Caller.WORKER


class Workers:
    """Take messages through their handlers, and *tell* what came of it; *is_free* says where a turn has come already.

    `start`, `wake`, `give_up`, `resume` and `take_finished` are called by one thread at a time.
    """

    def __init__(
        self,
        get_processor: Callable[[], Processor],
        tell: Tell,
        is_free: Callable[[Turn], bool] = lambda turn: False,
        make_event_loop: MakeEventLoop = EventLoop,
    ) -> None:
        self._get_processor = get_processor
        self._tell = tell
        self._is_free = is_free
        self._make_event_loop = partial(make_event_loop, lambda error: tell(Interrupted(error), Caller.HANDLER))
        self._context = copy_context()
        """Where each message begins, in a copy of its own."""

        # All of this without a lock, which every message would have to take. To append, to add, to pop and to assign
        # are one step each, and whoever pops a message handles it, or notes its end, alone.
        self._backlog: deque[Work] = deque()
        self._batches: deque[Work] = deque()
        """What waits for a worker, as a batch takes longer than a quick handler may."""

        self._wake_ups: SimpleQueue[bool] = SimpleQueue()
        self._works = Works()
        self._workers = 0
        """Changed by one thread at a time. Others may wake one too many, for nothing, or one too few: whoever starts it
        wakes it."""

        self._seconds = _UNKNOWN
        """What a message has taken of late: a mean, which lacks one message where two threads change it at once."""

        self._began_at = 0.0
        """When the latest one was begun, by any thread: as long as one begins others, what waits is not held up."""

        self._event_loops = [self._make_event_loop()]
        """The last one is used; whoever reads it just before a new one comes uses the one before, as others have."""

        self._loop_seconds = 1.0
        """What a message has taken in an event loop of late, its wait for the loop included."""

        self._waits = Waits()
        self._telling: set[asyncio.AbstractEventLoop] = set()
        """The event loops that are about to tell: each adds and removes only itself."""

        self._run = partial(run_step, wait=self._wait, watch=self._watch, ask=ask_or_raise)
        self._run_async = partial(arun_step, watch=self._watch)

    @property
    def are_quick(self) -> bool:
        """Whether messages have taken so little of late that it does not pay to share them out."""
        return self._seconds <= _QUICK

    @property
    def are_waited_for(self) -> bool:
        """Whether something waits to be handled, or to be told."""
        return bool(self._backlog or self._works.finished)

    @property
    def have_finished(self) -> bool:
        """Whether something is finished that nobody has told."""
        return bool(self._works.finished)

    def are_held_up(self, seconds: float) -> bool:
        """Tell whether others could take what waits sooner: messages are not instant, or none was begun for so long."""
        return self._seconds > _INSTANT or time.perf_counter() - self._began_at >= seconds

    def carry_out(self, action: Start | Resume | CallBatch | Drop) -> None:
        """Do what the core wants done with messages."""
        match action:
            case Start(messages):
                self.start(messages)
            case Resume():
                self.resume(action)
            case CallBatch():
                self._batches.append(self._works.call_batch(action, self._get_processor()))
                self._start_missing()
                self._wake_ups.put(True)
            case Drop(messages):
                self._works.drop(messages)

    def start(self, messages: Sequence[Message]) -> None:
        """Let messages wait for a thread; there is one for each, as far as the system allows it."""
        self._let_wait(self._works.start(messages))

    def resume(self, action: Resume) -> None:
        """Go on with messages whose turn has come, or in the midst of which a store has failed."""
        self._let_wait(self._works.resume(action))

    def take_finished(self) -> list[Input]:
        """Return what has finished meanwhile, or waits for a store or its turn, all verdicts together."""
        return self._works.take_finished()

    def _let_wait(self, works: Iterable[Work]) -> None:
        self._backlog += works
        self._start_missing()

    def _start_missing(self) -> None:
        while self._workers < self._works.count:
            try:
                threading.Thread(target=self._work_forever, name="megaflow-worker", daemon=True).start()
                self._workers += 1
            except RuntimeError as error:
                if not self._workers:
                    raise
                log.warning("no thread for one more handler, %d are at work: %s", self._workers, text_of(error))
                return

    def wake(self, count: int) -> None:
        """Wake workers for *count* messages that wait."""
        for _ in range(min(1 if self.are_quick else count, self._workers)):
            self._wake_ups.put(True)

    def wake_for_the_rest(self) -> None:
        """Wake a worker for everything that waits, and the event loop for what it is to begin."""
        self._event_loops[-1].wake()
        for _ in range(min(len(self._backlog), self._workers)):
            self._wake_ups.put(True)

    def handle_while_quick(self) -> bool:
        """Handle what waits in the calling poller as long as handlers are quick, and wake workers for the rest.

        Tell whether something is finished that nobody has told.
        """
        wait = self._waits.announce() if self._loop_seconds <= SOON else None
        while self.are_quick and (work := _take(self._backlog)):
            self._handle(work, _POLLER)
        self.wake_for_the_rest()
        if wait is not None:
            self._waits.wait(wait, for_something=self._event_loops[-1].is_at_work)
        return self.have_finished

    def give_up(self, message: Message, handler: Handler) -> None:
        """Go on without the thread, or the event loop, that this message's handler holds."""
        work = self._works.give_up(message)
        if handler.is_async:
            # It does not give way to others either; those that share its loop stay there.
            self._event_loops.append(self._make_event_loop())
        elif work is not None and work.handled_by is _WORKER:
            self._workers -= 1

    def close(self) -> None:
        """Let the threads and event loops go, as soon as their handlers do."""
        for _ in range(self._workers):
            self._wake_ups.put(False)
        for event_loop in self._event_loops:
            event_loop.close()
        self._works.close()

    def _work_forever(self) -> None:
        while self._wake_ups.get():
            while work := _take(self._batches) or _take(self._backlog):
                if not self._handle(work, _WORKER):
                    # Another thread has taken the place of this one.
                    return
                if not self.are_quick and self._works.finished:
                    self._tell(None, _WORKER)
            if self._works.finished:
                self._tell(None, _WORKER)

    def _handle(self, work: Work, caller: Caller) -> bool:
        """Handle a message as far as can be in this thread, and tell whether that was still waited for."""
        work.handled_by = caller
        ended: Verdict | Turn | Parting | Crashed | None
        context = self._context.copy() if work.context is None else work.context
        began = self._began_at = time.perf_counter()
        try:
            begun = work.steps or context.run(self._get_processor().begin, work.message, self._wait)
            if isinstance(begun, Verdict):
                ended = begun
            elif isinstance(begun, StraightToBatch) and work.result is None:
                work.steps, ended = begun, begun.turn
            else:
                ended = context.run(self._advance, work, begun)
        except StoreError as error:
            work.context = context
            return self._works.park(work, error)
        except BaseException as error:  # noqa: BLE001 - a message that is out must come back to the core
            ended = Crashed(work.message, error)
        if not work.parts:
            # What a batch takes is not what a message takes.
            self._seconds += (time.perf_counter() - began - self._seconds) / 8
        if isinstance(ended, Turn | Parting):
            return self._works.leave(work, ended, context)
        return ended is None or self._works.end(work, ended)

    def _advance(self, work: Work, begun: Steps | Begun) -> Verdict | Turn | Parting | None:
        """Take a message as far as can be in this thread; None is that the event loop goes on with it."""
        if not isinstance(begun, Steps):
            if not self._spawn(work, begun):
                raise cancellation()
            return None
        work.steps = steps = begun
        work.take_result(steps)
        ended = drive(
            steps, self._run, lambda step: self._is_for_core(step) or (step.is_async and self._spawn_rest(work, steps))
        )
        return ended if isinstance(ended, Verdict | Turn | Parting) else None

    def _is_for_core(self, step: Step) -> bool:
        """Tell whether a step is a turn to wait for, or the end of a batch."""
        return isinstance(step, Parting) or (isinstance(step, Turn) and not self._is_free(step))

    def _is_for_others(self, step: Step) -> bool:
        """Tell whether a step is not for the event loop, which passes by what nobody waits for."""
        return self._is_for_core(step) if isinstance(step, LEFT) else not step.is_async

    def _spawn_rest(self, work: Work, steps: Steps) -> bool:
        """Let the event loop go on with a message, as long as its handlers are async; tell whether there is one."""
        return self._spawn(work, partial(adrive, steps, self._run_async, self._is_for_others))

    def _spawn(self, work: Work, rest: Callable[[], Coroutine[Any, Any, Verdict | Step]]) -> bool:
        work.spawned_at = time.perf_counter()
        return self._event_loops[-1].spawn(self._go_on(work, rest), wakes=work.handled_by is not _POLLER)

    async def _go_on(self, work: Work, rest: Callable[[], Coroutine[Any, Any, Verdict | Step]]) -> None:
        """Go on with a message in the event loop; *rest* is called here, as a loop that ends may not come to it."""
        try:
            ended = await rest()
        except BaseException as error:  # noqa: BLE001 - a message that is out must come back to the core
            self._works.end(work, Crashed(work.message, error))
        else:
            if isinstance(ended, Verdict):
                self._works.end(work, ended)
            elif isinstance(ended, LEFT):
                self._works.leave(work, ended, copy_context())
            else:
                self._hand_over(work)
        self._loop_seconds += (time.perf_counter() - work.spawned_at - self._loop_seconds) / 8
        loop = get_running_loop()
        if loop not in self._telling:
            # Those that end in the same turn of the loop are told together.
            self._telling.add(loop)
            loop.call_soon(self._tell_of, loop, context=self._context.copy())

    def _tell_of(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell what has ended in an event loop, and start there what the core wants started now."""
        self._telling.discard(loop)
        if self._waits.end_one():
            return
        self._tell(None, Caller.EVENT_LOOP)
        while self.are_quick and (work := _take(self._backlog)):
            context = work.context = self._context.copy() if work.context is None else work.context
            if not context.run(self._start_here, work):
                break
        if self._works.finished:
            self._tell(None, Caller.HANDLER)

    def _start_here(self, work: Work) -> bool:
        """Start a message from within the event loop; tell whether it is not for a worker."""
        self._began_at = time.perf_counter()
        try:
            begun = work.steps or self._get_processor().begin(work.message)
            if not isinstance(begun, Steps):
                return (
                    self._works.end(work, begun) if isinstance(begun, Verdict) else self._advance(work, begun) is None
                )
            work.steps = begun
            work.take_result(begun)
            while isinstance(begun.step, Turn) and self._is_free(begun.step):
                begun.take(begun.step.pass_by())
        except BaseException as error:  # noqa: BLE001 - a message that is out must come back to the core
            return self._works.end(work, Crashed(work.message, error))
        if isinstance(begun.step, Verdict):
            return self._works.end(work, begun.step)
        if isinstance(begun.step, LEFT):
            return self._works.leave(work, begun.step, copy_context())
        if begun.step.is_async and self._spawn_rest(work, begun):
            return True
        self._hand_over(work)
        return False

    def _hand_over(self, work: Work) -> None:
        """Let a worker go on with a message, in a copy of the context that this thread has not yet left."""
        work.context = copy_context()
        self._backlog.append(work)
        self._wake_ups.put(True)

    def _wait(self, awaitable: Awaitable[Any]) -> Any:
        return self._event_loops[-1].wait(awaitable)

    def _watch(self, message: Message, handler: Handler, seconds: float | None) -> None:
        self._tell(Called(message, handler, seconds), Caller.HANDLER)


def _take(waiting: deque[Work]) -> Work | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None
