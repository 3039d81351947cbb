"""The Lambda function beyond the verdicts, which tests/verdicts has: time, order, faults, events of others."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest
from botocore.exceptions import ClientError

from megaflow import App, Ended, MemoryStore, Reject, RetryLater
from megaflow.awslambda import LambdaHandler
from megaflow.errors import ConfigurationError, RegistrationError, UsageError
from tests.consuming import Faulty, Queues
from tests.telemetry.kept import KeptMetrics
from tests.verdicts.drivers import write_record
from tests.waiting import EARLY, PATIENCE, wait_until


class Context:
    """What Lambda says of an invocation."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


class Clock:
    """The time, until somebody lets an hour pass."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def let_an_hour_pass(self) -> None:
        self._ahead += 3_600


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What handlers of a test wait for; they are let go at its end."""
    event = threading.Event()
    yield event
    event.set()


def receive(queues: Queues, *bodies: str, group: str = "") -> dict[str, Any]:
    """Send messages, and return them as Lambda gets them."""
    options = {"MessageGroupId": group} if group else {}
    for place, body in enumerate(bodies):
        more = {"MessageDeduplicationId": f"{body}-{place}"} if group else {}
        queues.sqs.send_message(QueueUrl=queues.url, MessageBody=body, **options, **more)
    answer = queues.sqs.receive_message(
        QueueUrl=queues.url,
        MaxNumberOfMessages=10,
        VisibilityTimeout=600,
        MessageSystemAttributeNames=["All"],
        MessageAttributeNames=["All"],
    )
    return {"Records": [write_record(each, queues.arn(queues.url)) for each in answer["Messages"]]}


def answer_late(handler: LambdaHandler, app: App, event: Any, begun: threading.Event) -> Any:
    """Call the function with two messages; its time is up once one of them is done, and the other one has *begun*."""
    handler._clock = clock = Clock()
    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(handler, event, Context(900))
        assert begun.wait(PATIENCE)
        wait_until(lambda: app.metrics.snapshot().get("handled") == 1 and count_lanes() == 1)
        clock.let_an_hour_pass()
        return answered.result(PATIENCE)


def count_lanes() -> int:
    return [each.name for each in threading.enumerate()].count("megaflow-lambda")


def bodies_that_come_again(event: Any, answer: Any) -> list[str]:
    failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
    return [each["body"] for each in event["Records"] if each["messageId"] in failed]


# Time.


def test_what_runs_when_time_is_up_comes_again_and_changes_nothing_any_more(release: threading.Event) -> None:
    queues = Queues()
    # It looks at the time as often as that.
    app = queues.app(visibility_timeout=1)
    begun, after = threading.Event(), []

    @app.on_text("slow")
    def slow(text: str) -> None:
        begun.set()
        release.wait(PATIENCE)
        raise Reject("too late to say so")

    @app.on_text("slow")
    def second(text: str) -> None:
        after.append(text)

    @app.on_text("quick")
    def quick(text: str) -> None: ...

    event = receive(queues, "slow", "quick")
    answer = answer_late(app.lambda_handler(), app, event, begun)
    release.set()
    wait_until(lambda: count_lanes() == 0)

    assert bodies_that_come_again(event, answer) == ["slow"]
    assert after == []
    assert queues.receive_dead_letters() == []


@pytest.mark.parametrize("fifo", [False, True])
@pytest.mark.parametrize("is_async", [True, False])
def test_one_message_alone_is_given_up_when_time_is_up(is_async: bool, fifo: bool, release: threading.Event) -> None:
    queues, begun, cancelled = Queues(fifo=fifo), threading.Event(), threading.Event()
    # It looks at the time as often as that.
    app = queues.app(visibility_timeout=1)

    async def sleep(text: str) -> None:
        begun.set()
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def block(text: str) -> None:
        begun.set()
        release.wait(PATIENCE)

    app.on_text()(sleep if is_async else block)
    event = receive(queues, "slow", group="a" if fifo else "")
    handler = app.lambda_handler()
    handler._clock = clock = Clock()

    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(handler, event, Context(900))
        assert begun.wait(PATIENCE)
        clock.let_an_hour_pass()
        answer = answered.result(EARLY)

    assert bodies_that_come_again(event, answer) == ["slow"]
    assert not is_async or cancelled.wait(PATIENCE)


