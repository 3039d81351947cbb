"""Sync handlers saw the contextvars that the message before had set: a request id, structlog's bindings."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

import pytest

import megaflow
from megaflow import App, Message
from megaflow.stores import MemoryStore
from megaflow.testing import TestClient
from tests.consuming import Queues
from tests.waiting import PATIENCE

outside: ContextVar[str] = ContextVar("outside", default="nowhere")
trail: ContextVar[str] = ContextVar("trail", default="")

Drive = Callable[[Callable[..., App], int], None]
"""Takes so many messages through the handlers of the app that is made."""


def step(name: str) -> str:
    """Add *name* to what this message has been through, and return that."""
    trail.set(f"{trail.get()} {name}".strip())
    return f"{outside.get()}: {trail.get()}"


def consume(make: Callable[..., App], count: int, *, also: tuple[App, ...] = (), **options: Any) -> None:
    queues = Queues()
    app = make(queues.url, client=queues.sqs, wait_time_seconds=1, **options)
    handled = threading.Semaphore(0)
    app.on_verdict(lambda verdict: handled.release())
    for number in range(count):
        queues.sqs.send_message(QueueUrl=queues.url, MessageBody=f"ping {number}")
    running = threading.Thread(target=copy_context().run, args=(megaflow.run, app, *also) if also else (app.run,))
    running.start()
    for _ in range(count):
        assert handled.acquire(timeout=PATIENCE)
    for each in (app, *also):
        each.stop()
    running.join(PATIENCE)
    assert not running.is_alive()


def consume_one_by_one(make: Callable[..., App], count: int) -> None:
    consume(make, count, concurrency=1)


def consume_beside_another_app(make: Callable[..., App], count: int) -> None:
    other = Queues().app(wait_time_seconds=1)
    other.on_text("never")(lambda text: None)
    consume(make, count, also=(other,))


def process(make: Callable[..., App], count: int) -> None:
    app = make()
    for number in range(count):
        app.process(f"ping {number}")


def aprocess(make: Callable[..., App], count: int) -> None:
    app = make()

    async def process_all() -> None:
        for number in range(count):
            await app.aprocess(f"ping {number}")

    asyncio.run(process_all())


def use_test_client(make: Callable[..., App], count: int) -> None:
    with TestClient(make()) as client:
        for number in range(count):
            client.publish(f"ping {number}")


def invoke(make: Callable[..., App], count: int) -> None:
    record = {
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
        "receiptHandle": "r",
        "attributes": {"ApproximateReceiveCount": "1"},
    }
    records = [record | {"messageId": f"m-{number}", "body": f"ping {number}"} for number in range(count)]
    handler = make().lambda_handler()
    handler({"Records": records})
    handler({"Records": records[:1]})


DRIVERS = [consume, consume_one_by_one, consume_beside_another_app, process, aprocess, use_test_client, invoke]


@pytest.fixture(autouse=True)
def called_from() -> Iterator[None]:
    tokens = outside.set("here"), trail.set("")
    yield
    trail.reset(tokens[1])
    outside.reset(tokens[0])


@pytest.mark.parametrize("drive", DRIVERS)
@pytest.mark.parametrize("stored", [False, True], ids=["plain", "with a store"])
def test_sync_handlers_share_the_context_of_their_message_and_of_no_other(drive: Drive, stored: bool) -> None:
    seen: list[str] = []

    def make(*args: Any, **more: Any) -> App:
        app = App(*args, progress=MemoryStore() if stored else None, **more)
        for name in ("first", "second"):
            app.on_message(handler_name=name)(lambda message, name=name: seen.append(step(name)))
        return app

    drive(make, 3)

    assert set(seen) == {"here: first", "here: first second"}
    assert seen.count("here: first") == seen.count("here: first second") >= 3
    assert trail.get() == ""


@pytest.mark.parametrize("drive", DRIVERS)
def test_so_do_async_ones_and_both_kinds(drive: Drive) -> None:
    seen: list[str] = []

    def make(*args: Any, **options: Any) -> App:
        app = App(*args, **options)

        async def awaited(message: Message, name: str) -> None:
            await asyncio.sleep(0)
            seen.append(step(name))

        async def third(message: Message) -> None:
            await awaited(message, "third")

        async def fourth(message: Message) -> None:
            await awaited(message, "fourth")

        app.on_message(handler_name="first")(lambda message: seen.append(step("first")))
        app.on_message(handler_name="second")(lambda message: awaited(message, "second"))
        app.on_message(handler_name="third")(third)
        app.on_message(handler_name="fourth")(fourth)
        app.on_message(handler_name="fifth")(lambda message: seen.append(step("fifth")))
        app.on_message(handler_name="sixth", timeout=60)(lambda message: seen.append(step("sixth")))
        return app

    drive(make, 4)

    whole = "first second third fourth fifth sixth"
    assert set(seen) == {f"here: {whole[: whole.index(name)]}{name}" for name in whole.split()}
    assert trail.get() == ""


@pytest.mark.parametrize("drive", DRIVERS)
def test_async_handlers_alone_do_not_see_the_message_before(drive: Drive) -> None:
    seen: list[str] = []

    def make(*args: Any, **options: Any) -> App:
        app = App(*args, **options)

        @app.on_message()
        async def handle(message: Message) -> None:
            await asyncio.sleep(0)
            seen.append(step("handled"))

        return app

    drive(make, 20)

    assert set(seen) == {"here: handled"}


@pytest.mark.parametrize("drive", DRIVERS)
def test_middleware_patterns_and_what_is_provided_share_it_too(drive: Drive) -> None:
    seen: list[str] = []

    @contextlib.contextmanager
    def session() -> Iterator[str]:
        yield step("session")
        seen.append(step("closed"))

    def make(*args: Any, **options: Any) -> App:
        app = App(*args, **options)
        app.provide(str, session, scope="message")

        @app.use
        def middleware(call_next: Any) -> Any:
            def call(handler: Any, message: Message) -> Any:
                token = trail.set(step("middleware").partition(": ")[2])
                try:
                    return call_next(handler, message)
                finally:
                    seen.append(step("after"))
                    trail.reset(token)

            return call

        @app.on_text(lambda text: bool(step("asked")))
        def handle(text: str, session: str) -> None:
            seen.append(session)

        return app

    drive(make, 3)

    assert set(seen) == {
        "here: asked middleware session",
        "here: asked middleware session closed",
        "here: asked middleware session closed after",
    }


def test_a_message_that_waits_for_a_slow_one_does_not_share_its_context() -> None:
    """Another thread goes on where a handler is slow; what runs then has a context of its own."""
    seen: list[str] = []
    gate = threading.Event()

    def make(*args: Any, **options: Any) -> App:
        app = App(*args, **options)

        @app.on_text("ping 0")
        def slow(text: str) -> None:
            step("slow")
            assert gate.wait(PATIENCE)
            seen.append(step("slow again"))

        @app.on_text()
        def quick(text: str) -> None:
            if text != "ping 0":
                seen.append(step("quick"))
                gate.set()

        return app

    consume(make, 8)

    assert set(seen) == {"here: slow slow again", "here: quick"}


def test_messages_that_go_back_and_forth_between_threads_and_the_event_loop_keep_their_context() -> None:
    seen: list[str] = []

    def make(*args: Any, **options: Any) -> App:
        app = App(*args, **options)

        async def handle(message: Message) -> None:
            seen.append(step("async"))

        for place in range(4):
            app.on_message(handler_name=f"sync {place}")(lambda message: seen.append(step("sync")))
            app.on_message(handler_name=f"async {place}")(lambda message: handle(message))
            app.on_message(handler_name=f"awaited {place}")(partial(call, handle))
        return app

    async def call(handle: Callable[[Message], Any], message: Message) -> None:
        await handle(message)

    consume(make, 200, concurrency=20)

    assert {len(each.split()) - 1 for each in seen} == set(range(1, 13))
    assert len(seen) == 200 * 12
    assert len(set(seen)) == 12
