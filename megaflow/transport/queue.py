"""A queue, in boto3's words: send, receive, delete, hide.

The operations: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from megaflow import limits
from megaflow.logs import get_logger
from megaflow.messages.attributes import Attribute
from megaflow.messages.message import Lease, Message, open_message
from megaflow.messages.origin import replace_origin
from megaflow.telemetry import conventions
from megaflow.telemetry.tracing import NO_TRACING, Place, Tracing
from megaflow.transport.addresses import is_fifo, read_address
from megaflow.transport.entries import write_attributes, write_trace_header
from megaflow.transport.errors import is_denied, is_missing_queue
from megaflow.transport.numbers import read_time, read_whole
from megaflow.transport.places import queue_place
from megaflow.transport.protocols import SqsClient
from megaflow.wire.pending import Pending

log = get_logger(__name__)

_DEPTHS: Final = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
_ASKED: Final = [
    *("ApproximateReceiveCount", "SentTimestamp", "MessageGroupId", "MessageDeduplicationId", "SequenceNumber"),
    *("SenderId", "AWSTraceHeader", "DeadLetterQueueSourceArn"),
]
"""What is asked about each message: all that a `Message` tells, since boto3 takes its time for more."""

_PLACES: Final = tuple(str(place) for place in range(limits.BATCH_ENTRIES))
"""The ids of the entries of a batch."""

_FACTS: Final = ("RedrivePolicy", *_DEPTHS)
_SIZE_LIMIT: Final = "MaximumMessageSize"


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What the queue says of itself. *problem* says why it does not; *dead_letter_queue_url* may be ``""``.

    *visible* messages could be received, and so many are *in_flight*: both about. *dead_letter_size_limit* is what a
    message may have in bytes in the dead-letter queue; 0 is that it does not say.
    """

    dead_letter_queue_url: str = ""
    max_receive_count: int = 0
    problem: str = ""
    visible: int = 0
    in_flight: int = 0
    dead_letter_size_limit: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """An entry of a batch that was not carried out; one that is *final* fails however often it is tried."""

    receipt_handle: str
    code: str
    reason: str
    final: bool


