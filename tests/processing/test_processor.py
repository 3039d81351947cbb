"""One message through its handlers: statuses, verdicts, middleware, with `App.process` and `App.aprocess`."""

import asyncio
import functools
import gc
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace

from megaflow import (
    App,
    Handler,
    LeaseLostError,
    Message,
    Payload,
    PayloadBuilder,
    ProcessStatus,
    RegistrationError,
    Reject,
    RetryLater,
    Router,
    UsageError,
    Verdict,
)
from megaflow.messages.message import Lease, message_with
from megaflow.processing.middleware import Call
from megaflow.settings import Unmatched
from tests.telemetry.spans import attributes_of, id_of, recording

Process = Callable[[App, object], Verdict]


def process_plainly(app: App, body: object) -> Verdict:
    return app.process(body)


def process_in_a_loop(app: App, body: object) -> Verdict:
    return asyncio.run(app.aprocess(body))


@pytest.fixture(params=[process_plainly, process_in_a_loop])
def process(request: pytest.FixtureRequest) -> Process:
    """Both ways to process a message have to do the same."""
    chosen: Process = request.param
    return chosen


@pytest.fixture
def app() -> App:
    return App()


def raising(error: BaseException) -> Callable[[object], None]:
    def handle(payload: object) -> None:
        raise error

    return handle


def returning(status: object) -> Callable[[object], Any]:
    return lambda payload: status


def fate(verdict: Verdict) -> str:
    (only,) = [name for name in ("deletes", "keeps", "dead_letters") if getattr(verdict, name)]
    return only


# Both ways


BEHAVIOURS: list[Callable[[Any], Any]] = [
    returning(None),
    returning(ProcessStatus.DONE),
    returning(ProcessStatus.RETRY_LATER),
    returning(ProcessStatus.FATAL_ERROR),
    returning("something"),
    raising(RetryLater(after=7.0)),
    raising(Reject("no")),
    raising(ValueError("bad")),
    raising(ConnectionError("down")),
    raising(ExceptionGroup("both", [RetryLater(after=3.0), ConnectionError()])),
    raising(StopIteration()),
    raising(asyncio.CancelledError()),
    lambda payload: asyncio.sleep(0, ProcessStatus.RETRY_LATER),
]


def identify(error: BaseException | None) -> object:
    """What a handler raised is the same object both ways; what says that the lease is lost is made anew."""
    return repr(error) if isinstance(error, LeaseLostError) else error


@given(
    st.lists(st.tuples(st.sampled_from(BEHAVIOURS), st.booleans(), st.booleans()), max_size=5),
    st.integers(min_value=-1, max_value=5),
)
def test_both_ways_come_to_the_same_verdict(
    handlers: list[tuple[Callable[[Any], Any], bool, bool]], loses_lease: int
) -> None:
    app, now = App(retry_on=ConnectionError), [0.0]
    for number, (behave, matches, changes) in enumerate(handlers):

        @app.on_data({"id": 1 if matches else 2}, handler_name=f"{number}")
        def handle(
            data: dict[str, Any],
            behave: Callable[[Any], Any] = behave,
            changes: bool = changes,
            lease_ends: bool = number == loses_lease,
        ) -> Any:
            assert data == {"id": 1, "in": {"a": 1}}, "nobody else has changed it"
            if changes:
                data["in"]["a"] = 2
            if lease_ends:
                now[0] = 30.0
            return behave(data)

    def take(way: Process) -> Verdict:
        now[0] = 30.0 if loses_lease < 0 else 0.0
        lease = Lease("handle", received_at=0.0, expires_at=30.0, clock=lambda: now[0])
        return way(app, replace(message_with({"id": 1, "in": {"a": 1}}), lease=lease))

    first, second = take(process_plainly), take(process_in_a_loop)

    assert first.fate is second.fate
    assert first.statuses == second.statuses
    assert [(identify(each.error), each.after) for each in first.outcomes] == [
        (identify(each.error), each.after) for each in second.outcomes
    ]


