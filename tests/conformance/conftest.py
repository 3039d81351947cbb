"""The worlds the suite runs in: the embedded queue, and boto3 over HTTP against moto's server."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from megaflow.local import Account, SnsClient, SqsClient

ACCOUNT_ID = "123456789012"
REGION = "us-east-1"

_numbers = itertools.count()


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """SQS and SNS clients, and a clock that can be moved (or waited for)."""

    sqs: Any
    sns: Any
    advance: Callable[[float], None]
    names: Iterator[str] = field(default_factory=lambda: (f"thing-{number}" for number in _numbers))

    def queue(self, **attributes: str) -> str:
        """Make a standard queue and return its URL."""
        url: str = self.sqs.create_queue(QueueName=next(self.names), Attributes=attributes)["QueueUrl"]
        return url

    def fifo_queue(self, **attributes: str) -> str:
        """Make a FIFO queue and return its URL."""
        created = self.sqs.create_queue(
            QueueName=f"{next(self.names)}.fifo", Attributes={"FifoQueue": "true", **attributes}
        )
        url: str = created["QueueUrl"]
        return url

    def arn(self, queue_url: str) -> str:
        return f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{queue_url.rpartition('/')[2]}"

    def send(self, url: str, body: str = "hello", **parameters: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.sqs.send_message(QueueUrl=url, MessageBody=body, **parameters)
        return answer

    def send_in_order(self, url: str, body: str, group: str = "g", **parameters: Any) -> dict[str, Any]:
        return self.send(url, body, MessageGroupId=group, **{"MessageDeduplicationId": f"id-of-{body}", **parameters})

    def receive(self, url: str, count: int = 10, **parameters: Any) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count, **parameters)
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def bodies(self, url: str, count: int = 10, **parameters: Any) -> list[str]:
        return [message["Body"] for message in self.receive(url, count, **parameters)]

    def delete(self, url: str, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def attributes(self, url: str) -> dict[str, str]:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        attributes: dict[str, str] = answer["Attributes"]
        return attributes

    def topic(self, **attributes: str) -> str:
        suffix = ".fifo" if attributes.get("FifoTopic") == "true" else ""
        created = self.sns.create_topic(Name=f"{next(self.names)}{suffix}", Attributes=attributes)
        arn: str = created["TopicArn"]
        return arn

    def subscribe(self, topic_arn: str, queue_url: str, **attributes: str) -> str:
        subscribed = self.sns.subscribe(
            TopicArn=topic_arn,
            Protocol="sqs",
            Endpoint=self.arn(queue_url),
            Attributes=attributes,
            ReturnSubscriptionArn=True,
        )
        arn: str = subscribed["SubscriptionArn"]
        return arn


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "moto_differs(reason, page): moto is known to differ from AWS, as page says")


@pytest.fixture(scope="session")
def moto_world() -> Iterator[World]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    options: dict[str, Any] = {
        "endpoint_url": f"http://{host}:{port}",
        "config": Config(retries={"total_max_attempts": 1}, proxies={}),
    }
    sqs, sns = session.client("sqs", **options), session.client("sns", **options)
    yield World(sqs, sns, advance=time.sleep)
    sqs.close()
    sns.close()
    server.stop()


@pytest.fixture
def local_world() -> World:
    clock = Clock()
    account = Account(clock=clock, region=REGION, account_id=ACCOUNT_ID)

    def advance(seconds: float) -> None:
        clock.now += seconds
        account.wake()

    return World(SqsClient(account), SnsClient(account), advance)


@pytest.fixture(params=["local", "moto"])
def world(request: pytest.FixtureRequest) -> World:
    differs = request.node.get_closest_marker("moto_differs")
    if request.param == "moto" and differs is not None:
        reason, page = differs.args
        request.applymarker(pytest.mark.xfail(reason=f"{reason}. See {page}"))
    made: World = request.getfixturevalue(f"{request.param}_world")
    return made