class OpenQueue:
    """One queue, as a consumer uses it. May be used from any thread; *clock* gives seconds.

    *connect* gives a client for another queue, by its URL; without it *client* reaches all of them. Where *tracing* has
    spans, there is one of each poll that brings something, and of each call that settles messages.
    """

    def __init__(
        self,
        client: SqsClient,
        url: str,
        *,
        connect: Callable[[str], SqsClient] | None = None,
        clock: Callable[[], float] = time.monotonic,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self.url: Final = url
        self.fifo: Final = is_fifo(url)
        self._client = client
        self._connect = connect or (lambda url: client)
        self._clock = clock
        self._tracing = tracing
        self._redrives_to = ""
        """The dead-letter queue that the queue itself names, once that was asked: it is where the queue is.

        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
        """

    def inspect(self, dead_letter_queue_url: str = "") -> QueueFacts:
        """Return what the queue, and its dead-letter queue, say of themselves; what is refused is not known.

        *dead_letter_queue_url* is that of another one than the redrive policy's. Any other error is raised: to take a
        queue out of reach for one without a dead-letter queue would lose messages.
        """
        facts = self._inspect()
        url = dead_letter_queue_url or facts.dead_letter_queue_url
        return replace(facts, dead_letter_size_limit=self.read_size_limit(url)) if url else facts

    def inspect_depth(self) -> QueueFacts:
        """Return how many messages the queue holds; what it refuses to say is 0."""
        attributes, problem = self._read_attributes(_DEPTHS)
        visible, in_flight = (read_whole(attributes.get(name), 0) for name in _DEPTHS)
        return QueueFacts(problem=problem, visible=visible, in_flight=in_flight)

    def read_size_limit(self, dead_letter_queue_url: str) -> int:
        """Return what a message may have in bytes in the queue at *dead_letter_queue_url*; 0 where it does not say."""
        from botocore.exceptions import ClientError

        client = self._client_for(dead_letter_queue_url)
        try:
            with self._tracing.suppressing_others():
                answer = client.get_queue_attributes(QueueUrl=dead_letter_queue_url, AttributeNames=[_SIZE_LIMIT])
        except ClientError as error:
            # What does not fit is refused, and then sent with less.
            log.info("the size limit of %s is not known: %s", dead_letter_queue_url, str(error))
            return 0
        return read_whole(answer.get("Attributes", {}).get(_SIZE_LIMIT), 0)

    def _inspect(self) -> QueueFacts:
        from botocore.exceptions import ClientError

        attributes, problem = self._read_attributes(_FACTS)
        if problem:
            return QueueFacts(problem=problem)
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
        arn, most = policy.get("deadLetterTargetArn"), read_whole(policy.get("maxReceiveCount"), 0)
        visible, in_flight = (read_whole(attributes.get(name), 0) for name in _DEPTHS)
        if not arn:
            return QueueFacts(visible=visible, in_flight=in_flight)
        try:
            address = read_address(arn)
            with self._tracing.suppressing_others():
                self._redrives_to = find_queue_url(self._client, address.name, address.account)
            return QueueFacts(self._redrives_to, most, visible=visible, in_flight=in_flight)
        except ClientError as error:
            if not (is_denied(error) or is_missing_queue(error)):
                raise
            problem = f"the URL of {arn} could not be looked up: {error}"
            return QueueFacts("", most, problem, visible, in_flight)

    def receive(self, count: int, *, wait_time_seconds: int, visibility_timeout: int) -> list[Message]:
        """Return up to *count* messages, waiting up to *wait_time_seconds* for the first."""
        return self.begin_receive(
            count, wait_time_seconds=wait_time_seconds, visibility_timeout=visibility_timeout
        ).result()

    def delete(self, receipt_handles: Sequence[str]) -> list[Failed]:
        """Delete up to ten messages, and return those that were not."""
        return self.begin_delete(receipt_handles).result()

    def hide(self, pauses: Sequence[tuple[str, float]], messages: Sequence[Message] = ()) -> list[Failed]:
        """Let up to ten messages, by receipt handle, be seen again after so many seconds; return those that failed.

        Where they are settled by it, *messages* are they, for the span of that.
        """
        return self.begin_hide(pauses, messages).result()

    def begin_receive(self, count: int, *, wait_time_seconds: int, visibility_timeout: int) -> Pending[list[Message]]:
        """Begin to `receive`."""
        spans, began, asked_at = self._tracing.look(), time.time_ns(), self._clock()
        pending = self._begin(
            "receive_message",
            MaxNumberOfMessages=count,
            WaitTimeSeconds=wait_time_seconds,
            VisibilityTimeout=visibility_timeout,
            MessageSystemAttributeNames=_ASKED,
            MessageAttributeNames=["All"],
        )

        def receive() -> list[Message]:
            was_there, answer = pending.is_answered, pending.result()
            # What was there before it was asked for may have been on its way for as long as anybody knows.
            at = asked_at if was_there else self._clock()
            until = at + visibility_timeout
            messages = [read_message(raw, self.url, at, until, self._clock) for raw in answer.get("Messages", ())]
            if spans is not None and messages:
                spans.note_receive(self._place, messages, began, answer)
            return messages

        return Pending(receive, pending.sent)

    def begin_delete(self, receipt_handles: Sequence[str], messages: Sequence[Message] = ()) -> Pending[list[Failed]]:
        """Begin to `delete`."""
        entries = [
            {"Id": place, "ReceiptHandle": handle}
            for place, handle in zip(_PLACES[: len(receipt_handles)], receipt_handles, strict=True)
        ]
        pending = self._settle(conventions.DELETE, messages, "delete_message_batch", entries)
        return pending.map(lambda answer: _read_failures(answer, receipt_handles))

    def begin_hide(
        self, pauses: Sequence[tuple[str, float]], messages: Sequence[Message] = ()
    ) -> Pending[list[Failed]]:
        """Begin to `hide`."""
        entries = [
            {"Id": place, "ReceiptHandle": handle, "VisibilityTimeout": math.ceil(seconds)}
            for place, (handle, seconds) in zip(_PLACES[: len(pauses)], pauses, strict=True)
        ]
        pending = self._settle(conventions.HIDE, messages, "change_message_visibility_batch", entries)
        return pending.map(lambda answer: _read_failures(answer, [handle for handle, _ in pauses]))

    def send_dead_letter(self, queue_url: str, message: Message, origin: str) -> None:
        """Send *message* to the dead-letter queue *queue_url* as it was received, with *origin*, if any."""
        attributes = replace_origin(message, origin)
        parameters: dict[str, Any] = {"QueueUrl": queue_url, "MessageBody": message.body}
        if attributes:
            parameters["MessageAttributes"] = write_attributes(attributes)
        if message.trace_header:
            parameters["MessageSystemAttributes"] = write_trace_header(message.trace_header)
        if message.group_id:
            parameters["MessageGroupId"] = message.group_id
        if is_fifo(queue_url):
            parameters.setdefault("MessageGroupId", message.id)
            # Sent twice, if the answer to the first was lost, it is still one.
            parameters["MessageDeduplicationId"] = message.id
        client, spans = self._client_for(queue_url), self._tracing.spans
        if spans is None:
            client.send_message(**parameters)
            return
        span = spans.begin_settle(self._place, conventions.DEAD_LETTER, (message,))
        with span.calling(), span.ending():
            span.note_answer(client.send_message(**parameters))

    @cached_property
    def _place(self) -> Place:
        return queue_place(self._client, self.url)

    def _settle(
        self, how: str, messages: Sequence[Message], method: str, entries: Sequence[Mapping[str, Any]]
    ) -> Pending[Mapping[str, Any]]:
        """Begin to settle *messages*; without these it is something else, and has no span."""
        spans = self._tracing.spans
        if spans is None or not messages:
            return self._begin(method, Entries=entries)
        span = spans.begin_settle(self._place, how, messages)
        return self._begin(method, Entries=entries).map(span.end_with, span.fail_with)

    def _begin(self, method: str, **parameters: Any) -> Pending[Mapping[str, Any]]:
        from megaflow.wire.client import begin_call

        pending = begin_call(self._client, method, QueueUrl=self.url, **parameters)
        spans = self._tracing.spans
        return pending if spans is None else pending.within(spans.suppressing_others)

    def _read_attributes(self, names: Sequence[str]) -> tuple[Mapping[str, str], str]:
        """Return attributes of the queue, or why it refuses to say them; any other error is raised."""
        from botocore.exceptions import ClientError

        try:
            with self._tracing.suppressing_others():
                answer = self._client.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(names))
        except ClientError as error:
            if not is_denied(error):
                raise
            return {}, f"its attributes could not be read: {error}"
        return answer.get("Attributes", {}), ""

    def _client_for(self, dead_letter_queue_url: str) -> SqsClient:
        """Return a client that reaches a dead-letter queue, which may be in another region."""
        is_here = dead_letter_queue_url == self._redrives_to
        return self._client if is_here else self._connect(dead_letter_queue_url)