# Statuses


@pytest.mark.parametrize(
    ("handle", "status", "expected"),
    [
        (returning(None), ProcessStatus.DONE, "deletes"),
        (returning(ProcessStatus.DONE), ProcessStatus.DONE, "deletes"),
        (returning(ProcessStatus.RETRY_LATER), ProcessStatus.RETRY_LATER, "keeps"),
        (returning(ProcessStatus.RETRIABLE_ERROR), ProcessStatus.RETRIABLE_ERROR, "keeps"),
        (returning(ProcessStatus.FATAL_ERROR), ProcessStatus.FATAL_ERROR, "dead_letters"),
        (raising(RetryLater("busy")), ProcessStatus.RETRY_LATER, "keeps"),
        (raising(Reject("no")), ProcessStatus.FATAL_ERROR, "dead_letters"),
        (raising(ConnectionError()), ProcessStatus.RETRIABLE_ERROR, "keeps"),
        (raising(ConnectionResetError()), ProcessStatus.RETRIABLE_ERROR, "keeps"),
        (raising(ValueError()), ProcessStatus.FATAL_ERROR, "dead_letters"),
        (raising(asyncio.CancelledError()), ProcessStatus.RETRIABLE_ERROR, "keeps"),
        (
            raising(ExceptionGroup("", [ConnectionError(), ConnectionResetError()])),
            ProcessStatus.RETRIABLE_ERROR,
            "keeps",
        ),
        (raising(ExceptionGroup("", [ConnectionError(), ValueError()])), ProcessStatus.FATAL_ERROR, "dead_letters"),
        (raising(ExceptionGroup("", [RetryLater(), RetryLater()])), ProcessStatus.RETRY_LATER, "keeps"),
        (raising(ExceptionGroup("", [RetryLater(), ConnectionError()])), ProcessStatus.RETRIABLE_ERROR, "keeps"),
        (raising(ExceptionGroup("", [Reject(), ConnectionError()])), ProcessStatus.FATAL_ERROR, "dead_letters"),
        (raising(StopIteration()), ProcessStatus.FATAL_ERROR, "dead_letters"),
    ],
)
def test_what_a_handler_says_decides_what_becomes_of_the_message(
    process: Process, handle: Callable[[object], Any], status: ProcessStatus, expected: str
) -> None:
    app = App(retry_on=ConnectionError)
    app.on_text()(handle)

    verdict = process(app, "ping")

    assert list(verdict.statuses.values()) == [status]
    assert fate(verdict) == expected


def test_retry_on_counts_where_the_handler_says_it_and_where_the_app_does(process: Process) -> None:
    app = App(retry_on=(ConnectionError,))
    app.on_text(retry_on=(KeyError,), handler_name="both")(raising(KeyError()))
    app.on_text(handler_name="app")(raising(KeyError()))

    verdict = process(app, "ping")

    said = {handler.name: status for handler, status in verdict.statuses.items()}
    assert said == {"both": ProcessStatus.RETRIABLE_ERROR, "app": ProcessStatus.FATAL_ERROR}


def test_what_a_handler_says_adds_to_what_the_app_says(process: Process) -> None:
    app = App(retry_on=ConnectionError)
    app.on_text(retry_on=KeyError)(raising(ConnectionError()))

    assert process(app, "ping").keeps


def test_reject_wins_over_retry_on(process: Process) -> None:
    app = App(retry_on=Exception)
    app.on_text()(raising(Reject("never again")))

    assert process(app, "ping").dead_letters


