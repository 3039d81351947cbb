"""Around: generators around a handler's call and its log line."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from megaflow import (
    App,
    Handler,
    MemoryStore,
    Message,
    ProcessStatus,
    RegistrationError,
    Reject,
    RetryLater,
    UsageError,
    Verdict,
    current_message,
)
from tests.bugs.test_a_handler_saw_the_context_of_the_message_before import DRIVERS, Drive
from tests.consuming import Queues

DONE, LATER = ProcessStatus.DONE, ProcessStatus.RETRY_LATER
RETRIABLE, FATAL = ProcessStatus.RETRIABLE_ERROR, ProcessStatus.FATAL_ERROR


def make_app(handle: Callable[[], Any], is_async: bool, **options: Any) -> App:
    app = App(**{"retry_on": (ConnectionError,), **options})

    def plain(text: str) -> Any:
        return handle()

    async def awaited(text: str) -> Any:
        await asyncio.sleep(0)
        return handle()

    app.on_text(handler_name="shop.answer")(awaited if is_async else plain)
    return app


class Around:
    """A generator of either kind that notes what it is told."""

    def __init__(self, app: App, is_async: bool = False) -> None:
        self.seen: list[Any] = []

        def around(handler: Handler, message: Message) -> Iterator[None]:
            self.seen.append((handler.name, message is current_message()))
            try:
                self.seen.append((yield))
            except BaseException as error:
                self.seen.append(error)
                raise

        async def async_around(handler: Handler, message: Message) -> AsyncIterator[None]:
            self.seen.append((handler.name, message is current_message()))
            try:
                self.seen.append((yield))
            except BaseException as error:
                self.seen.append(error)
                raise

        app.around(async_around if is_async else around)


KINDS = pytest.mark.parametrize(
    ("is_async", "around_is_async"),
    [(False, False), (True, False), (True, True)],
    ids=["sync", "plain around async", "async"],
)


def raising(error: BaseException) -> Callable[[], None]:
    def handle() -> None:
        raise error

    return handle


def status_of(verdict: Verdict) -> ProcessStatus:
    return next(iter(verdict.statuses.values()))


@KINDS
@pytest.mark.parametrize(
    ("said", "status"), [(None, DONE), (DONE, DONE), (LATER, LATER), (FATAL, FATAL), (RETRIABLE, RETRIABLE)]
)
def test_the_yield_gives_the_status(
    is_async: bool, around_is_async: bool, said: ProcessStatus | None, status: ProcessStatus
) -> None:
    app = make_app(lambda: said, is_async)
    around = Around(app, around_is_async)

    verdict = app.process("ping")

    assert around.seen == [("shop.answer", True), status]
    assert status_of(verdict) is status


@KINDS
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), FATAL),
        (ConnectionError("no"), RETRIABLE),
        (RetryLater("soon", after=7), LATER),
        (Reject("no"), FATAL),
        (StopAsyncIteration("no"), FATAL),
    ],
    ids=repr,
)
def test_what_the_handler_raises_is_raised_at_the_yield(
    is_async: bool, around_is_async: bool, error: Exception, status: ProcessStatus
) -> None:
    app = make_app(raising(error), is_async)
    around = Around(app, around_is_async)

    verdict = app.process("ping")

    assert around.seen == [("shop.answer", True), error]
    assert (status_of(verdict), verdict.outcomes[0].error) == (status, error)
    assert verdict.after == getattr(error, "after", None)


def test_the_error_that_ends_iterators_is_raised_there_too() -> None:
    error = StopIteration("no")
    app = make_app(raising(error), is_async=False)
    around = Around(app)

    verdict = app.process("ping")

    assert (around.seen[-1], verdict.outcomes[0].error) == (error, error)


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration("no")], ids=repr)
def test_an_error_that_one_makes_of_another_is_read_in_its_place(error: Exception) -> None:
    app = make_app(raising(error), is_async=False)

    @app.around
    def around(handler: Handler, message: Message) -> Iterator[None]:
        try:
            yield
        except type(error):
            raise ConnectionError("in its place") from None

    verdict = app.process("ping")

    assert (status_of(verdict), str(verdict.outcomes[0].error)) == (RETRIABLE, "in its place")


class Lines(logging.Handler):
    """Notes lines about failures, among what else happens."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(f"{record.levelname} {record.getMessage().partition(': ')[2]} {where.get()}".strip())


