"""Operations of SNS that publish, to all endpoints that subscribed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import Final

from megaflow.limits import (
    BATCH_ENTRIES,
    SNS_MESSAGE_SIZE,
    SNS_SUBJECT_LENGTH,
    allows_group_id,
    refused_character,
)
from megaflow.local.account import Account
from megaflow.local.content import Content, read_trace_header, size_of_entry
from megaflow.local.envelopes import content_for
from megaflow.local.operations.batches import BatchEntry, is_entry_id
from megaflow.local.operations.operation import Answer, Ask
from megaflow.local.operations.posting import origin_of, post_publication
from megaflow.local.operations.published_attributes import read_attributes_of
from megaflow.local.operations.sending import send_to_queue
from megaflow.local.refused import Refused, invalid_parameter
from megaflow.local.topic import NO_PARTS, POSTED, LocalTopic, Publication, Subscription

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def publish_to(account: Account, topic: LocalTopic, ask: Ask) -> Answer:
    """Publish what boto3's ``publish`` takes, or an entry of ``publish_batch``, and answer as boto3 does.

    Raises:
        Refused: a message, subject, attribute or id that SNS does not take.
    """
    if topic.fifo:
        account.touch_topic(topic)
    published = topic.publish(_read_publication(topic, ask), partial(_deliver, account, topic))
    sequence = {"SequenceNumber": published.sequence_number} if published.sequence_number else {}
    return {"MessageId": published.id, **sequence}


def check_published_batch(entries: Sequence[BatchEntry], topic: LocalTopic) -> None:
    """Refuse what fails a whole batch: too much of it, wrong ids, and what each entry must have.

    https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html

    Raises:
        Refused: in SNS's words.
    """
    _check_entries(entries)
    sizes = [size_of_entry(entry["Message"], entry.get("MessageAttributes", {})) for entry in entries]
    if sum(sizes) > max(SNS_MESSAGE_SIZE, topic.maximum_message_size):
        raise Refused("BatchRequestTooLong", "The length of all the messages put together is more than the limit.")
    for check in (partial(_message_for, "sqs"), read_attributes_of, topic.check_order):
        for entry in entries:
            check(entry)


def _check_entries(entries: Sequence[BatchEntry]) -> None:
    if not entries:
        raise Refused("EmptyBatchRequest", "The batch request doesn't contain any entries.")
    if len(entries) > BATCH_ENTRIES:
        raise Refused("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
    ids = [entry["Id"] for entry in entries]
    for one in ids:
        if not is_entry_id(one):
            raise Refused(
                "InvalidBatchEntryId",
                f"The Id of a batch entry in the batch request contains an impermissible character: {one}",
            )
    if len(set(ids)) < len(ids):
        raise Refused("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")


def _read_publication(topic: LocalTopic, ask: Ask) -> Publication:
    message, subject = ask["Message"], ask.get("Subject")
    if not message:
        raise invalid_parameter("Empty message")
    if size_of_entry(message, ask.get("MessageAttributes", {})) > topic.maximum_message_size:
        raise invalid_parameter("Message too long")
    if refused_character(message) is not None:
        raise invalid_parameter("Message Reason: it has a character that SQS does not take")
    if subject is not None and not _allows_subject(subject):
        raise invalid_parameter("Subject")
    _check_ids(topic, ask)
    return Publication(
        _message_for("sqs", ask),
        subject,
        read_attributes_of(ask),
        ask.get("MessageGroupId"),
        ask.get("MessageDeduplicationId"),
        read_trace_header(ask),
        {name: _message_for(name, ask) for name in POSTED} if "MessageStructure" in ask else NO_PARTS,
    )


def _allows_subject(subject: str) -> bool:
    return 0 < len(subject) <= SNS_SUBJECT_LENGTH and _CONTROL.search(subject) is None


def _check_ids(topic: LocalTopic, ask: Ask) -> None:
    if not topic.fifo and "MessageDeduplicationId" in ask:
        raise invalid_parameter(
            "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid "
            "for this topic type"
        )
    for name in ("MessageGroupId", "MessageDeduplicationId"):
        if name in ask and not allows_group_id(ask[name]):
            raise invalid_parameter(f"{name} Reason: must be 1 to 128 alphanumeric and punctuation characters")
    topic.check_order(ask)


def _message_for(protocol: str, ask: Ask) -> str:
    """Return the message, or its part for a protocol where ``MessageStructure`` is ``json``.

    https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
    """
    if "MessageStructure" not in ask:
        return str(ask["Message"])
    if ask["MessageStructure"] != "json":
        raise invalid_parameter("MessageStructure")
    try:
        messages = json.loads(ask["Message"])
    except (ValueError, RecursionError) as error:
        raise invalid_parameter("Message Structure - JSON message body failed to parse") from error
    if not isinstance(messages, dict) or not isinstance(messages.get("default"), str):
        raise invalid_parameter("Message Structure - No default entry in JSON message body")
    given = messages.get(protocol)
    message = given if isinstance(given, str) else str(messages["default"])
    # An escape in the JSON can hold what could not stand there itself.
    if not message or refused_character(message) is not None:
        raise invalid_parameter(
            f"Message Structure - The part for {protocol} is empty, or has a character SQS does not take"
        )
    return message


def _deliver(account: Account, topic: LocalTopic, subscription: Subscription, publication: Publication) -> None:
    """Give *publication* to the endpoint of *subscription*; a queue that cannot take it has a dead-letter queue.

    https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html
    """
    content = content_for(subscription, publication, topic, origin_of(account))
    if subscription.is_posted_to:
        post_publication(account, subscription, publication, content)
        return
    dead_letter_arn = subscription.dead_letter_arn
    if not _send(account, topic, subscription.endpoint, content, publication) and dead_letter_arn is not None:
        _send(account, topic, dead_letter_arn, content, publication)


def _send(account: Account, topic: LocalTopic, arn: str, content: Content, publication: Publication) -> bool:
    return send_to_queue(
        account,
        topic.arn,
        arn,
        content,
        message_id=publication.id,
        group_id=publication.group_id,
        deduplication_id=publication.deduplication_id,
        in_order=publication.sequence_number is not None,
    )
