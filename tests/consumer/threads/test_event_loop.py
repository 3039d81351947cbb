"""The event loop of async handlers: one thread, started when it is needed, in which what ends is told."""

from __future__ import annotations

import asyncio
import gc
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
    async def leave() -> None:
        raise SystemExit(3)

    assert loop.spawn(leave())

    wait_until(lambda: interruptions)
    assert isinstance(interruptions[0], SystemExit)
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
    assert loop._tasks == set()


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
