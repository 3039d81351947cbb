"""Accounts beside each other: by the region and the key id that calls are signed with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from megaflow.local import Account
from megaflow.local.__main__ import kept, siblings_of
from megaflow.local.server import Server
from tests.local.wire import Wire, in_query
from tests.unmocked import unmocked

MINE, OTHER = "000000000000", "210987654321"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(keys={"OTHERS": OTHER}) as server:
        yield server


@contextmanager
def client(server: Server, service: str, region: str = "us-east-1", key: str = "any") -> Iterator[Any]:
    made = boto3.client(
        service,
        endpoint_url=server.url,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )
    yield unmocked(made)
    made.close()


def arn(sqs: Any, url: str) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def test_each_region_has_queues_of_its_own(server: Server) -> None:
    with client(server, "sqs") as here, client(server, "sqs", "eu-west-1") as there:
        url = here.create_queue(QueueName="orders")["QueueUrl"]
        other = there.create_queue(QueueName="orders", Attributes={"DelaySeconds": "1"})["QueueUrl"]
        here.send_message(QueueUrl=url, MessageBody="a")

        assert arn(here, url) == f"arn:aws:sqs:us-east-1:{MINE}:orders"
        assert arn(there, other) == f"arn:aws:sqs:eu-west-1:{MINE}:orders"
        assert "Messages" not in there.receive_message(QueueUrl=other)
        here.delete_queue(QueueUrl=url)
        assert there.list_queues()["QueueUrls"] == [other]


def test_each_account_has_queues_of_its_own(server: Server) -> None:
    with client(server, "sqs") as mine, client(server, "sqs", key="OTHERS") as theirs:
        mine.create_queue(QueueName="orders")
        url = theirs.create_queue(QueueName="orders")["QueueUrl"]

        assert url == f"{server.url}/{OTHER}/orders"
        assert arn(theirs, url) == f"arn:aws:sqs:us-east-1:{OTHER}:orders"
        assert len(mine.list_queues()["QueueUrls"]) == 1


def test_a_key_of_twelve_digits_is_its_account(server: Server) -> None:
    with client(server, "sqs", key="123456789012") as sqs:
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]

        assert arn(sqs, url) == "arn:aws:sqs:us-east-1:123456789012:orders"


def test_the_url_of_a_queue_leads_to_its_account(server: Server) -> None:
    with client(server, "sqs") as mine, client(server, "sqs", key="OTHERS") as theirs:
        url = theirs.create_queue(QueueName="orders")["QueueUrl"]

        mine.send_message(QueueUrl=url, MessageBody="a")

        assert [each["Body"] for each in theirs.receive_message(QueueUrl=url)["Messages"]] == ["a"]


def test_a_queue_of_an_account_that_nobody_has_called_is_not_there(server: Server) -> None:
    with client(server, "sqs") as sqs, pytest.raises(ClientError, match="does not exist"):
        sqs.send_message(QueueUrl=f"{server.url}/999999999999/orders", MessageBody="a")


def test_a_topic_delivers_to_a_queue_in_another_region(server: Server) -> None:
    with client(server, "sns") as sns, client(server, "sqs", "eu-west-1") as sqs:
        topic = sns.create_topic(Name="news")["TopicArn"]
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn(sqs, url), Attributes={"RawMessageDelivery": "true"})

        sns.publish(TopicArn=topic, Message="hello")

        assert [each["Body"] for each in sqs.receive_message(QueueUrl=url)["Messages"]] == ["hello"]


def test_who_waits_in_another_region_is_served(server: Server) -> None:
    with client(server, "sqs", "eu-west-1") as sqs:
        url = sqs.create_queue(QueueName="orders", Attributes={"DelaySeconds": "1"})["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="late")

        received = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]

        assert [each["Body"] for each in received] == ["late"]


def test_a_topic_of_another_account_is_published_to_by_its_arn(server: Server) -> None:
    with client(server, "sns") as mine, client(server, "sns", key="OTHERS") as theirs:
        topic = theirs.create_topic(Name="news")["TopicArn"]

        assert topic == f"arn:aws:sns:us-east-1:{OTHER}:news"
        assert mine.publish(TopicArn=topic, Message="x")["MessageId"]
        assert mine.list_topics()["Topics"] == []


def test_a_call_that_is_not_signed_goes_to_the_default(server: Server) -> None:
    with Wire(server.url) as wire:
        wire.send(in_query("CreateTopic", Name="news"))
        assert wire.answer().status == 200

    assert list(server.account.topics) == [f"arn:aws:sns:us-east-1:{MINE}:news"]


@pytest.mark.parametrize("region", ["", "nowhere", "a/b"])
def test_a_region_that_is_none_is_the_default(server: Server, region: str) -> None:
    form = f"Action=CreateTopic&Name=news&X-Amz-Credential=any%2F20260101%2F{region}%2Fsns%2Faws4_request"

    with Wire(server.url) as wire:
        wire.send(f"GET /?{form} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert wire.answer().status == 200

    assert len(server.account.topics) == 1


def test_one_account_may_be_for_all() -> None:
    with Server(region_any=True) as server, client(server, "sqs", "eu-west-1", "OTHERS") as sqs:
        sqs.create_queue(QueueName="orders")

        assert list(server.account.queues) == ["orders"]


def test_an_account_that_is_given_is_for_all() -> None:
    account = Account(region="eu-central-1")
    with Server(account) as server, client(server, "sqs", "eu-west-1") as sqs:
        sqs.create_queue(QueueName="orders")

    assert list(account.queues) == ["orders"]


def test_each_account_is_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    data = tmp_path / "queues.db"
    with (
        kept(Account(), data) as keep,
        Server(region_any=False, opened=keep) as server,
        client(server, "sqs", "eu-west-1") as sqs,
    ):
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="a")

    assert list(siblings_of(data)) == [("eu-west-1", MINE)]
    with kept(Account(), data) as keep, Server(region_any=False, opened=keep) as server:
        for region, number in siblings_of(data):
            server.accounts.at(region, number)
        with client(server, "sqs", "eu-west-1") as sqs:
            assert [each["Body"] for each in sqs.receive_message(QueueUrl="orders")["Messages"]] == ["a"]
