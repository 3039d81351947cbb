"""The header ``X-Amzn-Trace-Id``, as AWS was recorded to pass it on: to SQS, and by way of SNS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from megaflow.local import Account
from megaflow.local.server import Server

HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
OTHER = HEADER.replace("Sampled=1", "Sampled=0")


@pytest.fixture
def account() -> Iterator[Account]:
    account = Account()
    with Server(account):
        yield account


class Cloud:
    """boto3's clients, whose calls have a trace header, and a queue and a topic that it subscribes to."""

    def __init__(self, account: Account, header: str = HEADER, *, raw: bool = False) -> None:
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": account.region}
        self.sqs, self.sns = (boto3.client(name, endpoint_url=account.url, **keys) for name in ("sqs", "sns"))
        headers = {"X-Amzn-Trace-Id": header}
        for client in (self.sqs, self.sns):
            client.meta.events.register("before-call", lambda params, **_: params["headers"].update(headers))
        self.url = self.sqs.create_queue(QueueName="q")["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]
        self.topic = self.sns.create_topic(Name="t")["TopicArn"]
        policy = {"RawMessageDelivery": "true"} if raw else {}
        self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=attributes["QueueArn"], Attributes=policy)

    def receive(self) -> list[Any]:
        """Return the trace headers of what there is."""
        answer = self.sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["AWSTraceHeader"]
        )
        return [each.get("Attributes", {}).get("AWSTraceHeader") for each in answer.get("Messages", ())]


def given(header: str) -> dict[str, Any]:
    return {"MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": header}}}


def test_what_is_sent_with_the_header_has_it_as_a_system_attribute(account: Account) -> None:
    cloud = Cloud(account)

    answer = cloud.sqs.send_message(QueueUrl=cloud.url, MessageBody="one")
    cloud.sqs.send_message_batch(QueueUrl=cloud.url, Entries=[{"Id": str(n), "MessageBody": "b"} for n in range(2)])

    assert "MD5OfMessageSystemAttributes" not in answer
    assert cloud.receive() == [HEADER] * 3


def test_the_attribute_that_a_message_brings_goes_before_the_header(account: Account) -> None:
    cloud = Cloud(account)

    answer = cloud.sqs.send_message(QueueUrl=cloud.url, MessageBody="one", **given(OTHER))

    assert "MD5OfMessageSystemAttributes" in answer
    assert cloud.receive() == [OTHER]


@pytest.mark.parametrize("raw", [False, True])
def test_the_header_goes_through_a_topic(raw: bool, account: Account) -> None:
    cloud = Cloud(account, raw=raw)

    cloud.sns.publish(TopicArn=cloud.topic, Message="one")
    entries = [{"Id": str(n), "Message": "b"} for n in range(2)]
    cloud.sns.publish_batch(TopicArn=cloud.topic, PublishBatchRequestEntries=entries)

    assert cloud.receive() == [HEADER] * 3


@pytest.mark.parametrize(
    "header",
    [
        "Self=1-67891234-12456789abcdef012345678;Root=1-67891233-abcdef012345678912345678;Sampled=1",
        "Root=1-67891233-abcdef012345678912345678",
        "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad;Sampled=1;Lineage=a87bd80c:1|68fd508a:5",
    ],
)
def test_all_forms_of_the_header_that_aws_shows_go_on(header: str, account: Account) -> None:
    cloud = Cloud(account, header)

    cloud.sqs.send_message(QueueUrl=cloud.url, MessageBody="one")

    assert cloud.receive() == [header]


@pytest.mark.parametrize("header", ["nonsense", "Root=1-2-3;Parent=4", "Root=", "x" * 2_000])
def test_a_malformed_header_says_nothing(header: str, account: Account) -> None:
    cloud = Cloud(account, header)

    cloud.sqs.send_message(QueueUrl=cloud.url, MessageBody="one")

    assert cloud.receive() == [None]


def test_the_header_of_other_calls_is_of_no_matter(account: Account) -> None:
    cloud = Cloud(account)

    cloud.sqs.tag_queue(QueueUrl=cloud.url, Tags={"a": "b"})

    assert cloud.receive() == []
