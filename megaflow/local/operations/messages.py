"""The operations of SQS on messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from megaflow.limits import DELAY, RECEIVED_MESSAGES, SQS_MESSAGE_SIZE, VISIBILITY_TIMEOUT, WAIT_TIME, allows_group_id
from megaflow.local.account import Account
from megaflow.local.content import (
    TRACE_HEADER,
    Content,
    chosen,
    md5_of_attributes,
    md5_of_body,
    read_content,
    show_attributes,
    size_of_entry,
)
from megaflow.local.hosted_queue import HostedQueue
from megaflow.local.operations.batches import BatchEntry, check_batch, check_batch_size, each
from megaflow.local.operations.operation import CALLED_AT, Answer, Ask, Operation
from megaflow.local.operations.posting import body_of
from megaflow.local.operations.queues import QUEUE_ATTRIBUTES
from megaflow.local.refused import (
    Refused,
    invalid_value,
    missing,
    no_deduplication_id,
    sqs_code,
    wrong_queue_type,
)
from megaflow.local.stored_message import Delivery

_SYSTEM_ATTRIBUTES: Final = frozenset(
    {
        "AWSTraceHeader",
        "All",
        "ApproximateFirstReceiveTimestamp",
        "ApproximateReceiveCount",
        "DeadLetterQueueSourceArn",
        "MessageDeduplicationId",
        "MessageGroupId",
        "SenderId",
        "SentTimestamp",
        "SequenceNumber",
    }
)


def _send_message(account: Account, ask: Ask) -> Answer:
    return _send(account.queue(ask["QueueUrl"]), ask)


def _send_message_batch(account: Account, ask: Ask) -> Answer:
    hosted, entries = account.queue(ask["QueueUrl"]), ask["Entries"]
    check_batch(entries, "SendMessageBatchRequestEntry")
    sizes = [size_of_entry(entry["MessageBody"], entry.get("MessageAttributes", {})) for entry in entries]
    check_batch_size(sizes, SQS_MESSAGE_SIZE)
    if hosted.queue.settings.fifo:
        _check_ids(entries, by_content=hosted.queue.settings.content_based_deduplication)
    return each(entries, partial(_send, hosted), sqs_code)


def _check_ids(entries: Sequence[BatchEntry], *, by_content: bool) -> None:
    """Refuse the whole batch for an entry that a FIFO queue could not put in its place."""
    for entry in entries:
        if "MessageGroupId" not in entry:
            raise Refused("InvalidParameterValue", missing("MessageGroupId").message)
        if not by_content and "MessageDeduplicationId" not in entry:
            raise no_deduplication_id()


def _send(hosted: HostedQueue, ask: Ask) -> Answer:
    content = read_content(ask)
    _check_send(ask, fifo=hosted.queue.settings.fifo)
    message = hosted.queue.send(
        content,
        group_id=ask.get("MessageGroupId"),
        deduplication_id=ask.get("MessageDeduplicationId"),
        delay=ask.get("DelaySeconds"),
    )
    sequence = {"SequenceNumber": message.sequence_number} if message.sequence_number else {}
    return {"MessageId": message.id, **_sums(content, ask), **sequence}


def _check_send(ask: Ask, *, fifo: bool) -> None:
    delay = ask.get("DelaySeconds", 0)
    if not 0 <= delay <= DELAY:
        raise invalid_value(delay, "DelaySeconds", f"DelaySeconds must be >= 0 and <= {DELAY}.")
    if fifo and delay:
        raise wrong_queue_type(delay, "DelaySeconds")
    if not fifo and "MessageDeduplicationId" in ask:
        raise wrong_queue_type(ask["MessageDeduplicationId"], "MessageDeduplicationId")
    for name in ("MessageGroupId", "MessageDeduplicationId"):
        if name in ask and not allows_group_id(ask[name]):
            raise invalid_value(
                ask[name],
                name,
                f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length.",
            )


def _sums(content: Content, ask: Ask) -> Answer:
    sums = {"MD5OfMessageBody": md5_of_body(content.body)}
    if content.attributes:
        sums["MD5OfMessageAttributes"] = md5_of_attributes(content.attributes)
    if ask.get("MessageSystemAttributes"):
        sums["MD5OfMessageSystemAttributes"] = md5_of_attributes(content.system_attributes)
    return sums


def _receive_message(account: Account, ask: Ask) -> Answer:
    _check_receive(ask)
    received = account.receive(
        ask["QueueUrl"],
        ask.get("MaxNumberOfMessages", 1),
        visibility_timeout=ask.get("VisibilityTimeout"),
        attempt_id=ask.get("ReceiveRequestAttemptId"),
    )
    return {"Messages": [_show(account, one, ask) for one in received]} if received else {}


def wait_time(account: Account, ask: Ask) -> float:
    """Return how many seconds a receive waits for a first message: its own choice, else the queue's."""
    return float(ask.get("WaitTimeSeconds", account.queue(ask["QueueUrl"]).queue.settings.wait_time))


