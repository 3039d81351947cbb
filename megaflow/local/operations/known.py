"""Topics and subscriptions by ARN, as they are now."""

from __future__ import annotations

from megaflow.local.account import Account
from megaflow.local.operations.arns import check_arn
from megaflow.local.refused import Refused
from megaflow.local.topic import LocalTopic, Subscription


def known_topic(account: Account, arn: str, parameter: str = "TopicArn") -> LocalTopic:
    """Return the topic of this ARN.

    Raises:
        Refused: there is none, or it is no ARN.
    """
    check_arn(parameter, arn)
    if arn not in account.topics:
        raise Refused("NotFound", "Topic does not exist", status=404)
    return up_to_date(account, account.topics[arn])


def known_subscription(account: Account, arn: str) -> tuple[LocalTopic, Subscription]:
    """Return the subscription of this ARN, with its topic.

    Raises:
        Refused: there is none, or it is no ARN.
    """
    topic = account.topics.get(check_arn("SubscriptionArn", arn).rpartition(":")[0])
    if topic is None or arn not in up_to_date(account, topic).subscriptions:
        raise Refused("NotFound", "Subscription does not exist", status=404)
    return topic, topic.subscriptions[arn]


def up_to_date(account: Account, topic: LocalTopic) -> LocalTopic:
    """Return *topic* without the subscriptions that were not confirmed in time."""
    if topic.forget_unconfirmed():
        account.touch_topic(topic)
    return topic
