"""The main job, shown: events published over SQS and SNS reach the right functions, and every message is accounted for.

``make demo`` runs it. It makes a queue with its dead-letter queue and two topics on the embedded queue, publishes the
sqs-mega README's own events and some bad bodies, and says of each message who handled it and what became of it.
"""

import base64
import json
import logging
import struct
import sys
import threading
import time
from collections import Counter
from typing import Any

from megaflow import Message, Payload, PayloadBuilder, RetryLater, SnsPublisher, SqsPublisher, Verdict
from megaflow.aws.sqs.subscribe import DataSubscriber, EventSubscriber, ProcessStatus, SqsListener
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.match.functions import any_, empty, gt, gte, match, not_, one_of, prefix

account = Account()
sqs, sns = SqsClient(account), SnsClient(account)


def create_queue(name: str, **attributes: str) -> tuple[str, str]:
    """Return the URL and the ARN of a new queue."""
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def create_topic(name: str, *, raw: bool) -> str:
    """Return the ARN of a new topic to which the queue is subscribed."""
    topic_arn: str = sns.create_topic(Name=name)["TopicArn"]
    delivery = {"RawMessageDelivery": "true" if raw else "false"}
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn, Attributes=delivery)
    return topic_arn


dead_letter_url, dead_letter_arn = create_queue("demo-dead-letters")
queue_url, queue_arn = create_queue(
    "demo", RedrivePolicy=json.dumps({"deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": "5"})
)
listener = SqsListener(queue_url=queue_url, client=sqs, concurrency=4, max_number_of_messages=10)
app = listener.app


# Handlers in both styles: the README's subscriber classes, and plain functions.


class ShoppingCartItemAdded(EventSubscriber):
    domain = "shopping_cart"
    name = "item.added"
    version = one_of(1, 2)
    attributes = {"item_id": not_(empty()), "quantity": gt(0)}

    def process(self, payload: Payload) -> ProcessStatus:
        return ProcessStatus.DONE


class UserLogin(EventSubscriber):
    name = match(r"user:login:(.*)")
    version = any_()
    subject = match(r"^\d+$")
    attributes = {"success": True, "attempts": gt(2)}
    object_current = {"username": not_(["test", "synthetic"]), "created_at": gte("2020-01-01")}

    def process(self, payload: Payload) -> ProcessStatus:
        return ProcessStatus.DONE


class UserNotification(DataSubscriber):
    pattern = {"type": "user_notification", "notification_type": one_of("email", "sms", "push"), "user": {"id": gt(0)}}

    def process(self, payload: dict[str, Any]) -> ProcessStatus:
        return ProcessStatus.DONE


for subscriber in (ShoppingCartItemAdded, UserLogin, UserNotification):
    listener.register_subscriber(subscriber)


@app.on_event(name="user.created", object_current={"email": not_(empty())})
async def welcome(payload: Payload, message: Message) -> None:
    if message.receive_count == 1:
        raise RetryLater("the mail server is busy", after=0)


@app.on_event(domain="shopping_cart", extra={"channel": prefix("web/")})
def count_web_sales(payload: Payload) -> None:
    assert payload.event.price == "19.99"


@app.on_data({"order": any_()})
def charge(order: dict[str, Any]) -> None:
    raise ValueError("this card has expired")


@app.on_text(one_of("ping", match("hello")))
def answer(text: str) -> None:
    pass


@app.on_binary()
def store(blob: bytes) -> None:
    pass


# What is published: the README's events, and bodies that nobody should send.

item_added = (
    PayloadBuilder()
    .with_event(domain="shopping_cart", name="item.added", subject="987650", publisher="shopping-cart-service")
    .with_event(item_id="61fcc874-624e-40f8-8fd7-0e663c7837e8", quantity=5, price="19.99")
    .with_object(
        type="shopping_cart", id="18a3f92e-1fbf-45eb-8769-d836d0a1be55", version=2, current={"currency": "USD"}
    )
    .with_extra(channel="web/desktop", user_ip_address="177.182.205.103")
    .build()
)
user_created = (
    PayloadBuilder()
    .with_event(name="user.created", subject="987650", email="johndoe_86@example.com")
    .with_object(current={"id": 987650, "username": "john.doe", "email": "johndoe_86@example.com"})
    .build()
)
user_login = {
    "protocol": "mega",
    "version": "1",
    "event": {
        "domain": "user",
        "name": "user:login:web",
        "timestamp": "2020-06-12T17:29:58.000",
        "subject": "987650",
        "attributes": {"success": True, "attempts": 4},
    },
    "object": {"type": "user", "current": {"username": "john-doe", "created_at": "2020-03-28T15:23:01"}},
}
notification = {
    "type": "user_notification",
    "notification_type": "email",
    "user": {"id": 987650, "email": "johndoe_86@example.com"},
}
bson_bomb = base64.b64encode(struct.pack("<i", 40) + b"\x03a\0" * 5 + struct.pack("<i", -20) + b"\0" * 17).decode()

