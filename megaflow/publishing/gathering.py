"""Gathering: the calls of coroutines, sent by threads; those that wait at the same moment may share a batch.

::

    apublish      prepares its message, and lets it wait            in its event loop
    a thread      takes what goes together, and sends it            `sharing` says what does
    apublish      gets its own message id, or its own error         in its event loop

A call that is alone waits for no other. No two requests with messages of one group are under way at once.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from typing_extensions import override

from megaflow.errors import FailedEntry, PublishError
from megaflow.forks import renew_in_child
from megaflow.loops import get_running_loop
from megaflow.publishing.outgoing import Prepared
from megaflow.publishing.sharing import choose
from megaflow.publishing.threads import Threads
from megaflow.wire.patience import PATIENCE

if TYPE_CHECKING:
    import asyncio

AT_ONCE: Final = 10
"""Requests that are under way at once: boto3 keeps as many connections."""

_LOOKED_AT: Final = 100
"""How many of those that wait are looked at, whether they still do, before some are taken."""


@dataclass(eq=False, slots=True)
class Call:
    """A *message* that a coroutine wants to be sent, below what is current in *parent* as OpenTelemetry has it.

    *group* and *apart* are as `sharing` has them.
    """

    message: Prepared
    parent: Any
    group: str
    apart: str
    loop: asyncio.AbstractEventLoop
    began: float
    patience: float
    """Seconds that it may take since then, as far as is known."""

    future: Future[str] = field(default_factory=Future)
    waiter: asyncio.Future[str] | None = None
    """What its coroutine waits for."""

    late: PublishError | None = None
    """What is raised where it has waited too long."""

    @property
    def size(self) -> int:
        """The bytes of its message."""
        return self.message.size

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for it."""
        is_cancelled = self.future.cancelled() or (self.waiter is not None and self.waiter.cancelled())
        return not (is_cancelled or self.loop.is_closed())

    def answer(self, answer: Answer) -> None:
        """Give the message id, or an error of its own, to whoever waits."""
        if self.loop.is_closed():
            return
        if isinstance(answer, str):
            self.future.set_result(answer)
        else:
            self.future.set_exception(answer)


Answer: TypeAlias = str | BaseException
"""A message id, or an error."""

SendCalls: TypeAlias = Callable[[Sequence[Call]], Sequence[Answer]]