where: ContextVar[str] = ContextVar("where", default="")


@pytest.fixture
def seen() -> Iterator[list[str]]:
    lines = Lines([])
    logging.getLogger("megaflow").addHandler(lines)
    yield lines.seen
    logging.getLogger("megaflow").removeHandler(lines)


@pytest.mark.parametrize("error", [ConnectionError("no"), Reject("no"), StopIteration("no")], ids=repr)
def test_what_passes_through_several_of_them_is_said_once(seen: list[str], error: Exception) -> None:
    app = make_app(raising(error), is_async=False)
    Around(app), Around(app)

    app.process("ping")

    assert len(seen) == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_they_are_around_the_handler_middleware_what_is_provided_and_the_log_line(
    is_async: bool, seen: list[str]
) -> None:
    app = App(retry_on=())

    @contextlib.contextmanager
    def session() -> Iterator[str]:
        seen.append("session")
        yield "session"
        seen.append("closed")

    app.provide(str, session, scope="message")

    @app.use
    def middleware(call_next: Any) -> Any:
        def call(handler: Handler, message: Message) -> Any:
            seen.append("middleware")
            return call_next(handler, message)

        return call

    def around(handler: Handler, message: Message, *, name: str) -> Iterator[None]:
        token = where.set(name)
        seen.append(f"{name} begins")
        try:
            yield
        finally:
            seen.append(f"{name} ends")
            where.reset(token)

    for name in ("outer", "inner"):
        app.around(functools.partial(around, name=name))

    if is_async:

        @app.on_data({}, handler_name="shop.answer")
        async def answer_async(data: dict[str, Any], session: str) -> None:
            seen.append(f"{session} in {where.get()}")
            raise ValueError("no")
    else:

        @app.on_data({}, handler_name="shop.answer")
        def answer(data: dict[str, Any], session: str) -> None:
            seen.append(f"{session} in {where.get()}")
            raise ValueError("no")

    app.process({})

    assert [each for each in seen if each != "closed"] == [
        "outer begins",
        "inner begins",
        "middleware",
        "session",
        "session in inner",
        "ERROR shop.answer failed for good inner",
        "inner ends",
        "outer ends",
    ]


@KINDS
def test_an_error_that_is_kept_stands(is_async: bool, around_is_async: bool) -> None:
    """Else its message would be deleted, and lost."""
    app = make_app(raising(ValueError("no")), is_async)
    outer = Around(app, around_is_async)

    def keeping(handler: Handler, message: Message) -> Iterator[None]:
        with contextlib.suppress(ValueError):
            yield

    async def keeping_async(handler: Handler, message: Message) -> AsyncIterator[None]:
        with contextlib.suppress(ValueError):
            yield

    app.around(keeping_async if around_is_async else keeping)

    verdict = app.process("ping")

    assert verdict.dead_letters
    assert isinstance(outer.seen[-1], ValueError)