def test_one_keeper_keeps_the_message_and_every_handler_runs(process: Process, app: App) -> None:
    ran: list[str] = []

    def record(name: str, status: ProcessStatus) -> None:
        def handle(payload: str) -> ProcessStatus:
            ran.append(name)
            return status

        app.on_text(handler_name=name)(handle)

    record("first", ProcessStatus.FATAL_ERROR)
    record("second", ProcessStatus.RETRY_LATER)
    record("third", ProcessStatus.DONE)

    verdict = process(app, "ping")

    assert ran == ["first", "second", "third"]
    assert verdict.keeps
    assert str(verdict) == "kept (first: FATAL_ERROR, second: RETRY_LATER, third: DONE)"


def test_the_longest_pause_asked_for_counts(process: Process, app: App) -> None:
    for after in (5, 30, None):
        app.on_text()(raising(RetryLater(after=after)))

    assert process(app, "ping").after == 30


def test_the_type_of_a_group_can_be_retried(process: Process) -> None:
    app = App(retry_on=ExceptionGroup)
    app.on_text()(raising(ExceptionGroup("", [ValueError()])))

    assert process(app, "ping").keeps


def test_a_retry_later_that_was_not_made_properly_is_one_all_the_same(process: Process, app: App) -> None:
    class Own(RetryLater):
        def __init__(self) -> None:
            pass

    app.on_text()(raising(Own()))

    assert process(app, "ping").keeps


def test_a_bound_method_registered_twice_runs_once(process: Process, app: App) -> None:
    class Service:
        def __init__(self) -> None:
            self.ran = 0

        def handle(self, text: str) -> None:
            self.ran += 1

    one, other = Service(), Service()
    for service in (one, one, other):
        app.on_text()(service.handle)

    process(app, "ping")

    assert (one.ran, other.ran) == (1, 1)


def test_a_router_included_twice_runs_its_handlers_once(process: Process, app: App) -> None:
    ran = []
    router = Router()
    router.on_text()(lambda text: ran.append(text))

    app.include(router).include(router)
    process(app, "ping")

    assert ran == ["ping"]


