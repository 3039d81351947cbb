"""`App(url, client=sqs, profile_name="shop")` took the profile, and nothing was made with it: the client was there.

Options that can have no effect are refused where they are given, or, where they may mean something to the user alone,
told in the log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from megaflow import App, ConfigurationError, DynamoDbStore, EncodeError, Outgoing, Router, SnsPublisher, SqsPublisher
from megaflow.app import parts_of
from megaflow.aws.sns.publish import SnsPublisher as ReadmesSnsPublisher
from megaflow.aws.sqs.publish import SqsPublisher as ReadmesSqsPublisher
from megaflow.aws.sqs.subscribe import DataSubscriber, EventSubscriber, MessageSubscriber, SqsListener
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.local.server import Server
from megaflow.settings import TOPIC_ARN_VARIABLE
from megaflow.testing import TestClient
from tests.cli.conftest import Run, _alone, run, server

__all__ = ["_alone", "run", "server"]

SQS = SqsClient(Account())
SNS = SnsClient(SQS.account)
DYNAMODB = boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any")
URL: str = SQS.create_queue(QueueName="orders")["QueueUrl"]
TOPIC: str = SNS.create_topic(Name="orders")["TopicArn"]

KEYS: dict[str, Any] = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG"}
OPTIONS: dict[str, Any] = {
    "region_name": "eu-west-1",
    "profile_name": "shop",
    "endpoint_url": "http://127.0.0.1:4566",
    "aws_session_token": "a",
    "connect_timeout": 1.0,
    "read_timeout": 1.0,
    "max_attempts": 1,
    "config": Config(),
}
TAKERS: dict[str, Callable[..., object]] = {
    "app": lambda **aws: App(URL, client=SQS, **aws),
    "app without an address": lambda **aws: App(client=SQS, **aws),
    "app with both clients": lambda **aws: App(URL, TOPIC, client=SQS, sns_client=SNS, **aws),
    "connected": lambda **aws: enter(App().connected(URL, client=SQS, **aws)),
    "connected to both": lambda **aws: enter(App(URL, TOPIC).connected(client=SQS, sns_client=SNS, **aws)),
    "queue": lambda **aws: SqsPublisher(queue_url=URL, client=SQS, **aws),
    "topic": lambda **aws: SnsPublisher(topic_arn=TOPIC, client=SNS, **aws),
    "README's queue": lambda **aws: ReadmesSqsPublisher(queue_url=URL, client=SQS, **aws),
    "README's topic": lambda **aws: ReadmesSnsPublisher(topic_arn=TOPIC, client=SNS, **aws),
    "listener": lambda **aws: SqsListener(queue_url=URL, client=SQS, **aws),
    "store": lambda **aws: DynamoDbStore("orders", client=DYNAMODB, **aws),
}


def enter(connected: AbstractContextManager[object]) -> None:
    with connected:
        pass


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("taker", TAKERS)
def test_an_option_beside_a_ready_client_is_refused_by_its_name(taker: str, option: str) -> None:
    said = (
        f"{option}= changes nothing about a client that is made already: say it where you make the client, or leave "
        "client= out"
    )

    with pytest.raises(ConfigurationError, match=f"^{re.escape(said)}$"):
        TAKERS[taker](**{option: OPTIONS[option]})


@pytest.mark.parametrize("taker", TAKERS)
def test_a_secret_beside_a_ready_client_does_not_show(taker: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        TAKERS[taker](**KEYS)

    assert str(raised.value).startswith("aws_access_key_id= and aws_secret_access_key= change nothing")
    assert [value for value in KEYS.values() if value in str(raised.value)] == []


@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_none_says_nothing(taker: str) -> None:
    TAKERS[taker](**dict.fromkeys(OPTIONS))


def test_the_client_of_a_topic_is_made_with_the_options(server: Server) -> None:
    app = App(URL, TOPIC, client=SQS, endpoint_url=server.url, **KEYS)
    made: Any = parts_of(app).destination.topic.client

    assert made.meta.endpoint_url == server.url
    assert parts_of(app).destination.queue.client is SQS


def test_the_topic_may_be_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOPIC_ARN_VARIABLE, TOPIC)

    assert parts_of(App(URL, client=SQS, region_name="us-east-1")).destination.topic.topic_arn == TOPIC


def test_the_client_of_a_queue_is_made_with_the_options(server: Server) -> None:
    app = App(URL, TOPIC, sns_client=SNS, endpoint_url=server.url, **KEYS)
    made: Any = parts_of(app).destination.queue.client

    assert made.meta.endpoint_url == server.url
    assert parts_of(app).destination.topic.client is SNS


def test_what_an_app_was_made_with_does_not_count_where_it_is_connected_elsewhere() -> None:
    app = App("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", region_name="eu-west-1", profile_name="shop")

    with app.connected(URL, client=SQS):
        assert parts_of(app).destination.queue.client is SQS
    with TestClient(app) as client:
        client.publish("ping")


def test_a_refusal_leaves_the_app_connected_as_it_was() -> None:
    app = App(URL, client=SQS)

    with pytest.raises(ConfigurationError), app.connected(client=SqsClient(Account()), region_name="eu-west-1"):
        pass

    assert parts_of(app).destination.queue.client is SQS


def test_how_long_a_key_is_remembered_needs_a_key() -> None:
    with pytest.raises(ConfigurationError, match=r"^idempotent_for=60 .* and there is none: give idempotency_key= too"):
        Router().on_data({"kind": "order"}, idempotent_for=60)

    Router().on_data({"kind": "order"}, idempotent_for=60, idempotency_key=str)


def test_a_raw_message_is_not_encoded() -> None:
    publisher = SqsPublisher(queue_url=URL, client=SQS)
    said = "binary_encoding: is for objects, and a raw message goes as it is"

    with pytest.raises(EncodeError, match=f"^{said}$"):
        publisher.publish_raw_message("{}", binary_encoding=True)
    (sent,) = publisher.publish_stream([Outgoing("{}", binary_encoding=True)], raw=True)

    assert sent.failure is not None
    assert sent.failure.reason == said


@pytest.mark.parametrize("options", [["--skip", "3"], ["--failed", "failed.jsonl"], ["--whole", "--skip", "3"]])
def test_what_is_for_lines_is_refused_for_a_message(run: Run, tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / ("order.jsonl" if "--whole" in options else "order.json")
    file.write_text("{}")

    ran = run("publish", "--queue", "orders", *options, str(file))

    option = next(each for each in options if each in ("--skip", "--failed"))
    assert ran.code == 2
    assert ran.err == f"megaflow: {option} is for lines, and {file} goes as one message: say --lines\n"


@pytest.mark.parametrize(
    ("base", "rule", "other"),
    [
        (EventSubscriber, "pattern", "DataSubscriber"),
        (MessageSubscriber, "pattern", "DataSubscriber"),
        (DataSubscriber, "event_name", "EventSubscriber"),
        (MessageSubscriber, "object_type", "EventSubscriber"),
    ],
)
def test_a_rule_of_another_kind_of_subscriber_is_warned_of(
    base: type[MessageSubscriber], rule: str, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    members: dict[str, Any] = {"process": lambda self, payload: None, rule: "a", "version": 1, "shop": "s"}

    SqsListener().register_subscriber(type("Odd", (base,), members))

    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == [f"Odd.{rule} is not asked, since the class is no {other}: derive it from that one"]
