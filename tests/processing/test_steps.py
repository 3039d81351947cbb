"""The steps of a message: whoever drives them, wherever each is run, the verdict is the same."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from megaflow import App, CircuitBreaker, HandlerTimeoutError, Message, ProcessStatus, Verdict, forks
from megaflow.app import parts_of
from megaflow.messages.message import message_with
from megaflow.processing.steps import HandlerCall, Result, Step, Turn, adrive, arun_step, drive, lease_lost, run_step

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
    steps, run = parts_of(app).processor.steps(MESSAGE), partial(run_step, wait=wait)

    left = drive(steps, run, is_for_a_loop)
    left_again = asyncio.run(adrive(steps, arun_step, is_for_a_thread))
    verdict = drive(steps, run)

    assert (name(left), name(left_again)) == ("second", "third")
    assert str(verdict) == "kept (first: DONE, second: RETRY_LATER, third: DONE)"


def test_a_driver_can_say_what_came_of_a_step_without_running_it(app: App) -> None:
    failed = ConnectionError("down")

    verdict = drive(parts_of(app).processor.steps(MESSAGE), lambda step: Result(error=failed))

    assert {outcome.error for outcome in verdict.outcomes} == {failed}
    assert verdict.dead_letters


def test_who_watches_hears_of_a_call_with_a_time_limit_and_of_its_end(app: App) -> None:
    heard = []

    def watch(message: Message, handler: object, seconds: float | None) -> None:
        heard.append(seconds)

    drive(parts_of(app).processor.steps(MESSAGE), partial(run_step, wait=wait, watch=watch))

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


def watched(app: App) -> tuple[list[float | None], list[float | None]]:
    """Return what who watches hears, in a thread and in an event loop."""
    heard: tuple[list[float | None], list[float | None]] = ([], [])

    def watch_into(place: list[float | None]) -> Any:
        return lambda message, handler, seconds: place.append(seconds)

    drive(parts_of(app).processor.steps(MESSAGE), partial(run_step, wait=wait, watch=watch_into(heard[0])))
    asyncio.run(adrive(parts_of(app).processor.steps(MESSAGE), partial(arun_step, watch=watch_into(heard[1]))))
    return heard


def test_an_async_handler_has_five_seconds_more_to_take_note_that_it_is_cancelled() -> None:
    app = App()

    @app.on_text(timeout=10.0)
    async def handle(text: str) -> None:
        raise ValueError

    assert watched(app) == ([15.0, None], [15.0, None])


def test_a_plain_handler_is_watched_in_a_thread_alone() -> None:
    app = App()
    app.on_text(timeout=10.0)(lambda text: None)

    assert watched(app) == ([10.0, None], [])


def test_a_handler_of_which_so_many_run_is_heard_of_when_it_has_returned() -> None:
    app = App()
    app.on_text(max_concurrency=1)(lambda text: None)

    assert watched(app)[0] == [None]


def test_a_handler_without_a_time_limit_is_not_watched() -> None:
    app = App()
    app.on_text()(lambda text: None)

    @app.on_text()
    async def handle(text: str) -> None: ...

    assert watched(app) == ([], [])


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("timeout", [None, 60.0])
@pytest.mark.parametrize("end", [None, ProcessStatus.RETRY_LATER, ValueError("bad")])
def test_an_outcome_says_how_long_its_handler_took(is_async: bool, timeout: float | None, end: object) -> None:
    app, own = App(), threading.get_ident()

    def handle(text: str) -> Any:
        if isinstance(end, Exception):
            raise end
        return end

    async def ahandle(text: str) -> Any:
        assert threading.get_ident() == own, "it runs in the event loop"
        return handle(text)

    app.on_text(timeout=timeout)(ahandle if is_async else handle)

    for verdict in (app.process("ping"), asyncio.run(app.aprocess("ping"))):
        assert 0.0 < verdict.seconds < 60.0


def test_a_handler_that_is_cancelled_by_itself_is_not_the_one_who_waits() -> None:
    app = App()

    @app.on_text()
    async def handle(text: str) -> None:
        raise asyncio.CancelledError

    async def process() -> Verdict:
        task = asyncio.current_task()
        assert task is not None
        return await app.aprocess("ping")

    assert asyncio.run(process()).keeps


def test_a_timeout_of_the_handler_s_own_is_no_time_limit() -> None:
    app = App(retry_on=())

    @app.on_text(timeout=60.0)
    async def handle(text: str) -> None:
        raise TimeoutError("of a socket")

    (outcome,) = app.process("ping").outcomes

    assert type(outcome.error) is TimeoutError
    assert outcome.status is ProcessStatus.FATAL_ERROR


@pytest.mark.parametrize("forks_itself", [False, True])
@pytest.mark.parametrize("timeout", [None, 60.0])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [None, ValueError("bad")])
def test_a_child_that_comes_out_of_a_handler_ends_with_what_it_raised(
    error: Exception | None, is_async: bool, timeout: float | None, forks_itself: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App()
    ended: list[BaseException | None] = []
    monkeypatch.setattr(forks, "end_child", ended.append)
    monkeypatch.setattr(forks, "generation", forks.generation)

    def handle(text: str) -> None:
        if forks_itself:
            monkeypatch.setattr(forks, "generation", forks.generation + 1)
        if error is not None:
            raise error

    async def ahandle(text: str) -> None:
        handle(text)

    app.on_text(timeout=timeout)(ahandle if is_async else handle)

    app.process("ping")
    assert ended[:1] == ([error] if forks_itself else [])
    ended.clear()
    asyncio.run(app.aprocess("ping"))

    assert ended[:1] == ([error] if forks_itself else [])


def test_middleware_around_an_async_handler_runs_where_that_does() -> None:
    app, threads = App(), []

    def note(call_next: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            threads.append(threading.current_thread())
            return call_next(*given)

        return call

    @app.on_text()
    async def handle(text: str) -> None:
        threads.append(threading.current_thread())

    app.use(note)

    asyncio.run(adrive(parts_of(app).processor.steps(MESSAGE), arun_step))

    assert threads == [threading.current_thread()] * 2


@pytest.mark.parametrize("tries", [0, 1])
def test_a_message_that_is_lost_at_its_next_turn_has_failed_as_it_did_before(tries: int) -> None:
    app, failure = App(retry_on=ConnectionError), ConnectionError("the database is away")
    app.on_text(breaker=CircuitBreaker(failures=5, seconds=30))(lambda text: None)
    steps = parts_of(app).processor.steps(MESSAGE)
    for _ in range(tries):
        assert isinstance(steps.step, Turn)
        assert isinstance(steps.take(Result()), HandlerCall)
        steps.take(Result(error=failure))

    verdict = steps.take(Result(error=lease_lost()))

    assert isinstance(verdict, Verdict)
    (outcome,) = verdict.outcomes
    kept = [ProcessStatus.RETRY_LATER, ProcessStatus.RETRIABLE_ERROR]
    assert outcome.status is kept[tries]
    assert (outcome.error is failure) == bool(tries)
