"""What was no store, no client, no text was taken, and what it raised at its use passed for an outage, or a bug.

Each parameter of what is public is given all kinds of values here: it takes them, or refuses them by its name.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest.mock import AsyncMock, Mock

import boto3
import pytest

import megaflow
from megaflow import (
    App,
    AwsOptions,
    CircuitBreaker,
    ConfigurationError,
    DynamoDbStore,
    HandlerOptions,
    MegaflowError,
    MemoryStore,
    Outgoing,
    PublishOptions,
    RegistrationError,
    SnsPublisher,
    SqliteStore,
    SqsPublisher,
    Telemetry,
    UsageError,
    exponential_backoff,
)
from megaflow.local import Account, SqsClient
from megaflow.telemetry.prometheus import PrometheusCollector

ODD: list[Any] = [object(), "x", b"x", -1, 0, 1.5, None, [], math.nan, math.inf, True, int, lambda a, b: None]
AWS = sorted(AwsOptions.__annotations__)


def connected(**options: Any) -> None:
    with App().connected(**options):
        pass


def replacing(**options: Any) -> None:
    with App().replacing(**{"factories": {}} | options):
        pass


def publish(**options: Any) -> None:
    sqs = SqsClient(Account())
    App(sqs.create_queue(QueueName="q")["QueueUrl"], client=sqs).publish_batch([Outgoing({}, **options)])


def decorate(**options: Any) -> None:
    App(progress=MemoryStore()).on_data(**options)(lambda data: None)


TARGETS: dict[str, tuple[Callable[..., object], list[str]]] = {
    "App": (
        App,
        [
            *("queue_url", "topic_arn", "client", "sns_client", "concurrency", "max_number_of_messages"),
            *("wait_time_seconds", "visibility_timeout", "max_processing_time", "prefetch", "shutdown_timeout"),
            *("retry_on", "backoff", "max_receives", "unmatched", "on_invalid", "breaker", "dead_letter_queue_url"),
            *("record_errors", "progress", "idempotency", "max_message_size", "wire", "metrics", "telemetry", *AWS),
        ],
    ),
    "connected": (
        connected,
        ["queue_url", "topic_arn", "client", "sns_client", "dead_letter_queue_url", "concurrency", *AWS],
    ),
    "replacing": (replacing, ["factories", "progress", "idempotency"]),
    "SqsPublisher": (SqsPublisher, ["queue_url", "client", "wire", "sleep", "metrics", "telemetry", *AWS]),
    "SnsPublisher": (
        SnsPublisher,
        ["topic_arn", "max_message_size", "client", "sleep", "metrics", "telemetry", *AWS],
    ),
    "MemoryStore": (MemoryStore, ["keep_for", "clock"]),
    "SqliteStore": (lambda **options: SqliteStore(**{"path": "x"} | options), ["path", "keep_for", "clock"]),
    "DynamoDbStore": (
        lambda **options: DynamoDbStore(**{"table_name": "x"} | options),
        ["table_name", "client", "keep_for", "clock", *AWS],
    ),
    "CircuitBreaker": (CircuitBreaker, ["failures", "seconds", "on"]),
    "Telemetry": (Telemetry, ["trace"]),
    "exponential_backoff": (exponential_backoff, ["first", "longest", "randomness"]),
    "a decorator": (decorate, sorted(HandlerOptions.__annotations__)),
    "publish": (publish, sorted(PublishOptions.__annotations__)),
}


def refusal(make: Callable[..., object], **options: Any) -> str:
    """Return how *options* are refused, or nothing where they are taken."""
    try:
        make(**options)
    except MegaflowError as error:
        return str(error)
    return ""


EVERY = [(target, parameter) for target, (_, parameters) in TARGETS.items() for parameter in parameters]


@pytest.mark.parametrize(("target", "parameter"), EVERY, ids=[f"{target} {parameter}" for target, parameter in EVERY])
def test_what_cannot_work_is_refused_by_its_name(target: str, parameter: str) -> None:
    said = [error for value in ODD if (error := refusal(TARGETS[target][0], **{parameter: value}))]

    assert all(parameter in each and len(each) < 600 for each in said), said
    assert len(said) >= 5, "whatever it takes, it is not a number, a text, an object and a function at once"


@pytest.mark.parametrize("options", [{"progress": "x"}, {"idempotency": object()}, {"progress": MemoryStore}])
def test_a_store_says_what_is_wanted(options: dict[str, Any]) -> None:
    (name,) = options

    with pytest.raises(ConfigurationError, match=rf"^{name}=.*: give a store, such as {name}=SqliteStore\(path\)"):
        App(**options)


def test_a_client_of_another_service_is_none() -> None:
    client = boto3.client("sns", region_name="us-east-1")

    with pytest.raises(ConfigurationError, match=r"^client=.* has no send_message\(\): give boto3's client for SQS"):
        App(client=client)
    with pytest.raises(ConfigurationError, match=r"^sns_client=.* has no publish\(\): give boto3's client for SNS"):
        App(sns_client=boto3.client("sqs", region_name="us-east-1"))
    assert App(sns_client=client)


def test_a_client_whose_calls_nobody_waits_for_is_none() -> None:
    client: Any = Mock(SqsClient(Account()), receive_message=AsyncMock())

    with pytest.raises(ConfigurationError, match=r"^receive_message\(\) of client=.* is async, and nobody waits"):
        App(client=client)


def test_a_publishers_client_needs_what_sends_alone() -> None:
    client: Any = Mock(spec=["send_message", "send_message_batch"])

    assert SqsPublisher(client=client)
    with pytest.raises(ConfigurationError, match=r"^client=.* has no receive_message\(\)"):
        App(client=client)


def test_a_secret_of_another_type_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as raised:
        App(aws_access_key_id="AKID", aws_secret_access_key=b"swordfish")  # type: ignore[arg-type]

    assert str(raised.value) == "aws_secret_access_key must be text, not bytes"


def two(first: int, second: int) -> float:
    return 1.0


async def later(receive_count: int) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("backoff", "said"),
    [
        (two, "cannot be called as it is: give a function (receive_count) -> seconds"),
        (lambda: 1.0, "cannot be called as it is"),
        (later, "is async, and nobody waits for it"),
    ],
)
def test_a_backoff_that_cannot_be_called_is_refused_when_it_is_given(backoff: Any, said: str) -> None:
    for give in (lambda: App(backoff=backoff), lambda: App().on_text(backoff=backoff)(print)):
        with pytest.raises(ConfigurationError) as raised:
            give()
        assert str(raised.value).startswith("backoff=")
        assert said in str(raised.value)


@pytest.mark.parametrize("backoff", [exponential_backoff(), lambda receive_count=1: 1.0, lambda *counts: 1.0, float])
def test_a_backoff_that_can_be_called_is_taken(backoff: Any) -> None:
    App(backoff=backoff)


async def stream() -> AsyncIterator[str]:
    yield "a"


@pytest.mark.parametrize("method", ["publish_batch", "apublish_batch", "publish_stream"])
def test_an_async_generator_is_sent_to_the_method_that_takes_it(method: str) -> None:
    app = App("https://sqs.eu-west-1.amazonaws.com/123456789012/q")

    with pytest.raises(UsageError, match=r"^items=<async_generator .*: use apublish_stream\(items\)"):
        asyncio.run(_call(getattr(app, method)))


async def _call(method: Any) -> None:
    made = method(stream())
    await made


@pytest.mark.parametrize("method", ["publish_batch", "publish_stream", "apublish_stream"])
def test_what_holds_no_payloads_is_refused(method: str) -> None:
    app = App("https://sqs.eu-west-1.amazonaws.com/123456789012/q")

    with pytest.raises(UsageError, match=r"^items=5 must be several payloads"):
        list(getattr(app, method)(5))


@pytest.mark.parametrize("given", [(), (App(),), ("x",)])
def test_a_collector_takes_measurements_alone(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r": PrometheusCollector\(app.metrics\)$"):
        PrometheusCollector(*given)


orders, mails = App("https://sqs.eu-west-1.amazonaws.com/123456789012/q"), App()
orders.on_text()(print)


def test_of_several_apps_it_is_said_which_one_cannot_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEGAFLOW_QUEUE_URL", raising=False)
    mails.on_text()(print)

    for run in (megaflow.run, lambda *apps: asyncio.run(megaflow.arun(*apps))):
        with pytest.raises(ConfigurationError, match=rf"^{__name__}:mails: queue_url is not set"):
            run(orders, mails)


def test_of_several_apps_it_is_said_which_one_has_no_handler() -> None:
    empty = App("https://sqs.eu-west-1.amazonaws.com/123456789012/empty")

    with pytest.raises(RegistrationError, match=r"^app 2: no handler is registered"):
        megaflow.run(orders, empty)
