"""A call whose last attempt found nobody listening passed for never sent; its first may have lost only the answer."""

from __future__ import annotations

import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError, SSLError

from megaflow import PublishError, SqsPublisher
from tests.fakes import ScriptedClient

URL = "https://sqs.us-east-1.amazonaws.com/000000000000/orders"


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url=URL),
        ConnectTimeoutError(endpoint_url=URL),
        ProxyConnectionError(proxy_url=URL),
        SSLError(endpoint_url=URL, error="broken"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refused_connection_leaves_it_unknown_what_went_before(error: Exception) -> None:
    publisher = SqsPublisher(queue_url=URL, client=ScriptedClient(error))

    with pytest.raises(PublishError) as caught:
        publisher.publish_batch(["ping"])

    assert [each.unknown for each in caught.value.failed] == [True]
