"""`SnsPublisher`: publishing to an SNS topic.

The operations: https://docs.aws.amazon.com/sns/latest/api/API_Operations.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Unpack

from typing_extensions import override

from megaflow import limits
from megaflow.checks import check_whole
from megaflow.errors import EncodeError
from megaflow.keywords import check_options
from megaflow.messages.payloads import Payloads
from megaflow.publishing.outgoing import Outgoing, Prepared, write_options
from megaflow.publishing.publisher import Publisher
from megaflow.settings import TOPIC_ARN_VARIABLE, check_address, refuse_both, resolve
from megaflow.telemetry.metrics import Metrics
from megaflow.telemetry.tracing import Place, Telemetry
from megaflow.transport.addresses import is_fifo, topic_arn_of
from megaflow.transport.lookups import find_topic
from megaflow.transport.places import topic_place
from megaflow.transport.protocols import SnsClient, check_client
from megaflow.transport.session import AwsOptions, Clients
from megaflow.transport.sns_header import let_header_through, sending_header
from megaflow.wire.pending import Pending

_REFUSED_IN_SUBJECT: Final = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]"
"""Line breaks, control characters, and what is no Unicode text; compiled once it is needed, which takes a while."""


class SnsPublisher(Publisher):
    """Publishes messages to a topic. May be used from any thread. Nothing is asked of AWS before the first message.

    The options in `AwsOptions` say how to reach AWS.

    Args:
        topic_arn: The topic; it names the region. Without it, ``MEGAFLOW_TOPIC_ARN`` is read.
        topic: The topic, by name, in place of *topic_arn*. Its ARN is looked up before the first message.
        max_message_size: How many bytes the topic allows: 256 KiB, unless you have set it to more; at most 1 MiB.
        client: Your own boto3 SNS client, for the region of the topic.
        sleep: Waits between the tries of a batch.
        metrics: An object of yours that is told what is sent, and how long that takes: `Metrics`.
        telemetry: Trace and count what is sent by OpenTelemetry, where its SDK is set up.
        large_payloads: Where payloads go that are too large for a message, such as `megaflow.payloads.S3Payloads`.
    """

    def __init__(
        self,
        *,
        topic_arn: str | None = None,
        topic: str | None = None,
        max_message_size: int = limits.SNS_MESSAGE_SIZE,
        client: SnsClient | None = None,
        sleep: Callable[[float], None] = time.sleep,
        metrics: Metrics | None = None,
        telemetry: bool | Telemetry = True,
        large_payloads: Payloads | None = None,
        **aws: Unpack[AwsOptions],
    ) -> None:
        check_options(SnsPublisher, aws, AwsOptions)
        check_address("topic_arn", topic_arn, topic_arn_of)
        check_client("client", client, "sns", only_sends=True)
        check_whole("max_message_size", max_message_size, 1, limits.SQS_MESSAGE_SIZE)
        super().__init__(
            max_size=max_message_size, sleep=sleep, telemetry=telemetry, metrics=metrics, large_payloads=large_payloads
        )
        refuse_both("topic_arn", topic_arn, "topic", topic)
        self._topic_arn = topic_arn
        self._topic = topic
        self._clients = Clients("sns", aws, client, wire=False, tracing=self._tracing)

    @cached_property
    def topic_arn(self) -> str:
        """The topic's ARN; raises `ConfigurationError` where none is set, or it is no ARN of a topic.

        Of a topic by name, it is looked up, and the same is raised where that is not there.
        """
        if self._topic:
            return find_topic(self._topic, self._clients)
        return resolve("topic_arn", self._topic_arn, TOPIC_ARN_VARIABLE, read=topic_arn_of)

    @cached_property
    @override
    def client(self) -> SnsClient:
        """The SNS client that publishes."""
        client: SnsClient = self._clients.client_for(self.topic_arn)
        let_header_through(client)
        return client

    @cached_property
    @override
    def _place(self) -> Place:
        return topic_place(self.client, self.topic_arn)

    @property
    @override
    def _is_fifo(self) -> bool:
        return is_fifo(self._address)

    @property
    @override
    def _has_one_trace_header(self) -> bool:
        return True

    @override
    def _check(self, source: Outgoing) -> None:
        _check_for_topic(source, self._address)

    @cached_property
    @override
    def _address(self) -> str:
        """The topic's ARN, or its name, which is not looked up for what it says by itself."""
        return self._topic or self.topic_arn

    @override
    def _send(self, message: Prepared) -> Mapping[str, Any]:
        with sending_header(message.trace_header):
            return self.client.publish(TopicArn=self.topic_arn, **_write_entry(message))

    @override
    def _begin(self, batch: Sequence[Prepared], until: float) -> Pending[Mapping[str, Any]]:
        from megaflow.wire.client import begin_call

        entries = [{"Id": str(place), **_write_entry(message)} for place, message in enumerate(batch)]
        asked = {"TopicArn": self.topic_arn, "PublishBatchRequestEntries": entries}
        pending = begin_call(self.client, "publish_batch", until=until, **asked)
        header, *others = dict.fromkeys(message.trace_header for message in batch)
        return pending if others else pending.within(lambda: sending_header(header))


def _check_for_topic(source: Outgoing, address: str) -> None:
    if source.delay_seconds is not None:
        raise EncodeError("is for queues, and this goes to a topic", "delay_seconds")
    if is_fifo(address):
        if not source.group_id:
            raise EncodeError("is missing: every message of a FIFO topic belongs to a group", "group_id")
    elif source.deduplication_id:
        raise EncodeError("is for FIFO topics, and this is none", "deduplication_id")
    if source.subject and not _allows_subject(source.subject):
        raise EncodeError(
            f"{source.subject!r} is not up to {limits.SNS_SUBJECT_LENGTH} characters of one line", "subject"
        )


def _allows_subject(subject: object) -> bool:
    return (
        isinstance(subject, str)
        and len(subject) <= limits.SNS_SUBJECT_LENGTH
        and not re.search(_REFUSED_IN_SUBJECT, subject)
    )


def _write_entry(message: Prepared) -> dict[str, Any]:
    subject = message.source.subject
    entry = {"Message": message.body, **write_options(message)}
    return entry | {"Subject": subject} if subject else entry
