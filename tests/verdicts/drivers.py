"""All that take messages through an app's handlers: both ways of the consumer, Lambda, and the test client."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, Self

from megaflow import App
from megaflow.local import Account, SqsClient
from megaflow.testing import TestClient
from megaflow.testing.clock import Clock
from tests.consuming import running
from tests.waiting import PATIENCE


class Driver(Protocol):
    """An app and the queues around it, within a ``with``."""

    sqs: SqsClient
    queue_url: str
    dead_letter_queue_url: str

    def __init__(self, app: App, *, fifo: bool = False) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def run(self) -> None:
        """Let the app handle everything that can be handled now."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass for the queue, and the app handle everything that can be handled then."""
        ...


class _OwnQueues:
    """An app at queues of its own, with a clock that tests move."""

    def __init__(self, app: App, *, fifo: bool = False) -> None:
        self.app = app
        self.clock = Clock(time.time())
        self.account = Account(clock=self.clock)
        self.sqs = SqsClient(self.account)
        suffix, attributes = (".fifo", {"FifoQueue": "true", "ContentBasedDeduplication": "true"}) if fifo else ("", {})
        self.dead_letter_queue_url: str = self._create("dead" + suffix, attributes)
        policy = {"deadLetterTargetArn": self._arn(self.dead_letter_queue_url), "maxReceiveCount": "100"}
        self.queue_url: str = self._create("q" + suffix, attributes | {"RedrivePolicy": json.dumps(policy)})

    def __enter__(self) -> Self:
        self._connected = self.app.connected(self.queue_url, client=self.sqs)
        self._connected.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._connected.__exit__(None, None, None)

    def run(self) -> None:
        raise NotImplementedError

    def advance(self, seconds: float) -> None:
        self.clock.now += seconds
        self.account.wake()
        self.run()

    def _create(self, name: str, attributes: Mapping[str, str]) -> str:
        return str(self.sqs.create_queue(QueueName=name, Attributes=dict(attributes))["QueueUrl"])

    def _arn(self, url: str) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])


class ConsumerDriver(_OwnQueues):
    """`App.run`, with its threads."""

    def run(self) -> None:
        with running(self.app):
            self._wait_until_idle()
        # Whoever stops settles what is handled; the poll that was under way must not take what comes later.
        self._end_polls()

    def _wait_until_idle(self) -> None:
        with self.account.changed:
            assert self.account.changed.wait_for(self._is_idle, PATIENCE)

    def _end_polls(self) -> None:
        with self.account.turn():
            for poll in list(self.account.polls._polls.values()):
                self.account.polls.end(poll)

    def _is_idle(self) -> bool:
        waits = self.queue_url.rpartition("/")[2] in self.account.polls
        return waits and self.app.health().in_hand == 0


class AsyncioDriver(ConsumerDriver):
    """`App.running`, with its async handlers in the event loop of this thread."""

    def run(self) -> None:
        asyncio.run(self._consume())
        self._end_polls()

    async def _consume(self) -> None:
        async with self.app.running():
            await asyncio.to_thread(self._wait_until_idle)


class LambdaDriver(_OwnQueues):
    """Lambda with an SQS queue as its event source: what it does not name as failed is deleted."""

    def __enter__(self) -> Self:
        super().__enter__()
        self.handler = self.app.lambda_handler()
        return self

    def run(self) -> None:
        arn = self._arn(self.queue_url)
        while messages := self._receive():
            event = json.loads(json.dumps({"Records": [write_record(each, arn) for each in messages]}))
            failed = {each["itemIdentifier"] for each in self.handler(event, None)["batchItemFailures"]}
            for each in messages:
                if each["MessageId"] not in failed:
                    self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=each["ReceiptHandle"])

    def _receive(self) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(
            QueueUrl=self.queue_url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=180,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))


class TestClientDriver(TestClient):
    """The test client as it is."""

    def __init__(self, app: App, *, fifo: bool = False) -> None:
        super().__init__(app, fifo=fifo)


DRIVERS: dict[str, type[Driver]] = {
    "consumer": ConsumerDriver,
    "asyncio": AsyncioDriver,
    "lambda": LambdaDriver,
    "test client": TestClientDriver,
}


def write_record(message: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """Return a received message as Lambda hands it to a function.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    """
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {
            name: _write_attribute(each) for name, each in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": arn.split(":")[3],
    }


def _write_attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    written: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": attribute["DataType"]}
    if "BinaryValue" in attribute:
        return written | {"binaryValue": base64.b64encode(attribute["BinaryValue"]).decode()}
    return written | {"stringValue": attribute["StringValue"]}


@contextmanager
def driven(name: str, app: App, *, fifo: bool = False) -> Iterator[Driver]:
    """Give the driver of that name, with *app*."""
    with DRIVERS[name](app, fifo=fifo) as driver:
        yield driver


def count(driver: Driver, url: str = "") -> tuple[int, int]:
    """Return how many messages of a queue can be seen, and how many cannot."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = driver.sqs.get_queue_attributes(QueueUrl=url or driver.queue_url, AttributeNames=names)
    visible, hidden = (int(answer["Attributes"][name]) for name in names)
    return visible, hidden


def dead_letters(driver: Driver) -> list[dict[str, Any]]:
    """Take what is in the dead-letter queue."""
    answer = driver.sqs.receive_message(
        QueueUrl=driver.dead_letter_queue_url,
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
    )
    return list(answer.get("Messages", []))