@pytest.mark.parametrize("after", [10**400, "soon", float("nan"), float("inf"), True])
def test_a_pause_that_is_no_number_is_left_to_the_backoff(
    process: Process, app: App, after: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app.on_text(handler_name="impatient")(raising(RetryLater(after=after)))

    verdict = process(app, "ping")

    assert verdict.keeps
    assert verdict.after is None
    assert "impatient raised RetryLater(after=)" in caplog.text


def test_any_other_return_value_is_done_with_one_warning_that_names_the_handler(
    process: Process, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    app.on_text(handler_name="talkative")(returning("ok"))

    verdicts = [process(app, "ping") for _ in range(3)]

    assert all(verdict.deletes for verdict in verdicts)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "talkative returned str, which is taken as DONE; a handler returns a ProcessStatus or nothing"
    ]


def test_async_handlers_are_awaited(process: Process, app: App) -> None:
    ran = []

    @app.on_text()
    async def handle(text: str) -> ProcessStatus:
        await asyncio.sleep(0)
        ran.append(text)
        return ProcessStatus.RETRY_LATER

    assert process(app, "ping").keeps
    assert ran == ["ping"]


def test_what_a_plain_function_gives_to_await_is_awaited_too(process: Process, app: App) -> None:
    async def work(text: str) -> ProcessStatus:
        return ProcessStatus.RETRY_LATER

    app.on_text()(lambda text: work(text))
    app.on_text()(functools.partial(work))

    assert list(process(app, "ping").statuses.values()) == [ProcessStatus.RETRY_LATER] * 2


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_runs_no_further_handler_and_is_raised(
    process: Process, app: App, interruption: type[BaseException]
) -> None:
    ran = []
    app.on_text()(raising(interruption()))
    app.on_text()(lambda text: ran.append(text))

    with pytest.raises(interruption):
        process(app, "ping")

    assert ran == []


def test_cancelling_aprocess_cancels_it(app: App) -> None:
    begun = asyncio.Event()
    went_on: list[object] = []
    app.on_verdict(went_on.append)

    @app.on_text()
    async def wait(text: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    app.on_text()(went_on.append)

    async def cancel() -> None:
        task = asyncio.create_task(app.aprocess("ping"))
        await begun.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert went_on == []


def test_an_error_of_a_handler_that_is_cancelled_is_its_own(app: App) -> None:
    begun = asyncio.Event()

    @app.on_text()
    async def wait(text: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise LookupError("in the midst of it") from None

    async def cancel() -> Verdict:
        task = asyncio.create_task(app.aprocess("ping"))
        await begun.wait()
        task.cancel()
        return await task

    (outcome,) = asyncio.run(cancel()).outcomes
    assert isinstance(outcome.error, LookupError)


def test_process_inside_a_running_loop_says_to_use_aprocess(app: App) -> None:
    async def call() -> None:
        app.process("ping")

    with pytest.raises(UsageError, match=r"await app\.aprocess"):
        asyncio.run(call())


# Who gets what


def test_a_function_registered_twice_runs_once_by_its_first_registration_that_matches(
    process: Process, app: App
) -> None:
    ran = []

    @app.on_text("other", handler_name="first")
    @app.on_text("ping", handler_name="second")
    @app.on_text(handler_name="third")
    def handle(text: str) -> None:
        ran.append(text)

    verdict = process(app, "ping")

    assert ran == ["ping"]
    # Decorators register from the function outwards.
    assert [handler.name for handler in verdict.statuses] == ["third"]


def test_each_handler_gets_a_payload_of_its_own(process: Process, app: App) -> None:
    seen = []

    def spoil(data: dict[str, Any]) -> None:
        seen.append(json.dumps(data))
        data["items"][0]["id"] = "spoiled"
        data.clear()

    for _ in range(3):
        app.on_data()(functools.partial(spoil))

    process(app, '{"items": [{"id": 1}]}')

    assert seen == ['{"items": [{"id": 1}]}'] * 3


def test_each_handler_gets_an_event_of_its_own(process: Process, app: App) -> None:
    payload = (
        PayloadBuilder().with_event(name="n", tags=["a"]).with_object(current={"a": [1]}).with_extra(x=[1]).build()
    )
    seen = []

    def spoil(payload: Payload) -> None:
        current = payload.object.current if payload.object else None
        seen.append((payload.event.tags, payload.extra, current) == (["a"], {"x": [1]}, {"a": [1]}))
        payload.event.tags.append("spoiled")
        payload.extra["x"].append("spoiled")
        if payload.object and payload.object.current:
            payload.object.current["a"].append("spoiled")

    app.on_event()(spoil)
    app.on_event()(lambda payload: spoil(payload))

    process(app, payload)

    assert seen == [True, True]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"a": 1}', "data"),
        ({"protocol": "mega", "version": 1}, "data"),
        ("ping", "text"),
        (b"\x00", "binary"),
        (PayloadBuilder().with_event(name="n").build(), "mega"),
    ],
)
def test_a_body_reaches_the_handlers_of_its_kind(process: Process, app: App, body: object, expected: str) -> None:
    app.on_data(handler_name="data")(returning(None))
    app.on_text(handler_name="text")(returning(None))
    app.on_binary(handler_name="binary")(returning(None))
    app.on_event(handler_name="mega")(returning(None))
    app.on_message(handler_name="any")(returning(None))

    verdict = process(app, body)

    assert [handler.name for handler in verdict.statuses] == [expected, "any"]


def test_what_is_no_payload_is_refused(app: App) -> None:
    with pytest.raises(UsageError, match="a payload is a Payload, a dict, a model, a str, bytes or a Message, not int"):
        app.process(5)


def test_handlers_registered_later_count(process: Process, app: App) -> None:
    assert process(app, "ping").unmatched

    app.on_text()(returning(None))

    assert not process(app, "ping").unmatched