PAYLOADS = {
    "the README's cart event": item_added,
    "the README's new user": user_created,
    "the README's login": user_login,
    "the README's data object": notification,
}
BAD_BODIES = {
    "truncated JSON": '{"type": "user_notif',
    "random bytes in Base64": base64.b64encode(bytes(range(200, 256))).decode(),
    "a BSON bomb": bson_bomb,
    "200 kB of nesting": '{"a":' * 40_000,
    "an unknown MEGA version": json.dumps(user_login | {"version": 7}),
    "a MEGA event without a name": json.dumps(user_login | {"event": {"timestamp": "2020-06-12T17:29:58"}}),
}


def publish_all() -> dict[str, str]:
    """Publish everything, and return what each message is, by its message id at SQS or SNS."""
    queue = SqsPublisher(queue_url=queue_url, client=sqs)
    publishers: dict[str, SqsPublisher | SnsPublisher] = {
        "SQS": queue,
        "SNS, raw": SnsPublisher(topic_arn=create_topic("demo-raw", raw=True), client=sns),
        "SNS, enveloped": SnsPublisher(topic_arn=create_topic("demo-enveloped", raw=False), client=sns),
    }
    sent = {}
    for way, publisher in publishers.items():
        for name, payload in PAYLOADS.items():
            for binary in (False, True):
                attributes = {"what": f"{name} as {'BSON' if binary else 'JSON'} over {way}"}
                message_id = publisher.publish(payload, binary_encoding=binary, attributes=attributes)
                sent[message_id] = attributes["what"]
    others: dict[str, Any] = {"an order": {"order": 1}, "text": "ping", "text for nobody": "pong", "bytes": b"\0\1\2"}
    for name, payload in others.items():
        sent[queue.publish(payload, attributes={"what": name})] = name
    for name, body in BAD_BODIES.items():
        sent[queue.publish_raw_message(body, attributes={"what": name})] = name
    return sent


class Watcher(logging.Handler):
    """Prints each verdict, and keeps the last one on each message."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.fates: dict[str, str] = {}
        self.handled: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        verdict = getattr(record, "verdict", None)
        if isinstance(verdict, Verdict):
            what = str(verdict.message.attributes.get("what", verdict.message.id))
            names = [outcome.handler.name.rsplit(".", 1)[-1] for outcome in verdict.outcomes]
            print(f"  {what:<52} {', '.join(names) or '(nobody)':<42} {verdict.fate.value}")
            self.handled.update(names)
            self.fates[what] = verdict.fate.value


def count_messages(url: str) -> int:
    names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ]
    return sum(map(int, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))


def main() -> int:
    watcher = Watcher()
    log = logging.getLogger("megaflow")
    log.addHandler(watcher)
    log.setLevel(logging.INFO)
    sent = publish_all()
    print(f"{len(sent)} messages are published; {len(app.handlers)} handlers are waiting\n")
    print(f"  {'message':<52} {'handled by':<42} what becomes of it\n  {'-' * 113}")
    consumer = threading.Thread(target=listener.listen)
    consumer.start()
    deadline = time.monotonic() + 30
    while app.metrics.snapshot().get("deleted", 0) < len(sent) and time.monotonic() < deadline:
        time.sleep(0.02)
    listener.stop()
    consumer.join()

    tally = Counter(watcher.fates.values())
    left, dead = count_messages(queue_url), count_messages(dead_letter_url)
    print("\nhandled:", ", ".join(f"{name} {count}" for name, count in sorted(watcher.handled.items())))
    print("became: ", ", ".join(f"{fate} {count}" for fate, count in sorted(tally.items())))
    print(f"left in the queue: {left}; in the dead-letter queue: {dead}")
    accounted = (
        set(watcher.fates) == set(sent.values())
        and set(tally) == {"deleted", "dead-lettered"}
        and left == 0
        and dead == tally["dead-lettered"]
    )
    print("every message is accounted for" if accounted else "MESSAGES ARE MISSING")
    return 0 if accounted else 1


if __name__ == "__main__":
    sys.exit(main())
