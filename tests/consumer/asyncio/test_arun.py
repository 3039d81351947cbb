"""`App.arun` and `App.running`: async handlers in the caller's event loop, and a consumer that ends with its task."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from megaflow import (
    App,
    CircuitBreaker,
    ConfigurationError,
    MemoryStore,
    Message,
    RegistrationError,
    UsageError,
    current_message,
)
from megaflow.consumer.asyncio.driver import LoopDriver
from tests.consuming import Faulty, Queues
from tests.waiting import PATIENCE, wait_until

TENANT: ContextVar[str] = ContextVar("TENANT", default="nobody")


@pytest.fixture
def queues() -> Queues:
    return Queues()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name in ("megaflow-consumer", "megaflow-async"):
            thread.join(PATIENCE)
            assert not thread.is_alive()


def within(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run *main* in an event loop, and fail where it never ends."""

    async def limited() -> None:
        await asyncio.wait_for(main(), PATIENCE)

    asyncio.run(limited())


async def idle(app: App) -> None:
    """Return once nothing is in hand."""
    while app.health().in_hand:
        await asyncio.sleep(0.01)


async def ready(app: App) -> None:
    while not app.health().ready:
        await asyncio.sleep(0.01)


# Where handlers run


def test_async_handlers_run_in_the_callers_loop_and_share_what_was_made_there(queues: Queues) -> None:
    async def main() -> None:
        loop, lock, handled, most = asyncio.get_running_loop(), asyncio.Lock(), asyncio.Queue[str](), 0
        app = queues.app()

        @app.on_text()
        async def handle(text: str) -> None:
            nonlocal most
            assert asyncio.get_running_loop() is loop
            async with lock:
                most += 1
                await asyncio.sleep(0)
                assert most == 1, "it is the lock of all"
                most -= 1
            await handled.put(text)

        app.publish_batch([f"text {number}" for number in range(20)])
        async with app.running() as running:
            assert running is app
            async with lock:
                # Held up by the lock, they wait in the loop itself.
                while app.health().running < 10:
                    await asyncio.sleep(0.01)
            texts = {await handled.get() for _ in range(20)}
            await idle(app)

        assert texts == {f"text {number}" for number in range(20)}
        assert queues.depth() == (0, 0)

    within(main)


def test_plain_handlers_run_in_threads_and_what_they_give_to_await_in_the_loop(queues: Queues) -> None:
    threads: dict[str, int] = {}
    both = threading.Barrier(2, timeout=PATIENCE)

    async def note() -> None:
        threads["awaited"] = threading.get_ident()

    async def main() -> None:
        app, done = queues.app(), asyncio.Event()
        loop = asyncio.get_running_loop()

        @app.on_text("plain")
        def handle(text: str) -> None:
            threads["plain"] = threading.get_ident()
            both.wait()

        @app.on_text("given")
        def give(text: str) -> Any:
            return note()

        app.on_verdict(lambda verdict: loop.call_soon_threadsafe(done.set))
        app.publish("plain")
        async with app.running():
            # The loop goes on meanwhile: the handler waits for it.
            await asyncio.to_thread(both.wait)
            await done.wait()
            done.clear()
            app.publish("given")
            await done.wait()

    within(main)

    assert threads["awaited"] == threading.get_ident()
    assert threads["plain"] != threading.get_ident()


def test_no_call_to_the_queue_or_a_store_is_made_in_the_loops_thread(queues: Queues) -> None:
    callers: dict[str, set[int]] = {}

    def noting(name: str) -> Callable[..., Any]:
        def call(real: Callable[..., Any], **parameters: Any) -> Any:
            callers.setdefault(name, set()).add(threading.get_ident())
            return real(**parameters)

        return call

    class Store(MemoryStore):
        def load(self, work: str) -> Any:
            callers.setdefault("load", set()).add(threading.get_ident())
            return super().load(work)

    names = ["receive_message", "delete_message_batch", "get_queue_attributes", "change_message_visibility_batch"]
    client = Faulty(queues.sqs, **{name: noting(name) for name in names})

    async def main() -> None:
        app = queues.app(client=client, progress=Store(), retry_on=ConnectionError, visibility_timeout=1)

        @app.on_text()
        async def handle(text: str) -> None:
            while "change_message_visibility_batch" not in callers:
                await asyncio.sleep(0.01)

        for text in ("one", "two"):
            queues.sqs.send_message(QueueUrl=queues.url, MessageBody=text)
        async with app.running():
            while queues.depth() != (0, 0):
                await asyncio.sleep(0.01)

    within(main)

    assert set(callers) == {*names, "load"}
    assert [name for name, threads in callers.items() if threading.get_ident() in threads] == []


