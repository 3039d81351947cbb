"""The message in hand: what handlers, their tasks and threads, and others on their behalf see of it."""

from __future__ import annotations

import asyncio
import threading
from contextvars import copy_context
from typing import Any

import pytest

from megaflow import App, Handler, MemoryStore, Message, Verdict, current_message
from megaflow.telemetry.current import current
from tests.bugs.test_a_handler_saw_the_context_of_the_message_before import DRIVERS, Drive


def handler_here() -> str:
    return current.get()[1]


@pytest.mark.parametrize("drive", DRIVERS)
@pytest.mark.parametrize("stored", [False, True], ids=["plain", "with a store"])
def test_handlers_of_each_kind_see_the_very_message_that_they_get(drive: Drive, stored: bool) -> None:
    seen: list[tuple[bool, str]] = []

    def see(message: Message) -> None:
        seen.append((current_message() is message, handler_here()))

    def make(*args: Any, **options: Any) -> App:
        app = App(*args, progress=MemoryStore() if stored else None, **options)

        async def awaited(message: Message) -> None:
            see(message)
            await asyncio.sleep(0)
            see(message)

        app.on_message(handler_name="sync")(lambda message: see(message))
        app.on_message(handler_name="async")(awaited)
        app.on_message(handler_name="returned")(lambda message: awaited(message))
        app.on_message(handler_name="limited", timeout=60)(lambda message: see(message))
        return app

    drive(make, 2)

    assert set(seen) == {(True, name) for name in ("sync", "async", "returned", "limited")}
    assert current_message() is None


def test_a_task_that_a_handler_leaves_behind_still_knows_whose_it_is() -> None:
    app, seen = App(retry_on=()), []

    async def report(message: Message) -> None:
        await asyncio.sleep(0)
        seen.append((current_message() is message, handler_here()))

    tasks = []

    @app.on_message(handler_name="first")
    async def first(message: Message) -> None:
        tasks.append(asyncio.create_task(report(message)))

    @app.on_message(handler_name="second")
    async def second(message: Message) -> None:
        await tasks[0]

    app.process("ping")

    assert seen == [(True, "first")]


def test_threads_see_it_where_they_are_started_with_the_context() -> None:
    app, seen = App(retry_on=()), {}

    def look(where: str) -> None:
        message = current_message()
        seen[where] = "" if message is None else message.payload

    @app.on_text("one")
    async def one(text: str) -> None:
        await asyncio.to_thread(look, "to_thread")

    @app.on_text("two")
    def two(text: str) -> None:
        threads = [
            threading.Thread(target=copy_context().run, args=(look, "with")),
            threading.Thread(target=look, args=("without",)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    app.process("one")
    app.process("two")

    assert seen | {"without": ""} == {"to_thread": "one", "with": "two", "without": ""}


def test_middleware_idempotency_keys_and_what_is_provided_see_it_too() -> None:
    app, seen = App(retry_on=(), progress=MemoryStore()), []

    def see(where: str) -> str:
        message = current_message()
        seen.append((where, message and message.payload, handler_here()))
        return where

    app.provide(str, lambda: see("provided"), scope="message")

    @app.use
    def middleware(call_next: Any) -> Any:
        def call(handler: Handler, message: Message) -> Any:
            see("middleware")
            return call_next(handler, message)

        return call

    @app.on_text("ping", handler_name="ping", idempotency_key=lambda text: see("key"))
    def handle(text: str, provided: str) -> None: ...

    app.process("ping")

    assert seen == [(where, "ping", "ping") for where in ("key", "middleware", "provided")]


def test_who_is_told_of_verdicts_sees_the_message_and_no_handler() -> None:
    app, seen = App(retry_on=()), []
    app.on_text("ping")(lambda text: None)

    def watch(verdict: Verdict) -> None:
        seen.append((current_message() is verdict.message, handler_here()))

    app.on_verdict(watch)
    app.process("ping")
    app.process("nobody wants this")

    assert seen == [(True, "")] * 2


def test_of_several_handlers_each_sees_the_payload_that_is_its_own() -> None:
    app, seen = App(retry_on=()), []

    @app.on_data({}, handler_name="first")
    def first(data: dict[str, Any]) -> None:
        data["changed"] = True

    @app.on_data({}, handler_name="second")
    def second(data: dict[str, Any]) -> None:
        message = current_message()
        assert message is not None
        seen.append((message.payload is data, dict(data)))

    app.process({"id": 1})

    assert seen == [(True, {"id": 1})]
