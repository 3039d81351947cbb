"""Checks of what is done here and AWS would not do: what topics deliver, and who may do what. They warn, no more."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from megaflow.local.access import account_as_caller, allows, topic_as_caller
from megaflow.local.account import Account
from megaflow.local.operations.operation import Ask
from megaflow.local.operations.permissions import FOR_THE_OWNER
from megaflow.local.queue import LocalQueue
from megaflow.local.refused import Refused
from megaflow.local.topic import Subscription

_AWSS_OWN_KEY: Final = "alias/aws/sqs"


def check_delivery(account: Account, topic_arn: str, queue: LocalQueue) -> None:
    """Warn where a topic has reached a queue that does not let it in, or whose key it could not use.

    https://docs.aws.amazon.com/sns/latest/dg/subscribe-sqs-queue-to-sns-topic.html
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
    """
    shown, about = queue.settings.shown, (queue.arn, topic_arn)
    if not _lets_topic_in(shown.get("Policy", ""), queue.arn, topic_arn):
        account.warnings.add("queue policy", *about, text=lambda: _tell_of_policy(*about))
    if shown.get("KmsMasterKeyId", "").endswith(_AWSS_OWN_KEY):
        account.warnings.add("queue key", *about, text=lambda: _tell_of_key(*about))


@lru_cache(maxsize=1024)
def _lets_topic_in(policy: str, queue_arn: str, topic_arn: str) -> bool:
    return allows(policy, topic_as_caller(topic_arn), "sqs:SendMessage", queue_arn)


def _tell_of_policy(queue_arn: str, topic_arn: str) -> str:
    return (
        f"topic {topic_arn} reaches queue {queue_arn} here; on AWS its messages would be lost, as the queue does not "
        'let it in: give its attribute Policy a statement that allows Principal {"Service": "sns.amazonaws.com"} the '
        f'Action sqs:SendMessage, Condition {{"ArnEquals": {{"aws:SourceArn": "{topic_arn}"}}}}'
    )


def _tell_of_key(queue_arn: str, topic_arn: str) -> str:
    return (
        f"topic {topic_arn} reaches queue {queue_arn} here; on AWS its messages would be lost, as the queue is "
        f"encrypted with the key {_AWSS_OWN_KEY}, which SNS may not use: take a key of your own whose policy lets "
        "sns.amazonaws.com use it, or SqsManagedSseEnabled"
    )


def check_missing(account: Account, topic_arn: str, queue_arn: str) -> None:
    """Warn where a topic has not reached a queue that may well be on AWS: one of another region or account."""
    if not queue_arn.startswith(account.arn("sqs", "")):
        account.warnings.add(
            "queue elsewhere",
            queue_arn,
            topic_arn,
            text=lambda: (
                f"topic {topic_arn} delivers nothing to {queue_arn}: there is no such queue here, and its ARN is of "
                "another region or account than the topic's; subscribe the QueueArn that GetQueueAttributes gives here"
            ),
        )


def check_dead_letters(account: Account, subscription: Subscription) -> None:
    """Warn where the dead-letter queue of a subscription is of another region or account.

    https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html
    """
    arn = subscription.dead_letter_arn
    if arn is not None and not arn.startswith(account.arn("sqs", "")):
        account.warnings.add(
            "dead-letter queue elsewhere",
            arn,
            subscription.topic_arn,
            text=lambda: (
                f"{subscription.endpoint} is subscribed to {subscription.topic_arn} with the dead-letter queue {arn} "
                "of another region or account than the topic's, which AWS would refuse"
            ),
        )


def check_owner(account: Account, caller: Account, operation: str, ask: Ask) -> None:
    """Warn where somebody of another account did what a queue's or topic's policy does not let them do."""
    arn, policy = _named(account, ask)
    if not arn or (operation not in FOR_THE_OWNER and _lets_in(policy, caller.account_id, operation, arn)):
        return
    account.warnings.add(
        "other account",
        arn,
        caller.account_id,
        operation,
        text=lambda: (
            f"{operation} of {arn} was called by account {caller.account_id}; on AWS it would be denied, as "
            + ("only its owner may" if operation in FOR_THE_OWNER else "its Policy does not allow it")
        ),
    )


def lets_anybody(account: Account, operation: str, ask: Ask) -> bool:
    """Tell whether the policy of what *ask* names lets everybody in who has not signed."""
    arn, policy = _named(account, ask)
    return bool(arn) and operation not in FOR_THE_OWNER and _lets_in(policy, "", operation, arn)


def _lets_in(policy: str, number: str, operation: str, arn: str) -> bool:
    service = arn.split(":")[2]
    return allows(policy, account_as_caller(number), f"{service}:{operation.removesuffix('Batch')}", arn)


def _named(account: Account, ask: Ask) -> tuple[str, str]:
    """Return the ARN of the queue or topic that *ask* names, and its policy."""
    topic = account.topics.get(str(ask.get("TopicArn") or ask.get("TargetArn") or ask.get("ResourceArn")))
    if topic is not None:
        return topic.arn, topic.attributes.get("Policy", "")
    try:
        queue = account.queue(str(ask.get("QueueUrl", ""))).queue
    except Refused:
        return "", ""
    return queue.arn, queue.settings.shown.get("Policy", "")
