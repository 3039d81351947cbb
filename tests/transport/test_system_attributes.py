"""What SQS says of a message by itself: its place in a FIFO queue, who sent it, its trace, where it was moved from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from megaflow import App, Message
from megaflow.awslambda.records import open_record
from megaflow.local.server import Server
from megaflow.messages.message import message_with, open_message
from megaflow.testing import TestClient
from megaflow.transport.queue import OpenQueue

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


@pytest.fixture(scope="module")
def sqs() -> Iterator[Any]:
    with Server() as server:
        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
        yield boto3.client("sqs", endpoint_url=server.url, region_name="us-east-1", **keys)


def receive(sqs: Any, url: str) -> Message:
    (message,) = OpenQueue(sqs, url).receive(1, wait_time_seconds=0, visibility_timeout=0)
    return message


def test_a_standard_queue_names_the_sender_and_the_trace(sqs: Any) -> None:
    url = sqs.create_queue(QueueName="standard")["QueueUrl"]
    header = {"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE}}
    sqs.send_message(QueueUrl=url, MessageBody="hello", MessageSystemAttributes=header)

    message = receive(sqs, url)

    assert message.trace_header == TRACE
    assert message.sender_id
    assert (message.sequence_number, message.dead_letter_source) == ("", "")


def test_a_fifo_queue_numbers_its_messages(sqs: Any) -> None:
    url = sqs.create_queue(
        QueueName="numbered.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    )["QueueUrl"]
    sent = sqs.send_message(QueueUrl=url, MessageBody="hello", MessageGroupId="g")

    message = receive(sqs, url)

    assert message.sequence_number == sent["SequenceNumber"]
    assert message.trace_header == ""


def test_a_message_that_sqs_has_moved_says_from_where(sqs: Any) -> None:
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": arn_of(sqs, dead), "maxReceiveCount": 1})
    url = sqs.create_queue(QueueName="source", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    receive(sqs, url)
    sqs.receive_message(QueueUrl=url)

    message = receive(sqs, dead)

    assert message.dead_letter_source == arn_of(sqs, url)


def arn_of(sqs: Any, url: str) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def test_lambda_has_all_of_them() -> None:
    said = {"SequenceNumber": "7", "SenderId": "AIDA", "AWSTraceHeader": TRACE, "DeadLetterQueueSourceArn": "arn"}
    record = {
        "messageId": "m",
        "receiptHandle": "AQEB",
        "body": "hello",
        "eventSourceARN": "arn:aws:sqs:us-west-2:424566909325:orders",
        "attributes": {"ApproximateReceiveCount": "1", **said},
    }

    message = open_record(record, 30.0, lambda: 0.0)

    assert (message.sequence_number, message.sender_id) == ("7", "AIDA")
    assert (message.trace_header, message.dead_letter_source) == (TRACE, "arn")


@pytest.mark.parametrize("message", [open_message("hello"), message_with("hello")])
def test_without_a_queue_nothing_is_said(message: Message) -> None:
    assert message.sequence_number == message.sender_id == message.trace_header == message.dead_letter_source == ""


def test_test_client_says_them_too() -> None:
    app, got = App(), list[Message]()

    @app.on_text()
    def keep(text: str, message: Message) -> None:
        got.append(message)

    with TestClient(app, fifo=True) as client:
        client.publish("hello", group_id="g")

    assert got[0].sequence_number
    assert got[0].sender_id
