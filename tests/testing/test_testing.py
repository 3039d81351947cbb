"""`TestClient` and the pytest plugin beyond the verdicts, which tests/verdicts has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from megaflow import (
    App,
    MemoryStore,
    Message,
    Payload,
    PayloadBuilder,
    ProcessStatus,
    RegistrationError,
    Reject,
    RetryLater,
    UsageError,
    exponential_backoff,
)
from megaflow.testing import Handled, TestClient
from tests.consuming import Queues

pytest_plugins = ["pytester"]

REFUND = "tests.testing.test_testing.make_app.<locals>.refund"
EU = "https://sqs.eu-central-1.amazonaws.com/424566909325/orders"


def make_app(**options: Any) -> App:
    app = App(**options)

    @app.on_data({"kind": "refund"})
    def refund(data: dict[str, Any]) -> None:
        if data["amount"] > 100:
            raise Reject("too much")
        data["amount"] = 0

    return app


# What it shows.


def test_what_was_seen_is_a_list_of_what_happened() -> None:
    with TestClient(make_app()) as client:
        client.publish({"kind": "refund", "amount": 7})
        client.publish({"kind": "refund", "amount": 700})

        assert client.handled == [
            Handled(REFUND, {"kind": "refund", "amount": 7}, ProcessStatus.DONE),
            Handled(REFUND, {"kind": "refund", "amount": 700}, ProcessStatus.FATAL_ERROR),
        ]
        assert [each.payload["amount"] for each in client.deleted] == [7]
        assert [each.payload["amount"] for each in client.dead_lettered] == [700]
        assert client.kept == []
        assert isinstance(client.handled[1].error, Reject)


def test_what_a_handler_does_to_its_payload_is_not_what_it_got() -> None:
    with TestClient(make_app()) as client:
        client.publish({"kind": "refund", "amount": 7})

        assert client.handled_by("refund") == [{"kind": "refund", "amount": 7}]
        message = client.handled[0].message
        assert message is not None
        assert message.payload == {"kind": "refund", "amount": 7}


def test_a_handler_is_named_in_every_way() -> None:
    app = make_app()
    [handler] = app.handlers
    with TestClient(app) as client:
        client.publish({"kind": "refund", "amount": 7})

        for name in ("refund", REFUND, handler, handler.function):
            client.assert_handled(name, times=1)
        with pytest.raises(UsageError, match="'refnd' is no handler of this app; there is tests"):
            client.assert_not_handled("refnd")


def test_only_handlers_that_were_called_are_shown() -> None:
    store = MemoryStore()
    app = App(idempotency=store)

    @app.on_text(idempotency_key=lambda text: "same")
    def once(text: str) -> None: ...

    def fail(text: str) -> bool:
        raise ValueError("a pattern of the user's")

    @app.on_text(fail)
    def never(text: str) -> None: ...

    with TestClient(app) as client:
        client.publish("a")
        client.publish("b")

        assert client.handled_by(once) == ["a"]
        client.assert_not_handled(never)


def test_a_message_that_has_come_too_often_is_dead_lettered_and_not_kept() -> None:
    app = App(max_receives=2, backoff=lambda receive_count: 10)

    @app.on_text()
    def later(text: str) -> None:
        raise RetryLater

    with TestClient(app) as client:
        client.publish("a")
        assert (len(client.kept), len(client.dead_lettered)) == (1, 0)
        client.advance(10)

        assert (len(client.kept), len(client.dead_lettered)) == (1, 1)
        assert "dead-lettered: kept at delivery 2, and max_receives is 2" in client.explain()


def test_the_default_backoff_leaves_nothing_to_chance() -> None:
    app = App(retry_on=ConnectionError)

    @app.on_text()
    def fail(text: str) -> None:
        raise ConnectionError

    with TestClient(app) as client:
        client.publish("a")
        begin = client.now
        client.advance(0.5)
        assert len(client.handled) == 1
        client.advance(0.5)
        assert len(client.handled) == 2
        client.advance(2)
        assert len(client.handled) == 3

    assert client.now == begin + 3


def test_a_backoff_of_ones_own_is_asked() -> None:
    app = App(retry_on=ConnectionError, backoff=exponential_backoff(first=60))

    @app.on_text()
    def fail(text: str) -> None:
        raise ConnectionError

    with TestClient(app) as client:
        client.publish("a")
        client.advance(59)
        assert len(client.handled) == 1
        client.advance(1)
        assert len(client.handled) == 2


# Why something was not seen.


def test_an_assertion_that_fails_gets_a_note_that_explains() -> None:
    client = TestClient(make_app())

    with pytest.raises(AssertionError) as caught, client:
        _publish_and_fail(client)

    [note] = caught.value.__notes__
    assert "kind: wanted 'refund', found 'refnd'" in note


def _publish_and_fail(client: TestClient) -> None:
    client.publish({"kind": "refnd", "amount": 7})
    assert len(client.handled) == 1


def test_what_was_kept_says_why() -> None:
    app = App()

    @app.on_event(domain="shop", name="added")
    def later(event: Payload) -> None:
        raise RetryLater("no stock", after=60)

    with TestClient(app) as client:
        client.publish(PayloadBuilder().with_event(domain="shop", name="added", item="a").build())

        said = client.explain()

    assert said.startswith('{"event": {"domain": "shop", "name": "added", "version": 1, "attributes": {"item": ')
    assert "later: matched" in said
    assert "later: RETRY_LATER)" in said
    assert "later: RetryLater: no stock" in said


class Bank:
    """Something that is provided."""

    name = "real"


class FakeBank(Bank):
    """What takes its place in a test."""

    name = "fake"


def test_what_is_provided_can_be_replaced() -> None:
    app = App()
    app.provide(Bank, Bank)
    seen: list[str] = []

    @app.on_text()
    def pay(text: str, bank: Bank) -> None:
        seen.append(bank.name)

    app.process("before")
    with TestClient(app, replacing={Bank: FakeBank}) as client:
        client.publish("within")
    app.process("after")

    assert seen == ["real", "fake", "real"]
    with pytest.raises(RegistrationError, match="str is not provided"), TestClient(app, replacing={str: str}):
        pass


def test_it_takes_an_app() -> None:
    with pytest.raises(UsageError, match="takes an App, not a str"):
        TestClient("shop")  # type: ignore[arg-type]


def test_what_was_to_be_handled_says_why_it_was_not() -> None:
    with TestClient(make_app()) as client:
        client.publish({"kind": "refnd"})
        with pytest.raises(AssertionError) as caught:
            client.assert_handled("refund", times=2)

    said = str(caught.value)
    assert said.startswith(f"{REFUND} was to be called 2 times, and was called never\n")
    assert "kind: wanted 'refund', found 'refnd'" in said
    assert not getattr(caught.value, "__notes__", ())


FAILING = """
import pytest
from megaflow import App
from megaflow.testing import TestClient

