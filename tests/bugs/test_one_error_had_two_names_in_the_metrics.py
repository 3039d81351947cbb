"""One error was ``QueueDoesNotExist`` in a metric, and ``AWS.SimpleQueueService.NonExistentQueue`` in its span.

Beside them an error without a class of its own was ``ClientError`` in the metrics, whatever it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from megaflow import SqsPublisher
from megaflow.local.server import Server
from megaflow.telemetry.conventions import name_code, name_error
from tests.telemetry.kept import KeptMetrics

AWS: Any = {"region_name": "us-east-1", "aws_access_key_id": "any", "aws_secret_access_key": "any"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.mark.parametrize("wire", [True, False])
@pytest.mark.parametrize("batch", [True, False])
def test_each_client_and_each_metric_has_one_name_for_it(server: Server, wire: bool, batch: bool) -> None:
    kept = KeptMetrics()
    url = f"{server.url}/000000000000/nope"
    publisher = SqsPublisher(queue_url=url, endpoint_url=server.url, wire=wire, metrics=kept, **AWS)

    with pytest.raises(Exception, match="does not exist") as raised:
        publisher.publish_batch(["a"]) if batch else publisher.publish("a")

    assert name_error(raised.value.__cause__ if batch else raised.value) == "QueueDoesNotExist"  # type: ignore[arg-type]
    assert kept.counted("sent", error="QueueDoesNotExist") == kept.counted("sent") == 1
    assert len(kept.observed("operation_duration", error="QueueDoesNotExist")) == 1


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"),
        ("QueueDoesNotExist", "QueueDoesNotExist"),
        ("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "TooManyEntriesInBatchRequest"),
        ("AWS.SimpleQueueService.PurgeQueueInProgress", "PurgeQueueInProgress"),
        ("QueueAlreadyExists", "QueueNameExists"),
        ("KMS.ThrottlingException", "KmsThrottled"),
        ("InternalFailure", "InternalFailure"),
        ("NotFound", "NotFound"),
    ],
)
def test_an_old_code_is_named_as_the_api_names_it(code: str, name: str) -> None:
    assert name_code(code) == name
    assert name_error(ClientError({"Error": {"Code": code, "Message": ""}}, "SendMessage")) == name


def test_all_old_codes_of_sqs_are_names_of_its_api() -> None:
    shapes = {shape.name for shape in boto3.client("sqs", **AWS).meta.service_model.error_shapes}
    from megaflow.telemetry.conventions import _NAMES

    assert set(_NAMES.values()) <= shapes


def test_an_error_that_is_not_awss_is_named_by_its_type() -> None:
    assert name_error(EndpointConnectionError(endpoint_url="http://x")) == "EndpointConnectionError"
    assert name_error(ClientError({"Error": {}}, "SendMessage")) == "ClientError"
    assert name_error(ValueError()) == "ValueError"