def _check_receive(ask: Ask) -> None:
    _check_range(ask, "MaxNumberOfMessages", 1, RECEIVED_MESSAGES)
    _check_range(ask, "VisibilityTimeout", 0, VISIBILITY_TIMEOUT)
    _check_range(ask, "WaitTimeSeconds", 0, WAIT_TIME, "Must be >= {} and <= {}, if provided.")
    for name in _system_names(ask):
        if name not in _SYSTEM_ATTRIBUTES and name not in QUEUE_ATTRIBUTES:
            raise Refused("InvalidAttributeName", f"Unknown Attribute {name}.")


def _system_names(ask: Ask) -> set[str]:
    return {*ask.get("MessageSystemAttributeNames", ()), *ask.get("AttributeNames", ())}


def _check_range(
    ask: Ask, name: str, low: int, high: int, reason: str = "Must be between {} and {}, if provided."
) -> None:
    value = ask.get(name, low)
    if not low <= value <= high:
        raise invalid_value(value, name, reason.format(low, high))


def _show(account: Account, received: Delivery, ask: Ask) -> Answer:
    content = received.message.content
    body = body_of(account, content, ask.get(CALLED_AT, account.url)) if content.system_attributes else content.body
    attributes = chosen(content.attributes, ask.get("MessageAttributeNames", ()))
    system = _system_attributes(account, received)
    names = _system_names(ask)
    wanted = system if "All" in names else {name: value for name, value in system.items() if name in names}
    answer: Answer = {
        "MessageId": received.message.id,
        "ReceiptHandle": received.receipt_handle,
        "MD5OfBody": md5_of_body(body),
        "Body": body,
    }
    if wanted:
        answer["Attributes"] = wanted
    if attributes:
        answer["MD5OfMessageAttributes"] = md5_of_attributes(attributes)
        answer["MessageAttributes"] = show_attributes(attributes)
    return answer


def _system_attributes(account: Account, received: Delivery) -> dict[str, str]:
    message = received.message
    trace = message.content.system_attributes.get(TRACE_HEADER)
    known = {
        "SenderId": account.account_id,
        "SentTimestamp": _milliseconds(message.sent_at),
        "ApproximateReceiveCount": str(received.receive_count),
        "ApproximateFirstReceiveTimestamp": _milliseconds(received.first_received_at),
        "SequenceNumber": message.sequence_number,
        "MessageDeduplicationId": message.deduplication_id,
        "MessageGroupId": message.group_id,
        "DeadLetterQueueSourceArn": received.source_arn,
        TRACE_HEADER: str(trace.value) if trace else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _delete_message(account: Account, ask: Ask) -> Answer:
    return _delete(account.queue(ask["QueueUrl"]), ask)


def _delete_message_batch(account: Account, ask: Ask) -> Answer:
    hosted = account.queue(ask["QueueUrl"])
    check_batch(ask["Entries"], "DeleteMessageBatchRequestEntry")
    return each(ask["Entries"], partial(_delete, hosted), sqs_code)


def _delete(hosted: HostedQueue, ask: Ask) -> Answer:
    hosted.queue.delete(ask["ReceiptHandle"])
    return {}


def _change_message_visibility(account: Account, ask: Ask) -> Answer:
    return _change_visibility(account.queue(ask["QueueUrl"]), ask)


def _change_message_visibility_batch(account: Account, ask: Ask) -> Answer:
    hosted = account.queue(ask["QueueUrl"])
    check_batch(ask["Entries"], "ChangeMessageVisibilityBatchRequestEntry")
    return each(ask["Entries"], partial(_change_visibility, hosted), sqs_code)


def _change_visibility(hosted: HostedQueue, ask: Ask) -> Answer:
    _check_range(ask, "VisibilityTimeout", 0, VISIBILITY_TIMEOUT)
    hosted.queue.change_visibility(ask["ReceiptHandle"], ask.get("VisibilityTimeout", 0))
    return {}


MESSAGE_OPERATIONS: Final[Mapping[str, Operation]] = {
    "SendMessage": _send_message,
    "SendMessageBatch": _send_message_batch,
    "ReceiveMessage": _receive_message,
    "DeleteMessage": _delete_message,
    "DeleteMessageBatch": _delete_message_batch,
    "ChangeMessageVisibility": _change_message_visibility,
    "ChangeMessageVisibilityBatch": _change_message_visibility_batch,
}