app = App()
@app.on_data({"kind": "refund"})
def refund(data): ...

@pytest.fixture
def client():
    with TestClient(app) as client:
        yield client

def test_by_fixture(client):
    client.publish({"kind": "refnd"})
    assert client.handled_by(refund) == [{"kind": "refund"}]

def test_within():
    with TestClient(app) as client:
        client.publish({"kind": "refnd"})
        assert len(client.handled) == 1

def test_server(megaflow_server):
    assert megaflow_server.url.startswith("http://127.0.0.1:")

def test_queue(megaflow_sqs, megaflow_queue_url):
    megaflow_sqs.send_message(QueueUrl=megaflow_queue_url, MessageBody="a")
    assert megaflow_sqs.receive_message(QueueUrl=megaflow_queue_url)["Messages"][0]["Body"] == "a"
"""


def test_the_plugin_explains_failures_and_has_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILING)

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=2, failed=2)
    headings = [line for line in result.outlines if "he messages, and the handlers" in line and line[0] in "-E"]
    assert len(headings) == 2  # as a section for the fixture, and as a note of the error
    assert any("    kind: wanted 'refund', found 'refnd'" in line for line in result.outlines)


def test_the_plugin_imports_nothing_of_aws(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\ndef test(): assert not {'boto3', 'botocore', 'megaflow.testing.client'} & set(sys.modules)"
    )

    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


# How it is used.


def test_each_use_begins_anew() -> None:
    client = TestClient(make_app())
    for _ in range(2):
        with client:
            client.publish({"kind": "refund", "amount": 7})
            assert len(client.handled) == 1
    assert len(client.handled) == 1


def test_outside_a_with_it_does_nothing() -> None:
    client = TestClient(make_app())

    with pytest.raises(UsageError, match="in a with statement"):
        client.publish("a")
    with client, pytest.raises(UsageError, match="in use already"), client:
        pass


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_time_does_not_go_back(seconds: float) -> None:
    with TestClient(make_app()) as client, pytest.raises(UsageError, match="time passes by a number of seconds"):
        client.advance(seconds)


def test_in_an_event_loop_it_says_what_to_do() -> None:
    async def use(client: TestClient) -> None:
        client.publish("a")

    with pytest.raises(UsageError, match="make the test sync"), TestClient(make_app()) as client:
        asyncio.run(use(client))


def test_a_handler_that_uses_the_client_is_told_and_the_test_too() -> None:
    app = App()
    with TestClient(app) as client:

        @app.on_text()
        def publish(text: str) -> None:
            client.publish("b")

        with pytest.raises(UsageError, match="a handler uses the TestClient that called it"):
            client.publish("a")
    assert client.dead_lettered == []


def test_a_handler_that_publishes_is_followed_to_the_end() -> None:
    app = App()

    @app.on_text("first")
    def first(text: str) -> None:
        app.publish("second")

    @app.on_text("second")
    def second(text: str) -> None: ...

    with TestClient(app) as client:
        client.publish("first")
        client.assert_handled(second, times=1)


def test_what_goes_round_without_time_passing_is_an_error() -> None:
    app = App()

    @app.on_text()
    def again(text: str) -> None:
        raise RetryLater(after=0)

    with TestClient(app) as client, pytest.raises(UsageError, match="again and again without time passing"):
        client.publish("a")


@pytest.mark.parametrize("wait_time_seconds", [0, 20])
def test_polls_that_do_not_wait_are_no_endless_loop(wait_time_seconds: int) -> None:
    with TestClient(make_app(wait_time_seconds=wait_time_seconds)) as client:
        client.publish({"kind": "refund", "amount": 7})
        client.advance(60)

        client.assert_handled("refund", times=1)


def test_many_messages_at_once() -> None:
    with TestClient(make_app()) as client:
        client.publish_batch([{"kind": "refund", "amount": 1}] * 300)
        sent = list(client.publish_stream({"kind": "refund", "amount": 1} for _ in range(30)))

        assert all(each.message_id for each in sent)
        client.assert_handled("refund", times=330)


# Async handlers.


def test_an_async_handler_sleeps_without_waiting_and_keeps_its_message() -> None:
    app = App(visibility_timeout=30)
    seen: list[float] = []

    @app.on_message()
    async def slow(message: Message) -> None:
        await asyncio.sleep(3_600)
        assert message.lease is not None
        seen.append(message.lease.remaining)

    with TestClient(app) as client:
        client.publish("a")

        client.assert_handled(slow, times=1)
        assert seen[0] > 0
        assert app.metrics.snapshot().get("hung_polls", 0) == 0


def test_an_async_handler_that_waits_for_nothing_is_an_error_of_the_test() -> None:
    app = App()

    @app.on_text()
    async def wait(text: str) -> None:
        await asyncio.Event().wait()

    with TestClient(app) as client:
        with pytest.raises(UsageError, match="waits for something that nothing here brings"):
            client.publish("a")
        assert client.dead_lettered == []


def test_an_async_handler_that_never_ends_is_an_error_of_the_test() -> None:
    app = App()

    @app.on_text()
    async def sleep_on(text: str) -> None:
        while True:
            await asyncio.sleep(3_600)

    with TestClient(app) as client, pytest.raises(UsageError, match="sleeps for ever"):
        client.publish("a")


def test_a_time_limit_holds_for_async_handlers() -> None:
    app = App(backoff=lambda receive_count: 10)

    @app.on_text(timeout=5)
    async def slow(text: str) -> None:
        await asyncio.sleep(60)

    with TestClient(app) as client:
        client.publish("a")

        assert client.handled[0].status is ProcessStatus.RETRIABLE_ERROR
        assert len(client.kept) == 1


def test_what_a_handler_exits_with_is_raised() -> None:
    app = App()

    @app.on_text()
    def leave(text: str) -> None:
        raise SystemExit(3)

    with TestClient(app) as client, pytest.raises(SystemExit):
        client.publish("a")


# The queues.


def test_the_queue_has_the_place_and_the_kind_of_the_apps_own() -> None:
    with TestClient(make_app(queue_url=f"{EU}.fifo", dead_letter_queue_url=f"{EU}-dead.fifo")) as client:
        assert client.queue_url.endswith("/424566909325/orders.fifo")
        assert client.dead_letter_queue_url.endswith("/424566909325/orders-dead.fifo")
        assert client.account.region == "eu-central-1"


def test_a_fifo_topic_makes_a_fifo_queue() -> None:
    topic = "arn:aws:sns:eu-central-1:424566909325:events.fifo"
    with TestClient(make_app(topic_arn=topic)) as client:
        client.publish({"kind": "refund", "amount": 1}, group_id="a")

        client.assert_handled("refund", times=1)


def test_a_fifo_queue_can_be_tested_as_a_standard_one() -> None:
    with TestClient(make_app(queue_url=f"{EU}.fifo"), fifo=False) as client:
        assert client.queue_url.endswith("/orders")


def test_a_message_of_a_group_that_is_given_back_comes_again_before_the_next() -> None:
    app, ran = App(queue_url=f"{EU}.fifo"), []

    @app.on_data({})
    def handle(data: dict[str, Any], message: Message) -> None:
        ran.append(data["number"])
        if data["number"] == 1 and message.receive_count < 3:
            raise RetryLater(after=0 if message.receive_count == 1 else 60)

    with TestClient(app) as client:
        client.publish_batch([{"number": 1}, {"number": 2}, {"number": 3}], group_id="g")
        assert ran == [1, 1]

        client.advance(60)

    assert ran == [1, 1, 1, 2, 3]


def test_a_group_goes_on_in_order_after_a_handler_that_outlived_its_lease() -> None:
    app, ran = App(queue_url=f"{EU}.fifo", visibility_timeout=10, max_processing_time=20), []

    @app.on_data({})
    async def handle(data: dict[str, Any], message: Message) -> None:
        ran.append((data["number"], message.receive_count))
        if data["number"] == 1:
            await asyncio.sleep(30)

    with TestClient(app) as client:
        client.publish_batch([{"number": 1}, {"number": 2}], group_id="g")

        assert len(client.deleted) == 2

    assert ran == [(1, 1), (2, 2)]


def test_a_queue_may_have_any_name() -> None:
    with TestClient(make_app(queue_url=EU.replace("orders", "test-dead"))) as client:
        assert client.dead_letter_queue_url != client.queue_url


def test_a_handler_that_stops_the_app_does_not_stop_the_next_run() -> None:
    queues = Queues()
    app = queues.app()
    handled: list[str] = []

    @app.on_text()
    def stop(text: str) -> None:
        handled.append(text)
        app.stop()

    with TestClient(app) as client:
        client.publish("in a test")
    app.publish("for real")
    app.run()

    assert handled == ["in a test", "for real"]


def test_after_it_the_app_is_as_it_was() -> None:
    app = make_app(queue_url=EU)
    with pytest.raises(RuntimeError), TestClient(app):
        raise RuntimeError

    assert app.queue_url == EU


class Database:
    """Something that is provided, and closed."""

    is_closed = False


def test_what_was_provided_is_closed() -> None:
    app = App()
    database = Database()

    @contextmanager
    def connect() -> Iterator[Database]:
        yield database
        database.is_closed = True

    app.provide(Database, connect)

    @app.on_text()
    def handle(text: str, database: Database) -> None:
        assert not database.is_closed

    with TestClient(app) as client:
        client.publish("a")

        assert client.handled[0].status is ProcessStatus.DONE
    assert database.is_closed


def test_what_the_consumer_says_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), TestClient(make_app()) as client:
        client.publish({"kind": "refund", "amount": 7})

    assert f"deleted ({REFUND}: DONE)" in caplog.text


# Limits of handlers.


@pytest.mark.parametrize("step", [60.0, 7.5, 0.5])
def test_a_rate_is_exact_on_the_clock(step: float) -> None:
    app, began = App(), list[float]()

    @app.on_data(rate="100/m")
    def charge(order: dict[str, Any]) -> None:
        began.append(client.now)

    with TestClient(app) as client:
        start = client.now
        client.publish_batch([{"id": number} for number in range(250)])
        counts = [len(began)]
        for _ in range(3):
            for _ in range(int(60 / step)):
                client.advance(step)
            counts.append(len(began))

        assert counts == [100, 200, 250, 250]
        assert [round(each - start, 6) for each in began] == [0.0] * 100 + [60.0] * 100 + [120.0] * 50
        # Nobody gave it back, and its visibility timeout never ended.
        assert {each.receive_count for each in client.deleted} == {1}
        assert len(client.deleted) == 250


def test_the_backoff_of_a_handler_has_no_random_part_either() -> None:
    app, tries = App(retry_on=ConnectionError), list[float]()

    @app.on_text(backoff=exponential_backoff(first=10))
    def charge(text: str) -> None:
        tries.append(client.now)
        raise ConnectionError

    with TestClient(app) as client:
        client.publish("ping")
        client.advance(70)

        assert [round(each - tries[0], 6) for each in tries] == [0.0, 10.0, 30.0, 70.0]


def test_what_waits_for_its_turn_is_explained() -> None:
    app = App()
    app.on_text(rate="1/m", handler_name="charge")(lambda text: None)

    with TestClient(app) as client:
        client.publish_batch(["first", "second"])
        waits = client.explain()
        client.advance(60)
        done = client.explain()

    assert waits.endswith("\nwaits for its turn at charge")
    assert "waits" not in done
    assert done.count("deleted (charge: DONE)") == 2
