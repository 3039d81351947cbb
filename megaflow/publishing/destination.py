"""What an app is connected to, and publishing there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Unpack

from megaflow.errors import ConfigurationError
from megaflow.publishing.batches import Sent
from megaflow.publishing.outgoing import PublishOptions
from megaflow.publishing.publisher import IN_FLIGHT
from megaflow.publishing.sns import SnsPublisher
from megaflow.publishing.sqs import SqsPublisher
from megaflow.settings import QUEUE_URL_VARIABLE, TOPIC_ARN_VARIABLE
from megaflow.transport.protocols import SnsClient, SqsClient
from megaflow.transport.session import AwsOptions


@dataclass(frozen=True, slots=True)
class Connection:
    """Where an app's messages come from and go to, and how to get there."""

    queue_url: str | None
    topic_arn: str | None
    client: SqsClient | None
    sns_client: SnsClient | None
    aws: AwsOptions = field(repr=False)

    def changed(self, to: Connection) -> Connection:
        """Return the same with what *to* says in place of what this one does."""
        keeps_clients = not to.aws
        return Connection(
            to.queue_url or self.queue_url,
            to.topic_arn or self.topic_arn,
            to.client or (self.client if keeps_clients else None),
            to.sns_client or (self.sns_client if keeps_clients else None),
            self.aws | to.aws,
        )


class Producer:
    """Publishes to the topic of its *connection* where there is one, else to its queue; see `App` for the rest."""

    def __init__(self, connection: Connection, *, wire: bool, max_message_size: int) -> None:
        self._wire = wire
        self._max_message_size = max_message_size
        self._connect(connection)

    @property
    def queue_url(self) -> str | None:
        """The queue's URL, as it was given or the environment has it."""
        return self._connection.queue_url or os.environ.get(QUEUE_URL_VARIABLE) or None

    @property
    def topic_arn(self) -> str | None:
        """The topic's ARN, as it was given or the environment has it."""
        return self._connection.topic_arn or os.environ.get(TOPIC_ARN_VARIABLE) or None

    def publish(self, payload: Any, **options: Unpack[PublishOptions]) -> str:
        """Send *payload* to the topic where one is set, else to the queue, and return its message id.

        See `Publisher.publish`. Raises `ConfigurationError` where neither is set.
        """
        return self._publisher().publish(payload, **options)

    def publish_batch(self, items: Iterable[object], **options: Unpack[PublishOptions]) -> list[str]:
        """Send *items* to the topic where one is set, else to the queue; see `Publisher.publish_batch`."""
        return self._publisher().publish_batch(items, **options)

    def publish_stream(
        self,
        items: Iterable[object],
        *,
        raw: bool = False,
        in_flight: int = IN_FLIGHT,
        **options: Unpack[PublishOptions],
    ) -> Iterator[Sent]:
        """Send *items* as they come to the topic where one is set, else to the queue.

        See `Publisher.publish_stream`.
        """
        return self._publisher().publish_stream(items, raw=raw, in_flight=in_flight, **options)

    def publish_raw_message(self, body: str, **options: Unpack[PublishOptions]) -> str:
        """Send the text *body* as it is to the topic where one is set, else to the queue."""
        return self._publisher().publish_raw_message(body, **options)

    def _connect(self, to: Connection) -> None:
        self._connection = to
        self._sqs = SqsPublisher(queue_url=to.queue_url, client=to.client, wire=self._wire, **to.aws)
        self._sns = SnsPublisher(
            topic_arn=to.topic_arn, client=to.sns_client, max_message_size=self._max_message_size, **to.aws
        )

    def _connect_to(self, queue_url: str) -> SqsClient:
        to = self._connection
        return SqsPublisher(queue_url=queue_url, client=to.client, wire=self._wire, **to.aws).client

    def _publisher(self) -> SqsPublisher | SnsPublisher:
        if self.topic_arn:
            return self._sns
        if self.queue_url:
            return self._sqs
        raise ConfigurationError(
            f"there is nowhere to publish to: give topic_arn= or queue_url=, or set {TOPIC_ARN_VARIABLE} or "
            f"{QUEUE_URL_VARIABLE}"
        )
