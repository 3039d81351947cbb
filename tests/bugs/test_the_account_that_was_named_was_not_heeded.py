"""``GetQueueUrl`` of another account's queue found none, and a look at the messages of its URL showed those of ours."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from megaflow.local.server import Server

MINE, OTHER = "000000000000", "210987654321"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def client(server: Server, service: str = "sqs", key: str = "any", region: str = "us-east-1") -> Any:
    return boto3.client(
        service, endpoint_url=server.url, region_name=region, aws_access_key_id=key, aws_secret_access_key="any"
    )


def arn(sqs: Any, url: str) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def code(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**parameters)
    return str(raised.value.response["Error"]["Code"])


def bodies(server: Server, queue: str, **more: str) -> list[str]:
    query = urllib.parse.urlencode({"queue": queue, **more})
    with urllib.request.urlopen(f"{server.url}/_megaflow/messages?{query}") as answer:
        return [each["body"] for each in json.load(answer)["messages"]]


def test_the_url_of_another_accounts_queue_is_found(server: Server) -> None:
    mine, theirs = client(server), client(server, key=OTHER)
    mine.create_queue(QueueName="orders")
    url = theirs.create_queue(QueueName="orders")["QueueUrl"]

    assert mine.get_queue_url(QueueName="orders", QueueOwnerAWSAccountId=OTHER)["QueueUrl"] == url
    assert mine.get_queue_url(QueueName="orders", QueueOwnerAWSAccountId=MINE)["QueueUrl"] != url
    refused = code(mine.get_queue_url, QueueName="orders", QueueOwnerAWSAccountId="333333333333")
    assert refused == "AWS.SimpleQueueService.NonExistentQueue"
    assert theirs.get_queue_url(QueueName="orders")["QueueUrl"] == url


def test_messages_are_those_of_the_account_in_the_url(server: Server) -> None:
    mine, theirs = client(server), client(server, key=OTHER)
    urls = [each.create_queue(QueueName="orders")["QueueUrl"] for each in (mine, theirs)]
    for each, url, body in zip((mine, theirs), urls, ("mine", "theirs"), strict=True):
        each.send_message(QueueUrl=url, MessageBody=body)

    assert [bodies(server, url) for url in urls] == [["mine"], ["theirs"]]
    assert bodies(server, "orders") == ["mine"]
    assert bodies(server, "orders", account=OTHER) == ["theirs"]
    with pytest.raises(urllib.error.HTTPError, match="400"):
        bodies(server, urls[1], account=MINE)

    request = urllib.request.Request(
        f"{server.url}/_megaflow/reset?{urllib.parse.urlencode({'queue': urls[1]})}", method="POST"
    )
    urllib.request.urlopen(request).close()
    assert [bodies(server, url) for url in urls] == [["mine"], []]


def test_a_dead_letter_queue_is_one_of_the_same_account_and_region(server: Server) -> None:
    mine, theirs, far = client(server), client(server, key=OTHER), client(server, region="eu-west-1")
    url = mine.create_queue(QueueName="orders")["QueueUrl"]
    mine.create_queue(QueueName="dead")

    for other in (theirs, far):
        target = arn(other, other.create_queue(QueueName="dead")["QueueUrl"])
        policy = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": "3"})
        refused = code(mine.set_queue_attributes, QueueUrl=url, Attributes={"RedrivePolicy": policy})
        assert refused in ("InvalidParameterValue", "AWS.SimpleQueueService.NonExistentQueue")


def test_dead_letters_of_another_account_are_not_moved(server: Server) -> None:
    mine, theirs = client(server), client(server, key=OTHER)
    for each in (mine, theirs):
        dead = arn(each, each.create_queue(QueueName="dead")["QueueUrl"])
        policy = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": "3"})
        each.create_queue(QueueName="orders", Attributes={"RedrivePolicy": policy})

    assert code(mine.start_message_move_task, SourceArn=dead) == "ResourceNotFoundException"
    assert code(mine.list_message_move_tasks, SourceArn=dead) == "ResourceNotFoundException"
    assert "TaskHandle" in theirs.start_message_move_task(SourceArn=dead)


def test_a_topic_delivers_to_the_account_in_the_arn_and_to_no_other(server: Server) -> None:
    mine, theirs, sns = client(server), client(server, key=OTHER), client(server, "sns")
    urls = [each.create_queue(QueueName="orders")["QueueUrl"] for each in (mine, theirs)]
    topic = sns.create_topic(Name="news")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn(theirs, urls[1]))

    sns.publish(TopicArn=topic, Message="a")

    assert [len(bodies(server, url)) for url in urls] == [0, 1]
