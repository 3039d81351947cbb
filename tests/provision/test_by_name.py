"""Queues and topics by name: found at the first use, and not before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import megaflow
from megaflow import App, ConfigurationError, MemoryStore, SnsPublisher, SqsPublisher
from megaflow.app import parts_of
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.provision import Queue, Topic
from megaflow.provision.needs import join_needs, needs_of
from tests.consuming import run_until, running
from tests.provision.conftest import Failing, Place, refusal
from tests.waiting import PATIENCE, wait_until

EU = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "eu-west-1"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "MEGAFLOW_QUEUE_URL", "MEGAFLOW_TOPIC_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")


@pytest.fixture
def here(embedded: Place) -> dict[str, Any]:
    """Options of an app for the embedded account."""
    return {**EU, "endpoint_url": embedded.sqs.meta.endpoint_url}


class Asking:
    """An embedded client that knows which thread has asked for a URL."""

    def __init__(self, sqs: SqsClient) -> None:
        self._sqs = sqs
        self.threads: list[threading.Thread] = []

    def get_queue_url(self, **parameters: Any) -> Any:
        self.threads.append(threading.current_thread())
        return self._sqs.get_queue_url(**parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqs, name)


@pytest.fixture
def asking() -> Asking:
    sqs = SqsClient(Account())
    sqs.create_queue(QueueName="orders")
    return Asking(sqs)


def test_what_is_provisioned_is_consumed_and_published_to(embedded: Place, here: dict[str, Any]) -> None:
    topic = Topic("shop", fifo=True, json_only=True)
    orders = App(queue=Queue("orders", fifo=True, subscribe=[topic]), topic=topic, **here)
    mails = App(queue=Queue("mails", fifo=True, subscribe=[topic]), **here)
    got: list[tuple[str, int]] = []

    @orders.on_data({"type": "order"})
    def order(data: dict[str, Any]) -> None:
        got.append(("order", data["number"]))

    @mails.on_data({"type": "mail"})
    def mail(data: dict[str, Any]) -> None:
        got.append(("mail", data["number"]))

    embedded.apply(join_needs({"orders": needs_of(orders), "mails": needs_of(mails)}))
    with running(orders), running(mails):
        for number in range(3):
            orders.publish({"type": "order", "number": number}, group_id="a")
            orders.publish({"type": "mail", "number": number}, group_id="a")
        wait_until(lambda: len(got) == 6)

    assert [number for kind, number in got if kind == "order"] == [0, 1, 2]
    assert [number for kind, number in got if kind == "mail"] == [0, 1, 2]
    assert mails.metrics.snapshot()["received"] == 3  # the filter has kept the rest away
    assert not join_needs({"orders": needs_of(orders)}).subscriptions[0].reason


def test_the_name_is_looked_up_once_and_not_before_it_is_needed(asking: Asking) -> None:
    app = App(queue="orders", client=asking)
    done = threading.Event()

    @app.on_text()
    def hear(text: str) -> None:
        done.set()

    assert needs_of(app).consumed[0].name == "orders"
    assert app.process("x").deletes
    assert asking.threads == []
    app.publish("ping")
    run_until(app, done)
    app.publish("ping")
    assert len(asking.threads) == 1
    assert app.queue_url == asking.get_queue_url(QueueName="orders")["QueueUrl"]


def test_an_argument_goes_before_the_environment(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEGAFLOW_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/123456789012/other")
    monkeypatch.setenv("MEGAFLOW_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:other")
    sns = SnsClient(asking._sqs.account)
    arn = sns.create_topic(Name="shop")["TopicArn"]

    app = App(queue="orders", topic="shop", client=asking, sns_client=sns)

    assert str(app.queue_url).endswith("/orders")
    assert app.topic_arn == arn
    assert parts_of(app).destination.queue_address == "orders"


def test_connected_goes_before_the_name(asking: Asking) -> None:
    other = asking.create_queue(QueueName="other")["QueueUrl"]
    app = App(queue="orders", client=asking)

    with app.connected(other):
        app.publish("ping")
        assert app.queue_url == other
        assert parts_of(app).destination.queue_address == other

    assert len(asking.receive_message(QueueUrl=other)["Messages"]) == 1
    assert parts_of(app).destination.queue_address == "orders"


def test_a_queue_that_is_missing_is_said_with_its_place_and_what_to_do(here: dict[str, Any]) -> None:
    app = App(queue="orders", **here)
    app.on_text()(lambda text: None)

    uses: list[Callable[[], object]] = [app.run, lambda: app.publish("ping"), lambda: app.queue_url]
    for use in uses:
        with pytest.raises(ConfigurationError) as missing:
            use()

        said = str(missing.value)
        assert said.startswith(
            f"queue='orders': there is no such queue at {here['endpoint_url']}, in eu-west-1; make it"
        )
        assert "megaflow provision --apply" in said


def test_it_is_found_once_it_is_there(embedded: Place, here: dict[str, Any]) -> None:
    app = App(queue="orders", topic="shop", **here)
    with pytest.raises(ConfigurationError, match="topic='shop': there is no such topic at http"):
        app.publish("ping")

    embedded.apply(needs_of(app))

    assert app.publish("ping")
    assert app.topic_arn == embedded.topic("shop")


def test_without_a_region_it_is_said_what_is_missing() -> None:
    app = App(queue="orders", topic="shop", aws_access_key_id="any", aws_secret_access_key="any")

    with pytest.raises(ConfigurationError, match="no AWS region for sqs: give region_name="):
        print(app.queue_url)
    with pytest.raises(ConfigurationError, match="no AWS region for sns: give region_name="):
        app.publish("ping")


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (
            App(queue="orders", client=Failing(None, get_queue_url=[refusal("AccessDenied", "GetQueueUrl")])),
            "queue='orders': its URL may not be looked up: let the role do sqs:GetQueueUrl, or give",
        ),
        (
            App(topic="shop", sns_client=Failing(None, list_topics=[refusal("AuthorizationError", "ListTopics")])),
            "topic='shop': its ARN may not be looked up: let the role do sns:ListTopics, or give",
        ),
    ],
)
def test_who_may_not_ask_is_told_what_for(app: App, said: str) -> None:
    with pytest.raises(ConfigurationError) as denied:
        app.publish("ping")

    assert said in str(denied.value)


def test_other_errors_are_boto3s_own() -> None:
    throttled = [refusal("RequestThrottled", "GetQueueUrl"), refusal("Throttled", "ListTopics")]
    queue, topic = Failing(None, get_queue_url=throttled[:1]), Failing(None, list_topics=throttled[1:])

    with pytest.raises(type(throttled[0]), match="RequestThrottled"):
        App(queue="orders", client=queue).publish("ping")
    with pytest.raises(type(throttled[0]), match="Throttled"):
        App(topic="shop", sns_client=topic).publish("ping")


def test_an_event_loop_is_not_blocked_by_the_lookup(asking: Asking) -> None:
    asking.create_queue(QueueName="pairs.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})

    async def publish() -> None:
        await App(queue="orders", client=asking).apublish("ping")
        await App(queue="pairs.fifo", client=asking).apublish("ping", group_id="a")
        await App(queue="orders", client=asking).apublish_batch(["ping"])
        async for sent in App(queue="orders", client=asking).apublish_stream(["ping"]):
            assert sent.message_id

    asyncio.run(publish())

    assert len(asking.threads) == 4
    assert threading.main_thread() not in asking.threads


def test_an_app_beside_an_event_loop_looks_it_up_in_a_thread(asking: Asking) -> None:
    app = App(queue="orders", client=asking)
    app.on_text()(lambda text: None)

    async def serve() -> None:
        async with app.running():
            pass

    asyncio.run(asyncio.wait_for(serve(), PATIENCE))

    assert threading.main_thread() not in asking.threads


def test_what_fifo_asks_for_is_known_by_the_name() -> None:
    nobody = Failing(None)

    with pytest.raises(megaflow.EncodeError, match="group_id: is missing"):
        App(queue="orders.fifo", client=nobody).publish("ping")
    with pytest.raises(megaflow.EncodeError, match="group_id: is missing"):
        App(topic=Topic("shop", fifo=True), sns_client=nobody).publish("ping")


def test_keys_of_what_came_from_no_queue_need_no_lookup() -> None:
    app = App(queue="orders", client=Failing(None), idempotency=MemoryStore())
    got: list[str] = []

    @app.on_text(idempotency_key=lambda text: text)
    def hear(text: str) -> None:
        got.append(text)

    app.process("once")
    app.process("once")

    assert got == ["once"]


def test_publishers_take_names_too(embedded: Place, here: dict[str, Any]) -> None:
    url = embedded.sqs.create_queue(QueueName="orders")["QueueUrl"]
    arn = embedded.sns.create_topic(Name="shop")["TopicArn"]

    assert SqsPublisher(queue="orders", **here).publish("ping")
    assert SnsPublisher(topic="shop", **here).publish("ping")
    assert len(embedded.sqs.receive_message(QueueUrl=url)["Messages"]) == 1
    with pytest.raises(ConfigurationError, match="say the same thing twice"):
        SqsPublisher(queue="orders", queue_url=url)
    with pytest.raises(ConfigurationError, match="say the same thing twice"):
        SnsPublisher(topic="shop", topic_arn=arn)


def test_two_apps_of_one_queue_are_refused_by_any_name(embedded: Place, here: dict[str, Any]) -> None:
    url = embedded.sqs.create_queue(QueueName="orders")["QueueUrl"]
    named, addressed = App(queue="orders", **here), App(url, **here)
    for app in (named, addressed):
        app.on_text()(lambda text: None)

    with pytest.raises(ConfigurationError, match="consume one queue"):
        megaflow.run(named, addressed)


def test_lambda_needs_no_lookup() -> None:
    app = App(queue="orders", client=Failing(None))
    got: list[str] = []
    app.on_text()(got.append)
    record = {
        "messageId": "1",
        "receiptHandle": "h",
        "body": "ping",
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "0"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:orders",
    }

    assert app.lambda_handler()({"Records": [record]}) == {"batchItemFailures": []}
    assert got == ["ping"]
