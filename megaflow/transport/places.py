"""Places: queues and topics as spans name them, with the host that is called for them."""

from __future__ import annotations

from megaflow.telemetry import conventions
from megaflow.telemetry.tracing import Place
from megaflow.transport.addresses import name_of


def queue_place(client: object, url: str) -> Place:
    """Return the queue at *url*, which *client* calls."""
    return Place(conventions.SQS, name_of(url), url, _endpoint_of(client))


def topic_place(client: object, topic_arn: str) -> Place:
    """Return the topic of this ARN, which *client* calls."""
    return Place(conventions.SNS, name_of(topic_arn), topic_arn, _endpoint_of(client))


def _endpoint_of(client: object) -> str:
    said = getattr(getattr(client, "meta", None), "endpoint_url", "")
    return said if isinstance(said, str) else ""
