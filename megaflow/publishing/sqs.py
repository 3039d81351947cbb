"""`SqsPublisher`: publishing to an SQS queue.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Unpack

from typing_extensions import override

from megaflow import limits
from megaflow.checks import check_flag
from megaflow.errors import EncodeError
from megaflow.keywords import check_options
from megaflow.messages.payloads import Payloads
from megaflow.publishing.outgoing import Outgoing, Prepared, write_options
from megaflow.publishing.publisher import Publisher
from megaflow.settings import QUEUE_URL_VARIABLE, check_address, refuse_both, resolve
from megaflow.telemetry.metrics import Metrics
from megaflow.telemetry.tracing import Place, Telemetry
from megaflow.transport.addresses import is_fifo, queue_url_of
from megaflow.transport.entries import write_trace_header
from megaflow.transport.lookups import find_queue
from megaflow.transport.places import queue_place
from megaflow.transport.protocols import SqsClient, check_client
from megaflow.transport.session import AwsOptions, Clients
from megaflow.wire.pending import Pending


class SqsPublisher(Publisher):
    """Sends messages to a queue. May be used from any thread. Nothing is asked of AWS before the first message.

    The options in `AwsOptions` say how to reach AWS.

    Args:
        queue_url: The queue, by URL or ARN; it names the region. Without it, ``MEGAFLOW_QUEUE_URL`` is read.
        queue: The queue, by name, in place of *queue_url*. Its URL is looked up before the first message.
        client: Your own boto3 SQS client, for the region of the queue.
        wire: Make the calls without boto3 where that is possible. False makes every call through boto3.
        sleep: Waits between the tries of a batch.
        metrics: An object of yours that is told what is sent, and how long that takes: `Metrics`.
        telemetry: Trace and count what is sent by OpenTelemetry, where its SDK is set up.
        large_payloads: Where payloads go that are too large for a message, such as `megaflow.payloads.S3Payloads`.
    """

    def __init__(
        self,
        *,
        queue_url: str | None = None,
        queue: str | None = None,
        client: SqsClient | None = None,
        wire: bool = True,
        sleep: Callable[[float], None] = time.sleep,
        metrics: Metrics | None = None,
        telemetry: bool | Telemetry = True,
        large_payloads: Payloads | None = None,
        **aws: Unpack[AwsOptions],
    ) -> None:
        check_options(SqsPublisher, aws, AwsOptions)
        check_address("queue_url", queue_url, queue_url_of)
        check_client("client", client, "sqs", only_sends=True)
        check_flag("wire", wire)
        super().__init__(
            max_size=limits.SQS_MESSAGE_SIZE,
            sleep=sleep,
            telemetry=telemetry,
            metrics=metrics,
            large_payloads=large_payloads,
        )
        refuse_both("queue_url", queue_url, "queue", queue)
        self._queue_url = queue_url
        self._queue = queue
        self._clients = Clients("sqs", aws, client, wire=wire, tracing=self._tracing)

    @cached_property
    def queue_url(self) -> str:
        """The queue's URL; raises `ConfigurationError` where none is set, or it is no URL or ARN of a queue.

        Of a queue by name, it is looked up, and the same is raised where that is not there.
        """
        if self._queue:
            return find_queue(self._queue, self._clients)
        return resolve("queue_url", self._queue_url, QUEUE_URL_VARIABLE, read=queue_url_of)

    @cached_property
    @override
    def client(self) -> SqsClient:
        """The SQS client that sends."""
        return self.client_for(self.queue_url)

    def client_for(self, address: str) -> SqsClient:
        """Return a client for another queue, by URL or ARN, in the region of that queue.

        Raises `ConfigurationError` where you gave a region or a client, and *address* is in another region.
        """
        client: SqsClient = self._clients.client_for(address)
        return client

    def check(self, address: str) -> None:
        """Raise `ConfigurationError` where you gave a region or a client, and *address* is in another region."""
        self._clients.check(address)

    @cached_property
    @override
    def _place(self) -> Place:
        return queue_place(self.client, self.queue_url)

    @property
    @override
    def _is_fifo(self) -> bool:
        return is_fifo(self._address)

    @property
    @override
    def _has_one_trace_header(self) -> bool:
        return False

    @override
    def _check(self, source: Outgoing) -> None:
        _check_for_queue(source, self._address)

    @cached_property
    @override
    def _address(self) -> str:
        """The queue's URL, or its name, which is not looked up for what it says by itself."""
        return self._queue or self.queue_url

    @override
    def _send(self, message: Prepared) -> Mapping[str, Any]:
        return self.client.send_message(QueueUrl=self.queue_url, **_write_entry(message))

    @override
    def _begin(self, batch: Sequence[Prepared], until: float) -> Pending[Mapping[str, Any]]:
        from megaflow.wire.client import begin_call

        entries = [{"Id": str(place), **_write_entry(message)} for place, message in enumerate(batch)]
        return begin_call(self.client, "send_message_batch", until=until, QueueUrl=self.queue_url, Entries=entries)


def _check_for_queue(source: Outgoing, address: str) -> None:
    if source.subject:
        raise EncodeError("is for topics, and this goes to a queue", "subject")
    if not is_fifo(address):
        if source.deduplication_id:
            raise EncodeError("is for FIFO queues, and this is none", "deduplication_id")
        return
    if not source.group_id:
        raise EncodeError("is missing: every message of a FIFO queue belongs to a group", "group_id")
    if source.delay_seconds is not None:
        raise EncodeError("FIFO queues have no delay per message, only one of their own", "delay_seconds")


def _write_entry(message: Prepared) -> dict[str, Any]:
    delay = message.source.delay_seconds
    entry = {"MessageBody": message.body, **write_options(message)}
    if message.trace_header:
        entry["MessageSystemAttributes"] = write_trace_header(message.trace_header)
    return entry if delay is None else entry | {"DelaySeconds": delay}
