"""The steps of a message: whoever drives them, wherever each is run, the verdict is the same."""

import asyncio
import time
from collections.abc import Awaitable
from functools import partial
from typing import Any

import pytest

from megaflow import App, HandlerTimeoutError, Message, ProcessStatus, Verdict
from megaflow.app import parts_of
from megaflow.messages.message import message_with
from megaflow.processing.steps import HandlerCall, Result, Step, adrive, arun_step, drive, run_step

MESSAGE = message_with("ping")


@pytest.fixture
def app() -> App:
    """An app whose handlers take turns: one for a thread, one for an event loop, and one for a thread again."""
    app = App()

    @app.on_text(handler_name="first", timeout=10.0)
    def first(text: str) -> None: ...

    @app.on_text(handler_name="second")
    async def second(text: str) -> ProcessStatus:
        return ProcessStatus.RETRY_LATER

    @app.on_text(handler_name="third")
    def third(text: str) -> None: ...

    return app


def wait(awaitable: Awaitable[Any]) -> Any:
    async def wait_for() -> Any:
        return await awaitable

    return asyncio.run(wait_for())


def is_for_a_loop(step: Step) -> bool:
    return step.is_async


def is_for_a_thread(step: Step) -> bool:
    return not step.is_async


def name(step: Step | Verdict) -> str:
    assert isinstance(step, HandlerCall)
    return step.handler.name


def test_steps_that_are_left_are_gone_on_with_elsewhere(app: App) -> None:
    steps, run = parts_of(app).assembly.processor().steps(MESSAGE), partial(run_step, wait=wait)

    left = drive(steps, run, is_for_a_loop)
    left_again = asyncio.run(adrive(steps, arun_step, is_for_a_thread))
    verdict = drive(steps, run)

    assert (name(left), name(left_again)) == ("second", "third")
    assert str(verdict) == "kept (first: DONE, second: RETRY_LATER, third: DONE)"


def test_a_driver_can_say_what_came_of_a_step_without_running_it(app: App) -> None:
    failed = ConnectionError("down")

    verdict = drive(parts_of(app).assembly.processor().steps(MESSAGE), lambda step: Result(error=failed))

    assert {outcome.error for outcome in verdict.outcomes} == {failed}
    assert verdict.dead_letters


def test_who_watches_hears_of_a_call_with_a_time_limit_and_of_its_end(app: App) -> None:
    heard = []

    def watch(message: Message, handler: object, seconds: float | None) -> None:
        heard.append(seconds)

    drive(parts_of(app).assembly.processor().steps(MESSAGE), partial(run_step, wait=wait, watch=watch))

    assert heard == [10.0, None]


def test_what_a_plain_function_gives_to_await_has_the_time_limit_of_its_handler() -> None:
    app = App()

    @app.on_text(timeout=0.01)
    def handle(text: str) -> Any:
        return asyncio.sleep(60)

    began = time.monotonic()
    verdicts = [app.process("ping"), asyncio.run(app.aprocess("ping"))]

    assert time.monotonic() - began < 30
    for verdict in verdicts:
        assert [type(outcome.error) for outcome in verdict.outcomes] == [HandlerTimeoutError]
        assert verdict.keeps