def test_a_handler_sees_the_context_of_the_caller_and_knows_its_message(queues: Queues) -> None:
    async def main() -> None:
        app, seen = queues.app(), asyncio.Queue[Any]()

        @app.on_text()
        async def handle(text: str, message: Message) -> None:
            known = current_message()
            seen.put_nowait((TENANT.get(), known is not None and known.id == message.id))
            TENANT.set("its own")

        TENANT.set("acme")
        async with app.running():
            for text in ("one", "two"):
                app.publish(text)
                assert await seen.get() == ("acme", True)
        assert TENANT.get() == "acme"

    within(main)


def test_what_is_provided_is_made_and_closed_in_the_callers_loop(queues: Queues) -> None:
    class Pool:
        def __init__(self) -> None:
            self.loop = asyncio.get_running_loop()

    async def main() -> None:
        app, pools, closed = queues.app(), asyncio.Queue[Pool](), []

        async def open_pool() -> AsyncIterator[Pool]:
            yield Pool()
            await asyncio.sleep(0)
            closed.append(asyncio.get_running_loop())

        app.provide(Pool, open_pool)

        @app.on_text()
        async def handle(text: str, pool: Pool) -> None:
            await pools.put(pool)

        async with app.running():
            app.publish_batch(["one", "two"])
            first, second = await pools.get(), await pools.get()
            await idle(app)

        assert first is second
        assert first.loop is asyncio.get_running_loop()
        assert closed == [first.loop]

    within(main)


