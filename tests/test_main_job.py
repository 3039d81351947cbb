"""The main job, end to end: published in every way, matched, handled, settled. Here, and over HTTP with real boto3."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import boto3
import pytest

from megaflow import App, Message, Payload, PayloadBuilder, ProcessStatus, RetryLater, SnsPublisher, SqsPublisher
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.match.functions import any_, gt, not_, prefix
from tests.unmocked import unmocked
from tests.waiting import PATIENCE, wait_until


@dataclass
class World:
    """Somewhere with queues and topics."""

    sqs: Any
    sns: Any

    def create_queue(self, name: str, **attributes: str) -> tuple[str, str]:
        url = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url, self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def subscribe(self, topic: str, queue_arn: str, *, raw: bool) -> str:
        arn: str = self.sns.create_topic(Name=topic)["TopicArn"]
        attributes = {"RawMessageDelivery": "true" if raw else "false"}
        self.sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn, Attributes=attributes)
        return arn

    def count(self, url: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)


@pytest.fixture(params=["embedded", "boto3 and moto, over HTTP"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "embedded":
        account = Account()
        return World(SqsClient(account), SnsClient(account))
    options = {
        "endpoint_url": request.getfixturevalue("moto_url"),
        "region_name": "us-east-1",
        "aws_access_key_id": "testing",
        "aws_secret_access_key": "testing",
    }
    return World(unmocked(boto3.client("sqs", **options)), boto3.client("sns", **options))


EVENT = PayloadBuilder().with_event(domain="cart", name="item.added", item_id="61fcc874", quantity=5).build()
CHANGED = PayloadBuilder().with_event(domain="cart", name="changed").with_object(current={"id": 1}).build()
USER = {"user": {"id": 987650, "email": "johndoe_86@example.com"}}


class Consumer:
    """An app with handlers of every kind, which counts what they get by the way it came."""

    EXPECTED: ClassVar = {"item added": 2, "cart changed": 3, "notify": 2, "answer": 1, "store": 1}
    """How often each handler runs for what `publish_in_every_way` sends one way."""

    def __init__(self, url: str, client: Any) -> None:
        self.app = App(url, client=client, wait_time_seconds=1, unmatched="dead_letter")
        self.handled: Counter[tuple[str, object]] = Counter()
        self.done = threading.Event()
        self._lock = threading.Lock()
        self.app.on_event(domain="cart", name="item.added", attributes={"quantity": gt(0)})(self.item_added)
        self.app.on_event(domain=prefix("ca"), event_attributes=any_())(self.cart_changed)
        self.app.on_data({"user": {"id": gt(0), "email": not_("nobody")}})(self.notify)
        self.app.on_text("ping")(self.answer)
        self.app.on_binary()(self.store)
        self.app.on_data({"order": any_()})(self.charge)

    def note(self, name: str, message: Message) -> None:
        with self._lock:
            self.handled[name, message.attributes["way"]] += 1
            if self.handled.total() == 3 * sum(self.EXPECTED.values()) + 2:
                self.done.set()

    def item_added(self, payload: Payload, message: Message) -> None:
        assert payload.event.item_id == "61fcc874"
        self.note("item added", message)

    async def cart_changed(self, payload: Payload, message: Message) -> None:
        self.note("cart changed", message)

    def notify(self, data: dict[str, Any], message: Message) -> None:
        assert data == USER
        self.note("notify", message)

    def answer(self, text: str, message: Message) -> None:
        self.note("answer", message)

    def store(self, blob: bytes, message: Message) -> None:
        assert blob == b"\0\1"
        self.note("store", message)

    def charge(self, data: dict[str, Any], message: Message) -> ProcessStatus:
        self.note("charge", message)
        if message.receive_count == 1:
            raise RetryLater(after=0)
        return ProcessStatus.FATAL_ERROR


def publish_in_every_way(ways: Mapping[str, SqsPublisher | SnsPublisher]) -> None:
    for way, publisher in ways.items():
        attributes = {"way": way}
        for binary in (False, True):
            publisher.publish(EVENT, binary_encoding=binary, attributes=attributes)
            publisher.publish(USER, binary_encoding=binary, attributes=attributes)
        publisher.publish_batch([CHANGED, "ping", b"\0\1"], attributes=attributes)


def test_published_in_every_way_each_message_reaches_the_right_handlers(world: World) -> None:
    dead_url, dead_arn = world.create_queue("main-dead")
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "9"})
    url, arn = world.create_queue("main", RedrivePolicy=policy)
    queue = SqsPublisher(queue_url=url, client=world.sqs)
    ways: dict[str, SqsPublisher | SnsPublisher] = {
        "queue": queue,
        "raw": SnsPublisher(topic_arn=world.subscribe("main-raw", arn, raw=True), client=world.sns),
        "enveloped": SnsPublisher(topic_arn=world.subscribe("main-enveloped", arn, raw=False), client=world.sns),
    }
    consumer = Consumer(url, world.sqs)

    publish_in_every_way(ways)
    queue.publish({"order": 1}, attributes={"way": "queue"})
    queue.publish_raw_message('{"user": {"id": 1, "email": "nobody"}}')
    queue.publish_raw_message('{"protocol": "mega", "version": 3}')
    running = threading.Thread(target=consumer.app.run, daemon=True)
    running.start()
    assert consumer.done.wait(PATIENCE)
    wait_until(lambda: world.count(dead_url) == 3)
    consumer.app.stop()
    running.join(PATIENCE)

    expected = {(name, way): times for name, times in consumer.EXPECTED.items() for way in ways}
    assert consumer.handled == expected | {("charge", "queue"): 2}
    assert (world.count(url), world.count(dead_url)) == (0, 3)


def test_ten_thousand_messages_from_four_threads_reach_two_consumers_at_least_once() -> None:
    sqs = SqsClient(Account())
    url = sqs.create_queue(QueueName="many")["QueueUrl"]
    total = 10_000
    handled: Counter[str] = Counter()
    lock, done = threading.Lock(), threading.Event()

    def note(name: object) -> None:
        with lock:
            handled[str(name)] += 1
            if len(handled) == total:
                done.set()

    def consumer() -> App:
        app = App(url, client=sqs, wait_time_seconds=1)
        app.on_event(attributes={"n": any_()})(lambda payload: note(payload.event.n))
        app.on_data({"n": any_()})(lambda data: note(data["n"]))
        app.on_text(prefix("n"))(lambda text: note(text[1:]))
        app.on_binary()(lambda blob: note(blob.decode()))
        return app

    kinds: list[Callable[[int], Any]] = [
        lambda n: PayloadBuilder().with_event(name="counted", n=n).build(),
        lambda n: {"n": n},
        lambda n: f"n{n}",
        lambda n: str(n).encode(),
    ]

    def publish_quarter(quarter: int) -> None:
        numbers = range(quarter * total // 4, (quarter + 1) * total // 4)
        SqsPublisher(queue_url=url, client=sqs).publish_batch(kinds[number % 4](number) for number in numbers)

    apps = [consumer(), consumer()]
    threads = [threading.Thread(target=app.run, daemon=True) for app in apps]
    for thread in threads:
        thread.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish_quarter, range(4)))
    assert done.wait(PATIENCE)
    for app, thread in zip(apps, threads, strict=True):
        app.stop()
        thread.join(PATIENCE)

    assert set(handled) == {str(n) for n in range(total)}
    assert all(app.metrics.snapshot()["handled"] > 0 for app in apps)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    assert set(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()) == {"0"}
