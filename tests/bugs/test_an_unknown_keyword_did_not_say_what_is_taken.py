"""`App(queues=…)` spoke of an ``AwsSettings`` that nobody had called, and did not say what `App` takes.

So did whatever else hands its keywords on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from megaflow import App, DynamoDbStore, Router, SnsPublisher, SqsPublisher
from megaflow.aws.sqs.subscribe import SqsListener
from megaflow.local import Account, SqsClient
from megaflow.testing import TestClient


def publisher() -> SqsPublisher:
    sqs = SqsClient(Account())
    return SqsPublisher(queue_url=sqs.create_queue(QueueName="orders")["QueueUrl"], client=sqs)


CALLS: dict[str, tuple[Callable[..., Any], str]] = {
    "App() takes no 'queues': did you mean queue? It takes queue_url, topic_arn, queue, topic, client, ": (
        App,
        "queues",
    ),
    "App() takes no 'workers'. It takes queue_url, topic_arn, queue, topic, client, ": (App, "workers"),
    "SqsListener() takes no 'queue': did you mean queue_url? It takes queue_url, ": (SqsListener, "queue"),
    "SqsPublisher() takes no 'queues': did you mean queue? It takes queue_url, queue, ": (SqsPublisher, "queues"),
    "SnsPublisher() takes no 'topics': did you mean topic? It takes topic_arn, topic, ": (SnsPublisher, "topics"),
    "DynamoDbStore() takes no 'region': did you mean region_name? It takes table_name, ": (
        lambda **given: DynamoDbStore("progress", **given),
        "region",
    ),
    "connected() takes no 'queue': did you mean queue_url? It takes queue_url, topic_arn, ": (
        lambda **given: App().connected(**given).__enter__(),
        "queue",
    ),
    "publish() takes no 'group': did you mean group_id? It takes payload, binary_encoding, ": (
        lambda **given: publisher().publish("ping", **given),
        "group",
    ),
    "publish_raw_message() takes no 'group': did you mean group_id? It takes body, ": (
        lambda **given: publisher().publish_raw_message("ping", **given),
        "group",
    ),
    "publish_batch() takes no 'group': did you mean group_id? It takes items, ": (
        lambda **given: publisher().publish_batch(["ping"], **given),
        "group",
    ),
    "publish_stream() takes no 'group': did you mean group_id? It takes items, raw, in_flight, ": (
        lambda **given: publisher().publish_stream(["ping"], **given),
        "group",
    ),
    "on_event() takes no 'nmae': did you mean name? It takes event_name, ": (Router().on_event, "nmae"),
    "on_event() takes no 'retry': did you mean retry_on? It takes event_name, ": (Router().on_event, "retry"),
    "the decorator of a handler takes no 'retry': did you mean retry_on? It takes retry_on, ": (
        Router().on_text,
        "retry",
    ),
}


@pytest.mark.parametrize("said", CALLS)
def test_a_call_says_what_it_takes(said: str) -> None:
    call, unknown = CALLS[said]

    with pytest.raises(TypeError) as caught:
        call(**{unknown: "orders"})

    assert str(caught.value).startswith(said)


def test_a_call_that_takes_none_but_its_own_is_named_by_python() -> None:
    with pytest.raises(TypeError, match=r"TestClient.__init__\(\) got an unexpected keyword argument 'replace'"):
        TestClient(App(), replace={})  # type: ignore[call-arg]
