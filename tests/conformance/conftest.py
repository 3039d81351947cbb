"""The worlds the suite runs in: the embedded queue; boto3 over HTTP against its server, moto's, AWS; and the wire.

`GIVEN` names one more: any server, by its URL.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from megaflow.local import Account, SnsClient, SqsClient
from megaflow.local.server import Server
from megaflow.wire.client import WireClient
from megaflow.wire.fallback import why_aside
from tests.unmocked import unmocked

ACCOUNT_ID = "123456789012"
REGION = "us-east-1"

GIVEN = "MEGAFLOW_CONFORMANCE_URL"
"""Environment variable: the suite runs against the server at this URL, and nothing else."""

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
    account_id: str = ACCOUNT_ID
    region: str = REGION
    moment: int = 1
    """Seconds that do not pass between two calls by themselves, however long these take on a busy machine."""

    patience: int = 0
    """Seconds a receive waits by itself: AWS may not look at all of its servers at once."""

    sns_url: str = f"https://sns.{REGION}.amazonaws.com"
    """Where the URLs in envelopes begin."""

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
        return f"arn:aws:sqs:{self.region}:{self.account_id}:{queue_url.rpartition('/')[2]}"

    def send(self, url: str, body: str = "hello", **parameters: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.sqs.send_message(QueueUrl=url, MessageBody=body, **parameters)
        return answer

    def send_in_order(self, url: str, body: str, group: str = "g", **parameters: Any) -> dict[str, Any]:
        return self.send(url, body, MessageGroupId=group, **{"MessageDeduplicationId": f"id-of-{body}", **parameters})

    def receive(self, url: str, count: int = 10, **parameters: Any) -> list[dict[str, Any]]:
        wait = {"WaitTimeSeconds": self.patience} if self.patience else {}
        answer = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count, **{**wait, **parameters})
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
        self.let_in(topic_arn, queue_url)
        subscribed = self.sns.subscribe(
            TopicArn=topic_arn,
            Protocol="sqs",
            Endpoint=self.arn(queue_url),
            Attributes=attributes,
            ReturnSubscriptionArn=True,
        )
        arn: str = subscribed["SubscriptionArn"]
        return arn

    def let_in(self, topic_arn: str, queue_url: str) -> None:
        """Let the queue take what comes from the topic."""
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.arn(queue_url),
            "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": policy})


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "moto_differs(reason, page): moto is known to differ from AWS, as page says")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Write no long traceback, with all code around it, of what is expected to fail: nobody is shown it."""
    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("xfail"):
            patch.setattr(item.config.option, "tbstyle", "native")
        return (yield)


@contextlib.contextmanager
def clients(url: str) -> Iterator[tuple[Any, Any]]:
    """Give boto3's clients for SQS and SNS at *url*, which try each call once."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    config = Config(retries={"total_max_attempts": 1}, proxies={})
    sqs, sns = (unmocked(session.client(name, endpoint_url=url, config=config)) for name in ("sqs", "sns"))
    yield sqs, sns
    sqs.close()
    sns.close()


@pytest.fixture(scope="session")
def moto_world() -> Iterator[World]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with clients(f"http://{host}:{port}") as (sqs, sns):
        yield World(sqs, sns, advance=time.sleep, moment=3)
    server.stop()


@dataclass
class Moved:
    """An account of ours on a clock that moves when told to."""

    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.account = Account(clock=self.clock, region=REGION, account_id=ACCOUNT_ID)

    def advance(self, seconds: float) -> None:
        self.clock.now += seconds
        self.account.wake()


@pytest.fixture
def local_world() -> World:
    moved = Moved()
    return World(SqsClient(moved.account), SnsClient(moved.account), moved.advance)


@pytest.fixture(scope="session")
def server_world() -> Iterator[World]:
    moved = Moved()
    with Server(moved.account) as server, clients(server.url) as (sqs, sns):
        yield World(sqs, sns, moved.advance, sns_url=server.url)


@pytest.fixture(scope="session")
def wire_world(server_world: World) -> Iterator[World]:
    assert why_aside(server_world.sqs) == ""
    sqs = WireClient(server_world.sqs)
    yield replace(server_world, sqs=sqs)
    sqs.close()


@pytest.fixture(scope="session")
def aws_world() -> Iterator[World]:
    """The account that boto3 finds by itself; what is made there is deleted at the end."""
    session = boto3.Session()
    account_id = session.client("sts").get_caller_identity()["Account"]
    sqs, sns = session.client("sqs"), session.client("sns")
    made: list[Callable[[], object]] = []
    on_call = {
        "sqs.CreateQueue": lambda parsed: partial(sqs.delete_queue, QueueUrl=parsed["QueueUrl"]),
        "sns.CreateTopic": lambda parsed: partial(sns.delete_topic, TopicArn=parsed["TopicArn"]),
    }

    def note(model: Any, parsed: dict[str, Any], **_: Any) -> None:
        if "Error" not in parsed:
            made.append(on_call[f"{model.service_model.service_name}.{model.name}"](parsed))

    for client, call in ((sqs, "sqs.CreateQueue"), (sns, "sns.CreateTopic")):
        client.meta.events.register(f"after-call.{call}", note)
    prefix = f"megaflow-{uuid.uuid4().hex[:12]}"
    names = (f"{prefix}-{number}" for number in itertools.count())
    sns_url = f"https://sns.{session.region_name}.amazonaws.com"
    yield World(sqs, sns, time.sleep, names, account_id, session.region_name, moment=3, patience=2, sns_url=sns_url)
    for delete in made:
        with contextlib.suppress(ClientError):
            delete()


@pytest.fixture(scope="session")
def given_world() -> Iterator[World]:
    """A server that somebody has started, whose account is asked of it."""
    with clients(os.environ[GIVEN]) as (sqs, sns):
        world = World(sqs, sns, advance=time.sleep, moment=3)
        *_, region, account_id, _ = world.attributes(world.queue())["QueueArn"].split(":")
        yield replace(world, region=region, account_id=account_id)


WORLDS = ["local", "server", "wire", "moto", pytest.param("aws", marks=pytest.mark.aws)]


@pytest.fixture(params=["given"] if GIVEN in os.environ else WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    differs = request.node.get_closest_marker("moto_differs")
    if request.param == "moto" and differs is not None:
        reason, page = differs.args
        request.applymarker(pytest.mark.xfail(reason=f"{reason}. See {page}"))
    made: World = request.getfixturevalue(f"{request.param}_world")
    return made