def test_what_one_handler_hangs_in_holds_up_no_other_one(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaflow.processing.steps._TIME_TO_CANCEL", 0.05)

    async def main() -> None:
        app, go_on, handled = queues.app(concurrency=1), asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        @app.on_text("hangs", timeout=0.05)
        async def hang(text: str) -> None:
            while not go_on.is_set():
                try:
                    await go_on.wait()
                except asyncio.CancelledError:
                    continue

        @app.on_text("works")
        async def work(text: str) -> None:
            assert asyncio.get_running_loop() is loop
            handled.set()

        app.publish_batch(["hangs", "works"])
        async with app.running():
            await handled.wait()
            assert app.health().stuck_threads == 1
            go_on.set()

    within(main)


# Stopping


def test_stop_ends_it_and_it_can_begin_again(queues: Queues) -> None:
    async def main() -> None:
        app, handled = queues.app(), []

        @app.on_text()
        async def handle(text: str) -> None:
            handled.append(text)
            app.stop()

        for text in ("one", "two"):
            app.publish(text)
            await app.arun()

        assert handled == ["one", "two"]
        assert queues.depth() == (0, 0)

    within(main)


def test_a_stop_before_it_ends_it_at_once(queues: Queues) -> None:
    app = queues.app()
    app.on_text()(lambda text: None)
    app.publish("ping")
    app.stop()

    within(app.arun)

    assert queues.depth() == (1, 0)


def test_a_time_limit_around_it_ends_it_in_good_order(queues: Queues) -> None:
    async def main() -> None:
        app, began, ended = queues.app(), asyncio.Event(), []

        @app.on_text()
        async def handle(text: str) -> None:
            began.set()
            await asyncio.sleep(0.1)
            ended.append(text)

        async def run_until_begun() -> None:
            async with asyncio.timeout(None) as limit:
                task = asyncio.create_task(began.wait())
                task.add_done_callback(lambda _: limit.reschedule(0))
                await app.arun()

        app.publish("ping")
        with pytest.raises(TimeoutError):
            await run_until_begun()

        assert ended == ["ping"]
        assert queues.depth() == (0, 0)

    within(main)


def test_a_handler_that_outlives_the_shutdown_timeout_is_cancelled(queues: Queues) -> None:
    async def main() -> None:
        app, began, cancelled = queues.app(shutdown_timeout=0.05), asyncio.Event(), asyncio.Event()

        @app.on_text()
        async def handle(text: str) -> None:
            began.set()
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                cancelled.set()
                raise

        app.publish("ping")
        before = asyncio.all_tasks()
        task = asyncio.create_task(app.arun())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert cancelled.is_set(), "it is waited for"
        assert queues.depth() == (0, 1), "it comes again after its visibility timeout"
        assert asyncio.all_tasks() == before

    within(main)


def test_what_a_handler_left_running_goes_on_as_it_is_not_the_consumers(queues: Queues) -> None:
    async def main() -> None:
        app, left = queues.app(), []

        @app.on_text()
        async def handle(text: str) -> None:
            left.append(asyncio.create_task(asyncio.sleep(PATIENCE)))
            app.stop()

        app.publish("ping")
        await app.arun()

        assert not left[0].done()
        left[0].cancel()

    within(main)


def test_at_the_end_of_the_loop_messages_come_again_and_nothing_is_an_error(
    queues: Queues, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        app, began = queues.app(backoff=lambda count: 0), asyncio.Event()

        @app.on_text()
        async def handle(text: str) -> None:
            began.set()
            await asyncio.sleep(PATIENCE)

        app.publish("ping")
        kept.add(asyncio.create_task(app.arun()))
        await began.wait()

    kept: set[asyncio.Task[None]] = set()
    within(main)

    assert [task.cancelled() for task in kept] == [True]
    wait_until(lambda: queues.depth() == (1, 0))
    assert "its handlers were cancelled" in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_loop_that_was_closed_ends_it_at_the_next_message(queues: Queues) -> None:
    app = queues.app(shutdown_timeout=0.05)

    @app.on_text()
    async def handle(text: str) -> None:
        pytest.fail("there is no loop")

    loop = asyncio.new_event_loop()
    task = loop.create_task(app.arun())
    loop.run_until_complete(ready(app))
    loop.close()
    (thread,) = [each for each in threading.enumerate() if each.name == "megaflow-consumer"]

    app.publish("ping")
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert queues.depth() == (0, 1)
    task._log_destroy_pending = False  # type: ignore[attr-defined]


# What it raises


def test_what_a_handler_exits_with_is_raised(queues: Queues) -> None:
    app = queues.app()

    @app.on_text()
    async def handle(text: str) -> None:
        raise SystemExit(3)

    app.publish("ping")
    with pytest.raises(SystemExit) as caught:
        asyncio.run(app.arun())

    assert caught.value.code == 3
    assert queues.depth() == (0, 1)


def test_only_one_runs_at_a_time(queues: Queues) -> None:
    async def main() -> None:
        app = queues.app()
        app.on_text()(lambda text: None)

        async with app.running():
            with pytest.raises(UsageError, match="running already"):
                await app.arun()
            with pytest.raises(UsageError, match="running already"):
                async with app.running():
                    pytest.fail("it is running twice")
            await ready(app)

    within(main)


def test_run_does_not_hold_up_an_event_loop(queues: Queues) -> None:
    async def main() -> None:
        app = queues.app()
        app.on_text()(lambda text: None)

        with pytest.raises(UsageError, match=r"run\(\) would hold up the running event loop: await arun\(\)"):
            app.run()

    within(main)


def test_what_cannot_be_consumed_is_said_at_once() -> None:
    async def main() -> None:
        app = App()
        with pytest.raises(RegistrationError):
            await App("http://sqs.localhost/000000000000/q").arun()
        app.on_text()(lambda text: None)
        with pytest.raises(ConfigurationError, match="queue"):
            await app.arun()
        with pytest.raises(ConfigurationError, match="queue"):
            async with app.running():
                pytest.fail("it has no queue")

    within(main)


def test_a_queue_that_does_not_exist_is_said(queues: Queues) -> None:
    app = App(queues.url + "x", client=queues.sqs)
    app.on_text()(lambda text: None)

    with pytest.raises(ConfigurationError, match="there is no such queue"):
        within(app.arun)


def test_a_port_that_cannot_be_had_is_said_and_it_may_run_again(queues: Queues) -> None:
    app = queues.app()
    app.on_text()(lambda text: app.stop())
    app.publish("ping")

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigurationError, match="health_port"):
        within(lambda: app.arun(health_port=taken.getsockname()[1], health_host="127.0.0.1"))
    within(app.arun)

    assert queues.depth() == (0, 0)


def test_without_a_thread_it_does_not_run_and_may_run_later(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    app = queues.app()
    app.on_text()(lambda text: app.stop())
    app.publish("ping")
    with monkeypatch.context() as patched:
        patched.setattr(LoopDriver, "begin", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            within(app.arun)

    within(app.arun)

    assert queues.depth() == (0, 0)


# Health and signals


def test_health_is_answered_over_http(queues: Queues) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def ask() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=PATIENCE) as answer:
            return int(answer.status)

    async def main() -> None:
        app, asked = queues.app(), []

        @app.on_text()
        async def handle(text: str) -> None:
            asked.append(await asyncio.to_thread(ask))
            app.stop()

        app.publish("ping")
        await app.arun(health_port=port, health_host="127.0.0.1")

        assert asked == [200]

    within(main)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_is_whose_it_was_afterwards(queues: Queues, number: signal.Signals) -> None:
    heard: list[int] = []

    async def main() -> None:
        app, ended = queues.app(), []

        @app.on_text()
        async def handle(text: str) -> None:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.01)
            ended.append(text)

        app.publish("ping")
        await app.arun(signals=True)

        assert ended == ["ping"]
        assert queues.depth() == (0, 0)
        assert heard == []
        os.kill(os.getpid(), number)
        while not heard:
            await asyncio.sleep(0.01)

    before = signal.signal(number, lambda number, frame: heard.append(number))
    try:
        within(main)
    finally:
        signal.signal(number, before)
    assert heard == [number]


def test_a_second_signal_waits_for_nobody(queues: Queues) -> None:
    async def main() -> None:
        app = queues.app(shutdown_timeout=PATIENCE)

        @app.on_text()
        async def handle(text: str) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(PATIENCE)

        app.publish("ping")
        await app.arun(signals=True)

    within(main)

    wait_until(lambda: queues.depth() == (1, 0))


def test_signals_are_heard_in_the_main_thread_alone(queues: Queues) -> None:
    async def main() -> None:
        app = queues.app()
        app.on_text()(lambda text: None)
        with pytest.raises(UsageError, match="needs the main thread"):
            await app.arun(signals=True)
        refused.set()

    refused = threading.Event()
    thread = threading.Thread(target=within, args=(main,))
    thread.start()
    thread.join(PATIENCE)

    assert refused.is_set()


def test_the_log_warns_where_nobody_hears_sigterm(queues: Queues, caplog: pytest.LogCaptureFixture) -> None:
    app = queues.app()
    app.on_text()(lambda text: None)
    said = "SIGTERM ends the process in the middle of handlers"

    app.stop()
    within(app.arun)
    assert caplog.text.count(said) == 1
    app.stop()
    within(lambda: app.arun(signals=True))
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    app.stop()
    within(app.arun)
    signal.signal(signal.SIGTERM, before)

    assert caplog.text.count(said) == 1


# Batches


@pytest.mark.parametrize("middle", [False, True])
def test_async_batch_handlers_run_in_the_callers_loop(queues: Queues, middle: bool) -> None:
    async def main() -> None:
        loop, batches, before = asyncio.get_running_loop(), list[list[str]](), list[str]()
        app = queues.app(wait_time_seconds=1)
        if middle:

            @app.on_text()
            async def first(text: str) -> None:
                assert asyncio.get_running_loop() is loop
                before.append(text)

        @app.on_text(batch_size=10, batch_seconds=0.2)
        async def store(texts: list[str]) -> None:
            assert asyncio.get_running_loop() is loop
            await asyncio.sleep(0)
            batches.append(texts)

        app.publish_batch([f"text {number}" for number in range(10)])
        async with app.running():
            while sum(map(len, batches)) < 10:
                await asyncio.sleep(0.01)
            await idle(app)

        assert sorted(text for batch in batches for text in batch) == sorted(f"text {number}" for number in range(10))
        assert len(before) == (10 if middle else 0)
        assert queues.depth() == (0, 0)

    within(main)


# Pauses and circuit breakers


def test_within_running_it_can_be_paused_and_resumed(queues: Queues) -> None:
    async def main() -> None:
        app, handled = queues.app(wait_time_seconds=1), asyncio.Queue[str]()

        @app.on_text()
        async def handle(text: str) -> None:
            await handled.put(text)

        app.pause()
        app.publish("ping")
        async with app.running():
            await ready(app)
            assert app.health().paused
            assert handled.empty()
            app.resume()
            assert await handled.get() == "ping"
            await idle(app)

        assert queues.depth() == (0, 0)

    within(main)


@pytest.mark.parametrize("of_app", [True, False])
def test_async_handlers_wait_in_hand_for_what_is_away_and_try_again_in_the_callers_loop(
    queues: Queues, of_app: bool
) -> None:
    async def main() -> None:
        loop, calls, stored, is_away = asyncio.get_running_loop(), [], dict[str, int](), True
        breaker = CircuitBreaker(failures=2, seconds=0.1)
        app = queues.app(concurrency=1, breaker=breaker if of_app else None)

        @app.on_text(breaker=None if of_app else breaker)
        async def store(text: str, message: Message) -> None:
            assert asyncio.get_running_loop() is loop
            calls.append(text)
            await asyncio.sleep(0)
            if is_away:
                raise ConnectionError("away")
            stored[text] = message.receive_count

        app.publish_batch([f"text {number}" for number in range(10)])
        async with app.running():
            while len(calls) < 5:
                await asyncio.sleep(0.01)
            health = app.health()
            assert health.ready
            assert len(health.open_breakers) == 1
            is_away = False
            while len(stored) < 10:
                await asyncio.sleep(0.01)
            await idle(app)

        # The first one was kept before the breaker opened.
        assert sorted(stored.values()) == [1] * 9 + [2]
        assert queues.depth() == (0, 0)

    within(main)


# The lifespan of a server


def test_within_running_signals_are_the_servers(queues: Queues) -> None:
    async def main() -> None:
        app = queues.app()
        app.on_text()(lambda text: None)
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

        async with app.running():
            await ready(app)
            assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before

    within(main)


def test_a_consumer_that_dies_within_running_is_logged_not_ready_and_raised_at_the_end(
    queues: Queues, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        app = App(queues.url + "x", client=queues.sqs)
        app.on_text()(lambda text: None)
        async with app.running():
            while "the consumer has ended, and receives nothing more" not in caplog.text:
                await asyncio.sleep(0.01)
            assert not app.health().ready
            went_on.append("the server")

    went_on: list[str] = []
    with pytest.raises(ConfigurationError, match="there is no such queue"):
        within(main)

    assert went_on == ["the server"]
    (said,) = [record for record in caplog.records if "the consumer has ended" in record.getMessage()]
    assert said.levelno == logging.ERROR
    assert "there is no such queue" in said.getMessage()


def test_what_fails_within_running_goes_before_what_the_consumer_failed_with(
    queues: Queues, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        app = App(queues.url + "x", client=queues.sqs)
        app.on_text()(lambda text: None)
        async with app.running():
            while "the consumer has ended" not in caplog.text:
                await asyncio.sleep(0.01)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        within(main)


def test_the_end_of_running_lets_handlers_finish(queues: Queues) -> None:
    async def main() -> None:
        app, began, ended = queues.app(), asyncio.Event(), []

        @app.on_text()
        async def handle(text: str) -> None:
            began.set()
            while not app.health().stopping:
                await asyncio.sleep(0.01)
            ended.append(text)

        app.publish("ping")
        async with app.running():
            await began.wait()

        assert ended == ["ping"]
        assert queues.depth() == (0, 0)

    within(main)


@pytest.mark.parametrize("times", [1, 2])
def test_a_cancellation_within_running_ends_it_and_the_next_one_waits_for_nobody(queues: Queues, times: int) -> None:
    async def main() -> None:
        app, began, go_on = queues.app(shutdown_timeout=PATIENCE), asyncio.Event(), asyncio.Event()

        @app.on_text()
        async def handle(text: str) -> None:
            began.set()
            await go_on.wait()

        async def serve() -> None:
            async with app.running():
                await asyncio.sleep(PATIENCE)

        app.publish("ping")
        server = asyncio.create_task(serve())
        await began.wait()
        server.cancel()
        while not app.health().stopping:
            await asyncio.sleep(0.01)
        if times == 2:
            server.cancel()
        else:
            go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await server

        assert queues.depth() == ((0, 0) if times == 1 else (1, 0))

    within(main)