class Gathering(Executor):
    """Lets calls wait, and has threads send them. May be used from any thread, and by several event loops.

    *open_* makes the client, and returns how long a call may take, and how many may be made at once. *send* sends calls
    together, up to *max_size* bytes of them, and says what became of each.
    """

    def __init__(self, open_: Callable[[], tuple[float, int]], send: SendCalls, *, max_size: int) -> None:
        self.threads: Final = Threads(1)
        """Those that send; one, as long as there is no client."""

        self._open = open_
        self._send = send
        self._max_size = max_size
        self._patience = PATIENCE
        self._at_once = 1
        """As long as there is no client, one job makes it."""

        self._reset()
        renew_in_child(self)

    async def publish(self, message: Prepared, parent: Any, *, group: str, apart: str) -> str:
        """Send *message*, and return its message id, or raise why it did not go, or may not have gone.

        Where this is cancelled before the message was taken, it does not go.
        """
        import asyncio

        loop = get_running_loop()
        call = Call(message, parent, group, apart, loop, loop.time(), self._patience)
        # In this way the loop of a `TestClient`, which waits for no timer, knows that there is something to wait for.
        call.waiter = loop.run_in_executor(self, _be_sent, call)
        timer = loop.call_later(self._patience, self._give_up, call)
        try:
            return await call.waiter
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if call.late is None or (task is not None and task.cancelling()):
                raise
            raise call.late from None
        finally:
            timer.cancel()
            call.future.cancel()

    def _give_up(self, call: Call) -> None:
        """Let a call wait no longer than its client has patience, as far as that is known by now."""
        if call.waiter is None or call.waiter.done():
            return
        left = call.began + call.patience - call.loop.time()
        if left > 0:
            call.loop.call_later(left, self._give_up, call)
            return
        call.late = _describe_late(call.message, goes=not call.future.cancel(), seconds=call.patience)
        call.waiter.cancel()

    @override
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Let a `Call` wait until the event loop has nothing else to do now: others may come that go with it."""
        (call,) = args
        with self._lock:
            self._waiting.append(call)
        call.loop.call_soon(self._begin_job)
        return call.future  # type: ignore[no-any-return]

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`: what waits is the parent's to send."""
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Call] = []
        self._busy: set[str] = set()
        """The groups of which a request is under way."""

        self._jobs = 0
        self._is_beginning = False
        """Whether there is a job that has taken nothing yet: it begins the next one, where there is more to take."""

    def _begin_job(self) -> None:
        with self._lock:
            if self._is_beginning or self._jobs >= self._at_once or not self._may_go():
                return
            self._is_beginning = True
            self._jobs += 1
        try:
            self.threads.submit(self._send_all)
        except RuntimeError as error:
            self._fail_all(error)

    def _may_go(self) -> bool:
        return any(call.group not in self._busy for call in self._waiting)

    def _send_all(self) -> None:
        """Send what waits, until nothing does."""
        try:
            patience, self._at_once = self._open()
        except BaseException as error:  # noqa: BLE001 - it is for those that wait
            self._fail_all(error)
            return
        if patience != self._patience:
            self._hear_of(patience)
        while calls := self._take():
            try:
                answers = self._send(calls)
            except BaseException as error:  # noqa: BLE001 - it is for those that wait
                answers = [copy_error(error) for _ in calls]
            with self._lock:
                self._busy.difference_update(call.group for call in calls)
            for call, answer in zip(calls, answers, strict=True):
                call.answer(answer)

    def _hear_of(self, patience: float) -> None:
        """Take note of how long a call may take: those that wait already may have less time than was thought."""
        with self._lock:
            self._patience, waiting = patience, tuple(self._waiting)
        for call in waiting:
            call.patience = patience
            with suppress(RuntimeError):  # its loop is closed
                call.loop.call_soon_threadsafe(self._give_up, call)

    def _take(self) -> list[Call]:
        """Take those that go together next; none is that this job has nothing to do."""
        with self._lock:
            self._waiting[:_LOOKED_AT] = [call for call in self._waiting[:_LOOKED_AT] if call.is_wanted]
            places = choose(self._waiting, self._busy, max_size=self._max_size)
            calls = [self._waiting[place] for place in places]
            for place in reversed(places):
                del self._waiting[place]
            # One that is cancelled just now is not sent.
            calls = [call for call in calls if call.is_wanted and call.future.set_running_or_notify_cancel()]
            self._busy.update(call.group for call in calls if call.group)
            self._is_beginning = False
            if not calls:
                self._jobs -= 1
        self._begin_job()
        return calls

    def _fail_all(self, error: BaseException) -> None:
        """End a job that cannot begin, and let those that wait know why."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._jobs, self._is_beginning = self._jobs - 1, False
        for call in waiting:
            if call.is_wanted and call.future.set_running_or_notify_cancel():
                call.answer(copy_error(error))


def copy_error(error: BaseException) -> BaseException:
    """Return *error* for one of several who are to raise it: each adds to it where it was raised."""
    try:
        own = copy.copy(error)
        # A copy of one of botocore's is a plain `ClientError`.
        own.__class__ = type(error)
    except Exception:  # noqa: BLE001 - an error of somebody's may be anything
        return error
    own.__cause__, own.__traceback__ = error.__cause__, error.__traceback__
    return own


def _be_sent(call: Call) -> str:
    """Be what an executor is given to do, in whatever way it does it."""
    return call.future.result()


def _describe_late(message: Prepared, *, goes: bool, seconds: float) -> PublishError:
    code, reason = "NotSent", f"earlier calls were not answered within {seconds:g} s"
    if goes:
        code, reason = "NoAnswer", f"no answer came within {seconds:g} s"
    return PublishError([FailedEntry(0, message.source.payload, code, reason, goes)], [""])
