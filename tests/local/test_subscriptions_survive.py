"""Subscriptions over HTTP where the server is killed: nothing that was answered is lost."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from megaflow.local import Account, SnsClient
from megaflow.local.endpoints.destinations import Destinations
from megaflow.local.file.store import Store
from megaflow.local.served import Served
from tests.conformance.conftest import clients
from tests.endpoints import Endpoint, endpoint
from tests.local.kept import KeptShop, picture
from tests.local.test_main import started
from tests.waiting import wait_until


@contextmanager
def killed_later(data: Path) -> Iterator[tuple[str, Any, Any]]:
    """Run the server on *data*, with boto3's clients for it, and kill it at the end."""
    with started("--data", str(data), "--region", "us-east-1") as program:
        with clients(program.url) as (sqs, sns):
            yield program.url, sqs, sns
        program.stop(by=signal.SIGKILL)


def advance(url: str, seconds: float) -> None:
    urlopen(Request(f"{url}/_megaflow/clock", json.dumps({"advance": seconds}).encode())).close()


def certificate(sqs: Any, sns: Any, topic: str) -> bytes:
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:000000000000:orders")
    sns.publish(TopicArn=topic, Message="for the queue")
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    with urlopen(json.loads(message["Body"])["SigningCertURL"]) as answer:
        pem: bytes = answer.read()
    return pem


def in_between(made: Endpoint) -> list[str]:
    """Return the ids of what failed before the kill, each time it was posted."""
    sent = [each.fields for each in made.of_kind("Notification")]
    return [fields["MessageId"] for fields in sent if fields["Message"] == "in between"]


def test_a_kill_loses_no_subscription_no_token_and_no_delivery(tmp_path: Path) -> None:
    data = tmp_path / "queue.db"
    with endpoint() as first, endpoint() as second:
        with killed_later(data) as (_, sqs, sns):
            topic = sns.create_topic(Name="news")["TopicArn"]
            for made in (first, second):
                sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=made.url)
            first.confirm()
            (asked,) = second.wait_for(1)
            before = certificate(sqs, sns, topic)
            first.wait_for_kind("Notification", 1)
            first.statuses += [500]
            sns.publish(TopicArn=topic, Message="in between")
            wait_until(lambda: in_between(first))

        with killed_later(data) as (url, sqs, sns):
            confirmed = sns.confirm_subscription(TopicArn=topic, Token=asked.fields["Token"])["SubscriptionArn"]
            advance(url, 20)
            wait_until(lambda: len(in_between(first)) > 1)
            after = certificate(sqs, sns, topic)
            second.wait_for_kind("Notification", 1)

    assert confirmed.startswith(f"{topic}:")
    assert before == after
    assert len(set(in_between(first))) == 1


def test_all_there_is_to_know_of_a_delivery_survives(tmp_path: Path) -> None:
    shop = KeptShop(directory=tmp_path)
    shop.account.served = Served(Destinations(["127.0.0.1"]), None)
    topic = shop.sns.create_topic(Name="news")["TopicArn"]
    shop.sns.subscribe(
        TopicArn=topic, Protocol="http", Endpoint="http://127.0.0.1/", Attributes={"RawMessageDelivery": "true"}
    )
    (subscription,) = shop.account.topics[topic].subscriptions.values()
    shop.sns.confirm_subscription(TopicArn=topic, Token=subscription.token)
    attributes = {
        "text": {"DataType": "String", "StringValue": "grün"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    shop.sns.publish(TopicArn=topic, Message="hello", MessageAttributes=attributes, MessageGroupId="g")
    with shop.account.turn():
        asked, _ = shop.account.posts.take(shop.clock(), lambda post: 0)
        shop.account.posts.settle(asked, shop.clock() + 20)
    before = picture(shop.account)

    shop.kill()

    assert picture(shop.account) == before
    (again, other) = shop.account.posts
    assert again.due_at == shop.clock() + 20
    assert (other.raw, other.group_id, other.content.attributes["bytes"].value) == (True, "g", b"\x00\xff")
    assert shop.account.posts.next_number() == 3
    shop.close()


def test_a_file_from_before_there_were_deliveries_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with closing(Store(path)) as store:
        store.load(Account())
        store._database.execute("DROP TABLE post")

    with closing(Store(path)) as store:
        account = Account()
        store.load(account)
        account.served = Served(Destinations(["127.0.0.1"]), None)
        sns = SnsClient(account)
        topic = sns.create_topic(Name="news")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint="http://127.0.0.1/")

    with closing(Store(path)) as store:
        again = Account()
        store.load(again)

    assert len(again.posts) == 1
