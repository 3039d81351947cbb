"""When every call goes through boto3 after all, and what is said about it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.stub import Stubber
from moto import mock_aws

from megaflow import App, SqsPublisher
from megaflow.local import Account, SqsClient
from megaflow.wire.client import WireClient, open_wire
from megaflow.wire.fallback import why_aside
from tests.unmocked import unmocked
from tests.wire.scripted import QUEUE_URL, answer, scripted


def client(service: str = "sqs", config: Config | None = None, **options: Any) -> Any:
    options = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-west-1", **options}
    return unmocked(boto3.client(service, config=Config(proxies={}).merge(config or Config()), **options))


def said_of_the_wire(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged: threads that other tests have left may say something of their own."""
    return [each.getMessage() for each in caplog.records if each.name.startswith("megaflow.wire")]


def with_handler(event: str) -> Any:
    made = client()
    made.meta.events.register(event, lambda **said: None)
    return made


def with_own_method() -> Any:
    made = client()
    made.receive_message = lambda **parameters: {}
    return made


class Counting:
    """A client that counts what goes through it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        def call(**parameters: Any) -> dict[str, Any]:
            self.calls.append(name)
            return {"MessageId": "m"}

        return call


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config(connect_timeout=1, read_timeout=2, max_pool_connections=3, user_agent_extra="mine", tcp_keepalive=True),
        Config(retries={"max_attempts": 1, "mode": "legacy"}),
        Config(retries={"total_max_attempts": 7, "mode": "standard"}),
        Config(use_fips_endpoint=True),
        Config(use_dualstack_endpoint=True),
    ],
)
def test_boto3s_own_clients_need_not_step_aside(config: Config) -> None:
    assert why_aside(client(config=config)) == ""


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: client(config=Config(proxies={"https": "http://127.0.0.1:1"})), "there is a proxy"),
        (lambda: client(config=Config(signature_version=UNSIGNED)), "signed in a way of their own"),
        (lambda: client(config=Config(retries={"mode": "adaptive"})), "the retry mode is 'adaptive'"),
        (lambda: client(config=Config(read_timeout=None)), "the read timeout is None"),
        (lambda: client(endpoint_url="http://127.0.0.1:1/behind/a/gateway"), "the endpoint URL is more than"),
        (lambda: client("sns"), "botocore.client.SNS"),
        (with_own_method, "receive_message was replaced"),
        (lambda: SqsClient(Account()), "megaflow.local.client.SqsClient, not boto3's"),
        (Counting, "Counting, not boto3's"),
        *[
            (lambda event=event: with_handler(event), f"registered for {event.partition('.')[0]}: ")
            for event in ("before-send.sqs", "before-call.sqs.DeleteMessageBatch", "request-created", "after-call.*.*")
        ],
    ],
)
def test_what_only_boto3_does_is_left_to_it_and_said_once(
    make: Callable[[], Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = make()

    with caplog.at_level(logging.INFO, "megaflow.wire"):
        opened = open_wire(made)

    assert opened is made
    (said,) = said_of_the_wire(caplog)
    assert said.startswith("every call goes through the client itself: ")
    assert reason in said


def test_a_client_that_calls_another_host_than_it_says_is_left_to_boto3() -> None:
    made = client(region_name="us-iso-east-1", config=Config(use_fips_endpoint=True))
    called = "https://sqs-fips.us-iso-east-1.c2s.ic.gov"

    assert why_aside(made) == ("" if made.meta.endpoint_url == called else f"boto3 calls {called}")


def test_a_proxy_of_the_environment_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")

    assert why_aside(unmocked(boto3.client("sqs", region_name="eu-west-1"))) == "there is a proxy"


def test_what_wraps_boto3_for_everyone_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.client import BaseClient

    made, original = client(), BaseClient._make_api_call

    def traced(self: Any, operation: str, parameters: Any) -> Any:
        return original(self, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", traced)

    assert why_aside(made).startswith("the client's _make_api_call was replaced by tests.wire.test_fallback.")


def test_a_client_of_a_mock_goes_through_the_mock() -> None:
    with mock_aws():
        sqs = boto3.client("sqs", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        publisher = SqsPublisher(queue_url=url, client=sqs)

        publisher.publish("hello")

        assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "hello"


def test_a_handler_that_comes_later_is_called_and_one_that_goes_makes_way(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "megaflow.wire")
    with scripted(answer(), answer()) as server:
        made = server.client()
        wire = open_wire(made)
        assert isinstance(wire, WireClient)
        wire.receive_message(QueueUrl=QUEUE_URL)

        with Stubber(made) as stubber:
            stubber.add_response("receive_message", {"Messages": [{"Body": "stubbed"}]})
            stubbed = wire.receive_message(QueueUrl=QUEUE_URL)
        wire.receive_message(QueueUrl=QUEUE_URL)

    assert stubbed["Messages"] == [{"Body": "stubbed"}]
    assert len(server.requests) == 2
    assert [message for message in caplog.messages if "from now on" in message and "botocore.stub" in message]


def test_a_botocore_that_is_not_known_is_left_alone() -> None:
    made = client()
    del made._endpoint

    assert why_aside(made).startswith("this version of botocore is not known (AttributeError: ")


def test_it_can_be_turned_off(caplog: pytest.LogCaptureFixture) -> None:
    made = client(region_name="us-east-1")

    with caplog.at_level(logging.INFO, "megaflow.wire"):
        on, off = (App(QUEUE_URL, client=made, wire=wire)._destination.queue.client for wire in (True, False))

    assert isinstance(on, WireClient)
    assert off is made
    assert said_of_the_wire(caplog) == ["every call goes through the client itself: wire=False"]


def test_the_wire_of_a_wire_is_itself() -> None:
    wire = open_wire(client())

    assert open_wire(wire) is wire