def test_include_takes_the_handlers_that_the_router_has_then(process: Process, app: App) -> None:
    router = Router()
    router.on_text(handler_name="first")(returning(None))
    app.include(router)
    router.on_text(handler_name="late")(returning(None))

    assert [handler.name for handler in process(app, "ping").statuses] == ["first"]


# Nobody matches


@pytest.mark.parametrize(
    ("unmatched", "expected"), [("delete", "deletes"), ("keep", "keeps"), ("dead_letter", "dead_letters")]
)
def test_a_message_that_no_handler_matches_follows_the_rule(process: Process, unmatched: Any, expected: str) -> None:
    verdict = process(App(unmatched=unmatched), "ping")

    assert verdict.unmatched
    assert verdict.statuses == {}
    assert fate(verdict) == expected


def test_a_broken_event_that_nobody_matches_is_a_fatal_error(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    verdict = process(App(unmatched="delete"), '{"protocol": "mega", "version": 2}')

    assert verdict.dead_letters
    assert "not a valid MEGA event: version: must be 1, not 2" in caplog.text


def test_a_broken_event_is_data_for_those_who_want_it(process: Process, app: App) -> None:
    app.on_data({"version": 2})(returning(None))

    assert process(app, '{"protocol": "mega", "version": 2}').deletes


def test_a_subscription_confirmation_reaches_nobody_and_is_logged_with_its_url(
    process: Process, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    app.on_message()(raising(AssertionError("never called")))
    envelope = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "m",
        "TopicArn": "arn:aws:sns:us-east-1:1:t",
        "Timestamp": "2020-01-01T00:00:00.000Z",
        "Message": "You have chosen to subscribe",
        "SubscribeURL": "https://sns.example/confirm",
    }

    verdict = process(app, json.dumps(envelope))

    assert verdict.unmatched
    assert verdict.deletes
    assert (
        "SubscriptionConfirmation of arn:aws:sns:us-east-1:1:t, to be answered at https://sns.example/confirm"
        in caplog.text
    )


def test_a_function_in_a_pattern_that_raises_keeps_the_message_and_its_handler_does_not_run(
    process: Process, app: App
) -> None:
    ran = []

    def ask_the_database(value: object) -> bool:
        raise ConnectionError("down")

    app.on_data({"id": ask_the_database}, handler_name="asks")(lambda data: ran.append("asks"))
    app.on_data(handler_name="other")(lambda data: ran.append("other"))

    verdict = process(app, {"id": 1})

    assert ran == ["other"]
    assert verdict.keeps
    said = {handler.name: status for handler, status in verdict.statuses.items()}
    assert said == {"asks": ProcessStatus.RETRIABLE_ERROR, "other": ProcessStatus.DONE}


# Logs


def test_every_verdict_is_logged_once_without_the_body(app: App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "megaflow")
    app.on_data(handler_name="h")(raising(ValueError("what happened")))

    app.process('{"secret": "4711"}')

    levels = [(record.levelname, record.getMessage().split(": ", 1)[1]) for record in caplog.records]
    assert levels == [("ERROR", "h failed for good"), ("INFO", "dead-lettered (h: FATAL_ERROR)")]
    assert "4711" not in caplog.text
    assert "what happened" in caplog.text


# Middleware


def test_the_first_middleware_is_the_outermost(process: Process, app: App) -> None:
    said = []

    def named(name: str) -> Callable[[Call], Call]:
        def middleware(call_next: Call) -> Call:
            def call(handler: Handler, message: Message) -> Any:
                said.append(f"{name} before {handler.name}")
                try:
                    return call_next(handler, message)
                finally:
                    said.append(f"{name} after")

            return call

        return middleware

    app.on_text(handler_name="h")(lambda text: said.append(text))
    app.use(named("outer"))
    app.use(named("inner"))

    process(app, "ping")

    assert said == ["outer before h", "inner before h", "ping", "inner after", "outer after"]


def test_a_middleware_sees_what_the_handler_raises_and_can_change_what_it_says(process: Process, app: App) -> None:
    @app.use
    def forgiving(call_next: Call) -> Call:
        def call(handler: Handler, message: Message) -> Any:
            try:
                return call_next(handler, message)
            except ValueError:
                return ProcessStatus.RETRY_LATER

        return call

    app.on_text()(raising(ValueError()))

    assert process(app, "ping").keeps


def test_a_middleware_can_wait_for_an_async_handler(process: Process, app: App) -> None:
    said = []

    @app.use
    def timing(call_next: Call) -> Call:
        async def call(handler: Handler, message: Message) -> Any:
            status = await call_next(handler, message)
            said.append(status)
            return status

        return call

    @app.on_text()
    async def handle(text: str) -> ProcessStatus:
        return ProcessStatus.RETRY_LATER

    assert process(app, "ping").keeps
    assert said == [ProcessStatus.RETRY_LATER]


@pytest.mark.filterwarnings("ignore:coroutine")
def test_a_middleware_that_swallows_an_async_handler_does_not_lose_the_message(
    process: Process, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.use
    def forgetful(call_next: Call) -> Call:
        def call(handler: Handler, message: Message) -> Any:
            call_next(handler, message)

        return call

    @app.on_text()
    async def handle(text: str) -> None: ...

    assert process(app, "ping").keeps
    gc.collect()
    assert "a middleware did not return what call_next gave it" in caplog.text


def test_a_middleware_may_ask_the_app_while_it_is_asked_itself(process: Process, app: App) -> None:
    asked: list[bool] = []

    @app.use
    def curious(call_next: Call) -> Call:
        if not asked:
            asked.append(True)
            app.handlers_for("ping")
        return call_next

    app.on_text()(returning(None))

    assert process(app, "ping").deletes


def test_an_async_middleware_around_a_plain_handler_is_refused(app: App) -> None:
    def middleware(call_next: Call) -> Callable[[Handler, Message], Awaitable[Any]]:
        async def call(handler: Handler, message: Message) -> Any:
            return await call_next(handler, message)

        return call

    app.use(middleware)
    app.on_text()(returning(None))

    with pytest.raises(RegistrationError, match="iscoroutinefunction"):
        app.process("ping")


def test_what_is_no_middleware_is_refused(app: App) -> None:
    with pytest.raises(RegistrationError, match="a middleware is a function"):
        app.use("logging")  # type: ignore[type-var]
    app.use(lambda call_next: None)  # type: ignore[type-var]
    app.on_text()(returning(None))
    with pytest.raises(RegistrationError, match="must return a function, not None"):
        app.process("ping")


# Traces


def test_the_call_of_a_handler_has_a_span_in_which_it_runs(process: Process) -> None:
    with recording() as spans:
        app, current = App(), list[int]()

        @app.on_text(handler_name="h")
        def handle(text: str) -> None:
            current.append(trace.get_current_span().get_span_context().span_id)

        process(app, "x")

        assert [id_of(each) for each in spans.named("handle h")] == current


def test_the_span_of_a_call_says_what_came_of_it(process: Process, app: App) -> None:
    app.on_text(handler_name="h")(returning(ProcessStatus.RETRY_LATER))

    with recording() as spans:
        process(app, "x")

        assert attributes_of(spans.one("handle h"))["megaflow.status"] == "RETRY_LATER"


@pytest.mark.parametrize(("unmatched", "error"), [("delete", None), ("dead_letter", "unmatched"), ("keep", None)])
def test_the_span_of_a_message_without_a_handler_fails_where_it_is_dead_lettered(
    process: Process, unmatched: Unmatched, error: str | None
) -> None:
    with recording() as spans:
        process(App(unmatched=unmatched), "x")

        attributes = attributes_of(spans.one("process"))
        assert attributes.get("error.type") == error
        assert not attributes.keys() & {"megaflow.handler", "megaflow.status"}
