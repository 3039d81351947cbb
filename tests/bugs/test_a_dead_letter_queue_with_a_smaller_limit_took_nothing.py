"""A message with its origin was larger than its dead-letter queue takes, so its handler ran at every delivery."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest

from megaflow import App, PublishError, Reject
from megaflow.local.server import Server
from megaflow.messages.origin import ORIGIN_ATTRIBUTE
from tests.awslambda.test_awslambda import Context, receive
from tests.consumer.threads.test_runner import client_error
from tests.consuming import Faulty, Queues, running
from tests.unmocked import unmocked
from tests.waiting import wait_until

LIMIT = 2_048
LARGE = "x" * (LIMIT - 20)
TOO_LARGE = "x" * (LIMIT + 1)


@pytest.fixture
def sqs() -> Iterator[Any]:
    with Server() as server:
        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
        yield unmocked(boto3.client("sqs", endpoint_url=server.url, region_name="us-east-1", **keys))


def make(sqs: Any, *, fifo: bool = False, max_receive_count: int = 10) -> Queues:
    queues = Queues(sqs, fifo=fifo, max_receive_count=max_receive_count)
    sqs.set_queue_attributes(QueueUrl=queues.dead_letters, Attributes={"MaximumMessageSize": str(LIMIT)})
    return queues


def rejecting(queues: Queues, **options: Any) -> tuple[App, list[str]]:
    app, handled = queues.app(backoff=lambda count: 0.0, wait_time_seconds=1, **options), []

    @app.on_text()
    def reject(text: str) -> None:
        handled.append(text)
        raise Reject("no")

    return app, handled


def counted(app: App, name: str) -> int:
    return app.metrics.snapshot().get(name, 0)


def send(queues: Queues, body: str) -> None:
    fifo: Mapping[str, str] = {"MessageGroupId": "a", "MessageDeduplicationId": "d"} if "fifo" in queues.url else {}
    queues.sqs.send_message(QueueUrl=queues.url, MessageBody=body, **fifo)


@pytest.mark.parametrize("fifo", [False, True])
def test_a_message_without_room_for_its_origin_goes_without(sqs: Any, fifo: bool) -> None:
    queues = make(sqs, fifo=fifo)
    app, handled = rejecting(queues)
    send(queues, LARGE)

    with running(app):
        wait_until(lambda: counted(app, "deleted"))

    (dead,) = queues.receive_dead_letters()
    assert (dead["Body"], "MessageAttributes" in dead) == (LARGE, False)
    assert handled == [LARGE]
    assert (counted(app, "dead_lettered"), counted(app, "not_dead_lettered")) == (1, 0)


def test_one_with_room_says_where_it_comes_from(sqs: Any) -> None:
    queues = make(sqs)
    app, _ = rejecting(queues)
    send(queues, "small")

    with running(app):
        wait_until(lambda: counted(app, "deleted"))

    (dead,) = queues.receive_dead_letters()
    assert ORIGIN_ATTRIBUTE in dead["MessageAttributes"]


def deny_dead_letters(queues: Queues) -> Any:
    def read(real: Any, **parameters: Any) -> Any:
        if parameters["QueueUrl"] == queues.dead_letters:
            raise client_error("AccessDenied", "GetQueueAttributes", 403)
        return real(**parameters)

    return Faulty(queues.sqs, get_queue_attributes=read)


@pytest.mark.parametrize("given", [False, True])
def test_where_the_limit_may_not_be_asked_for_what_is_refused_goes_without_its_origin(sqs: Any, given: bool) -> None:
    queues = make(sqs)
    options = {"dead_letter_queue_url": queues.dead_letters} if given else {}
    app, handled = rejecting(queues, client=deny_dead_letters(queues), **options)
    send(queues, LARGE)

    with running(app):
        wait_until(lambda: counted(app, "deleted"))

    (dead,) = queues.receive_dead_letters()
    assert (dead["Body"], handled) == (LARGE, [LARGE])


def test_a_dead_letter_queue_that_was_given_is_asked_once(sqs: Any) -> None:
    queues, asked = make(sqs), []

    def read(real: Any, **parameters: Any) -> Any:
        asked.append(parameters["QueueUrl"])
        return real(**parameters)

    client = Faulty(sqs, get_queue_attributes=read)
    app, _ = rejecting(queues, client=client, dead_letter_queue_url=queues.dead_letters)
    for number in range(3):
        send(queues, LARGE + str(number))

    with running(app):
        wait_until(lambda: counted(app, "deleted") == 3)

    assert asked.count(queues.dead_letters) == 1
    assert len(queues.receive_dead_letters()) == 3


@pytest.mark.parametrize("denied", [False, True])
def test_what_cannot_go_at_all_is_said_and_left_to_the_redrive_policy(
    sqs: Any, denied: bool, caplog: pytest.LogCaptureFixture
) -> None:
    queues = make(sqs, max_receive_count=3)
    options = {"client": deny_dead_letters(queues)} if denied else {}
    app, handled = rejecting(queues, **options)
    send(queues, TOO_LARGE)

    with caplog.at_level(logging.ERROR), running(app):
        wait_until(lambda: queues.depth(queues.dead_letters) == (1, 0))

    assert handled == [TOO_LARGE] * 3
    assert counted(app, "not_dead_lettered") == 3
    assert "cannot be dead-lettered" in caplog.text
    assert "the queue's redrive policy moves it in the end" in caplog.text
    assert TOO_LARGE not in caplog.text


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("denied", [False, True])
def test_a_lambda_function_decides_alike(sqs: Any, given: bool, denied: bool, caplog: pytest.LogCaptureFixture) -> None:
    queues = make(sqs)
    options: dict[str, Any] = {"dead_letter_queue_url": queues.dead_letters} if given else {}
    if denied:
        options["client"] = deny_dead_letters(queues)
    app, _ = rejecting(queues, **options)
    event = receive(queues, "small", LARGE, TOO_LARGE)

    with caplog.at_level(logging.ERROR):
        answer = app.lambda_handler()(event, Context(60))

    kept = [each["messageId"] for each in event["Records"] if each["body"] == TOO_LARGE]
    assert [each["itemIdentifier"] for each in answer["batchItemFailures"]] == kept
    dead = {each["Body"]: "MessageAttributes" in each for each in queues.receive_dead_letters()}
    assert dead == {"small": True, LARGE: False}
    assert (counted(app, "dead_lettered"), counted(app, "not_dead_lettered")) == (2, 1)
    assert "could not be dead-lettered" in caplog.text


# Publishers do not ask


def test_a_message_that_is_too_large_for_its_queue_is_a_publish_error_that_names_the_limit(sqs: Any) -> None:
    queues = make(sqs)
    app = App(queues.dead_letters, client=sqs)

    with pytest.raises(PublishError) as raised:
        app.publish(TOO_LARGE)

    (failed,) = raised.value.failed
    assert (failed.index, failed.payload, failed.code, failed.unknown) == (0, TOO_LARGE, "InvalidParameterValue", False)
    assert f"shorter than {LIMIT} bytes" in str(raised.value)
    assert f"It has {len(TOO_LARGE):,} bytes" in str(raised.value)


def test_of_a_batch_those_fail_that_are_too_large(sqs: Any) -> None:
    queues = make(sqs)
    app = App(queues.dead_letters, client=sqs)

    with pytest.raises(PublishError) as raised:
        app.publish_batch(["small", TOO_LARGE])

    assert [each.index for each in raised.value.failed] == [1]
    assert f"shorter than {LIMIT} bytes" in str(raised.value)
