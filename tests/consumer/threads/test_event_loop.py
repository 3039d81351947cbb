"""The event loop of async handlers: one thread, started when it is needed, in which what ends is told."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from megaflow.consumer.threads.event_loop import EventLoop
from tests.waiting import PATIENCE, wait_until

PLACE: ContextVar[str] = ContextVar("PLACE", default="nowhere")


@pytest.fixture
def interruptions() -> list[BaseException]:
    return []


@pytest.fixture
def loop(interruptions: list[BaseException]) -> Iterator[EventLoop]:
    loop = EventLoop(interruptions.append)
    yield loop
    if not loop._closed:
        loop.close()


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "megaflow-async"]


async def name_thread() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


async def do_nothing() -> None: ...


def test_what_is_waited_for_runs_in_a_thread_of_its_own_that_is_started_once(loop: EventLoop) -> None:
    before = len(loop_threads())

    assert [loop.wait(name_thread()) for _ in range(3)] == ["megaflow-async"] * 3

    assert len(loop_threads()) == before + 1
    assert loop_threads()[-1].daemon, "a handler that never returns does not keep the process"


def test_what_fails_is_raised_where_it_is_waited_for(loop: EventLoop) -> None:
    async def fail() -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        loop.wait(fail())


def test_an_exit_reaches_who_waits_and_nobody_else(loop: EventLoop, interruptions: list[BaseException]) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        loop.wait(leave())

    assert interruptions == []
    assert loop.wait(name_thread())


def test_what_is_set_in_the_context_is_set_for_who_waits_too(loop: EventLoop) -> None:
    async def settle_down() -> None:
        assert PLACE.get() == "outside"
        PLACE.set("inside")

    def run() -> str:
        PLACE.set("outside")
        loop.wait(settle_down())
        return PLACE.get()

    assert copy_context().run(run) == "inside"


def test_who_spawns_in_the_loop_itself_starts_at_once(loop: EventLoop) -> None:
    order: list[str] = []

    async def spawned() -> None:
        order.append("spawned")

    async def spawn() -> None:
        assert loop.spawn(spawned())
        asyncio.get_running_loop().call_soon(order.append, "later")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop.wait(spawn())

    assert order == ["spawned", "later"]


def test_an_exit_of_what_was_left_running_is_told_and_the_loop_goes_on(
    loop: EventLoop, interruptions: list[BaseException]
) -> None:
    tasks: list[asyncio.Task[None] | None] = []

    async def leave() -> None:
        tasks.append(asyncio.current_task())
        raise SystemExit(3)

    assert loop.spawn(leave())

    wait_until(lambda: interruptions)
    assert isinstance(interruptions[0], SystemExit)
    assert tasks[0]
    assert tasks[0].exception() is interruptions[0]
    assert loop.wait(name_thread()) == "megaflow-async"


def test_what_is_spawned_is_not_collected_while_it_runs(loop: EventLoop) -> None:
    ended = threading.Event()

    async def hold_on() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    assert loop.spawn(hold_on())
    loop.wait(name_thread())
    gc.collect()
    loop.wait(name_thread())

    assert not ended.is_set()
    wait_until(lambda: len(loop._tasks) == 1)


def test_what_has_ended_is_let_go(loop: EventLoop) -> None:
    class Large: ...

    large = Large()
    gone = weakref.ref(large)

    async def hold(it: object) -> None:
        await asyncio.sleep(0)

    loop.spawn(hold(large))
    del large

    wait_until(lambda: loop.wait(name_thread()) and gc.collect() >= 0 and gone() is None)
    wait_until(lambda: loop._tasks == set())


def test_a_loop_that_was_closed_cancels_what_runs_and_its_thread_ends(interruptions: list[BaseException]) -> None:
    loop, running, cancelled = EventLoop(interruptions.append), threading.Event(), threading.Event()
    cleaned, kept = threading.Event(), []

    async def generate() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            cleaned.set()

    async def run() -> None:
        numbers = generate()
        kept.append(numbers)
        async for _ in numbers:
            running.set()
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                cancelled.set()
                raise ValueError("its own affair") from None

    loop.spawn(run())
    assert running.wait(PATIENCE)
    (thread,) = [each for each in loop_threads() if each.ident == loop._thread]

    loop.close()

    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert cancelled.is_set()
    assert cleaned.is_set()
    assert loop._loop is not None
    assert loop._loop.is_closed()


def test_a_closed_loop_runs_nothing_more(loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    loop.wait(name_thread())
    loop.close()
    coroutine: Any = name_thread()

    with pytest.raises(asyncio.CancelledError):
        loop.wait(coroutine)

    assert not loop.spawn(do_nothing())
    assert coroutine.cr_frame is None, "it is closed: nobody is told that it was never awaited"
    assert "there is no event loop for an async handler: the consumer has ended" in caplog.text


def test_what_is_no_coroutine_is_cancelled_by_a_closed_loop_too(loop: EventLoop) -> None:
    class Awaitable:
        def __await__(self) -> Iterator[None]:
            yield

    loop.close()

    with pytest.raises(asyncio.CancelledError):
        loop.wait(Awaitable())  # type: ignore[arg-type]


def test_a_loop_that_was_never_needed_is_closed_without_a_thread(loop: EventLoop) -> None:
    before = len(loop_threads())

    loop.close()

    assert len(loop_threads()) == before


def test_a_child_keeps_its_parents_loop_and_so_does_a_child_of_its_own() -> None:
    event_loop = EventLoop(on_interrupt=lambda error: None)
    ran = threading.Event()

    async def run() -> None:
        ran.set()

    assert event_loop.spawn(run())
    assert ran.wait(PATIENCE)
    parents = event_loop._loop

    for _ in range(2):
        event_loop._after_fork_in_child()

        assert (event_loop._parents, event_loop._loop) == (parents, None)

    assert parents is not None
    parents.call_soon_threadsafe(event_loop.close)
    parents.call_soon_threadsafe(parents.stop)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_has_a_loop_of_its_own(loop: EventLoop) -> None:
    loop.wait(asyncio.sleep(0))
    child = os.fork()
    if child == 0:
        # It ends where it hangs.
        signal.alarm(20)
        code = 1
        try:
            code = 0 if loop.wait(asyncio.sleep(0, 7)) == 7 else 2
        finally:
            os._exit(code)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_is_cancelled_at_the_end_may_still_wait_for_something(loop: EventLoop) -> None:
    began, cleaned = threading.Event(), threading.Event()

    async def run() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    assert loop.spawn(run())
    assert began.wait(PATIENCE)

    loop.close()

    assert cleaned.wait(PATIENCE)


def test_what_is_spawned_without_a_wake_up_begins_with_the_next_one(loop: EventLoop) -> None:
    order: list[str] = []

    async def note(what: str) -> None:
        order.append(what)

    loop.wait(name_thread())
    assert loop.spawn(note("first"), wakes=False)
    assert loop.spawn(note("second"), wakes=False)
    assert loop.is_at_work
    assert order == []

    loop.wake()

    wait_until(lambda: not loop.is_at_work)
    assert order == ["first", "second"]


def test_what_is_spawned_together_wakes_the_loop_once(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on, wake_ups = threading.Event(), threading.Event(), []

    async def block() -> None:
        entered.set()
        go_on.wait(PATIENCE)

    assert loop.spawn(block())
    assert entered.wait(PATIENCE)
    assert loop._loop is not None
    call_soon = loop._loop.call_soon_threadsafe

    def note(*call: Any) -> Any:
        wake_ups.append(call)
        return call_soon(*call)

    monkeypatch.setattr(loop._loop, "call_soon_threadsafe", note)
    for _ in range(10):
        assert loop.spawn(do_nothing())
    loop.wake()

    assert len(wake_ups) == 1
    go_on.set()
    wait_until(lambda: not loop.is_at_work)


def test_to_wake_a_loop_without_anything_to_begin_is_nothing(loop: EventLoop) -> None:
    loop.wake()

    assert loop._loop is None


# The caller's


def test_the_callers_loop_is_used_and_only_what_was_spawned_is_cancelled_at_the_end(
    interruptions: list[BaseException],
) -> None:
    ended: list[str] = []

    async def wait(who: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(who)

    async def main() -> None:
        callers = asyncio.get_running_loop()
        loop = EventLoop(interruptions.append, callers)
        own = asyncio.create_task(wait("the caller's"))
        assert await asyncio.to_thread(loop.wait, name_thread()) == threading.current_thread().name
        assert await asyncio.to_thread(loop.spawn, wait("a handler's"))
        await asyncio.sleep(0)

        await asyncio.to_thread(loop.close)
        await loop.wait_for_tasks(PATIENCE)

        assert ended == ["a handler's"]
        assert not loop.is_at_work
        assert callers.is_running()
        own.cancel()

    asyncio.run(main())

    assert interruptions == []


def test_a_callers_loop_that_is_closed_is_told_and_can_be_let_go(interruptions: list[BaseException]) -> None:
    callers = asyncio.new_event_loop()
    callers.close()
    loop = EventLoop(interruptions.append, callers)
    coroutine: Any = do_nothing()

    assert loop.spawn(coroutine)
    loop.close()

    assert [str(error) for error in interruptions] == ["Event loop is closed"]
    assert coroutine.cr_frame is None, "it is closed: nobody is told that it was never awaited"
