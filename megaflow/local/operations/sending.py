"""Deliveries to queues: what a topic has for one is sent to it, if it is there and takes it."""

from __future__ import annotations

from contextlib import nullcontext

from megaflow.local.account import Account
from megaflow.local.content import Content, check_count
from megaflow.local.operations.aws_checks import check_delivery, check_missing
from megaflow.local.refused import Refused
from megaflow.logs import get_logger

log = get_logger(__name__)


def send_to_queue(
    account: Account,
    topic_arn: str,
    arn: str,
    content: Content,
    *,
    message_id: str,
    group_id: str | None = None,
    deduplication_id: str | None = None,
    in_order: bool = False,
) -> bool:
    """Send for a topic, a FIFO one *in order*; tell whether the queue of this ARN is there and took the message."""
    owner = account.owner_of(arn)
    hosted = None if owner is None else owner.queue_by_arn(arn)
    if owner is None or hosted is None:
        log.debug("message %s not delivered: no queue %s", message_id, arn)
        check_missing(account, topic_arn, arn)
        return False
    # Standard queues get the group of a standard topic (fair queues), but not that of a FIFO topic.
    # https://docs.aws.amazon.com/sns/latest/dg/fifo-message-grouping.html
    passed_on = hosted.queue.settings.fifo == in_order
    try:
        check_count(content.attributes)
        with owner.turn() if owner is not account else nullcontext():
            hosted.queue.send(
                content,
                group_id=group_id if passed_on else None,
                deduplication_id=deduplication_id if passed_on else None,
            )
    except Refused as refused:
        log.debug("message %s not delivered to %s: %s", message_id, arn, str(refused))
        return False
    check_delivery(account, topic_arn, hosted.queue)
    return True
