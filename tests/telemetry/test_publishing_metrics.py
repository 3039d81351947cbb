"""What the metrics are told of publishing: each message once, by what became of it in the end."""

from __future__ import annotations

from typing import Any

import pytest

from megaflow import PublishError, SnsPublisher, SqsPublisher
from megaflow.local import Account, SnsClient, SqsClient
from tests.consuming import Faulty
from tests.telemetry.kept import KeptMetrics


@pytest.fixture
def sqs() -> SqsClient:
    return SqsClient(Account())


def refuse_once(code: str, *, is_senders: bool) -> Any:
    """Return a call that refuses the second entry of its first batch."""
    refused: list[str] = []

    def send(real: Any, **parameters: Any) -> Any:
        if refused:
            return real(**parameters)
        refused.append(code)
        first, second, *others = parameters["Entries"]
        answer = real(**parameters | {"Entries": [first, *others]})
        failed = {"Id": second["Id"], "Code": code, "Message": "", "SenderFault": is_senders}
        return answer | {"Failed": [failed]}

    return send


def test_what_is_sent_again_is_counted_once_and_each_call_is_measured(sqs: SqsClient) -> None:
    kept, url = KeptMetrics(), sqs.create_queue(QueueName="orders")["QueueUrl"]
    client: Any = Faulty(sqs, send_message_batch=refuse_once("InternalError", is_senders=False))
    publisher = SqsPublisher(queue_url=url, client=client, metrics=kept, sleep=lambda seconds: None)

    publisher.publish_batch(["a", "b", "c"])

    assert kept.counted("sent") == kept.counted("sent", queue="orders", error="", topic="") == 3
    assert kept.observed("batch_size", queue="orders", operation="send") == [3, 1]
    assert len(kept.observed("operation_duration", queue="orders", operation="send", error="")) == 2


def test_what_is_refused_is_counted_by_what_is_said_of_it(sqs: SqsClient) -> None:
    kept, url = KeptMetrics(), sqs.create_queue(QueueName="orders")["QueueUrl"]
    client: Any = Faulty(sqs, send_message_batch=refuse_once("InvalidMessageContents", is_senders=True))
    publisher = SqsPublisher(queue_url=url, client=client, metrics=kept)

    with pytest.raises(PublishError):
        publisher.publish_batch(["a", "b", "c"])

    assert kept.counted("sent", error="") == 2
    assert kept.counted("sent", error="InvalidMessageContents") == 1


def test_a_call_that_fails_is_counted_and_what_was_never_sent_is_not(sqs: SqsClient) -> None:
    def fail(real: Any, **parameters: Any) -> Any:
        raise TimeoutError

    kept, url = KeptMetrics(), sqs.create_queue(QueueName="orders")["QueueUrl"]
    client: Any = Faulty(sqs, send_message_batch=fail, send_message=fail)
    publisher = SqsPublisher(queue_url=url, client=client, metrics=kept)

    with pytest.raises(PublishError):
        publisher.publish_batch([str(number) for number in range(15)])
    with pytest.raises(TimeoutError):
        publisher.publish("a")

    assert kept.counted("sent", error="TimeoutError") == kept.counted("sent") == 11
    assert len(kept.observed("operation_duration", error="TimeoutError")) == 2


def test_what_goes_to_a_topic_has_its_name_and_no_queue() -> None:
    account, kept = Account(), KeptMetrics()
    sns = SnsClient(account)
    publisher = SnsPublisher(topic_arn=sns.create_topic(Name="news")["TopicArn"], client=sns, metrics=kept)

    publisher.publish("a")
    publisher.publish_raw_message("b")
    list(publisher.publish_stream(["c", "d"]))

    assert kept.counted("sent", queue="", topic="news", error="") == kept.counted("sent") == 4
    assert kept.observed("batch_size", topic="news", operation="send") == [1, 1, 2]
