"""Faults on request as somebody in another process asks for them, and as real boto3 meets them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from megaflow.local.server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


def connect(server: Server, service: str, **options: Any) -> Any:
    session = boto3.Session(aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1")
    config = Config(retries={"total_max_attempts": 1}, proxies={}, **options)
    return session.client(service, endpoint_url=server.url, config=config)


@pytest.fixture
def sqs(server: Server) -> Iterator[Any]:
    client = connect(server, "sqs")
    yield client
    client.close()


@pytest.fixture
def url(sqs: Any) -> str:
    made: str = sqs.create_queue(QueueName="orders")["QueueUrl"]
    return made


def ask(server: Server, method: str, body: str = "") -> tuple[int, str]:
    connection = HTTPConnection(urlsplit(server.url).netloc)
    connection.request(method, "/_megaflow/faults", body)
    response = connection.getresponse()
    answer = response.status, response.read().decode()
    connection.close()
    return answer


def strike(server: Server, operation: str, kind: str, **options: Any) -> None:
    fault = {"operation": operation, "kind": kind, "times": 1, **options}
    assert ask(server, "PUT", json.dumps({"faults": [fault]}))[0] == 200


def bodies(sqs: Any, url: str) -> list[str]:
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [message["Body"] for message in received.get("Messages", [])]


def test_what_fails_before_has_no_effect(server: Server, sqs: Any, url: str) -> None:
    strike(server, "SendMessage", "fail_before", error="ServiceUnavailable")

    with pytest.raises(ClientError, match="ServiceUnavailable") as error:
        sqs.send_message(QueueUrl=url, MessageBody="a")

    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert bodies(sqs, url) == []


def test_what_fails_after_has_its_effect(server: Server, sqs: Any, url: str) -> None:
    strike(server, "SendMessage", "fail_after")

    with pytest.raises(ClientError, match="InternalError"):
        sqs.send_message(QueueUrl=url, MessageBody="a")

    assert bodies(sqs, url) == ["a"]


def test_an_answer_that_gets_lost_closes_the_connection(server: Server, sqs: Any, url: str) -> None:
    strike(server, "SendMessage", "lost")

    with pytest.raises(ConnectionClosedError):
        sqs.send_message(QueueUrl=url, MessageBody="a")

    assert bodies(sqs, url) == ["a"]


def test_a_late_answer_comes_after_the_caller_gave_up(server: Server, sqs: Any, url: str) -> None:
    strike(server, "SendMessage", "slow", seconds=60)
    # Not so soon that the call might not have begun to be answered.
    hasty = connect(server, "sqs", read_timeout=2)

    with pytest.raises(ReadTimeoutError):
        hasty.send_message(QueueUrl=url, MessageBody="a")

    hasty.close()
    assert bodies(sqs, url) == ["a"]


def test_a_late_answer_comes(server: Server, sqs: Any, url: str) -> None:
    strike(server, "SendMessage", "slow", seconds=0.01)

    sent = sqs.send_message(QueueUrl=url, MessageBody="a")

    assert "MessageId" in sent


def test_some_entries_fail(server: Server, sqs: Any, url: str) -> None:
    strike(server, "SendMessageBatch", "fail_entries", entries=[1])

    answer = sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": name, "MessageBody": name} for name in "abc"])

    assert [one["Id"] for one in answer["Successful"]] == ["a", "c"]
    assert [(one["Id"], one["SenderFault"]) for one in answer["Failed"]] == [("b", False)]
    assert bodies(sqs, url) == ["a", "c"]


def test_what_was_received_is_handed_out_again(server: Server, sqs: Any, url: str) -> None:
    sqs.send_message(QueueUrl=url, MessageBody="a")
    strike(server, "ReceiveMessage", "duplicate")

    received = [bodies(sqs, url) for _ in range(3)]

    assert received == [["a"], ["a"], []]


def test_a_fault_strikes_a_receive_that_waited(server: Server, sqs: Any, url: str) -> None:
    strike(server, "ReceiveMessage", "lost")

    with pytest.raises(ConnectionClosedError):
        sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)

    assert bodies(sqs, url) == []


def test_sns_has_faults_too(server: Server) -> None:
    sns = connect(server, "sns")
    topic = sns.create_topic(Name="news")["TopicArn"]
    strike(server, "Publish", "fail_before", error="Throttled")

    with pytest.raises(sns.exceptions.ThrottledException):
        sns.publish(TopicArn=topic, Message="a")

    assert "MessageId" in sns.publish(TopicArn=topic, Message="a")
    sns.close()


def test_faults_are_shown_and_ended(server: Server, sqs: Any, url: str) -> None:
    document = {"seed": 7, "faults": [{"operation": "*", "kind": "fail_before"}]}

    put = ask(server, "PUT", json.dumps(document))
    shown = ask(server, "GET")
    ended = ask(server, "DELETE")

    assert [(status, json.loads(body)) for status, body in (put, shown)] == [(200, document)] * 2
    assert ended == (200, '{"seed":0,"faults":[]}')
    assert bodies(sqs, url) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "Expecting value"),
        ("[]", "the document is []: give an object"),
        ('{"faults": [{"operation": "*"}]}', "faults[0] lacks kind"),
        ('{"faults": [{"operation": "SendMail", "kind": "lost"}]}', "faults[0]: operation='SendMail' is not allowed"),
        ("[" * 200_000, ""),  # each Python has words of its own for it
    ],
)
def test_a_wrong_document_changes_nothing(server: Server, body: str, said: str) -> None:
    strike(server, "SendMessage", "lost")
    before = ask(server, "GET")

    status, answer = ask(server, "PUT", body)

    assert status == 400
    assert said in answer
    assert ask(server, "GET") == before