@KINDS
@pytest.mark.parametrize(
    ("handle", "raised", "status", "lines"),
    [
        (lambda: None, ConnectionError("the commit failed"), RETRIABLE, ["WARNING"]),
        (lambda: None, ValueError("the commit failed"), FATAL, ["ERROR"]),
        (raising(ValueError("no")), RetryLater("soon"), LATER, ["ERROR"]),
        (raising(ConnectionError("no")), Reject("never"), FATAL, ["WARNING", "ERROR"]),
    ],
)
def test_what_they_raise_is_read_in_place_of_what_the_handler_said(
    is_async: bool,
    around_is_async: bool,
    handle: Callable[[], None],
    raised: Exception,
    status: ProcessStatus,
    lines: list[str],
    seen: list[str],
) -> None:
    app = make_app(handle, is_async)
    outer = Around(app, around_is_async)

    def committing(handler: Handler, message: Message) -> Iterator[None]:
        try:
            yield
        finally:
            raise raised

    async def committing_async(handler: Handler, message: Message) -> AsyncIterator[None]:
        try:
            yield
        finally:
            raise raised

    app.around(committing_async if around_is_async else committing)

    verdict = app.process("ping")

    assert (status_of(verdict), verdict.outcomes[0].error, outer.seen[-1]) == (status, raised, raised)
    assert [line.partition(" ")[0] for line in seen] == lines


@KINDS
def test_what_fails_before_the_yield_keeps_the_handler_from_running(is_async: bool, around_is_async: bool) -> None:
    connect = raising(ConnectionError("no database"))
    ran: list[str] = []
    app = make_app(lambda: ran.append("ran"), is_async)
    outer = Around(app, around_is_async)

    def failing(handler: Handler, message: Message) -> Iterator[None]:
        connect()
        yield

    async def failing_async(handler: Handler, message: Message) -> AsyncIterator[None]:
        connect()
        yield

    app.around(failing_async if around_is_async else failing)
    inner = Around(app, around_is_async)

    verdict = app.process("ping")

    assert (status_of(verdict), ran, inner.seen) == (RETRIABLE, [], [])
    assert str(outer.seen[-1]) == "no database"