def find_queue_url(client: SqsClient, name: str, account: str = "") -> str:
    """Return the URL of the queue *name*, of another *account* where one is given, in the region of *client*."""
    owner = {"QueueOwnerAWSAccountId": account} if account else {}
    return str(client.get_queue_url(QueueName=name, **owner)["QueueUrl"])


def read_message(
    raw: Mapping[str, Any], queue_url: str, received_at: float, expires_at: float, clock: Callable[[], float]
) -> Message:
    """Return the message that ``receive_message`` gave as *raw*."""
    system, attributes = raw.get("Attributes", {}), raw.get("MessageAttributes")
    return open_message(
        raw["Body"],
        id=raw["MessageId"],
        sqs_attributes=attributes and {name: _read_attribute(each) for name, each in attributes.items()},
        receive_count=read_whole(system.get("ApproximateReceiveCount"), 1),
        sent_at=read_time(system.get("SentTimestamp")),
        group_id=system.get("MessageGroupId", ""),
        deduplication_id=system.get("MessageDeduplicationId", ""),
        queue_url=queue_url,
        lease=Lease(raw["ReceiptHandle"], received_at, expires_at, clock),
        system_attributes=system,
    )


def _read_failures(answer: Mapping[str, Any], receipt_handles: Sequence[str]) -> list[Failed]:
    """Return what failed, and what the answer does not speak of."""
    done = {each["Id"] for each in answer.get("Successful", ())}
    if done.issuperset(_PLACES[: len(receipt_handles)]):
        return []
    failed = {each["Id"]: each for each in answer.get("Failed", ())}
    unanswered = {"Code": "NoAnswer", "Message": "the answer does not speak of this entry"}
    return [
        _read_failure(handle, failed.get(place, unanswered))
        for place, handle in zip(_PLACES[: len(receipt_handles)], receipt_handles, strict=True)
        if place not in done
    ]


def _read_failure(handle: str, said: Mapping[str, Any]) -> Failed:
    return Failed(handle, said.get("Code", "Unknown"), said.get("Message", ""), final=bool(said.get("SenderFault")))


def _read_attribute(raw: Mapping[str, Any]) -> Attribute:
    binary = raw.get("BinaryValue")
    return Attribute(raw["DataType"], bytes(binary) if binary is not None else raw.get("StringValue", ""))
