"""Workers: who is woken for what, who handles it, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextvars import ContextVar, copy_context
from types import SimpleNamespace
from typing import Any

import pytest

from megaflow import App, LeaseLostError, MemoryStore, Message, StoreError, Verdict
from megaflow.app import parts_of
from megaflow.consumer.core.protocol import CallBatch, Crashed, Finished, Input, LinedUp, Resume, StoreFailed
from megaflow.consumer.threads import waits
from megaflow.consumer.threads import workers as module
from megaflow.consumer.threads.caller import Caller
from megaflow.consumer.threads.workers import Workers
from megaflow.messages.batch import stand_for
from megaflow.messages.message import message_with
from megaflow.processing.steps import Turn
from tests.waiting import PATIENCE, wait_until

QUICK = -1e6
"""A mean of seconds that stays quick whatever the next messages take, on a machine that is busy, too."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class NoThread:
    """A thread that is never there."""

    started = 0

    def __init__(self, **options: Any) -> None: ...

    def start(self) -> None:
        NoThread.started += 1


class House:
    """Workers of an app, and what they tell."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.told: list[tuple[Input | None, Caller]] = []
        self.finished: list[Input] = []
        self.workers = Workers(lambda: parts_of(app).processor, self.tell)

    def tell(self, told: Input | None, caller: Caller) -> None:
        self.told.append((told, caller))
        self.finished += self.workers.take_finished()

    def start(self, *texts: str) -> list[Message]:
        messages = [message_with(text) for text in texts]
        self.workers.start(messages)
        return messages

    def make_quick(self) -> None:
        """Handle so much in no time that handlers count as quick."""
        self.workers._seconds = 0.0

    @property
    def wake_ups(self) -> int:
        return self.workers._wake_ups.qsize()

    def verdicts(self) -> list[Verdict]:
        """Return what has finished since it was asked last."""
        finished, self.finished = [*self.finished, *self.workers.take_finished()], []
        return [each for told in finished if isinstance(told, Finished) for each in told.verdicts]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=clock))
    return clock


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def house(app: App) -> Iterator[House]:
    house = House(app)
    yield house
    house.workers.close()


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> type[NoThread]:
    monkeypatch.setattr(NoThread, "started", 0)
    monkeypatch.setattr(module, "threading", SimpleNamespace(Thread=NoThread))
    return NoThread


def texts_of(verdicts: list[Verdict]) -> list[object]:
    return [verdict.message.payload for verdict in verdicts]


# Who is woken


def test_there_is_a_thread_for_each_message_at_work(house: House, no_threads: type[NoThread]) -> None:
    house.start("a", "b", "c")
    assert no_threads.started == 3
    house.make_quick()
    house.workers.handle_while_quick()

    house.start("d", "e")
    assert no_threads.started == 3
    house.start("f", "g")

    assert no_threads.started == 4


def test_where_handlers_are_slow_a_worker_is_woken_for_each_message(house: House, no_threads: type[NoThread]) -> None:
    house.start("a", "b", "c")

    house.workers.wake(2)

    assert house.wake_ups == 2


def test_no_more_are_woken_than_there_are(house: House, no_threads: type[NoThread]) -> None:
    house.start("a", "b")

    house.workers.wake(5)

    assert house.wake_ups == 2


def test_where_handlers_are_quick_one_worker_is_woken_for_all(house: House, no_threads: type[NoThread]) -> None:
    house.start("a", "b", "c")
    house.make_quick()

    house.workers.wake(3)

    assert house.wake_ups == 1


def test_a_worker_is_woken_for_each_that_is_left(house: House, no_threads: type[NoThread]) -> None:
    house.start("a", "b", "c")
    house.workers.wake_for_the_rest()
    assert house.wake_ups == 3

    house.make_quick()
    house.workers.handle_while_quick()
    house.workers.wake_for_the_rest()

    assert house.wake_ups == 3


# Who is quick


def test_new_handlers_count_as_slow_until_they_have_been_quick_for_a_while(
    house: House, no_threads: type[NoThread], clock: Clock
) -> None:
    house.app.on_text()(lambda text: None)
    handled = 0
    while not house.workers.are_quick:
        (message,) = house.start("a")
        (work,) = house.workers._backlog
        house.workers._backlog.clear()
        house.workers._handle(work, Caller.POLLER)
        handled += 1
        assert house.verdicts()[0].message == message

    assert handled == 11


@pytest.mark.parametrize(("seconds", "quick"), [(0.0005, True), (0.00051, False)])
def test_a_handler_is_quick_up_to_half_a_millisecond(
    house: House, no_threads: type[NoThread], seconds: float, quick: bool
) -> None:
    house.workers._seconds = seconds

    assert house.workers.are_quick is quick


def test_what_a_batch_takes_makes_nobody_slow(house: House, clock: Clock) -> None:
    @house.app.on_text(batch_size=2)
    def handle(texts: list[str]) -> None:
        clock.now += 1.0

    (handler,) = parts_of(house.app).processor.table.handlers
    house.make_quick()
    messages = house.start("a", "b")
    house.workers.handle_while_quick()
    house.workers.carry_out(CallBatch(stand_for(messages), handler, tuple(messages)))

    wait_until(lambda: any(isinstance(each, Finished) for each in house.finished))

    assert len(house.verdicts()) == 2
    assert house.workers.are_quick


def test_the_calling_poller_handles_what_waits_until_a_handler_is_slow(
    house: House, no_threads: type[NoThread], clock: Clock
) -> None:
    def handle(text: str) -> None:
        clock.now += 0.1 if text == "slow" else 0.0

    house.app.on_text()(handle)
    house.start("a", "slow", "b", "c")
    house.make_quick()

    assert house.workers.handle_while_quick()

    assert texts_of(house.verdicts()) == ["a", "slow"]
    assert house.wake_ups == 2
    assert house.workers.are_waited_for


def test_where_handlers_are_slow_the_calling_poller_handles_nothing(house: House, no_threads: type[NoThread]) -> None:
    house.start("a")

    assert not house.workers.handle_while_quick()

    assert house.wake_ups == 1
    assert not house.workers.have_finished


def test_what_waits_is_held_up_where_messages_are_not_instant(
    house: House, no_threads: type[NoThread], clock: Clock
) -> None:
    house.workers._seconds = 0.0001
    clock.now = 1.0
    assert house.workers.are_held_up(1.0)
    assert not house.workers.are_held_up(1.1)

    house.workers._seconds = 0.00011

    assert house.workers.are_held_up(1.1)


def test_what_waits_is_not_held_up_just_after_another_one_was_begun(
    house: House, no_threads: type[NoThread], clock: Clock
) -> None:
    house.make_quick()
    house.start("a")
    clock.now = 5.0
    house.workers.handle_while_quick()

    clock.now = 5.9
    assert not house.workers.are_held_up(1.0)
    clock.now = 6.0

    assert house.workers.are_held_up(1.0)


# What is told


def test_nothing_waits_once_all_is_told(house: House, no_threads: type[NoThread]) -> None:
    def state() -> tuple[bool, bool]:
        return house.workers.are_waited_for, house.workers.have_finished

    assert state() == (False, False)
    house.start("a")
    assert state() == (True, False)
    house.make_quick()
    house.workers.handle_while_quick()
    assert state() == (True, True)

    assert len(house.workers.take_finished()) == 1

    assert state() == (False, False)
    assert house.workers.take_finished() == []


def test_all_verdicts_are_told_together_before_what_crashed(house: House, no_threads: type[NoThread]) -> None:
    real = parts_of(house.app).processor.begin

    def begin(message: Message, wait: Any = None) -> Any:
        if message.payload == "crash":
            raise MemoryError
        return real(message, wait)

    parts_of(house.app).processor.begin = begin  # type: ignore[method-assign]
    house.start("a", "crash", "b")
    house.make_quick()
    while house.workers.handle_while_quick() and house.workers._backlog:
        house.make_quick()

    finished, crashed = house.workers.take_finished()

    assert isinstance(finished, Finished)
    assert texts_of(list(finished.verdicts)) == ["a", "b"]
    assert isinstance(crashed, Crashed)
    assert isinstance(crashed.error, MemoryError)


def test_a_worker_tells_what_it_has_finished(house: House) -> None:
    house.app.on_text()(lambda text: None)

    house.start("a")
    house.workers.wake(1)

    wait_until(lambda: house.told)
    assert house.told == [(None, Caller.WORKER)]
    assert texts_of(house.verdicts()) == ["a"]


def test_who_is_woken_for_the_rest_handles_it_again_and_again(house: House) -> None:
    for text in ("a", "b"):
        house.start(text)
        house.workers.wake_for_the_rest()
        wait_until(lambda: house.finished)
        assert texts_of(house.verdicts()) == [text]


def test_a_worker_tells_of_quick_ones_together(house: House, clock: Clock) -> None:
    house.make_quick()

    house.start("a", "b", "c")
    house.workers.wake(3)

    wait_until(lambda: house.told)
    assert house.told == [(None, Caller.WORKER)]
    assert texts_of(house.verdicts()) == ["a", "b", "c"]


def test_workers_that_are_woken_handle_at_once(house: House) -> None:
    together = threading.Barrier(3, timeout=PATIENCE)

    @house.app.on_text()
    def handle(text: str) -> None:
        together.wait()

    house.start("a", "b", "c")
    house.workers.wake(3)

    wait_until(lambda: len(house.told) == 3)
    assert [verdict.deletes for verdict in house.verdicts()] == [True] * 3


def test_one_worker_handles_all_that_waits_and_tells_each_slow_one_as_it_ends(house: House) -> None:
    go_on = threading.Event()

    @house.app.on_text()
    def handle(text: str) -> None:
        if text == "last":
            go_on.wait(PATIENCE)

    house.start("a", "b", "last")
    house.workers.wake(1)

    wait_until(lambda: len(house.told) == 2)
    assert texts_of(house.verdicts()) == ["a", "b"]
    go_on.set()
    wait_until(lambda: len(house.told) == 3)


# Given up


def blocked(house: House, *, is_async: bool = False) -> tuple[threading.Event, threading.Event, Message]:
    """Start a message whose handler blocks its thread, and return when it is inside, what lets it go on, and it."""
    inside, go_on = threading.Event(), threading.Event()

    def handle(text: str) -> None:
        if text == "stuck":
            inside.set()
            go_on.wait(PATIENCE)

    async def ahandle(text: str) -> None:
        handle(text)

    house.app.on_text()(ahandle if is_async else handle)
    (message,) = house.start("stuck")
    house.workers.wake(1)
    assert inside.wait(PATIENCE)
    return inside, go_on, message


@pytest.mark.parametrize("is_async", [False, True])
def test_after_one_was_given_up_others_are_handled_and_what_it_says_is_only_logged(
    house: House, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    _, go_on, stuck = blocked(house, is_async=is_async)
    (handler,) = parts_of(house.app).processor.table.handlers

    house.workers.give_up(stuck, handler)
    house.start("other")
    house.workers.wake(1)
    wait_until(lambda: house.finished)
    assert texts_of(house.verdicts()) == ["other"]
    go_on.set()

    wait_until(lambda: "finished after it was given up" in caplog.text)
    assert house.verdicts() == []
    (record,) = [each for each in caplog.records if "given up" in each.getMessage()]
    assert record.levelno == logging.WARNING
    assert f"message {stuck.id}: finished after it was given up: deleted" in record.getMessage()


def test_who_has_ended_before_it_is_given_up_takes_no_thread_with_it(house: House, no_threads: type[NoThread]) -> None:
    house.app.on_text()(lambda text: None)
    (handler,) = parts_of(house.app).processor.table.handlers
    (message,) = house.start("quick")
    house.workers.give_up(message, handler)
    house.workers.give_up(message, handler)

    house.start("other")

    assert no_threads.started == 2
    assert house.verdicts() == []


def test_one_thread_takes_the_place_of_one_that_was_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    _, go_on, stuck = blocked(house)
    (handler,) = parts_of(house.app).processor.table.handlers
    house.workers.give_up(stuck, handler)

    monkeypatch.setattr(NoThread, "started", 0)
    monkeypatch.setattr(module, "threading", SimpleNamespace(Thread=NoThread))
    house.start("other")
    house.start("another")

    assert NoThread.started == 2
    go_on.set()


def test_a_message_that_its_poller_handles_holds_no_worker(house: House, no_threads: type[NoThread]) -> None:
    def handle(text: str) -> None:
        house.workers.give_up(message, handler)

    house.app.on_text()(handle)
    (handler,) = parts_of(house.app).processor.table.handlers
    (message,) = house.start("stuck")
    house.make_quick()
    house.workers.handle_while_quick()
    assert not house.workers.have_finished

    house.start("other")

    assert no_threads.started == 1


def test_a_thread_that_was_given_up_takes_nothing_more(house: House) -> None:
    _, go_on, stuck = blocked(house)
    (handler,) = parts_of(house.app).processor.table.handlers
    before = [thread for thread in threading.enumerate() if thread.name == "megaflow-worker"]
    house.workers.give_up(stuck, handler)

    go_on.set()

    wait_until(lambda: [thread for thread in before if thread.is_alive()] != before)


def test_what_broke_after_it_was_given_up_is_logged_with_its_reason(
    house: House, no_threads: type[NoThread], caplog: pytest.LogCaptureFixture
) -> None:
    house.app.on_text()(lambda text: None)
    (handler,) = parts_of(house.app).processor.table.handlers

    def begin(message: Message, wait: Any = None) -> Any:
        house.workers.give_up(message, handler)
        raise MemoryError("no memory left")

    parts_of(house.app).processor.begin = begin  # type: ignore[method-assign]
    house.start("a")
    house.make_quick()
    house.workers.handle_while_quick()

    assert "finished after it was given up: no memory left" in caplog.text
    assert not house.workers.have_finished


# Stores that fail


def failing(house: House, no_threads: type[NoThread]) -> tuple[Message, list[str]]:
    """Start a message whose store fails once its handler has run; return it, and what ran."""
    ran: list[str] = []
    app = house.app

    class Store(MemoryStore):
        fails = True

        def save(self, *what: Any) -> None:
            if Store.fails:
                Store.fails = False
                raise OSError("disk full")

    made = App(progress=Store())
    made.on_text()(lambda text: ran.append(text))
    house.app = made
    house.workers = Workers(lambda: parts_of(made).processor, house.tell)
    assert app is not made
    (message,) = house.start("a")
    house.make_quick()
    assert house.workers.handle_while_quick()
    (told,) = house.workers.take_finished()
    assert isinstance(told, StoreFailed)
    assert isinstance(told.error, StoreError)
    return message, ran


def test_a_message_goes_on_where_its_store_failed(house: House, no_threads: type[NoThread]) -> None:
    message, ran = failing(house, no_threads)

    house.workers.resume(Resume((message,)))
    house.make_quick()
    house.workers.handle_while_quick()

    (verdict,) = house.verdicts()
    assert verdict.deletes
    assert ran == ["a"], "the handler is not called again"


def test_a_message_whose_store_is_not_asked_again_comes_again(house: House, no_threads: type[NoThread]) -> None:
    message, ran = failing(house, no_threads)

    house.workers.resume(Resume((message,), failed=True))
    house.make_quick()
    house.workers.handle_while_quick()

    (verdict,) = house.verdicts()
    assert verdict.keeps
    assert isinstance(verdict.outcomes[0].error, StoreError)
    assert ran == ["a"]


# Turns


def line_up(house: House, *, is_async: bool = False) -> tuple[Message, list[str]]:
    """Start a message that comes to a handler with a limit, and return it, and what its handlers do."""
    ran: list[str] = []

    async def ahandle(text: str) -> None:
        ran.append(f"limited, in {threading.current_thread().name}")

    house.app.on_text(rate="1/s")(ahandle if is_async else lambda text: ran.append("limited"))
    house.app.on_text()(lambda text: ran.append("plain"))
    (message,) = house.start("a")
    house.make_quick()
    assert house.workers.handle_while_quick()
    (told,) = house.workers.take_finished()
    assert isinstance(told, LinedUp)
    assert (told.messages, told.handler) == ([message], house.app.handlers[0])
    assert ran == ["plain"]
    return message, ran


def test_a_message_in_line_needs_no_thread(house: House, no_threads: type[NoThread]) -> None:
    message, _ = line_up(house)
    assert no_threads.started == 1

    house.start("b")
    assert no_threads.started == 1
    house.workers.resume(Resume((message,)))

    assert no_threads.started == 2


def test_a_message_goes_on_when_its_turn_has_come(house: House, no_threads: type[NoThread]) -> None:
    message, ran = line_up(house)

    house.workers.resume(Resume((message,)))
    house.make_quick()
    house.workers.handle_while_quick()

    assert [verdict.deletes for verdict in house.verdicts()] == [True]
    assert ran == ["plain", "limited"]


def test_a_message_whose_turn_does_not_come_comes_again(house: House, no_threads: type[NoThread]) -> None:
    message, ran = line_up(house)

    house.workers.resume(Resume((message,), failed=True))
    house.make_quick()
    house.workers.handle_while_quick()

    (verdict,) = house.verdicts()
    assert verdict.keeps
    assert isinstance(verdict.outcomes[1].error, LeaseLostError)
    assert ran == ["plain"]


def test_an_async_handler_is_called_in_the_event_loop_when_its_turn_has_come(house: House) -> None:
    message, ran = line_up(house, is_async=True)

    house.workers.resume(Resume((message,)))
    house.workers.wake(1)

    wait_until(lambda: house.finished)
    assert ran == ["plain", "limited, in megaflow-async"]


def test_what_was_set_in_the_context_is_there_when_the_turn_has_come(house: House, no_threads: type[NoThread]) -> None:
    seen: ContextVar[str] = ContextVar("seen", default="nothing")
    found: list[str] = []
    house.app.on_text(rate="1/s")(lambda text: found.append(seen.get()))
    house.app.on_text()(lambda text: seen.set("plain") and None)
    (message,) = house.start("a")
    house.make_quick()
    house.workers.handle_while_quick()
    house.workers.take_finished()

    house.workers.resume(Resume((message,)))
    house.make_quick()
    house.workers.handle_while_quick()

    assert found == ["plain"]


@pytest.mark.parametrize("is_async", [False, True])
def test_in_the_event_loop_a_message_is_put_in_line_and_gone_on_with(
    house: House, no_threads: type[NoThread], is_async: bool
) -> None:
    ran: list[str] = []

    async def ahandle(text: str) -> None:
        ran.append("limited")

    house.app.on_text(rate="1/s")(ahandle if is_async else lambda text: ran.append("limited"))
    (message,) = house.start("a")
    house.make_quick()
    tell_in_a_loop(house)
    told = [*house.finished, *house.workers.take_finished()]
    assert told == [LinedUp([message], house.app.handlers[0])]

    house.workers.resume(Resume((message,)))
    house.make_quick()
    tell_in_a_loop(house)
    house.workers.handle_while_quick()

    wait_until(lambda: ran)
    assert ran == ["limited"]


def test_a_message_that_was_given_up_does_not_stand_in_line(house: House) -> None:
    _, go_on, stuck = blocked(house)
    (handler,) = parts_of(house.app).processor.table.handlers
    work = next(iter(house.workers._works._at_work.values()))

    house.workers.give_up(stuck, handler)

    assert not house.workers._works.leave(work, Turn(handler), copy_context())
    assert house.workers.take_finished() == []
    go_on.set()


# Async handlers


def test_async_handlers_that_end_together_are_told_together(house: House) -> None:
    running = 0
    all_there = asyncio.Event()

    async def handle(text: str) -> None:
        nonlocal running
        running += 1
        if running == 3:
            all_there.set()
        await all_there.wait()

    house.app.on_text()(handle)
    house.start("a", "b", "c")
    house.workers.wake(3)

    wait_until(lambda: Caller.EVENT_LOOP in [caller for _, caller in house.told])
    assert sorted(map(str, texts_of(house.verdicts()))) == ["a", "b", "c"]
    # A worker that has only now handed the last one over may see them first, and tell of them as well.
    assert [caller for _, caller in house.told if caller is not Caller.WORKER] == [Caller.EVENT_LOOP]


def test_a_poller_waits_for_quick_async_handlers_and_tells_of_them_itself(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops: set[str] = set()
    monkeypatch.setattr(waits, "SOON", PATIENCE)

    async def handle(text: str) -> None:
        loops.add(threading.current_thread().name)

    house.app.on_text()(handle)
    house.workers._loop_seconds, house.workers._seconds = QUICK, QUICK
    house.start("a", "b", "c")

    assert house.workers.handle_while_quick()

    assert texts_of(house.verdicts()) == ["a", "b", "c"]
    assert house.told == []
    assert loops == {"megaflow-async"}


def test_a_poller_does_not_wait_for_slow_async_handlers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = asyncio.Event()

    async def handle(text: str) -> None:
        await go_on.wait()

    def wait(*args: object, **options: object) -> None:
        pytest.fail("it waits")

    house.app.on_text()(handle)
    house.workers._loop_seconds, house.workers._seconds = 0.0021, QUICK
    monkeypatch.setattr(house.workers._waits, "wait", wait)
    (first,) = house.start("a")

    assert not house.workers.handle_while_quick()
    house.workers._event_loops[-1].spawn(_set(go_on))

    wait_until(lambda: house.told)
    assert house.told == [(None, Caller.EVENT_LOOP)]
    assert [verdict.message for verdict in house.verdicts()] == [first]


def test_what_a_poller_has_not_waited_long_enough_for_is_told_by_the_event_loop(house: House) -> None:
    go_on = asyncio.Event()

    async def handle(text: str) -> None:
        await go_on.wait()

    house.app.on_text()(handle)
    house.workers._loop_seconds, house.workers._seconds = QUICK, QUICK
    house.start("a")

    assert not house.workers.handle_while_quick()
    assert not house.workers._waits._waits
    house.workers._event_loops[-1].spawn(_set(go_on))

    wait_until(lambda: house.told)
    assert house.told == [(None, Caller.EVENT_LOOP)]


def test_the_event_loop_does_not_leave_it_to_a_poller_that_a_handler_holds_up(house: House) -> None:
    go_on, held_up, let_go = asyncio.Event(), threading.Event(), threading.Event()

    async def handle(text: str) -> None:
        await go_on.wait()

    def hold_up(text: str) -> None:
        house.workers.wake_for_the_rest()
        house.workers._waits._waits[0].until = 0.0
        held_up.set()
        let_go.wait(PATIENCE)

    house.app.on_text("async")(handle)
    house.app.on_text("slow")(hold_up)
    house.workers._loop_seconds, house.workers._seconds = QUICK, QUICK
    house.start("async", "slow")
    poller = threading.Thread(target=house.workers.handle_while_quick)
    poller.start()
    assert held_up.wait(PATIENCE)

    house.workers._event_loops[-1].spawn(_set(go_on))

    wait_until(lambda: house.told)
    assert house.told == [(None, Caller.EVENT_LOOP)]
    assert texts_of(house.verdicts()) == ["async"]
    let_go.set()
    poller.join(PATIENCE)


async def _set(event: asyncio.Event) -> None:
    event.set()


def test_what_is_told_in_the_event_loop_is_started_there_while_handlers_are_quick(house: House) -> None:
    threads: list[str] = []

    async def handle(text: str) -> None:
        threads.append(threading.current_thread().name)
        if text == "first":
            house.workers._seconds = QUICK

    house.app.on_text()(handle)
    more = iter([["second"], ["third"]])
    tell = house.workers._tell

    def tell_and_start(told: Input | None, caller: Caller) -> None:
        tell(told, caller)
        if caller is Caller.EVENT_LOOP:
            house.start(*next(more, []))

    house.workers._tell = tell_and_start
    house.start("first")
    house.workers.wake(1)

    wait_until(lambda: len(threads) == 3)
    assert threads == ["megaflow-async"] * 3


def test_what_a_plain_handler_gives_to_await_is_awaited_in_the_event_loop(house: House) -> None:
    threads: list[str] = []

    async def later() -> None:
        threads.append(threading.current_thread().name)

    house.app.on_text()(lambda text: later())
    house.start("a")
    house.workers.wake(1)

    wait_until(lambda: house.finished)
    assert threads == ["megaflow-async"]
    assert [verdict.deletes for verdict in house.verdicts()] == [True]


def test_a_plain_handler_after_an_async_one_runs_in_a_worker(house: House) -> None:
    threads: list[str] = []

    async def first(text: str) -> None:
        threads.append(threading.current_thread().name)

    house.app.on_text()(first)
    house.app.on_text()(lambda text: threads.append(threading.current_thread().name))
    house.start("a")
    house.workers.wake(1)

    wait_until(lambda: house.finished)
    assert threads == ["megaflow-async", "megaflow-worker"]
    house.finished.clear()
    house.start("b")
    house.workers.wake(1)
    wait_until(lambda: house.finished)
    assert threads == ["megaflow-async", "megaflow-worker"] * 2


def tell_in_a_loop(house: House) -> None:
    async def tell() -> None:
        house.workers._tell_of(asyncio.get_running_loop())

    asyncio.run(tell())


def test_in_the_event_loop_a_message_that_waited_for_its_store_is_gone_on_with(
    house: House, no_threads: type[NoThread]
) -> None:
    message, ran = failing(house, no_threads)
    house.workers.resume(Resume((message,)))
    house.make_quick()

    tell_in_a_loop(house)
    house.workers.handle_while_quick()

    assert [verdict.deletes for verdict in house.verdicts()] == [True]
    assert ran == ["a"], "the handler is not called again"


def test_what_is_for_a_worker_is_left_to_it_by_the_event_loop(house: House, no_threads: type[NoThread]) -> None:
    house.app.on_text()(lambda text: None)
    house.start("a")
    house.make_quick()

    tell_in_a_loop(house)

    assert (len(house.workers._backlog), house.wake_ups) == (1, 1)


@pytest.mark.parametrize(("quick", "waits"), [(True, False), (False, True)])
def test_in_the_event_loop_nothing_is_started_where_handlers_are_slow(
    house: House, no_threads: type[NoThread], quick: bool, waits: bool
) -> None:
    house.start("a")
    if quick:
        house.make_quick()

    tell_in_a_loop(house)

    assert bool(house.workers._backlog) is waits


# The end


def test_workers_that_are_let_go_end(house: House) -> None:
    before = set(threading.enumerate())
    house.start("a", "b")
    started = [each for each in threading.enumerate() if each not in before]
    assert [thread.daemon for thread in started] == [True, True], "a handler may never return"

    house.workers.close()

    for thread in started:
        thread.join(PATIENCE)
    assert not [thread for thread in started if thread.is_alive()]


def test_what_waits_for_an_async_handler_at_the_end_is_cancelled(app: App) -> None:
    house = House(app)
    inside = threading.Event()
    cancelled = threading.Event()

    async def handle(text: str) -> None:
        inside.set()
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    house.app.on_text()(handle)
    house.start("a")
    house.workers.wake(1)
    assert inside.wait(PATIENCE)

    house.workers.close()

    assert cancelled.wait(PATIENCE)