def test_async_handlers_are_cancelled_when_time_is_up_and_the_next_call_has_a_loop() -> None:
    queues = Queues()
    # It looks at the time as often as that.
    app = queues.app(visibility_timeout=1)
    begun, cancelled = threading.Event(), threading.Event()

    @app.on_text("slow")
    async def slow(text: str) -> None:
        begun.set()
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    @app.on_text("quick")
    async def quick(text: str) -> None:
        await asyncio.sleep(0)

    handler = app.lambda_handler()
    first = receive(queues, "slow", "quick")
    again = bodies_that_come_again(first, answer_late(handler, app, first, begun))
    second = receive(queues, "quick")

    assert again == ["slow"]
    assert cancelled.wait(PATIENCE)
    assert handler(second, Context(900)) == {"batchItemFailures": []}


def test_a_handler_that_exceeds_its_own_time_limit_is_not_waited_for(release: threading.Event) -> None:
    queues = Queues()
    app = queues.app(backoff=lambda receive_count: 40)
    after = []

    @app.on_text("stuck", timeout=0.1)
    def stuck(text: str) -> None:
        release.wait(PATIENCE)

    @app.on_text(timeout=PATIENCE)
    def second(text: str) -> None:
        after.append(text)

    event = receive(queues, "stuck", "fine")
    answer = app.lambda_handler()(event, Context(60))

    assert bodies_that_come_again(event, answer) == ["stuck"]
    assert after == ["fine"]
    assert app.metrics.snapshot()["timed_out"] == 1


def test_an_async_handler_that_blocks_does_not_keep_later_ones_waiting(release: threading.Event) -> None:
    queues = Queues()
    app = queues.app()

    @app.on_text("block")
    async def block(text: str) -> None:
        release.wait(PATIENCE)

    @app.on_text("quick")
    async def quick(text: str) -> None: ...

    handler = app.lambda_handler()
    first = receive(queues, "block", "other")
    handler(first, Context(0.3))
    second = receive(queues, "quick")

    assert handler(second, Context(PATIENCE)) == {"batchItemFailures": []}


