"""Huge numbers, deep JSON and halves of surrogate pairs were an InternalFailure, or spoiled the data file for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from megaflow.local import Account, SnsClient, SqsClient
from megaflow.local.file.store import Store

DEEP = "[" * 100_000


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    made, store = Account(), Store(tmp_path / "queue.db")
    store.load(made)
    yield made
    store.close()


@pytest.mark.parametrize(
    "attributes",
    [
        {"DelaySeconds": "9" * 5_000},
        {"RedrivePolicy": '{"deadLetterTargetArn": "x", "maxReceiveCount": "' + "9" * 5_000 + '"}'},
        {"RedrivePolicy": DEEP},
        {"Policy": DEEP},
        {"RedriveAllowPolicy": '{"redrivePermission": []}'},
    ],
)
def test_an_odd_attribute_of_a_queue_is_refused(account: Account, attributes: dict[str, str]) -> None:
    with pytest.raises(ClientError, match=r"(Invalid|Value)"):
        SqsClient(account).create_queue(QueueName="orders", Attributes=attributes)


def test_no_sources_are_as_none_given(account: Account) -> None:
    sqs = SqsClient(account)
    allow = '{"redrivePermission": "allowAll", "sourceQueueArns": null}'
    sqs.create_queue(QueueName="dead", Attributes={"RedriveAllowPolicy": allow})
    policy = f'{{"deadLetterTargetArn": "{account.arn("sqs", "dead")}", "maxReceiveCount": 3}}'

    made = sqs.create_queue(QueueName="orders", Attributes={"RedrivePolicy": policy})

    assert made["QueueUrl"].endswith("/orders")


@pytest.mark.parametrize("message", [DEEP, r'{"default": "d", "sqs": "\ud800"}', r'{"default": "d", "sqs": ""}'])
def test_an_odd_message_for_sqs_is_refused(account: Account, message: str) -> None:
    sns = SnsClient(account)
    topic = sns.create_topic(Name="news")["TopicArn"]

    with pytest.raises(sns.exceptions.InvalidParameterException, match="Message Structure"):
        sns.publish(TopicArn=topic, Message=message, MessageStructure="json")


def test_half_of_a_surrogate_pair_spoils_nothing(account: Account) -> None:
    sqs = SqsClient(account)
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    odd: Any = {"a": {"DataType": "String.\ud800", "StringValue": "x"}}

    with pytest.raises(ClientError, match="surrogate"):
        sqs.send_message(QueueUrl=url, MessageBody="a", MessageAttributes=odd)
    with pytest.raises(ClientError, match="surrogate"):
        sqs.tag_queue(QueueUrl=url, Tags={"\ud800": "x"})
    sqs.send_message(QueueUrl=url, MessageBody="b")

    assert [message["Body"] for message in sqs.receive_message(QueueUrl=url)["Messages"]] == ["b"]