@KINDS
@pytest.mark.parametrize("yields", [0, 2])
@pytest.mark.parametrize("fails", [False, True])
def test_one_that_does_not_yield_once_is_said_and_its_message_comes_again(
    is_async: bool, around_is_async: bool, yields: int, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []

    def handle() -> None:
        ran.append("ran")
        if fails:
            raise ValueError("no")

    app = make_app(handle, is_async)
    closed: list[str] = []

    def wrong(handler: Handler, message: Message) -> Iterator[None]:
        try:
            for _ in range(yields):
                with contextlib.suppress(ValueError):
                    yield
        finally:
            closed.append("closed")

    async def wrong_async(handler: Handler, message: Message) -> AsyncIterator[None]:
        try:
            for _ in range(yields):
                with contextlib.suppress(ValueError):
                    yield
        finally:
            closed.append("closed")

    app.around(wrong_async if around_is_async else wrong)

    verdict = app.process("ping")

    said = {0: "has not come to a yield, so the handler has not run", 2: "has a second yield, and one is all there is"}
    assert status_of(verdict) is RETRIABLE
    assert isinstance(verdict.outcomes[0].error, UsageError)
    assert said[yields] in str(verdict.outcomes[0].error)
    assert (ran, closed) == (["ran"] * min(yields, 1), ["closed"])
    assert said[yields] in caplog.text


@KINDS
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_an_exit_passes_through_whatever_they_do(
    is_async: bool, around_is_async: bool, error: BaseException, seen: list[str]
) -> None:
    app = make_app(raising(error), is_async)
    around = Around(app, around_is_async)

    def replacing(handler: Handler, message: Message) -> Iterator[None]:
        try:
            yield
        finally:
            raise ValueError("the rollback failed")

    app.around(replacing)

    with pytest.raises(type(error)):
        app.process("ping")

    assert around.seen == [("shop.answer", True), error]
    assert "WARNING what is around shop.answer failed, too, as it was ended" in seen


@pytest.mark.parametrize("around_is_async", [False, True])
def test_a_handler_that_takes_too_long_is_cancelled_at_the_yield(around_is_async: bool) -> None:
    app = App(retry_on=())

    @app.on_text(timeout=0.05)
    async def forever(text: str) -> None:
        await asyncio.Event().wait()

    around = Around(app, around_is_async)

    verdict = app.process("ping")

    assert isinstance(around.seen[-1], asyncio.CancelledError)
    assert (status_of(verdict), type(verdict.outcomes[0].error).__name__) == (RETRIABLE, "HandlerTimeoutError")


def test_a_plain_function_that_returns_something_to_wait_for_is_waited_for() -> None:
    app = App(retry_on=())

    async def later(text: str) -> ProcessStatus:
        await asyncio.sleep(0)
        return LATER

    app.on_text(handler_name="shop.answer")(lambda text: later(text))
    around = Around(app)

    assert app.process("ping").keeps
    assert around.seen == [("shop.answer", True), LATER]


@pytest.mark.parametrize("drive", DRIVERS)
@pytest.mark.parametrize("stored", [False, True], ids=["plain", "with a store"])
def test_every_driver_runs_them(drive: Drive, stored: bool) -> None:
    seen: list[Any] = []
    changing = threading.Lock()

    def make(*args: Any, **options: Any) -> App:
        app = App(*args, progress=MemoryStore() if stored else None, **options)

        async def awaited(message: Message) -> None:
            await asyncio.sleep(0)

        app.on_message(handler_name="sync")(lambda message: None)
        app.on_message(handler_name="async")(awaited)

        @app.around
        def around(handler: Handler, message: Message) -> Iterator[None]:
            status = yield
            with changing:
                seen.append((handler.name, status))

        return app

    drive(make, 2)

    assert set(seen) == {("sync", DONE), ("async", DONE)}


def test_a_handler_that_is_not_called_has_nothing_around_it() -> None:
    app = App(retry_on=(), progress=MemoryStore())
    app.on_text(handler_name="first")(lambda text: None)
    app.on_text(handler_name="second")(lambda text: LATER)
    around = Around(app)
    message = Message(id="m", body="ping", kind=app.handlers[0].kind, payload="ping", queue_url="q")

    app.process(message)
    app.process(message)

    assert [each[0] for each in around.seen if isinstance(each, tuple)] == ["first", "second", "second"]


# What is refused


async def async_around(handler: Handler, message: Message) -> AsyncIterator[None]:
    yield


def test_an_async_one_around_a_plain_handler_is_refused() -> None:
    app = make_app(lambda: None, is_async=False)
    app.around(async_around)

    with pytest.raises(RegistrationError, match=r"async_around is an async generator, and shop\.answer, .* not async"):
        app.process("ping")


@pytest.mark.parametrize(
    ("around", "said"),
    [
        (lambda handler, message: None, "takes a function with a yield"),
        (contextlib.contextmanager(lambda handler, message: iter([None])), "takes a function with a yield"),
        (7, "takes a function with a yield, .*, not 7"),
    ],
)
def test_what_has_no_yield_is_refused(around: Any, said: str) -> None:
    with pytest.raises(RegistrationError, match=said):
        App().around(around)


def test_one_that_takes_something_else_is_refused() -> None:
    def takes_one(message: Message) -> Iterator[None]:
        yield

    with pytest.raises(RegistrationError, match="takes_one is called with a handler and a message: too many"):
        App().around(takes_one)  # type: ignore[type-var]


def test_a_running_app_refuses_what_cannot_work_at_once() -> None:
    app = Queues().app(retry_on=(), wait_time_seconds=1)
    refused: list[str] = []

    @app.on_text("go")
    def go(text: str) -> None:
        try:
            app.around(async_around)
        except RegistrationError as error:
            refused.append(str(error))
        app.stop()

    app.publish("go")
    app.run()

    assert len(refused) == 1


def test_how_long_the_handler_took_is_known_around_it() -> None:
    app = App()
    app.on_text()(lambda text: None)

    @app.around
    def surround(handler: Handler, message: Message) -> Iterator[None]:
        yield

    (outcome,) = app.process("a").outcomes

    assert 0.0 < outcome.seconds < 60.0