class Aging(MemoryStore):
    """A store for which a claim is almost over whenever it is renewed."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: self.now)
        self.now = 0.0

    def renew(self, key: str, owner: str, seconds: float) -> None:
        self.now += 0.9 * seconds
        super().renew(key, owner, seconds)


def test_keys_that_are_worked_on_stay_claimed_for_as_long_as_it_takes(release: threading.Event) -> None:
    queues = Queues()
    store = Aging()
    app = queues.app(idempotency=store, visibility_timeout=1)

    @app.on_text(idempotency_key=lambda text: "same")
    def slow(text: str) -> None:
        release.wait(PATIENCE)

    event = receive(queues, "one")
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(app.lambda_handler()(event, Context(900))))
    thread.start()
    # Claims live for two visibility timeouts.
    wait_until(lambda: store.now > 4)
    second = app.lambda_handler()(receive(queues, "two"), Context(900))
    release.set()
    thread.join(PATIENCE)

    assert len(second["batchItemFailures"]) == 1
    assert answers == [{"batchItemFailures": []}]


# Order.


def test_what_follows_a_kept_message_comes_again_right_after_it() -> None:
    queues = Queues(fifo=True)
    app = queues.app()
    handled = []

    @app.on_text()
    def handle(text: str) -> None:
        handled.append(text)
        if text == "b":
            raise RetryLater(after=0)

    event = receive(queues, "a", "b", "c", "d", group="g")
    handler = app.lambda_handler()
    again = bodies_that_come_again(event, handler(event, Context(60)))
    queues.sqs.delete_message(QueueUrl=queues.url, ReceiptHandle=event["Records"][0]["receiptHandle"])

    assert again == ["b", "c", "d"]
    assert handled == ["a", "b"]
    assert [each["body"] for each in receive(queues, "e", group="g")["Records"]] == ["b", "c", "d", "e"]


# Faults.


@pytest.mark.parametrize(
    "harm",
    [
        {"body": None},
        {"receiptHandle": None},
        {"eventSourceARN": "arn:aws:sns:us-east-1:000000000000:q"},
        {"attributes": {"ApproximateReceiveCount": "many"}},
        {"messageAttributes": {"a": {"dataType": "Binary", "binaryValue": "?"}}},
        {"messageAttributes": {"a": None}},
    ],
    ids=lambda harm: ",".join(harm),
)
def test_a_record_that_cannot_be_read_comes_again_alone(harm: dict[str, Any]) -> None:
    queues = Queues()
    app = queues.app()
    handled = []

    @app.on_text()
    def handle(text: str) -> None:
        handled.append(text)

    event = receive(queues, "bad", "good")
    event["Records"][0] |= harm
    answer = app.lambda_handler()(event, Context(60))

    assert answer["batchItemFailures"] == [{"itemIdentifier": event["Records"][0]["messageId"]}]
    assert handled == ["good"]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"source": "aws.events", "detail": {}}, "but one of aws.events"),
        ({"Records": [{"EventSource": "aws:sns", "Sns": {}}]}, "but one of aws:sns"),
        ({"Records": [{"eventSource": "aws:s3"}]}, "but one of aws:s3"),
        ({"key": "value"}, "but one that holds ['key']"),
        ("text", "but a str"),
        ({"Records": [{"eventSource": "aws:sqs"}]}, "but one of aws:sqs"),
    ],
)
def test_what_no_queue_sent_is_refused(event: Any, said: str) -> None:
    app = Queues().app()
    app.on_text()(lambda text: None)

    with pytest.raises(UsageError, match="this is no event of an SQS queue") as caught:
        app.lambda_handler()(event, None)

    assert said in str(caught.value)


def test_without_handlers_nothing_is_deleted() -> None:
    queues = Queues()

    with pytest.raises(RegistrationError, match="no handler is registered"):
        queues.app().lambda_handler()(receive(queues, "a"), None)


def test_dead_letters_do_not_go_round() -> None:
    queues = Queues()
    app = queues.app(dead_letter_queue_url=queues.url)
    app.on_text()(lambda text: None)

    with pytest.raises(ConfigurationError, match="is the queue itself"):
        app.lambda_handler()(receive(queues, "a"), None)


def test_where_the_role_may_not_look_up_the_dead_letter_queue_messages_are_kept_and_it_is_asked_once() -> None:
    queues = Queues()
    asked = []

    def refuse(call: Callable[..., Any], **parameters: Any) -> None:
        asked.append(parameters)
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetQueueAttributes")

    app = queues.app(client=Faulty(queues.sqs, get_queue_attributes=refuse))

    @app.on_text()
    def reject(text: str) -> None:
        raise Reject("bad")

    event = receive(queues, "a", "b", "c")
    answer = app.lambda_handler()(event, Context(60))

    assert bodies_that_come_again(event, answer) == ["a", "b", "c"]
    assert len(asked) == 1
    assert app.metrics.snapshot()["kept"] == 3


def test_where_the_role_may_not_hide_it_is_asked_once(caplog: pytest.LogCaptureFixture) -> None:
    queues = Queues()
    asked = []

    def refuse(call: Callable[..., Any], **parameters: Any) -> None:
        asked.append(parameters)
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ChangeMessageVisibilityBatch")

    app = queues.app(client=Faulty(queues.sqs, change_message_visibility_batch=refuse))

    @app.on_text()
    def later(text: str) -> None:
        raise RetryLater(after=5)

    handler = app.lambda_handler()
    with caplog.at_level(logging.WARNING):
        for body in ("a", "b"):
            event = receive(queues, body)
            assert bodies_that_come_again(event, handler(event, Context(60))) == [body]

    assert len(asked) == 1
    assert "messages come again when their visibility timeout ends" in caplog.text


def test_a_queue_that_does_not_answer_holds_the_answer_up_no_longer_than_there_is_time(
    release: threading.Event,
) -> None:
    queues = Queues()

    def hang(*_: object, **__: object) -> dict[str, Any]:
        release.wait(PATIENCE)
        return {}

    app = queues.app(client=Faulty(queues.sqs, change_message_visibility_batch=hang))

    @app.on_text()
    def later(text: str) -> None:
        raise RetryLater(after=5)

    event = receive(queues, "a")
    thread = threading.Thread(target=lambda: app.lambda_handler()(event, Context(0.5)))
    thread.start()
    thread.join(PATIENCE / 2)

    assert not thread.is_alive()
    release.set()
    wait_until(lambda: count_lanes() == 0)


def test_where_no_thread_can_be_started_messages_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    queues = Queues()
    app = queues.app()
    handled: list[str] = []
    app.on_text()(handled.append)

    event = receive(queues, "a", "b")

    def fail(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    handler = app.lambda_handler()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        answer = handler(event, Context(60))

    assert bodies_that_come_again(event, answer) == ["a", "b"]
    assert handled == []


def test_a_handler_that_exits_ends_the_call_in_good_order() -> None:
    queues = Queues()
    app = queues.app(concurrency=1)

    @app.on_text()
    def handle(text: str) -> None:
        if text == "exit":
            raise SystemExit(3)

    event = receive(queues, "fine", "exit", "after")
    answer = app.lambda_handler()(event, Context(60))

    assert bodies_that_come_again(event, answer) == ["exit", "after"]


# What it is.


def test_it_looks_like_a_function() -> None:
    handler = Queues().app().lambda_handler()

    assert handler.__name__ == handler.__qualname__ == "lambda_handler"


def test_an_app_is_made_without_aws() -> None:
    app = App()
    app.on_text()(lambda text: None)

    record = {
        "messageId": "1",
        "receiptHandle": "h",
        "body": "ping",
        "attributes": {},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:424566909325:q",
    }

    assert app.lambda_handler()({"Records": [record]}, None) == {"batchItemFailures": []}


# Stores


class Store(MemoryStore):
    """A store that fails at what it is told to, and counts how often it is checked."""

    def __init__(self, *failing: str, error: Exception | None = None) -> None:
        super().__init__()
        self.failing = set(failing)
        self.error = error or OSError("throttled")
        self.checks = self.saves = 0

    def check(self) -> None:
        self.checks += 1
        self._refuse("check")

    def save(self, work: str, handler: str, ended: Ended) -> None:
        self.saves += 1
        self._refuse("save")
        super().save(work, handler, ended)

    def _refuse(self, what: str) -> None:
        if what in self.failing:
            raise self.error


def count_runs(app: App) -> list[str]:
    ran: list[str] = []
    app.on_text(handler_name="handle")(lambda text: ran.append(text))
    return ran


def test_the_stores_are_checked_before_the_first_event_alone() -> None:
    queues, store = Queues(), Store()
    app = queues.app(progress=store)
    ran, handler = count_runs(app), app.lambda_handler()
    assert store.checks == 0

    for _ in range(3):
        handler(receive(queues, "ping"))

    assert store.checks == 1
    assert ran == ["ping"] * 3


def test_a_store_that_is_set_up_wrongly_is_raised_and_nothing_is_handled() -> None:
    queues, store = Queues(), Store("check", error=ConfigurationError("there is no such table"))
    app = queues.app(progress=store)
    ran = count_runs(app)

    with pytest.raises(ConfigurationError, match="there is no such table"):
        app.lambda_handler()(receive(queues, "ping"))

    assert ran == []


def test_a_store_that_is_away_has_everything_come_again_unhandled(caplog: pytest.LogCaptureFixture) -> None:
    queues, store = Queues(), Store("check")
    app = queues.app(progress=store)
    ran, handler = count_runs(app), app.lambda_handler()
    event = receive(queues, "1", "2")

    assert len(handler(event)["batchItemFailures"]) == 2
    assert ran == []
    assert "messages come again, as long as the store is not well: throttled" in caplog.text
    store.failing.clear()
    assert handler(event)["batchItemFailures"] == []
    assert sorted(ran) == ["1", "2"]


def test_what_a_store_does_not_take_at_once_is_tried_again_without_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    queues, store = Queues(), Store("save")
    app = queues.app(progress=store)
    ran = count_runs(app)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            store.failing.clear()

    monkeypatch.setattr("megaflow.awslambda.invocation.time.sleep", pause)

    assert app.lambda_handler()(receive(queues, "ping"))["batchItemFailures"] == []
    assert ran == ["ping"]
    assert pauses == [0.1, 0.4]


def test_once_a_store_fails_nothing_more_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaflow.awslambda.invocation.time.sleep", lambda seconds: None)
    queues, store = Queues(), Store()
    app = queues.app(progress=store, concurrency=1)
    ran: list[str] = []

    @app.on_text(handler_name="handle")
    def handle(text: str) -> None:
        ran.append(text)
        store.failing |= {"save", "check"}

    event, handler = receive(queues, "1", "2", "3"), app.lambda_handler()

    assert len(handler(event)["batchItemFailures"]) == 3
    assert len(ran) == 1
    assert len(handler(event)["batchItemFailures"]) == 3
    assert len(ran) == 1


def test_a_call_that_fails_in_a_store_that_is_well_holds_up_no_other_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaflow.awslambda.invocation.time.sleep", lambda seconds: None)
    queues, store = Queues(), Store()
    app = queues.app(progress=store, concurrency=1)
    ran: list[str] = []

    @app.on_text(handler_name="handle")
    def handle(text: str) -> None:
        ran.append(text)
        store.failing = {"save"} if len(ran) == 1 else set()

    answer = app.lambda_handler()(receive(queues, "1", "2", "3"))

    assert len(answer["batchItemFailures"]) == 1
    assert len(ran) == 3


def test_no_store_is_asked_again_once_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaflow.awslambda.invocation._PAUSES", (3_600.0,))
    queues, store = Queues(), Store("save")
    app = queues.app(progress=store)
    ran = count_runs(app)

    answer = app.lambda_handler()(receive(queues, "ping"), Context(60))

    assert len(answer["batchItemFailures"]) == 1
    assert ran == ["ping"]
    assert store.saves == 2


def test_metrics_are_told_what_a_function_does() -> None:
    queues, kept = Queues(), KeptMetrics()
    app = queues.app(metrics=kept, retry_on=ConnectionError, max_receives=9)

    @app.on_text(handler_name="handle")
    def handle(text: str) -> None:
        if text == "later":
            raise RetryLater(after=10)
        if text == "never":
            raise Reject

    app.lambda_handler()(receive(queues, "now", "later", "never"))

    assert kept.counted("received", queue="q") == kept.counted("handled", queue="q") == 3
    for fate in ("deleted", "kept", "dead-lettered"):
        assert kept.counted("ended", queue="q", fate=fate) == 1
        assert len(kept.observed("process_duration", queue="q", fate=fate)) == 1
    for status in ("DONE", "RETRY_LATER", "FATAL_ERROR"):
        assert len(kept.observed("handler_duration", queue="q", handler="handle", status=status)) == 1
    ages = kept.observed("message_age", queue="q")
    assert len(ages) == 3
    assert all(0 <= age < PATIENCE for age in ages)


# Limits of handlers.


def test_what_gets_no_turn_in_time_comes_again_and_nobody_waits_for_it(caplog: pytest.LogCaptureFixture) -> None:
    queues, seen, others = Queues(), list[str](), list[str]()
    app = queues.app(backoff=lambda count: 40)
    app.on_text(lambda text: text != "other", rate="2/h")(seen.append)
    app.on_text("other")(others.append)
    handler = app.lambda_handler()
    event = receive(queues, "1", "2", "3", "other", "4", "other")
    began = time.monotonic()

    with caplog.at_level(logging.WARNING, "megaflow"):
        answer = handler(event, Context(900))

    assert (len(seen), others) == (2, ["other", "other"])
    assert set(bodies_that_come_again(event, answer)) == {"1", "2", "3", "4"} - set(seen)
    assert time.monotonic() - began < EARLY
    assert "2 messages come again: their turn at a handler does not come in the function's time" in caplog.text
    assert app.metrics.snapshot()["kept"] == 2
    wait_until(lambda: count_lanes() == 0)


def test_a_rate_holds_across_invocations() -> None:
    queues, seen = Queues(), list[str]()
    app = queues.app()
    app.on_text(rate="2/h")(seen.append)
    handler = app.lambda_handler()
    handler._clock = clock = Clock()

    come_again = []
    for _ in range(2):
        event = receive(queues, "a", "b", "c")
        come_again.append(len(bodies_that_come_again(event, handler(event, Context(60)))))
        clock.let_an_hour_pass()
        event = receive(queues, "d")
        come_again.append(len(bodies_that_come_again(event, handler(event, Context(60)))))

    # After the hour, "d" is the first of the next two.
    assert come_again == [1, 0, 2, 0]
    assert len(seen) == 5


def test_a_turn_that_comes_within_the_functions_time_is_waited_for_without_a_thread() -> None:
    queues, began, threads = Queues(), list[float](), list[int]()
    app = queues.app()

    @app.on_text(rate="4/s")
    def handle(text: str) -> None:
        began.append(time.monotonic())
        threads.append(count_lanes())

    event = receive(queues, *map(str, range(6)))
    before = time.monotonic()

    assert app.lambda_handler()(event, Context(60)) == {"batchItemFailures": []}
    assert len(began) == 6
    assert began[4] - before >= 1.0
    assert threads[-1] <= 2


def test_what_waits_for_its_turn_takes_no_place_of_another() -> None:
    queues, seen = Queues(), list[str]()
    app = queues.app(concurrency=1)
    app.on_text(lambda text: text != "other", rate="1/h")(seen.append)
    app.on_text("other")(seen.append)
    event = receive(queues, "1", "2", "3", "other")

    answer = app.lambda_handler()(event, Context(60))

    assert bodies_that_come_again(event, answer) == ["2", "3"]
    assert seen == ["1", "other"]


def test_a_call_that_is_given_up_lets_the_next_one_have_its_turn(release: threading.Event) -> None:
    queues, seen = Queues(), list[str]()
    app = queues.app()

    @app.on_text(max_concurrency=1, timeout=0.1)
    def handle(text: str) -> None:
        if text == "stuck":
            release.wait(PATIENCE)
        seen.append(text)

    event = receive(queues, "stuck", "fine")
    answer = app.lambda_handler()(event, Context(60))

    assert bodies_that_come_again(event, answer) == ["stuck"]
    assert seen == ["fine"]


def test_a_call_that_outlasts_its_invocation_takes_no_turn_from_the_next(release: threading.Event) -> None:
    queues, begun, seen = Queues(), threading.Event(), list[str]()
    app = queues.app(visibility_timeout=1)
    app.on_text("quick")(seen.append)

    @app.on_text("slow", max_concurrency=1)
    def slow(text: str) -> None:
        begun.set()
        release.wait(PATIENCE)

    @app.on_text("next", max_concurrency=1)
    def following(text: str) -> None:
        seen.append(text)

    handler = app.lambda_handler()
    answer_late(handler, app, receive(queues, "slow", "quick"), begun)
    release.set()
    wait_until(lambda: count_lanes() == 0)
    handler._clock = time.monotonic
    event = receive(queues, "slow", "slow", "next")

    assert handler(event, Context(60)) == {"batchItemFailures": []}
    assert sorted(seen) == ["next", "quick"]


def test_what_follows_in_a_group_comes_again_with_the_one_that_got_no_turn() -> None:
    queues, seen = Queues(fifo=True), list[str]()
    app = queues.app()
    app.on_text("limited", rate="1/h")(seen.append)
    app.on_text("plain")(seen.append)
    handler = app.lambda_handler()
    event = receive(queues, "plain", "limited", "limited", "plain", group="g")

    answer = handler(event, Context(60))

    assert seen == ["plain", "limited"]
    assert bodies_that_come_again(event, answer) == ["limited", "plain"]


def test_what_the_context_holds_is_still_there_after_a_turn() -> None:
    queues, seen = Queues(), list[tuple[str, str]]()
    app, said = queues.app(), ContextVar("said", default="")

    @app.on_text()
    def note(text: str) -> None:
        said.set(text)

    @app.on_text(max_concurrency=1)
    def handle(text: str) -> None:
        seen.append((text, said.get()))

    event = receive(queues, "a", "b", "c")
    app.lambda_handler()(event, Context(60))

    assert sorted(seen) == [("a", "a"), ("b", "b"), ("c", "c")]


def test_once_nothing_more_is_begun_no_turns_are_given(caplog: pytest.LogCaptureFixture) -> None:
    queues, seen = Queues(), list[str]()
    app = queues.app(concurrency=1)

    @app.on_text(max_concurrency=1)
    def handle(text: str) -> None:
        seen.append(text)
        raise SystemExit(1)

    event = receive(queues, "a", "b")
    answer = app.lambda_handler()(event, Context(60))

    assert bodies_that_come_again(event, answer) == ["a", "b"]
    assert seen == ["a"]


def test_a_function_without_limits_does_not_import_what_they_take() -> None:
    program = """
import sys
from megaflow import App
app = App(retry_on=())
app.on_text()(print)
record = {"messageId": "1", "receiptHandle": "r", "body": "ping", "attributes": {"ApproximateReceiveCount": "1"}}
record |= {"messageAttributes": {}, "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:1:orders"}
print(app.lambda_handler()({"Records": [record]}))
print("megaflow.consumer.core.turns" in sys.modules)
"""

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert said.splitlines() == ["ping", "{'batchItemFailures': []}", "False"]
