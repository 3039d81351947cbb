"""One suite for all that take messages through handlers: a message meets the same fate with each of them."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from megaflow import (
    App,
    Attribute,
    CircuitBreaker,
    MemoryStore,
    Message,
    Outgoing,
    PayloadBuilder,
    ProcessStatus,
    Reject,
    RetryLater,
)
from megaflow.messages.bson import encode_document
from tests.verdicts.drivers import DRIVERS, count, dead_letters, driven

LATER = 60.0
GONE = (0, 0)
HIDDEN = (0, 1)


@pytest.fixture(params=list(DRIVERS))
def name(request: pytest.FixtureRequest) -> str:
    """Who takes the messages through the handlers."""
    return str(request.param)


class Order(BaseModel):
    id: int


def make_app(**options: Any) -> App:
    return App(**{"backoff": lambda receive_count: LATER, "retry_on": ConnectionError, **options})


def say(status: object) -> Callable[[str], Any]:
    """Return a handler that returns or raises *status*."""

    def handle(text: str) -> Any:
        if isinstance(status, BaseException):
            raise status
        return status

    return handle


def say_async(status: object) -> Callable[[str], Any]:
    async def handle(text: str) -> Any:
        return say(status)(text)

    return handle


@pytest.mark.parametrize("make", [say, say_async], ids=["sync", "async"])
@pytest.mark.parametrize("status", [None, ProcessStatus.DONE, "something"], ids=str)
def test_what_is_done_is_deleted(name: str, make: Any, status: object) -> None:
    app = make_app()
    app.on_text()(make(status))

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()

        assert count(driver) == GONE
        assert dead_letters(driver) == []


@pytest.mark.parametrize("make", [say, say_async], ids=["sync", "async"])
@pytest.mark.parametrize(
    "status",
    [ProcessStatus.RETRY_LATER, ProcessStatus.RETRIABLE_ERROR, RetryLater(), ConnectionResetError("gone")],
    ids=repr,
)
def test_what_is_kept_comes_again_after_the_backoff(name: str, make: Any, status: object) -> None:
    app, seen = make_app(), []
    app.on_text()(make(status))
    app.on_message()(lambda message: seen.append(message.receive_count))

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()
        kept = count(driver)
        driver.advance(LATER - 1)
        too_early = list(seen)
        driver.advance(1)

        assert kept == HIDDEN
        assert too_early == [1]
        assert seen == [1, 2]


@pytest.mark.parametrize("make", [say, say_async], ids=["sync", "async"])
@pytest.mark.parametrize("of_handler", [False, True])
def test_what_a_breaker_counts_comes_again_as_long_as_that_is_closed(name: str, make: Any, of_handler: bool) -> None:
    breaker = CircuitBreaker(failures=3, on=ConnectionError)
    app, seen = make_app(retry_on=None, breaker=None if of_handler else breaker), []
    app.on_text(breaker=breaker if of_handler else None)(make(ConnectionResetError("gone")))
    app.on_message()(lambda message: seen.append(message.receive_count))

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()
        driver.advance(LATER)

        assert seen == [1, 2]
        assert count(driver) == HIDDEN


def test_it_comes_again_after_the_time_that_was_asked_for(name: str) -> None:
    app, seen = make_app(), []

    @app.on_text()
    def handle(text: str, message: Message) -> None:
        seen.append(message.receive_count)
        raise RetryLater(after=300)

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()
        driver.advance(299)
        too_early = list(seen)
        driver.advance(1)

        assert too_early == [1]
        assert seen == [1, 2]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"backoff": 20}, {}, 20),
        ({"backoff": 20}, {"backoff": 300}, 300),
        ({"backoff": 300}, {"after": 20}, 300),
        ({"backoff": 20, "after": 100}, {}, 100),
        ({"backoff": 300, "done": True}, {}, LATER),
        ({"backoff": "fails"}, {}, LATER),
        ({"backoff": "fails"}, {"backoff": 20}, 20),
    ],
    ids=str,
)
def test_it_comes_again_after_the_longest_that_a_handler_that_keeps_it_asks_for(
    name: str, first: dict[str, Any], second: dict[str, Any], expected: float
) -> None:
    app, seen = make_app(), []

    def register(place: str, asked: dict[str, Any]) -> None:
        seconds = asked.get("backoff")
        backoff = seconds if seconds is None else lambda count: 1 / 0 if seconds == "fails" else seconds

        @app.on_text(handler_name=place, backoff=backoff)
        def handle(text: str, message: Message) -> None:
            seen.append(message.receive_count)
            if not asked.get("done"):
                raise RetryLater(after=asked.get("after"))

    register("first", first)
    register("second", second)
    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()
        driver.advance(expected - 1)
        too_early = list(seen)
        driver.advance(1)

        assert too_early == [1, 1]
        assert seen == [1, 1, 2, 2]


def test_a_handler_that_took_too_long_comes_again_after_its_own_backoff(name: str) -> None:
    app, seen = make_app(), []

    @app.on_text(timeout=0.05, backoff=lambda count: 300.0)
    async def handle(text: str, message: Message) -> None:
        seen.append(message.receive_count)
        if message.receive_count == 1:
            await asyncio.sleep(20)

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()
        driver.advance(299)
        too_early = list(seen)
        driver.advance(1)

        assert too_early == [1]
        assert seen == [1, 2]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_so_many_calls_of_a_handler_run_at_once(name: str, is_async: bool) -> None:
    app, lock, running, most, done = make_app(), threading.Lock(), [], [], []

    def enter(text: str) -> None:
        with lock:
            running.append(text)
            most.append(len(running))

    def leave(text: str) -> None:
        with lock:
            running.remove(text)
            done.append(text)

    def handle(text: str) -> None:
        enter(text)
        time.sleep(0.01)
        leave(text)

    async def ahandle(text: str) -> None:
        enter(text)
        await asyncio.sleep(0.01)
        leave(text)

    app.on_text(max_concurrency=2)(ahandle if is_async else handle)
    with driven(name, app) as driver:
        texts = [f"{number}" for number in range(20)]
        app.publish_batch(texts)
        driver.run()

        assert sorted(done) == sorted(texts)
        assert max(most) <= 2
        assert count(driver) == GONE


def test_calls_of_a_handler_begin_within_its_rate(name: str) -> None:
    app, seen, others = make_app(), list[str](), list[str]()
    app.on_text("limited", rate="3/h")(seen.append)
    app.on_text("other")(others.append)

    with driven(name, app) as driver:
        app.publish_batch(["limited", "other"] * 3)
        driver.run()

        assert (len(seen), len(others)) == (3, 3)
        assert count(driver) == GONE


def test_handlers_with_limits_run_after_the_others(name: str) -> None:
    app, seen = make_app(progress=MemoryStore()), []

    @app.on_text(max_concurrency=1)
    def first(text: str, message: Message) -> None:
        seen.append("limited")
        if message.receive_count == 1:
            raise ConnectionError

    @app.on_text()
    def second(text: str) -> None:
        seen.append("plain")

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()
        driver.advance(LATER)

        assert seen == ["plain", "limited", "limited"]
        assert count(driver) == GONE


def test_of_a_group_no_message_overtakes_one_that_waits_for_its_turn(name: str) -> None:
    app, seen = make_app(concurrency=4), []

    @app.on_data({"limited": True}, max_concurrency=1)
    def limited(step: dict[str, Any]) -> None:
        time.sleep(0.005)
        seen.append((step["group"], step["number"]))

    @app.on_data({"limited": False})
    def plain(step: dict[str, Any]) -> None:
        seen.append((step["group"], step["number"]))

    with driven(name, app, fifo=True) as driver:
        steps = [(group, number) for number in range(4) for group in "abc"]
        app.publish_batch(
            Outgoing({"group": group, "number": number, "limited": number % 2 == 0}, group_id=group)
            for group, number in steps
        )
        driver.run()

        for group in "abc":
            assert [number for each, number in seen if each == group] == [0, 1, 2, 3]
        assert count(driver) == GONE


@pytest.mark.parametrize("make", [say, say_async], ids=["sync", "async"])
@pytest.mark.parametrize("status", [ProcessStatus.FATAL_ERROR, Reject("never"), ValueError("for good")], ids=repr)
def test_what_failed_for_good_is_dead_lettered_as_it_was(name: str, make: Any, status: object) -> None:
    app = make_app()
    app.on_data(handler_name="fails")(make(status))
    app.on_data(handler_name="works")(say(None))
    body = ' {"id":  1, "price": 1.50}'

    with driven(name, app) as driver:
        sent = app.publish_raw_message(
            body, attributes={"tenant": "acme", "blob": b"\0\xff", "price": Attribute("Number.eur", "1.50")}
        )
        driver.run()

        (dead,) = dead_letters(driver)
        origin = json.loads(dead["MessageAttributes"].pop("megaflow-origin")["StringValue"])
        assert count(driver) == GONE
        assert dead["Body"] == body
        assert dead["MessageAttributes"] == {
            "tenant": {"DataType": "String", "StringValue": "acme"},
            "blob": {"DataType": "Binary", "BinaryValue": b"\0\xff"},
            "price": {"DataType": "Number.eur", "StringValue": "1.50"},
        }
        assert (origin["message_id"], origin["finished"], list(origin["failed"])) == (sent, ["works"], ["fails"])


@pytest.mark.parametrize("progress", [None, MemoryStore], ids=["forgets", "remembers"])
@pytest.mark.parametrize(("record_errors", "said"), [("text", "ValueError: no card 4711"), ("type", "ValueError")])
def test_a_dead_letter_holds_of_errors_what_it_may(
    name: str, progress: type[MemoryStore] | None, record_errors: Any, said: str
) -> None:
    app, later = make_app(progress=progress and progress(), record_errors=record_errors), [RetryLater()]
    app.on_text(handler_name="fails")(say(ValueError("no card 4711")))

    @app.on_text()
    def keeps(text: str) -> None:
        if later:
            raise later.pop()

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()
        driver.advance(LATER)

        (dead,) = dead_letters(driver)
        origin = json.loads(dead["MessageAttributes"]["megaflow-origin"]["StringValue"])
        assert origin["failed"]["fails"].removeprefix("EarlierFailureError: ") == said


def test_one_keeper_keeps_the_message_and_all_run_again(name: str) -> None:
    app, seen = make_app(), []

    @app.on_text()
    def first(text: str) -> None:
        seen.append("first")

    @app.on_text()
    def second(text: str, message: Message) -> ProcessStatus:
        seen.append("second")
        return ProcessStatus.DONE if message.receive_count > 1 else ProcessStatus.RETRY_LATER

    @app.on_text()
    def third(text: str) -> None:
        seen.append("third")
        raise ValueError("for good")

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()
        before = len(dead_letters(driver))
        driver.advance(LATER)

        assert seen == ["first", "second", "third"] * 2
        assert before == 0
        assert len(dead_letters(driver)) == 1


def test_with_a_store_only_those_that_have_not_finished_run_again(name: str) -> None:
    app, seen = make_app(progress=MemoryStore()), []

    @app.on_text()
    def first(text: str) -> None:
        seen.append("first")

    @app.on_text()
    def second(text: str, message: Message) -> None:
        seen.append("second")
        if message.receive_count == 1:
            raise ConnectionError

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()
        driver.advance(LATER)

        assert seen == ["first", "second", "second"]
        assert count(driver) == GONE


def test_of_messages_with_one_key_one_is_handled(name: str) -> None:
    app, seen = make_app(idempotency=MemoryStore()), []

    @app.on_data(idempotency_key=lambda order: str(order["id"]))
    def charge(order: dict[str, Any]) -> None:
        seen.append(order["id"])

    with driven(name, app) as driver:
        for number in (1, 2, 1):
            app.publish({"id": number})
            driver.run()

        assert seen == [1, 2]
        assert count(driver) == GONE


@pytest.mark.parametrize(
    ("unmatched", "left", "dead"), [("delete", GONE, 0), ("keep", HIDDEN, 0), ("dead_letter", GONE, 1)]
)
def test_what_nobody_wants(name: str, unmatched: Any, left: tuple[int, int], dead: int) -> None:
    app = make_app(unmatched=unmatched)
    app.on_text("ping")(say(None))

    with driven(name, app) as driver:
        app.publish("pong")
        driver.run()

        assert count(driver) == left
        assert len(dead_letters(driver)) == dead
        assert app.metrics.snapshot()["unmatched"] == 1


def test_a_broken_event_that_nobody_wants_is_dead_lettered(name: str) -> None:
    app = make_app()
    app.on_text()(say(None))

    with driven(name, app) as driver:
        app.publish_raw_message('{"protocol": "mega", "version": 2, "event": {"name": "n"}}')
        driver.run()

        assert len(dead_letters(driver)) == 1


@pytest.mark.parametrize(
    ("on_invalid", "left", "dead"), [("dead_letter", GONE, 1), ("keep", HIDDEN, 0), ("delete", GONE, 0)]
)
def test_what_does_not_validate(name: str, on_invalid: Any, left: tuple[int, int], dead: int) -> None:
    app, got = make_app(on_invalid=on_invalid), []

    @app.on_data()
    def place(order: Order) -> None:
        got.append(order)

    with driven(name, app) as driver:
        app.publish({"id": "7"})
        app.publish({"id": "seven"})
        driver.run()

        assert got == [Order(id=7)]
        assert count(driver) == left
        assert len(dead_letters(driver)) == dead


def test_what_handlers_need_is_provided(name: str) -> None:
    app, got = make_app(), []

    class Database:
        pass

    app.provide(Database, Database)

    def handle(text: str, database: Any) -> None:
        got.append(database)

    handle.__annotations__["database"] = Database
    app.on_text()(handle)

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()

    assert [type(each) for each in got] == [Database]


def test_every_kind_of_body_arrives(name: str) -> None:
    app, got = make_app(), []
    event = PayloadBuilder().with_event(name="n", timestamp="2020-05-04T15:53:23+00:00", quantity=5).build()
    envelope = {
        "Type": "Notification",
        "MessageId": "m",
        "TopicArn": "arn:aws:sns:us-east-1:000000000000:t",
        "Timestamp": "2020-05-04T15:53:23.123Z",
        "Message": '{"id": 1}',
        "MessageAttributes": {"tenant": {"Type": "String", "Value": "acme"}},
    }

    @app.on_message()
    def handle(message: Message) -> None:
        got.append((message.kind.value, message.payload, message.attributes.get("tenant"), message.sns is not None))

    with driven(name, app) as driver:
        app.publish(event)
        app.publish(event, binary_encoding=True)
        app.publish({"id": 2}, attributes={"tenant": "acme"})
        app.publish("ping")
        app.publish(b"\0\1")
        app.publish_raw_message(json.dumps(envelope))
        app.publish_raw_message(b64encode(encode_document({"id": 3})).decode())
        driver.run()

    assert sorted(got, key=repr) == sorted(
        [
            ("mega", event, None, False),
            ("mega", event, None, False),
            ("data", {"id": 2}, "acme", False),
            ("text", "ping", None, False),
            ("binary", b"\0\1", None, False),
            ("data", {"id": 1}, "acme", True),
            ("data", {"id": 3}, None, False),
        ],
        key=repr,
    )


def test_middleware_stands_around_every_call(name: str) -> None:
    app, said = make_app(), []

    @app.use
    def note(call_next: Any) -> Any:
        def call(handler: Any, message: Message) -> Any:
            said.append(handler.name)
            return call_next(handler, message)

        return call

    app.on_text(handler_name="first")(say(None))
    app.on_text(handler_name="second")(say(None))

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()

    assert said == ["first", "second"]


def test_a_group_stops_at_its_first_kept_message_and_goes_on_with_it(name: str) -> None:
    app, seen = make_app(), []

    @app.on_data()
    def handle(step: dict[str, Any], message: Message) -> None:
        seen.append((step["group"], step["number"]))
        if (step["group"], step["number"]) == ("a", 1) and seen.count(("a", 1)) == 1:
            raise ConnectionError

    with driven(name, app, fifo=True) as driver:
        steps = [(group, number) for number in range(3) for group in "ab"]
        app.publish_batch(Outgoing({"group": group, "number": number}, group_id=group) for group, number in steps)
        driver.run()
        first = {group: [number for each, number in seen if each == group] for group in "ab"}
        seen_first = len(seen)
        driver.advance(LATER)
        # What Lambda gave back unhandled comes again when the visibility timeout ends.
        driver.advance(180)

        assert first == {"a": [0, 1], "b": [0, 1, 2]}
        assert seen[seen_first:] == [("a", 1), ("a", 2)]
        assert count(driver) == GONE


def test_after_a_dead_letter_its_group_goes_on(name: str) -> None:
    app, seen = make_app(), []

    @app.on_data()
    def handle(step: dict[str, Any]) -> None:
        seen.append(step["number"])
        if step["number"] == 0:
            raise ValueError("for good")

    with driven(name, app, fifo=True) as driver:
        app.publish_batch(Outgoing({"number": number}, group_id="g") for number in range(3))
        driver.run()

        assert seen == [0, 1, 2]
        assert [each["Body"] for each in dead_letters(driver)] == ['{"number": 0}']


def test_what_is_kept_too_often_is_dead_lettered(name: str) -> None:
    app, seen = make_app(max_receives=2), []

    @app.on_text()
    def handle(text: str, message: Message) -> ProcessStatus:
        seen.append(message.receive_count)
        return ProcessStatus.RETRY_LATER

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()
        driver.advance(LATER)

        (dead,) = dead_letters(driver)
        origin = json.loads(dead["MessageAttributes"]["megaflow-origin"]["StringValue"])
        assert seen == [1, 2]
        assert origin["problem"] == "kept at delivery 2, and max_receives is 2"


def test_an_async_handler_that_takes_too_long_is_cancelled_and_its_message_comes_again(name: str) -> None:
    app, seen = make_app(), []

    @app.on_text(timeout=0.05)
    async def handle(text: str) -> None:
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()

        assert seen == ["cancelled"]
        assert count(driver) == HIDDEN


def test_a_handler_that_matches_twice_runs_once_and_all_have_their_own_payload(name: str) -> None:
    app, got = make_app(), []

    def handle(data: dict[str, Any]) -> None:
        got.append(dict(data))
        data["id"] = "spoilt"

    app.on_data({"id": 1})(handle)
    app.on_data()(handle)

    @app.on_data()
    def other(data: dict[str, Any]) -> None:
        got.append(dict(data))

    with driven(name, app) as driver:
        app.publish({"id": 1})
        driver.run()

    assert got == [{"id": 1}, {"id": 1}]


def test_a_pattern_that_raises_keeps_the_message(name: str) -> None:
    app = make_app()

    @app.on_text(lambda text: bool(1 / 0))
    def handle(text: str) -> None: ...

    with driven(name, app) as driver:
        app.publish("ping")
        driver.run()

        assert count(driver) == HIDDEN


def test_what_cannot_be_dead_lettered_is_kept(name: str) -> None:
    app = make_app()
    app.on_text()(say(ValueError("for good")))

    with driven(name, app) as driver:
        smaller = {"MaximumMessageSize": "1024"}
        driver.sqs.set_queue_attributes(QueueUrl=driver.dead_letter_queue_url, Attributes=smaller)
        app.publish("x" * 2_000)
        driver.run()

        assert count(driver) == HIDDEN
        assert dead_letters(driver) == []
